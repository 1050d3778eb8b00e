//! `exec`: a protocol that a program of somebody else's speaks, a child process on JSON lines (docs/exec-driver.md). So a
//! protocol under a non-disclosure agreement needs no line of this project changed.
//!
//! Promises:
//! - What was received stays here until the child has had it stored or has said that it is no message. A child that ends in
//!   between costs nothing: the next one is told all of it as `unfinished`.
//! - A child answers `ready` to each `opened`; before that nothing it says counts, because it may mean what came before.
//! - Received bytes that no child takes are kept up to `message_bytes_max`, then dropped as `GAP`; that is captured a few
//!   times a day at most, so that noise fills no disk.
//! - A line of the child that means nothing is `MESSAGE_REJECTED` in our own words, and the child goes on.

mod said;
mod stated;

use super::flood::Flood;
use crate::error::ConfigError;
use crate::event::{EventKind, EventName, Gap};
use crate::framing::lines::{Line, Lines};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, Driver, DriverOptions, Input, Resume, RunningTest, Session};
use crate::time::{Mono, Now};
use said::{Fault, Proposal, Said, Telling};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Between two attempts to store what nobody can be asked to repeat.
const RETRY: Duration = Duration::from_secs(1);
/// A program that is not ready by then should be looked at.
const START: Duration = Duration::from_secs(30);
/// Between two captures of bytes that no child has taken.
const GAP_QUIET: Duration = Duration::from_secs(6 * 3600);
/// Between two reports of lines that mean nothing.
const BAD_LINES_QUIET: Duration = Duration::from_secs(600);
/// So many children may end over the same bytes; then the bytes are set apart.
const DEATHS_MAX: u32 = 3;
/// A line of the child's is at most this much longer than the longest message: base64, and the events beside it.
const LINE_FACTOR: usize = 4;

/// See the module.
pub struct Exec;

impl Driver for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn about(&self) -> &'static str {
        "A program of your own that speaks with the analyzer (docs/exec-driver.md)"
    }

    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        let bytes_max = options.message_bytes_max;
        Ok(Box::new(Conversation {
            bytes_max,
            lines: Lines::new(bytes_max.saturating_mul(LINE_FACTOR)),
            stored: Vec::new(),
            held: Vec::new(),
            told: 0,
            unready: 0,
            ready_by: None,
            wakes: None,
            deaths: 0,
            lost: Lost::default(),
            bad_lines: BadLines::default(),
            flood: Flood::default(),
            pending: None,
            owed: None,
            closing: false,
        }))
    }
}

struct Conversation {
    bytes_max: usize,
    /// What the child has written.
    lines: Lines,
    /// What is stored of a message that is not complete.
    stored: Vec<u8>,
    /// What came after that and is not stored.
    held: Vec<u8>,
    /// How much of it the last `opened` has told.
    told: usize,
    /// How many `opened` the child has not answered.
    unready: u32,
    /// When a child that is not ready is reported.
    ready_by: Option<Mono>,
    /// When the child wants to be woken.
    wakes: Option<Mono>,
    /// Children that have ended since one of them had something stored.
    deaths: u32,
    lost: Lost,
    bad_lines: BadLines,
    flood: Flood,
    pending: Option<Pending>,
    /// A commit of our own that has failed, and when it is tried again.
    owed: Option<(Commit, Mono)>,
    /// The port is gone: with the child's end all ends.
    closing: bool,
}

/// What is done when the outstanding action is answered.
enum Pending {
    /// A commit that the child waits for, and how many of the held bytes are stored by it.
    Childs {
        commit: Commit,
        bytes: usize,
    },
    Own(Commit),
    Question,
}

/// Bytes that no child has taken.
#[derive(Default)]
struct Lost {
    bytes: usize,
    quiet_until: Mono,
}

#[derive(Default)]
struct BadLines {
    untold: usize,
    quiet_until: Mono,
}

