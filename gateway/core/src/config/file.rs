//! The shape of the file: which keys there are, what each means and how large a number may be.
//!
//! These types are never filled. `analyzer-gateway schema` prints the JSON Schema made from them, and the reader takes its
//! known keys and its ranges from that schema, so what is documented and what is read cannot differ. Doc comments here are
//! shown to people by their editor.

use crate::delivery::RetryReading;
use crate::dialects::DIALECTS;
use crate::drivers::DRIVERS;
use crate::event::EventName;
use crate::session::{CommitPoint, Framing};
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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
    /// The HTTP endpoints that events are posted to.
    pub webhooks: Option<Vec<Webhook>>,
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
    /// The language that it speaks.
    #[schemars(schema_with = "driver_names")]
    pub driver: String,
    /// Where it is plugged in: exactly one of path, usb, by_path and tcp.
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
    /// Whether each frame or only the whole message is stored before the analyzer gets its answer. Default: frame.
    pub commit: Option<CommitPoint>,
    /// How records are framed (astm only). Default: e1381.
    pub framing: Option<Framing>,
}

/// Where an analyzer is plugged in.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [
    { "required": ["path"] }, { "required": ["usb"] }, { "required": ["by_path"] }, { "required": ["tcp"] }
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
    /// embedded, or mqtt://host:1883, or mqtts://host:8883. Default: embedded.
    pub url: Option<String>,
    /// First part of every topic. Default: analyzer-gateway.
    pub topic_prefix: Option<String>,
    /// Longest packet sent or accepted, in bytes. Default: 1048576.
    #[schemars(range(min = 4096, max = 268_435_455))]
    pub packet_bytes_max: Option<usize>,
    /// Publishes on their way at once. Default: 64.
    #[schemars(range(min = 1, max = 1000))]
    pub window: Option<usize>,
    /// User name for the broker.
    pub user: Option<String>,
    /// Password for the broker.
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

/// One HTTP endpoint.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Webhook {
    /// What you call this endpoint. Small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: String,
    /// The address that events are posted to.
    pub url: String,
    /// The form of the requests. Default: cloudevents.
    #[schemars(schema_with = "dialect_names")]
    pub dialect: Option<String>,
    /// The secret that signs the requests.
    pub secret: Option<String>,
    /// A file that holds the secret, instead of secret.
    pub secret_file: Option<String>,
    /// Several secrets, newest first, while one is replaced by another.
    #[schemars(length(min = 1))]
    pub secrets: Option<Vec<String>>,
    /// Which events are sent. Default: all.
    #[schemars(length(min = 1))]
    pub events: Option<Vec<EventName>>,
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
    /// Headers sent with every request.
    pub headers: Option<BTreeMap<String, String>>,
    /// The certificate authority that signed the endpoint's certificate, as a PEM file.
    pub ca_file: Option<String>,
    /// Whether results may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
}

/// Bounds on memory and disk.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Longest frame from an analyzer, in bytes. Default: 65536.
    #[schemars(range(min = 256, max = 16_777_216))]
    pub frame_bytes_max: Option<usize>,
    /// Longest message from an analyzer, in bytes. Default: 8388608.
    #[schemars(range(min = 256, max = 268_435_456))]
    pub message_bytes_max: Option<usize>,
    /// Size of the database at which the oldest data is given up, in bytes. Default: no limit.
    #[schemars(range(min = 1_048_576))]
    pub store_bytes_max: Option<u64>,
    /// How long a lone event may wait for company before it is stored, in milliseconds. Default: 0.
    #[schemars(range(max = 1000))]
    pub commit_linger_ms_max: Option<u64>,
    /// How many later events a destination may take on while an older one still fails. Default: 256.
    #[schemars(range(min = 1, max = 65_536))]
    pub ahead_events_max: Option<usize>,
}

/// How long data is kept. 0 is for ever.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retention {
    /// Days that the record of successful deliveries is kept. Default: 14.
    #[schemars(range(max = 36_500))]
    pub attempts_kept_days: Option<u32>,
    /// Days that the received bytes are kept. Default: 365.
    #[schemars(range(max = 36_500))]
    pub captures_kept_days: Option<u32>,
    /// Days that events are kept. Default: 365.
    #[schemars(range(max = 36_500))]
    pub events_kept_days: Option<u32>,
}

/// The JSON Schema of the whole file (draft 2020-12), for editors.
pub fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    without_null(&mut schema);
    schema
}

/// The same of one part, without references: what the reader asks for its keys.
pub fn schema_of<T: JsonSchema>() -> serde_json::Value {
    let inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = inline.into_generator().into_root_schema_for::<T>();
    without_null(&mut schema);
    schema.to_value()
}

/// An optional key is left out, not written as null: takes the nulls that `Option` brings out of the schema.
fn without_null(schema: &mut Schema) {
    let null = serde_json::json!({ "type": "null" });
    RecursiveTransform(|schema: &mut Schema| {
        if let Some(serde_json::Value::Array(types)) = schema.get_mut("type") {
            types.retain(|word| word != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(serde_json::Value::Array(words)) = schema.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
        let choices = schema.get("anyOf").and_then(|choices| choices.as_array()).cloned().unwrap_or_default();
        if let [only, other] = choices.as_slice()
            && *other == null
            && let Some(only) = only.as_object()
        {
            schema.remove("anyOf");
            for (key, value) in only {
                if schema.get(key).is_none() {
                    schema.insert(key.clone(), value.clone());
                }
            }
        }
    })
    .transform(schema);
}

fn driver_names(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = DRIVERS.iter().map(|driver| driver.name()).collect();
    json_schema!({ "type": "string", "enum": names })
}

fn dialect_names(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name()).collect();
    json_schema!({ "type": "string", "enum": names })
}
