//! `session` comes in: seed 002's numbered events, under `X-WMS-Content-MAC`.
//!
//! The page computes the MAC over the low byte of each UTF-16 code unit of the body, others compute it over the bytes. For
//! ASCII it is the same; outside of it the page's own way cannot tell two letters with the same low byte apart.

use super::{Accepted, Received, Refusal, accepted, identity, object, posted, refusal, text};
use crate::dialects::Secret;
use crate::dialects::session::Session;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// The event keeps the sender's session; its own place in it is fixed when it is committed. The same place of the same
/// session is the same event.
pub fn accept(received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
    verify(received)?;
    let body = object(received.body)?;
    let (session, event) = (text(&body, "sessionId")?, text(&body, "event")?);
    let sequence = body.get("sequence").and_then(Value::as_u64);
    let sequence = sequence.ok_or_else(|| refusal(422, "/sequence must be a whole number from 0 on"))?;
    if body.get("timestamp").and_then(Value::as_i64).is_none() {
        return Err(refusal(422, "/timestamp must be a whole number of seconds"));
    }
    if received.is_probe() {
        return Ok(Vec::new());
    }
    let kind = posted(&Session, event, Some(session), body.get("payload"), "/payload")?;
    let identity = identity(&[b"session", session.as_bytes(), &sequence.to_be_bytes()]);
    Ok(vec![accepted(Some(identity), kind)])
}

fn verify(received: &Received<'_>) -> Result<(), Refusal> {
    if received.secrets.is_empty() {
        return Ok(());
    }
    let header = received.header("x-wms-content-mac");
    let header = header.ok_or_else(|| refusal(401, "the header X-WMS-Content-MAC is missing"))?;
    let tag = header.trim().strip_prefix("hmac-sha256=").and_then(from_hex);
    let tag = tag.ok_or_else(|| refusal(401, "X-WMS-Content-MAC is not `hmac-sha256=` and 64 hexadecimal digits"))?;
    let low_bytes = low_bytes(received.body);
    let fits = |secret: &Secret| {
        let fits = |bytes: &[u8]| mac(secret, bytes).verify_slice(&tag).is_ok();
        fits(received.body) | fits(&low_bytes)
    };
    match received.secrets.iter().filter(|secret| fits(secret)).count() {
        0 => Err(refusal(
            401,
            "X-WMS-Content-MAC does not fit to the body: the secrets differ, or it was changed on its way",
        )),
        _ => Ok(()),
    }
}

fn mac(secret: &Secret, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(bytes);
    mac
}

/// What Node's `update(body.toString(), 'ascii')` hashes.
fn low_bytes(body: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(body).encode_utf16().map(|unit| unit.to_be_bytes()[1]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let plain = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| digits.chunks(2).map(byte).collect()).flatten()
}
