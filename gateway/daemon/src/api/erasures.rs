//! Erasing a person's data, and the log of who did what.

use super::auth::Client;
use super::extract::{Json, Query};
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::store::{Asked, Committed, Erased, NewEntry, Subject};
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use gateway_core::config::Scope;
use gateway_core::erasure::is_deletion_request;
use gateway_core::event::{EventKind, Id};
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

const PAGE: u16 = 100;
const PAGE_MAX: u16 = 1000;
/// How long an erasure is waited for, in seconds; then it goes on by itself.
const WAIT_SECONDS: u64 = 45;
/// In the audit log, where somebody asked who may not.
const TO_BE_CONFIRMED: &str = "not done: a person who may administer must confirm it (`analyzer-gateway erase`)";

pub fn routes() -> Vec<Route> {
    let administer = Some(Scope::Administer);
    let about = ("erase", "Erase a person's data from events, received bytes, registrations and answers");
    let erase = Route::new(Method::POST, "/api/erasures", administer, about, post(erase))
        .body::<Erasure>()
        .answer::<ErasedView>(200, "What was erased; nothing if nothing is known of the person")
        .answer::<Going>(202, "It takes longer than this answer, and goes on, after a restart too");
    let about = ("audit", "Who read or did what, oldest first, or newest first with `before`");
    let audit = Route::new(Method::GET, "/api/audit", administer, about, get(audit))
        .query::<AuditQuery>()
        .answer::<Audit>(200, "`next` is the `after` of the next request");
    vec![erase, audit]
}

/// Whose data: exactly one of these, but for `user_id`, `email` and `phone`, of which any one is enough.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Erasure {
    /// The clinic's id of the patient.
    patient_id: Option<String>,
    /// The id of a sample.
    sample_id: Option<String>,
    /// The id of a registration; its retests are the same person's.
    registration_id: Option<String>,
    /// A partner's integer id of the person.
    user_id: Option<i64>,
    email: Option<String>,
    phone: Option<String>,
}

/// What an erasure has done.
#[derive(Serialize, JsonSchema)]
struct ErasedView {
    /// Events that had something of the person in them.
    events: u64,
    /// Messages whose received bytes are gone.
    captures: u64,
    /// The registrations that are left as tombstones.
    registrations: Vec<String>,
    /// The tests whose results stay without a person.
    tests: Vec<String>,
    /// Whether the bytes are gone from the disk's files already; else the next sweep does it.
    wiped: bool,
    /// Damaged databases that were set aside, from which nothing is erased: a person should delete them.
    set_aside: Vec<String>,
}

/// An erasure that goes on.
#[derive(Serialize, JsonSchema)]
struct Going {
    /// The id of the `DATA_ERASED` event that will tell what was erased.
    id: String,
}

impl From<Erased> for ErasedView {
    fn from(erased: Erased) -> ErasedView {
        let Erased { events, captures, registrations, tests, wiped, set_aside } = erased;
        let tests = tests.iter().map(ToString::to_string).collect();
        ErasedView { events, captures, registrations, tests, wiped, set_aside }
    }
}

async fn erase(State(api): State<Arc<Api>>, client: Client, Json(asked): Json<Erasure>) -> Result<Response, Problem> {
    let Erasure { patient_id, sample_id, registration_id, user_id, email, phone } = asked;
    let has_user = user_id.is_some() || email.is_some() || phone.is_some();
    let texts = [
        ("/patient_id", &patient_id),
        ("/sample_id", &sample_id),
        ("/registration_id", &registration_id),
        ("/email", &email),
        ("/phone", &phone),
    ];
    if let Some((path, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.trim().is_empty())) {
        return Err(Problem::fault(path, "is empty"));
    }
    let subject = match (patient_id, sample_id, registration_id, has_user) {
        (Some(id), None, None, false) => Subject::Patient(id),
        (None, Some(id), None, false) => Subject::Sample(id),
        (None, None, Some(id), false) => Subject::Registration(id),
        (None, None, None, true) => Subject::User { id: user_id, email, phone },
        _ => {
            let wanted = "say whose: patient_id, sample_id, registration_id, or user_id, email and phone";
            return Err(Problem::fault("", wanted));
        }
    };
    let (id, now) = (api.new_id(), api.platform.clock.now());
    api.store.ask_to_erase(Asked { id, subject, client: client.id }, now.wall).await?;
    tokio::select! {
        biased;
        erased = api.store.finish_erasure(id) => Ok(axum_json(&ErasedView::from(erased?))),
        // What is cut off here, or by a client that hangs up, the housekeeping finishes.
        () = api.platform.clock.sleep_until(now.mono.after(Duration::from_secs(WAIT_SECONDS))) => {
            Ok(with_json(StatusCode::ACCEPTED, &Going { id: id.to_string() }))
        }
    }
}

