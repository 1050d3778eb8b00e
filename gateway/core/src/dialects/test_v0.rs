//! `test-v0`: the webhook body of seed 000, strictly.
//!
//! A known receiver refuses any key that the document does not have, at any level, so every object here is written from a
//! list of keys and in the document's order; ids, times and signatures of ours stand in headers only. Numbers keep the
//! text in which they were received. `data` is cumulative: the deltas of the test so far, laid at their offsets.
//!
//! What has no form here: every event but the six triggers; DEVICE_READY and ALREADY_TESTING without a device (their
//! document leaves it out, a receiver demands it, and drivers give them the last one known, so who posts them must give it);
//! and a finished test that is no amplification run, such as an ASTM order with its results.

use super::catalogue::{Entry, Key, Kind, Severity, write_object};
use super::standard_webhooks;
use super::verdict::Statuses;
use super::{
    Accepted, Attempt, Dialect, Endpoint, Received, Refusal, RenderError, Request, Response, incoming, post,
    probe_event, single,
};
use crate::delivery::Outcome;
use crate::event::{Device, Event, EventId, EventKind, EventName, RunDelta, Test, TestState};
use crate::time::Now;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// See the module.
pub struct TestV0;

/// 400 and 404 answer events that come at the wrong moment of a test, 422 a body: all three mean this event alone.
const STATUSES: Statuses = Statuses { refuse_one_event: &[400, 404, 422], success: 200..=299 };

const DEVICE: &[Key] = &[
    Key::required("hwVersion", Kind::Text),
    Key::required("swVersion", Kind::Text),
    Key::required("deviceModel", Kind::Text),
    Key::required("sn", Kind::Integer),
    Key::required("configuration", Kind::Text),
];
const STATE: Key = Key::required(
    "state",
    Kind::OneOf(&["UNINITIALIZED", "IDLE", "TESTING", "DONE", "BLOCKED_ALREADY_TESTING", "BLOCKED_NOT_READY"]),
);
const RESULT: &[Key] = &[
    Key::required("detectionType", Kind::Integer),
    Key::required("detectionFlowNumber", Kind::Integer),
    Key::required("detectionResult", Kind::OneOf(&["NEGATIVE", "POSITIVE", "INVALID"])),
    Key::required("numberOfChannels", Kind::Integer),
    Key::required("startingChannel", Kind::Integer),
    Key::required("channelResults", Kind::TextList),
    Key::required("numberOfSubGroups", Kind::Integer),
    Key::required(
        "subGroupResults",
        Kind::Objects(&[Key::required("result", Kind::Text), Key::required("name", Kind::Text)]),
    ),
];
const TEMPERATURE: &[Key] = &[Key::required("time", Kind::Moment), Key::required("temp", Kind::Number)];
const SAMPLE: &[Key] = &[
    Key::required("sampleType", Kind::Integer),
    Key::required("sampleStreamNumber", Kind::Integer),
    Key::required("currentDataIndex", Kind::Integer),
    Key::required("totalNumberOfSamples", Kind::Integer),
    Key::required("startingChannel", Kind::Integer),
    Key::required("numberOfChannels", Kind::Integer),
    Key::required("samplingTime", Kind::Number),
    Key::required("samplingTemperature", Kind::Number),
    Key::required("firstChannelResult", Kind::Number),
];
const DATA: Key = Key::required(
    "data",
    Kind::Object(&[
        Key::required("temperatureSamples", Kind::Objects(TEMPERATURE)),
        Key::required("samples", Kind::Objects(SAMPLE)),
    ]),
);
const RUNNING: &[Key] =
    &[Key::required("device", Kind::Object(DEVICE)), Key::required("test", Kind::Object(&[STATE, DATA]))];
const FINISHED: &[Key] = &[
    Key::required("device", Kind::Object(DEVICE)),
    Key::required("test", Kind::Object(&[STATE, Key::required("result", Kind::Object(RESULT)), DATA])),
];

const fn entry(event: &'static str, payload: &'static [Key], about: &'static str) -> Entry {
    Entry { event, about, severity: Severity::Info, audiences: &[], payload, documented: true }
}

/// The six triggers.
const CATALOGUE: &[Entry] = &[
    entry("TEST_STARTED", RUNNING, "A test was started."),
    entry("CONTINUE_TEST", RUNNING, "A test goes on."),
    entry("TEST_FINISHED", FINISHED, "A test has finished; only here `test` holds a `result`."),
    entry("NEW_DATA", RUNNING, "New channel data of a running test."),
    entry("DEVICE_READY", RUNNING, "The device is warm and ready for a test."),
    entry("ALREADY_TESTING", RUNNING, "The device runs a test already."),
];

