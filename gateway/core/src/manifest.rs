//! Manifests: proof of what an endpoint was sent, a row a day, chained by hashes.
//!
//! The chain starts at 32 zero bytes before an endpoint's first event and goes on over the days:
//! `h = SHA256(h || ordinal || event id)`, the ordinal (`x-gateway-ordinal`) as 8 bytes big endian and the event's id
//! (`x-gateway-event-id`) as its 16 bytes. A receiver that has kept both headers of what it got can compute the same value;
//! if it comes to another one, an event is missing or was changed, and the ordinals say which.

use crate::dialects::{Secret, standard_webhooks};
use crate::event::{EventId, Id};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The value of a chain: what all of its events, in their order, come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The chain with one more event.
    #[must_use]
    pub fn with(self, ordinal: u64, id: EventId) -> Chain {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(ordinal.to_be_bytes());
        hash.update(id.0);
        Chain(hash.finalize().into())
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// The reverse of [`Chain::to_hex`].
    pub fn from_hex(text: &str) -> Option<Chain> {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok().map(Chain)
    }
}

/// What one endpoint was sent on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The endpoint's id in the settings.
    pub webhook: String,
    /// In UTC: `2026-11-21`. An event belongs to the day on which it was committed.
    pub day: String,
    /// Whether the day is over and nothing is added any more.
    pub closed: bool,
    /// The part of the log that it covers, both ends included.
    pub first_seq: i64,
    pub last_seq: i64,
    /// The ordinals of its events, both ends included; `last_ordinal` is one less than `first_ordinal` if there was none.
    pub first_ordinal: u64,
    pub last_ordinal: u64,
    /// How many events there were.
    pub count: u64,
    /// The chain's value before its first event, 64 hexadecimal digits: the `hash` of the day before.
    pub previous: String,
    /// The chain's value after its last event.
    pub hash: String,
}

/// Why what was received does not agree with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    #[error("these ordinals are missing: {}", ranges(.0))]
    Missing(Vec<(u64, u64)>),
    #[error("the ordinals agree and the events do not: one of them has another id than it was sent with")]
    Other,
}

impl Manifest {
    /// Compares with what a receiver has: ordinals and ids, in any order, repeats and other days' events among them.
    pub fn verify(&self, received: impl IntoIterator<Item = (u64, EventId)>) -> Result<(), Disagreement> {
        let mine = self.first_ordinal..self.last_ordinal.saturating_add(1);
        let events: std::collections::BTreeMap<u64, EventId> =
            received.into_iter().filter(|(ordinal, _)| mine.contains(ordinal)).collect();
        let mut missing: Vec<(u64, u64)> = Vec::new();
        for ordinal in mine.filter(|ordinal| !events.contains_key(ordinal)) {
            match missing.last_mut() {
                Some((_, last)) if *last + 1 == ordinal => *last = ordinal,
                _ => missing.push((ordinal, ordinal)),
            }
        }
        if !missing.is_empty() {
            return Err(Disagreement::Missing(missing));
        }
        let start = Chain::from_hex(&self.previous);
        let end = start.map(|start| events.iter().fold(start, |chain, (ordinal, id)| chain.with(*ordinal, *id)));
        if end.map(Chain::to_hex).as_deref() == Some(self.hash.as_str()) { Ok(()) } else { Err(Disagreement::Other) }
    }

