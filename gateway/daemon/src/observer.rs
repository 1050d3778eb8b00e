//! Looks at the machine and counts what waits, now and then, and tells the board.
//!
//! Invariant: it only reads, so that it may be cut off at any moment.

use crate::board::Board;
use crate::platform::Platform;
use crate::pulse::{Pulse, Stop};
use crate::store::{Store, StoreError};
use gateway_core::health::Fact;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK_SECONDS: u64 = 10;

/// Tells the board what nobody else notices.
pub struct Observer {
    pub state_dir: PathBuf,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub pulse: Pulse,
}

impl Observer {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        loop {
            let now = self.platform.clock.now();
            self.pulse.beat(now.mono);
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "what waits cannot be counted, trying again");
            }
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(now.mono.after(Duration::from_secs(LOOK_SECONDS))) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let vitals = self.platform.machine.vitals(&self.state_dir).await;
        let (store, standings) = self.store.standings().await?;
        let now = self.platform.clock.now();
        self.board.tell(now, Fact::Measured { vitals, store });
        for (destination, standing) in standings {
            self.board.tell(now, Fact::Counted { destination: destination.0, standing });
        }
        Ok(())
    }
}
