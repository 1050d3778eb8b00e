//! The settings, typed. The daemon reads the file and the environment; what is allowed is decided here.

mod address;
mod defaults;
pub mod duration;
pub mod file;
mod group;
mod overlay;
mod read;
mod tree;

pub use group::Outside;
pub use overlay::{Variable, overlay};
pub use read::read;
pub use tree::{Entry, Mistake, Node, Place, Value};

use crate::delivery::{RetryReading, RetrySchedule};
pub use crate::dialects::Secret;
pub use crate::error::ConfigError;
use crate::event::{AnalyzerId, EventName};
use crate::session::{CommitPoint, DriverOptions, Framing};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// All of the settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    pub gateway: Gateway,
    pub analyzers: Vec<Analyzer>,
    pub mqtt: Mqtt,
    pub webhooks: Vec<Webhook>,
    pub limits: Limits,
    pub retention: Retention,
}

/// `gateway:`
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    pub id: String,
    pub state_dir: PathBuf,
    /// IANA name; what gives an analyzer's local time its offset where a receiver needs one.
    pub time_zone: String,
}

/// `analyzers[]`
#[derive(Debug, Clone, PartialEq)]
pub struct Analyzer {
    pub id: AnalyzerId,
    pub driver: String,
    pub port: Port,
    pub line: Line,
    pub commit: CommitPoint,
    pub framing: Framing,
}

/// `analyzers[].port`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// A device file.
    Path(PathBuf),
    /// The USB adapter with these ids (`0403:6001`) and, if given, this serial number.
    Usb { vendor: u16, product: u16, serial: Option<String> },
    /// The adapter in this socket: a name of `/dev/serial/by-path`, with or without the folder.
    ByPath(String),
    /// The analyzer calls us.
    TcpListen(String),
    /// We call the analyzer or a terminal server.
    TcpConnect(String),
}

/// Serial line settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub baud: u32,
    pub data_bits: u8,
    pub parity: Parity,
    pub stop_bits: u8,
}

impl Default for Line {
    fn default() -> Self {
        Line { baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    #[default]
    None,
    Even,
    Odd,
}

/// `mqtt:`
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    pub broker: Broker,
    /// First part of every topic: `analyzer-gateway`.
    pub topic_prefix: String,
    /// Longest packet sent or accepted, in bytes.
    pub packet_bytes_max: usize,
    /// Publishes on their way at once.
    pub window: usize,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// `mqtt.url`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    Embedded,
    Url { host: String, port: u16, tls: bool },
}

/// `webhooks[]`
#[derive(Clone, PartialEq)]
pub struct Webhook {
    pub id: String,
    pub url: String,
    pub dialect: String,
    /// Newest first.
    pub secrets: Vec<Secret>,
    /// `None`: all.
    pub events: Option<Vec<EventName>>,
    /// `None`: the dialect's own table.
    pub retry: Option<Vec<Duration>>,
    pub retry_reading: RetryReading,
    pub timeout: Duration,
    /// Lanes in flight at once.
    pub concurrency: usize,
    /// Sent with every request; names in lower case.
    pub headers: Vec<(String, String)>,
    pub ca_file: Option<PathBuf>,
}

/// Only what is not secret: keys stand in headers, and sometimes in the url.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The schedule in force: the written table, or the dialect's own.
    pub fn schedule(&self, own: RetrySchedule) -> RetrySchedule {
        match &self.retry {
            Some(delays) => RetrySchedule { reading: self.retry_reading, ..RetrySchedule::table(delays.clone()) },
            None => RetrySchedule { reading: self.retry_reading, ..own },
        }
    }
}

/// `limits:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub frame_bytes_max: usize,
    pub message_bytes_max: usize,
    /// Size of the database file at which old data is given up, in the order of the manual. `None`: no limit.
    pub store_bytes_max: Option<u64>,
    pub commit_linger_ms_max: u64,
    /// Undone deliveries kept as rows ahead of the oldest undone one, for each destination.
    pub ahead_events_max: usize,
}

/// `retention:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    pub attempts_kept_days: u32,
    pub captures_kept_days: u32,
    pub events_kept_days: u32,
}

impl Config {
    /// The options of one analyzer's driver.
    pub fn driver_options(&self, analyzer: &Analyzer) -> DriverOptions {
        DriverOptions {
            frame_bytes_max: self.limits.frame_bytes_max,
            message_bytes_max: self.limits.message_bytes_max,
            commit: analyzer.commit,
            framing: analyzer.framing,
        }
    }
}
