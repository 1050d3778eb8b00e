//! Records without frames (`framing: none`): ended by CR, LF or CRLF, a message from H to L. There is nobody to
//! acknowledge to, so a message that does not end cannot be told from one that goes on: silence decides.

use super::assembly::{Assembly, record_type};
use super::{AWAITED_RECORDS, message};
use crate::drivers::noise::Noise;
use crate::event::EventKind;
use crate::framing::astm::{CR, ENQ, LF};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, DriverOptions, Input, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// A last record without its end is complete after this silence.
const IDLE: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Plain {
    options: DriverOptions,
    /// Received and not yet looked at, from `start`.
    held: Vec<u8>,
    start: usize,
    searched: usize,
    assembly: Assembly,
    raw: Vec<u8>,
    noise: Noise,
    /// A message over the limit is being skipped, up to its L or the next H.
    skipping: bool,
    heard: Mono,
    pending: Option<Commit>,
    owed: Option<(Commit, Mono)>,
    /// Bytes received and let go of, not yet stated. Once there are any, all goes until what is held is stored: else a
    /// record that is cut off there would go on with the end of another.
    dropped: usize,
}

impl Session for Plain {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => {
                self.heard = now.mono;
                if !resume.unfinished.is_empty() && !planted(Mutant::UnfinishedForgotten) {
                    let grown = self.assembly.grow(resume.unfinished, false, resume.unfinished.len());
                    self.assembly.keep(&grown);
                    self.interrupt(now, "the gateway stopped in the middle of a message", actions);
                }
            }
            Input::Received(bytes) => {
                self.heard = now.mono;
                let waiting = self.pending.is_some() || self.owed.is_some();
                let full = self.held.len() - self.start > self.options.message_bytes_max;
                if self.dropped > 0 || (waiting && full) {
                    self.dropped += bytes.len();
                } else {
                    self.held.drain(..self.start);
                    self.start = 0;
                    self.held.extend_from_slice(bytes);
                }
            }
            Input::Committed => self.pending = None,
            // Nobody can be asked to repeat it: it is tried again until it is stored.
            Input::CommitFailed => self.owed = self.pending.take().map(|commit| (commit, now.mono.after(RETRY))),
            Input::DeadlineReached => self.deadline_reached(now, actions),
            // Nothing is asked here, and there is no child.
            Input::Answered(_) | Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => self.closed(now, actions),
        }
        self.advance(now, actions);
    }

    fn deadline(&self) -> Option<Mono> {
        if self.pending.is_some() {
            return None;
        }
        if let Some((_, retry_at)) = &self.owed {
            return Some(*retry_at);
        }
        if self.start < self.held.len() {
            return Some(self.heard.after(IDLE));
        }
        match self.assembly.is_open() {
            true => Some(self.heard.after(SILENCE)),
            false => self.noise.deadline(),
        }
    }
}

impl Plain {
    pub fn new(options: DriverOptions) -> Plain {
        Plain {
            noise: Noise::new(AWAITED_RECORDS, options.frame_bytes_max, options.line),
            options,
            held: Vec::new(),
            start: 0,
            searched: 0,
            assembly: Assembly::default(),
            raw: Vec::new(),
            skipping: false,
            heard: Mono(0),
            pending: None,
            owed: None,
            dropped: 0,
        }
    }

    fn advance(&mut self, now: Now, actions: &mut Vec<Action>) {
        while self.pending.is_none() && self.owed.is_none() {
            let rest = &self.held[self.start..];
            let from = self.searched.min(rest.len());
            let end = rest[from..].iter().position(|byte| matches!(*byte, CR | LF)).map(|place| place + from);
            // A record that never ends may fill the memory as far as a message may, no further.
            let full = rest.len() > self.options.message_bytes_max;
            let Some(length) = end.map(|end| end + 1).or(full.then_some(rest.len())) else {
                if self.dropped == 0 {
                    self.searched = rest.len();
                    return;
                }
                self.state_dropped(now, actions);
                continue;
            };
            self.line(now, length, actions);
        }
    }

    /// All that was held is stored or looked at: now comes the hole. The message it falls into is broken off, and nothing
    /// is read before the next H.
    fn state_dropped(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.raw.extend_from_slice(&self.held[self.start..]);
        self.start = self.held.len();
        self.searched = 0;
        self.skipping = true;
        let mut events = vec![crate::drivers::dropped(std::mem::take(&mut self.dropped), now.wall)];
        if self.assembly.is_open() {
            let (device, partial) = message::partial(self.assembly.whole_records(), now, &self.options.reading);
            let reason = "bytes were dropped in the middle of a message, while the store took nothing";
            let rejected = EventKind::rejected("interrupted", reason, self.raw.len());
            events.insert(0, EventKind { device, partial, ..rejected });
        }
        self.commit(events, actions);
    }

