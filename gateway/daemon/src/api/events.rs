//! The log: read by those who cannot be called, and added to by other programs.

use super::auth::Client;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::store::{Committed, GATEWAY, NewEntry, Sought};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gateway_core::config::Scope;
use gateway_core::dialects::catalogue::Fault;
use gateway_core::dialects::{DIALECTS, dialect, session_of};
use gateway_core::event::{AnalyzerId, Event, EventKind, Id, Payload, Personal, Posted, Seq};
use gateway_core::time::Timestamp;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

const PAGE_EVENTS: u16 = 100;
const PAGE_EVENTS_MAX: u16 = 500;
/// A page ends behind the event that fills it.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Events read at once.
const SLICE_EVENTS: usize = 50;
/// Looks into the log that one request makes.
const PAGE_LOOKS_MAX: usize = 20;
const WAIT_SECONDS_MAX: u16 = 30;
const SESSION_CHARACTERS_MAX: usize = 256;
const NDJSON: &str = "application/x-ndjson";

pub fn routes() -> Vec<Route> {
    let about = ("events", "The events of the log behind a place, oldest first; waits for new ones if asked to");
    let read = Route::new(Method::GET, "/api/events", Some(Scope::Read), about, get(page))
        .query::<Page>()
        .header("accept", "`application/x-ndjson`: one event a line instead of a list")
        .answer::<Events>(200, "The events; `next` is the `after` of the next request")
        .answer_as(200, "The events", NDJSON, |_| json_schema!({ "type": "string" }));
    let about = ("event", "One event, by its id or its place in the log");
    let one = Route::new(Method::GET, "/api/events/{id}", Some(Scope::Read), about, get(event))
        .answer::<Item>(200, "The event");
    let about = ("post_event", "Tell an event of another program: stored, then sent in the dialect it names");
    let add = Route::new(Method::POST, "/api/events", Some(Scope::Post), about, post(add))
        .header("idempotency-key", "A request with the same key is the same request: its event is stored once")
        .body::<NewEvent>()
        .answer::<Taken>(202, "Stored; its delivery goes on from here");
    vec![read, one, add]
}

/// Which events.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Page {
    /// The place in the log behind which to begin; 0 is the beginning.
    #[schemars(range(min = 0))]
    after: u32,
    /// How many events at most.
    #[schemars(range(min = 1, max = 500))]
    limit: u16,
    /// How long to wait for an event if there is none yet, in seconds.
    #[schemars(range(min = 0, max = 30))]
    wait: u16,
    /// Only of this analyzer. With this, `event` or `since` a page may be empty although more follow: go on with `next` until it
    /// stays the same.
    analyzer: Option<String>,
    /// Only of this name: `TEST_FINISHED` ...
    event: Option<String>,
    /// Only received at or after that moment (RFC 3339).
    since: Option<String>,
}

impl Page {
    fn sought(&self) -> Result<Sought, Problem> {
        let since = self.since.as_deref().map(moment).transpose()?;
        Ok(Sought { analyzer: self.analyzer.clone().map(AnalyzerId), name: self.event.clone(), since })
    }
}

/// A moment in a query.
pub fn moment(text: &str) -> Result<Timestamp, Problem> {
    let read: Result<jiff::Timestamp, _> = text.parse();
    read.map(|moment| Timestamp(moment.as_millisecond()))
        .map_err(|_| Problem::bad_request("since must be a moment such as 2026-11-21T20:14:03Z"))
}

impl Default for Page {
    fn default() -> Self {
        Page { after: 0, limit: PAGE_EVENTS, wait: 0, analyzer: None, event: None, since: None }
    }
}

/// A page of the log.
#[derive(Serialize, JsonSchema)]
struct Events {
    events: Vec<Item>,
    /// What to write into `after` to go on.
    next: i64,
}

/// One event of the log.
#[derive(Serialize, JsonSchema)]
pub struct Item {
    /// Its place in the log: 1, 2, 3 ...
    seq: i64,
    /// Its id, the same at every destination.
    id: String,
    /// The event itself: what CloudEvents carry under `data`.
    #[schemars(schema_with = "data_schema")]
    data: Box<RawValue>,
}

