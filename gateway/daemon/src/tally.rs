//! What has happened since the start, counted: the counters and histograms of `/metrics`.
//!
//! Invariants: a label is a word of ours or a name from the settings, never what a peer has said, so that neither a person's
//! data nor an unbounded number of series can get in. Counting takes no lock for longer than a look into a map.

use gateway_core::config::Config;
use gateway_core::delivery::Outcome;
use gateway_core::event::{AnalyzerId, EventName};
use gateway_core::health::Fact;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Stands for an analyzer that is not in the settings, and for a reason that is no word of ours.
const OTHER: &str = "other";
/// Our own codes for rejected messages are far fewer and shorter.
const REASONS_MAX: usize = 100;
const REASON_BYTES_MAX: usize = 40;
/// Upper ends of a commit's duration: from a fast disk to a card that is about to fail.
const COMMIT_SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Upper ends of the time from an event's reception to its delivery: from at once to a week of outage.
const DELIVERY_SECONDS: [f64; 11] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 21_600.0, 86_400.0, 604_800.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEvent {
    analyzer: String,
    name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRejection {
    analyzer: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCommit {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAttempt {
    destination: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDestination {
    destination: String,
}

/// See the module.
#[derive(Debug)]
pub struct Tally {
    /// Analyzers that have series of their own.
    known: RwLock<BTreeSet<String>>,
    /// Codes of rejected messages that have series of their own.
    reasons: Mutex<BTreeSet<String>>,
    events: Family<OfEvent, Counter>,
    rejections: Family<OfRejection, Counter>,
    commits: Family<OfCommit, Counter>,
    commit_seconds: Histogram,
    attempts: Family<OfAttempt, Counter>,
    delivery_seconds: Family<OfDestination, Histogram>,
    connections: Family<OfDestination, Counter>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            known: RwLock::default(),
            reasons: Mutex::default(),
            events: Family::default(),
            rejections: Family::default(),
            commits: Family::default(),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            attempts: Family::default(),
            delivery_seconds: Family::new_with_constructor(|| Histogram::new(DELIVERY_SECONDS)),
            connections: Family::default(),
        }
    }
}

impl Tally {
    /// These analyzers have series of their own from now on.
    pub fn configure(&self, config: &Config) {
        let own = config.analyzers.iter().map(|analyzer| analyzer.id.0.clone());
        let sources = config.sources.iter().filter_map(|source| Some(source.analyzer.as_ref()?.0.clone()));
        let known = own.chain(sources).chain(["gateway".to_owned()]).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// What facts count by themselves.
    pub fn learn(&self, fact: &Fact) {
        match fact {
            Fact::Stored { analyzer, name, .. } => self.stored(analyzer, *name),
            Fact::DestinationReached { destination, trouble: None } => {
                self.connections.get_or_create(&OfDestination { destination: destination.clone() }).inc();
            }
            _ => {}
        }
    }

    fn stored(&self, analyzer: &AnalyzerId, name: EventName) {
        let analyzer = self.shown(analyzer);
        self.events.get_or_create(&OfEvent { analyzer, name: name.as_str() }).inc();
    }

    /// A message could not be understood; `reason` is its code.
    pub fn rejected(&self, analyzer: &AnalyzerId, reason: &str) {
        let analyzer = self.shown(analyzer);
        let is_word = reason.len() <= REASON_BYTES_MAX && reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = reasons.contains(reason) || (is_word && reasons.len() < REASONS_MAX);
        let reason = if is_known { reason } else { OTHER }.to_owned();
        reasons.insert(reason.clone());
        self.rejections.get_or_create(&OfRejection { analyzer, reason }).inc();
    }

    /// A message of an analyzer was stored, or the store has refused it.
    pub fn committed(&self, took: Duration, is_stored: bool) {
        let outcome = if is_stored { "stored" } else { "failed" };
        self.commits.get_or_create(&OfCommit { outcome }).inc();
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// An attempt came to its end; `age` is the time since the event was received.
    pub fn attempted(&self, destination: &str, outcome: &Outcome, age: Duration) {
        let labels = OfAttempt { destination: destination.to_owned(), outcome: word(outcome) };
        self.attempts.get_or_create(&labels).inc();
        if *outcome == Outcome::Delivered {
            let labels = OfDestination { destination: destination.to_owned() };
            self.delivery_seconds.get_or_create(&labels).observe(age.as_secs_f64());
        }
    }

    /// Adds everything that is counted here.
    pub fn register(&self, registry: &mut Registry) {
        let about = "Events stored, by analyzer and name";
        registry.register("events", about, self.events.clone());
        let about = "Messages that were not understood and are kept as they came, by analyzer and reason";
        registry.register("messages_rejected", about, self.rejections.clone());
        let about = "Messages of analyzers handed to the disk, by outcome; a failed one is kept by its analyzer";
        registry.register("commits", about, self.commits.clone());
        let about = "From handing a message to the disk to its being safe there";
        registry.register("commit_seconds", about, self.commit_seconds.clone());
        let about = "Attempts to deliver an event, by outcome: delivered or a reason code";
        registry.register("delivery_attempts", about, self.attempts.clone());
        let about = "From an event's reception to its delivery, backlog included";
        registry.register("delivery_seconds", about, self.delivery_seconds.clone());
        let about = "Connections made to brokers; each but the first is a reconnection";
        registry.register("broker_connections", about, self.connections.clone());
    }

    fn shown(&self, analyzer: &AnalyzerId) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&analyzer.0) { analyzer.0.clone() } else { OTHER.to_owned() }
    }
}

/// An outcome as a label.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Retryable { reason, .. }
        | Outcome::Held { reason }
        | Outcome::Rejected { reason }
        | Outcome::NoNetwork { reason } => reason.code.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::delivery::{Reason, ReasonCode};
    use prometheus_client::encoding::text::encode;

    fn text(tally: &Tally) -> String {
        let mut registry = Registry::default();
        tally.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("memory");
        text
    }

    #[test]
    fn only_analyzers_of_the_settings_have_series_of_their_own() {
        let tally = Tally::default();
        tally.configure(&Config::default());
        for number in 0..1000 {
            tally.stored(&AnalyzerId(format!("posted-{number}")), EventName::TestFinished);
        }
        let text = text(&tally);
        assert!(text.contains("events_total{analyzer=\"other\",name=\"TEST_FINISHED\"} 1000"), "{text}");
        assert!(!text.contains("posted-"), "{text}");
    }

    #[test]
    fn attempts_are_counted_by_their_outcome_and_deliveries_by_their_age() {
        let tally = Tally::default();
        let refused = Reason::new(ReasonCode::ConnectionRefused, "nobody listens");
        let refused = Outcome::Retryable { reason: refused, retry_after: None };
        tally.attempted("webhook:lims", &refused, Duration::from_secs(9));
        tally.attempted("webhook:lims", &Outcome::Delivered, Duration::from_secs(9));
        tally.committed(Duration::from_millis(3), true);
        let text = text(&tally);
        for line in [
            "delivery_attempts_total{destination=\"webhook:lims\",outcome=\"connection_refused\"} 1",
            "delivery_seconds_bucket{le=\"5.0\",destination=\"webhook:lims\"} 0",
            "delivery_seconds_bucket{le=\"15.0\",destination=\"webhook:lims\"} 1",
            "delivery_seconds_count{destination=\"webhook:lims\"} 1",
            "commit_seconds_bucket{le=\"0.005\"} 1",
            "commits_total{outcome=\"stored\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
