//! The signature of the Standard Webhooks specification 1.0, symmetric scheme (`v1`).
//!
//! Signed are the id, the attempt's time and the body, joined by full stops, with HMAC-SHA256. A secret is `whsec_` and
//! the base64 of 24 to 64 random bytes. With several secrets (one of them on its way out) there is one signature each, in
//! their order, separated by a blank; a receiver is content with any of them.

use super::{Attempt, Secret};
use crate::event::EventId;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far the signed time may be from the receiver's clock, in seconds, as the specification's libraries have it.
pub const TOLERANCE_S: i64 = 300;

const PREFIX: &str = "whsec_";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Written with padding, read with or without it: secrets are pasted by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong with a secret. Never says any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret for Standard Webhooks is `whsec_` followed by the base64 of 24 to 64 bytes, and here {problem}; make one with \
     `openssl rand -base64 32` and write whsec_ before what it prints"
)]
pub struct BadSecret {
    problem: &'static str,
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("the secret itself is not one: {0}")]
    Secret(#[from] BadSecret),
    #[error("webhook-timestamp is not a number of seconds")]
    Timestamp,
    #[error("webhook-timestamp is too far from the receiver's clock")]
    TooOldOrNew,
    #[error("no signature matches")]
    NoMatch,
}

/// What [`Dialect::check_secret`](super::Dialect::check_secret) says of a dialect that is signed this way, or not at all.
pub(super) fn check_optional(secret: Option<&str>) -> Result<(), String> {
    secret.map_or(Ok(()), check_secret).map_err(|problem| problem.to_string())
}

/// Whether the text is a secret at all.
pub fn check_secret(text: &str) -> Result<(), BadSecret> {
    key(text).map(|_| ())
}

/// The value of `webhook-signature`: one `v1,` signature a secret. `timestamp` in whole seconds since 1970.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> Result<String, BadSecret> {
    let mut signatures = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let tag = mac(secret.expose(), id, &timestamp.to_string(), body)?.finalize().into_bytes();
        signatures.push(format!("v1,{}", BASE64.encode(tag)));
    }
    Ok(signatures.join(" "))
}

/// The id, the time and, if there are secrets, the signature of a request.
pub(super) fn headers(attempt: &Attempt<'_>, id: EventId, body: &[u8]) -> Result<Vec<(String, String)>, BadSecret> {
    let (id, timestamp) = (id.to_string(), attempt.signed_at.as_seconds());
    let signature = sign(attempt.secrets, &id, timestamp, body)?;
    let mut headers = vec![("webhook-id".to_owned(), id), ("webhook-timestamp".to_owned(), timestamp.to_string())];
    if !attempt.secrets.is_empty() {
        headers.push(("webhook-signature".to_owned(), signature));
    }
    Ok(headers)
}

/// What a receiver does: the three headers as received, its own clock and its tolerance, both in seconds. Signatures of
/// other schemes are passed over; the comparison takes the same time wherever two signatures differ.
pub fn verify(
    secret: &Secret,
    (id, timestamp, signatures): (&str, &str, &str),
    body: &[u8],
    now_s: i64,
    tolerance_s: i64,
) -> Result<(), BadSignature> {
    let signed_at: i64 = timestamp.parse().map_err(|_| BadSignature::Timestamp)?;
    if now_s.saturating_sub(signed_at).saturating_abs() > tolerance_s {
        return Err(BadSignature::TooOldOrNew);
    }
    let mac = mac(secret.expose(), id, timestamp, body)?;
    let ours = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let mut decoded = ours.filter_map(|signature| BASE64.decode(signature).ok());
    match decoded.any(|signature| mac.clone().verify_slice(&signature).is_ok()) {
        true => Ok(()),
        false => Err(BadSignature::NoMatch),
    }
}

fn key(text: &str) -> Result<Vec<u8>, BadSecret> {
    let encoded = text.strip_prefix(PREFIX).ok_or(BadSecret { problem: "the `whsec_` is missing" })?;
    let key = BASE64.decode(encoded).map_err(|_| BadSecret { problem: "what follows is not base64" })?;
    match key.len() {
        length if KEY_BYTES.contains(&length) => Ok(key),
        length if length < *KEY_BYTES.start() => Err(BadSecret { problem: "it is too short" }),
        _ => Err(BadSecret { problem: "it is too long" }),
    }
}

fn mac(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Result<Hmac<Sha256>, BadSecret> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const AT: i64 = 1_614_265_330;

    fn published() -> Secret {
        Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    }

    fn another() -> Secret {
        Secret::new(format!("whsec_{}", BASE64.encode([7; 32])))
    }

    #[test]
    fn the_published_vector() {
        assert_eq!(sign(&[published()], ID, AT, BODY).as_deref(), Ok(SIGNATURE));
    }

    #[test]
    fn several_secrets_give_several_signatures_and_either_verifies() {
        let signatures = sign(&[another(), published()], ID, AT, BODY).expect("good secrets");
        assert!(signatures.ends_with(&format!(" {SIGNATURE}")));
        for secret in [published(), another()] {
            let headers = (ID, "1614265330", signatures.as_str());
            assert_eq!(verify(&secret, headers, BODY, AT + TOLERANCE_S, TOLERANCE_S), Ok(()));
        }
    }

    #[test]
    fn whatever_differs_is_refused() {
        let check = |id, at, signature, body, now| verify(&published(), (id, at, signature), body, now, TOLERANCE_S);
        let at = "1614265330";
        assert_eq!(check(ID, at, SIGNATURE, BODY, AT), Ok(()));
        assert_eq!(check("msg_other", at, SIGNATURE, BODY, AT), Err(BadSignature::NoMatch));
        assert_eq!(check(ID, "1614265331", SIGNATURE, BODY, AT), Err(BadSignature::NoMatch));
        assert_eq!(check(ID, at, SIGNATURE, b"{}", AT), Err(BadSignature::NoMatch));
        assert_eq!(check(ID, at, "v1,AAAA v1a,g0hM", BODY, AT), Err(BadSignature::NoMatch));
        assert_eq!(check(ID, at, "", BODY, AT), Err(BadSignature::NoMatch));
        assert_eq!(check(ID, "soon", SIGNATURE, BODY, AT), Err(BadSignature::Timestamp));
        assert_eq!(check(ID, at, SIGNATURE, BODY, AT + 301), Err(BadSignature::TooOldOrNew));
        assert_eq!(check(ID, at, SIGNATURE, BODY, AT - 301), Err(BadSignature::TooOldOrNew));
    }

    #[test]
    fn a_secret_is_prefixed_base64_of_24_to_64_bytes() {
        let of = |length: usize| format!("whsec_{}", BASE64.encode(vec![1; length]));
        for good in [of(24), of(32), of(64), of(32).trim_end_matches('=').to_owned()] {
            assert_eq!(check_secret(&good), Ok(()));
        }
        for bad in [of(23), of(65), "whsec_%%".to_owned(), of(32).replace("whsec_", ""), String::new()] {
            let sentence = check_secret(&bad).expect_err("a bad secret").to_string();
            assert!(sentence.contains("openssl rand -base64 32"), "{sentence}");
            assert!(bad.len() < 10 || !sentence.contains(&bad[6..]), "the secret is not repeated");
        }
    }
}