impl Dialect for TestV0 {
    fn name(&self) -> &'static str {
        "test-v0"
    }

    fn about(&self) -> &'static str {
        "An analyzer's test while it runs, with all of its samples so far: for receivers of the version 0 test webhook"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        let speaks = matches!(
            name,
            EventName::TestStarted
                | EventName::ContinueTest
                | EventName::TestFinished
                | EventName::NewData
                | EventName::DeviceReady
                | EventName::AlreadyTesting
        );
        speaks.then_some(name.as_str())
    }

    fn catalogue(&self) -> &'static [Entry] {
        CATALOGUE
    }

    fn has_form(&self, event: &Event, _: &Endpoint) -> bool {
        if let Some(posted) = &event.kind.posted {
            return posted.dialect == self.name() && self.entry(&posted.event).is_some();
        }
        let run = |test: &Test| test.data.is_some() || test.result.is_some();
        match event.kind.name {
            EventName::DeviceReady | EventName::AlreadyTesting => event.kind.device.is_some(),
            EventName::TestFinished => event.kind.test.as_ref().is_some_and(run),
            name => self.word(name).is_some() && event.kind.test.is_some(),
        }
    }

    fn needs_history(&self, name: EventName) -> bool {
        self.word(name).is_some()
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = single(batch)?;
        if !self.has_form(event, attempt.endpoint) {
            return Ok(None);
        }
        let body = match &event.kind.posted {
            Some(posted) => {
                let Some(entry) = self.entry(&posted.event) else { return Ok(None) };
                // Its two objects stand beside version and event.
                let payload = entry.posted(posted)?;
                let fields = payload.strip_prefix('{').unwrap_or(&payload);
                format!(r#"{{"version":0,"event":"{}",{fields}"#, entry.event)
            }
            None => body(event, last_known_device(event, attempt.history), attempt.history),
        };
        // To a receiver of the document alone our headers mean nothing: they come with the signature that they are for.
        let standard = (!attempt.secrets.is_empty()).then_some(event.id);
        post(event, attempt, "application/json", standard, body.into_bytes()).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let versions =
            json!({"hwVersion": "WEBHOOK-TEST", "swVersion": "WEBHOOK-TEST", "configuration": "WEBHOOK-TEST"});
        let device = Device {
            model: Some("WEBHOOK-TEST".to_owned()),
            sn: Some("0".to_owned()),
            details: versions.as_object().cloned().unwrap_or_default(),
        };
        let kind = EventKind { device: Some(device), ..EventKind::bare(EventName::DeviceReady) };
        let event = probe_event(id, attempt, kind);
        let request = self.render(&[event], attempt)?.ok_or_else(|| RenderError::ours("a probe has a form"))?;
        Ok(request.marked_as_test())
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        STATUSES.judge(response, endpoint, now)
    }

    fn is_cumulative(&self) -> bool {
        true
    }

    fn receives(&self) -> bool {
        true
    }

    fn accept(&self, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
        incoming::test_v0(received)
    }
}

fn last_known_device<'a>(event: &'a Event, history: &'a [Event]) -> Option<&'a Device> {
    let earlier = history.iter().rev().filter(|other| other.seq < event.seq);
    event.kind.device.as_ref().or_else(|| earlier.filter_map(|other| other.kind.device.as_ref()).next())
}

fn body(event: &Event, device: Option<&Device>, history: &[Event]) -> String {
    let name = event.kind.name;
    let state = event.kind.test.as_ref().map_or_else(|| usual_state(name), |test| test.state);
    let mut test = format!(r#"{{"state":"{}""#, state.as_str());
    let finished = name == EventName::TestFinished || state == TestState::Done;
    if let Some(Value::Object(result)) = event.kind.test.as_ref().and_then(|test| test.result.as_ref())
        && finished
    {
        test.push_str(&format!(r#","result":{}"#, write_object(result, RESULT)));
    }
    let (temperatures, samples) = run_so_far(event, history);
    let temperatures = array(&temperatures, TEMPERATURE);
    let samples = array(&samples, SAMPLE);
    test.push_str(&format!(r#","data":{{"temperatureSamples":{temperatures},"samples":{samples}}}}}"#));
    let device = device.map_or_else(String::new, |device| format!(r#""device":{},"#, device_object(device)));
    format!(r#"{{"version":0,"event":"{name}",{device}"test":{test}}}"#)
}

/// The state that the document shows for the events that may come without a test.
fn usual_state(name: EventName) -> TestState {
    match name {
        EventName::AlreadyTesting => TestState::BlockedAlreadyTesting,
        EventName::TestFinished => TestState::Done,
        EventName::DeviceReady => TestState::Idle,
        _ => TestState::Testing,
    }
}

/// Samples by index.
pub type Laid<'a> = BTreeMap<usize, &'a Value>;

/// The temperatures and samples of the event's test up to the event, by index. One that came twice counts as it came last.
pub fn run_so_far<'a>(event: &'a Event, history: &'a [Event]) -> (Laid<'a>, Laid<'a>) {
    let same_test = |other: &&Event| other.seq < event.seq && other.test_id() == event.test_id();
    let earlier = history.iter().filter(same_test);
    let deltas = earlier.chain([event]).filter_map(|event| event.kind.test.as_ref()?.data.as_ref());
    let (mut temperatures, mut samples) = (Laid::new(), Laid::new());
    for RunDelta { temperatures_from, samples_from, temperatures: new_temperatures, samples: new_samples } in deltas {
        temperatures.extend((*temperatures_from..).zip(new_temperatures));
        samples.extend((*samples_from..).zip(new_samples));
    }
    (temperatures, samples)
}

fn device_object(device: &Device) -> String {
    let mut fields = Map::new();
    for key in ["hwVersion", "swVersion", "configuration"] {
        if let Some(value) = device.details.get(key) {
            fields.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(model) = &device.model {
        fields.insert("deviceModel".to_owned(), model.as_str().into());
    }
    if let Some(number) = device.sn.as_deref().and_then(serial_number) {
        fields.insert("sn".to_owned(), Value::Number(number));
    }
    write_object(&fields, DEVICE)
}

/// The serial number as a JSON integer. The document prints ten noughts, which JSON does not allow: leading ones go. Text
/// that is no number is left out rather than sent as something that it is not.
fn serial_number(text: &str) -> Option<serde_json::Number> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    serde_json::from_str(if significant.is_empty() { "0" } else { significant }).ok()
}

fn array(laid: &Laid<'_>, keys: &[Key]) -> String {
    let objects: Vec<String> =
        laid.values().filter_map(|value| value.as_object()).map(|fields| write_object(fields, keys)).collect();
    format!("[{}]", objects.join(","))
}
