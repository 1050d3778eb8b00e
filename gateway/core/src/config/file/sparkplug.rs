//! `sparkplug:`, as it is written.

use crate::config::MqttVersion;
use schemars::JsonSchema;

/// A plant's SCADA.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Sparkplug {
    /// The plant's broker, such as mqtts://scada.example:8883. It is told how the box is, never what was measured.
    pub url: Option<String>,
    /// auto, 5 or 3.1.1. Default: auto.
    pub version: Option<MqttVersion>,
    /// The group that the gateway belongs to there.
    #[schemars(length(min = 1, max = 64))]
    pub group_id: Option<String>,
    /// The host application without which nothing is told. Default: it is told to whoever listens.
    #[schemars(length(min = 1, max = 64))]
    pub primary_host: Option<String>,
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
