//! What is known of one analyzer.

use super::ConfiguredAnalyzer;
use crate::event::{AnalyzerId, TestState};
use crate::overview::{AnalyzerOverview, DeviceState};
use crate::time::{Now, Timestamp};
use crate::trouble::{Trouble, Urgency};

/// The trouble of an analyzer that is not there.
pub(super) const ANALYZER_LOST: &str = "analyzer_lost";
/// An analyzer that is away for less needs nobody.
const AWAY_MS_MAX: i64 = 5 * 60 * 1000;
/// How long an alarm about who an analyzer is stays on the list, whatever it sends meanwhile.
const IDENTITY_ALARM_MS: i64 = 24 * 60 * 60 * 1000;

/// One analyzer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnalyzerHealth {
    pub(super) state: DeviceState,
    pub(super) since: Timestamp,
    pub(super) reason: String,
    pub(super) test_state: TestState,
    pub(super) configured: ConfiguredAnalyzer,
    pub(super) model: Option<String>,
    pub(super) serial_number: Option<String>,
    pub(super) last_event_at: Option<Timestamp>,
    pub(super) last_test_at: Option<Timestamp>,
    pub(super) events: u64,
    pub(super) rejected: u64,
    /// The last alarm about who it is, and when.
    pub(super) mistaken: Option<(Timestamp, String)>,
    /// Why it seems to speak another protocol than its driver, until a message of it is understood or the settings are others.
    pub(super) misunderstood: Option<String>,
}

impl AnalyzerHealth {
    pub(super) fn new(configured: ConfiguredAnalyzer, now: Now) -> AnalyzerHealth {
        AnalyzerHealth {
            state: DeviceState::Init,
            since: now.wall,
            reason: String::new(),
            test_state: TestState::Uninitialized,
            configured,
            model: None,
            serial_number: None,
            last_event_at: None,
            last_test_at: None,
            events: 0,
            rejected: 0,
            mistaken: None,
            misunderstood: None,
        }
    }

