//! The box around the gateway: units, package, the card's report, network, updates, the Yocto layer; all that can be judged
//! without starting a machine. `tests/system/run` starts one.

#[path = "appliance/answers.rs"]
mod answers;
#[path = "appliance/card.rs"]
mod card;
#[path = "process/home.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod home;
#[path = "appliance/reports.rs"]
mod reports;
#[path = "appliance/show.rs"]
mod show;
