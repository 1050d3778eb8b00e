//! What the node and its devices say: states, counts and ages, each under the name that docs/sparkplug.md gives.
//!
//! Invariant: read off an [`Overview`], which has no field for what an analyzer said of a person.

use crate::overview::DeviceState;
use crate::overview::{AnalyzerOverview, DestinationOverview, Overview};
use crate::trouble::Urgency;
use std::collections::BTreeMap;

/// What a metric says; `None` where nobody knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    Text(Option<String>),
    Count(Option<u64>),
    Real(Option<f64>),
    Flag(bool),
}

/// The metrics of the node or of a device.
pub type Readings = BTreeMap<&'static str, Reading>;

/// Whether the analyzer's port is open: a device is born with that and dies with its end.
pub fn is_there(analyzer: &AnalyzerOverview) -> bool {
    matches!(analyzer.state, DeviceState::Ready | DeviceState::Alert | DeviceState::Sleeping)
}

pub fn of_node(all: &Overview) -> Readings {
    let sum = |of: fn(&DestinationOverview) -> u64| Reading::Count(Some(all.destinations.iter().map(of).sum()));
    let oldest = all.destinations.iter().map(|one| one.oldest_unacked_seconds).max();
    let ready = all.analyzers.iter().filter(|one| one.state == DeviceState::Ready).count();
    let needed = all.troubles.first().is_some_and(|trouble| trouble.urgency <= Urgency::Today);
    BTreeMap::from([
        ("Gateway/State", text(all.state.as_str())),
        ("Gateway/Reason", text(&all.reason)),
        ("Gateway/Version", text(&all.version)),
        ("Gateway/Settings", text(&all.configuration.hash)),
        ("Gateway/Clock", text(all.clock.as_str())),
        ("Gateway/Needs A Person", Reading::Flag(needed)),
        ("Analyzers/All", count(all.analyzers.len())),
        ("Analyzers/Ready", count(ready)),
        ("Destinations/Waiting", sum(|one| one.waiting)),
        ("Destinations/Held", sum(|one| one.held)),
        ("Destinations/Dead", sum(|one| one.dead)),
        ("Destinations/Oldest Seconds", Reading::Count(Some(oldest.unwrap_or(0)))),
        ("Machine/CPU Celsius", Reading::Real(all.machine.cpu_celsius)),
        ("Machine/Disk Free Bytes", Reading::Count(all.machine.disk_free_bytes)),
        ("Machine/Disk Days Left", Reading::Real(all.machine.disk_days_left)),
    ])
}

pub fn of_device(one: &AnalyzerOverview) -> Readings {
    BTreeMap::from([
        ("State", text(one.state.as_str())),
        ("Reason", text(&one.reason)),
        ("Test State", text(one.test_state.as_str())),
        ("Model", Reading::Text(one.model.clone())),
        ("Serial Number", Reading::Text(one.serial_number.clone())),
        ("Port", text(&one.port)),
        ("Events", Reading::Count(Some(one.events))),
        ("Rejected", Reading::Count(Some(one.rejected))),
    ])
}

fn text(text: &str) -> Reading {
    Reading::Text(Some(text.to_owned()))
}

fn count(count: usize) -> Reading {
    Reading::Count(Some(count as u64))
}
