//! What may leave the clinic: the payloads of the monitoring topics.
//!
//! Invariant: a second broker is given [`Publication`]s and nothing else, and one is made only from a type that this file
//! lists as [`Monitored`]. None of those has a field for what an analyzer said of a person.

mod bulletin;
mod commands;
mod notice;
mod outbox;
mod topics;

pub use bulletin::Bulletin;
pub use commands::{COMMANDS, Command, CommandOutcome, CommandResponse, CommandResult, ConfigMistake, TestedHop};
pub use notice::{Notice, NoticeCode};
pub use outbox::Outbox;
pub use topics::{Audience, Direction, TOPICS, Topic, topic};

use crate::event::TestState;
use crate::overview::DeviceState;
use crate::overview::{
    self, AnalyzerOverview, Cause, Configuration, DestinationOverview, MonitoringOverview, Overview, Vitals,
};
use crate::time::{ClockQuality, Timestamp};
use crate::trouble::{Trouble, Urgency};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod sealed {
    pub trait Listed {}
}
impl sealed::Listed for Notice {}
impl sealed::Listed for CommandResponse {}

/// A payload that is free of patient data by its type.
pub trait Monitored: Serialize + JsonSchema + sealed::Listed {}
impl<T: Serialize + JsonSchema + sealed::Listed> Monitored for T {}

/// One message for any broker, also one outside of the clinic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Behind `<prefix>/<gateway>/`.
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

impl Publication {
    /// A message that says how things are; the broker keeps it.
    pub fn state<T: Monitored>(topic: impl Into<String>, payload: &T) -> Publication {
        Publication { retain: true, ..Publication::once(topic, payload) }
    }

    /// A message that says what happened.
    pub fn once<T: Monitored>(topic: impl Into<String>, payload: &T) -> Publication {
        let payload = serde_json::to_vec(payload).expect("plain fields");
        Publication { topic: topic.into(), payload, retain: false }
    }

    /// Takes a state away whose subject is gone.
    pub fn cleared(topic: impl Into<String>) -> Publication {
        Publication { topic: topic.into(), payload: Vec::new(), retain: true }
    }

    /// Behind `<prefix>/<gateway>/`.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub fn retain(&self) -> bool {
        self.retain
    }
}

/// `status`, retained, and with `lost` the last will.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub schema: u32,
    pub state: DeviceState,
    pub cause: Cause,
    /// Since when the process runs.
    #[schemars(with = "String")]
    pub since: Timestamp,
    pub reason: String,
    pub gateway: String,
    pub version: String,
    pub boot: String,
    pub clock: ClockQuality,
    pub configuration: Configuration,
}
impl sealed::Listed for Status {}

/// `health`, retained, every `monitoring.interval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReport {
    pub schema: u32,
    #[schemars(with = "String")]
    pub at: Timestamp,
    pub clock: ClockQuality,
    pub machine: Vitals,
    pub store: overview::StoreOverview,
    pub destinations: Vec<DestinationOverview>,
    /// How many analyzers are in each state, by Homie's words.
    pub analyzers: std::collections::BTreeMap<String, u32>,
    /// The connection to the second broker; null if there is none in the settings.
    pub monitoring: Option<MonitoringOverview>,
    /// Notices that a broker was not told because it was away for too long, all brokers together, since the start.
    pub notices_dropped: u64,
}
impl sealed::Listed for HealthReport {}

/// `summary`, retained: what a list of a thousand gateways needs of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    pub schema: u32,
    pub gateway: String,
    pub version: String,
    pub state: DeviceState,
    /// When it was put together, by the gateway's own clock.
    #[schemars(with = "String")]
    pub at: Timestamp,
    pub clock: ClockQuality,
    /// The highest of `troubles`; absent if all is well.
    pub urgency: Option<Urgency>,
    pub troubles: Vec<Trouble>,
    pub analyzers: u32,
    pub analyzers_ready: u32,
    pub waiting: u64,
    pub oldest_unacked_seconds: u64,
    pub held: u64,
    pub dead: u64,
    pub disk_days_left: Option<f64>,
}
impl sealed::Listed for Summary {}

/// `analyzers/<id>/state`, retained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnalyzerState {
    pub state: DeviceState,
    #[schemars(with = "String")]
    pub since: Timestamp,
    pub reason: String,
    pub test_state: TestState,
    pub model: Option<String>,
    pub serial_number: Option<String>,
    pub port: String,
}
impl sealed::Listed for AnalyzerState {}

/// `destinations/<id>/state`, retained. The counts that change with every event are in `health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationState {
    /// `ready`, `paused` or `trouble`.
    pub state: String,
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// A reason code.
    pub code: Option<String>,
    pub reason: Option<String>,
    pub held: u64,
    pub dead: u64,
}
impl sealed::Listed for DestinationState {}

impl From<&AnalyzerOverview> for AnalyzerState {
    fn from(one: &AnalyzerOverview) -> AnalyzerState {
        AnalyzerState {
            state: one.state,
            since: one.since,
            reason: one.reason.clone(),
            test_state: one.test_state,
            model: one.model.clone(),
            serial_number: one.serial_number.clone(),
            port: one.port.clone(),
        }
    }
}

impl From<&DestinationOverview> for DestinationState {
    fn from(one: &DestinationOverview) -> DestinationState {
        DestinationState {
            state: one.state.clone(),
            since: one.since,
            code: one.code.clone(),
            reason: one.reason.clone(),
            held: one.held,
            dead: one.dead,
        }
    }
}

impl From<&Overview> for Status {
    fn from(all: &Overview) -> Status {
        Status {
            schema: all.schema,
            state: all.state,
            cause: all.cause,
            since: all.since,
            reason: all.reason.clone(),
            gateway: all.gateway.clone(),
            version: all.version.clone(),
            boot: all.boot.clone(),
            clock: all.clock,
            configuration: all.configuration.clone(),
        }
    }
}

impl From<&Overview> for HealthReport {
    fn from(all: &Overview) -> HealthReport {
        let mut analyzers = std::collections::BTreeMap::new();
        for analyzer in &all.analyzers {
            *analyzers.entry(analyzer.state.as_str().to_owned()).or_default() += 1;
        }
        HealthReport {
            schema: all.schema,
            at: all.at,
            clock: all.clock,
            machine: all.machine.clone(),
            store: all.store,
            destinations: all.destinations.clone(),
            analyzers,
            monitoring: all.monitoring.clone(),
            notices_dropped: all.notices_dropped,
        }
    }
}

impl From<&Overview> for Summary {
    fn from(all: &Overview) -> Summary {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Summary {
            schema: all.schema,
            gateway: all.gateway.clone(),
            version: all.version.clone(),
            state: all.state,
            at: all.at,
            clock: all.clock,
            urgency: all.troubles.first().map(|trouble| trouble.urgency),
            troubles: all.troubles.clone(),
            analyzers: count(all.analyzers.len()),
            analyzers_ready: count(all.analyzers.iter().filter(|one| one.state == DeviceState::Ready).count()),
            waiting: all.destinations.iter().map(|one| one.waiting).sum(),
            oldest_unacked_seconds: all.destinations.iter().map(|one| one.oldest_unacked_seconds).max().unwrap_or(0),
            held: all.destinations.iter().map(|one| one.held).sum(),
            dead: all.destinations.iter().map(|one| one.dead).sum(),
            disk_days_left: all.machine.disk_days_left,
        }
    }
}
