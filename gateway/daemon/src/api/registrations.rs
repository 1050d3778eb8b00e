//! Samples expected or received: told by programs and people, fetched by those who were told of them (seed 004).
//!
//! Invariant: whoever may only post gets ids and times back, never the person.

use super::auth::Client;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::results::ResultView;
use super::table::Route;
use super::{Api, axum_json, unless_known, with_json};
use crate::store::{Cause, StoreError};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, patch, post};
use gateway_core::config::Scope;
use gateway_core::event::Event;
use gateway_core::registration::{Amendment, NewRegistration, Refused, Registration, is_lab_id, is_registration_id};
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

const PAGE: u16 = 100;
const PAGE_MAX: u16 = 500;
const IF_NONE_MATCH: &str = "The ETag of an earlier answer: 304 if nothing has changed";
const SAME: &str =
    "A request with the same key is the same request: it is done once. Another body with that key is refused";

pub fn routes() -> Vec<Route> {
    let (read, tell, operate) = (Some(Scope::Read), Some(Scope::Post), Some(Scope::Operate));
    let fetched = |path, about, service| {
        Route::new(Method::GET, path, read, about, service)
            .header("if-none-match", IF_NONE_MATCH)
            .answer::<Whole>(200, "The registration")
            .empty(304, "As it was")
    };
    let changed = |path, scope, about, service| {
        Route::new(Method::POST, path, scope, about, service)
            .header("idempotency-key", SAME)
            .answer::<Brief>(200, "As it is now")
            .problems(&[409])
    };
    let about = ("registrations", "Registrations, oldest first, or newest first with `before`");
    let list = Route::new(Method::GET, "/api/registrations", read, about, get(list))
        .query::<ListQuery>()
        .answer::<Registrations>(200, "`next` is the `after` of the next request");
    let about = ("register", "Register a sample: the next test with one of its sample ids is linked");
    let add = Route::new(Method::POST, "/api/registrations", tell, about, post(add))
        .header("idempotency-key", SAME)
        .body::<NewRegistration>()
        .answer::<Brief>(201, "Stored")
        .problems(&[409]);
    let about = ("amend_registration", "Change a registration: what is given replaces what was there");
    let change = Route::new(Method::PATCH, "/api/registrations/{id}", tell, about, patch(amend))
        .header("idempotency-key", SAME)
        .body::<Amendment>()
        .answer::<Brief>(200, "As it is now")
        .problems(&[409]);
    let about = ("lab_results", "The results of a test registration (seed 004)");
    let results = "/api/test_registration/{id}/lab_results/";
    let results = Route::new(Method::GET, results, read, about, get(lab_results))
        .header("if-none-match", IF_NONE_MATCH)
        .answer::<LabResults>(200, "Its results, oldest first; empty while there are none")
        .empty(304, "As it was");
    let about = ("sample_received", "The sample has come in");
    let received = changed("/api/registrations/{id}/sample_received", tell, about, post(sample_received));
    let about = ("assign_lab_id", "The laboratory's own id for it is known");
    let lab_id = changed("/api/registrations/{id}/lab_id", tell, about, post(lab_id)).body::<LabId>();
    let about = ("cancel", "Its tests are not wanted any more: an analyzer that asks is told so once");
    let cancelled = changed("/api/registrations/{id}/cancel", tell, about, post(cancel));
    let about = ("rerun", "Run the sample again: gives the registration that waits for the results");
    let rerun = changed("/api/registrations/{id}/rerun", tell, about, post(rerun));
    let about = ("verify", "A person has verified its newest results");
    let verified = changed("/api/registrations/{id}/verify", operate, about, post(verify)).body::<Verification>();
    vec![
        list,
        add,
        fetched("/api/registrations/{id}", ("registration", "One registration"), get(one)),
        change,
        fetched(
            "/api/test_registration/{id}/",
            ("test_registration", "One registration, at seed 004's address"),
            get(one),
        ),
        results,
        received.body::<SampleReceived>(),
        lab_id,
        cancelled,
        rerun,
        verified,
    ]
}

/// A registration with everything that is known of it.
#[derive(Serialize, JsonSchema)]
struct Whole {
    testregistration_id: String,
    url: String,
    lab_results_url: String,
    registration: Registration,
}

