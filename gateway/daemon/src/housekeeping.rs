//! What happens by itself now and then: retention, manifests, erasures that were asked for and not finished, and mending the times
//! of a boot whose clock was set late.
//!
//! Invariant: events are counted into the manifests before a sweep may take them.

use crate::dispatcher::Shown;
use crate::platform::Platform;
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::{DestinationId, Store, StoreError};
use gateway_core::config::{Limits, Retention, Webhook};
use gateway_core::dialects::dialect;
use gateway_core::event::{Event, EventId, Id};
use gateway_core::time::{ClockQuality, Now};
use std::time::Duration;

/// Between two sweeps of the store.
const SWEEP_SECONDS: u64 = 600;

/// Keeps the house.
pub struct Housekeeper {
    pub limits: Limits,
    pub retention: Retention,
    /// The endpoints whose manifests are kept.
    pub webhooks: Vec<Webhook>,
    pub platform: Platform,
    pub store: Store,
    pub shown: Shown,
    pub pulse: Pulse,
}

impl Housekeeper {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let mut mended = false;
        let mut swept = self.platform.clock.now().mono;
        loop {
            let now = self.platform.clock.now();
            self.pulse.beat(now.mono);
            // At the start too: an earlier process of this boot may have stored events before the clock was set.
            mended = now.quality == ClockQuality::Synchronized && (mended || self.mend_times(now).await);
            self.erase(&mut stop).await;
            if now.mono.since(swept) >= Duration::from_secs(SWEEP_SECONDS) {
                swept = now.mono;
                self.count_manifests(now).await;
                self.sweep(now, &stop).await;
            }
            tokio::select! {
                biased;
                () = stop.asked() => {
                    // By the settings with which these events were sent.
                    return self.count_manifests(self.platform.clock.now()).await;
                }
                () = self.platform.clock.sleep_until(now.mono.after(Duration::from_secs(BEAT_SECONDS))) => {}
            }
        }
    }

    /// Once a time source has set the clock, the events of this boot that nobody has seen get the right time. Whether that is
    /// done.
    async fn mend_times(&self, now: Now) -> bool {
        match self.store.correct_clock(self.shown.newest(), now, self.new_id(now)).await {
            Ok(None) => true,
            Ok(Some(_)) => {
                tracing::info!("the clock was set; times of this boot are corrected");
                true
            }
            Err(error) => {
                tracing::error!(%error, "times cannot be corrected, trying again");
                false
            }
        }
    }

    /// Finishes the erasures that were asked for, and shows life meanwhile. What a stop cuts off goes on after the next start.
    async fn erase(&self, stop: &mut Stop) {
        let mut erasing = std::pin::pin!(self.store.finish_erasures());
        loop {
            let now = self.platform.clock.now().mono;
            self.pulse.beat(now);
            tokio::select! {
                biased;
                done = &mut erasing => {
                    if let Err(error) = done {
                        tracing::error!(%error, "a person's data cannot be erased, trying again");
                    }
                    return;
                }
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(now.after(Duration::from_secs(BEAT_SECONDS))) => {}
            }
        }
    }

    async fn count_manifests(&self, now: Now) {
        for webhook in &self.webhooks {
            self.pulse.beat(self.platform.clock.now().mono);
            if let Err(error) = count_manifests(&self.store, webhook, now).await {
                tracing::error!(webhook = %webhook.id, %error, "the manifest cannot be kept");
            }
        }
    }

    /// Shows life between the steps of a sweep, and leaves the rest to the next one when asked to stop.
    async fn sweep(&self, now: Now, stop: &Stop) {
        let go_on = || {
            self.pulse.beat(self.platform.clock.now().mono);
            !stop.is_asked()
        };
        match self.store.sweep(&self.limits, &self.retention, now, self.new_id(now), go_on).await {
            Ok(swept) => tracing::debug!(?swept, "store swept"),
            Err(error) => tracing::error!(%error, "the store cannot be swept"),
        }
    }

    fn new_id(&self, now: Now) -> EventId {
        let mut random = [0; 10];
        self.platform.entropy.fill(&mut random);
        Id::timed(now.wall, random)
    }
}

/// Brings the manifests of an endpoint up to the log's head.
pub async fn count_manifests(store: &Store, webhook: &Webhook, now: Now) -> Result<(), StoreError> {
    // The settings were checked, so the name is known; an endpoint without a dialect is sent nothing.
    let Some(dialect) = dialect(&webhook.dialect) else { return Ok(()) };
    let endpoint = webhook.endpoint.clone();
    let has_form = move |event: &Event| dialect.has_form(event, &endpoint);
    store.count_manifests(&DestinationId::webhook(&webhook.id), now, has_form).await
}
