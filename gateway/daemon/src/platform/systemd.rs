//! systemd's notification socket. Without `NOTIFY_SOCKET` nothing is sent.

use super::{Notice, ServiceManager};
use sd_notify::NotifyState;
use std::time::Duration;

/// The service manager that started us, if one did.
pub struct Systemd;

impl ServiceManager for Systemd {
    fn notify(&self, notice: Notice<'_>) {
        let sent = match notice {
            Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
            Notice::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
            Notice::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
            Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            Notice::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|moment| sd_notify::notify(&[NotifyState::Reloading, moment])),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "systemd could not be told");
        }
    }

    fn watchdog_interval(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}