/// How far a registration has come, without the person.
#[derive(Serialize, JsonSchema)]
struct Brief {
    /// The id that outsiders use.
    id: String,
    /// Its integer id.
    number: i64,
    url: String,
    lab_id: Option<String>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    #[schemars(with = "Option<String>")]
    completed_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    sample_received_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    results_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    verified_at: Option<Timestamp>,
    /// When an analyzer took its orders, or its cancellation.
    #[schemars(with = "Option<String>")]
    orders_taken_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    cancelled_at: Option<Timestamp>,
    /// The id of the registration whose sample is run again here.
    retest_of: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Registrations {
    registrations: Vec<Whole>,
    next: i64,
}

#[derive(Serialize, JsonSchema)]
struct LabResults {
    testregistration_id: String,
    url: String,
    test_registration_url: String,
    results: Vec<ResultView>,
}

impl Api {
    fn whole(&self, registration: Registration) -> Whole {
        let url = self.url(&format!("/api/test_registration/{}/", registration.id));
        Whole {
            testregistration_id: registration.id.clone(),
            lab_results_url: format!("{url}lab_results/"),
            url,
            registration,
        }
    }

    fn brief(&self, registration: &Registration) -> Brief {
        Brief {
            id: registration.id.clone(),
            number: registration.number,
            url: self.url(&format!("/api/registrations/{}", registration.id)),
            lab_id: registration.lab_id.clone(),
            created_at: registration.created_at,
            completed_at: registration.completed_at,
            sample_received_at: registration.sample_received_at,
            results_at: registration.results_at,
            verified_at: registration.verified_at,
            orders_taken_at: registration.orders_taken_at,
            cancelled_at: registration.cancelled_at,
            retest_of: registration.retest_of.clone(),
        }
    }

    /// What is asked, so that a repeat is known: by the operation with the registration it is about, the client and its key.
    fn asked(&self, what: &str, client: &Client, headers: &HeaderMap, body: &impl Serialize) -> Result<Cause, Problem> {
        let id = self.cause(what, client, headers)?;
        if !headers.contains_key("idempotency-key") {
            return Ok(id.into());
        }
        let body = serde_json::to_vec(body).expect("requests have only string keys");
        Ok(Cause::repeatable(id, &body))
    }

    /// What a change came to, in the audit log and for the caller.
    async fn changed(
        &self,
        client: &Client,
        action: &str,
        id: &str,
        done: Result<Result<Registration, Refused>, StoreError>,
    ) -> Result<Registration, Problem> {
        let done = done?.map_err(|refused| match refused {
            Refused::Unknown => Problem::unknown("registration"),
            Refused::OtherRequest => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refused.to_string()),
            _ => Problem::conflict(refused.to_string()),
        });
        match &done {
            Ok(registration) => {
                self.audit(&client.id, action, &format!("registration/{}", registration.id), "ok").await?;
            }
            Err(problem) if problem.status() == StatusCode::CONFLICT => {
                self.audit(&client.id, action, &format!("registration/{id}"), &problem.outcome()).await?;
            }
            Err(_) => {}
        }
        done
    }
}

/// Which registrations.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ListQuery {
    /// The number behind which to begin.
    #[schemars(range(min = 0))]
    after: u32,
    /// Instead: newest first, those below this number. 4294967295 begins with the newest.
    #[schemars(range(min = 1))]
    before: Option<u32>,
    /// How many at most.
    #[schemars(range(min = 1, max = 500))]
    limit: u16,
    /// Only those of this sample.
    sample_id: Option<String>,
}

impl Default for ListQuery {
    fn default() -> Self {
        ListQuery { after: 0, before: None, limit: PAGE, sample_id: None }
    }
}

async fn list(
    State(api): State<Arc<Api>>,
    client: Client,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    if query.limit == 0 || query.limit > PAGE_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {PAGE_MAX}")));
    }
    let (after, limit) = (i64::from(query.after), usize::from(query.limit));
    let found = match (query.before, &query.sample_id) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("before and sample_id do not go together")),
        (Some(before), None) => api.store.newest_registrations(before.into(), limit).await?,
        (None, sample_id) => api.store.registrations(after, limit, sample_id.as_deref()).await?,
    };
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        let object = format!("registrations/{}-{}", first.number, last.number);
        // A list that grows at its newer end is the same list; what was asked for by a sample is one of its own.
        let what = if query.before.is_some() { "registrations" } else { &object };
        api.audit_look(&client, (what, first.number.min(last.number)), &object).await?;
    }
    let next = found.last().map_or(after, |last| last.number);
    let registrations = found.into_iter().map(|registration| api.whole(registration)).collect();
    Ok(axum_json(&Registrations { registrations, next }))
}

