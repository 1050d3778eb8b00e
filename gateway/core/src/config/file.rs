//! The shape of the file: which keys there are, what each means and how large a number may be.
//!
//! These types are never filled. `analyzer-gateway schema` prints the JSON Schema made from them, and the reader takes its
//! known keys and its ranges from that schema, so what is documented and what is read cannot differ. Doc comments here are
//! shown to people by their editor. `x-secret` marks what is never shown: the `whole` value, or of an `address` what follows its host.

mod bounds;
mod network;
mod profile;
mod schema;
mod sparkplug;
mod text;
mod update;

pub use bounds::{Limits, Retention};
pub use network::{BrokerUser, Ethernet, Network, OwnBroker, Wifi};
pub use profile::{Line, Meaning, Profile};
pub(in crate::config) use schema::{all_audiences, all_events};
pub use schema::{schema, schema_of};
pub use sparkplug::Sparkplug;
pub use text::{Answers, Checksum, Column, Handshake, Patterns, Table, Text};
pub use update::Updates;

use crate::delivery::RetryReading;
use crate::dialects::{Mode, PersonalData};
use crate::reading::Encoding;
use crate::session::{CommitPoint, Framing};
use schema::{audiences, dialect_names, driver_names, event_words, profile_or_name, source_dialects, statuses};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// The settings of one analyzer gateway.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct File {
    /// The version of this file's shape. 1 if absent.
    #[schemars(range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// The box itself.
    pub gateway: Option<Gateway>,
    /// The analyzers that are plugged in.
    pub analyzers: Option<Vec<Analyzer>>,
    /// The MQTT broker that every event is published to.
    pub mqtt: Option<Mqtt>,
    /// The gateway's own web address: its API, and the webhooks that come in.
    pub http: Option<Http>,
    /// The endpoints that events are posted to.
    pub webhooks: Option<Vec<Webhook>>,
    /// The webhooks that come in, each at /in/ and its id.
    pub sources: Option<Vec<Source>>,
    /// The samples that are expected or received.
    pub registrations: Option<Registrations>,
    /// What others are told of the box itself.
    pub monitoring: Option<Monitoring>,
    /// A plant's SCADA that is told how the box and its analyzers are, by Sparkplug B.
    pub sparkplug: Option<Sparkplug>,
    /// Traces for a collector of your own.
    pub telemetry: Option<Telemetry>,
    /// The box's network.
    pub network: Option<Network>,
    /// The box's own MQTT broker.
    pub broker: Option<OwnBroker>,
    /// Updates of the box's whole system, where it is an appliance.
    pub update: Option<Updates>,
    /// Bounds on memory and disk.
    pub limits: Option<Limits>,
    /// How long data is kept.
    pub retention: Option<Retention>,
}

/// The box itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Gateway {
    /// The name of this box: part of every MQTT topic and of every event's source. Default: gateway.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: Option<String>,
    /// The folder that holds the events. Default: /var/lib/analyzer-gateway.
    pub state_dir: Option<String>,
    /// The time zone that the analyzers' clocks are set to, by its IANA name, such as Europe/Berlin. Default: UTC.
    pub time_zone: Option<String>,
}

/// One analyzer on one port.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Analyzer {
    /// What you call this analyzer. Small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: String,
    /// The model: the name of a profile, such as sysmex-xp-100, or a profile written here. It names the driver.
    #[schemars(schema_with = "profile_or_name")]
    pub profile: Option<String>,
    /// The language that it speaks, where no profile says it.
    #[schemars(schema_with = "driver_names")]
    pub driver: Option<String>,
    /// The serial number that the analyzer reports itself. Another one raises an alarm. Default: the first one heard.
    pub serial_number: Option<String>,
    /// Where it is plugged in: exactly one of path, usb, by_path, tcp and input.
    pub port: Port,
    /// Speed of the serial line. Default: 9600.
    pub baud: Option<u32>,
    /// Data bits of the serial line. Default: 8.
    #[schemars(range(min = 5, max = 8))]
    pub data_bits: Option<u8>,
    /// Parity of the serial line. Default: none.
    pub parity: Option<super::Parity>,
    /// Stop bits of the serial line. Default: 1.
    #[schemars(range(min = 1, max = 2))]
    pub stop_bits: Option<u8>,
    /// Who may say stop on the serial line: none, xon-xoff or rts-cts. Default: none.
    pub flow_control: Option<super::FlowControl>,
    /// Whether the DTR line is raised. Default: as the system leaves it.
    pub dtr: Option<bool>,
    /// Whether the RTS line is raised. Default: as the system leaves it.
    pub rts: Option<bool>,
    /// Whether each frame or only the whole message is stored before the analyzer gets its answer. Default: frame.
    pub commit: Option<CommitPoint>,
    /// How messages are framed (astm and hl7): e1381 (as the protocol says), soh or none. Default: e1381.
    pub framing: Option<Framing>,
    /// Pictures of one test that its event carries, in bytes (hl7 only). 0 leaves all out. Default: 262144.
    #[schemars(range(min = 0, max = 67_108_864))]
    pub picture_bytes_max: Option<usize>,
    /// How its bytes become text. Default: auto.
    pub encoding: Option<Encoding>,
    /// Whether its clock may be set where it is wrong (poct1a only). Default: true.
    pub set_clock: Option<bool>,
    /// The program that speaks with the analyzer, by its whole path, and its arguments (driver exec only).
    #[schemars(length(min = 1, max = 64))]
    pub command: Option<Vec<String>>,
}

