//! The gateway's side of updates: tells the privileged half how it is, and asks it for updates when the settings say so.
//!
//! Invariant: it changes nothing of the system. It leaves files, and root decides.

use crate::board::Board;
use crate::platform::Platform;
use crate::pulse::{Pulse, Stop};
use crate::store::{AuditEntry, Store};
use gateway_core::appliance::gate::BoxHealth;
use gateway_core::appliance::layout;
use gateway_core::appliance::schedule::due;
use gateway_core::appliance::update::{Action, Asked, BY_ITSELF};
use gateway_core::config::{Automatic, Config, Secret, Updates};
use gateway_core::event::Seq;
use gateway_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Between two words on how the gateway is.
const TELL_SECONDS: u64 = 5;
/// The database answers within this, or does not.
const STORE_SECONDS_MAX: u64 = 5;

/// What of the settings it looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    updates: Updates,
    time_zone: String,
    /// `http.listen`, where the page is served there.
    listen: Option<String>,
    proxy: Option<Secret>,
}

impl Wanted {
    pub fn of(config: &Config) -> Wanted {
        Wanted {
            updates: config.update.clone(),
            time_zone: config.gateway.time_zone.clone(),
            listen: config.http.listen.clone().filter(|_| config.http.page),
            proxy: config.proxy().cloned(),
        }
    }
}

/// Runs on an appliance only.
pub struct Updater {
    pub wanted: Wanted,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub pulse: Pulse,
}

impl Updater {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let clock = self.platform.clock.clone();
        let Wanted { updates, time_zone, proxy, .. } = &self.wanted;
        let (mut done, mut untold) = (None, false);
        loop {
            let now = clock.now();
            self.pulse.beat(now.mono);
            let told = self.tell().await;
            if let Err(error) = &told
                && !untold
            {
                tracing::warn!(error, "the box's other half is not told how the gateway is; updates will not be kept");
            }
            untold = told.is_err();
            let overview = self.board.overview(now);
            let last = overview.appliance.update.as_ref();
            if let Some(day) = due(now, updates.automatic, updates.between, time_zone, done, last) {
                done = Some(day);
                let action = if updates.automatic == Automatic::Install { Action::Install } else { Action::Check };
                let asked = Asked {
                    action,
                    source: updates.url.clone(),
                    older: false,
                    proxy: proxy.as_ref().map(|proxy| proxy.expose().to_owned()),
                    by: BY_ITSELF.to_owned(),
                };
                match ask(&self.platform, &asked).await {
                    Err(error) => tracing::warn!(error = error.sentence(), "updates are not looked for"),
                    Ok(()) => self.note(now.wall).await,
                }
            }
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = clock.sleep_until(now.mono.after(Duration::from_secs(TELL_SECONDS))) => {}
            }
        }
    }

    /// Into the audit log, as when a person asks.
    async fn note(&self, at: Timestamp) {
        let entry = AuditEntry {
            at,
            client: BY_ITSELF.to_owned(),
            action: "update".to_owned(),
            object: "system".to_owned(),
            outcome: "ok".to_owned(),
        };
        if let Err(error) = self.store.audit(entry).await {
            tracing::warn!(%error, "that an update is looked for is not in the audit log");
        }
    }

    async fn tell(&self) -> Result<(), String> {
        let clock = &self.platform.clock;
        let patience = clock.now().mono.after(Duration::from_secs(STORE_SECONDS_MAX));
        let store = tokio::select! {
            biased;
            answered = self.store.event(Seq(0)) => answered.is_ok(),
            () = clock.sleep_until(patience) => false,
        };
        let (overview, listen) = (self.board.overview(clock.now()), self.wanted.listen.as_deref());
        let health = BoxHealth::of(&overview, listen, store, clock.boot(), clock.now().mono);
        let bytes = serde_json::to_vec(&health).map_err(|error| error.to_string())?;
        self.platform.machine.leave(layout::TOLD_GATE, bytes).await
    }
}

/// Why the privileged half was not asked.
pub enum Unasked {
    /// Somebody else has asked, and it has not begun.
    Waits(Box<Asked>),
    /// A sentence.
    Failed(String),
}

impl Unasked {
    pub fn sentence(&self) -> String {
        match self {
            Unasked::Failed(reason) => reason.clone(),
            Unasked::Waits(asked) => {
                let what = match asked.action {
                    Action::Check => "look for an update",
                    Action::Install => "install one",
                    Action::Rollback => "go back to the system that ran before",
                };
                let by = if asked.by == BY_ITSELF { "the settings" } else { &asked.by };
                format!(
                    "{by} asked to {what} a moment ago: wait for the end of that (`analyzer-gateway update status`)"
                )
            }
        }
    }
}

/// Asks the privileged half; one at a time.
pub async fn ask(platform: &Platform, asked: &Asked) -> Result<(), Unasked> {
    let bytes = serde_json::to_vec(asked).map_err(|error| Unasked::Failed(error.to_string()))?;
    let before = platform.machine.ask(layout::ASKED_UPDATE, bytes).await.map_err(Unasked::Failed)?;
    let Some(before) = before else { return Ok(()) };
    let unread = || Unasked::Failed("another request waits that cannot be read: ask again in a minute".to_owned());
    Err(serde_json::from_slice(&before).map_or_else(|_| unread(), |asked| Unasked::Waits(Box::new(asked))))
}
