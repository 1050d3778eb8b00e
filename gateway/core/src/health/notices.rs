//! What of the facts is told as a notice: changes for better or worse, each once.

use super::{DestinationHealth, Health};
use crate::delivery::{Reason, ReasonCode};
use crate::event::{AnalyzerId, EventId};
use crate::monitoring::{Notice, NoticeCode, Publication};
use crate::overview::DeviceState;
use crate::overview::MonitoringOverview;
use crate::time::{Now, Timestamp};

/// The subject of what is about no analyzer and no destination.
pub(super) const GATEWAY: &str = "gateway";
/// The readers of notices.
const LOCAL: &str = "mqtt";
const REMOTE: &str = "monitoring";

/// The connection to the second broker.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Monitoring {
    pub(super) trouble: Option<Reason>,
    pub(super) since: Option<Timestamp>,
}

impl Monitoring {
    pub(super) fn overview(&self) -> MonitoringOverview {
        MonitoringOverview {
            state: if self.trouble.is_some() { "trouble" } else { "ready" }.to_owned(),
            code: self.trouble.as_ref().map(|reason| reason.code.as_str().to_owned()),
            reason: self.trouble.as_ref().map(|reason| reason.detail.clone()),
            since: self.since,
        }
    }
}

impl DestinationHealth {
    /// Why it waits for a person or for other settings, if it does.
    pub(super) fn held_for(&self) -> Option<Reason> {
        let asks =
            |reason: &&Reason| self.held > 0 || reason.code.needs_a_person() || reason.code == ReasonCode::Paused;
        self.trouble.as_ref().filter(asks).cloned()
    }
}

impl Health {
    /// Whether the settings name a second broker.
    pub fn expect_monitoring(&mut self, expected: bool) {
        self.outbox.readers(if expected { &[LOCAL, REMOTE] } else { &[LOCAL] });
        self.monitoring = expected.then(|| self.monitoring.take().unwrap_or_default());
    }

    /// The number of the next notice that this broker (`mqtt` or `monitoring`) has not acknowledged.
    pub fn notice_place(&self, reader: &str) -> u64 {
        self.outbox.place(reader)
    }

    /// The first notice from this number on, and its number.
    pub fn notice_from(&self, number: u64) -> Option<(u64, &Publication)> {
        self.outbox.from(number)
    }

    /// This broker has acknowledged everything up to this number.
    pub fn notices_acknowledged(&mut self, reader: &str, number: u64) {
        self.outbox.acknowledged(reader, number);
    }

    pub(super) fn monitoring_reached(&mut self, trouble: Option<Reason>, now: Now) -> bool {
        let Some(known) = &mut self.monitoring else { return false };
        let since = trouble.as_ref().map(|_| known.since.unwrap_or(now.wall));
        super::replace(known, Monitoring { trouble, since })
    }

    /// A notice of an event. Words that another sender has chosen go no further: only an analyzer of the settings and the
    /// gateway itself are quoted.
    pub(super) fn note(&mut self, notice: Notice) -> bool {
        let known = notice.subject == GATEWAY || self.analyzers.contains_key(&AnalyzerId(notice.subject.clone()));
        self.outbox.put(&if known { notice } else { notice.wordless() });
        true
    }

    pub(super) fn note_dead(&mut self, destination: &str, event: EventId, reason: &Reason, now: Now) -> bool {
        let notice = Notice::because(NoticeCode::Dead, now.wall, destination, reason);
        self.outbox.put(&Notice { event: Some(event), ..notice });
        true
    }

    pub(super) fn note_own(&mut self, code: NoticeCode, reason: &str, now: Now) {
        self.outbox.put(&Notice::new(code, now.wall, GATEWAY, reason));
    }

    pub(super) fn note_analyzer(
        &mut self,
        id: &AnalyzerId,
        from: DeviceState,
        to: DeviceState,
        reason: &str,
        now: Now,
    ) {
        let code = match (from, to) {
            (_, DeviceState::Lost) => NoticeCode::AnalyzerLost,
            // It is there again, whether it is understood or not.
            (before, DeviceState::Ready | DeviceState::Alert) if before.is_away() => NoticeCode::AnalyzerFound,
            _ => return,
        };
        let is_told = code == NoticeCode::AnalyzerLost && !reason.is_empty();
        let reason = if is_told { reason } else { code.about() };
        self.outbox.put(&Notice::new(code, now.wall, &id.0, reason));
    }

