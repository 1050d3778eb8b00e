//! Commands over MQTT: `{"id","command","token","expires_at","arguments"}`, answered with a
//! [`CommandResponse`](gateway_core::monitoring::CommandResponse).
//!
//! Invariants: a command does what a route of the API does, under the route's scope and audit; it is done once, whatever is
//! sent again; and none is done that could be an old one: it names its end, and a clock that was never set cannot tell.

use super::Api;
use super::auth::{Client, Door};
use super::extract::from_json;
use super::problem::Problem;
use crate::calls::{Known, Memory, WITHOUT_ID, readable_id};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use gateway_core::monitoring::{
    COMMANDS, Command, CommandOutcome, CommandResponse, CommandResult, ConfigMistake, Publication, TestedHop,
};
use gateway_core::overview::{Overview, SCHEMA};
use gateway_core::time::{ClockQuality, Mono, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tower::ServiceExt;

/// A command may not be good for longer: so long is it known again.
const EXPIRY_SECONDS_MAX: i64 = 600;
/// Commands of one client: so many at once, then one each second.
const BURST_MAX: u32 = 30;
const REFILL_SECONDS: u64 = 1;
/// Clients whose rate is counted; there are no more tokens than a clinic has programs.
const CLIENTS_MAX: usize = 256;
/// Bytes of the API's answer that are read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of a packet beside what the answer holds, at most.
const PACKET_OVERHEAD_BYTES: usize = 2_048;
const DIAGNOSTICS: &str = "collect_diagnostics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default = "schema")]
    schema: u32,
    id: String,
    command: String,
    token: String,
    expires_at: String,
    #[serde(default)]
    arguments: serde_json::Map<String, Value>,
}

fn schema() -> u32 {
    SCHEMA
}

/// How many commands each client may still give now.
#[derive(Default)]
pub struct Rates(Mutex<BTreeMap<String, (u32, Mono)>>);

impl Rates {
    /// Counts one more of this client; `false` if there are too many.
    fn admits(&self, client: &str, now: Mono) -> bool {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= CLIENTS_MAX && !rates.contains_key(client) {
            rates.retain(|_, (_, since)| now.since(*since).as_secs() < u64::from(BURST_MAX) * REFILL_SECONDS);
        }
        let (left, since) = rates.entry(client.to_owned()).or_insert((BURST_MAX, now));
        let earned = now.since(*since).as_secs() / REFILL_SECONDS;
        if earned > 0 {
            *left = u64::from(*left).saturating_add(earned).min(u64::from(BURST_MAX)) as u32;
            *since = since.after(Duration::from_secs(earned * REFILL_SECONDS));
        }
        let admitted = *left > 0;
        *left = left.saturating_sub(1);
        admitted
    }
}

