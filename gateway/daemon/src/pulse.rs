//! Who is alive, and who was asked to stop: what the watchdog and the shutdown look at.

use gateway_core::time::Mono;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// A task that has not beaten for this long is taken for stuck: the watchdog is no longer fed and systemd restarts us.
pub const SILENCE_SECONDS_MAX: u64 = 90;

/// How often an idle task beats.
pub const BEAT_SECONDS: u64 = 5;

/// One task's sign of life. It beats whenever its loop comes round, and not while it waits for the disk.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub fn beat(&self, now: Mono) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    pub fn is_stuck(&self, now: Mono) -> bool {
        let last = Mono(self.0.load(Ordering::Relaxed));
        now.since(last).as_secs() > SILENCE_SECONDS_MAX
    }
}

/// Asks tasks to stop; dropping it asks them too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Both ends.
pub fn stop_channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it was asked already.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns when it is asked.
    pub async fn asked(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
