//! What stands about a person, in types that no log can print.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Text about a patient, a sample or a result. Serialises as the plain text (stores, MQTT and webhooks are meant to carry
/// it); `Debug` hides it and there is no `Display`, so that a log cannot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(String);

impl Personal {
    pub fn new(text: impl Into<String>) -> Personal {
        Personal(text.into())
    }

    /// The text itself. Whoever calls this decides where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

/// The payload of an event that another program made: it may hold anything, so it is treated as [`Personal`].
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Value);

impl Payload {
    pub fn new(value: Value) -> Payload {
        Payload(value)
    }

    /// The payload itself. Whoever calls this decides where it goes.
    pub fn expose(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}
