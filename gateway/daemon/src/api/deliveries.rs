//! What became of each delivery: destinations, dead letters, sending again, the test button.

use super::auth::Client;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::platform::probe;
use crate::store::{AttemptNote, DeadLetter, DestinationId, Page, Selection};
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use gateway_core::config::{Scope, Webhook};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{Id, Seq};
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PAGE_LETTERS: u16 = 100;
const PAGE_LETTERS_MAX: u16 = 1000;
/// Ids or ranges that one request may name.
pub const NAMED_MAX: usize = 10_000;

pub fn routes() -> Vec<Route> {
    let (read, operate) = (Some(Scope::Read), Some(Scope::Operate));
    let about = ("destinations", "Every broker and endpoint: how far it has come, and what stands in its way");
    let destinations =
        Route::new(Method::GET, "/api/destinations", read, about, get(destinations)).answer::<Destinations>(200, "All");
    let about = ("drop_destination", "Forget a destination that is no longer in the settings, with its backlog");
    let administer = Some(Scope::Administer);
    let forget = Route::new(Method::DELETE, "/api/destinations/{id}", administer, about, delete(forget))
        .empty(204, "It is forgotten; what waited for it will not be sent")
        .problems(&[409]);
    let about = ("dead", "Deliveries that are given up until somebody sends them again");
    let dead = Route::new(Method::GET, "/api/dead", read, about, get(dead))
        .query::<DeadQuery>()
        .answer::<DeadLetters>(200, "In the order of destination and log");
    let about = ("dead_letter", "One of them, with its attempts");
    let letter = Route::new(Method::GET, "/api/dead/{destination}/{event}", read, about, get(letter))
        .answer::<LetterWithAttempts>(200, "The dead letter");
    let about = ("redrive", "Send dead events again, under their own ids and marked");
    let redrive = Route::new(Method::POST, "/api/redrive", operate, about, post(redrive))
        .body::<Redrive>()
        .answer::<Redriven>(200, "What goes where, or would go with `dry_run`");
    let about =
        ("test_webhook", "Try an endpoint out, hop by hop, with an event that no receiver can take for a result");
    let test = Route::new(Method::POST, "/api/webhooks/{id}/test", operate, about, post(test))
        .answer::<probe::Report>(200, "Each hop; `ok` says whether all were good");
    vec![destinations, forget, dead, letter, redrive, test]
}

/// Why something was not delivered.
#[derive(Serialize, JsonSchema)]
pub struct Why {
    /// A word for programs.
    code: &'static str,
    /// A sentence for people.
    detail: String,
    /// What to do.
    next_step: &'static str,
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Why {
        Why { code: reason.code.as_str(), detail: reason.detail.clone(), next_step: reason.code.next_step() }
    }
}

#[derive(Serialize, JsonSchema)]
struct Destinations {
    destinations: Vec<Destination>,
}

#[derive(Serialize, JsonSchema)]
struct Destination {
    /// `mqtt`, or `webhook:` and the endpoint's id.
    id: String,
    /// `ready`, `paused` (by the settings or by a person), `trouble` (see `reason`), or `removed` (not in the settings, its backlog is kept).
    state: &'static str,
    /// What stands in its way.
    reason: Option<Why>,
    /// The place in the log up to which everything is done or has a row.
    cursor: i64,
    /// How many events it was given.
    ordinal: u64,
    /// Neither delivered nor dead.
    undone: u64,
    /// Of these: waiting for a person or for other settings.
    held: u64,
    dead: u64,
}

async fn destinations(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let counts = api.store.counts().await?;
    let paused = api.store.paused().await?;
    let destination = |counted: crate::store::DestinationCounts| {
        let reason = api.board.destination_trouble(&counted.id.0);
        let is_paused = |hook: &Webhook| hook.paused || paused.contains_key(&hook.id);
        let paused =
            api.config.webhooks.iter().any(|hook| is_paused(hook) && DestinationId::webhook(&hook.id) == counted.id);
        let state = match (counted.configured, paused, &reason) {
            (false, _, _) => "removed",
            (_, true, _) => "paused",
            (_, _, Some(_)) => "trouble",
            _ => "ready",
        };
        Destination {
            id: counted.id.0,
            state,
            reason: reason.as_ref().map(Why::from),
            cursor: counted.cursor.0,
            ordinal: counted.ordinal,
            undone: counted.undone,
            held: counted.held,
            dead: counted.dead,
        }
    };
    Ok(axum_json(&Destinations { destinations: counts.destinations.into_iter().map(destination).collect() }))
}

