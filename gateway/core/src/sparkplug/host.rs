//! The primary host application: where the settings name one, nothing is told that it would not hear.
//!
//! Invariant: a word that is older than the newest one heard changes nothing (specification 3.0.0, sections 5.4 and 5.12).

use super::NAMESPACE;
use serde::Deserialize;

/// What is known of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryHost {
    id: String,
    online: bool,
    /// Milliseconds since 1970, by the host's clock.
    newest: Option<u64>,
}

/// The payload of its STATE, retained.
#[derive(Deserialize)]
struct State {
    online: bool,
    timestamp: u64,
}

impl PrimaryHost {
    /// Offline until it says otherwise.
    pub fn new(id: &str) -> PrimaryHost {
        PrimaryHost { id: id.to_owned(), online: false, newest: None }
    }

    /// Where it says whether it is there; kept by the broker.
    pub fn topic(&self) -> String {
        format!("{NAMESPACE}/STATE/{}", self.id)
    }

    pub fn is_online(&self) -> bool {
        self.online
    }

    /// Nobody knows any more: the connection on which it was heard is gone.
    pub fn forget(&mut self) {
        self.online = false;
    }

    /// Takes in what was published there. What cannot be read says nothing.
    pub fn hear(&mut self, payload: &[u8]) {
        let Ok(State { online, timestamp }) = serde_json::from_slice(payload) else { return };
        if self.newest.is_none_or(|newest| timestamp >= newest) {
            (self.online, self.newest) = (online, Some(timestamp));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_word_of_the_host_counts() {
        let mut host = PrimaryHost::new("scada-1");
        assert_eq!((host.topic().as_str(), host.is_online()), ("spBv1.0/STATE/scada-1", false));
        for (payload, online) in [
            (r#"{"online":true,"timestamp":20}"#, true),
            (r#"{"online":false,"timestamp":10}"#, true),
            ("OFFLINE", true),
            (r#"{"online":false}"#, true),
            (r#"{"online":false,"timestamp":20}"#, false),
            (r#"{"online":true,"timestamp":19}"#, false),
            (r#"{"online":true,"timestamp":21,"more":1}"#, true),
        ] {
            host.hear(payload.as_bytes());
            assert_eq!(host.is_online(), online, "{payload}");
        }
        host.forget();
        assert!(!host.is_online());
        host.hear(br#"{"online":true,"timestamp":21}"#);
        assert!(host.is_online(), "what the broker has kept is as new as it was");
    }
}
