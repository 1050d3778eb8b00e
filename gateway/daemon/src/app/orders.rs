//! What the running gateway is ordered: other settings, for good or on trial, and that some were refused.
//!
//! Invariant: settings are in force whole or not at all; where the store refuses them the old ones stay.

use super::{App, AppError};
use crate::platform::Notice;
use crate::store::AuditEntry;
use gateway_core::config::Config;
use gateway_core::health::Fact;
use gateway_core::time::Timestamp;
use tokio::sync::oneshot;

/// What reaches a running gateway beside a stop.
#[derive(Debug)]
pub enum Order {
    /// New settings, already checked.
    Reload(Box<Config>),
    /// The settings on the card are refused and the old ones stay: in a sentence for the status.
    Refused(String),
    /// Pushed settings, checked, until somebody keeps them; `done` says whether they are in force.
    Try { config: Box<Config>, confirm_by: Timestamp, done: oneshot::Sender<Result<(), String>> },
    /// The settings that are tried are kept.
    Kept,
    /// Settings that were tried are not kept; `former`, if there are some, are in force again.
    Lapsed { hash: String, why: String, former: Option<Box<Config>> },
}

impl App {
    pub(super) async fn obey(&mut self, order: Order) -> Result<(), AppError> {
        self.platform.service.notify(Notice::Reloading);
        match order {
            Order::Reload(config) => {
                if let Err(reason) = self.adopt(*config).await? {
                    tracing::error!(%reason, "new settings refused, the old ones stay in force");
                    self.tell(Fact::ConfigRefused { reason });
                } else {
                    self.tell(Fact::ConfigAccepted);
                    tracing::info!("new settings in force");
                }
            }
            Order::Refused(reason) => {
                tracing::error!(%reason, "new settings refused, the old ones stay in force");
                self.tell(Fact::ConfigRefused { reason });
            }
            Order::Try { config, confirm_by, done } => {
                let adopted = self.adopt(*config).await?;
                if adopted.is_ok() {
                    self.tell(Fact::ConfigTried { confirm_by: Some(confirm_by) });
                }
                let _ = done.send(adopted);
            }
            Order::Kept => {
                self.tell(Fact::ConfigTried { confirm_by: None });
                self.tell(Fact::ConfigAccepted);
            }
            Order::Lapsed { hash, why, former } => {
                tracing::error!(%hash, %why, "pushed settings are not kept, the former ones are in force");
                if let Some(former) = former
                    && let Err(reason) = self.adopt(*former).await?
                {
                    tracing::error!(%reason, "the former settings are refused");
                    self.tell(Fact::ConfigRefused { reason });
                }
                self.tell(Fact::ConfigTried { confirm_by: None });
                let at = self.platform.clock.now().wall;
                let (client, action) = ("gateway".to_owned(), "roll_back_config".to_owned());
                let entry = AuditEntry { at, client, action, object: format!("config/{hash}"), outcome: why };
                self.store.audit(entry).await?;
            }
        }
        self.platform.service.notify(Notice::Ready);
        Ok(())
    }

    /// Makes these the settings, or says why the store does not take them.
    pub(super) async fn adopt(&mut self, config: Config) -> Result<Result<(), String>, AppError> {
        if config.gateway.state_dir != self.config.gateway.state_dir {
            tracing::warn!("another gateway.state_dir takes effect at the next start");
        }
        match self.apply(config).await {
            Ok(()) => Ok(Ok(())),
            Err(AppError::Store(error)) => Ok(Err(format!("the store does not take them now: {error}"))),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, fact: Fact) {
        self.board.tell(self.platform.clock.now(), fact);
    }
}
