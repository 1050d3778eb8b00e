//! An hour of nothing but noise at 115,200 baud, for each driver: what it stores of it and how much memory it holds.
//!
//! A loose cable or a wrong speed sounds like this. The hour is virtual; what the session allocates is counted by the byte.
//! The share of a core that it would take is printed, not judged.

use gateway_core::drivers::{DRIVERS, against_noise, converse, driver};
use gateway_core::session::{Action, DriverOptions, Framing, Input, Resume, Session};
use gateway_core::time::{Mono, Now, Timestamp};
use std::time::Duration;

/// 115,200 baud, 8N1.
const BYTES_A_SECOND: usize = 11_520;
const SECONDS: usize = 3600;
/// What a serial adapter hands over at once, about.
const READ_BYTES: usize = 512;
/// Captures in the hour: a day of results under a wrong profile is kept, and so are a thousand codes of a scanner and one more
/// every 10 s; noise is not told from those at once.
const CAPTURES_MAX: usize = 2_500;
/// All of them together.
const CAPTURED_BYTES_MAX: usize = 80 << 20;
/// Events without a capture: counts and alarms.
const EVENTS_MAX: usize = 1_500;
/// The longest message a session may hold, three times: while it grows, the old and the doubled one are there.
const HELD_BYTES_MAX: usize = 26 << 20;
/// With limits of a quarter of a megabyte nothing may hold more than this.
const HELD_SMALL_BYTES_MAX: usize = 2 << 20;

/// What came of the hour.
#[derive(Debug, Default)]
struct Hour {
    captures: usize,
    captured_bytes: usize,
    events: usize,
    held_bytes_max: usize,
    core_share: f64,
}

/// A session behind the plainest link there is.
struct Line {
    session: Box<dyn Session>,
    now: Now,
    hour: Hour,
}

impl Line {
    fn give(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.session.handle(self.now, input, &mut actions);
        while !actions.is_empty() {
            let mut more = Vec::new();
            for action in actions {
                match action {
                    Action::Commit(commit) => {
                        self.hour.captures += usize::from(!commit.capture.is_empty());
                        self.hour.captured_bytes += commit.capture.len();
                        self.hour.events += commit.events.len();
                        self.session.handle(self.now, Input::Committed, &mut more);
                    }
                    Action::Ask(_) => self.session.handle(self.now, Input::Answered(&[]), &mut more),
                    Action::Send(_) | Action::Tell(_) | Action::Taken => {}
                }
            }
            actions = more;
        }
    }

    /// Lets time pass, stopping at each deadline on the way.
    fn wait(&mut self, span: Duration) {
        let end = self.now.mono.after(span);
        while let Some(due) = self.session.deadline().filter(|due| *due <= end) {
            self.now.mono = self.now.mono.max(due);
            self.give(Input::DeadlineReached);
        }
        self.now.mono = end;
    }
}

/// Kinds of noise: each fills a read from a number drawn at random.
type Noise = fn(&mut u64, &mut [u8]);

/// xorshift64*
fn draw(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// No H: to a driver of bare records a line that begins with it is the beginning of a message, and what is one is kept.
const LETTERS: &[u8] = b"\r\n|^L\"{}<>=; ABCxyz0123456789";

const NOISES: [(&str, Noise); 4] = [
    ("any bytes", |state, read| {
        read.chunks_mut(8).for_each(|part| part.copy_from_slice(&draw(state).to_le_bytes()[..part.len()]))
    }),
    ("a broken line", |_, read| read.fill(0)),
    ("control characters", |state, read| read.iter_mut().for_each(|byte| *byte = (draw(state) >> 40) as u8 % 0x1d)),
    ("letters in lines", |state, read| {
        read.iter_mut().for_each(|byte| *byte = LETTERS[(draw(state) >> 40) as usize % LETTERS.len()]);
    }),
];

fn hour(session: Box<dyn Session>, noise: Noise) -> Hour {
    let now = Now { mono: Mono(1_000_000_000), wall: Timestamp(1_700_000_000_000), ..Now::default() };
    let mut line = Line { session: against_noise(session), now, hour: Hour::default() };
    line.give(Input::Opened(Resume::default()));
    let cpu = cpu_time();
    let (mut state, mut read) = (0x9e37_79b9_7f4a_7c15, [0; READ_BYTES]);
    let span = Duration::from_secs_f64(READ_BYTES as f64 / BYTES_A_SECOND as f64);
    let taken = allocation_counter::measure(|| {
        for _ in 0..BYTES_A_SECOND * SECONDS / READ_BYTES {
            noise(&mut state, &mut read);
            line.give(Input::Received(&read));
            line.wait(span);
        }
    });
    let core_share = (cpu_time() - cpu).as_secs_f64() / SECONDS as f64;
    Hour { held_bytes_max: usize::try_from(taken.bytes_max).unwrap_or(usize::MAX), core_share, ..line.hour }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Every driver that opens without being told anything, and astm in its other form.
fn sessions(limits: &DriverOptions) -> Vec<(String, Box<dyn Session>)> {
    let mut sessions = Vec::new();
    for known in DRIVERS {
        // A driver that must be told how its analyzer speaks has its noise tests beside its own.
        if let Ok(session) = converse(*known, limits) {
            sessions.push((known.name().to_owned(), session));
        }
    }
    let bare = DriverOptions { framing: Framing::None, ..limits.clone() };
    sessions.push((
        "astm without frames".to_owned(),
        converse(driver("astm").expect("a driver"), &bare).expect("astm has this framing"),
    ));
    assert!(sessions.len() > 4, "there are more drivers than that");
    sessions
}

fn check(limits: &DriverOptions, held_bytes_max: usize) {
    let mut wrong = Vec::new();
    for (name, noise) in NOISES {
        for (driver, session) in sessions(limits) {
            let hour = hour(session, noise);
            let told = format!(
                "{driver}, {name}: {} captures of {} bytes, {} events, {} bytes held, {:.3} % of a core",
                hour.captures,
                hour.captured_bytes,
                hour.events,
                hour.held_bytes_max,
                hour.core_share * 100.0
            );
            println!("{told}");
            let good = hour.captures <= CAPTURES_MAX
                && hour.events <= CAPTURES_MAX + EVENTS_MAX
                && hour.captured_bytes <= CAPTURED_BYTES_MAX
                && hour.held_bytes_max <= held_bytes_max;
            if !good {
                wrong.push(told);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_hour_of_noise_fills_neither_disk_nor_memory() {
    check(&DriverOptions::default(), HELD_BYTES_MAX);
}

#[test]
fn the_limits_of_the_settings_hold_for_noise_too() {
    let limits = DriverOptions { frame_bytes_max: 64 << 10, message_bytes_max: 256 << 10, ..DriverOptions::default() };
    check(&limits, HELD_SMALL_BYTES_MAX);
}
