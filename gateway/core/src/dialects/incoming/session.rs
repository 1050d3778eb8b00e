//! `session` comes in: seed 002's numbered events, under `X-WMS-Content-MAC`.
//!
//! The page computes the MAC over the low byte of each UTF-16 code unit of the body, others compute it over the bytes. For
//! ASCII it is the same. Beyond U+00FF the page's own way cannot tell two letters with the same low byte apart: whoever has seen
//! one signed request could swap letters in it (a and š). So it is taken only for bodies up to U+00FF, where each letter has a
//! byte of its own; other bodies must be signed over their bytes, or write such letters as `\u0161`.

use super::{Accepted, Received, Refusal, accepted, identity, object, posted, refusal, text};
use crate::dialects::Secret;
use crate::dialects::session::Session;
use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// The event keeps the sender's session; its own place in it is fixed when it is committed. The same place of the same
/// session is the same event.
pub fn accept(received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
    let way = verify(received)?;
    let body = object(received.body)?;
    let (session, event) = (text(&body, "sessionId")?, text(&body, "event")?);
    let sequence = body.get("sequence").and_then(Value::as_u64);
    let sequence = sequence.ok_or_else(|| refusal(422, "/sequence must be a whole number from 0 on"))?;
    if body.get("timestamp").and_then(Value::as_i64).is_none() {
        return Err(refusal(422, "/timestamp must be a whole number of seconds"));
    }
    if received.says_probe() && event == "WMS_LOADED" && session.starts_with("webhook-test-") {
        return Ok(Vec::new());
    }
    let kind = posted(&Session, event, Some(session), body.get("payload"), "/payload")?;
    // Over the bytes that were signed: read the other way, the same bytes are no second event.
    let signed = match way {
        Way::Bytes => session.as_bytes().to_vec(),
        Way::LowBytes => low_bytes(session).unwrap_or_default(),
    };
    let identity = identity(&[b"session", &signed, &sequence.to_be_bytes()]);
    Ok(vec![accepted(Some(identity), kind)])
}

/// What the MAC was computed over.
enum Way {
    Bytes,
    LowBytes,
}

fn verify(received: &Received<'_>) -> Result<Way, Refusal> {
    if received.secrets.is_empty() {
        return Ok(Way::Bytes);
    }
    let header = received.header("x-wms-content-mac");
    let header = header.ok_or_else(|| refusal(401, "the header X-WMS-Content-MAC is missing"))?;
    let tag = header.trim().strip_prefix("hmac-sha256=").and_then(from_hex);
    let tag = tag.ok_or_else(|| refusal(401, "X-WMS-Content-MAC is not `hmac-sha256=` and 64 hexadecimal digits"))?;
    let fits = |bytes: &[u8]| {
        // All of the secrets are tried, whichever fits.
        received.secrets.iter().filter(|secret| mac(secret, bytes).verify_slice(&tag).is_ok()).count() > 0
    };
    if fits(received.body) {
        return Ok(Way::Bytes);
    }
    let low_bytes = std::str::from_utf8(received.body).ok().and_then(low_bytes);
    if low_bytes.is_some_and(|low_bytes| fits(&low_bytes)) {
        return Ok(Way::LowBytes);
    }
    let problem = "X-WMS-Content-MAC does not fit to the body: the secrets differ, it was changed on its way, or it holds letters \
                   beyond U+00FF and was not signed over its UTF-8 bytes";
    Err(refusal(401, problem))
}

fn mac(secret: &Secret, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(bytes);
    mac
}

/// What Node's `update(body.toString(), 'ascii')` hashes; `None` if a letter is more than its low byte.
fn low_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().filter(|tag| tag.len() == 32)
}