/// Only of one that nobody sends to any more: a worker holds the others.
async fn forget(State(api): State<Arc<Api>>, client: Client, Path(named): Path<String>) -> Result<Response, Problem> {
    let unknown = || Problem::unknown("destination");
    let id = api.destination(&named).await?.ok_or_else(unknown)?;
    if id.endpoint().is_none_or(|id| api.config.webhooks.iter().any(|hook| hook.id == id)) {
        return Err(Problem::conflict("it is in the settings: take it out there first, or pause it"));
    }
    if !api.store.drop_destination(&id).await? {
        return Err(unknown());
    }
    if let Some(endpoint) = id.endpoint() {
        api.store.set_paused(endpoint, None).await?;
    }
    api.audit(&client.id, "drop", &format!("destination/{}", id.0), "ok").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Which dead letters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct DeadQuery {
    /// Only of this destination: `mqtt`, `webhook:lims` or `lims`.
    destination: Option<String>,
    /// Only with this reason: `refused`, `attempts_exhausted` ...
    reason: Option<String>,
    /// Received at or after that moment (RFC 3339).
    from: Option<String>,
    /// Received before that moment (RFC 3339).
    to: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = 1000))]
    limit: u16,
}

impl Default for DeadQuery {
    fn default() -> Self {
        let (destination, reason, from, to, after) = (None, None, None, None, None);
        DeadQuery { destination, reason, from, to, after, limit: PAGE_LETTERS }
    }
}

#[derive(Serialize, JsonSchema)]
struct DeadLetters {
    dead: Vec<Letter>,
    /// What to write into `after` to go on; null: there are no more.
    next: Option<String>,
}

/// A dead delivery.
#[derive(Serialize, JsonSchema)]
struct Letter {
    destination: String,
    /// The event's id.
    event: String,
    /// The event's place in the log.
    seq: i64,
    /// The event's name.
    name: String,
    analyzer: String,
    #[schemars(with = "String")]
    received_at: Timestamp,
    /// The event's place in the destination's count.
    ordinal: u64,
    /// How many attempts were made.
    attempts: u32,
    reason: Why,
    /// When the last attempt was made; null: not known any more.
    #[schemars(with = "Option<String>")]
    dead_at: Option<Timestamp>,
    /// Whether somebody had sent it again before.
    redriven: bool,
}

impl From<&DeadLetter> for Letter {
    fn from(dead: &DeadLetter) -> Letter {
        Letter {
            destination: dead.destination.0.clone(),
            event: dead.id.to_string(),
            seq: dead.seq.0,
            name: dead.name.clone(),
            analyzer: dead.analyzer.0.clone(),
            received_at: dead.at,
            ordinal: dead.ordinal,
            attempts: dead.attempts,
            reason: Why::from(&dead.reason),
            dead_at: dead.dead_at,
            redriven: dead.redriven,
        }
    }
}

async fn dead(State(api): State<Arc<Api>>, Query(query): Query<DeadQuery>) -> Result<Response, Problem> {
    if query.limit == 0 || query.limit > PAGE_LETTERS_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {PAGE_LETTERS_MAX}")));
    }
    let destination = match &query.destination {
        Some(named) => Some(api.destination(named).await?.ok_or_else(no_destination)?),
        None => None,
    };
    let asked = |problem: Problem| Problem::bad_request(problem.detail().to_owned());
    let selection = selection(&[], query.reason.as_deref(), query.from.as_deref(), query.to.as_deref());
    let after = match &query.after {
        Some(after) => Some(place(after).ok_or_else(|| Problem::bad_request("after is not the `next` of a page"))?),
        None => None,
    };
    let limit = usize::from(query.limit);
    let page = Page { after, limit };
    let letters = api.store.dead(destination.as_ref(), &selection.map_err(asked)?, &page).await?;
    let next = letters.last().filter(|_| letters.len() == limit);
    let next = next.map(|last| format!("{}/{}", last.destination.0, last.seq.0));
    Ok(axum_json(&DeadLetters { dead: letters.iter().map(Letter::from).collect(), next }))
}

