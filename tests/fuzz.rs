//! No bytes make a driver panic, break its link's contract, go round in circles or take memory without bound.
//!
//! Good conversations, the fixtures' among them, are damaged and fed to each driver in pieces, with failing commits, silences and
//! restarts; `FUZZ_SECONDS` says how long for each (3; 30 where `CI=true`; `tests/run --nightly` says 600). Memory is
//! counted in the thread that feeds.

use gateway_core::session::DriverOptions;
use gateway_daemon::simulated::seeded::Seeded;
use gateway_tests::conversations::{Conversation, conversations};
use gateway_tests::fuzz::{FRAMINGS, Framing, damaged, feed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::time::Instant;

/// The longest input.
const INPUT_BYTES_MAX: usize = 64 << 10;
const FRAME_BYTES_MAX: usize = 4 << 10;
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// What one session may hold at most: a few times its longest message, and the evidence that it keeps of noise.
const HELD_BYTES_MAX: u64 = 2 << 20;

fn span() -> Duration {
    let told = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    Duration::from_secs(told.unwrap_or(if in_ci { 30 } else { 3 }))
}

#[test]
fn no_bytes_make_a_driver_panic_or_take_memory_without_bound() {
    let subjects = conversations();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(subject) = subjects.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    attack(subject);
                }
            });
        }
    });
}

#[test]
fn no_bytes_make_a_framing_panic_or_make_bytes_up() {
    let seeds: Vec<Vec<u8>> = conversations().iter().flat_map(Conversation::seeds).collect();
    std::thread::scope(|scope| {
        for (name, framing) in FRAMINGS {
            scope.spawn(|| attack_framing(name, *framing, &seeds));
        }
    });
}

fn attack_framing(name: &str, framing: Framing, seeds: &[Vec<u8>]) {
    let until = Instant::now() + span();
    let mut seed = 0_u64;
    while Instant::now() < until {
        let mut draw = Seeded::new(seed);
        let bytes = damaged(seeds, &mut draw, INPUT_BYTES_MAX);
        let cut = catch_unwind(AssertUnwindSafe(|| framing(&bytes, &mut draw)));
        assert!(cut.is_ok(), "framing {name} breaks at seed {seed}");
        seed += 1;
    }
    println!("framing {name}: {seed} streams");
}

fn attack(subject: &Conversation) {
    let bounded = DriverOptions {
        frame_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..subject.options.clone()
    };
    let seeds = subject.seeds();
    let until = Instant::now() + span();
    let mut seed = 0_u64;
    while Instant::now() < until {
        let mut draw = Seeded::new(seed);
        let bytes = damaged(&seeds, &mut draw, INPUT_BYTES_MAX);
        let mut fed = Ok(());
        let taken = allocation_counter::measure(|| {
            fed = catch_unwind(AssertUnwindSafe(|| feed(subject.driver, &bounded, &bytes, &mut draw)));
        });
        assert!(fed.is_ok(), "{} breaks at seed {seed}", subject.driver);
        assert!(taken.bytes_max < HELD_BYTES_MAX, "{} takes {} bytes at seed {seed}", subject.driver, taken.bytes_max);
        seed += 1;
    }
    println!("{}: {seed} conversations", subject.driver);
}
