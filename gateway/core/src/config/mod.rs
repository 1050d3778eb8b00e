//! The settings, typed. The daemon reads the file and the environment; what is allowed is decided here.

mod address;
mod defaults;
pub mod duration;
pub mod file;
mod group;
mod masked;
mod network;
mod outside;
mod overlay;
mod read;
mod sparkplug;
mod tree;
mod update;
mod warnings;
mod words;

pub use address::is_loopback;
pub use masked::{MASK, masked};
pub use network::{
    Addressing, BrokerDoor, BrokerScope, BrokerUser, Ethernet, Fixed, Network, OWN_BROKER_PORT, OWN_BROKER_USER,
    OwnBroker, Wifi,
};
pub use outside::{Outside, Pem, Unfit, WrittenProfile};
pub use overlay::{Variable, overlay};
pub use read::{profile, read};
pub use sparkplug::Sparkplug;
pub use tree::{Entry, Mistake, Node, Place, Value};
pub use update::{Automatic, Hours, Updates};

use crate::delivery::{RetryReading, RetrySchedule};
pub use crate::dialects::Endpoint;
pub use crate::dialects::Secret;
pub use crate::error::ConfigError;
use crate::event::AnalyzerId;
pub use crate::line_model::Parity;
use crate::line_model::Uart;
use crate::session::DriverOptions;
use crate::time::{ClockQuality, Now, Timestamp};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// All of the settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    pub gateway: Gateway,
    pub analyzers: Vec<Analyzer>,
    pub mqtt: Mqtt,
    pub http: Http,
    pub webhooks: Vec<Webhook>,
    pub sources: Vec<Source>,
    pub registrations: Registrations,
    pub monitoring: Monitoring,
    pub sparkplug: Option<Sparkplug>,
    pub telemetry: Telemetry,
    pub network: Option<Network>,
    pub broker: Option<OwnBroker>,
    pub update: Updates,
    pub limits: Limits,
    pub retention: Retention,
    /// SHA-256 of the settings as they were loaded, in hexadecimal; empty for settings that were made otherwise.
    pub hash: String,
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
    /// The serial number that it must report itself; `None`: any, and a change is told.
    pub serial_number: Option<String>,
    pub driver: String,
    /// Maker and model, as its profile has them.
    pub model: Option<String>,
    pub port: Port,
    pub line: Line,
    /// Of the profile, of this item and of `limits:` together.
    pub options: DriverOptions,
}

/// A model of analyzer as a file tells it: `config/profiles/<maker>-<model>.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub maker: String,
    pub model: String,
    pub driver: String,
    pub line: Line,
    /// Who calls whom, where it is on the network.
    pub tcp: Option<Caller>,
    /// With the default limits.
    pub options: DriverOptions,
    pub tried: Tried,
    /// Where its facts are from.
    pub sources: Vec<String>,
    /// What to set on the analyzer itself, in sentences.
    pub setup: Vec<String>,
}

/// Which side opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    Analyzer,
    Gateway,
}

/// What a profile was tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tried {
    /// Written from its sources; no byte of such an analyzer was seen.
    #[default]
    Sources,
    /// On bytes that such an analyzer has sent.
    RealBytes,
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
    /// A barcode scanner that types like a keyboard: a device of `/dev/input`.
    Input(PathBuf),
}

impl Port {
    /// Whether it has a speed.
    pub fn is_serial(&self) -> bool {
        matches!(self, Port::Path(_) | Port::Usb { .. } | Port::ByPath(_))
    }
}

/// In the settings' words.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Path(path) | Port::Input(path) => write!(f, "{}", path.display()),
            Port::Usb { vendor, product, serial } => {
                write!(f, "usb {vendor:04x}:{product:04x}")?;
                serial.as_ref().map_or(Ok(()), |serial| write!(f, " {serial}"))
            }
            Port::ByPath(name) => f.write_str(name),
            Port::TcpListen(address) => write!(f, "tcp listen {address}"),
            Port::TcpConnect(address) => write!(f, "tcp connect {address}"),
        }
    }
}

/// Serial line settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub baud: u32,
    pub data_bits: u8,
    pub parity: Parity,
    pub stop_bits: u8,
    pub flow_control: FlowControl,
    /// The DTR line: raised or dropped when the port opens; `None`: as the system leaves it, which is raised.
    pub dtr: Option<bool>,
    /// The same of RTS.
    pub rts: Option<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            baud: 9600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            flow_control: FlowControl::None,
            dtr: None,
            rts: None,
        }
    }
}

impl Line {
    /// Speed and format alone.
    pub fn uart(&self) -> Uart {
        Uart { baud: self.baud, data_bits: self.data_bits, parity: self.parity, stop_bits: self.stop_bits }
    }
}

/// `flow_control`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowControl {
    #[default]
    None,
    /// XON and XOFF.
    XonXoff,
    /// The lines RTS and CTS.
    RtsCts,
}

/// `mqtt:`
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    pub broker: Broker,
    pub version: MqttVersion,
    /// First part of every topic: `analyzer-gateway`.
    pub topic_prefix: String,
    /// Longest packet sent or accepted, in bytes.
    pub packet_bytes_max: usize,
    /// Publishes on their way at once.
    pub window: usize,
    /// Whether Home Assistant is told which devices there are.
    pub home_assistant: bool,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// `mqtt.version`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub enum MqttVersion {
    /// 5 where the broker understands it.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "3.1.1")]
    V311,
    #[serde(rename = "5")]
    V5,
}

/// `mqtt.url`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    Embedded,
    /// The box's own mosquitto, see [`OwnBroker`].
    Mosquitto,
    Url {
        host: String,
        port: u16,
        tls: bool,
    },
}

