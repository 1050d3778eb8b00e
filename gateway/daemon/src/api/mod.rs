//! The HTTP API: what programs and people can ask of a running gateway and tell it. The same router serves the TCP port, the
//! control socket, requests over MQTT, and the commands while no gateway runs.
//!
//! Invariants: every read of a person's data and every change stands in the audit log; nothing is answered as stored before it
//! is; the API knows the store, the board and the settings, but no destination and no analyzer's port.

pub mod auth;
mod caller;
mod captures;
mod clients;
mod commands;
mod completeness;
mod curves;
mod deliveries;
mod diagnostics;
mod door;
mod erasures;
mod events;
mod exports;
mod extract;
mod incoming;
mod life;
mod listing;
mod looks;
mod metrics;
mod over_mqtt;
pub mod page;
mod people;
mod problem;
mod queue;
mod redecode;
mod registrations;
mod report;
mod results;
mod sent;
mod session;
mod settings;
mod status;
mod steering;
mod stream;
mod table;
mod update;

pub use door::DoorWorker;

use crate::board::Board;
use crate::configuration::Source;
use crate::entrance::Entrance;
use crate::platform::Platform;
use crate::pulse::Stop;
use crate::store::{AuditEntry, Store};
use crate::supervision::Supervisor;
use auth::{Client, Door, Refusals};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use data_encoding::HEXLOWER;
use gateway_core::config::Config;
use gateway_core::event::Id;
use gateway_core::time::Mono;
use problem::Problem;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use table::Route;

/// The longest that any answer takes, a long poll included.
const ANSWER_SECONDS_MAX: u64 = 60;

const KEY_BYTES_MAX: usize = 255;

/// Everything that a route may use.
pub struct Api {
    pub config: Config,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub supervisor: Supervisor,
    /// What waits ends when the gateway does.
    pub stop: Stop,
    pub refusals: Refusals,
    /// Refusals at sources without secrets that were written into the audit log.
    pub noted: Refusals,
    /// Commands over MQTT.
    pub rates: commands::Rates,
    /// Held while webhooks that came in are stored, one after the other.
    pub turn: tokio::sync::Mutex<()>,
    /// Held while a page of the log is put together: whoever waits for the next event does so at the same time, and the page
    /// may be large.
    pub paging: tokio::sync::Mutex<()>,
    /// What people at the page look at.
    pub looks: looks::Looks,
    pub front: Front,
}

/// What the page needs beside the API's own.
#[derive(Clone, Default)]
pub struct Front {
    pub entrance: Arc<Entrance>,
    /// Where the settings were read from.
    pub settings: Option<Arc<Source>>,
}

impl Api {
    /// Beside no running gateway.
    pub fn new(config: Config, platform: Platform, store: Store, board: Arc<Board>, stop: Stop) -> Arc<Api> {
        Api::with_front(config, platform, store, board, Supervisor::default(), stop, Front::default())
    }

    pub fn with_front(
        config: Config,
        platform: Platform,
        store: Store,
        board: Arc<Board>,
        supervisor: Supervisor,
        stop: Stop,
        front: Front,
    ) -> Arc<Api> {
        Arc::new(Api {
            config,
            platform,
            store,
            board,
            supervisor,
            stop,
            refusals: Refusals::default(),
            noted: Refusals::default(),
            rates: commands::Rates::default(),
            turn: Default::default(),
            paging: Default::default(),
            looks: Default::default(),
            front,
        })
    }

    fn mono(&self) -> Mono {
        self.platform.clock.now().mono
    }

    /// The router for requests that come in by this door.
    pub fn router(self: &Arc<Self>, door: Door) -> Router {
        let page = match door == Door::Network && self.config.http.page {
            true => page::router(),
            false => Router::new(),
        };
        table::router(routes(), self)
            .route("/api/openapi.json", get(openapi))
            .merge(page)
            .fallback(async || Problem::unknown("address"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
            })
            .layer(from_fn_with_state(Arc::clone(self), in_time))
            .layer(from_fn(page::guard))
            .layer(Extension(door))
            .with_state(Arc::clone(self))
    }

    /// Writes into the audit log.
    async fn audit(&self, client: &str, action: &str, object: &str, outcome: &str) -> Result<(), Problem> {
        let entry = AuditEntry {
            at: self.platform.clock.now().wall,
            client: client.to_owned(),
            action: action.to_owned(),
            object: object.to_owned(),
            outcome: outcome.to_owned(),
        };
        Ok(self.store.audit(entry).await?)
    }

    /// An absolute URL where `http.public_url` is set, else the path.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.http.public_url.as_deref().unwrap_or_default())
    }

    /// What makes a request the same as an earlier one: its `Idempotency-Key`, else nothing.
    fn cause(&self, what: &str, client: &Client, headers: &HeaderMap) -> Result<Id, Problem> {
        let Some(key) = headers.get("idempotency-key") else { return Ok(self.new_id()) };
        let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
        let key = key.ok_or_else(|| {
            Problem::bad_request(format!("Idempotency-Key is 1 to {KEY_BYTES_MAX} printable ASCII characters"))
        })?;
        Ok(Id::derived(&[what.as_bytes(), client.id.as_bytes(), key.as_bytes()]))
    }

    /// A new id, made from the time and chance.
    fn new_id(&self) -> Id {
        let mut random = [0; 10];
        self.platform.entropy.fill(&mut random);
        Id::timed(self.platform.clock.now().wall, random)
    }
}

/// Every operation.
fn routes() -> Vec<Route> {
    let rooms = [
        events::routes(),
        results::routes(),
        sent::routes(),
        registrations::routes(),
        deliveries::routes(),
        completeness::routes(),
        erasures::routes(),
        clients::routes(),
        incoming::routes(),
        captures::routes(),
        redecode::routes(),
        settings::routes(),
        steering::routes(),
        status::routes(),
        session::routes(),
        people::routes(),
        stream::routes(),
        listing::routes(),
        curves::routes(),
        exports::routes(),
        metrics::routes(),
        diagnostics::routes(),
        life::routes(),
        queue::routes(),
        report::routes(),
        update::routes(),
    ];
    rooms.into_iter().flatten().collect()
}

/// The OpenAPI document of this very program.
async fn openapi(State(api): State<Arc<Api>>) -> Response {
    axum_json(&table::document(&routes(), api.config.http.public_url.as_deref()))
}

/// Nothing takes for ever.
async fn in_time(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let clock = &api.platform.clock;
    let due = clock.now().mono.after(Duration::from_secs(ANSWER_SECONDS_MAX));
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = clock.sleep_until(due) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "this took too long; ask again, or for less").into_response()
        }
    }
}

/// 200 with this value; what is about persons stays in nobody's cache.
fn axum_json<T: Serialize>(value: &T) -> Response {
    with_json(StatusCode::OK, value)
}

fn with_json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).expect("answers have only string keys");
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store, private")];
    (status, headers, body).into_response()
}

/// The same with an ETag, or 304 if the caller has it already (RFC 9110 section 13.1.2).
fn unless_known<T: Serialize>(headers: &HeaderMap, value: &T) -> Response {
    let mut response = axum_json(value);
    let body = serde_json::to_vec(value).expect("answers have only string keys");
    let tag = HEXLOWER.encode(&Sha256::digest(&body)[..16]);
    let tag = format!("\"{tag}\"");
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    if known.any(|known| known == "*" || known.trim_start_matches("W/") == tag) {
        response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, private"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
