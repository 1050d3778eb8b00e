//! An event as a child process states it: the object that `decode` prints, less what the gateway knows better.
//!
//! Invariant: every key is known, and no sentence of the child's goes on: its codes are words, the sentences are ours.

use crate::drivers::values::decimal;
use crate::event::{Device, EventKind, EventName, Id, Identity, Personal, Query, ResultValue, Test, TestId, TestState};
use crate::reading::is_loinc;
use serde::Deserialize;
use serde::de::{Error, IgnoredAny};
use sha2::{Digest, Sha256};

/// Bytes of a child's own code, at most.
const CODE_BYTES_MAX: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct StatedEvent {
    kind: EventKind,
    /// The test's id, if the child has one of its own.
    test_id: Option<TestId>,
}

impl StatedEvent {
    /// The event as it is committed. `message` tells this message from any other; `repeats`: also when it comes again.
    pub fn event(self, message: &[u8; 32], ordinal: usize, repeats: bool) -> EventKind {
        let mut kind = self.kind;
        let place = (ordinal as u64).to_be_bytes();
        if let Some(test) = &mut kind.test {
            test.id = self.test_id.unwrap_or_else(|| Id::derived(&[b"exec-test", message, &place]));
        }
        if repeats {
            let hash = Sha256::new().chain_update(b"exec-event").chain_update(message).chain_update(place);
            kind.identity = Some(Identity(hash.finalize().into()));
        }
        kind
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    event: EventName,
    #[serde(default)]
    device: Option<DeviceLine>,
    #[serde(default)]
    test: Option<TestLine>,
    #[serde(default)]
    query: Option<QueryLine>,
    #[serde(default)]
    rejection: Option<CodeLine>,
    #[serde(default)]
    alarm: Option<CodeLine>,
    /// What `decode` prints besides, and the gateway sets itself.
    #[serde(default, rename = "analyzer")]
    _analyzer: IgnoredAny,
    #[serde(default, rename = "received_at")]
    _received_at: IgnoredAny,
    #[serde(default, rename = "clock")]
    _clock: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceLine {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    sn: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeLine {
    code: String,
    #[serde(default, rename = "reason")]
    _reason: IgnoredAny,
    #[serde(default, rename = "bytes")]
    _bytes: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryLine {
    sample_ids: Vec<Personal>,
    #[serde(default = "orders_wanted")]
    status: String,
}

fn orders_wanted() -> String {
    "O".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestLine {
    #[serde(default)]
    id: Option<TestId>,
    #[serde(default, rename = "state")]
    _state: IgnoredAny,
    #[serde(default)]
    sample_id: Option<Personal>,
    #[serde(default)]
    instrument_sample_id: Option<Personal>,
    #[serde(default)]
    patient_id: Option<Personal>,
    #[serde(default)]
    qc: bool,
    #[serde(default)]
    calibration: bool,
    #[serde(default = "first")]
    version: u32,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    finished_at: Option<String>,
    #[serde(default)]
    results: Vec<ResultLine>,
    #[serde(default)]
    comments: Vec<Personal>,
}

fn first() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultLine {
    code: String,
    value: Personal,
    #[serde(default)]
    name: String,
    #[serde(default)]
    loinc: Option<String>,
    #[serde(default, rename = "number")]
    _number: IgnoredAny,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    reference: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    status: String,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    at_text: String,
    #[serde(default)]
    comments: Vec<Personal>,
}

impl<'de> Deserialize<'de> for StatedEvent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        stated(EventLine::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The event, or why there is no such one.
fn stated(line: EventLine) -> Result<StatedEvent, String> {
    let EventLine { event: name, device, test, query, rejection, alarm, .. } = line;
    let told = [
        (test.is_some(), "test", EventName::TestFinished),
        (query.is_some(), "query", EventName::QueryReceived),
        (rejection.is_some(), "rejection", EventName::MessageRejected),
        (alarm.is_some(), "alarm", EventName::AnalyzerAlarm),
    ];
    if let Some((_, key, _)) = told.iter().find(|(there, _, of)| *there && *of != name) {
        return Err(format!("`{key}` does not belong to {name}"));
    }
    let missing = |key: &str| format!("{name} needs `{key}`");
    let mut test_id = None;
    let mut kind = match name {
        EventName::TestFinished => {
            let test = test.ok_or_else(|| missing("test"))?;
            test_id = test.id;
            EventKind::about_test(name, None, finished(test))
        }
        EventName::QueryReceived => {
            let QueryLine { sample_ids, status } = query.ok_or_else(|| missing("query"))?;
            EventKind { query: Some(Query { sample_ids, status }), ..EventKind::bare(name) }
        }
        EventName::MessageRejected => {
            let code = word(rejection.ok_or_else(|| missing("rejection"))?)?;
            EventKind::rejected(&code, "the analyzer's program could not understand the message", 0)
        }
        EventName::AnalyzerAlarm => {
            let code = word(alarm.ok_or_else(|| missing("alarm"))?)?;
            EventKind::alarm(&code, format!("the analyzer's program raises the alarm `{code}`"))
        }
        EventName::DeviceReady => EventKind::bare(name),
        other => return Err(format!("{other} is none that a program may state")),
    };
    kind.device = device.map(|DeviceLine { model, sn }| Device { model, sn, ..Device::default() });
    Ok(StatedEvent { kind, test_id })
}

fn word(line: CodeLine) -> Result<String, String> {
    let code = line.code;
    let plain = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match plain && (1..=CODE_BYTES_MAX).contains(&code.len()) {
        true => Ok(code),
        false => Err(format!("a code has small letters and _ only, {CODE_BYTES_MAX} at most")),
    }
}

fn finished(line: TestLine) -> Test {
    Test {
        sample_id: line.sample_id.and_then(trimmed),
        instrument_sample_id: line.instrument_sample_id.and_then(trimmed),
        patient_id: line.patient_id.and_then(trimmed),
        qc: line.qc,
        calibration: line.calibration,
        version: line.version.max(1),
        started_at: line.started_at.as_deref().and_then(local),
        finished_at: line.finished_at.as_deref().and_then(local),
        results: line.results.into_iter().map(value).collect(),
        comments: line.comments,
        // The id is set where the message is known.
        ..Test::new(Id([0; 16]), TestState::Done)
    }
}

fn value(line: ResultLine) -> ResultValue {
    let text = line.value.expose().trim();
    ResultValue {
        number: decimal(text),
        value: Personal::new(text),
        at: line.at.as_deref().and_then(local),
        code: line.code,
        name: line.name,
        loinc: line.loinc.filter(|code| is_loinc(code)),
        unit: line.unit,
        reference: line.reference,
        flags: line.flags,
        status: line.status,
        at_text: line.at_text,
        comments: line.comments,
        ..ResultValue::default()
    }
}

/// An id with something in it.
fn trimmed(id: Personal) -> Option<Personal> {
    let text = id.expose().trim();
    (!text.is_empty()).then(|| Personal::new(text))
}

/// The analyzer's local time, RFC 3339 without offset; `None` if it is none.
fn local(text: &str) -> Option<String> {
    text.parse::<jiff::civil::DateTime>().ok().map(|moment| moment.to_string())
}
