//! Messages as they were received, with or without the people in them.

use super::auth::Client;
use super::extract::{Path, Query};
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::store::{Content, MessageHead, Which};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway_core::config::Scope;
use gateway_core::drivers::driver;
use gateway_core::event::AnalyzerId;
use gateway_core::scrub::Pseudonyms;
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const PAGE_MESSAGES: u16 = 100;
const PAGE_MESSAGES_MAX: u16 = 1000;
/// A shorter key could be tried out.
const KEY_CHARACTERS_MIN: usize = 16;

pub fn routes() -> Vec<Route> {
    let about = ("captures", "The messages behind a place as they were received, oldest first, without their bytes");
    let list = Route::new(Method::GET, "/api/captures", Some(Scope::Read), about, get(list))
        .query::<Wanted>()
        .answer::<Captures>(200, "The messages; `next` is the `after` of the next request");
    let about = ("capture", "One message with its bytes; with `scrub_key` without the people in it");
    let one = Route::new(Method::GET, "/api/captures/{id}", Some(Scope::Operate), about, get(one))
        .query::<Scrubbing>()
        .answer::<Whole>(200, "The message")
        .problems(&[409]);
    vec![list, one]
}

/// Which messages.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    /// The id of the message behind which to begin.
    #[schemars(range(min = 0))]
    after: u32,
    /// How many at most.
    #[schemars(range(min = 1, max = 1000))]
    limit: u16,
    /// Only of this analyzer.
    analyzer: Option<String>,
    /// Received at or after that moment (RFC 3339).
    since: Option<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted { after: 0, limit: PAGE_MESSAGES, analyzer: None, since: None }
    }
}

#[derive(Serialize, JsonSchema)]
struct Captures {
    captures: Vec<Capture>,
    next: i64,
}

/// One message.
#[derive(Serialize, JsonSchema)]
struct Capture {
    id: i64,
    analyzer: String,
    /// When its last bytes came.
    #[schemars(with = "String")]
    received_at: Timestamp,
    /// How many bytes it has; 0: they were erased.
    bytes: usize,
    /// What was stored with it.
    events: Vec<Told>,
    /// Everything in it was known already.
    repeated: bool,
}

#[derive(Serialize, JsonSchema)]
struct Told {
    id: String,
    name: String,
}

/// Bytes as they were stored together.
#[derive(Serialize, JsonSchema)]
struct Chunk {
    bytes: usize,
    #[schemars(with = "String")]
    received_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
struct Whole {
    capture: Capture,
    driver: Option<String>,
    /// Its parts in order, as `decode --chunks` takes them.
    chunks: Vec<Chunk>,
    /// Whether the people were taken out.
    scrubbed: bool,
    /// The bytes in Base64.
    content: String,
}

impl From<&MessageHead> for Capture {
    fn from(message: &MessageHead) -> Capture {
        let told = message.events.iter();
        Capture {
            id: message.id,
            analyzer: message.analyzer.0.clone(),
            received_at: message.parts.last().map(|part| part.received_at).unwrap_or_default(),
            bytes: message.parts.iter().map(|part| part.bytes).sum(),
            events: told.map(|event| Told { id: event.id.to_string(), name: event.kind.word().to_owned() }).collect(),
            repeated: message.repeated,
        }
    }
}

async fn list(State(api): State<Arc<Api>>, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    if wanted.limit == 0 || wanted.limit > PAGE_MESSAGES_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {PAGE_MESSAGES_MAX}")));
    }
    let since = match wanted.since.as_deref().map(str::parse::<jiff::Timestamp>) {
        Some(Err(_)) => return Err(Problem::bad_request("since must be a moment such as 2026-11-21T20:14:03Z")),
        Some(Ok(moment)) => Some(Timestamp(moment.as_millisecond())),
        None => None,
    };
    let after = i64::from(wanted.after);
    let which = Which { after, analyzer: wanted.analyzer.map(AnalyzerId), since };
    let messages = api.store.messages(which, wanted.limit.into()).await?;
    let next = messages.last().map_or(after, |last| last.id);
    Ok(axum_json(&Captures { captures: messages.iter().map(Capture::from).collect(), next }))
}

/// How the bytes are wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scrubbing {
    /// Take the people out: at least 16 characters by chance. The same key gives each id the same invented one; throw it
    /// away afterwards.
    #[schemars(length(min = 16))]
    scrub_key: Option<String>,
}

async fn one(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(id): Path<String>,
    Query(scrubbing): Query<Scrubbing>,
) -> Result<Response, Problem> {
    let unknown = || Problem::unknown("capture");
    let number: i64 = id.parse().map_err(|_| unknown())?;
    if scrubbing.scrub_key.as_ref().is_some_and(|key| key.chars().count() < KEY_CHARACTERS_MIN) {
        return Err(Problem::bad_request(format!("scrub_key has at least {KEY_CHARACTERS_MIN} characters")));
    }
    let message = api.store.message(number).await?.ok_or_else(unknown)?;
    let bytes = match api.store.content(number).await? {
        Content::Whole(bytes) => bytes,
        Content::Erased => return Err(Problem::conflict("a person's data was erased, and these bytes with it")),
        Content::Unreadable => return Err(Problem::conflict("the database is damaged where these bytes were")),
    };
    let analyzer = api.config.analyzers.iter().find(|analyzer| analyzer.id == message.analyzer);
    let content = match &scrubbing.scrub_key {
        None => bytes,
        Some(key) => {
            let refused = |reason: &str| Problem::conflict(reason.to_owned());
            let analyzer = analyzer.ok_or_else(|| {
                refused("its analyzer is not in the settings any more, so nobody knows how to read these bytes")
            })?;
            let driver = driver(&analyzer.driver).ok_or_else(unknown)?;
            let names = Pseudonyms::new(Sha256::digest(key.as_bytes()).into());
            driver.scrub(&analyzer.options, &bytes, &names).map_err(|error| refused(&error.to_string()))?
        }
    };
    api.audit(&client.id, "read", &format!("capture/{number}"), "ok").await?;
    let chunk = |part: &crate::store::Part| Chunk { bytes: part.bytes, received_at: part.received_at };
    Ok(axum_json(&Whole {
        capture: Capture::from(&message),
        driver: analyzer.map(|analyzer| analyzer.driver.clone()),
        chunks: message.parts.iter().map(chunk).collect(),
        scrubbed: scrubbing.scrub_key.is_some(),
        content: STANDARD.encode(content),
    }))
}
