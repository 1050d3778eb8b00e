//! Bytes that mean to do harm: good conversations, damaged in every way that a line or a stranger can, fed to a session that
//! is held to the calling contract. Shared by the file of truth `fuzz` and by the libFuzzer targets in `fuzz/`.
//!
//! Everything is drawn from a seed, which a failure names.

mod framings;

pub use framings::{FRAMINGS, Framing};

use crate::conversations::conversations;
use gateway_core::drivers::{converse, driver};
use gateway_core::session::{Action, DriverOptions, Input, Resume, Session};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use gateway_daemon::simulated::seeded::Seeded;
use std::time::Duration;

/// Actions that one input may lead to: a session that asks for more goes round in circles.
const STEPS_MAX: usize = 100_000;
/// The damage that control characters do is the most interesting.
const CONTROLS: &[u8] = b"\x00\x01\x02\x03\x04\x05\x06\x0a\x0b\x0c\x0d\x15\x17\x1a\x1c\x1d\x1e\xff|^&\\~<>/\"{};,";

/// Damages a conversation: flips bits, drops, doubles and swaps parts, splices another one in, puts controls anywhere.
pub fn damaged(seeds: &[Vec<u8>], draw: &mut Seeded, bytes_max: usize) -> Vec<u8> {
    let pick = |draw: &mut Seeded| seeds.get(below(draw, seeds.len())).cloned().unwrap_or_default();
    let mut bytes = pick(draw);
    for _ in 0..=below(draw, 12) {
        let (from, to) = range(draw, bytes.len());
        match below(draw, 9) {
            0 if from < bytes.len() => bytes[from] ^= 1 << below(draw, 8),
            1 if from < bytes.len() => bytes[from] = CONTROLS[below(draw, CONTROLS.len())],
            2 => bytes.insert(from, CONTROLS[below(draw, CONTROLS.len())]),
            3 => drop(bytes.drain(from..to)),
            4 => {
                let part = bytes[from..to].to_vec();
                bytes.splice(from..from, part);
            }
            5 => bytes.truncate(from),
            6 => {
                let other = pick(draw);
                let (start, end) = range(draw, other.len());
                bytes.splice(from..to, other[start..end].iter().copied());
            }
            7 => {
                let byte = CONTROLS[below(draw, CONTROLS.len())];
                let run = 1 << below(draw, 12);
                bytes.splice(from..from, std::iter::repeat_n(byte, run));
            }
            _ => {
                let noise: Vec<u8> = (0..below(draw, 64)).map(|_| below(draw, 256) as u8).collect();
                bytes.splice(from..from, noise);
            }
        }
    }
    bytes.truncate(bytes_max);
    bytes
}

fn below(draw: &mut Seeded, bound: usize) -> usize {
    draw.below(bound.max(1) as u64) as usize
}

fn range(draw: &mut Seeded, length: usize) -> (usize, usize) {
    let (one, other) = (below(draw, length + 1), below(draw, length + 1));
    (one.min(other), one.max(other))
}

/// Feeds the bytes in pieces, with silences, failing commits and restarts in between. Panics where the session breaks the
/// calling contract or goes round in circles.
pub fn feed(name: &str, options: &DriverOptions, bytes: &[u8], draw: &mut Seeded) {
    let mut line = Line::open(name, options);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(1 + below(draw, rest.len().min(200)));
        line.fails = below(draw, 8) == 0;
        line.give(Input::Received(part));
        line.fails = false;
        if below(draw, 6) == 0 {
            line.wait(Duration::from_millis(1 << below(draw, 17)));
        }
        rest = after;
    }
    line.wait(Duration::from_secs(120));
    line.give(Input::Closed);
    let unfinished = std::mem::take(&mut line.open_capture);
    let mut again = Line::open(name, options);
    again.now = line.now;
    again.give(Input::Opened(Resume { unfinished: &unfinished, running: None }));
    again.wait(Duration::from_secs(60));
    again.give(Input::Closed);
}

/// For libFuzzer: the bytes as they are, for each conversation of the driver, cut by what they hash to.
pub fn any_bytes_for_driver(name: &str, bytes: &[u8]) {
    for subject in conversations().iter().filter(|subject| subject.driver == name) {
        feed(name, &subject.options, bytes, &mut Seeded::new(hash(bytes)));
    }
}

/// The same for a framing.
pub fn any_bytes_for_framing(name: &str, bytes: &[u8]) {
    for (_, framing) in FRAMINGS.iter().filter(|(known, _)| *known == name) {
        framing(bytes, &mut Seeded::new(hash(bytes)));
    }
}

/// FNV-1a
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A link without a port.
struct Line {
    session: Box<dyn Session>,
    now: Now,
    fails: bool,
    opened: bool,
    /// The captures of the message that is open, as the store would keep them.
    open_capture: Vec<u8>,
}

impl Line {
    fn open(name: &str, options: &DriverOptions) -> Line {
        let driver = driver(name).expect("a registered driver");
        let session = converse(driver, options).expect("good options");
        let now =
            Now { mono: Mono(1_000_000_000), wall: Timestamp(1_700_000_000_000), quality: ClockQuality::Synchronized };
        Line { session, now, fails: false, opened: false, open_capture: Vec::new() }
    }

    fn give(&mut self, input: Input<'_>) {
        if !self.opened && !matches!(input, Input::Opened(_)) {
            self.opened = true;
            self.give(Input::Opened(Resume::default()));
        }
        self.opened = true;
        let mut actions = Vec::new();
        self.session.handle(self.now, input, &mut actions);
        for _ in 0..STEPS_MAX {
            let Some(last) = actions.last().cloned() else { return };
            let pending = actions.iter().filter(|action| matches!(action, Action::Commit(_) | Action::Ask(_))).count();
            let ends = matches!(last, Action::Commit(_) | Action::Ask(_));
            assert!(pending <= 1 && (pending == 0 || ends), "something is asked for behind an outstanding commit");
            let Some(input) = self.answer(last) else { return };
            actions = Vec::new();
            self.session.handle(self.now, input, &mut actions);
        }
        panic!("the session goes round in circles");
    }

    fn answer(&mut self, last: Action) -> Option<Input<'static>> {
        match last {
            Action::Commit(_) if self.fails => Some(Input::CommitFailed),
            Action::Commit(commit) => {
                self.open_capture.extend_from_slice(&commit.capture);
                if commit.complete {
                    self.open_capture.clear();
                }
                Some(Input::Committed)
            }
            Action::Ask(_) => Some(Input::Answered(&[])),
            Action::Send(_) | Action::Tell(_) | Action::Taken => None,
        }
    }

    /// Lets time pass, with every deadline on the way.
    fn wait(&mut self, span: Duration) {
        let end = self.now.mono.after(span);
        for _ in 0..STEPS_MAX {
            let Some(due) = self.session.deadline().filter(|due| *due <= end) else {
                self.now.mono = end;
                return;
            };
            self.now.mono = self.now.mono.max(due);
            self.give(Input::DeadlineReached);
        }
        panic!("deadlines without an end");
    }
}
