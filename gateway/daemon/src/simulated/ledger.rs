//! What a destination has heard, event by event, as a receiver sees it: ids, repeats, ordinals, bodies.

use super::test_v0::run_key;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One event at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The body of the first time.
    pub body: Vec<u8>,
    /// How often it came.
    pub times: u64,
    /// `x-gateway-ordinal` of the first time, where there are headers.
    pub ordinal: Option<u64>,
    /// The message that it states, if it states one: see [`key_of`].
    pub key: Option<String>,
    pub event: String,
    pub analyzer: String,
}

/// All events of one destination.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    events: HashMap<String, Heard>,
    /// Ids in the order of their first coming.
    order: Vec<String>,
    keys: HashMap<String, Vec<String>>,
    /// Events that came again under the same id.
    pub repeats: u64,
    /// Repeats whose body or ordinal was not the first one's.
    pub differing: u64,
}

/// A ledger that a listening task writes and a judge reads.
#[derive(Debug, Clone, Default)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Writes down one coming of an event. Returns whether it was the first.
    pub fn note(&mut self, id: &str, ordinal: Option<u64>, body: &[u8]) -> bool {
        if let Some(heard) = self.events.get_mut(id) {
            heard.times += 1;
            self.repeats += 1;
            self.differing += u64::from(heard.body != body || heard.ordinal != ordinal);
            return false;
        }
        let envelope: Value = serde_json::from_slice(body).unwrap_or_default();
        let data = envelope.get("data").unwrap_or(&envelope);
        let word = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let key = key_of(data);
        if let Some(key) = &key {
            self.keys.entry(key.clone()).or_default().push(id.to_owned());
        }
        let heard =
            Heard { body: body.to_vec(), times: 1, ordinal, key, event: word("event"), analyzer: word("analyzer") };
        self.events.insert(id.to_owned(), heard);
        self.order.push(id.to_owned());
        true
    }

    /// Events under different ids.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Ids in the order of their first coming.
    pub fn ids(&self) -> &[String] {
        &self.order
    }

    pub fn get(&self, id: &str) -> Option<&Heard> {
        self.events.get(id)
    }

    /// The events that state this message; more than one id for one message is a fault of the gateway.
    pub fn ids_of(&self, key: &str) -> &[String] {
        self.keys.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Ordinals between 1 and the highest that never came. 0 where there are none at all.
    pub fn holes(&self) -> u64 {
        let ordinals: BTreeSet<u64> = self.events.values().filter_map(|heard| heard.ordinal).collect();
        ordinals.last().map_or(0, |last| last.saturating_sub(ordinals.len() as u64))
    }
}

/// Which message of an analyzer an event states, from CONTRACT's data object: the sample of an ASTM result, or a line of a
/// `test-v0` run by serial number and how far its data reach. `None` for events that come from no message.
pub fn key_of(data: &Value) -> Option<String> {
    let event = data["event"].as_str()?;
    let test = &data["test"];
    if let Some(sample) = test["sample_id"].as_str() {
        return (event == "TEST_FINISHED").then(|| super::astm::sample_key(sample));
    }
    let sn = data["device"]["sn"].as_str()?;
    let reach = |from: &str, list: &str| {
        let from = test["data"][from].as_u64().unwrap_or(0) as usize;
        from + test["data"][list].as_array().map_or(0, Vec::len)
    };
    match event {
        "DEVICE_READY" | "TEST_STARTED" | "NEW_DATA" | "TEST_FINISHED" => {
            let samples = reach("samples_from", "samples");
            Some(run_key(sn, event, samples, reach("temperatures_from", "temperatureSamples")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_counted_and_a_changed_body_is_noticed() {
        let mut ledger = Ledger::default();
        let body = br#"{"id":"a","data":{"event":"TEST_FINISHED","analyzer":"h","test":{"sample_id":"H1"}}}"#;
        assert!(ledger.note("a", Some(1), body));
        assert!(!ledger.note("a", Some(1), body));
        assert!(!ledger.note("a", Some(1), b"{}"));
        assert!(ledger.note("c", Some(3), b"{}"));
        assert_eq!((ledger.len(), ledger.repeats, ledger.differing, ledger.holes()), (2, 2, 1, 1));
        assert_eq!(ledger.ids_of("sample H1"), ["a"]);
    }

    #[test]
    fn new_data_is_known_by_how_far_it_reaches() {
        let data = serde_json::json!({"event": "NEW_DATA", "device": {"sn": "31"}, "test": {"sample_id": null,
            "data": {"samples_from": 7, "temperatures_from": 15, "samples": [1, 2], "temperatureSamples": [1]}}});
        assert_eq!(key_of(&data).as_deref(), Some("run 31 NEW_DATA 9 16"));
        assert_eq!(key_of(&serde_json::json!({"event": "ANALYZER_CONNECTED", "device": null})), None);
    }
}
