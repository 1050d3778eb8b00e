//! The state of everything at a glance: a fold over facts. What page, MQTT and the status line show comes from here.
//!
//! Invariant: no patient data, by type. A [`Fact`] is made of names, states, counts and the reasons of ports and
//! endpoints; an event enters only as [`Fact::event`] cuts it down.

use crate::delivery::{DestinationView, Reason};
use crate::event::{AnalyzerId, EventKind, EventName, Id, TestState};
use crate::time::{ClockQuality, Now, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Homie's words for how a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is known yet.
    #[default]
    Init,
    Ready,
    /// Not there, and not missed: its port has not been found since the start, or the gateway has stopped.
    Disconnected,
    /// Meant to be silent. No fact leads here yet; readers should know the word.
    Sleeping,
    /// Was there and is gone.
    Lost,
    /// There, and a person should look.
    Alert,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The port is open.
    LinkOpened { analyzer: AnalyzerId },
    /// The port was open and is gone.
    LinkLost { analyzer: AnalyzerId, reason: String },
    /// The port does not open.
    LinkAbsent { analyzer: AnalyzerId, reason: String },
    /// An event was stored. Made by [`Fact::event`].
    Event { analyzer: AnalyzerId, name: EventName, test_state: Option<TestState>, alert: Option<String> },
    /// The store refused a commit.
    StoreFailed { reason: String },
    /// The queue of a destination stands so.
    DestinationChanged { destination: String, view: DestinationView },
    /// A connection to a destination stands (`None`) or does not.
    DestinationReached { destination: String, trouble: Option<Reason> },
    /// New settings are in force.
    ConfigAccepted,
    /// New settings were refused; the old ones stay in force.
    ConfigRefused { reason: String },
    /// Time has passed: the clock may have become better.
    Tick,
}

impl Fact {
    /// What may be shown of an event: its name, the state of the test, and why a person should look, if one should.
    pub fn event(analyzer: &AnalyzerId, kind: &EventKind) -> Fact {
        let alarm = kind.alarm.as_ref().map(|alarm| alarm.reason.clone());
        let rejection = kind.rejection.as_ref();
        let alert =
            alarm.or_else(|| rejection.map(|rejection| format!("a message could not be read: {}", rejection.reason)));
        let usual = (kind.name == EventName::DeviceReady).then_some(TestState::Idle);
        let test_state = kind.test.as_ref().map(|test| test.state).or(usual);
        Fact::Event { analyzer: analyzer.clone(), name: kind.name, test_state, alert }
    }
}

/// How one analyzer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalyzerHealth {
    pub state: State,
    /// When that state began.
    pub since: Now,
    pub reason: Option<String>,
    pub test_state: Option<TestState>,
}

/// How one destination is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationHealth {
    pub view: DestinationView,
    /// Why its connection does not stand.
    pub trouble: Option<Reason>,
}

