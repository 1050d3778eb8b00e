//! The whole life of an event: the bytes it came from, their frames, what was read from them, the commit, and every attempt to
//! deliver it.
//!
//! Invariant: without `personal` nothing of a person is told: bytes come masked, the event without its data, answers not at all.

use super::auth::Client;
use super::deliveries::Why;
use super::extract::{Path, Query};
use super::problem::Problem;
use super::queue::Standing;
use super::table::Route;
use super::{Api, axum_json};
use crate::store::{AttemptNote, Content, Delivery};
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway_core::config::Scope;
use gateway_core::event::{Event, EventName, Id, Seq};
use gateway_core::framing::anatomy::{self, Framing};
use gateway_core::time::{Now, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A shorter beginning of an id fits too many.
const PREFIX_DIGITS_MIN: usize = 4;
/// A message of more records shows the first of them.
const RECORDS_MAX: usize = 2_000;

pub fn routes() -> Vec<Route> {
    let about = (
        "life",
        "The whole life of an event: bytes, frames, what was read, the commit, every attempt. By its id, the beginning of its id, \
         its place in the log, or its test's id",
    );
    let life = Route::new(Method::GET, "/api/events/{id}/life", Some(Scope::Read), about, get(life))
        .query::<Wanted>()
        .answer::<Life>(200, "The event's life")
        .problems(&[409]);
    vec![life]
}

/// How much is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Wanted {
    /// Tell what is about persons too: the bytes as they were, the event's data, the receivers' answers. Needs the scope
    /// `operate`.
    personal: bool,
}

#[derive(Serialize, JsonSchema)]
struct Life {
    event: Told,
    /// The message that it was read from; null: it came from no bytes, or they are given up.
    message: Option<Message>,
    /// At every destination that it belongs to.
    deliveries: Vec<Fate>,
    /// Whether what is about persons is told.
    personal: bool,
}

#[derive(Serialize, JsonSchema)]
struct Told {
    seq: i64,
    id: String,
    name: String,
    analyzer: String,
    #[schemars(with = "String")]
    received_at: Timestamp,
    clock: &'static str,
    /// The kernel's id of the boot in which it was stored, and the nanoseconds since then.
    boot: String,
    mono_ns: u64,
    test: Option<Test>,
    /// Its place in its session, where it belongs to one.
    sequence: Option<u64>,
    /// A person's data was taken out.
    erased: bool,
    /// Why it was rejected or raised, where it says so.
    reason: Option<String>,
    /// The event itself; null without `personal`.
    #[schemars(with = "serde_json::Value")]
    data: Option<Box<RawValue>>,
}

#[derive(Serialize, JsonSchema)]
struct Test {
    id: String,
    state: &'static str,
    results: usize,
}

