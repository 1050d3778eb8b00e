//! The signatures of the Standard Webhooks specification 1.0: symmetric (`v1`) and asymmetric (`v1a`).
//!
//! Signed are the id, the attempt's time and the body, joined by full stops: with HMAC-SHA256 where the secret is `whsec_`
//! and the base64 of 24 to 64 random bytes, with ed25519 where it is `whsk_` and the base64 of a key (its seed of 32 bytes,
//! or seed and public key, 64). Whoever verifies the latter needs only [`public_key`], `whpk_`. With several secrets (one
//! of them on its way out) there is one signature each, in their order, separated by a blank; a receiver is content with
//! any of them.

use super::{Attempt, Secret};
use crate::event::EventId;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far the signed time may be from the receiver's clock, in seconds, as the specification's libraries have it.
pub const TOLERANCE_S: i64 = 300;

const SHARED: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
const PUBLIC_SIGNS_NOTHING: &str = "it is a public key, which can only verify";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Written with padding, read with or without it: secrets are pasted by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong with a secret. Never says any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret for Standard Webhooks is `whsec_` followed by the base64 of 24 to 64 bytes, or `whsk_` followed by that of an \
     ed25519 key, and here {problem}; make one with `openssl rand -base64 32` and write whsec_ (or whsk_) before what it \
     prints"
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

/// A secret as it is read.
enum Key {
    Shared(Vec<u8>),
    Private(Box<SigningKey>),
    Public(VerifyingKey),
}

/// What [`Dialect::check_secret`](super::Dialect::check_secret) says of a dialect that is signed this way, or not at all.
pub(super) fn check_optional(secret: Option<&str>) -> Result<(), String> {
    secret.map_or(Ok(()), check_secret).map_err(|problem| problem.to_string())
}

/// Whether the text is a secret that can sign.
pub fn check_secret(text: &str) -> Result<(), BadSecret> {
    match key(text)? {
        Key::Shared(_) | Key::Private(_) => Ok(()),
        Key::Public(_) => Err(BadSecret { problem: PUBLIC_SIGNS_NOTHING }),
    }
}

/// The public key of a `whsk_` secret as `whpk_` and base64: what the receivers get.
pub fn public_key(secret: &Secret) -> Result<String, BadSecret> {
    let public = match key(secret.expose())? {
        Key::Private(private) => private.verifying_key(),
        Key::Public(public) => public,
        Key::Shared(_) => return Err(BadSecret { problem: "it is a shared secret, which has no public key" }),
    };
    Ok(format!("{PUBLIC}{}", BASE64.encode(public.as_bytes())))
}

/// The value of `webhook-signature`: one signature a secret, `v1,` or `v1a,`. `timestamp` in whole seconds since 1970.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> Result<String, BadSecret> {
    let timestamp = timestamp.to_string();
    let mut signatures = Vec::with_capacity(secrets.len());
    for secret in secrets {
        signatures.push(match key(secret.expose())? {
            Key::Shared(key) => {
                let tag = mac(&key, &signed(id, &timestamp, body)).finalize().into_bytes();
                format!("v1,{}", BASE64.encode(tag))
            }
            Key::Private(private) => {
                let signature = private.sign(&signed(id, &timestamp, body));
                format!("v1a,{}", BASE64.encode(signature.to_bytes()))
            }
            Key::Public(_) => return Err(BadSecret { problem: PUBLIC_SIGNS_NOTHING }),
        });
    }
    Ok(signatures.join(" "))
}

/// The id, the time and, if there are secrets, the signature of a request.
pub(super) fn headers(
    attempt: &Attempt<'_>,
    secrets: &[Secret],
    id: EventId,
    body: &[u8],
) -> Result<Vec<(String, String)>, BadSecret> {
    let (id, timestamp) = (id.to_string(), attempt.signed_at.as_seconds());
    let signature = sign(secrets, &id, timestamp, body)?;
    let mut headers = vec![("webhook-id".to_owned(), id), ("webhook-timestamp".to_owned(), timestamp.to_string())];
    if !secrets.is_empty() {
        headers.push(("webhook-signature".to_owned(), signature));
    }
    Ok(headers)
}

