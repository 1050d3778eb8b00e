//! The state of everything at a glance: a fold over facts. What MQTT's retained topics, systemd's status line and a page show.
//!
//! Invariant: no patient data can get in. Facts carry names, states and reasons, and reasons never quote received bytes.

use crate::delivery::{DestinationView, Reason};
use crate::event::{AnalyzerId, EventKind, EventName, TestState};
use crate::time::{Now, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// A device's state in the words of the Homie convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Being set up: the port has not been tried.
    Init,
    Ready,
    Disconnected,
    Sleeping,
    /// Gone without a good-bye: unplugged, or the gateway itself vanished.
    Lost,
    /// A person should look.
    Alert,
}

/// Something that has just become known.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    LinkOpened {
        analyzer: AnalyzerId,
    },
    /// The port was open and has gone.
    LinkLost {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// The port does not open.
    LinkAbsent {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// The driver's program has ended, or does not start.
    ProgramDown {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// An event of this analyzer was stored.
    Stored {
        analyzer: AnalyzerId,
        name: EventName,
        test_state: Option<TestState>,
        alarm: Option<String>,
    },
    /// A commit failed.
    StoreFailed {
        reason: String,
    },
    /// A webhook's queue, as it stands.
    DestinationChanged {
        destination: String,
        view: DestinationView,
    },
    /// The broker was reached, or why not.
    DestinationReached {
        destination: String,
        trouble: Option<Reason>,
    },
    /// So many events of this destination are dead.
    DeadLetters {
        destination: String,
        dead: usize,
    },
    /// The laboratory was asked for an id, or why it gave none.
    LabIds {
        trouble: Option<String>,
    },
    ConfigAccepted,
    ConfigRefused {
        reason: String,
    },
    /// `http.listen` is served, or why not.
    DoorTried {
        trouble: Option<String>,
    },
}

impl Fact {
    /// That this event of this analyzer was stored.
    pub fn event(analyzer: &AnalyzerId, kind: &EventKind) -> Fact {
        let ready = kind.name == EventName::DeviceReady;
        Fact::Stored {
            analyzer: analyzer.clone(),
            name: kind.name,
            test_state: kind.test.as_ref().map(|test| test.state).or(ready.then_some(TestState::Idle)),
            alarm: kind.alarm.as_ref().map(|alarm| alarm.reason.clone()),
        }
    }
}

/// One analyzer, as its retained topic shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct AnalyzerHealth {
    state: DeviceState,
    since: Timestamp,
    reason: String,
    test_state: TestState,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Default)]
struct DestinationHealth {
    trouble: Option<Reason>,
    /// Since when there has been trouble without a break.
    since: Option<Timestamp>,
    dead: usize,
    held: usize,
    older_key: bool,
}

impl DestinationHealth {
    fn since_with(&self, trouble: Option<&Reason>, now: Now) -> Option<Timestamp> {
        trouble.map(|_| self.since.unwrap_or(now.wall))
    }
}

