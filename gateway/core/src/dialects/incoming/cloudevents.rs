//! `cloudevents` comes in: the events of another gateway, structured, in a batch or in binary mode.
//!
//! `id` and `source` together name an event (CloudEvents 1.0 section 3.1), so they are its identity.

use super::{Accepted, Received, Refusal, accepted, identity, posted, refusal, text, verify_standard};
use crate::dialects::dialect;
use crate::event::{EventKind, EventName, Personal};
use serde_json::{Map, Value};

/// What an event type of ours begins with.
const TYPE: &str = "analyzer-gateway.";
/// The facts of another gateway that are facts here too: those of tests and analyzers.
const TAKEN: [EventName; 13] = [
    EventName::TestStarted,
    EventName::ContinueTest,
    EventName::NewData,
    EventName::TestFinished,
    EventName::DeviceReady,
    EventName::AlreadyTesting,
    EventName::QueryReceived,
    EventName::MessageRejected,
    EventName::Gap,
    EventName::AnalyzerConnected,
    EventName::AnalyzerDisconnected,
    EventName::AnalyzerAlarm,
    EventName::SampleScanned,
];
/// As many as one request of ours can hold.
const BATCH_MAX: usize = 1000;

pub fn accept(received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
    verify_standard(received)?;
    let content_type = received.header("content-type").unwrap_or_default().trim().to_ascii_lowercase();
    let body: Value = serde_json::from_slice(received.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        refusal(400, format!("the body is not JSON: line {line}, column {column}"))
    })?;
    let events = match body {
        Value::Array(events) if content_type.starts_with("application/cloudevents-batch") => events,
        _ if content_type.starts_with("application/cloudevents-batch") => {
            return Err(refusal(422, "the body is not the array that its content type says"));
        }
        Value::Object(event) if content_type.starts_with("application/cloudevents") => vec![Value::Object(event)],
        data if received.header("ce-id").is_some() => vec![binary(received, data)?],
        _ => return Err(refusal(422, "is no CloudEvent: content-type and ce-id both say nothing of one")),
    };
    if events.len() > BATCH_MAX {
        return Err(refusal(422, format!("the batch has more than {BATCH_MAX} events")));
    }
    let mut taken = Vec::with_capacity(events.len());
    for event in events {
        taken.extend(one(event, !received.secrets.is_empty())?);
    }
    Ok(taken)
}

/// The attributes from the headers, as the structured mode has them. Only those that are read here: they are ASCII.
fn binary(received: &Received<'_>, data: Value) -> Result<Value, Refusal> {
    let mut event = Map::from_iter([("data".to_owned(), data)]);
    for name in ["specversion", "id", "type", "source"] {
        let value = received.header(&format!("ce-{name}"));
        let value = value.ok_or_else(|| refusal(422, format!("the header ce-{name} is missing")))?;
        event.insert(name.to_owned(), value.into());
    }
    Ok(Value::Object(event))
}

/// The event, or nothing if it only tries the address out. Only a `signed` one may be another program's.
fn one(event: Value, signed: bool) -> Result<Option<Accepted>, Refusal> {
    let Value::Object(mut event) = event else { return Err(refusal(422, "an event is not an object")) };
    if text(&event, "specversion")? != "1.0" {
        return Err(refusal(422, "/specversion is not 1.0"));
    }
    let foreign = || refusal(422, format!("/type does not begin with `{TYPE}`: only a gateway's events are received"));
    let word = text(&event, "type")?.strip_prefix(TYPE).ok_or_else(foreign)?;
    if word == EventName::WebhookTest.as_str() {
        return Ok(None);
    }
    let identity = identity(&[b"cloudevents", text(&event, "source")?.as_bytes(), text(&event, "id")?.as_bytes()]);
    let Some(Value::Object(mut data)) = event.remove("data") else {
        return Err(refusal(422, "/data must be an object"));
    };
    // A posted event bears its own name outside, and that of its kind here.
    if data.get("posted").is_some_and(Value::is_object) {
        data.insert("event".to_owned(), EventName::Posted.as_str().into());
    }
    let mut kind: EventKind =
        serde_json::from_value(Value::Object(data)).map_err(|error| refusal(422, unreadable(&error.to_string())))?;
    if let Some(key) = missing(&kind) {
        return Err(refusal(422, format!("/data/{key} is missing")));
    }
    match kind.posted.take() {
        Some(_) if !signed => {
            return Err(refusal(422, "/data/posted is taken only from a source that has secrets"));
        }
        Some(told) => {
            let dialect = dialect(&told.dialect);
            let dialect = dialect.ok_or_else(|| refusal(422, "/data/posted/dialect is not known here"))?;
            let payload = Some(told.payload.expose()).filter(|payload| !payload.is_null());
            let session = told.session.as_ref().map(Personal::expose);
            kind = posted(dialect, &told.event, session, payload, "/data/posted/payload")?;
        }
        None if !TAKEN.contains(&kind.name) => {
            let problem = "/data/event is none that is taken here: only those of tests and analyzers are, because what a gateway \
                           says of itself and of its registrations is true only there; limit `events` of the sending endpoint";
            return Err(refusal(422, problem));
        }
        // Its number would name a registration of this gateway.
        None => kind.registration = None,
    }
    Ok(Some(accepted(Some(identity), kind)))
}

/// Why the data object cannot be read. The parser's own words would quote values, but for the name of a missing key.
fn unreadable(problem: &str) -> String {
    let known = "/data is not the data object of a gateway's event";
    problem.strip_prefix("missing field ").map_or_else(|| known.to_owned(), |key| format!("{known}: {key} is missing"))
}

/// The key without which an event of this name says nothing.
fn missing(kind: &EventKind) -> Option<&'static str> {
    let (key, is_there) = match kind.name {
        EventName::TestStarted | EventName::ContinueTest | EventName::NewData | EventName::TestFinished => {
            ("test", kind.test.is_some())
        }
        EventName::QueryReceived => ("query", kind.query.is_some()),
        EventName::MessageRejected => ("rejection", kind.rejection.is_some()),
        EventName::Gap => ("gap", kind.gap.is_some()),
        EventName::AnalyzerAlarm => ("alarm", kind.alarm.is_some()),
        _ => return None,
    };
    (!is_there).then_some(key)
}
