//! A name, a sample's id and secrets that stand nowhere else go every way through a gateway: results, questions, damaged
//! messages, webhooks that come in and are refused, bad settings, an answer that quotes, a crash. They are found where they
//! belong (the store, the local broker's events, webhooks, the API's audited reads) and nowhere else.

#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "api/bench.rs"]
mod bench;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/cable.rs"]
mod cable;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[path = "canary/listening.rs"]
mod listening;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/mosquitto.rs"]
mod mosquitto;
#[path = "canary/ways.rs"]
mod ways;