    /// One line, its end included; or the rest of the input, if nothing more can come.
    fn line(&mut self, now: Now, length: usize, actions: &mut Vec<Action>) {
        let line = self.held[self.start..self.start + length].to_vec();
        let letter = record_type(&line);
        let open = self.assembly.is_open();
        if open && letter == Some(b'H') {
            // Without frames only L shows that a message is whole. The H is looked at again after the commit.
            return self.interrupt(now, "a new message began before the last one had ended", actions);
        }
        self.start += length;
        self.searched = 0;
        if self.skipping && letter != Some(b'H') {
            self.skipping = letter != Some(b'L');
            return;
        }
        if !open && letter != Some(b'H') {
            let blank = line.iter().all(|byte| *byte <= b' ' && *byte != ENQ);
            return if blank { self.raw.clear() } else { self.noise.hear(now, &line) };
        }
        self.skipping = false;
        self.noise.good_session();
        self.raw.extend_from_slice(&line);
        let text: Vec<u8> = line.iter().copied().filter(|byte| !matches!(*byte, CR | LF)).collect();
        let grown = self.assembly.grow(&text, true, line.len());
        if self.assembly.bytes() > self.options.message_bytes_max {
            return self.refuse(actions);
        }
        if let Some(range) = grown.messages.first() {
            let mut events = message::events(&self.assembly.text()[range.clone()], now, &self.options.reading);
            if planted(Mutant::CaptureWithoutEvents) {
                events.clear();
            }
            self.commit(events, actions);
        }
    }

    fn refuse(&mut self, actions: &mut Vec<Action>) {
        self.skipping = true;
        let limit = self.options.message_bytes_max;
        let reason = format!("the message is longer than message_bytes_max ({limit} bytes)");
        self.raw.truncate(self.options.frame_bytes_max);
        let event = EventKind::rejected("too_long", reason, self.raw.len());
        self.commit(vec![event], actions);
    }

    fn interrupt(&mut self, now: Now, reason: &str, actions: &mut Vec<Action>) {
        let (device, partial) = message::partial(self.assembly.whole_records(), now, &self.options.reading);
        let rejected = EventKind::rejected("interrupted", reason, self.raw.len());
        self.commit(vec![EventKind { device, partial, ..rejected }], actions);
    }

    fn commit(&mut self, events: Vec<EventKind>, actions: &mut Vec<Action>) {
        self.assembly.clear();
        let commit = Commit { capture: std::mem::take(&mut self.raw), events, complete: true };
        actions.push(Action::Commit(commit.clone()));
        self.pending = Some(commit);
    }

    fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|due| now.mono < due) {
            return;
        }
        if let Some((commit, _)) = self.owed.take() {
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(commit);
        } else if self.start < self.held.len() {
            self.idle(now, actions);
        } else if self.assembly.is_open() {
            self.interrupt(now, "the analyzer fell silent for 30 s in the middle of a message", actions);
        } else if let Some((capture, event)) = self.noise.report(now, false) {
            self.raw = capture;
            self.commit(vec![event], actions);
        }
    }

    /// What has no line end and gets none: an L completes its message, anything else breaks it off.
    fn idle(&mut self, now: Now, actions: &mut Vec<Action>) {
        let rest = self.held.len() - self.start;
        if !self.assembly.is_open() || record_type(&self.held[self.start..]) == Some(b'L') {
            return self.line(now, rest, actions);
        }
        self.raw.extend_from_slice(&self.held[self.start..]);
        self.start = self.held.len();
        self.searched = 0;
        self.interrupt(now, "the analyzer fell silent in the middle of a record", actions);
    }

    fn closed(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.pending.is_some() {
            return;
        }
        if let Some((commit, _)) = self.owed.take() {
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(commit);
            return;
        }
        if self.start < self.held.len() {
            self.idle(now, actions);
        }
        if self.pending.is_some() {
            return;
        }
        if self.assembly.is_open() {
            self.interrupt(now, "the line was closed in the middle of a message", actions);
        } else if let Some((capture, event)) = self.noise.report(now, true) {
            self.raw = capture;
            self.commit(vec![event], actions);
        }
    }
}