async fn add(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Problem> {
    let new = NewRegistration::from_json(&body).map_err(Problem::faults)?;
    let cause = api.asked("registration", &client, &headers, &new)?;
    let named = new.id.clone().unwrap_or_default();
    let done = api.store.register(new, api.platform.clock.now(), cause).await;
    let registration = api.changed(&client, "register", &named, done).await?;
    let brief = api.brief(&registration);
    let mut response = with_json(StatusCode::CREATED, &brief);
    if let Ok(url) = HeaderValue::from_str(&brief.url) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    Ok(response)
}

async fn amend(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Result<Response, Problem> {
    let amendment = Amendment::from_json(&body).map_err(Problem::faults)?;
    let cause = api.asked(&format!("amendment {id}"), &client, &headers, &amendment)?;
    let done = api.store.amend(&id, amendment, api.platform.clock.now(), cause).await;
    Ok(axum_json(&api.brief(&api.changed(&client, "amend", &id, done).await?)))
}

async fn one(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.store.registration(&id).await?.ok_or_else(|| Problem::unknown("registration"))?;
    api.audit(&client.id, "read", &format!("registration/{}", found.id), "ok").await?;
    Ok(unless_known(&headers, &api.whole(found)))
}

async fn lab_results(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.store.registration(&id).await?.ok_or_else(|| Problem::unknown("registration"))?;
    let events = api.store.results_of(&found.id).await?;
    api.audit(&client.id, "read", &format!("registration/{}/lab_results", found.id), "ok").await?;
    let whole = api.whole(found);
    let results = LabResults {
        testregistration_id: whole.testregistration_id,
        url: whole.lab_results_url,
        test_registration_url: whole.url,
        results: newest_versions(&events).filter_map(|event| api.result_view(event)).collect(),
    };
    Ok(unless_known(&headers, &results))
}

/// Without the versions of a test that a later one corrects.
fn newest_versions(events: &[Event]) -> impl Iterator<Item = &Event> {
    let superseded =
        |place: usize, event: &Event| events[place + 1..].iter().any(|later| later.test_id() == event.test_id());
    events.iter().enumerate().filter(move |(place, event)| !superseded(*place, event)).map(|(_, event)| event)
}

/// When a sample came in.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SampleReceived {
    /// RFC 3339 with an offset; absent: now.
    #[serde(default)]
    sample_received_at: Option<String>,
}

async fn sample_received(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<SampleReceived>,
) -> Result<Response, Problem> {
    let cause = api.asked(&format!("sample_received {id}"), &client, &headers, &body)?;
    let now = api.platform.clock.now();
    let received_at = match body.sample_received_at {
        Some(text) => {
            let moment: jiff::Timestamp = text.parse().map_err(|_| {
                Problem::fault("/sample_received_at", "must be a moment such as 2026-11-21T20:14:03+01:00")
            })?;
            Timestamp(moment.as_millisecond())
        }
        None => now.wall,
    };
    let done = api.store.sample_received(&id, received_at, now, cause).await;
    Ok(axum_json(&api.brief(&api.changed(&client, "sample_received", &id, done).await?)))
}

/// The laboratory's id.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LabId {
    #[schemars(length(min = 1, max = 64))]
    lab_id: String,
}

async fn lab_id(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<LabId>,
) -> Result<Response, Problem> {
    let cause = api.asked(&format!("lab_id {id}"), &client, &headers, &body)?;
    if !is_lab_id(&body.lab_id) {
        return Err(Problem::fault("/lab_id", "must be one line, not empty, at most 64 characters"));
    }
    let done = api.store.assign_lab_id(&id, &body.lab_id, api.platform.clock.now(), cause).await;
    Ok(axum_json(&api.brief(&api.changed(&client, "lab_id", &id, done).await?)))
}

async fn cancel(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let cause = api.asked(&format!("cancel {id}"), &client, &headers, &())?;
    let done = api.store.cancel(&id, api.platform.clock.now(), cause).await;
    Ok(axum_json(&api.brief(&api.changed(&client, "cancel", &id, done).await?)))
}

async fn rerun(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let cause = api.asked(&format!("rerun {id}"), &client, &headers, &())?;
    let done = api.store.rerun(&id, api.platform.clock.now(), cause).await;
    Ok(axum_json(&api.brief(&api.changed(&client, "rerun", &id, done).await?)))
}

/// Who has verified.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Verification {
    /// The id by which the clinic knows the person, not a name; absent: the client's own id.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    by: Option<String>,
}

async fn verify(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<Verification>,
) -> Result<Response, Problem> {
    let Verification { by } = &body;
    if by.as_ref().is_some_and(|by| !is_registration_id(by)) {
        return Err(Problem::fault("/by", "must be an id of a person: letters, digits, `.`, `_` and `-`, at most 64"));
    }
    let cause = api.asked(&format!("verify {id}"), &client, &headers, &body)?;
    let done = api.store.verify(&id, by.as_ref().unwrap_or(&client.id), api.platform.clock.now(), cause).await;
    Ok(axum_json(&api.brief(&api.changed(&client, "verify", &id, done).await?)))
}