/// Where an analyzer is plugged in.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [
    { "required": ["path"] }, { "required": ["usb"] }, { "required": ["by_path"] }, { "required": ["tcp"] },
    { "required": ["input"] }
]))]
pub struct Port {
    /// A device file, such as /dev/ttyUSB0.
    pub path: Option<String>,
    /// The ids of the USB adapter, such as 0403:6001.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$"))]
    pub usb: Option<String>,
    /// The serial number of the USB adapter, beside usb.
    pub serial: Option<String>,
    /// The USB socket: a name of the folder /dev/serial/by-path.
    pub by_path: Option<String>,
    /// A network connection: one of listen and connect.
    pub tcp: Option<Tcp>,
    /// A barcode scanner that types like a keyboard, such as /dev/input/by-id/usb-...-event-kbd (driver scanner only).
    pub input: Option<String>,
}

/// An analyzer on the network.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{ "required": ["listen"] }, { "required": ["connect"] }]))]
pub struct Tcp {
    /// The analyzer calls the gateway at this address, such as 0.0.0.0:5600.
    pub listen: Option<String>,
    /// The gateway calls the analyzer or its terminal server, such as 192.168.1.20:4001.
    pub connect: Option<String>,
}

/// The MQTT broker that every event is published to.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Mqtt {
    /// embedded, mosquitto (the box's own: broker), mqtt://host:1883 or mqtts://host:8883. Default: embedded.
    pub url: Option<String>,
    /// auto, 5 or 3.1.1. Default: auto.
    pub version: Option<super::MqttVersion>,
    /// First part of every topic. Default: analyzer-gateway.
    pub topic_prefix: Option<String>,
    /// Longest packet sent or accepted, in bytes. Default: 1048576.
    #[schemars(range(min = 4096, max = 268_435_455))]
    pub packet_bytes_max: Option<usize>,
    /// Publishes on their way at once. Default: 64.
    #[schemars(range(min = 1, max = 1000))]
    pub window: Option<usize>,
    /// Whether Home Assistant finds the gateway and its analyzers by itself. Default: false.
    pub home_assistant: Option<bool>,
    /// User name for the broker.
    pub user: Option<String>,
    /// Password for the broker.
    #[schemars(extend("x-secret" = "whole"))]
    pub password: Option<String>,
    /// A file that holds the password, instead of password.
    pub password_file: Option<String>,
    /// The certificate authority that signed the broker's certificate, as a PEM file.
    pub ca_file: Option<String>,
    /// The gateway's own certificate, as a PEM file.
    pub certificate_file: Option<String>,
    /// The key of that certificate, as a PEM file.
    pub key_file: Option<String>,
    /// Whether results may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
}

/// What others are told of the box itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Monitoring {
    /// How often the box says how it is, in seconds. Default: 60.
    #[schemars(range(min = 5, max = 86_400))]
    pub interval_seconds: Option<u64>,
    /// A second broker, such as mqtts://fleet.example:8883. It is told how the box is, never what was measured.
    pub url: Option<String>,
    /// auto, 5 or 3.1.1. Default: auto.
    pub version: Option<super::MqttVersion>,
    /// First part of every topic there. Default: analyzer-gateway.
    pub topic_prefix: Option<String>,
    /// User name for that broker.
    pub user: Option<String>,
    /// Password for that broker.
    #[schemars(extend("x-secret" = "whole"))]
    pub password: Option<String>,
    /// A file that holds the password, instead of password.
    pub password_file: Option<String>,
    /// The certificate authority that signed that broker's certificate, as a PEM file.
    pub ca_file: Option<String>,
    /// The gateway's own certificate, as a PEM file.
    pub certificate_file: Option<String>,
    /// The key of that certificate, as a PEM file.
    pub key_file: Option<String>,
    /// Whether it may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
}

