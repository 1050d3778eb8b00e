//! `partner` comes in: seed 001's `{eventName, data}`, under the key in `x-api-key`.

use super::{Accepted, Received, Refusal, accepted, identity, numbered, object, posted, refusal, text};
use crate::dialects::Dialect;
use sha2::{Digest, Sha256};

/// Events that happen once for their ids: the same data again is the same fact. Any other may well come twice: who has asked
/// to be forgotten may come back and ask again.
const ONCE: [&str; 3] = ["appointmentCreated", "appointmentCompleted", "sampleReceived"];

pub fn accept(dialect: &dyn Dialect, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
    verify(received)?;
    let body = object(received.body)?;
    let event = text(&body, "eventName")?;
    if received.says_probe() && event == "webhookTest" {
        return Ok(Vec::new());
    }
    let kind = posted(dialect, event, None, body.get("data"), "/data")?;
    let data = body.get("data").map(ToString::to_string).unwrap_or_default();
    let once = ONCE.contains(&event).then(|| identity(&[b"partner", event.as_bytes(), data.as_bytes()]));
    Ok(vec![accepted(numbered("partner", received).or(once), kind)])
}

fn verify(received: &Received<'_>) -> Result<(), Refusal> {
    if received.secrets.is_empty() {
        return Ok(());
    }
    let key = received.header("x-api-key").ok_or_else(|| refusal(401, "the header x-api-key is missing"))?;
    // All of them are compared, each in the same time wherever it differs.
    match received.secrets.iter().filter(|secret| is_same(secret.expose(), key)).count() {
        0 => Err(refusal(401, "x-api-key is not the key of this source")),
        _ => Ok(()),
    }
}

/// Compares hashes, of which nobody can choose the beginning, and looks at every byte.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.iter().zip(other.iter()).fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
}
