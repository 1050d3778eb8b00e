//! What one broker is told of the gateway's state, and when: the one place that makes this list, for every broker.
//!
//! Invariant: states are told from the present and never queued, so a broker that was away is told how things are and not how
//! they were. A topic whose subject is gone is cleared.

use super::{AnalyzerState, DestinationState, HealthReport, Publication, Status, Summary};
use crate::overview::Overview;
use crate::time::{Mono, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two summaries, however much changes.
pub const SUMMARY_SECONDS_MIN: u64 = 5;

/// What one connection to a broker has been told.
#[derive(Debug)]
pub struct Bulletin {
    interval: Duration,
    said: BTreeMap<String, Publication>,
    /// The summary last told, without what changes by itself, and when.
    summary: Option<(Summary, Mono)>,
    /// When the health report is due.
    health_due: Mono,
    wake: Mono,
}

impl Bulletin {
    /// For a new connection; `interval` is `monitoring.interval_seconds`.
    pub fn new(interval: Duration) -> Bulletin {
        Bulletin { interval, said: BTreeMap::new(), summary: None, health_due: Mono(0), wake: Mono(0) }
    }

    /// What is to be told now, at most `room` messages; there may be more if it is as many.
    pub fn due(&mut self, now: Mono, overview: &Overview, room: usize) -> Vec<Publication> {
        let wanted = states(overview);
        let mut due: Vec<Publication> = Vec::new();
        for state in &wanted {
            if due.len() < room && self.said.get(state.topic()) != Some(state) {
                self.said.insert(state.topic().to_owned(), state.clone());
                due.push(state.clone());
            }
        }
        let gone = |topic: &&String| !wanted.iter().any(|state| state.topic() == topic.as_str());
        let gone: Vec<String> = self.said.keys().filter(gone).take(room - due.len()).cloned().collect();
        for topic in gone {
            self.said.remove(&topic);
            due.push(Publication::cleared(topic));
        }
        self.wake = now.after(self.interval);
        if due.len() < room {
            due.extend(self.summary(now, overview));
        }
        if due.len() < room {
            due.extend(self.health(now, overview));
        }
        due
    }

    /// When to ask again although nothing has changed.
    pub fn wake(&self) -> Mono {
        self.wake
    }

    /// Told when something in it has changed, at most every [`SUMMARY_SECONDS_MIN`], and with each interval.
    fn summary(&mut self, now: Mono, overview: &Overview) -> Option<Publication> {
        let summary = Summary::from(overview);
        let news = without_figures(&summary);
        if let Some((told, at)) = &self.summary {
            let pause = if *told == news { self.interval } else { Duration::from_secs(SUMMARY_SECONDS_MIN) };
            if now < at.after(pause) {
                self.wake = self.wake.min(at.after(pause));
                return None;
            }
        }
        self.summary = Some((news, now));
        Some(Publication::state("summary", &summary))
    }

    /// Told with each interval, first when the machine and the store have been looked at.
    fn health(&mut self, now: Mono, overview: &Overview) -> Option<Publication> {
        if overview.store.bytes == 0 {
            return None;
        }
        if now < self.health_due {
            self.wake = self.wake.min(self.health_due);
            return None;
        }
        self.health_due = now.after(self.interval);
        Some(Publication::state("health", &HealthReport::from(overview)))
    }
}

/// Every retained topic that is told whenever it changes.
fn states(overview: &Overview) -> Vec<Publication> {
    let mut states = vec![Publication::state("status", &Status::from(overview))];
    for analyzer in &overview.analyzers {
        states.push(Publication::state(format!("analyzers/{}/state", analyzer.id), &AnalyzerState::from(analyzer)));
    }
    for destination in &overview.destinations {
        let topic = format!("destinations/{}/state", destination.id);
        states.push(Publication::state(topic, &DestinationState::from(destination)));
    }
    states
}

/// What makes a summary a new one: not its own time, nor the figures that move all the time.
fn without_figures(summary: &Summary) -> Summary {
    Summary { at: Timestamp(0), waiting: 0, oldest_unacked_seconds: 0, disk_days_left: None, ..summary.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::AnalyzerId;
    use crate::health::{ConfiguredAnalyzer, Fact, Health};
    use crate::overview::{StoreOverview, Vitals};
    use crate::time::Now;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn health(analyzers: &[&str]) -> Health {
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), Now::default());
        configure(&mut health, analyzers);
        health
    }

    fn configure(health: &mut Health, analyzers: &[&str]) {
        let analyzers = analyzers.iter().map(|id| AnalyzerId((*id).to_owned()));
        let analyzers = analyzers.map(|id| ConfiguredAnalyzer { id, port: "/dev/ttyUSB0".to_owned(), model: None });
        health.configure("clinic-7", "", analyzers.collect(), &["webhook:lims".to_owned()], Now::default());
    }

    fn at(seconds: u64) -> Now {
        Now { mono: Mono(seconds * 1_000_000_000), ..Now::default() }
    }

    fn told(bulletin: &mut Bulletin, health: &Health, seconds: u64) -> Vec<String> {
        let due = bulletin.due(at(seconds).mono, &health.overview(at(seconds), None), 64);
        due.iter()
            .map(|state| format!("{}{}", state.topic(), if state.payload().is_empty() { "!" } else { "" }))
            .collect()
    }

    #[test]
    fn a_new_connection_is_told_everything_and_then_what_changes() {
        let mut health = health(&["a"]);
        let mut bulletin = Bulletin::new(INTERVAL);
        assert_eq!(
            told(&mut bulletin, &health, 0),
            ["status", "analyzers/a/state", "destinations/webhook:lims/state", "summary"]
        );
        let store = StoreOverview { head: 0, bytes: 4096 };
        health.learn(at(1), Fact::Measured { vitals: Vitals::default(), store });
        assert_eq!(told(&mut bulletin, &health, 1), ["health"]);
        health.learn(at(2), Fact::LinkOpened { analyzer: AnalyzerId("a".to_owned()) });
        assert_eq!(told(&mut bulletin, &health, 2), ["analyzers/a/state"], "the summary waits for its five seconds");
        assert_eq!(bulletin.wake(), at(5).mono);
        assert_eq!(told(&mut bulletin, &health, 5), ["summary"]);
        assert_eq!(bulletin.wake(), at(61).mono);
        assert_eq!(told(&mut bulletin, &health, 61), ["health"]);
        assert_eq!(told(&mut bulletin, &health, 65), ["summary"]);
    }

    #[test]
    fn what_is_gone_is_cleared_and_no_more_than_there_is_room_for_is_told_at_once() {
        let mut health = health(&["a", "b"]);
        let mut bulletin = Bulletin::new(INTERVAL);
        told(&mut bulletin, &health, 0);
        configure(&mut health, &["a"]);
        assert_eq!(told(&mut bulletin, &health, 1), ["analyzers/b/state!"]);
        let overview = health.overview(at(2), None);
        let mut small = Bulletin::new(INTERVAL);
        let topics = |due: Vec<Publication>| due.iter().map(|state| state.topic().to_owned()).collect::<Vec<_>>();
        assert_eq!(topics(small.due(at(2).mono, &overview, 2)), ["status", "analyzers/a/state"]);
        assert_eq!(topics(small.due(at(2).mono, &overview, 2)), ["destinations/webhook:lims/state", "summary"]);
    }
}
