//! The shape of a profile: a model of analyzer, as `config/profiles/<maker>-<model>.yaml` tells it, or as it stands under an
//! analyzer's `profile:`. Never filled, as its parent's types.

use super::schema::driver_names;
use super::text::Text;
use crate::config::{Caller, FlowControl, Parity, Tried};
use crate::reading::Encoding;
use crate::session::{CommitPoint, Framing};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// A model of analyzer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Profile {
    /// The version of this file's shape. 1 if absent.
    #[schemars(range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// Who makes it.
    pub maker: String,
    /// Its name as its maker writes it.
    pub model: String,
    /// The language that it speaks.
    #[schemars(schema_with = "driver_names")]
    pub driver: String,
    /// How its serial line is set when it comes from the factory.
    pub line: Option<Line>,
    /// Where it speaks over a network: who calls, analyzer or gateway.
    pub tcp: Option<Caller>,
    /// Whether each frame or only the whole message is stored before the analyzer gets its answer. Default: frame.
    pub commit: Option<CommitPoint>,
    /// How messages are framed (astm and hl7): e1381 (as the protocol says), soh or none. Default: e1381.
    pub framing: Option<Framing>,
    /// How its bytes become text. Default: auto.
    pub encoding: Option<Encoding>,
    /// The program that speaks with it, by its whole path, and its arguments (driver exec only).
    #[schemars(length(min = 1, max = 64))]
    pub command: Option<Vec<String>>,
    /// Where the sample's id is, the first place that holds something: O.4, PID.3.1.
    #[schemars(length(min = 1))]
    pub sample_id: Option<Vec<String>>,
    /// Where the patient's id is.
    #[schemars(length(min = 1))]
    pub patient_id: Option<Vec<String>>,
    /// Where the analyzer writes its model's name. Default: as the driver knows it (astm: H.5.1).
    pub model_at: Option<String>,
    /// Where the analyzer's own serial number is.
    pub serial_number: Option<String>,
    /// The components of a test's id that hold its code, the first that holds something counts.
    #[schemars(length(min = 1))]
    pub code: Option<Vec<u8>>,
    /// The components of a test's id that follow the code where an order has it more than once. Default: the whole id.
    #[schemars(length(min = 1))]
    pub told_apart_by: Option<Vec<u8>>,
    /// The components of a test's id that hold its name. Default: the second.
    #[schemars(length(min = 1))]
    pub test_name: Option<Vec<u8>>,
    /// A regular expression: a sample id that matches is of a control run.
    pub qc: Option<String>,
    /// Fields that tell a control run, each with a regular expression: `P.16: ^Control$`.
    pub qc_fields: Option<BTreeMap<String, String>>,
    /// A regular expression: a sample id that matches is of a calibration.
    pub calibration: Option<String>,
    /// What its codes mean.
    pub codes: Option<BTreeMap<String, Meaning>>,
    /// How it writes plain text (driver text only).
    pub text: Option<Text>,
    /// What to set on the analyzer itself, in sentences.
    pub setup: Option<Vec<String>>,
    /// Where these facts are from.
    pub sources: Option<Vec<String>>,
    /// Whether it was tried on bytes that such an analyzer has sent: real-bytes or sources. Default: sources.
    pub tried: Option<Tried>,
}

/// A serial line.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Line {
    /// Speed of the serial line. Default: 9600.
    pub baud: Option<u32>,
    /// Data bits of the serial line. Default: 8.
    #[schemars(range(min = 5, max = 8))]
    pub data_bits: Option<u8>,
    /// Parity of the serial line. Default: none.
    pub parity: Option<Parity>,
    /// Stop bits of the serial line. Default: 1.
    #[schemars(range(min = 1, max = 2))]
    pub stop_bits: Option<u8>,
    /// Who may say stop: none, xon-xoff or rts-cts. Default: none.
    pub flow_control: Option<FlowControl>,
    /// Whether the DTR line is raised. Default: as the system leaves it.
    pub dtr: Option<bool>,
    /// Whether the RTS line is raised. Default: as the system leaves it.
    pub rts: Option<bool>,
}

/// What a code means. What is not certain is left out.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Meaning {
    /// What people call it.
    pub name: Option<String>,
    /// The unit of values that come without one.
    pub unit: Option<String>,
    /// Its LOINC code, whatever the unit.
    #[schemars(regex(pattern = r"^[0-9]{1,7}-[0-9]$"))]
    pub loinc: Option<String>,
    /// Its LOINC code by the value's unit, where that decides: `mg/dL: 2345-7`.
    pub loinc_by_unit: Option<BTreeMap<String, String>>,
}