fn data_schema(_: &mut SchemaGenerator) -> schemars::Schema {
    json_schema!({
        "type": "object",
        "required": ["event", "analyzer", "received_at", "clock"],
        "properties": {
            "event": { "type": "string" },
            "analyzer": { "type": "string" },
            "received_at": { "type": "string", "format": "date-time" },
            "clock": { "enum": ["unset", "unsynchronized", "synchronized", "corrected"] },
        },
    })
}

impl Item {
    pub fn of(event: &Event) -> Item {
        let data = RawValue::from_string(event.data_json()).expect("the data object is JSON");
        Item { seq: event.seq.0, id: event.id.to_string(), data }
    }
}

async fn page(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    if page.limit == 0 || page.limit > PAGE_EVENTS_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {PAGE_EVENTS_MAX}")));
    }
    if page.wait > WAIT_SECONDS_MAX {
        return Err(Problem::bad_request(format!("wait is 0 to {WAIT_SECONDS_MAX} (seconds)")));
    }
    let after = Seq(i64::from(page.after));
    api.wait_for_event(after, Duration::from_secs(page.wait.into())).await;
    let _paging = api.paging.lock().await;
    let (items, looked) = api.page(after, page.sought()?, page.limit.into()).await?;
    if let (Some(first), Some(last)) = (items.first(), items.last()) {
        api.audit(&client.id, "read", &format!("events/{}-{}", first.seq, last.seq), "ok").await?;
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains(NDJSON) {
        return Ok(axum_json(&Events { events: items, next: looked.0 }));
    }
    let line = |item: &Item| serde_json::to_string(item).expect("an item has only string keys") + "\n";
    let lines: String = items.iter().map(line).collect();
    Ok(([(header::CONTENT_TYPE, NDJSON), (header::CACHE_CONTROL, "no-store, private")], lines).into_response())
}

impl Api {
    async fn wait_for_event(&self, after: Seq, patience: Duration) {
        let mut head = self.store.head();
        let mut stop = self.stop.clone();
        let due = self.platform.clock.now().mono.after(patience);
        while !patience.is_zero() && head.borrow_and_update() <= after {
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = head.changed() => {}
                () = self.platform.clock.sleep_until(due) => return,
            }
        }
    }

    /// The events of a page, and the place up to which the log was looked through for them.
    async fn page(&self, after: Seq, sought: Sought, limit: usize) -> Result<(Vec<Item>, Seq), Problem> {
        let (mut items, mut bytes, mut looked): (Vec<Item>, usize, Seq) = (Vec::new(), 0, after);
        for _ in 0..PAGE_LOOKS_MAX {
            if items.len() >= limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
            let wanted = SLICE_EVENTS.min(limit - items.len());
            let (slice, upto) = self.store.events_sought(looked, &sought, wanted).await?;
            let stands = upto == looked;
            looked = upto;
            for event in slice {
                let item = Item::of(&event);
                bytes += item.data.get().len();
                items.push(item);
                if bytes >= PAGE_BYTES_MAX {
                    looked = event.seq;
                    break;
                }
            }
            if stands {
                break;
            }
        }
        Ok((items, looked))
    }

    /// The event of this id or this place in the log.
    pub async fn event(&self, named: &str) -> Result<Event, Problem> {
        let found = match (named.parse::<i64>(), named.parse::<Id>()) {
            (Ok(seq), _) => self.store.event(Seq(seq)).await?,
            (_, Ok(id)) => self.store.event_by_id(id).await?,
            _ => None,
        };
        found.ok_or_else(|| Problem::unknown("event"))
    }
}

async fn event(State(api): State<Arc<Api>>, client: Client, Path(id): Path<String>) -> Result<Response, Problem> {
    let event = api.event(&id).await?;
    api.audit(&client.id, "read", &format!("event/{}", event.id), "ok").await?;
    Ok(axum_json(&Item::of(&event)))
}

