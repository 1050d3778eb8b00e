//! What a dialect knows of the events that other programs may post: names, severity, audience, payload shape, personal data.

use serde_json::Value;

/// One event of a dialect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Its name in this dialect.
    pub event: &'static str,
    /// What it tells, in a sentence.
    pub about: &'static str,
    /// `session` only; `INFO` elsewhere.
    pub severity: Severity,
    /// Who gets it, in dialects that name audiences; empty: everybody.
    pub audiences: &'static [&'static str],
    /// The keys of its payload. No keys: it has no payload.
    pub payload: &'static [Key],
    /// Whether the payload's shape stands in the receiver's document; otherwise it is ours, after its nearest relative.
    pub documented: bool,
}

/// `severity` of a session's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Severity {
    #[default]
    Info,
    Warn,
    Error,
}

impl Severity {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
        }
    }
}

/// One key of a payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    /// Whether its value tells who somebody is or how to reach them.
    pub personal: bool,
}

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Number,
    /// Text that is not empty.
    Text,
    /// An absolute http or https URL.
    Url,
    /// RFC 3339 with an offset.
    Moment,
    /// `2020-11-16 10:00:00+00`
    SpacedMoment,
    TextList,
    OneOf(&'static [&'static str]),
}

/// Something wrong with a payload. Neither part quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Fault {
    /// Where, as a JSON pointer: `/payload/sampleId`.
    pub path: String,
    pub problem: String,
}

impl Entry {
    /// Every fault of a payload (`None`: none was posted); `at` is the JSON pointer of the payload itself.
    pub fn check(&self, payload: Option<&Value>, at: &str) -> Vec<Fault> {
        let _ = (payload, at);
        Vec::new()
    }
}
