//! Webhooks that come in at `/in/<source>`: verified by their dialect, stored like any other event, answered as their sender
//! expects.
//!
//! Invariant: 200 is said only of what is stored; a repeat is known by its id and stored once; what is refused leaves nothing
//! but a line in the audit log.

use super::extract::{Path, whole};
use super::problem::Problem;
use super::table::Route;
use super::{Api, with_json};
use crate::store::{GATEWAY, NewEntry};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{options, post};
use gateway_core::config::Source;
use gateway_core::dialects::{Accepted, Received, dialect};
use gateway_core::event::{AnalyzerId, EventKind, Id};
use gateway_core::health::Fact;
use gateway_core::run::take_new;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Headers that a web page may send beside the usual ones: those of the dialects.
const PAGE_HEADERS: &str =
    "content-type, x-api-key, x-wms-content-mac, webhook-id, webhook-timestamp, webhook-signature";
/// How long a browser may remember a preflight's answer, in seconds.
const PREFLIGHT_SECONDS: u32 = 600;
const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");

pub fn routes() -> Vec<Route> {
    let about = ("receive", "A webhook of somebody else, in the dialect of this source (`sources` in the settings)");
    let receive = Route::new(Method::POST, "/in/{source}", None, about, post(receive))
        .any_body()
        .answer::<Received200>(200, "Stored, or known already")
        .problems(&[401, 403, 409, 429]);
    let about = ("preflight", "What a browser asks before a web page may send (CORS)");
    let preflight = Route::new(Method::OPTIONS, "/in/{source}", None, about, options(preflight))
        .empty(204, "The page may send")
        .problems(&[403]);
    vec![receive, preflight]
}

/// What became of the events of a request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Received")]
struct Received200 {
    stored: usize,
    /// Known already.
    repeated: usize,
}

impl Api {
    fn source(&self, id: &str) -> Result<&Source, Problem> {
        self.config.sources.iter().find(|source| source.id == id).ok_or_else(|| Problem::unknown("source"))
    }
}

/// The bytes of each of the events in a body. What of a batch cannot be told apart is kept with none of them: erasing one
/// event's person would leave them in another's bytes.
fn parts(body: &[u8], events: usize) -> Vec<&[u8]> {
    if events <= 1 {
        return vec![body];
    }
    let parts = serde_json::from_slice::<Vec<&RawValue>>(body).unwrap_or_default();
    if parts.len() == events { parts.iter().map(|part| part.get().as_bytes()).collect() } else { Vec::new() }
}

/// The web page that asks, if one does and may.
fn page<'a>(source: &Source, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let may = source.origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes());
    let detail = "this web page may not send here: add its origin to `origins` of this source";
    may.then_some(Some(origin)).ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, detail))
}