/// `monitoring:`
#[derive(Debug, Clone, PartialEq)]
pub struct Monitoring {
    /// Between two messages of `health`, to every broker.
    pub interval: Duration,
    /// The second broker, outside of the clinic: it is told how things are and never what was measured.
    pub broker: Option<Mqtt>,
}

/// `webhooks[]`
#[derive(Clone, PartialEq)]
pub struct Webhook {
    pub id: String,
    /// `https://`, `http://`, or for `hl7` also `mllp://` and `mllps://`.
    pub url: String,
    pub dialect: String,
    /// Newest first.
    pub secrets: Vec<DatedSecret>,
    pub filter: Filter,
    /// What the dialect is told.
    pub endpoint: Endpoint,
    /// `None`: the dialect's own table.
    pub retry: Option<Vec<Duration>>,
    /// `None`: as the dialect reads its own table, `gaps` for a written one.
    pub retry_reading: Option<RetryReading>,
    pub timeout: Duration,
    /// Requests in flight at once.
    pub concurrency: usize,
    /// Events in one request, at most; 1 where the dialect sends them singly.
    pub batch: usize,
    pub order: Order,
    /// Events a second sent out of the backlog while live ones go first; `None`: no bound.
    pub backfill_per_second_max: Option<u32>,
    /// Nothing is sent and nothing is lost.
    pub paused: bool,
    /// Sent with every request; names in lower case.
    pub headers: Vec<(String, String)>,
    /// `http://` or `https://`, with user and password if it has them.
    pub proxy: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// SHA-256 of the receiver's public key (SubjectPublicKeyInfo): nothing else is trusted then.
    pub pinned_key: Option<[u8; 32]>,
}

/// One of `webhooks[].secrets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedSecret {
    pub secret: Secret,
    /// From then on it signs nothing. `None`: for ever.
    pub valid_until: Option<Timestamp>,
}

/// Which events an endpoint gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Names of the gateway's events and of the dialect's own; `None`: all.
    pub events: Option<Vec<String>>,
    /// `None`: of all analyzers, and those of none.
    pub analyzers: Option<Vec<AnalyzerId>>,
    pub qc: Qc,
}

/// `webhooks[].qc`: quality control runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Qc {
    /// With everything else.
    #[default]
    Include,
    Exclude,
    Only,
}

/// `webhooks[].order`: what keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The events of one test, of one registration, of one session.
    #[default]
    Test,
    /// All events of one analyzer.
    Analyzer,
    /// Nothing: an event that fails holds up no other.
    None,
}

/// Only what is not secret: keys stand in headers, and sometimes in the url.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Whether the receiver can tell by the settings that it is the gateway who sends.
    pub fn is_signed(&self) -> bool {
        !self.secrets.is_empty() || !self.endpoint.signatures.is_empty() || self.certificate_file.is_some()
    }

    /// The schedule in force: the written table, or the dialect's own.
    pub fn schedule(&self, own: RetrySchedule) -> RetrySchedule {
        let schedule = match &self.retry {
            Some(delays) => RetrySchedule::table(delays.clone()),
            None => own,
        };
        RetrySchedule { reading: self.retry_reading.unwrap_or(schedule.reading), ..schedule }
    }

    /// The secrets that sign at that time, newest first. While the clock is not set nothing has run out.
    pub fn secrets_at(&self, now: Now) -> Vec<Secret> {
        let valid = |dated: &&DatedSecret| {
            now.quality == ClockQuality::Unset || dated.valid_until.is_none_or(|until| now.wall < until)
        };
        self.secrets.iter().filter(valid).map(|dated| dated.secret.clone()).collect()
    }
}

/// `http:`
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address and port; `None`: nothing is served but the control socket.
    pub listen: Option<String>,
    /// How the box is reached from outside, without a slash at its end.
    pub public_url: Option<String>,
    pub tokens: Vec<Token>,
    /// Longest body taken, in bytes.
    pub body_bytes_max: usize,
    /// Whether `/metrics` needs no token.
    pub metrics: MetricsDoor,
    /// Whether the page is served beside the API.
    pub page: bool,
}

/// `http.metrics`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsDoor {
    /// A token of scope `read`.
    #[default]
    Token,
    /// Whoever reaches the port.
    Open,
}

/// `http.tokens[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    /// SHA-256 of the token, in hexadecimal.
    pub hash: String,
    pub scope: Scope,
}

/// What a client may do: each scope may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Post events and registrations.
    Post,
    /// Also read events, tests, results and registrations.
    Read,
    /// Also redrive, test an endpoint, verify a result.
    Operate,
    /// Also erase a person's data, see the audit log, make tokens.
    Administer,
}

/// `sources[]`: webhooks that come in, at `/in/<id>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub id: String,
    pub dialect: String,
    /// Any of them verifies.
    pub secrets: Vec<Secret>,
    /// Web pages that may call from a browser (`Origin`); `*` is any.
    pub origins: Vec<String>,
    /// The analyzer whose events they are; for dialects that carry an analyzer's tests.
    pub analyzer: Option<AnalyzerId>,
}

/// `registrations:`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Registrations {
    /// Who assigns the laboratory's id: it gets `{"testregistration_id":...}` and answers `{"lab_id":...}`. `None`: a person
    /// or a program says it by the API.
    pub lab_id_url: Option<String>,
    pub lab_id_token: Option<Secret>,
    /// The proxy on the way there.
    pub proxy: Option<Secret>,
}

/// `telemetry:`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Telemetry {
    /// Where traces are posted (OTLP over HTTP); `None`: nobody wants them.
    pub otlp_url: Option<String>,
    pub otlp_token: Option<Secret>,
    /// The proxy on the way there.
    pub proxy: Option<Secret>,
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
