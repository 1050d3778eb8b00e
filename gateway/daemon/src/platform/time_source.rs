//! Who could set this machine's clock: time services that run, and a clock with a battery.
//!
//! Every function takes the root folder, `/` on a real machine, so that all of it is tried on a tree of a test's own.

use std::path::Path;

/// A time service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// systemd-timesyncd; `synchronized` once it has set the clock in this boot.
    Timesyncd {
        synchronized: bool,
    },
    Chrony,
    Ntpd,
    /// The host of a virtual machine or container, whose kernel is kept by somebody else.
    PhcKvm,
}

impl TimeSource {
    /// For a person.
    pub fn told(self) -> &'static str {
        match self {
            TimeSource::Timesyncd { synchronized: true } => "systemd-timesyncd, which has set it in this boot",
            TimeSource::Timesyncd { synchronized: false } => "systemd-timesyncd, which has reached no server yet",
            TimeSource::Chrony => "chrony",
            TimeSource::Ntpd => "ntpd",
            TimeSource::PhcKvm => "the host of this virtual machine",
        }
    }
}

/// Those that run, by the files that they keep below /run.
pub fn sources(root: &Path) -> Vec<TimeSource> {
    let is = |path: &str| root.join(path).exists();
    let mut found = Vec::new();
    if is("run/systemd/timesync") {
        found.push(TimeSource::Timesyncd { synchronized: is("run/systemd/timesync/synchronized") });
    }
    if is("run/chrony/chronyd.pid") || is("run/chronyd.pid") {
        found.push(TimeSource::Chrony);
    }
    if is("run/ntpd.pid") {
        found.push(TimeSource::Ntpd);
    }
    let name = std::fs::read_to_string(root.join("sys/class/ptp/ptp0/clock_name")).unwrap_or_default();
    if name.trim() == "KVM virtual PTP" {
        found.push(TimeSource::PhcKvm);
    }
    found
}

/// Whether there is a clock that goes on without power.
pub fn has_battery_clock(root: &Path) -> bool {
    root.join("sys/class/rtc/rtc0").exists()
}