impl DestinationHealth {
    /// Why nothing goes there, if nothing does.
    pub fn reason(&self) -> Option<&Reason> {
        self.trouble.as_ref().or(self.view.breaker.as_ref())
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Health {
    gateway: String,
    version: String,
    boot: Id,
    state: State,
    since: Now,
    reason: Option<String>,
    clock: ClockQuality,
    config_refused: Option<String>,
    store_failed: Option<String>,
    analyzers: BTreeMap<AnalyzerId, AnalyzerHealth>,
    destinations: BTreeMap<String, DestinationHealth>,
}

impl Health {
    pub fn new(gateway: &str, version: &str, boot: Id, now: Now) -> Health {
        Health {
            gateway: gateway.to_owned(),
            version: version.to_owned(),
            boot,
            state: State::Ready,
            since: now,
            reason: None,
            clock: now.quality,
            config_refused: None,
            store_failed: None,
            analyzers: BTreeMap::new(),
            destinations: BTreeMap::new(),
        }
    }

    /// Names what there is. What is known of those that stay is kept, the others are forgotten.
    pub fn configure(
        &mut self,
        analyzers: impl IntoIterator<Item = AnalyzerId>,
        destinations: impl IntoIterator<Item = String>,
        now: Now,
    ) {
        let analyzers: BTreeSet<AnalyzerId> = analyzers.into_iter().collect();
        let destinations: BTreeSet<String> = destinations.into_iter().collect();
        self.analyzers.retain(|id, _| analyzers.contains(id));
        self.destinations.retain(|id, _| destinations.contains(id));
        for id in analyzers {
            let new = AnalyzerHealth { state: State::Init, since: now, reason: None, test_state: None };
            self.analyzers.entry(id).or_insert(new);
        }
        for id in destinations {
            self.destinations.entry(id).or_default();
        }
        self.weigh(now);
    }

    /// Takes one fact. Facts about what [`Health::configure`] has not named come late and are ignored.
    pub fn apply(&mut self, now: Now, fact: Fact) {
        self.see_clock(now);
        match fact {
            Fact::LinkOpened { analyzer } => self.turn(&analyzer, State::Ready, None, now),
            Fact::LinkLost { analyzer, reason } => self.turn(&analyzer, State::Lost, Some(reason), now),
            Fact::LinkAbsent { analyzer, reason } => {
                // One that was there stays lost: it is missed, whatever the port says now.
                let lost = self.analyzers.get(&analyzer).is_some_and(|health| health.state == State::Lost);
                self.turn(&analyzer, if lost { State::Lost } else { State::Disconnected }, Some(reason), now);
            }
            Fact::Event { analyzer, name, test_state, alert } => {
                self.store_failed = None;
                if let Some(health) = self.analyzers.get_mut(&analyzer) {
                    health.test_state = test_state.or(health.test_state);
                }
                if alert.is_some() {
                    self.turn(&analyzer, State::Alert, alert, now);
                } else if says_all_is_well(name) {
                    self.turn(&analyzer, State::Ready, None, now);
                }
            }
            Fact::StoreFailed { reason } => self.store_failed = Some(reason),
            Fact::DestinationChanged { destination, view } => {
                if let Some(health) = self.destinations.get_mut(&destination) {
                    health.view = view;
                }
            }
            Fact::DestinationReached { destination, trouble } => {
                if let Some(health) = self.destinations.get_mut(&destination) {
                    health.trouble = trouble;
                }
            }
            Fact::ConfigAccepted => self.config_refused = None,
            Fact::ConfigRefused { reason } => self.config_refused = Some(reason),
            Fact::Tick => {}
        }
        self.weigh(now);
    }

    pub fn analyzers(&self) -> &BTreeMap<AnalyzerId, AnalyzerHealth> {
        &self.analyzers
    }

    pub fn destinations(&self) -> &BTreeMap<String, DestinationHealth> {
        &self.destinations
    }

    pub fn clock(&self) -> ClockQuality {
        self.clock
    }

    /// Why the new settings are not in force, if they are not.
    pub fn config_refused(&self) -> Option<&str> {
        self.config_refused.as_deref()
    }

    /// The retained `.../analyzers/<id>/state`; `None` for one that is not configured. `reason` and `test_state` are null
    /// where there is nothing to say.
    pub fn analyzer_state_json(&self, analyzer: &AnalyzerId) -> Option<String> {
        #[derive(Serialize)]
        struct Payload<'a> {
            state: State,
            since: Timestamp,
            reason: Option<&'a str>,
            test_state: Option<TestState>,
        }
        let health = self.analyzers.get(analyzer)?;
        let (state, since) = (health.state, health.since.wall);
        Some(json(&Payload { state, since, reason: health.reason.as_deref(), test_state: health.test_state }))
    }

    /// The retained `.../status` as things stand.
    pub fn status_json(&self) -> String {
        self.status_json_as(self.state, self.reason.as_deref(), self.since)
    }

    /// The same with another state: `lost` for the last will, `disconnected` for an orderly stop.
    pub fn status_json_as(&self, state: State, reason: Option<&str>, since: Now) -> String {
        #[derive(Serialize)]
        struct Payload<'a> {
            state: State,
            gateway: &'a str,
            version: &'a str,
            boot: Id,
            since: Timestamp,
            reason: Option<&'a str>,
            clock: ClockQuality,
            config: &'static str,
            destinations: BTreeMap<&'a str, Destination>,
        }
        // Without the count of undone events: a retained message should change when a person would look up.
        #[derive(Serialize)]
        struct Destination {
            held: usize,
            dead: usize,
            reason: Option<String>,
        }
        let shown = |health: &DestinationHealth| Destination {
            held: health.view.held,
            dead: health.view.dead,
            reason: health.reason().map(Reason::to_string),
        };
        json(&Payload {
            state,
            gateway: &self.gateway,
            version: &self.version,
            boot: self.boot,
            since: since.wall,
            reason,
            clock: self.clock,
            config: if self.config_refused.is_some() { "refused" } else { "accepted" },
            destinations: self.destinations.iter().map(|(id, health)| (id.as_str(), shown(health))).collect(),
        })
    }