/// Traces for a collector of your own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Telemetry {
    /// Where traces are posted: OpenTelemetry's OTLP over HTTP, such as https://collector.example:4318/v1/traces.
    #[schemars(extend("x-secret" = "address"))]
    pub otlp_url: Option<String>,
    /// A bearer token for that address.
    #[schemars(extend("x-secret" = "whole"))]
    pub otlp_token: Option<String>,
    /// A file that holds the token, instead of otlp_token.
    pub otlp_token_file: Option<String>,
    /// Whether they may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
}

/// The gateway's own web address.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Http {
    /// Address and port of this box, such as 0.0.0.0:8080, or off. Default: 127.0.0.1:8080.
    pub listen: Option<String>,
    /// How the box is reached from outside, such as https://gateway.clinic.example.
    pub public_url: Option<String>,
    /// Who may read /metrics: token (scope read or more) or open (whoever reaches the port). Default: token.
    pub metrics: Option<super::MetricsDoor>,
    /// The programs that may use the API.
    pub tokens: Option<Vec<Token>>,
    /// Longest body taken, in bytes. Default: 4194304.
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub body_bytes_max: Option<usize>,
    /// Whether the page for people is served there too. Default: true.
    pub page: Option<bool>,
    /// Whether results may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
}

/// A program that may use the API.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Token {
    /// What you call this program. Small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: String,
    /// The SHA-256 of its token, in 64 hexadecimal digits.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    #[schemars(extend("x-secret" = "whole"))]
    pub hash: String,
    /// What it may do.
    pub scope: super::Scope,
}

/// One endpoint.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Webhook {
    /// What you call this endpoint. Small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: String,
    /// The address that events are posted to: https or http, for dialect hl7 also mllps or mllp.
    #[schemars(extend("x-secret" = "address"))]
    pub url: String,
    /// The form of the requests. Default: cloudevents.
    #[schemars(schema_with = "dialect_names")]
    pub dialect: Option<String>,
    /// The secret that signs the requests, or the key that the receiver asks for.
    #[schemars(extend("x-secret" = "whole"))]
    pub secret: Option<String>,
    /// A file that holds the secret, instead of secret.
    pub secret_file: Option<String>,
    /// Several secrets, newest first, while one is replaced by another.
    #[schemars(length(min = 1))]
    pub secrets: Option<Vec<Secret>>,
    /// Which events are sent: the gateway's names and the dialect's own. Default: all.
    #[schemars(length(min = 1), schema_with = "event_words")]
    pub events: Option<Vec<String>>,
    /// The analyzers whose events are sent. Default: all.
    #[schemars(length(min = 1))]
    pub analyzers: Option<Vec<String>>,
    /// Whether quality control runs are sent: include, exclude or only. Default: include.
    pub qc: Option<super::Qc>,
    /// Which personal data may leave: none, documented (what the receiver's document asks for) or all. Default: the
    /// dialect's own, none for partner, else documented.
    pub personal_data: Option<PersonalData>,
    /// Whose events are sent (partner only), such as labs. Default: everybody's.
    #[schemars(schema_with = "audiences")]
    pub audience: Option<String>,
    /// Where the attributes of an event stand (cloudevents only): structured (in the body) or binary (in headers).
    /// Default: structured.
    pub mode: Option<Mode>,
    /// Signatures beside those of the dialect.
    #[schemars(length(min = 1))]
    pub signatures: Option<Vec<Signature>>,
    /// Headers sent with every request.
    #[schemars(extend("x-secret" = "whole"))]
    pub headers: Option<BTreeMap<String, String>>,
    /// The statuses that mean success, such as [200, 202, 200-299]. Default: the dialect's own.
    #[schemars(length(min = 1), schema_with = "statuses")]
    pub success_statuses: Option<Vec<String>>,
    /// The delays of the attempts, such as [0s, 30s, 5m, 2h, 1d]. Default: the dialect's own table.
    #[schemars(length(min = 1), inner(regex(pattern = r"^(0|[0-9]+(ms|s|m|h|d))$")))]
    pub retry: Option<Vec<String>>,
    /// How the delays of retry are counted. Default: gaps.
    pub retry_reading: Option<RetryReading>,
    /// How long to wait for an answer, such as 30s. Default: 30s.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m|h|d)$"))]
    pub timeout: Option<String>,
    /// Requests on their way at once. Default: 4.
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<usize>,
    /// Events in one request, where the dialect can carry several. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    pub batch: Option<usize>,
    /// What keeps its order: the events of one test, of one analyzer, or none. Default: test.
    pub order: Option<super::Order>,
    /// After an outage: how many old events a second are sent beside the live ones; 0: no bound. Default: 200.
    #[schemars(range(min = 0, max = 100_000))]
    pub backfill_per_second_max: Option<u32>,
    /// The proxy that the requests go through, such as http://proxy.example:3128, or off. Default: network.proxy.
    #[schemars(extend("x-secret" = "address"))]
    pub proxy: Option<String>,
    /// The certificate authority that signed the endpoint's certificate, as a PEM file.
    pub ca_file: Option<String>,
    /// The gateway's own certificate, as a PEM file.
    pub certificate_file: Option<String>,
    /// The key of that certificate, as a PEM file.
    pub key_file: Option<String>,
    /// The receiver's public key: sha256/ and the base64 of its hash. No other key is trusted then.
    #[schemars(regex(pattern = r"^sha256/[A-Za-z0-9+/]{43}=?$"))]
    pub pinned_key: Option<String>,
    /// Whether sending rests. Events are kept meanwhile. Default: false.
    pub paused: Option<bool>,
    /// Whether results may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
    /// Whether other programs' events in other dialects come here too (cloudevents and template only). Default: false.
    pub posted: Option<bool>,
    /// Your own body and headers (template only).
    pub template: Option<Template>,
    /// The analyzers' codes as LOINC (fhir and hl7 only), such as WBC: 6690-2.
    pub loinc: Option<BTreeMap<String, String>>,
    /// MSH-5, the receiving application (hl7 only).
    pub receiving_application: Option<String>,
    /// MSH-6, the receiving facility (hl7 only).
    pub receiving_facility: Option<String>,
}

