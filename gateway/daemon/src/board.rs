//! The notice board: every part tells it facts, and those who show the gateway's state look at it.

use gateway_core::config::Config;
use gateway_core::delivery::Reason;
use gateway_core::event::{AnalyzerId, Id};
use gateway_core::health::{DeviceState, Fact, Health};
use gateway_core::time::Now;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by all parts.
pub struct Board {
    health: Mutex<Health>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub fn new(config: &Config, boot: Id, now: Now) -> Board {
        let health = Health::new(&config.gateway.id, env!("CARGO_PKG_VERSION"), boot.to_string(), now);
        Board { health: Mutex::new(health), changes: watch::Sender::new(0) }
    }

    /// Only these analyzers and destinations are shown from now on.
    pub fn configure(&self, config: &Config, destinations: &[String], now: Now) {
        let analyzers: Vec<AnalyzerId> = config.analyzers.iter().map(|analyzer| analyzer.id.clone()).collect();
        self.health().configure(&config.gateway.id, &analyzers, destinations, now);
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn tell(&self, now: Now, fact: Fact) {
        if self.health().learn(now, fact) {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Changes whenever something that is shown has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn analyzer_states(&self) -> Vec<(AnalyzerId, String)> {
        self.health().analyzer_states()
    }

    /// What stands in the way of this destination, if anything does.
    pub fn destination_trouble(&self, id: &str) -> Option<Reason> {
        self.health().destination_trouble(id).cloned()
    }

    /// The retained status while the gateway runs.
    pub fn gateway_status(&self) -> String {
        self.health().gateway_status(None)
    }

    /// The last will: what the broker says when the gateway vanishes.
    pub fn gateway_status_lost(&self) -> String {
        let reason = "the gateway vanished: power, network or a crash";
        self.health().gateway_status(Some((DeviceState::Lost, reason)))
    }

    /// What the gateway says when it is stopped.
    pub fn gateway_status_stopped(&self) -> String {
        self.health().gateway_status(Some((DeviceState::Disconnected, "stopped")))
    }

    /// One line for systemd.
    pub fn status_line(&self) -> String {
        self.health().line()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