/// Why a command is not done: a word and a sentence.
type Refusal = (&'static str, String);

/// Answers one command.
pub async fn attend(api: &Arc<Api>, router: Router, door: Door, memory: &Mutex<Memory>, payload: &[u8]) -> Publication {
    let id = readable_id(payload);
    let response = match read(payload, id.is_some()) {
        Ok(asked) => answer(api, router, door, memory, asked, Sha256::digest(payload).into()).await,
        Err((code, reason)) => {
            let id = id.as_deref().unwrap_or(WITHOUT_ID);
            CommandResponse::not_done(id, "", CommandOutcome::Refused, code, &reason)
        }
    };
    let topic = format!("commands/response/{}", response.id);
    let said = Publication::once(&*topic, &response);
    if said.payload().len() <= room(api, door) {
        return said;
    }
    Publication::once(topic, &too_large(&response.id, &response.command))
}

fn read(payload: &[u8], has_id: bool) -> Result<Asked, Refusal> {
    let asked: Asked = from_json(payload).map_err(|problem| ("malformed", problem.detail().to_owned()))?;
    if !has_id {
        return Err(("malformed", "/id: must be 1 to 64 letters, digits, `-` or `_`".to_owned()));
    }
    if asked.schema != SCHEMA {
        return Err(("schema", format!("this gateway understands schema {SCHEMA} of commands")));
    }
    Ok(asked)
}

async fn answer(
    api: &Arc<Api>,
    router: Router,
    door: Door,
    memory: &Mutex<Memory>,
    asked: Asked,
    hash: [u8; 32],
) -> CommandResponse {
    let known = COMMANDS.iter().find(|command| command.name == asked.command);
    // What is not known is not repeated to whoever listens.
    let name = known.map_or("", |command| command.name);
    let refuse =
        |(code, reason): Refusal| CommandResponse::not_done(&asked.id, name, CommandOutcome::Refused, code, &reason);
    let client = match bearer(&asked.token) {
        Ok(headers) => api.client(Some(door), &Method::POST, &headers).await.map(|(client, _)| client),
        Err(problem) => Err(problem),
    };
    let client = match client {
        Ok(client) => client,
        Err(problem) => return refused(&asked.id, name, &problem),
    };
    let begun = match known {
        Some(command) => admit(api, &client, command, &asked, memory, hash),
        None => {
            let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
            Err(Begun::Refused(("unknown_command", format!("/command: must be one of {}", names.join(", ")))))
        }
    };
    let lock = || memory.lock().unwrap_or_else(PoisonError::into_inner);
    match begun {
        Ok(()) => {}
        Err(Begun::Answered(answer)) => return *answer,
        Err(Begun::Refused(refusal)) => {
            note(api, &client, name, refusal.0).await;
            return refuse(refusal);
        }
    }
    let response = match request(&asked) {
        Ok(request) => {
            let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await;
            match body {
                Ok(body) => {
                    told(&asked, name, parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
                }
                Err(_) => too_large(&asked.id, name),
            }
        }
        Err(refusal) => refuse(refusal),
    };
    match response.result {
        // How things are is looked at again.
        Some(CommandResult::Overview(_) | CommandResult::Pong { .. }) => lock().forget(&client.id, &asked.id),
        _ => lock().answered(&client.id, &asked.id, &response),
    }
    response
}

enum Begun {
    Answered(Box<CommandResponse>),
    Refused(Refusal),
}

/// Whether the command may be done now; if so it is noted as begun.
fn admit(
    api: &Api,
    client: &Client,
    command: &Command,
    asked: &Asked,
    memory: &Mutex<Memory>,
    hash: [u8; 32],
) -> Result<(), Begun> {
    let now = api.platform.clock.now();
    let refuse = |code, reason: &str| Err(Begun::Refused((code, reason.to_owned())));
    let read: Result<jiff::Timestamp, _> = asked.expires_at.parse();
    let Ok(expires_at) = read.map(|moment| Timestamp(moment.as_millisecond())) else {
        return refuse("malformed", "/expires_at: must be a moment such as 2026-11-21T20:14:03Z");
    };
    let trusted = now.quality != ClockQuality::Unset;
    if !trusted && !command.harmless {
        let reason = "this box does not know what time it is, so it cannot tell an old command from a new one: \
                      wait until a time server has set its clock; `ping` and `status` are answered";
        return refuse("clock_not_trusted", reason);
    }
    if trusted && expires_at <= now.wall {
        let reason = format!("it was good until {expires_at}, and here it is {}", now.wall);
        return refuse("expired", &reason);
    }
    if trusted && expires_at > now.wall.shifted(EXPIRY_SECONDS_MAX * 1000) {
        let reason = format!("/expires_at: must be at most {EXPIRY_SECONDS_MAX} s ahead; here it is {}", now.wall);
        return refuse("expires_too_late", &reason);
    }
    let begun =
        memory.lock().unwrap_or_else(PoisonError::into_inner).begin(&client.id, &asked.id, hash, expires_at, now.wall);
    let too_many = "too many commands: send at most one a second";
    match begun {
        Known::New if api.rates.admits(&client.id, now.mono) => Ok(()),
        Known::New => {
            memory.lock().unwrap_or_else(PoisonError::into_inner).forget(&client.id, &asked.id);
            refuse("too_many", too_many)
        }
        Known::Answered(answer) => Err(Begun::Answered(answer)),
        Known::BeingDone => refuse("being_done", "the command of this id is being done"),
        Known::Other => refuse("id_reused", "another command had this id: give each command an id of its own"),
        Known::Full => refuse("too_many", too_many),
    }
}

/// Notes a refusal in the audit log, within the bound that holds for all of them.
async fn note(api: &Api, client: &Client, name: &str, code: &str) {
    if api.noted.admits(api.platform.clock.now().mono) {
        let name = if name.is_empty() { "unknown" } else { name };
        // What cannot be noted was not done either.
        let _ = api.audit(&client.id, "refused", &format!("command/{name}"), code).await;
    }
}

fn bearer(token: &str) -> Result<HeaderMap, Problem> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let value = value.map_err(|_| Problem::fault("/token", "holds what no token has"))?;
    Ok(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}

/// The request to the API that does it.
fn request(asked: &Asked) -> Result<Request<Body>, Refusal> {
    let mut arguments = asked.arguments.clone();
    let no = |problem: &str| ("malformed", problem.to_owned());
    let endpoint = |arguments: &mut serde_json::Map<String, Value>| match arguments.remove("endpoint") {
        Some(Value::String(id)) if arguments.is_empty() && !id.is_empty() => {
            Ok(percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC).to_string())
        }
        _ => Err(no("/arguments: must be `endpoint` and nothing else")),
    };
    let (method, path, has_body) = match asked.command.as_str() {
        "ping" | "status" => (Method::GET, "/api/status".to_owned(), false),
        "test_webhook" => (Method::POST, format!("/api/webhooks/{}/test", endpoint(&mut arguments)?), false),
        "pause" | "resume" => {
            (Method::POST, format!("/api/webhooks/{}/{}", endpoint(&mut arguments)?, asked.command), false)
        }
        "redrive" => (Method::POST, "/api/redrive".to_owned(), true),
        DIAGNOSTICS => (Method::POST, "/api/diagnostics/kept".to_owned(), false),
        "reload" => (Method::POST, "/api/reload".to_owned(), false),
        "update" => (Method::POST, "/api/update".to_owned(), true),
        "push_config" => (Method::POST, "/api/config".to_owned(), true),
        _ => (Method::POST, "/api/config/confirm".to_owned(), true),
    };
    if !has_body && !arguments.is_empty() {
        return Err(no("/arguments: this command has none"));
    }
    let body = if has_body { Body::from(Value::Object(arguments).to_string()) } else { Body::empty() };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", asked.token))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|_| no("/token: holds what no token has"))
}

/// The API's answer, as far as it may be told anywhere.
fn told(asked: &Asked, name: &str, status: u16, body: Value) -> CommandResponse {
    if (200..300).contains(&status) {
        return match result(name, &body) {
            Some(result @ CommandResult::Tested { ok: false, .. }) => {
                let reason = "a hop on the way to the endpoint failed: `result` says which, and what to do";
                let failed = CommandResponse::not_done(&asked.id, name, CommandOutcome::Failed, "hop_failed", reason);
                CommandResponse { result: Some(result), ..failed }
            }
            Some(result) => CommandResponse::done(&asked.id, name, result),
            None => {
                let reason = "it was done, but its answer could not be read";
                CommandResponse::not_done(&asked.id, name, CommandOutcome::Failed, "unreadable_answer", reason)
            }
        };
    }
    let text = |key: &str| body[key].as_str();
    let fallback = code_of(status);
    let outcome = if status >= 500 { CommandOutcome::Failed } else { CommandOutcome::Refused };
    let mistakes: Vec<ConfigMistake> = serde_json::from_value(body["mistakes"].clone()).unwrap_or_default();
    let reason = text("detail").unwrap_or("the gateway refuses this");
    let response = CommandResponse::not_done(&asked.id, name, outcome, text("code").unwrap_or(fallback), reason);
    CommandResponse { result: (!mistakes.is_empty()).then_some(CommandResult::Mistakes(mistakes)), ..response }
}

/// The longest payload that this broker is given.
fn room(api: &Api, door: Door) -> usize {
    let outside = api.config.monitoring.broker.as_ref().filter(|_| door == Door::Monitoring);
    outside.unwrap_or(&api.config.mqtt).packet_bytes_max.saturating_sub(PACKET_OVERHEAD_BYTES)
}

fn too_large(id: &str, name: &str) -> CommandResponse {
    let reason =
        "it was done, but the answer is longer than a packet to this broker may be (packet_bytes_max): ask over HTTP";
    CommandResponse::not_done(id, name, CommandOutcome::Failed, "too_large", reason)
}

fn refused(id: &str, name: &str, problem: &Problem) -> CommandResponse {
    let status = problem.status().as_u16();
    let outcome = if status >= 500 { CommandOutcome::Failed } else { CommandOutcome::Refused };
    CommandResponse::not_done(id, name, outcome, code_of(status), problem.detail())
}

fn code_of(status: u16) -> &'static str {
    match status {
        401 => "unknown_token",
        403 => "scope",
        404 => "unknown",
        409 => "conflict",
        429 => "too_many",
        400..500 => "malformed",
        _ => "unavailable",
    }
}