/// Whose data an event asks to delete (seed 001: "please comply").
fn asked_for(kind: &EventKind) -> Option<Subject> {
    let posted = kind.posted.as_ref().filter(|posted| posted.dialect == "partner" && is_deletion_request(kind))?;
    let payload = posted.payload.expose();
    let text = |key: &str| payload[key].as_str().map(str::to_owned);
    Some(Subject::User { id: payload["userId"].as_i64(), email: text("userEmail"), phone: text("userPhoneNumber") })
}

impl Api {
    /// Stores an entry whose event `id` may ask for a person's data to be deleted. If `client` `may` ask for that, the erasure is
    /// on disk with the event and the housekeeping does it; else it needs a person, and the audit log says so.
    pub async fn commit_heeding(
        &self,
        entry: NewEntry,
        (id, kind): (Id, &EventKind),
        client: &str,
        may: bool,
    ) -> Result<Committed, Problem> {
        let Some(subject) = asked_for(kind) else { return Ok(self.store.commit(entry).await?) };
        if may {
            let asked = Asked { id: Id::derived(&[b"erasure", &id.0]), subject, client: client.to_owned() };
            return Ok(self.store.commit_and_ask(entry, asked).await?);
        }
        let committed = self.store.commit(entry).await?;
        if committed.stored > 0 {
            self.audit(client, "erase", &format!("event/{id}"), TO_BE_CONFIRMED).await?;
        }
        Ok(committed)
    }
}

/// Which entries.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct AuditQuery {
    /// The number behind which to begin.
    #[schemars(range(min = 0))]
    after: u32,
    /// Instead: newest first, those below this number. 4294967295 begins with the newest.
    #[schemars(range(min = 1))]
    before: Option<u32>,
    /// How many at most.
    #[schemars(range(min = 1, max = 1000))]
    limit: u16,
}

impl Default for AuditQuery {
    fn default() -> Self {
        AuditQuery { after: 0, before: None, limit: PAGE }
    }
}

#[derive(Serialize, JsonSchema)]
struct Audit {
    entries: Vec<Line>,
    next: i64,
}

/// One line of the audit log.
#[derive(Serialize, JsonSchema)]
struct Line {
    number: i64,
    #[schemars(with = "String")]
    at: Timestamp,
    /// A token's id, `socket`, `source:<id>` or `gateway`.
    client: String,
    action: String,
    object: String,
    outcome: String,
}

async fn audit(State(api): State<Arc<Api>>, Query(query): Query<AuditQuery>) -> Result<Response, Problem> {
    if query.limit == 0 || query.limit > PAGE_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {PAGE_MAX}")));
    }
    let after = i64::from(query.after);
    let entries = match query.before {
        Some(before) => api.store.newest_audit_entries(before.into(), query.limit.into()).await?,
        None => api.store.audit_entries(after, query.limit.into()).await?,
    };
    let next = entries.last().map_or(after, |(number, _)| *number);
    let line = |(number, entry): (i64, crate::store::AuditEntry)| Line {
        number,
        at: entry.at,
        client: entry.client,
        action: entry.action,
        object: entry.object,
        outcome: entry.outcome,
    };
    Ok(axum_json(&Audit { entries: entries.into_iter().map(line).collect(), next }))
}