    fn turn(&mut self, analyzer: &AnalyzerId, state: State, reason: Option<String>, now: Now) {
        let Some(health) = self.analyzers.get_mut(analyzer) else { return };
        if health.state != state {
            health.since = now;
        }
        health.state = state;
        health.reason = reason;
    }

    /// The gateway's own state: the worst that is known, in the order of what it costs.
    fn weigh(&mut self, now: Now) {
        let store = self.store_failed.as_ref().map(|reason| format!("the store refuses: {reason}"));
        let config = || self.config_refused.as_ref().map(|reason| format!("new settings refused: {reason}"));
        let mut troubled = self.destinations.iter().filter_map(|(id, health)| Some((id, health.reason()?)));
        let reason = store.or_else(config).or_else(|| troubled.next().map(|(id, reason)| format!("{id}: {reason}")));
        let state = if reason.is_some() { State::Alert } else { State::Ready };
        if self.state != state {
            self.since = now;
        }
        (self.state, self.reason) = (state, reason);
    }

    /// When the clock is set at last, the moments that were told by the unset one are told anew.
    fn see_clock(&mut self, now: Now) {
        let set = now.quality == ClockQuality::Synchronized && self.clock != ClockQuality::Synchronized;
        self.clock = now.quality;
        if !set {
            return;
        }
        let moments = self.analyzers.values_mut().map(|health| &mut health.since).chain([&mut self.since]);
        for moment in moments.filter(|moment| moment.quality != ClockQuality::Synchronized) {
            let ago_ms = i64::try_from(now.mono.since(moment.mono).as_millis()).unwrap_or(i64::MAX);
            moment.wall = now.wall.shifted(ago_ms.saturating_neg());
            moment.quality = ClockQuality::Corrected;
        }
    }
}

/// Whether an analyzer that says this needs nobody to look at it any more.
fn says_all_is_well(name: EventName) -> bool {
    matches!(
        name,
        EventName::TestStarted
            | EventName::ContinueTest
            | EventName::NewData
            | EventName::TestFinished
            | EventName::DeviceReady
            | EventName::AlreadyTesting
            | EventName::QueryReceived
    )
}

