//! Requests that somebody else made in one of the dialects: who sent it is verified first, then its events are taken out.
//!
//! Invariant: a refusal quotes nothing of the request. Where a request carries something that tells a repeat from a new
//! fact, its identity is made from that and from nothing else; where it carries nothing of the kind it has none, because a
//! fact too many can be seen and one that was swallowed cannot.

mod cloudevents;
mod lab;
mod partner;
mod session;
mod test_v0;

pub(super) use cloudevents::accept as cloudevents;
pub(super) use lab::accept as lab;
pub(super) use partner::accept as partner;
pub(super) use session::accept as session;
pub(super) use test_v0::accept as test_v0;

use super::catalogue::Entry;
use super::standard_webhooks::{self, BadSignature, TOLERANCE_S};
use super::{Accepted, Dialect, Received, Refusal};
use crate::event::{EventKind, Identity, Payload, Personal, Posted};
use crate::time::ClockQuality;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// How many faults of a payload a refusal tells.
const FAULTS_MAX: usize = 5;

impl Received<'_> {
    /// The first header of that (lower-case) name.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it says that a gateway tries the address out. It is believed only with the body of a probe: a header that some
    /// proxy adds must not make a fact vanish.
    fn says_probe(&self) -> bool {
        self.header("x-gateway-test") == Some("true")
    }
}

fn refusal(status: u16, problem: impl Into<String>) -> Refusal {
    Refusal { status, problem: problem.into() }
}

fn accepted(identity: Option<Identity>, kind: EventKind) -> Accepted {
    Accepted { identity, kind: EventKind { identity, ..kind } }
}

/// One identity for equal parts. The first part names the dialect, so that no two dialects share one.
fn identity(parts: &[&[u8]]) -> Identity {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Identity(hash.finalize().into())
}

/// The identity of what the sender itself has numbered: `webhook-id`, or the id that another gateway adds.
fn numbered(dialect: &str, received: &Received<'_>) -> Option<Identity> {
    let id = received.header("webhook-id").or_else(|| received.header("x-gateway-event-id"))?;
    Some(identity(&[dialect.as_bytes(), b"id", id.as_bytes()]))
}

/// Verifies the Standard Webhooks signature, if there are secrets. While the clock is not set, the time that was signed
/// cannot be judged and is not; identities still tell a repeat.
fn verify_standard(received: &Received<'_>) -> Result<(), Refusal> {
    if received.secrets.is_empty() {
        return Ok(());
    }
    let header = |name: &str| {
        received
            .header(name)
            .ok_or_else(|| refusal(401, format!("the header {name} is missing: the request must be signed")))
    };
    let headers = (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    let is_unset = received.now.quality == ClockQuality::Unset;
    let (now_s, tolerance_s) = (received.now.wall.as_seconds(), if is_unset { i64::MAX } else { TOLERANCE_S });
    let mut problem = BadSignature::NoMatch;
    for secret in received.secrets {
        match standard_webhooks::verify(secret, headers, received.body, now_s, tolerance_s) {
            Ok(()) => return Ok(()),
            Err(other) => problem = other,
        }
    }
    Err(match problem {
        BadSignature::TooOldOrNew => refusal(
            401,
            format!(
                "webhook-timestamp is more than {TOLERANCE_S} s from this box's clock: the request is old, or a clock is wrong"
            ),
        ),
        BadSignature::Timestamp => refusal(401, "webhook-timestamp is not a number of seconds"),
        BadSignature::NoMatch | BadSignature::Secret(_) => refusal(
            401,
            "the signature does not fit to the body: the secrets of the two sides differ, or it was changed on its way",
        ),
    })
}

/// The body as a JSON object.
fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refusal(422, "the body is JSON, but not an object")),
        // The parser's own words could hold a piece of the body.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(refusal(400, format!("the body is not JSON: line {line}, column {column}")))
        }
    }
}

/// The text under a key, which must be there.
fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, Refusal> {
    let text = object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| refusal(422, format!("/{key} must be text that is not empty")))
}

/// The event of that name with its payload, as the dialect's catalogue has it; `at` is where the payload stands.
fn posted(
    dialect: &dyn Dialect,
    event: &str,
    session: Option<&str>,
    payload: Option<&Value>,
    at: &str,
) -> Result<EventKind, Refusal> {
    let unknown = || refusal(422, format!("dialect `{}` has no event of this name", dialect.name()));
    let entry: &Entry = dialect.entry(event).ok_or_else(unknown)?;
    let faults = entry.check(payload, at);
    if !faults.is_empty() {
        let told: Vec<String> =
            faults.iter().take(FAULTS_MAX).map(|fault| format!("{} {}", fault.path, fault.problem)).collect();
        let more = faults.len().saturating_sub(FAULTS_MAX);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(refusal(422, told.join("; ") + &more));
    }
    Ok(EventKind::posted(Posted {
        dialect: dialect.name().to_owned(),
        event: entry.event.to_owned(),
        session: session.map(Personal::new),
        payload: Payload::new(payload.cloned().unwrap_or_default()),
    }))
}
