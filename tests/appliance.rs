//! The box around the gateway: units, package, the card's report, network, updates, the Yocto layer; all that can be judged
//! without starting a machine. `tests/system/run` starts one.

#[path = "appliance/show.rs"]
mod show;
#[path = "appliance/update.rs"]
mod update;