    /// The bytes that are signed: the JSON object with its keys in the order of this type, without blanks.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("strings and integers only")
    }

    /// The id under which it is signed: equal manifests, equal ids.
    pub fn id(&self) -> Id {
        Id::derived(&[b"manifest", self.canonical().as_bytes()])
    }

    /// The headers that sign [`Manifest::canonical`] with the endpoint's secrets, newest first: Standard Webhooks' three
    /// where every secret is one (`whsec_...`), else `x-gateway-signature: hmac-sha256=<hex>` with the newest. No secrets: no
    /// headers. `timestamp` is in whole seconds since 1970.
    pub fn sign(&self, secrets: &[Secret], timestamp: i64) -> Vec<(String, String)> {
        let (body, id) = (self.canonical(), self.id().to_string());
        let Some(newest) = secrets.first() else { return Vec::new() };
        if let Ok(signature) = standard_webhooks::sign(secrets, &id, timestamp, body.as_bytes()) {
            let headers =
                [("webhook-id", id), ("webhook-timestamp", timestamp.to_string()), ("webhook-signature", signature)];
            return headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        }
        let mac = Hmac::<Sha256>::new_from_slice(newest.expose().as_bytes()).expect("an HMAC takes keys of any length");
        let tag = mac.chain_update(body.as_bytes()).finalize().into_bytes();
        vec![("x-gateway-signature".to_owned(), format!("hmac-sha256={}", HEXLOWER.encode(&tag)))]
    }
}

fn ranges(ranges: &[(u64, u64)]) -> String {
    let one = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id::derived(&[&number.to_be_bytes()])
    }

    fn manifest(ordinals: std::ops::RangeInclusive<u64>) -> Manifest {
        let (first, last) = (*ordinals.start(), *ordinals.end());
        let before = (1..first).fold(Chain::default(), |chain, ordinal| chain.with(ordinal, id(ordinal)));
        let after = ordinals.fold(before, |chain, ordinal| chain.with(ordinal, id(ordinal)));
        Manifest {
            webhook: "lims".to_owned(),
            day: "2026-11-21".to_owned(),
            closed: true,
            first_seq: 1,
            last_seq: 99,
            first_ordinal: first,
            last_ordinal: last,
            count: last + 1 - first,
            previous: before.to_hex(),
            hash: after.to_hex(),
        }
    }

    #[test]
    fn the_chain_is_what_the_page_says() {
        let by_hand = {
            let mut bytes = vec![0; 32];
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 7]);
            bytes.extend(id(7).0);
            Sha256::digest(&bytes)
        };
        let chain = Chain::default().with(7, id(7));
        assert_eq!(chain.0[..], by_hand[..]);
        assert_eq!(Chain::from_hex(&chain.to_hex()), Some(chain));
        assert_eq!(Chain::from_hex("00"), None);
    }

    #[test]
    fn a_receiver_sees_what_is_missing_and_what_is_not_the_same() {
        let manifest = manifest(5..=12);
        let got = |wanted: fn(&u64) -> bool| (1..20).filter(wanted).map(|ordinal| (ordinal, id(ordinal)));
        assert_eq!(manifest.verify(got(|_| true).rev().chain(got(|_| true))), Ok(()));
        let missing = manifest.verify(got(|ordinal| ![6, 7, 12].contains(ordinal)));
        assert_eq!(missing, Err(Disagreement::Missing(vec![(6, 7), (12, 12)])));
        assert_eq!(missing.unwrap_err().to_string(), "these ordinals are missing: 6 to 7, 12");
        let other = got(|_| true).map(|(ordinal, event)| (ordinal, if ordinal == 9 { id(1) } else { event }));
        assert_eq!(manifest.verify(other), Err(Disagreement::Other));
    }

    #[test]
    fn each_kind_of_secret_signs_in_its_own_way() {
        let manifest = manifest(1..=2);
        assert_eq!(manifest.sign(&[], 0), []);
        let standard = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let headers = manifest.sign(std::slice::from_ref(&standard), 1_700_000_000);
        let [(_, id), (_, time), (_, signature)] = headers.as_slice() else { panic!("three headers") };
        let body = manifest.canonical();
        let verdict = standard_webhooks::verify(&standard, (id, time, signature), body.as_bytes(), 1_700_000_000, 300);
        assert_eq!(verdict, Ok(()));
        let plain = manifest.sign(&[Secret::new("mysecretkey")], 0);
        let [(name, value)] = plain.as_slice() else { panic!("one header") };
        assert_eq!((name.as_str(), value.len()), ("x-gateway-signature", "hmac-sha256=".len() + 64));
    }
}