impl Session for Conversation {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(Resume { unfinished, running }) => {
                self.stored = unfinished.to_vec();
                if planted(Mutant::UnfinishedForgotten) {
                    self.stored.clear();
                }
                self.open(now, running, actions);
            }
            Input::Received(bytes) => self.received(now, bytes, actions),
            Input::Told(bytes) => {
                // It should wait for its answers. One that does not must not fill the memory.
                if self.pending.is_none() && self.owed.is_none() || self.lines.held() <= self.bytes_max {
                    self.lines.push(bytes);
                }
            }
            Input::ChildEnded => self.child_ended(now, actions),
            Input::Committed => self.committed(actions),
            Input::CommitFailed => self.commit_failed(now, actions),
            Input::Answered(orders) => {
                self.pending = None;
                tell(&Telling::orders(orders), actions);
            }
            Input::DeadlineReached => self.deadline_reached(now, actions),
            Input::Closed => self.closed(now, actions),
        }
        while self.pending.is_none() && self.owed.is_none() {
            match self.lines.next_line() {
                Some(line) => self.line(now, line, actions),
                None => break,
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match (&self.pending, &self.owed) {
            (Some(_), _) => None,
            (None, Some((_, retry_at))) => Some(*retry_at),
            (None, None) if self.is_ready() => self.wakes,
            (None, None) => self.ready_by,
        }
    }
}

impl Conversation {
    fn is_ready(&self) -> bool {
        self.unready == 0
    }

    /// A child begins, or begins anew.
    fn open(&mut self, now: Now, running: Option<&RunningTest>, actions: &mut Vec<Action>) {
        self.unready += 1;
        self.ready_by = Some(now.mono.after(START));
        self.wakes = None;
        self.told = self.held.len();
        tell(&Telling::opened(&self.stored, &self.held, running), actions);
    }

    fn received(&mut self, now: Now, bytes: &[u8], actions: &mut Vec<Action>) {
        self.held.extend_from_slice(bytes);
        if self.held.len() > self.bytes_max {
            self.overflow(now, actions);
        } else if self.is_ready() {
            tell(&Telling::received(now, bytes), actions);
        }
    }

    /// More was received than a message may have, and no child has had it stored.
    fn overflow(&mut self, now: Now, actions: &mut Vec<Action>) {
        let capture = std::mem::take(&mut self.held);
        self.lost.bytes += capture.len();
        self.stored.clear();
        self.deaths = 0;
        self.open(now, None, actions);
        if now.mono < self.lost.quiet_until || self.pending.is_some() || self.owed.is_some() {
            return;
        }
        self.lost.quiet_until = now.mono.after(GAP_QUIET);
        let gap = self.gap(now);
        self.state(capture, vec![gap], actions);
    }

    fn gap(&mut self, now: Now) -> EventKind {
        let bytes = std::mem::take(&mut self.lost.bytes);
        let reason = format!(
            "{bytes} received bytes were let go of: the analyzer's program has neither had them stored nor ignored them"
        );
        let gap = Gap { reason, from: None, to: Some(now.wall) };
        EventKind { gap: Some(gap), ..EventKind::bare(EventName::Gap) }
    }

    fn line(&mut self, now: Now, line: Line, actions: &mut Vec<Action>) {
        let said = match line {
            Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => return,
            Line::Whole(bytes) => said::read(&bytes),
            Line::TooLong { bytes, .. } => Err(Fault {
                reason: "is too long",
                why: format!("a line of {bytes} bytes is too long"),
                of_commit: true,
            }),
        };
        match said {
            Ok(Said::Ready) => {
                let was_ready = self.is_ready();
                self.unready = self.unready.saturating_sub(1);
                if self.is_ready() && !was_ready {
                    self.ready_by = None;
                    self.tell_held(now, actions);
                }
            }
            // Said to what came before the last `opened`.
            Ok(Said::Commit(_)) if !self.is_ready() => {
                tell(&Telling::Committed { committed: false, why: Some("begin anew") }, actions);
            }
            Ok(_) if !self.is_ready() => {}
            Ok(Said::Send(bytes)) => actions.push(Action::Send(bytes)),
            Ok(Said::Commit(proposal)) => self.propose(now, proposal, actions),
            Ok(Said::Ignore(bytes)) => {
                let bytes = bytes.unwrap_or(usize::MAX).min(self.held.len());
                self.held.drain(..bytes);
                self.deaths = 0;
            }
            Ok(Said::Deadline(span)) => self.wakes = span.map(|span| now.mono.after(span)),
            Ok(Said::Ask(question)) => {
                self.pending = Some(Pending::Question);
                actions.push(Action::Ask(question));
            }
            Err(fault) => self.bad_line(now, &fault, actions),
        }
    }