fn json(payload: &impl Serialize) -> String {
    serde_json::to_string(payload).expect("these types have only string keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::ReasonCode;
    use crate::time::Mono;

    fn at(seconds: u64, quality: ClockQuality) -> Now {
        Now { mono: Mono(seconds * 1_000_000_000), wall: Timestamp(seconds as i64 * 1000), quality }
    }

    fn synchronized(seconds: u64) -> Now {
        at(seconds, ClockQuality::Synchronized)
    }

    fn id() -> AnalyzerId {
        AnalyzerId("pcr".to_owned())
    }

    fn health() -> Health {
        let mut health = Health::new("clinic-7", "0.1.0", Id([0; 16]), synchronized(0));
        health.configure([id()], ["webhook:lims".to_owned()], synchronized(0));
        health
    }

    fn state(health: &Health) -> String {
        health.analyzer_state_json(&id()).expect("configured")
    }

    fn event(name: EventName) -> Fact {
        Fact::event(&id(), &EventKind::bare(name))
    }

    #[test]
    fn an_analyzer_comes_goes_and_comes_back() {
        let mut health = health();
        assert!(state(&health).contains(r#""state":"init""#));
        health.apply(synchronized(1), Fact::LinkAbsent { analyzer: id(), reason: "no such device".to_owned() });
        assert!(
            state(&health).contains(r#""state":"disconnected","since":"1970-01-01T00:00:01.000Z","reason":"no such"#)
        );
        health.apply(synchronized(2), Fact::LinkOpened { analyzer: id() });
        health.apply(synchronized(3), event(EventName::DeviceReady));
        let ready = r#"{"state":"ready","since":"1970-01-01T00:00:02.000Z","reason":null,"test_state":"IDLE"}"#;
        assert_eq!(state(&health), ready);
        health.apply(synchronized(4), Fact::LinkLost { analyzer: id(), reason: "unplugged".to_owned() });
        health.apply(synchronized(5), Fact::LinkAbsent { analyzer: id(), reason: "no such device".to_owned() });
        assert!(state(&health).contains(r#""state":"lost","since":"1970-01-01T00:00:04.000Z""#), "{}", state(&health));
    }

    #[test]
    fn an_alarm_lasts_until_the_analyzer_goes_on() {
        let mut health = health();
        health.apply(synchronized(1), Fact::LinkOpened { analyzer: id() });
        let stall = EventKind::alarm("stall", "20 s of silence while a test runs");
        health.apply(synchronized(2), Fact::event(&id(), &stall));
        health.apply(synchronized(3), event(EventName::Gap));
        assert!(state(&health).contains(r#""state":"alert""#) && state(&health).contains("20 s of silence"));
        health.apply(synchronized(4), event(EventName::NewData));
        assert!(state(&health).contains(r#""state":"ready""#));
        let rejected = EventKind::rejected("checksum", "the checksum is wrong", 12);
        health.apply(synchronized(5), Fact::event(&id(), &rejected));
        assert!(state(&health).contains("could not be read: the checksum is wrong"));
    }

    #[test]
    fn the_gateway_is_alert_while_anything_keeps_it_from_its_promises() {
        let mut health = health();
        let idle = health.status_json();
        assert!(idle.contains(r#""state":"ready","gateway":"clinic-7","version":"0.1.0""#), "{idle}");
        let breaker = Some(Reason::new(ReasonCode::ServerError, "HTTP 503"));
        let view = DestinationView { undone: 3, dead: 1, held: 0, breaker, oldest_undone: None };
        let destination = "webhook:lims".to_owned();
        health.apply(synchronized(1), Fact::DestinationChanged { destination: destination.clone(), view });
        let down = health.status_json();
        assert!(
            down.contains(r#""state":"alert""#) && down.contains(r#""webhook:lims: server_error: HTTP 503""#),
            "{down}"
        );
        health.apply(synchronized(2), Fact::ConfigRefused { reason: "line 3: no such key".to_owned() });
        assert!(health.status_json().contains("new settings refused: line 3"));
        health.apply(synchronized(3), Fact::StoreFailed { reason: "disk full".to_owned() });
        assert!(health.status_json().contains(r#""reason":"the store refuses: disk full""#));
        health.apply(synchronized(4), Fact::ConfigAccepted);
        health.apply(synchronized(4), event(EventName::NewData));
        health.apply(synchronized(5), Fact::DestinationChanged { destination, view: DestinationView::default() });
        assert!(health.status_json().contains(r#""state":"ready""#));
        let will = health.status_json_as(State::Lost, Some("no word from the gateway"), synchronized(6));
        assert!(will.contains(r#""state":"lost""#) && will.contains(r#""since":"1970-01-01T00:00:06.000Z""#));
    }

    #[test]
    fn moments_told_by_an_unset_clock_are_mended_once() {
        let mut health = Health::new("g", "0", Id([0; 16]), at(0, ClockQuality::Unset));
        health.configure([id()], [], at(0, ClockQuality::Unset));
        health.apply(at(10, ClockQuality::Unset), Fact::LinkOpened { analyzer: id() });
        let wall = Timestamp(1_700_000_000_000);
        let set = Now { mono: Mono(30_000_000_000), wall, quality: ClockQuality::Synchronized };
        health.apply(set, Fact::Tick);
        assert_eq!(health.analyzers()[&id()].since.wall, Timestamp(1_700_000_000_000 - 20_000));
        health.apply(
            Now { mono: Mono(40_000_000_000), wall: Timestamp(0), quality: ClockQuality::Synchronized },
            Fact::Tick,
        );
        assert_eq!(health.analyzers()[&id()].since.wall, Timestamp(1_700_000_000_000 - 20_000));
    }

    #[test]
    fn what_is_no_longer_configured_is_forgotten() {
        let mut health = health();
        health.configure([], [], synchronized(1));
        assert_eq!(health.analyzer_state_json(&id()), None);
        health.apply(synchronized(2), Fact::LinkOpened { analyzer: id() });
        assert_eq!(health.analyzer_state_json(&id()), None);
    }
}
