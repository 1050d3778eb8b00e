//! The notice board: every part tells it facts, and those who show the gateway's state look at it.

use crate::spans::Spans;
use crate::tally::Tally;
use gateway_core::config::Config;
use gateway_core::delivery::Reason;
use gateway_core::event::Id;
use gateway_core::health::{ConfiguredAnalyzer, Fact, Health};
use gateway_core::monitoring::Publication;
use gateway_core::overview::DeviceState;
use gateway_core::overview::Overview;
use gateway_core::time::Now;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by all parts.
pub struct Board {
    /// What has happened since the start, counted.
    pub tally: Tally,
    /// The same for a collector of traces.
    pub spans: Spans,
    health: Mutex<Health>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub fn new(config: &Config, boot: Id, now: Now) -> Board {
        let health = Health::new(&config.gateway.id, env!("CARGO_PKG_VERSION"), boot.to_string(), now);
        Board {
            tally: Tally::default(),
            spans: Spans::default(),
            health: Mutex::new(health),
            changes: watch::Sender::new(0),
        }
    }

    /// Only these analyzers and destinations are shown from now on.
    pub fn configure(&self, config: &Config, destinations: &[String], now: Now) {
        let analyzers = config.analyzers.iter().map(|analyzer| ConfiguredAnalyzer {
            id: analyzer.id.clone(),
            port: analyzer.port.to_string(),
            model: analyzer.model.clone(),
        });
        self.tally.configure(config);
        self.spans.want(config.telemetry.otlp_url.is_some());
        self.health().configure(&config.gateway.id, &config.hash, analyzers.collect(), destinations, now);
        self.health().expect_monitoring(config.second_broker().is_some());
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn tell(&self, now: Now, fact: Fact) {
        self.tally.learn(&fact);
        if self.health().learn(now, fact) {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Changes whenever something that is shown has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What stands in the way of this destination, if anything does.
    pub fn destination_trouble(&self, id: &str) -> Option<Reason> {
        self.health().destination_trouble(id).cloned()
    }

    /// The number of the next notice that this broker has not acknowledged.
    pub fn notice_place(&self, reader: &str) -> u64 {
        self.health().notice_place(reader)
    }

    /// The first notice from this number on, and its number.
    pub fn notice_from(&self, number: u64) -> Option<(u64, Publication)> {
        self.health().notice_from(number).map(|(number, notice)| (number, notice.clone()))
    }

    /// This broker has acknowledged everything up to this number.
    pub fn notices_acknowledged(&self, reader: &str, number: u64) {
        self.health().notices_acknowledged(reader, number);
    }

    /// Everything at a glance.
    pub fn overview(&self, now: Now) -> Overview {
        self.health().overview(now, None)
    }

    /// The last will: what the broker says when the gateway vanishes.
    pub fn overview_lost(&self, now: Now) -> Overview {
        let reason = "the gateway vanished: power, network or a crash";
        self.health().overview(now, Some((DeviceState::Lost, reason)))
    }

    /// What the gateway says when it is stopped.
    pub fn overview_stopped(&self, now: Now) -> Overview {
        self.health().overview(now, Some((DeviceState::Disconnected, "stopped")))
    }

    /// One line for systemd.
    pub fn status_line(&self, now: Now) -> String {
        self.health().line(now)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
