//! Looks at the machine and counts what waits, now and then, and reads the log for what others are told of; tells the board.
//!
//! Invariant: it only reads, so that it may be cut off at any moment.

use crate::board::Board;
use crate::platform::Platform;
use crate::pulse::{Pulse, Stop};
use crate::store::{Store, StoreError};
use gateway_core::event::{Event, Seq};
use gateway_core::health::Fact;
use gateway_core::monitoring::Notice;
use gateway_core::overview::CertificateLeft;
use gateway_core::time::{ClockQuality, Mono, Now};
use gateway_core::vitals::{CertificateFile, DiskForecast};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK_SECONDS: u64 = 10;
/// Between two readings of the log, while it grows.
const READ_MS_MIN: u64 = 200;
/// Events of one reading; what follows is read at once.
const READ_EVENTS_MAX: usize = 64;
/// How far back a start looks for what opening the store itself has put into the log.
const LOOK_BACK_EVENTS: i64 = 64;
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
        let mut head = self.store.head();
        let mut read_to = Seq(head.borrow().0.saturating_sub(LOOK_BACK_EVENTS));
        let (mut look_at, mut read_at, mut news) = (Mono(0), Mono(0), true);
        loop {
            let now = self.now();
            self.pulse.beat(now.mono);
            if now.mono >= look_at {
                look_at = now.mono.after(Duration::from_secs(LOOK_SECONDS));
                if let Err(error) = self.look(&mut seen).await {
                    tracing::warn!(%error, "what waits cannot be counted, trying again");
                }
            }
            if news && now.mono >= read_at {
                read_at = now.mono.after(Duration::from_millis(READ_MS_MIN));
                match self.read(read_to).await {
                    Ok((reached, more)) => (read_to, news) = (reached, more),
                    Err(error) => tracing::warn!(%error, "the log cannot be read for notices, trying again"),
                }
            }
            let due = if news { look_at.min(read_at) } else { look_at };
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = head.changed(), if !news => news = true,
                () = self.platform.clock.sleep_until(due) => {}
            }
        }
    }

    /// Tells the board of the events after this one that are made into notices. Returns up to where it has read, and whether
    /// more is known to follow.
    async fn read(&self, after: Seq) -> Result<(Seq, bool), StoreError> {
        let (events, reached) = self.store.events_named(&Notice::EVENTS, after, READ_EVENTS_MAX).await?;
        let (boot, opened) = (self.platform.clock.boot(), self.store.opened());
        // What an earlier process has stored was told by it.
        let ours = |event: &&Event| event.boot == boot && event.mono >= opened;
        for notice in events.iter().filter(ours).filter_map(Notice::of_event) {
            self.board.tell(self.now(), Fact::Noted { notice });
        }
        Ok((reached, events.len() == READ_EVENTS_MAX))
    }

    fn now(&self) -> Now {
        self.platform.clock.now()
    }

    async fn look(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let mut vitals = self.platform.machine.vitals(&self.state_dir).await;
        let now = self.now();
        vitals.disk_days_left = vitals.disk_free_bytes.and_then(|free| seen.disk.observe(now.mono, free));
        let reading = (now.quality, now.mono.0 / (CERTIFICATES_SECONDS * 1_000_000_000));
        if seen.read.replace(reading) != Some(reading) {
            seen.certificates = self.platform.machine.certificates(&self.files, now).await;
        }
        vitals.certificates.clone_from(&seen.certificates);
        let standings = self.store.standings().await?;
        self.board.tell(now, Fact::Measured { vitals, store: standings.store });
        self.board.tell(now, Fact::LeftBehind { waiting: standings.left_behind });
        self.board.tell(now, Fact::BoxSeen { appliance: self.platform.machine.appliance().await });
        for (destination, standing) in standings.configured {
            self.board.tell(now, Fact::Counted { destination: destination.0, standing });
        }
        Ok(())
    }
}