    pub(super) fn troubles(&self, id: &AnalyzerId, now: Now) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let away = now.wall.0.saturating_sub(self.since.0) >= AWAY_MS_MAX;
        let found = match self.state {
            DeviceState::Alert => {
                Some(("analyzer_alert", Urgency::Today, "Look at the analyzer and its last messages."))
            }
            state if state.is_away() && away => {
                Some((ANALYZER_LOST, Urgency::Watch, "Check its cable and that it is switched on."))
            }
            _ => None,
        };
        if let Some((code, urgency, next_step)) = found {
            let trouble = Trouble::new(code, urgency, &id.0, &self.reason, next_step);
            troubles.push(Trouble { since: Some(self.since), ..trouble });
        }
        if let Some((since, reason)) = &self.mistaken
            && self.state != DeviceState::Alert
            && now.wall.0.saturating_sub(since.0) < IDENTITY_ALARM_MS
        {
            let next_step = "Check which analyzer is on which cable, and that no two report one serial number.";
            let trouble = Trouble::new("analyzer_identity", Urgency::Today, &id.0, reason, next_step);
            troubles.push(Trouble { since: Some(*since), ..trouble });
        }
        troubles
    }

    pub(super) fn overview(&self) -> AnalyzerOverview {
        AnalyzerOverview {
            id: self.configured.id.0.clone(),
            state: self.state,
            since: self.since,
            reason: self.reason.clone(),
            test_state: self.test_state,
            model: self.model.clone().or_else(|| self.configured.model.clone()),
            serial_number: self.serial_number.clone(),
            port: self.configured.port.clone(),
            last_event_at: self.last_event_at,
            last_test_at: self.last_test_at,
            events: self.events,
            rejected: self.rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{AnalyzerId, EventKind, EventName, Id, Test, TestState};
    use crate::health::{Fact, Health};
    use crate::overview::DeviceState;
    use crate::time::{Now, Timestamp};

    fn at(minutes: i64) -> Now {
        Now { wall: Timestamp(minutes * 60_000), ..Now::default() }
    }

    fn with_one() -> (Health, AnalyzerId) {
        let id = AnalyzerId("hematology".to_owned());
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), at(0));
        let configured = crate::health::ConfiguredAnalyzer { id: id.clone(), port: "/dev/a".to_owned(), model: None };
        health.configure("clinic-7", "", vec![configured], &[], at(0));
        (health, id)
    }

    fn codes(health: &Health, now: Now) -> Vec<String> {
        health.overview(now, None).troubles.into_iter().map(|trouble| trouble.code).collect()
    }

    #[test]
    fn an_analyzer_that_stays_away_is_told_and_alarms_nobody() {
        let (mut health, analyzer) = with_one();
        health.learn(at(1), Fact::LinkAbsent { analyzer: analyzer.clone(), reason: "no such device".to_owned() });
        assert!(codes(&health, at(5)).is_empty());
        assert_eq!(codes(&health, at(6)), ["analyzer_lost"]);
        assert_eq!(health.overview(at(6), None).state, DeviceState::Ready);
        health.learn(at(7), Fact::LinkOpened { analyzer });
        assert!(codes(&health, at(20)).is_empty());
    }

    #[test]
    fn what_is_not_understood_stays_so_over_another_connection() {
        let (mut health, analyzer) = with_one();
        let opened = || Fact::LinkOpened { analyzer: analyzer.clone() };
        let state = |health: &Health| {
            let one = health.overview(at(9), None).analyzers.remove(0);
            (one.state, one.reason)
        };
        health.learn(at(1), opened());
        health.learn(at(2), Fact::event(&analyzer, &EventKind::rejected("not_hl7", "looks like ASTM", 96)));
        let told = "a message could not be understood; its bytes are kept: looks like ASTM".to_owned();
        assert_eq!(state(&health), (DeviceState::Alert, told.clone()));
        health.learn(at(3), Fact::LinkLost { analyzer: analyzer.clone(), reason: "closed".to_owned() });
        assert_eq!(state(&health).0, DeviceState::Lost);
        health.learn(at(4), opened());
        assert_eq!(state(&health), (DeviceState::Alert, told));
        let again = |health: &mut Health| {
            health.learn(at(6), Fact::LinkLost { analyzer: analyzer.clone(), reason: "closed".to_owned() });
            health.learn(at(7), opened());
            state(health)
        };
        let stranger = || Fact::event(&analyzer, &EventKind::rejected("not_hl7", "looks like ASTM", 96));
        let ready = (DeviceState::Ready, String::new());
        for name in [EventName::TestFinished, EventName::SampleScanned] {
            let test = Test::new(Id([1; 16]), TestState::Done);
            let understood = match name {
                EventName::TestFinished => EventKind::about_test(name, None, test),
                name => EventKind::bare(name),
            };
            health.learn(at(5), stranger());
            health.learn(at(5), Fact::event(&analyzer, &understood));
            assert_eq!(state(&health), ready);
            assert_eq!(again(&mut health), ready);
        }
        // What another connection may well mend is told as long as this one lasts.
        health.learn(at(8), Fact::event(&analyzer, &EventKind::rejected("interrupted", "the line stopped", 9)));
        assert_eq!(state(&health).0, DeviceState::Alert);
        assert_eq!(again(&mut health), ready);
        // Other settings are a new beginning.
        health.learn(at(8), stranger());
        let configured = crate::health::ConfiguredAnalyzer { id: analyzer.clone(), port: "b".to_owned(), model: None };
        health.configure("clinic-7", "another", vec![configured], &[], at(8));
        assert_eq!(again(&mut health), ready);
    }

    #[test]
    fn what_an_earlier_process_has_heard_is_known_until_something_newer_is() {
        let (mut health, analyzer) = with_one();
        let (heard, tested) = (Timestamp(-3), Timestamp(-9));
        let remembered =
            || Fact::Remembered { analyzer: analyzer.clone(), last_event_at: Some(heard), last_test_at: Some(tested) };
        let last = |health: &Health| {
            let one = health.overview(at(9), None).analyzers.remove(0);
            (one.last_event_at, one.last_test_at, one.events)
        };
        health.learn(at(0), remembered());
        assert_eq!(last(&health), (Some(heard), Some(tested), 0));
        // The port was opened: it has said nothing.
        health.learn(at(0), Fact::event(&analyzer, &EventKind::bare(EventName::AnalyzerConnected)));
        assert_eq!(last(&health), (Some(heard), Some(tested), 1));
        health.learn(at(1), Fact::event(&analyzer, &EventKind::rejected("code", "reason", 1)));
        health.learn(at(2), remembered());
        assert_eq!(last(&health), (Some(at(1).wall), Some(tested), 2));
    }

    #[test]
    fn an_alarm_about_who_it_is_outlasts_what_it_sends_next() {
        let (mut health, analyzer) = with_one();
        let alarm = EventKind::alarm("cloned", "another analyzer reports the same serial number");
        health.learn(at(1), Fact::event(&analyzer, &alarm));
        let test = Test::new(Id([1; 16]), TestState::Done);
        let finished = EventKind::about_test(EventName::TestFinished, None, test);
        health.learn(at(2), Fact::event(&analyzer, &finished));
        assert_eq!(codes(&health, at(60)), ["analyzer_identity"]);
        assert!(codes(&health, at(2 + 24 * 60)).is_empty());
    }
}