/// An event of another program. Its place in its session is given here, so none can be sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewEvent {
    /// The dialect whose catalogue has the event: `partner`, `session`, `lab` ...
    dialect: String,
    /// Its name there.
    event: String,
    /// The session it belongs to, in a dialect that numbers sessions.
    #[serde(default)]
    session_id: Option<String>,
    /// An object, where the event has a payload.
    #[serde(default)]
    payload: Option<Value>,
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
struct Taken {
    /// The event's id: `x-gateway-event-id` of its deliveries.
    id: String,
    /// Its place in its session, from 0, where it belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

async fn add(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Json(new): Json<NewEvent>,
) -> Result<Response, Problem> {
    let id = api.cause("posted", &client, &headers)?;
    let posted = check(new)?;
    let kind = EventKind::posted(posted.clone());
    let committed = api.commit(id, kind, &client).await?;
    let mut sequence = committed.sequence;
    if committed.repeated > 0 {
        let known = api.store.event_by_id(id).await?.ok_or_else(|| Problem::unknown("event any more"))?;
        // The known one may have been erased since; then there is nothing to compare.
        if !known.erased && known.kind.posted.as_ref() != Some(&posted) {
            let detail = "this Idempotency-Key was used for another event: draw a new key for each event";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        sequence = known.sequence;
    } else {
        let object = format!("event/{id} {}/{}", posted.dialect, posted.event);
        api.audit(&client.id, "post", &object, "ok").await?;
    }
    Ok(with_json(StatusCode::ACCEPTED, &Taken { id: id.to_string(), sequence }))
}

/// The event as it will be stored, or every fault in it.
fn check(new: NewEvent) -> Result<Posted, Problem> {
    let fault = |path: &str, problem: String| Fault { path: path.to_owned(), problem };
    let Some(named) = dialect(&new.dialect) else {
        let known: Vec<&str> =
            DIALECTS.iter().filter(|dialect| !dialect.catalogue().is_empty()).map(|dialect| dialect.name()).collect();
        return Err(Problem::fault("/dialect", format!("must be one of {}", known.join(", "))));
    };
    let Some(entry) = named.catalogue().iter().find(|entry| entry.event == new.event) else {
        let known: Vec<&str> = named.catalogue().iter().map(|entry| entry.event).collect();
        return Err(Problem::fault(
            "/event",
            match known.is_empty() {
                true => "this dialect has no events of other programs".to_owned(),
                false => format!("must be one of {}", known.join(", ")),
            },
        ));
    };
    let mut faults = Vec::new();
    let posted = |session| Posted {
        dialect: new.dialect.clone(),
        event: new.event.clone(),
        session,
        payload: Payload::new(new.payload.clone().unwrap_or(Value::Null)),
    };
    let numbered = session_of(&EventKind::posted(posted(Some(Personal::new("any"))))).is_some();
    let length = new.session_id.as_ref().map(|session| session.chars().count());
    match length {
        None if numbered => faults.push(fault("/session_id", "is missing: this dialect numbers sessions".to_owned())),
        Some(_) if !numbered => faults.push(fault("/session_id", "this dialect has no sessions".to_owned())),
        Some(0) => faults.push(fault("/session_id", "is empty".to_owned())),
        Some(length) if length > SESSION_CHARACTERS_MAX => {
            faults.push(fault("/session_id", format!("is longer than {SESSION_CHARACTERS_MAX} characters")));
        }
        _ => {}
    }
    faults.extend(entry.check(new.payload.as_ref(), "/payload"));
    if faults.is_empty() { Ok(posted(new.session_id.map(Personal::new))) } else { Err(Problem::faults(faults)) }
}

impl Api {
    /// Stores one event that no analyzer of ours has made. Only who may administer can have a person's data deleted by it.
    async fn commit(&self, id: Id, kind: EventKind, client: &Client) -> Result<Committed, Problem> {
        let at = self.platform.clock.now();
        let analyzer = AnalyzerId(GATEWAY.to_owned());
        let events = vec![(id, kind.clone())];
        let entry = NewEntry { analyzer, at, capture: Vec::new(), events, complete: true };
        self.commit_heeding(entry, (id, &kind), &client.id, client.scope >= Scope::Administer).await
    }
}