    /// What came while the child got ready. Up to then it was told nothing but `opened`.
    fn tell_held(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.told < self.held.len() {
            tell(&Telling::received(now, &self.held[self.told..]), actions);
        }
    }

    fn propose(&mut self, now: Now, proposal: Proposal, actions: &mut Vec<Action>) {
        let Proposal { capture, bytes, events, complete, message_id } = proposal;
        let bytes = bytes.unwrap_or(usize::MAX).min(self.held.len());
        let capture = capture.unwrap_or_else(|| self.held[..bytes].to_vec());
        if self.stored.len() + capture.len() > self.bytes_max && !complete {
            let why = format!("the message is longer than message_bytes_max ({} bytes)", self.bytes_max);
            tell(&Telling::Committed { committed: false, why: Some(&why) }, actions);
            let rejected = EventKind::rejected("too_long", why, capture.len());
            self.held.drain(..bytes);
            return self.state(capture, vec![rejected], actions);
        }
        let hash = Sha256::new();
        let hash = match &message_id {
            Some(id) => hash.chain_update(b"named").chain_update(id.expose()),
            None => hash
                .chain_update(now.mono.0.to_be_bytes())
                .chain_update(now.wall.0.to_be_bytes())
                .chain_update(&self.stored)
                .chain_update(&capture),
        };
        let message: [u8; 32] = hash.finalize().into();
        let stated = events.into_iter().enumerate();
        let mut events: Vec<EventKind> =
            stated.map(|(ordinal, event)| event.event(&message, ordinal, message_id.is_some())).collect();
        for event in &mut events {
            if let Some(rejection) = &mut event.rejection {
                rejection.bytes = capture.len();
            }
        }
        let rejected = !events.is_empty() && events.iter().all(|event| event.rejection.is_some());
        if rejected && complete && self.stored.is_empty() && !self.flood.admits(now, capture.len()) {
            let why = "too many messages were rejected: noise is not stored for ever";
            return tell(&Telling::Committed { committed: false, why: Some(why) }, actions);
        }
        events.splice(0..0, self.flood.counted());
        if planted(Mutant::CaptureWithoutEvents) {
            events.clear();
        }
        let commit = Commit { capture, events, complete };
        actions.push(Action::Commit(commit.clone()));
        self.pending = Some(Pending::Childs { commit, bytes });
    }

    fn bad_line(&mut self, now: Now, fault: &Fault, actions: &mut Vec<Action>) {
        if fault.of_commit {
            tell(&Telling::Committed { committed: false, why: Some(&fault.why) }, actions);
        }
        self.bad_lines.untold += 1;
        if now.mono < self.bad_lines.quiet_until {
            return;
        }
        self.bad_lines.quiet_until = now.mono.after(BAD_LINES_QUIET);
        let count = std::mem::take(&mut self.bad_lines.untold);
        let reason = match count {
            1 => format!("a line of the analyzer's program {}", fault.reason),
            _ => format!("{count} lines of the analyzer's program were not understood; the last one {}", fault.reason),
        };
        // The received bytes are not concerned: they are held as before.
        self.note(EventKind::rejected("bad_line", reason, 0), actions);
    }

