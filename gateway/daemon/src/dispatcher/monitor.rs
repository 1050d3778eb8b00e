//! The second broker, outside of the clinic: how the box is, never what was measured.
//!
//! Invariant: its connection is a [`Remote`], which takes nothing but what is free of patient data by its type. It is no
//! destination of the store: nothing waits for it, and nothing is lost when it is away but old notices, which are counted.

use super::namesake::Namesake;
use super::outlet::{Remote, root};
use super::requests::Turn;
use super::telling::{Audience, Telling};
use crate::board::Board;
use crate::calls::Calls;
use crate::platform::Platform;
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::Store;
use gateway_core::config::Mqtt;
use gateway_core::delivery::Reason;
use gateway_core::health::Fact;
use gateway_core::monitoring::{Publication, Status};
use gateway_core::time::{Mono, Now};
use std::sync::Arc;
use std::time::Duration;

/// The name of this broker: on the board, among the readers of notices, in the log.
pub const MONITORING: &str = "monitoring";
const BACKOFF_MS_MIN: u64 = 500;
const BACKOFF_MS_MAX: u64 = 60_000;
/// A connection that lived longer than this was a good one: the next pause is short again.
const GOOD_SECONDS_MIN: u64 = 10;
/// How long a stop waits for the last word to be acknowledged.
const DRAIN_SECONDS_MAX: u64 = 3;

/// Tells one broker how the box is.
pub struct MonitorWorker {
    pub mqtt: Mqtt,
    pub gateway: String,
    pub interval: Duration,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    /// Where commands are handed in.
    pub calls: Calls,
    pub pulse: Pulse,
}

impl MonitorWorker {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let mut backoff = BACKOFF_MS_MIN;
        let mut said = None;
        let mut namesake = Namesake::at(MONITORING, &self.board, self.now());
        loop {
            self.pulse.beat(self.now().mono);
            let will = Publication::state("status", &Status::from(&self.board.overview_lost(self.now())));
            let connecting = Remote::connect(&*self.platform.publisher, &self.mqtt, &self.gateway, &will);
            let connected = tokio::select! {
                biased;
                () = stop.asked() => return,
                connected = connecting => connected,
            };
            let began = self.now().mono;
            let reason = match connected {
                Ok(remote) => {
                    tracing::info!(destination = MONITORING, "connected to the second broker");
                    self.tell(None);
                    match self.keep_telling(remote, &mut stop, &mut namesake).await {
                        Some(reason) => reason,
                        None => return,
                    }
                }
                Err(reason) => reason,
            };
            namesake.lost(self.now(), &reason);
            if self.now().mono.since(began).as_secs() >= GOOD_SECONDS_MIN {
                (backoff, said) = (BACKOFF_MS_MIN, None);
            }
            // Said once, and again when the trouble is another one.
            if said.replace(reason.code) != Some(reason.code) {
                let next_step = reason.code.next_step();
                tracing::warn!(destination = MONITORING, %reason, next_step, "no connection to the second broker, trying again");
            }
            self.tell(Some(reason));
            let due = self.now().mono.after(Duration::from_millis(self.scattered(backoff)));
            backoff = (backoff * 2).min(BACKOFF_MS_MAX);
            if self.rest_until(due, &mut stop).await {
                return;
            }
        }
    }

    /// Tells until the connection breaks (the reason), or until it is asked to stop (`None`).
    async fn keep_telling(&self, mut remote: Remote, stop: &mut Stop, namesake: &mut Namesake) -> Option<Reason> {
        let root = root(&self.mqtt, &self.gateway);
        let (board, store) = (&self.board, &self.store);
        let packet_bytes_max = self.mqtt.packet_bytes_max;
        let audience = Audience { root: &root, packet_bytes_max, home_assistant: false };
        let mut telling = Telling::begin(MONITORING, store, board, self.interval, self.now(), audience).await;
        let mut named = remote.named();
        let mut requests = remote.requests(&self.calls);
        let mut changes = board.changes();
        loop {
            let now = self.now();
            self.pulse.beat(now.mono);
            namesake.look(now);
            if let Some(overdue) = telling.overdue(now.mono) {
                return Some(overdue);
            }
            telling.say(now, remote.outlet()).await;
            let wake = now.mono.after(Duration::from_secs(BEAT_SECONDS)).min(telling.wake());
            tokio::select! {
                biased;
                () = stop.asked() => {
                    let due = self.now().mono.after(Duration::from_secs(DRAIN_SECONDS_MAX));
                    remote.drain(&mut requests, &self.platform.clock, due).await;
                    let leaving = telling.goodbye(self.now(), remote.outlet());
                    let patience = self.now().mono.after(Duration::from_secs(DRAIN_SECONDS_MAX));
                    tokio::select! {
                        biased;
                        _ = leaving => {}
                        () = self.platform.clock.sleep_until(patience) => {}
                    }
                    remote.disconnect().await;
                    return None;
                }
                acknowledged = telling.acknowledged(|| self.now().mono) => {
                    if let Err(reason) = acknowledged {
                        return Some(reason);
                    }
                }
                reason = remote.broken() => return Some(reason),
                turn = requests.turn() => match turn {
                    Turn::Answer(reply) => remote.answer(&mut requests, reply),
                    Turn::Broken(reason) => return Some(reason),
                },
                Some(said) = named.recv() => namesake.hear(self.now(), &said),
                _ = changes.changed() => telling.ask(),
                () = self.platform.clock.sleep_until(wake) => {}
            }
        }
    }

    /// Returns whether it was asked to stop meanwhile.
    async fn rest_until(&self, due: Mono, stop: &mut Stop) -> bool {
        loop {
            let now = self.now().mono;
            self.pulse.beat(now);
            if now >= due {
                return false;
            }
            let beat = now.after(Duration::from_secs(BEAT_SECONDS));
            tokio::select! {
                biased;
                () = stop.asked() => return true,
                () = self.platform.clock.sleep_until(due.min(beat)) => {}
            }
        }
    }

    /// Between half of the pause and all of it: a thousand boxes must not come back at the same moment.
    fn scattered(&self, pause_ms: u64) -> u64 {
        let mut bytes = [0; 8];
        self.platform.entropy.fill(&mut bytes);
        pause_ms / 2 + u64::from_le_bytes(bytes) % (pause_ms / 2 + 1)
    }

    fn tell(&self, trouble: Option<Reason>) {
        self.board.tell(self.now(), Fact::MonitoringReached { trouble });
    }

    fn now(&self) -> Now {
        self.platform.clock.now()
    }
}