/// `webhook:lims/17`
fn place(text: &str) -> Option<(DestinationId, Seq)> {
    let (destination, seq) = text.rsplit_once('/')?;
    Some((DestinationId(destination.to_owned()), Seq(seq.parse().ok()?)))
}

const NO_DESTINATION: &str =
    "there is no such destination; `analyzer-gateway destinations` and /api/destinations list them";

/// For an argument; a path that names none is a 404.
pub fn no_destination() -> Problem {
    Problem::bad_request(NO_DESTINATION).coded("unknown_destination")
}

impl Api {
    /// The destination of this name: `mqtt`, `webhook:lims`, or the endpoint's id alone.
    pub async fn destination(&self, named: &str) -> Result<Option<DestinationId>, Problem> {
        let known = self.store.destinations().await?;
        let fits = |id: &DestinationId| id.0 == named || *id == DestinationId::webhook(named);
        Ok(known.into_iter().map(|(id, _)| id).find(fits))
    }

    pub fn webhook(&self, id: &str) -> Result<&Webhook, Problem> {
        let id = id.strip_prefix("webhook:").unwrap_or(id);
        self.config.webhooks.iter().find(|webhook| webhook.id == id).ok_or_else(|| Problem::unknown("endpoint"))
    }
}

fn selection(ids: &[String], reason: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Selection, Problem> {
    let moment = |path, text: Option<&str>| match text {
        Some(text) => {
            let read: Result<jiff::Timestamp, _> = text.parse();
            read.map(|moment| Some(Timestamp(moment.as_millisecond())))
                .map_err(|_| Problem::fault(path, "must be a moment such as 2026-11-21T20:14:03Z"))
        }
        None => Ok(None),
    };
    let reason = match reason {
        Some(word) => Some(ReasonCode::from_word(word).ok_or_else(|| {
            let known: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
            Problem::fault("/reason", format!("must be one of {}", known.join(", ")))
        })?),
        None => None,
    };
    Ok(Selection { ids: read_ids(ids)?, reason, from: moment("/from", from)?, to: moment("/to", to)? })
}

pub fn read_ids(ids: &[String]) -> Result<Vec<Id>, Problem> {
    if ids.len() > NAMED_MAX {
        return Err(Problem::fault("/ids", format!("at most {NAMED_MAX} at once")));
    }
    let read = |(index, id): (usize, &String)| {
        id.parse()
            .map_err(|error: gateway_core::event::BadId| Problem::fault(&format!("/ids/{index}"), error.to_string()))
    };
    ids.iter().enumerate().map(read).collect()
}

#[derive(Serialize, JsonSchema)]
struct LetterWithAttempts {
    letter: Letter,
    /// Oldest first, as far as they are kept (`retention.attempts_kept_days`).
    attempts: Vec<Attempt>,
}

/// One attempt.
#[derive(Serialize, JsonSchema)]
struct Attempt {
    /// 1 is the first.
    number: u32,
    #[schemars(with = "String")]
    at: Timestamp,
    duration_ms: u64,
    /// The HTTP status, if there was an answer.
    status: Option<u16>,
    /// Null: delivered.
    reason: Option<Why>,
    /// The beginning of the answer's body.
    answer: String,
}

impl From<&AttemptNote> for Attempt {
    fn from(note: &AttemptNote) -> Attempt {
        Attempt {
            number: note.number,
            at: note.at,
            duration_ms: note.duration_ms,
            status: note.status,
            reason: note.reason.as_ref().map(Why::from),
            answer: note.answer.clone(),
        }
    }
}

async fn letter(
    State(api): State<Arc<Api>>,
    client: Client,
    Path((destination, event)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let unknown = || Problem::unknown("dead letter");
    let destination = api.destination(&destination).await?.ok_or_else(unknown)?;
    let event = api.event(&event).await.map_err(|problem| if problem.status() == 404 { unknown() } else { problem })?;
    let deliveries = api.store.deliveries_of(event.id).await?;
    let delivery = deliveries.iter().find(|delivery| delivery.destination == destination).ok_or_else(unknown)?;
    let DeliveryState::Dead { .. } = &delivery.state else { return Err(unknown()) };
    let before = Page { after: Some((destination.clone(), Seq(event.seq.0 - 1))), limit: 1 };
    let letters = api.store.dead(Some(&destination), &Selection::default(), &before).await?;
    let dead = letters.first().filter(|dead| dead.seq == event.seq).ok_or_else(unknown)?;
    // The receiver's answer may quote what it was sent.
    api.audit(&client.id, "read", &format!("delivery/{}/{}", destination.0, event.id), "ok").await?;
    let attempts = delivery.attempts.iter().map(Attempt::from).collect();
    Ok(axum_json(&LetterWithAttempts { letter: Letter::from(dead), attempts }))
}

/// Which dead events to send again; every part that is given must hold, and one must be given.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Redrive {
    /// These events; held and waiting ones are tried at once too.
    #[serde(default)]
    #[schemars(length(max = 10000))]
    ids: Vec<String>,
    /// Only to this destination: `mqtt`, `webhook:lims` or `lims`.
    destination: Option<String>,
    /// Only what died of this reason.
    reason: Option<String>,
    /// Received at or after that moment (RFC 3339).
    from: Option<String>,
    /// Received before that moment (RFC 3339).
    to: Option<String>,
    /// Say what would go, and send nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct Redriven {
    /// Nothing was sent: this is what would go.
    dry_run: bool,
    /// How many deliveries.
    count: usize,
    destinations: Vec<Going>,
}

/// What goes to one destination, in the order of the log; at most 10,000 in one request.
#[derive(Serialize, JsonSchema)]
pub struct Going {
    destination: String,
    events: Vec<Sent>,
}

#[derive(Serialize, JsonSchema)]
struct Sent {
    seq: i64,
    id: String,
}

impl Going {
    pub fn new(destination: &DestinationId, events: Vec<(Seq, Id)>) -> Going {
        let events = events.into_iter().map(|(seq, id)| Sent { seq: seq.0, id: id.to_string() });
        Going { destination: destination.0.clone(), events: events.collect() }
    }
}

async fn redrive(State(api): State<Arc<Api>>, client: Client, Json(asked): Json<Redrive>) -> Result<Response, Problem> {
    let given = [&asked.destination, &asked.reason, &asked.from, &asked.to];
    if asked.ids.is_empty() && given.iter().all(|part| part.is_none()) {
        return Err(Problem::fault("", "say what to send again: ids, destination, reason, from or to"));
    }
    let selection = selection(&asked.ids, asked.reason.as_deref(), asked.from.as_deref(), asked.to.as_deref())?;
    let destinations = match &asked.destination {
        Some(named) => {
            vec![api.destination(named).await?.ok_or_else(|| Problem::fault("/destination", NO_DESTINATION))?]
        }
        None => api.store.destinations().await?.into_iter().map(|(id, _)| id).collect(),
    };
    let mut going = Vec::new();
    for destination in destinations {
        let events = api.store.redrive(&destination, &selection, asked.dry_run).await?;
        if !events.is_empty() {
            if !asked.dry_run {
                let object = format!("{}: {} events", destination.0, events.len());
                api.audit(&client.id, "redrive", &object, "ok").await?;
            }
            going.push(Going::new(&destination, events));
        }
    }
    Ok(axum_json(&redriven(asked.dry_run, going)))
}

pub fn redriven(dry_run: bool, destinations: Vec<Going>) -> Redriven {
    Redriven { dry_run, count: destinations.iter().map(|going| going.events.len()).sum(), destinations }
}

async fn test(State(api): State<Arc<Api>>, client: Client, Path(id): Path<String>) -> Result<Response, Problem> {
    let webhook = api.webhook(&id)?;
    let report = probe::run(&api.platform, webhook, &api.config.gateway.id).await;
    let outcome = if report.ok { "ok" } else { "a hop failed" };
    api.audit(&client.id, "test", &format!("webhook/{}", webhook.id), outcome).await?;
    Ok(axum_json(&report))
}