    /// A fact that has nothing to do with the message that is under way.
    fn note(&mut self, event: EventKind, actions: &mut Vec<Action>) {
        let complete = self.stored.is_empty();
        self.commit_own(Commit { capture: Vec::new(), events: vec![event], complete }, actions);
    }

    /// A message ends with these events; nothing before it is unfinished.
    fn state(&mut self, capture: Vec<u8>, events: Vec<EventKind>, actions: &mut Vec<Action>) {
        self.stored.clear();
        self.commit_own(Commit { capture, events, complete: true }, actions);
    }

    fn commit_own(&mut self, commit: Commit, actions: &mut Vec<Action>) {
        actions.push(Action::Commit(commit.clone()));
        self.pending = Some(Pending::Own(commit));
    }

    fn committed(&mut self, actions: &mut Vec<Action>) {
        if let Some(Pending::Childs { commit, bytes }) = self.pending.take() {
            self.flood.stored();
            self.held.drain(..bytes.min(self.held.len()));
            self.deaths = 0;
            if commit.complete {
                self.stored.clear();
            } else {
                self.stored.extend_from_slice(&commit.capture);
            }
            tell(&Telling::Committed { committed: true, why: None }, actions);
        }
    }

    fn commit_failed(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.pending.take() {
            // The child decides: an analyzer that is refused sends it again.
            Some(Pending::Childs { .. }) => {
                self.flood.not_stored();
                tell(&Telling::Committed { committed: false, why: Some("the store took nothing") }, actions);
            }
            Some(Pending::Own(commit)) => self.owed = Some((commit, now.mono.after(RETRY))),
            Some(Pending::Question) | None => {}
        }
    }

    fn child_ended(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.lines.take_rest();
        let was_ready = self.is_ready();
        self.unready = 0;
        if self.closing {
            return self.conclude(now, actions);
        }
        // One that was never ready ended over something else, and what is kept is kept for one that is mended.
        if was_ready {
            let bytes = self.stored.len() + self.held.len();
            self.deaths = if bytes == 0 { 0 } else { self.deaths + 1 };
        }
        let poison = was_ready && self.deaths >= DEATHS_MAX && self.pending.is_none() && self.owed.is_none();
        if !poison {
            return self.open(now, None, actions);
        }
        self.deaths = 0;
        let capture = std::mem::take(&mut self.held);
        self.stored.clear();
        self.open(now, None, actions);
        let reason = format!("the analyzer's program has ended {DEATHS_MAX} times over these bytes");
        let rejected = EventKind::rejected("program_ended", reason, capture.len());
        self.state(capture, vec![rejected], actions);
    }

    fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|due| now.mono < due) {
            return;
        }
        if let Some((commit, _)) = self.owed.take() {
            self.commit_own(commit, actions);
        } else if self.is_ready() {
            self.wakes = None;
            tell(&Telling::Deadline(true), actions);
        } else {
            self.ready_by = None;
            let reason = "the analyzer's program has not said that it is ready; what the analyzer sends is kept for it";
            self.note(EventKind::alarm("program_silent", reason), actions);
        }
    }

    /// A child that is ready may still have something stored; then it ends.
    fn closed(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.closing = true;
        match self.is_ready() {
            true => tell(&Telling::Closed(true), actions),
            false => self.conclude(now, actions),
        }
    }

    fn conclude(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.pending.is_some() {
            return;
        }
        if let Some((commit, _)) = self.owed.take() {
            return self.commit_own(commit, actions);
        }
        let mut events = Vec::new();
        let capture = std::mem::take(&mut self.held);
        if !capture.is_empty() || !self.stored.is_empty() {
            let reason = "a message began and never became complete, or the analyzer's program did not run";
            events.push(EventKind::rejected("interrupted", reason, capture.len()));
        }
        if self.lost.bytes > 0 {
            events.push(self.gap(now));
        }
        if !events.is_empty() {
            self.state(capture, events, actions);
        }
    }
}

fn tell(telling: &Telling<'_>, actions: &mut Vec<Action>) {
    actions.push(Action::Tell(telling.line()));
}