/// Everything at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    gateway: String,
    version: String,
    boot: String,
    since: Timestamp,
    analyzers: BTreeMap<AnalyzerId, AnalyzerHealth>,
    destinations: BTreeMap<String, DestinationHealth>,
    config_refused: Option<String>,
    store_failed: Option<String>,
    lab_ids: Option<String>,
    door_trouble: Option<String>,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(gateway: &str, version: &str, boot: String, now: Now) -> Health {
        Health {
            gateway: gateway.to_owned(),
            version: version.to_owned(),
            boot,
            since: now.wall,
            analyzers: BTreeMap::new(),
            destinations: BTreeMap::new(),
            config_refused: None,
            store_failed: None,
            lab_ids: None,
            door_trouble: None,
        }
    }

    /// These analyzers and destinations are configured; others are forgotten.
    pub fn configure(&mut self, gateway: &str, analyzers: &[AnalyzerId], destinations: &[String], now: Now) {
        gateway.clone_into(&mut self.gateway);
        self.analyzers.retain(|id, _| analyzers.contains(id));
        self.destinations.retain(|id, _| destinations.contains(id));
        for id in analyzers {
            self.analyzers.entry(id.clone()).or_insert_with(|| AnalyzerHealth {
                state: DeviceState::Init,
                since: now.wall,
                reason: String::new(),
                test_state: TestState::Uninitialized,
            });
        }
        for id in destinations {
            self.destinations.entry(id.clone()).or_default();
        }
    }

    /// Takes in a fact. Returns whether anything that is shown has changed.
    pub fn learn(&mut self, now: Now, fact: Fact) -> bool {
        match fact {
            Fact::LinkOpened { analyzer } => self.analyzer(&analyzer, DeviceState::Ready, "", now),
            Fact::LinkLost { analyzer, reason } => self.analyzer(&analyzer, DeviceState::Lost, &reason, now),
            Fact::LinkAbsent { analyzer, reason } => self.analyzer(&analyzer, DeviceState::Disconnected, &reason, now),
            Fact::ProgramDown { analyzer, reason } => {
                let reason = format!("its program {reason}; it is started again");
                self.analyzer(&analyzer, DeviceState::Alert, &reason, now)
            }
            Fact::Stored { analyzer, name, test_state, alarm } => {
                let cleared = std::mem::take(&mut self.store_failed).is_some();
                self.stored(&analyzer, name, test_state, alarm, now) || cleared
            }
            Fact::StoreFailed { reason } => replace(&mut self.store_failed, Some(reason)),
            Fact::LabIds { trouble } => replace(&mut self.lab_ids, trouble),
            Fact::ConfigAccepted => replace(&mut self.config_refused, None),
            Fact::ConfigRefused { reason } => replace(&mut self.config_refused, Some(reason)),
            Fact::DoorTried { trouble } => replace(&mut self.door_trouble, trouble),
            Fact::DestinationChanged { destination, view } => {
                let Some(known) = self.destinations.get_mut(&destination) else { return false };
                let trouble = view.breaker.or(view.held_for);
                let since = known.since_with(trouble.as_ref(), now);
                let (dead, held, older_key) = (view.dead, view.held, view.older_key);
                replace(known, DestinationHealth { trouble, since, dead, held, older_key })
            }
            Fact::DeadLetters { destination, dead } => {
                self.destinations.get_mut(&destination).is_some_and(|known| replace(&mut known.dead, dead))
            }
            Fact::DestinationReached { destination, trouble } => {
                let Some(known) = self.destinations.get_mut(&destination) else { return false };
                known.since = known.since_with(trouble.as_ref(), now);
                replace(&mut known.trouble, trouble)
            }
        }
    }

    fn analyzer(&mut self, id: &AnalyzerId, state: DeviceState, reason: &str, now: Now) -> bool {
        let Some(known) = self.analyzers.get_mut(id) else { return false };
        if known.state == state && known.reason == reason {
            return false;
        }
        if known.state != state {
            known.since = now.wall;
        }
        known.state = state;
        reason.clone_into(&mut known.reason);
        true
    }

    fn stored(
        &mut self,
        id: &AnalyzerId,
        name: EventName,
        test_state: Option<TestState>,
        alarm: Option<String>,
        now: Now,
    ) -> bool {
        let mut changed = false;
        if let Some(test_state) = test_state
            && let Some(known) = self.analyzers.get_mut(id)
        {
            changed |= replace(&mut known.test_state, test_state);
        }
        changed
            | match alarm {
                Some(reason) => self.analyzer(id, DeviceState::Alert, &reason, now),
                // Whatever is understood again ends an alarm; the port's own coming and going is told by its own facts.
                None if name == EventName::MessageRejected => {
                    self.analyzer(id, DeviceState::Alert, "a message could not be understood; its bytes are kept", now)
                }
                None if test_state.is_some() || name == EventName::QueryReceived => {
                    self.analyzer(id, DeviceState::Ready, "", now)
                }
                None => false,
            }
    }

    /// CONTRACT's retained state of each analyzer: `{"state","since","reason","test_state"}`.
    pub fn analyzer_states(&self) -> Vec<(AnalyzerId, String)> {
        let json = |known| serde_json::to_string(known).expect("plain fields");
        self.analyzers.iter().map(|(id, known)| (id.clone(), json(known))).collect()
    }

    /// The gateway's retained status. `state` is `ready`, `alert` with a reason, or what the caller says: `lost` for the
    /// last will, `disconnected` after a stop.
    pub fn gateway_status(&self, said: Option<(DeviceState, &str)>) -> String {
        #[derive(Serialize)]
        struct Status<'a> {
            state: DeviceState,
            since: Timestamp,
            reason: &'a str,
            gateway: &'a str,
            version: &'a str,
            boot: &'a str,
        }
        let trouble = self.trouble();
        let (state, reason) = match (&trouble, said) {
            (_, Some(said)) => said,
            (Some(trouble), None) => (DeviceState::Alert, trouble.as_str()),
            (None, None) => (DeviceState::Ready, ""),
        };
        let (gateway, version, boot) = (&self.gateway, &self.version, &self.boot);
        let status = Status { state, since: self.since, reason, gateway, version, boot };
        serde_json::to_string(&status).expect("plain fields")
    }

    /// What stands in the way of this destination, if anything does.
    pub fn destination_trouble(&self, id: &str) -> Option<&Reason> {
        self.destinations.get(id).and_then(|known| known.trouble.as_ref())
    }

    /// What a person should know first, if there is anything.
    fn trouble(&self) -> Option<String> {
        if let Some(reason) = &self.store_failed {
            return Some(format!("events cannot be stored: {reason}"));
        }
        if let Some(reason) = &self.config_refused {
            return Some(format!("the settings file is refused: {reason}"));
        }
        if let Some(reason) = &self.door_trouble {
            return Some(format!("the API is not served: {reason}"));
        }
        let destination = self.destinations.iter().find_map(|(id, known)| match &known.trouble {
            Some(trouble) => {
                let since = known.since.map(|since| format!(", since {since}")).unwrap_or_default();
                Some(format!("{id}: {trouble}{since}"))
            }
            None if known.dead > 0 => Some(format!("{id}: {} dead letters", known.dead)),
            None if known.older_key => Some(format!("{id}: the receiver still accepts only the older key")),
            None => None,
        });
        destination.or_else(|| self.lab_ids.as_ref().map(|reason| format!("lab ids: {reason}")))
    }

    /// One line for systemd: `2 of 3 analyzers ready; webhook:lims: connection_refused: ...`.
    pub fn line(&self) -> String {
        let ready = self.analyzers.values().filter(|known| known.state == DeviceState::Ready).count();
        let line = format!("{ready} of {} analyzers ready", self.analyzers.len());
        match self.trouble() {
            Some(trouble) => format!("{line}; {trouble}"),
            None => line,
        }
    }
}

fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::ReasonCode;

    fn health() -> (Health, AnalyzerId) {
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), Now::default());
        let id = AnalyzerId("hematology".to_owned());
        health.configure("clinic-7", std::slice::from_ref(&id), &["mqtt".to_owned()], Now::default());
        (health, id)
    }

    #[test]
    fn an_analyzer_is_told_in_homies_words() {
        let (mut health, analyzer) = health();
        assert!(health.learn(Now::default(), Fact::LinkOpened { analyzer: analyzer.clone() }));
        assert!(!health.learn(Now::default(), Fact::LinkOpened { analyzer: analyzer.clone() }), "no news");
        let expected =
            r#"{"state":"ready","since":"1970-01-01T00:00:00.000Z","reason":"","test_state":"UNINITIALIZED"}"#;
        assert_eq!(health.analyzer_states(), [(analyzer.clone(), expected.to_owned())]);
        let later = Now { wall: Timestamp(60_000), ..Now::default() };
        health.learn(later, Fact::LinkLost { analyzer, reason: "unplugged".to_owned() });
        let state = &health.analyzer_states()[0].1;
        assert!(state.contains(r#""state":"lost","since":"1970-01-01T00:01:00.000Z","reason":"unplugged""#), "{state}");
    }

    #[test]
    fn trouble_is_told_until_it_is_over() {
        let (mut health, _) = health();
        let refused = Reason::new(ReasonCode::ConnectionRefused, "the connection was refused");
        let fact = |trouble| Fact::DestinationReached { destination: "mqtt".to_owned(), trouble };
        health.learn(Now::default(), fact(Some(refused)));
        assert!(health.gateway_status(None).contains(r#""state":"alert""#));
        assert!(health.line().contains("mqtt: connection_refused"));
        health.learn(Now::default(), fact(None));
        assert!(health.gateway_status(None).contains(r#""state":"ready""#));
    }
}
