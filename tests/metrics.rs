//! What monitoring systems read: `/metrics` of the real binary, what is documented of it, what alert rules and the dashboard ask
//! for, the traces that a collector is given, and the diagnostic bundle as a file.

#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "api/bench.rs"]
mod bench;
#[path = "metrics/bundle.rs"]
mod bundle;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/cable.rs"]
mod cable;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[path = "metrics/machine.rs"]
mod machine;
#[path = "metrics/names.rs"]
mod names;
#[path = "metrics/scraped.rs"]
mod scraped;
#[path = "metrics/traces.rs"]
mod traces;
