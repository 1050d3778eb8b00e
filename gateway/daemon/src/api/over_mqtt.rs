//! What is asked over MQTT. Of the API itself: a request is `{"id","token","method","path","body"}`, its answer `{"id","status","headers","body"}`;
//! commands are in [`super::commands`].
//!
//! Invariant: a token is always needed, and what cannot be read is answered with problem details like anywhere else.

use super::auth::Door;
use super::extract::from_json;
use super::problem::Problem;
use super::{Api, commands};
use crate::calls::{Answer, Call, ID_CHARACTERS_MAX, Inbox, WITHOUT_ID, Way, readable_id};
use crate::pulse::Stop;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// Requests answered at once; the next ones wait.
const AT_ONCE_MAX: usize = 8;
/// How long a stop waits for what is being answered.
const DRAIN_SECONDS_MAX: u64 = 3;
/// Bytes of a packet beside the answer's own text, at most.
const PACKET_OVERHEAD_BYTES: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    id: String,
    token: String,
    method: String,
    /// With its query: `/api/events?after=7`.
    path: String,
    #[serde(default)]
    body: Option<Value>,
    /// `Idempotency-Key`
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// Answers what comes in until the stop, and then what is being answered.
pub async fn answer(api: &Arc<Api>, inbox: &Inbox, mut stop: Stop) {
    let mut calls = tokio::select! {
        biased;
        () = stop.asked() => return,
        calls = inbox.calls.lock() => calls,
    };
    let doors = Doors { api: api.router(Door::Mqtt), outside: api.router(Door::Monitoring) };
    let mut answering = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = stop.asked() => break,
            Some(()) = answering.next(), if !answering.is_empty() => {}
            Some(call) = calls.recv(), if answering.len() < AT_ONCE_MAX => {
                // Whoever asked over a connection that is gone asks again.
                if !call.answer.is_closed() {
                    answering.push(attend(api, call, &doors, inbox));
                }
            }
        }
    }
    // A command that changes the settings stops this very part: its answer goes out first.
    let due = api.platform.clock.now().mono.after(Duration::from_secs(DRAIN_SECONDS_MAX));
    tokio::select! {
        biased;
        () = async { while answering.next().await.is_some() {} } => {}
        () = api.platform.clock.sleep_until(due) => {}
    }
}

/// The routers for what comes by each broker.
struct Doors {
    api: Router,
    outside: Router,
}

async fn attend(api: &Arc<Api>, call: Call, doors: &Doors, inbox: &Inbox) {
    let Call { way, payload, answer } = call;
    let said = match way {
        Way::Api => ask(&payload, doors.api.clone(), api.config.mqtt.packet_bytes_max).await,
        Way::Command => {
            Answer::Command(commands::attend(api, doors.api.clone(), Door::Mqtt, &inbox.memory, &payload).await)
        }
        Way::CommandFromOutside => {
            let router = doors.outside.clone();
            Answer::Command(commands::attend(api, router, Door::Monitoring, &inbox.memory, &payload).await)
        }
    };
    // The connection that asked may be gone: whoever asks again gets an answer there.
    let _ = answer.send(said);
}

async fn ask(payload: &[u8], router: Router, packet_bytes_max: usize) -> Answer {
    let id = readable_id(payload);
    let response = match request(payload, id.is_some()) {
        // A router always answers.
        Ok(request) => router.oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(problem) => problem.into_response(),
    };
    let id = id.unwrap_or_else(|| WITHOUT_ID.to_owned());
    let room = packet_bytes_max.saturating_sub(PACKET_OVERHEAD_BYTES);
    let payload = match written(&id, response, room).await {
        Some(payload) => payload,
        None => {
            let detail = "the answer is longer than mqtt.packet_bytes_max: ask for less (`limit`), or over HTTP";
            let problem = Problem::bad_request(detail).into_response();
            written(&id, problem, usize::MAX).await.unwrap_or_default()
        }
    };
    Answer::Api { id, payload }
}

fn request(payload: &[u8], has_id: bool) -> Result<Request<Body>, Problem> {
    let asked: Asked = from_json(payload)?;
    let _ = asked.id;
    if !has_id {
        let problem = format!("must be 1 to {ID_CHARACTERS_MAX} letters, digits, `-` or `_`");
        return Err(Problem::fault("/id", problem));
    }
    let method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| Problem::fault("/method", "is no method"))?;
    if !asked.path.starts_with("/api/") {
        return Err(Problem::fault("/path", "must begin with /api/"));
    }
    let mut request = Request::builder()
        .method(method)
        .uri(asked.path)
        .header(header::AUTHORIZATION, format!("Bearer {}", asked.token));
    if let Some(key) = asked.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let body = match asked.body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    request.body(body).map_err(|_| Problem::bad_request("token, path or idempotency_key hold what HTTP cannot carry"))
}

/// `None`: longer than `bytes_max`.
async fn written(id: &str, response: Response, bytes_max: usize) -> Option<Vec<u8>> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, bytes_max).await.ok()?;
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(value) => value,
        Err(_) if body.is_empty() => Value::Null,
        Err(_) => Value::String(String::from_utf8_lossy(&body).into_owned()),
    };
    let told = |name: &header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let headers: serde_json::Map<String, Value> = [header::ETAG, header::LOCATION, header::RETRY_AFTER]
        .iter()
        .filter_map(|name| told(name).map(|value| (name.to_string(), json!(value))))
        .collect();
    let status = StatusCode::as_u16(&parts.status);
    let payload = json!({ "id": id, "status": status, "headers": headers, "body": body }).to_string().into_bytes();
    (payload.len() <= bytes_max).then_some(payload)
}
