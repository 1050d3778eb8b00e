//! The page: a real browser drives it against the real gateway, and its sources keep what it promises (every word in both
//! languages, nothing made into markup, nobody else asked).

#[path = "page/driven.rs"]
mod driven;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/mosquitto.rs"]
mod mosquitto;
#[path = "page/sources.rs"]
mod sources;
