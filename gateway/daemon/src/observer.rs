//! Looks at the machine and counts what waits, now and then, and tells the board.
//!
//! Invariant: it only reads, so that it may be cut off at any moment.

use crate::board::Board;
use crate::platform::Platform;
use crate::pulse::{Pulse, Stop};
use crate::store::{Store, StoreError};
use gateway_core::health::Fact;
use gateway_core::overview::CertificateLeft;
use gateway_core::time::ClockQuality;
use gateway_core::vitals::{CertificateFile, DiskForecast};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK_SECONDS: u64 = 10;
/// Between two looks at the certificates.
const CERTIFICATES_SECONDS: u64 = 3600;

/// What is remembered from one look to the next.
#[derive(Default)]
struct Seen {
    disk: DiskForecast,
    certificates: Vec<CertificateLeft>,
    /// The clock's quality and the hour when the certificates were read: another clock counts other days.
    read: Option<(ClockQuality, u64)>,
}

/// Tells the board what nobody else notices.
pub struct Observer {
    pub state_dir: PathBuf,
    /// Whose days are counted.
    pub files: Vec<CertificateFile>,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub pulse: Pulse,
}

impl Observer {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let mut seen = Seen::default();
        loop {
            let now = self.platform.clock.now();
            self.pulse.beat(now.mono);
            if let Err(error) = self.look(&mut seen).await {
                tracing::warn!(%error, "what waits cannot be counted, trying again");
            }
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(now.mono.after(Duration::from_secs(LOOK_SECONDS))) => {}
            }
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let mut vitals = self.platform.machine.vitals(&self.state_dir).await;
        let now = self.platform.clock.now();
        vitals.disk_days_left = vitals.disk_free_bytes.and_then(|free| seen.disk.observe(now.mono, free));
        let reading = (now.quality, now.mono.0 / (CERTIFICATES_SECONDS * 1_000_000_000));
        if seen.read.replace(reading) != Some(reading) {
            seen.certificates = self.platform.machine.certificates(&self.files, now).await;
        }
        vitals.certificates.clone_from(&seen.certificates);
        let (store, standings) = self.store.standings().await?;
        self.board.tell(now, Fact::Measured { vitals, store });
        for (destination, standing) in standings {
            self.board.tell(now, Fact::Counted { destination: destination.0, standing });
        }
        Ok(())
    }
}
