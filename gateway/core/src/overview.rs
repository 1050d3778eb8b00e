//! A gateway at a glance, as plain values: what the monitoring topics, the page, `status`, the metrics and the fleet's list are
//! all made from. [`crate::health::Health`] makes it.
//!
//! Invariant: no patient data can get in. There are names from the settings, states, counts, sizes, times and reasons, and
//! reasons never quote received bytes.

use crate::appliance::Appliance;
use crate::event::TestState;
use crate::time::{ClockQuality, Timestamp};
use crate::trouble::Trouble;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of these shapes. Fields may be added within one; readers leave out what they do not know.
pub const SCHEMA: u32 = 1;

/// Everything at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    pub schema: u32,
    pub gateway: String,
    pub version: String,
    /// The kernel's id of this boot.
    pub boot: String,
    pub state: DeviceState,
    /// The first of `troubles`, as a sentence; empty if there is none.
    pub reason: String,
    pub cause: Cause,
    /// Since when the process runs.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// When this was put together.
    #[schemars(with = "String")]
    pub at: Timestamp,
    pub clock: ClockQuality,
    pub configuration: Configuration,
    /// The most urgent first.
    pub troubles: Vec<Trouble>,
    pub analyzers: Vec<AnalyzerOverview>,
    pub destinations: Vec<DestinationOverview>,
    pub store: StoreOverview,
    pub machine: Vitals,
    /// The connection to the second broker, if the settings name one.
    pub monitoring: Option<MonitoringOverview>,
    /// The box around the gateway: its network, updates and card. Absent parts do not exist here.
    #[serde(default)]
    pub appliance: Appliance,
    /// Notices that a broker was not told because it was away for too long, all brokers together, since the start.
    pub notices_dropped: u64,
}

/// What the last word on the gateway comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The process has started and runs with the settings of its start.
    #[default]
    Started,
    /// It runs with settings that came later.
    Reloaded,
    /// It was asked to stop.
    Stopped,
    /// It is gone without a good-bye: power, network or a crash. The broker says so for it.
    Vanished,
}

/// The connection to the second broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MonitoringOverview {
    /// `ready` or `trouble`.
    pub state: String,
    /// A reason code of a delivery, and its sentence; absent if nothing stands in the way.
    pub code: Option<String>,
    pub reason: Option<String>,
    /// Since when there has been trouble without a break.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
}

/// Which settings are in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// SHA-256 of the settings in force, in hexadecimal: equal settings, equal hash.
    pub hash: String,
    /// Why the file on the card is not in force, if it is not.
    pub refused: Option<String>,
    /// Pushed settings are tried: until then somebody must confirm them.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub confirm_by: Option<Timestamp>,
}

/// A device's state in the words of the Homie convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Being set up: the port has not been tried.
    Init,
    Ready,
    Disconnected,
    Sleeping,
    /// Gone without a good-bye: unplugged, or the gateway itself vanished.
    Lost,
    /// A person should look.
    Alert,
}

impl DeviceState {
    /// Nothing of it is plugged in, or it does not answer any more.
    pub fn is_away(self) -> bool {
        matches!(self, DeviceState::Disconnected | DeviceState::Lost)
    }

    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceState::Init => "init",
            DeviceState::Ready => "ready",
            DeviceState::Disconnected => "disconnected",
            DeviceState::Sleeping => "sleeping",
            DeviceState::Lost => "lost",
            DeviceState::Alert => "alert",
        }
    }
}

/// One analyzer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnalyzerOverview {
    pub id: String,
    pub state: DeviceState,
    #[schemars(with = "String")]
    pub since: Timestamp,
    pub reason: String,
    pub test_state: TestState,
    /// The model, as the analyzer says or as its profile has it.
    pub model: Option<String>,
    /// The serial number that it reports.
    pub serial_number: Option<String>,
    /// The port, as the settings have it.
    pub port: String,
    /// When anything that it said was last stored.
    #[schemars(with = "Option<String>")]
    pub last_event_at: Option<Timestamp>,
    /// When a test of it last ended.
    #[schemars(with = "Option<String>")]
    pub last_test_at: Option<Timestamp>,
    /// Events since the process started, and of these messages that were not understood.
    pub events: u64,
    pub rejected: u64,
}

/// One broker or endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationOverview {
    /// `mqtt`, or `webhook:` and the endpoint's id.
    pub id: String,
    /// `ready`, `paused` or `trouble`.
    pub state: String,
    /// A reason code of a delivery, and its sentence; absent if nothing stands in the way.
    pub code: Option<String>,
    pub reason: Option<String>,
    /// Since when there has been trouble without a break.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Neither delivered nor dead.
    pub waiting: u64,
    /// Of these: waiting for a person or for other settings.
    pub held: u64,
    pub dead: u64,
    /// The age of the oldest event that is neither delivered nor dead, in seconds; 0 if there is none.
    pub oldest_unacked_seconds: u64,
    /// When an attempt was last answered as delivered.
    #[schemars(with = "Option<String>")]
    pub last_delivered_at: Option<Timestamp>,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StoreOverview {
    /// The place of the newest event in the log.
    pub head: i64,
    /// The database and its journal, in bytes.
    pub bytes: u64,
}

/// What the machine says of itself. What it cannot say is absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Vitals {
    pub cpu_celsius: Option<f64>,
    /// The Pi's firmware slows the processor down: words such as `under_voltage`, `throttled`, `soft_temperature_limit`.
    pub throttled: Vec<String>,
    /// The same since the boot.
    pub throttled_since_boot: Vec<String>,
    /// The load of the last minute.
    pub load: Option<f64>,
    /// Resident memory of this process, in bytes, and of that what is its own (anonymous).
    pub process_bytes: Option<u64>,
    pub process_anonymous_bytes: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    /// Of the file system that holds the events.
    pub disk_total_bytes: Option<u64>,
    pub disk_free_bytes: Option<u64>,
    /// Until it is full if it fills as it did of late.
    pub disk_days_left: Option<f64>,
    /// How much of the SD card's life is used, in per cent, where the card says (eMMC and some SD cards).
    pub card_wear_percent: Option<u8>,
    pub uptime_seconds: Option<u64>,
    pub certificates: Vec<CertificateLeft>,
}

/// How long a certificate holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateLeft {
    /// `mqtt`, `monitoring`, `sparkplug`, or `webhook:` and the endpoint's id.
    pub of: String,
    /// The settings' key that names the file: `ca_file` or `certificate_file`.
    pub what: String,
    /// Negative: it has run out.
    pub days_left: i64,
}