/// What a receiver does: the three headers as received, its own clock and its tolerance, both in seconds. The secret is a
/// `whsec_`, a `whpk_` or a `whsk_`. Signatures of other schemes are passed over; the comparison of two MACs takes the
/// same time wherever they differ.
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
    let signed = signed(id, timestamp, body);
    let of = |scheme: &'static str| {
        let ours = signatures.split(' ').filter_map(move |signature| signature.strip_prefix(scheme));
        ours.filter_map(|signature| BASE64.decode(signature).ok())
    };
    let verified_by = |public: VerifyingKey| {
        let read = of("v1a,").filter_map(|signature| Signature::from_slice(&signature).ok());
        read.into_iter().any(|signature| public.verify_strict(&signed, &signature).is_ok())
    };
    let matches = match key(secret.expose())? {
        Key::Shared(key) => {
            let mac = mac(&key, &signed);
            of("v1,").any(|signature| mac.clone().verify_slice(&signature).is_ok())
        }
        Key::Private(private) => verified_by(private.verifying_key()),
        Key::Public(public) => verified_by(public),
    };
    match matches {
        true => Ok(()),
        false => Err(BadSignature::NoMatch),
    }
}

fn key(text: &str) -> Result<Key, BadSecret> {
    let decoded = |encoded| BASE64.decode(encoded).map_err(|_| BadSecret { problem: "what follows is not base64" });
    if let Some(encoded) = text.strip_prefix(SHARED) {
        let key = decoded(encoded)?;
        return match key.len() {
            length if KEY_BYTES.contains(&length) => Ok(Key::Shared(key)),
            length if length < *KEY_BYTES.start() => Err(BadSecret { problem: "it is too short" }),
            _ => Err(BadSecret { problem: "it is too long" }),
        };
    }
    if let Some(encoded) = text.strip_prefix(PRIVATE) {
        let key = decoded(encoded)?;
        let private = match (<&[u8; 32]>::try_from(key.as_slice()), <&[u8; 64]>::try_from(key.as_slice())) {
            (Ok(seed), _) => SigningKey::from_bytes(seed),
            (_, Ok(pair)) => SigningKey::from_keypair_bytes(pair)
                .map_err(|_| BadSecret { problem: "its second half is not the public key of the first" })?,
            _ => return Err(BadSecret { problem: "the key has neither 32 nor 64 bytes" }),
        };
        return Ok(Key::Private(Box::new(private)));
    }
    let encoded = text.strip_prefix(PUBLIC).ok_or(BadSecret { problem: "the `whsec_` is missing" })?;
    let public = <[u8; 32]>::try_from(decoded(encoded)?).ok();
    let public = public.and_then(|public| VerifyingKey::from_bytes(&public).ok());
    public.map(Key::Public).ok_or(BadSecret { problem: "what follows is no public key" })
}

/// What is signed.
fn signed(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac
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

    /// RFC 8032 section 7.1, test 2: seed and public key.
    fn pair() -> ([u8; 32], [u8; 32]) {
        let bytes = |hex: &str| -> [u8; 32] {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            let bytes: Vec<u8> = (0..64).step_by(2).map(byte).collect();
            bytes.try_into().expect("32 bytes")
        };
        (
            bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
            bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
        )
    }

    #[test]
    fn a_private_key_signs_what_its_public_key_verifies() {
        let (seed, public) = pair();
        let short = Secret::new(format!("whsk_{}", BASE64.encode(seed)));
        let long = Secret::new(format!("whsk_{}", BASE64.encode([seed, public].concat())));
        let shown = public_key(&short).expect("a key");
        assert_eq!(shown, format!("whpk_{}", BASE64.encode(public)));
        assert_eq!(public_key(&long), Ok(shown.clone()));
        let signatures = sign(&[published(), short.clone()], ID, AT, BODY).expect("good secrets");
        assert_eq!(signatures, sign(&[published(), long], ID, AT, BODY).expect("the same key"));
        assert!(signatures.starts_with(SIGNATURE) && signatures.contains(" v1a,"), "{signatures}");
        for secret in [short, Secret::new(shown), published()] {
            let check = |signatures, body| verify(&secret, (ID, "1614265330", signatures), body, AT, TOLERANCE_S);
            assert_eq!(check(&signatures, BODY), Ok(()));
            assert_eq!(check(&signatures, b"{}"), Err(BadSignature::NoMatch));
            assert_eq!(check("v1,AAAA v1a,AAAA", BODY), Err(BadSignature::NoMatch));
        }
    }

    #[test]
    fn a_bad_ed25519_key_is_told() {
        let (seed, public) = pair();
        let wrong_pair = format!("whsk_{}", BASE64.encode([seed, seed].concat()));
        let public = format!("whpk_{}", BASE64.encode(public));
        for bad in [format!("whsk_{}", BASE64.encode([1; 31])), wrong_pair, public.clone()] {
            let sentence = check_secret(&bad).expect_err("cannot sign").to_string();
            assert!(!sentence.contains(&bad[6..]), "the secret is not repeated");
        }
        assert!(sign(&[Secret::new(public)], ID, AT, BODY).is_err());
        assert!(public_key(&published()).is_err());
    }
}
