//! The box around the gateway: units, package, the card's report, network, updates, the Yocto layer; all that can be judged
//! without starting a machine. `tests/system/run` starts one.

#![allow(clippy::unwrap_used)]

#[path = "appliance/answers.rs"]
mod answers;
#[path = "appliance/broker.rs"]
mod broker;
#[path = "appliance/card.rs"]
mod card;
#[path = "appliance/first_boot.rs"]
mod first_boot;
#[path = "process/home.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod home;
#[path = "appliance/network.rs"]
mod network;
#[path = "appliance/package.rs"]
mod package;
#[path = "appliance/pushed.rs"]
mod pushed;
#[path = "appliance/reports.rs"]
mod reports;
#[path = "appliance/show.rs"]
mod show;
#[path = "appliance/units.rs"]
mod units;
#[path = "appliance/update.rs"]
mod update;
#[path = "appliance/yocto.rs"]
mod yocto;

use std::path::PathBuf;

/// One of the system's programs; `None` after saying so if it is not there. tests/run installs those that are needed.
pub fn system(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("there is no {program} here"));
    }
    found
}

/// Says past the test harness that something is not judged; where CI=true that is a failure.
pub fn skipped(why: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).expect("said");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}; it is needed in CI");
}