#[derive(Serialize, JsonSchema)]
struct Message {
    /// Its id, as `captures` has it.
    id: i64,
    driver: Option<String>,
    /// `whole`, `erased` or `unreadable`.
    state: &'static str,
    bytes: usize,
    /// Stored together and acknowledged together.
    chunks: Vec<Chunk>,
    parts: Vec<anatomy::Part>,
    records: Vec<Record>,
    /// Everything that was read from it, in the order of the log.
    events: Vec<Sibling>,
    /// Everything in it was known already.
    repeated: bool,
    /// The bytes in Base64; without `personal` with `x` for each letter and `9` for each digit.
    content: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Chunk {
    bytes: usize,
    #[schemars(with = "String")]
    received_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
struct Record {
    /// The protocol's own word: `H`, `OBX`; null: it has none.
    kind: Option<String>,
    bytes: usize,
    /// Null without `personal`.
    text: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Sibling {
    seq: i64,
    id: String,
    name: String,
}

/// What became of it at one destination.
#[derive(Serialize, JsonSchema)]
struct Fate {
    destination: String,
    #[serde(flatten)]
    standing: Standing,
    /// A person has sent it again.
    redriven: bool,
    /// Oldest first, as far as they are kept (`retention.attempts_kept_days`).
    tried: Vec<Try>,
}

#[derive(Serialize, JsonSchema)]
struct Try {
    /// 1 is the first.
    number: u32,
    #[schemars(with = "String")]
    at: Timestamp,
    duration_ms: u64,
    /// The HTTP status, if there was an answer.
    status: Option<u16>,
    /// Null: delivered.
    reason: Option<Why>,
    /// The beginning of the answer; null without `personal`.
    answer: Option<String>,
}

async fn life(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(named): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    if wanted.personal && client.scope < Scope::Operate {
        let detail = "what is about persons needs a token of scope `operate` or more; ask without `personal`";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let event = api.meant(&named).await?;
    let message = api.life_of_message(&event, wanted.personal).await?;
    let (deliveries, now) = (api.store.deliveries_of(event.id).await?, api.platform.clock.now());
    let personal = if wanted.personal { " with personal data" } else { "" };
    api.audit(&client.id, "read", &format!("life/{}{personal}", event.id), "ok").await?;
    Ok(axum_json(&Life {
        event: told(&event, wanted.personal),
        message,
        deliveries: deliveries.iter().map(|delivery| fate(delivery, now, wanted.personal)).collect(),
        personal: wanted.personal,
    }))
}

impl Api {
    /// The event that is meant by these words.
    async fn meant(&self, named: &str) -> Result<Event, Problem> {
        match self.event(named).await {
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => {}
            found => return found,
        }
        let digits = named.chars().filter(|c| *c != '-').count();
        let hexadecimal = named.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        if !hexadecimal || digits < PREFIX_DIGITS_MIN {
            return Err(Problem::unknown("event"));
        }
        let ambiguous = |what: &str| Problem::conflict(format!("several {what} begin with that: write more of the id"));
        match self.store.events_beginning(named, 2).await?.as_slice() {
            [] => {}
            [id] => return self.store.event_by_id(*id).await?.ok_or_else(|| Problem::unknown("event")),
            _ => return Err(ambiguous("events")),
        }
        match self.store.tests_beginning(named, 2).await?.as_slice() {
            [] => Err(Problem::unknown("event")),
            [id] => self.end_of_test(*id).await,
            _ => Err(ambiguous("tests")),
        }
    }

    /// The test's newest statement, else its newest event.
    async fn end_of_test(&self, test: Id) -> Result<Event, Problem> {
        let history = self.store.test_history(test, Seq(i64::MAX)).await?;
        let finished = history.iter().rposition(|event| event.kind.name == EventName::TestFinished);
        let meant = finished.or_else(|| history.len().checked_sub(1));
        let mut history = history;
        meant.map(|at| history.swap_remove(at)).ok_or_else(|| Problem::unknown("event"))
    }

    async fn life_of_message(&self, event: &Event, personal: bool) -> Result<Option<Message>, Problem> {
        let Some(id) = self.store.message_of(event.id).await? else { return Ok(None) };
        let Some(head) = self.store.message(id).await? else { return Ok(None) };
        let analyzer = self.config.analyzers.iter().find(|analyzer| analyzer.id == head.analyzer);
        let driver = analyzer.map(|analyzer| analyzer.driver.clone());
        let (state, bytes) = match self.store.content(id).await? {
            Content::Whole(bytes) => ("whole", bytes),
            Content::Erased => ("erased", Vec::new()),
            Content::Unreadable => ("unreadable", Vec::new()),
        };
        let framing = match driver.as_deref() {
            Some("astm") => Framing::Astm,
            Some("hl7") => Framing::Mllp,
            _ => Framing::Lines,
        };
        let parts = anatomy::parts(framing, &bytes, self.config.limits.message_bytes_max);
        let records = anatomy::records(framing, &bytes, &parts);
        let record = |record: &Vec<u8>| Record {
            kind: anatomy::record_kind(framing, record),
            bytes: record.len(),
            text: personal.then(|| String::from_utf8_lossy(record).into_owned()),
        };
        let shown = || if personal { bytes.clone() } else { anatomy::masked(&bytes) };
        let sibling =
            |event: &Event| Sibling { seq: event.seq.0, id: event.id.to_string(), name: event.kind.word().to_owned() };
        Ok(Some(Message {
            id,
            driver,
            state,
            bytes: bytes.len(),
            chunks: head.parts.iter().map(|part| Chunk { bytes: part.bytes, received_at: part.received_at }).collect(),
            records: records.iter().take(RECORDS_MAX).map(record).collect(),
            events: head.events.iter().map(sibling).collect(),
            repeated: head.repeated,
            content: (state == "whole").then(|| STANDARD.encode(shown())),
            parts,
        }))
    }
}

fn told(event: &Event, personal: bool) -> Told {
    let test = event.kind.test.as_ref();
    let data = personal.then(|| RawValue::from_string(event.data_json()).expect("the data object is JSON"));
    Told {
        seq: event.seq.0,
        id: event.id.to_string(),
        name: event.kind.word().to_owned(),
        analyzer: event.analyzer.0.clone(),
        received_at: event.received_at,
        clock: event.clock.as_str(),
        boot: event.boot.to_string(),
        mono_ns: event.mono.0,
        test: test.map(|test| Test {
            id: test.id.to_string(),
            state: test.state.as_str(),
            results: test.results.len(),
        }),
        sequence: event.sequence,
        erased: event.erased,
        reason: event.kind.rejection.as_ref().map(|rejection| rejection.reason.clone()),
        data,
    }
}

fn fate(delivery: &Delivery, now: Now, personal: bool) -> Fate {
    let tried = |note: &AttemptNote| Try {
        number: note.number,
        at: note.at,
        duration_ms: note.duration_ms,
        status: note.status,
        reason: note.reason.as_ref().map(Why::from),
        answer: personal.then(|| note.answer.clone()),
    };
    Fate {
        destination: delivery.destination.0.clone(),
        standing: Standing::of(&delivery.state, now),
        redriven: delivery.redriven,
        tried: delivery.attempts.iter().map(tried).collect(),
    }
}
