//! Analyzers that go on talking while the gateway is killed under them.
//!
//! When the gateway dies the test's clock leaps forward by more than the sender's longest patience, as if the box had been
//! away for that long: so 200 deaths cost no waiting, and no answer is ever late because the machine is slow.

use gateway_core::time::{Mono, Timestamp};
use gateway_daemon::platform::pty::Pty;
use gateway_daemon::simulated::astm::{Faults, PeerAction, PeerInput, Sender, Style, Timers};
use gateway_daemon::simulated::messages::{Kind, Worklist};
use gateway_daemon::simulated::test_v0::Run;
use gateway_daemon::simulated::wire::write_paced;
use gateway_daemon::simulated::{Pace, Told};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// When the analyzers of this test were last measured.
const TODAY: Timestamp = Timestamp(1_795_291_207_000);
/// Longer than every timer of a sender.
const LEAP: Duration = Duration::from_secs(20);

/// What all talkers hear from the test.
#[derive(Clone)]
pub struct Signals {
    deaths: watch::Receiver<u32>,
    stop: watch::Receiver<bool>,
    now: Arc<dyn Fn() -> Mono + Send + Sync>,
    resigned: Arc<AtomicU32>,
}

/// The test's end of [`Signals`].
pub struct Conductor {
    deaths: watch::Sender<u32>,
    stop: watch::Sender<bool>,
    resigned: Arc<AtomicU32>,
}

impl Conductor {
    pub fn new() -> (Conductor, Signals) {
        let (deaths, deaths_heard) = watch::channel(0);
        let (stop, stop_heard) = watch::channel(false);
        let count = deaths.subscribe();
        let elapsed = elapsed_since_now();
        let resigned = Arc::new(AtomicU32::new(0));
        let now = Arc::new(move || elapsed().after(LEAP * *count.borrow()));
        let signals = Signals { deaths: deaths_heard, stop: stop_heard, now, resigned: resigned.clone() };
        (Conductor { deaths, stop, resigned }, signals)
    }

    /// The gateway is dead: everybody's patience with it is at an end.
    pub fn died(&self) {
        self.deaths.send_modify(|deaths| *deaths += 1);
    }

    /// How often an ASTM analyzer has given up on a dead gateway. Only when all have done so may the next one be started:
    /// an answer of the living to a question for the dead would be taken for the answer to the next question.
    pub fn resigned(&self) -> u32 {
        self.resigned.load(Ordering::Acquire)
    }

    /// Everybody finishes the sentence and falls silent.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

fn elapsed_since_now() -> impl Fn() -> Mono + Send + Sync {
    let started = tokio::time::Instant::now();
    move || Mono(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// How one ASTM analyzer behaves.
pub struct Manner {
    pub kind: Kind,
    pub style: Style,
    pub seed: u64,
    pub messages_per_session: usize,
}

/// Sends message after message, each until its last frame is acknowledged.
pub async fn astm(mut pty: Pty, manner: Manner, signals: Signals, progress: watch::Sender<u64>) -> Told {
    let timers = Timers { rest: Duration::from_millis(30), busy: Duration::from_millis(200), ..Timers::STANDARD };
    // Never a message given up by an EOT between two acknowledged frames: many analyzers end a whole message without its L
    // record like that, so the gateway must take it for one. Every death makes the sender give up on a frame all the same.
    let sender = Sender::new(manner.style, timers, Faults::NOW_AND_THEN, manner.seed);
    let mut sender = sender.messages_per_session(manner.messages_per_session);
    let mut worklist = Worklist::new(manner.kind, manner.seed, 1000);
    let Signals { mut deaths, stop, now, resigned } = signals;
    let mut actions = Vec::new();
    let mut buffer = [0; 64];
    let mut drawn = 0;
    loop {
        if sender.is_done() {
            if *stop.borrow() {
                return sender.told().clone();
            }
            for _ in 0..manner.messages_per_session {
                let at = TODAY.shifted(drawn * 60_000);
                drawn += 1;
                actions.extend(sender.handle(now(), PeerInput::Submit(worklist.draw(at))));
            }
        }
        for action in std::mem::take(&mut actions) {
            if let PeerAction::Send { bytes, pace } = action {
                write_paced(&mut pty, &bytes, pace).await.expect("the terminal stays open");
            }
        }
        let wait = sender.deadline().map_or(Duration::MAX, |due| due.since(now()));
        tokio::select! {
            biased;
            read = pty.read(&mut buffer) => {
                let count = read.expect("the terminal stays open");
                actions = sender.handle(now(), PeerInput::Received(&buffer[..count]));
                progress.send_replace(sender.told().acknowledged.len() as u64);
            }
            _ = deaths.changed() => {
                actions = sender.handle(now(), PeerInput::DeadlineReached);
                resigned.fetch_add(1, Ordering::Release);
            }
            () = tokio::time::sleep(wait) => actions = sender.handle(now(), PeerInput::DeadlineReached),
        }
    }
}

/// Tells run after run, a line every few milliseconds, and returns the last line of each by its serial number.
pub async fn test_v0(mut pty: Pty, seed: u64, first_sn: u64, signals: Signals) -> BTreeMap<String, Value> {
    let mut told = BTreeMap::new();
    for number in 0.. {
        if *signals.stop.borrow() {
            break;
        }
        let sn = first_sn + number;
        let run = Run::new(seed + number, sn, number as u32, TODAY, 12);
        let last = run.lines.last().expect("a run has lines");
        told.insert(sn.to_string(), serde_json::from_str(&last.text).expect("lines are JSON"));
        for line in &run.lines {
            write_paced(&mut pty, line.text.as_bytes(), Pace::AT_ONCE).await.expect("the terminal stays open");
            pty.write_all(b"\n").await.expect("the terminal stays open");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    told
}