    /// Tells when a destination begins to wait for a person, when the reason is another one, and when it goes on.
    pub(super) fn note_destination(&mut self, id: &str, was: Option<Reason>, now: Now) {
        let is = self.destinations.get(id).and_then(DestinationHealth::held_for);
        let notice = match (was, is) {
            (was, Some(is)) if was.as_ref().map(|was| was.code) != Some(is.code) => {
                Notice::because(NoticeCode::Held, now.wall, id, &is)
            }
            (Some(_), None) => Notice::new(NoticeCode::Released, now.wall, id, NoticeCode::Released.about()),
            _ => return,
        };
        self.outbox.put(&notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKind, EventName};
    use crate::health::{ConfiguredAnalyzer, Fact};

    fn health() -> Health {
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), Now::default());
        let id = AnalyzerId("hematology".to_owned());
        let configured = ConfiguredAnalyzer { id, port: "/dev/ttyUSB0".to_owned(), model: None };
        health.configure("clinic-7", "", vec![configured], &["webhook:lims".to_owned()], Now::default());
        health.expect_monitoring(true);
        health
    }

    fn told(health: &Health) -> Vec<String> {
        let mut told = Vec::new();
        while let Some((_, notice)) = health.notice_from(told.len() as u64) {
            told.push(notice.topic().trim_start_matches("notices/").to_owned());
        }
        told
    }

    #[test]
    fn comings_and_goings_are_told_once() {
        let mut health = health();
        let analyzer = AnalyzerId("hematology".to_owned());
        let lost = Fact::LinkLost { analyzer: analyzer.clone(), reason: "unplugged".to_owned() };
        health.learn(Now::default(), Fact::LinkOpened { analyzer: analyzer.clone() });
        assert!(told(&health).is_empty(), "a start is no news");
        health.learn(Now::default(), lost.clone());
        health.learn(Now::default(), lost);
        health.learn(Now::default(), Fact::LinkOpened { analyzer });
        assert_eq!(told(&health), ["ANALYZER_LOST", "ANALYZER_FOUND"]);
    }

    #[test]
    fn a_destination_is_held_and_released() {
        let mut health = health();
        let reached = |trouble| Fact::DestinationReached { destination: "webhook:lims".to_owned(), trouble };
        let passing = Reason::new(ReasonCode::ConnectionRefused, "nobody listens there");
        health.learn(Now::default(), reached(Some(passing)));
        assert!(told(&health).is_empty(), "it may pass by itself");
        let unauthorized = Reason::new(ReasonCode::Unauthorized, "status 401");
        health.learn(Now::default(), reached(Some(unauthorized.clone())));
        health.learn(Now::default(), reached(Some(unauthorized)));
        health.learn(Now::default(), reached(None));
        assert_eq!(told(&health), ["HELD", "RELEASED"]);
    }

    #[test]
    fn a_store_that_fails_is_told_and_so_is_its_end() {
        let mut health = health();
        let fact = Fact::StoreFailed { reason: "disk full".to_owned() };
        health.learn(Now::default(), fact.clone());
        health.learn(Now::default(), fact);
        let analyzer = AnalyzerId("hematology".to_owned());
        health.learn(Now::default(), Fact::event(&analyzer, &EventKind::bare(EventName::DeviceReady)));
        assert_eq!(told(&health), ["STORE_FAILED", "STORE_RECOVERED"]);
    }

    #[test]
    fn a_strangers_words_are_not_passed_on() {
        let mut health = health();
        let alarm = |subject| Notice::new(NoticeCode::AnalyzerAlarm, Timestamp(0), subject, "Ms. Example is waiting");
        health.learn(Now::default(), Fact::Noted { notice: alarm("other-box") });
        let payload = health.notice_from(0).map(|(_, notice)| notice.payload().to_vec()).expect("one notice");
        assert!(!String::from_utf8_lossy(&payload).contains("Example"));
    }

    #[test]
    fn the_second_broker_is_a_trouble_and_no_destination() {
        let mut health = health();
        let refused = Reason::new(ReasonCode::Certificate, "expired");
        assert!(health.learn(Now::default(), Fact::MonitoringReached { trouble: Some(refused) }));
        let overview = health.overview(Now::default(), None);
        assert_eq!(overview.destinations.len(), 1);
        assert_eq!(overview.monitoring.map(|known| known.state).as_deref(), Some("trouble"));
        assert!(overview.troubles.iter().any(|one| one.subject == "monitoring" && one.code == "certificate"));
        health.expect_monitoring(false);
        assert!(health.overview(Now::default(), None).troubles.is_empty());
    }
}