fn allow(mut response: Response, origin: Option<&HeaderValue>) -> Response {
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

async fn preflight(
    State(api): State<Arc<Api>>,
    Path(source): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let source = api.source(&source)?;
    let origin = match page(source, &headers) {
        Ok(origin) => origin,
        Err(problem) => return Err(api.refuse(source, problem).await?),
    };
    let mut response = allow(StatusCode::NO_CONTENT.into_response(), origin);
    let told = response.headers_mut();
    told.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    told.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(PAGE_HEADERS));
    told.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
    if headers.contains_key(PRIVATE_NETWORK_ASKED) {
        told.insert(PRIVATE_NETWORK_ALLOWED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn receive(
    State(api): State<Arc<Api>>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let source = api.source(&source)?;
    let (parts, body) = request.into_parts();
    let origin = match page(source, &parts.headers) {
        Ok(origin) => origin,
        Err(problem) => return Err(api.refuse(source, problem).await?),
    };
    let answer = async {
        let body = whole(body, api.config.http.body_bytes_max).await?;
        api.take(source, &parts.headers, &body).await
    };
    // The page shall be able to read why it was refused, too.
    let response = match answer.await {
        Ok(received) => with_json(StatusCode::OK, &received),
        Err(problem) => problem.into_response(),
    };
    Ok(allow(response, origin))
}

impl Api {
    async fn take(&self, source: &Source, headers: &HeaderMap, body: &[u8]) -> Result<Received200, Problem> {
        let accepted = match self.accept(source, headers, body) {
            Ok(accepted) => accepted,
            Err(problem) => {
                let problem = match problem.status() {
                    StatusCode::UNAUTHORIZED => self.refusals.count(self.platform.clock.now().mono, problem),
                    _ => problem,
                };
                return Err(self.refuse(source, problem).await?);
            }
        };
        let mut received = Received200 { stored: 0, repeated: 0 };
        // One after the other: what is new in cumulative data depends on what is stored.
        let _turn = self.turn.lock().await;
        let parts = parts(body, accepted.len());
        let erased = headers.get("x-gateway-erased").is_some();
        for (index, one) in accepted.into_iter().enumerate() {
            let bytes = parts.get(index).copied().unwrap_or_default();
            if let Err(problem) = self.store_accepted(source, one, (bytes, erased), &mut received).await {
                return Err(self.refuse(source, problem).await?);
            }
        }
        if received.stored > 0 {
            let (client, object) = (format!("source:{}", source.id), format!("source/{}", source.id));
            self.audit(&client, "receive", &object, "ok").await?;
        }
        Ok(received)
    }

    /// Writes a refusal down and gives it back. Beyond its limit a flood of them is not written down one by one: anybody can send
    /// to a source without secrets.
    async fn refuse(&self, source: &Source, problem: Problem) -> Result<Problem, Problem> {
        let noted = problem.status() != StatusCode::TOO_MANY_REQUESTS
            && (!source.secrets.is_empty() || self.noted.admits(self.platform.clock.now().mono));
        if noted {
            let (client, object) = (format!("source:{}", source.id), format!("source/{}", source.id));
            self.audit(&client, "receive", &object, &problem.outcome()).await?;
        }
        Ok(problem)
    }

    fn accept(&self, source: &Source, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Accepted>, Problem> {
        let dialect = dialect(&source.dialect).ok_or_else(|| Problem::unknown("source"))?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let now = self.platform.clock.now();
        dialect.accept(&Received { headers: &headers, body, secrets: &source.secrets, now }).map_err(|refusal| {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
            Problem::new(status, refusal.problem)
        })
    }

    async fn store_accepted(
        &self,
        source: &Source,
        accepted: Accepted,
        (body, erased): (&[u8], bool),
        received: &mut Received200,
    ) -> Result<(), Problem> {
        let client = format!("source:{}", source.id);
        let analyzer = source.analyzer.clone().unwrap_or_else(|| AnalyzerId(GATEWAY.to_owned()));
        let derived = accepted.identity.map(|identity| Id::derived(&[b"in", source.id.as_bytes(), &identity.0]));
        let id = derived.unwrap_or_else(|| self.new_id());
        let known = if derived.is_some() { self.store.event_by_id(id).await? } else { None };
        if let Some(known) = known {
            let (told, kind) = (&known.kind, &accepted.kind);
            // Where a person was taken out, here or at the sender, there is nothing to compare.
            if !known.erased && !erased && (told.name != kind.name || told.posted != kind.posted) {
                let detail = "this id was used for another event: what is stored stays, and this was not stored";
                return Err(Problem::new(StatusCode::CONFLICT, detail));
            }
            received.repeated += 1;
        } else {
            let at = self.platform.clock.now();
            let cumulative = dialect(&source.dialect).is_some_and(|dialect| dialect.is_cumulative());
            let kinds: Vec<EventKind> = match cumulative {
                false => vec![accepted.kind.clone().with_tests_of(&source.id)],
                true => {
                    let running = self.store.running_test(&analyzer).await?;
                    take_new(accepted.kind.clone(), running.as_ref(), at)
                }
            };
            // The last one is the event itself; a GAP may stand before it.
            let last = kinds.len().saturating_sub(1);
            let with_id = |(index, kind)| (if index == last { id } else { self.new_id() }, kind);
            let events: Vec<(Id, EventKind)> = kinds.into_iter().enumerate().map(with_id).collect();
            let facts: Vec<Fact> = events.iter().map(|(_, kind)| Fact::event(&analyzer, kind)).collect();
            let entry = NewEntry { analyzer, at, capture: body.to_vec(), events, complete: true };
            // Who can prove nothing could have anybody's data deleted.
            let may = source.dialect == "partner" && !source.secrets.is_empty();
            received.stored += self.commit_heeding(entry, (id, &accepted.kind), &client, may).await?.stored;
            for fact in facts {
                self.board.tell(at, fact);
            }
        }
        Ok(())
    }
}
