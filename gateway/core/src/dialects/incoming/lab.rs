//! `lab` comes in: seed 004's thin events, signed by Standard Webhooks if the source has secrets.

use super::{Accepted, Received, Refusal, accepted, identity, numbered, object, posted, text, verify_standard};
use crate::dialects::Dialect;

/// Results may be completed a second time; everything else that the page tells happens once to a registration.
const MORE_THAN_ONCE: [&str; 1] = ["lab_results.complete"];

pub fn accept(dialect: &dyn Dialect, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
    verify_standard(received)?;
    let body = object(received.body)?;
    let event = text(&body, "event")?;
    if received.says_probe() && event == "webhook.test" {
        return Ok(Vec::new());
    }
    let kind = posted(dialect, event, None, body.get("data"), "/data")?;
    let data = body.get("data").map(ToString::to_string).unwrap_or_default();
    let once = !MORE_THAN_ONCE.contains(&event);
    let once = once.then(|| identity(&[b"lab", event.as_bytes(), data.as_bytes()]));
    Ok(vec![accepted(numbered("lab", received).or(once), kind)])
}
