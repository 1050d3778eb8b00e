//! A session at the end of stored bytes instead of a port: `decode` and `redecode` see through it what a driver makes of them.
//!
//! Equal bytes give equal events: time stands still while they are read, and at their end it runs on from deadline to
//! deadline until the session awaits nothing more. Each commit succeeds at once, and no question has an answer.

use crate::drivers::converse;
use crate::error::ConfigError;
use crate::event::EventKind;
use crate::session::{Action, Driver, DriverOptions, Input, Resume, Session};
use crate::time::Now;
use std::collections::VecDeque;

/// No session has so many deadlines one after the other: one that has is broken, and must not hang who asked.
const DEADLINES_MAX: usize = 1000;

/// See the module.
pub struct Replay {
    session: Box<dyn Session>,
    now: Now,
    events: Vec<EventKind>,
    sent: Vec<u8>,
    understood: bool,
}

/// What the bytes have said.
pub struct Replayed {
    pub events: Vec<EventKind>,
    /// What the session would have sent.
    pub sent: Vec<u8>,
    /// Whether anything was committed: a message may be understood and still say nothing.
    pub understood: bool,
}

/// What a driver makes today of one stored message; `ended` as for [`Driver::with_its_start`]. It is read alone: what an
/// earlier message of its conversation has said is not known.
pub fn reread(
    driver: &dyn Driver,
    options: &DriverOptions,
    message: &[u8],
    ended: bool,
    now: Now,
) -> Result<Replayed, ConfigError> {
    let mut replay = Replay::new(converse(driver, options)?, now);
    replay.receive(&driver.with_its_start(options, message, ended));
    Ok(replay.finish())
}

impl Replay {
    /// Opens the session as if at that time.
    pub fn new(session: Box<dyn Session>, now: Now) -> Replay {
        let mut replay = Replay { session, now, events: Vec::new(), sent: Vec::new(), understood: false };
        replay.give(Input::Opened(Resume::default()));
        replay
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.give(Input::Received(bytes));
    }

    /// Nothing more comes.
    pub fn finish(mut self) -> Replayed {
        for _ in 0..DEADLINES_MAX {
            let Some(due) = self.session.deadline() else { break };
            self.now.mono = self.now.mono.max(due);
            self.give(Input::DeadlineReached);
        }
        self.give(Input::Closed);
        Replayed { events: self.events, sent: self.sent, understood: self.understood }
    }

    fn give(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.session.handle(self.now, input, &mut actions);
        let mut waiting = VecDeque::from(actions);
        while let Some(action) = waiting.pop_front() {
            let mut more = Vec::new();
            match action {
                Action::Commit(commit) => {
                    self.understood |= commit.complete;
                    self.events.extend(commit.events);
                    self.session.handle(self.now, Input::Committed, &mut more);
                }
                Action::Ask(_) => self.session.handle(self.now, Input::Answered(&[]), &mut more),
                Action::Send(bytes) => self.sent.extend_from_slice(&bytes),
                Action::Tell(_) | Action::Taken => {}
            }
            waiting.extend(more);
        }
    }
}