fn result(name: &str, body: &Value) -> Option<CommandResult> {
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let moment = |key: &str| serde_json::from_value::<Option<Timestamp>>(body[key].clone()).ok().flatten();
    Some(match name {
        "ping" => {
            let overview: Overview = serde_json::from_value(body.clone()).ok()?;
            CommandResult::Pong { version: overview.version, at: overview.at, clock: overview.clock }
        }
        "status" => CommandResult::Overview(serde_json::from_value(body.clone()).ok()?),
        "test_webhook" => CommandResult::Tested {
            webhook: text("webhook")?,
            ok: body["ok"].as_bool()?,
            status: serde_json::from_value(body["status"].clone()).ok()?,
            hops: serde_json::from_value::<Vec<TestedHop>>(body["hops"].clone()).ok()?,
        },
        "redrive" => {
            let going = body["destinations"].as_array()?.iter();
            let count =
                |one: &Value| Some((one["destination"].as_str()?.to_owned(), one["events"].as_array()?.len() as u64));
            CommandResult::Redriven {
                dry_run: body["dry_run"].as_bool()?,
                destinations: going.filter_map(count).collect(),
            }
        }
        "pause" | "resume" => CommandResult::Paused {
            webhook: text("webhook")?,
            paused: body["paused"].as_bool()?,
            since: moment("since"),
        },
        "update" => {
            let phase = body["update"]["phase"].clone();
            CommandResult::Update {
                version: body["image"]["version"].as_str()?.to_owned(),
                phase: serde_json::from_value(phase).ok(),
            }
        }
        DIAGNOSTICS => CommandResult::Diagnostics { file: text("file")?, bytes: body["bytes"].as_u64()? },
        _ => CommandResult::Settings { hash: text("hash")?, confirm_by: moment("confirm_by"), file: text("file") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_has_a_burst_and_then_one_a_second() {
        let rates = Rates::default();
        let at = |seconds: u64| Mono(0).after(Duration::from_secs(seconds));
        let admitted = |now, count: u32| (0..count).filter(|_| rates.admits("a", now)).count();
        assert_eq!(admitted(at(0), 100), BURST_MAX as usize);
        assert_eq!(admitted(at(5), 100), 5);
        assert!(rates.admits("b", at(5)), "each has its own");
        assert_eq!(admitted(at(500), 100), BURST_MAX as usize);
    }

    #[test]
    fn every_command_leads_to_a_route() {
        for command in COMMANDS {
            let arguments = match command.name {
                "test_webhook" | "pause" | "resume" => json!({ "endpoint": "li/ms" }),
                _ => json!({}),
            };
            let asked: Asked = serde_json::from_value(json!({
                "id": "1", "command": command.name, "token": "t", "expires_at": "", "arguments": arguments
            }))
            .expect("a command");
            let request = request(&asked).expect("a request");
            let route = request.uri().path();
            assert!(command.name == "confirm_config" || !route.ends_with("/confirm"), "{}: {route}", command.name);
            assert!(!route.contains("li/ms"), "{route}");
        }
    }
}