/// A secret: as it is, or with the day on which it runs out.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Secret {
    /// The secret itself.
    #[schemars(extend("x-secret" = "whole"))]
    Plain(String),
    Dated(DatedSecret),
}

/// A secret and the day on which it runs out.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DatedSecret {
    /// The secret itself.
    #[schemars(extend("x-secret" = "whole"))]
    pub secret: Option<String>,
    /// A file that holds the secret, instead of secret.
    pub secret_file: Option<String>,
    /// From then on it is not used: a day, which counts to its end in UTC, or a moment such as 2027-01-31T18:00:00Z.
    pub valid_until: Option<String>,
}

/// A signature beside those of the dialect: standard_webhooks, or mac with its secret.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Signature {
    /// Sign by Standard Webhooks with this secret: whsec_ for v1, whsk_ for v1a.
    #[schemars(extend("x-secret" = "whole"))]
    pub standard_webhooks: Option<String>,
    /// A file that holds that secret, instead of standard_webhooks.
    pub standard_webhooks_file: Option<String>,
    /// Send hmac-sha256= and the HMAC of the body in a header of this name.
    pub mac: Option<String>,
    /// The secret of mac.
    #[schemars(extend("x-secret" = "whole"))]
    pub secret: Option<String>,
    /// A file that holds the secret of mac, instead of secret.
    pub secret_file: Option<String>,
}

/// Your own body and headers. What is filled in stands in {{ }}.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Template {
    /// The body.
    #[schemars(extend("x-secret" = "whole"))]
    pub body: Option<String>,
    /// A file that holds the body, instead of body.
    pub body_file: Option<String>,
    /// Headers with places to fill in.
    #[schemars(extend("x-secret" = "whole"))]
    pub headers: Option<BTreeMap<String, String>>,
}

/// Webhooks that come in.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Source {
    /// What you call this sender, and the end of its address. Small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: String,
    /// The form of the requests.
    #[schemars(schema_with = "source_dialects")]
    pub dialect: String,
    /// The secret that the sender signs with, or the key that it sends.
    #[schemars(extend("x-secret" = "whole"))]
    pub secret: Option<String>,
    /// A file that holds the secret, instead of secret.
    pub secret_file: Option<String>,
    /// Several secrets, of which any will do.
    #[schemars(length(min = 1), extend("x-secret" = "whole"))]
    pub secrets: Option<Vec<String>>,
    /// The web pages that may send from a browser, such as https://app.example, or *. Default: none.
    pub origins: Option<Vec<String>>,
    /// The name of the analyzer whose tests these are (test-v0 and cloudevents only). Default: the source's id.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub analyzer: Option<String>,
}

/// The samples that are expected or received.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Registrations {
    /// The address that assigns the laboratory's id to a registration.
    #[schemars(extend("x-secret" = "address"))]
    pub lab_id_url: Option<String>,
    /// The bearer token for that address.
    #[schemars(extend("x-secret" = "whole"))]
    pub lab_id_token: Option<String>,
    /// A file that holds the token, instead of lab_id_token.
    pub lab_id_token_file: Option<String>,
    /// Whether ids may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
}
