//! A LIS01-A2 receiver as a state machine, and in [`sending`] its sender for what host queries are answered with.
//!
//! Promises:
//! - A new frame is acknowledged only after its bytes are stored (`commit: frame`), or, for analyzers that repeat whole
//!   messages, the frame that completes it by its L only after the whole message is (`commit: message`). There a message
//!   without L is stored at EOT, when its frames have had their ACKs: an ETX may end a record alone, so that no frame can be
//!   known to be such a message's last.
//! - A commit that fails is answered with NAK; one that succeeds more than 10 s after the frame came is answered with
//!   silence: the sender has given up or soon will, and its retransmission is then a known duplicate.
//! - What was acknowledged and never became whole is one `MESSAGE_REJECTED` (`interrupted`), at once or after the restart.
//! - Nothing is taken from the buffer while a commit is outstanding.

mod ending;
mod frames;
mod sending;

use super::AWAITED;
use super::answer::{Inquiry, Style};
use super::assembly::{Assembly, Grown};
use super::capture::acknowledged_text;
use super::resend::Broken;
use crate::drivers::noise::Noise;
use crate::framing::astm::{ACK, ENQ, Frame, NAK, Piece, Scanner};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, DriverOptions, Input, Resume, Session};
use crate::time::{Mono, Now};
use sending::{Heard, Sender};
use std::time::Duration;

/// LIS01-A2: a receiver discards the message after this silence.
const SILENCE: Duration = Duration::from_secs(30);
/// A sender waits 15 s for its answer (LIS01-A2); an ACK later than this could meet its next step.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a frame's CR LF may lag behind its checksum.
const LINE_END: Duration = Duration::from_millis(200);
/// How long after a failed commit it is tried again, where no analyzer is waiting that could repeat it.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct E1381 {
    options: DriverOptions,
    scanner: Scanner,
    assembly: Assembly,
    noise: Noise,
    /// Between ENQ and EOT.
    in_session: bool,
    expected: u8,
    last: Option<Frame>,
    /// Bytes received since the last capture.
    raw: Vec<u8>,
    /// How many of them are no accepted frame: these are kept up to the longest frame's length.
    unaccepted_bytes: usize,
    /// Bytes of the open message that are already stored.
    stored_bytes: usize,
    /// Why the last frame was refused that is not yet made good.
    refused: Option<&'static str>,
    /// The text of a frame that repeated its predecessor's number with another text, until it comes under its own number.
    conflict: Option<Vec<u8>>,
    too_long_reported: bool,
    /// The last message that was broken off: the analyzer should send it again.
    broken: Option<Broken>,
    /// What came last, a frame or what may have been one, did not get its ACK.
    unanswered: bool,
    heard: Mono,
    /// When the session last moved: its 30 s run from here.
    moved: Mono,
    pending: Option<Pending>,
    /// A conclusion whose commit has failed, and when to try again.
    owed: Option<(Commit, Mono)>,
    /// How the open message is laid into frames.
    style: Style,
    /// The queries of the commit that is outstanding.
    asked: Vec<Inquiry>,
    sender: Sender,
}

/// What is done when the outstanding commit is answered.
enum Pending {
    Frame {
        frame: Frame,
        grown: Grown,
        /// What was in the capture besides the frame, and how much of that counts as unaccepted: put back on failure.
        before: Vec<u8>,
        unaccepted: usize,
        complete: bool,
        bytes: usize,
        received: Mono,
    },
    /// A message has been concluded. `restart`: by an ENQ that waits for its answer.
    Conclusion { commit: Commit, restart: bool },
    /// A refusal has been reported; NAK either way.
    Refusal { bytes: usize, complete: bool },
}

/// Why a session or a message ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Eot,
    Silence,
    Restart,
    Closed,
}

impl Session for E1381 {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => self.opened(now, resume, actions),
            Input::Received(bytes) => self.received(now, bytes),
            Input::Committed => self.committed(now, actions),
            Input::CommitFailed => self.commit_failed(now, actions),
            Input::DeadlineReached => self.deadline_reached(now, actions),
            Input::Answered(orders) => self.sender.answered(orders, &self.options.reading),
            // There is no child.
            Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => {
                self.sender.close();
                self.closed(now, actions);
            }
        }
        while self.is_free() {
            if self.sender.is_talking() {
                let Some(byte) = self.scanner.next_answer() else { break };
                if self.sender.hear(now, byte, actions) == Heard::Interrupted {
                    self.begin(now, actions);
                }
                continue;
            }
            // In a conversation that was recorded, the ENQ that we have yielded to was the answered one.
            if !self.in_session && self.sender.has_yielded() && self.scanner.begins_frame() {
                self.begin_unanswered(now);
            }
            let piece = if self.in_session { self.scanner.next_inside() } else { self.scanner.next_outside() };
            let Some(piece) = piece else { break };
            self.take(now, piece, actions);
        }
        self.speak(now, actions);
    }

    fn deadline(&self) -> Option<Mono> {
        match (&self.pending, &self.owed) {
            (Some(_), _) => None,
            (None, Some((_, retry_at))) => Some(*retry_at),
            _ if self.sender.is_asking() => None,
            _ if !self.in_session => [self.noise.deadline(), self.sender.deadline()].into_iter().flatten().min(),
            _ if self.scanner.awaits_line_end() => Some(self.heard.after(LINE_END)),
            // A long frame on a slow line takes more than 30 s: while it comes there is no silence.
            _ if self.scanner.in_frame() => Some(self.heard.max(self.moved).after(SILENCE)),
            _ => Some(self.moved.after(SILENCE)),
        }
    }
}

impl E1381 {
    pub fn new(options: DriverOptions) -> E1381 {
        E1381 {
            scanner: Scanner::new(options.frame_bytes_max),
            noise: Noise::new(AWAITED, options.frame_bytes_max, options.line),
            options,
            assembly: Assembly::default(),
            in_session: false,
            expected: 1,
            last: None,
            raw: Vec::new(),
            unaccepted_bytes: 0,
            stored_bytes: 0,
            refused: None,
            conflict: None,
            too_long_reported: false,
            broken: None,
            unanswered: false,
            heard: Mono(0),
            moved: Mono(0),
            pending: None,
            owed: None,
            style: Style::default(),
            asked: Vec::new(),
            sender: Sender::default(),
        }
    }

    /// Whether what was received may be looked at.
    fn is_free(&self) -> bool {
        self.pending.is_none() && self.owed.is_none() && !self.sender.is_asking()
    }

    /// Says what there is to say while the line is nobody's.
    fn speak(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.in_session || !self.is_free() || self.scanner.held() > 0 {
            return;
        }
        match self.sender.given_up() {
            Some(alarm) => self.conclude_with(vec![alarm], false, actions),
            None => self.sender.advance(now, actions),
        }
    }

    /// The gateway or the port has come back in the middle of a message: it is concluded before anything else.
    fn opened(&mut self, now: Now, resume: Resume<'_>, actions: &mut Vec<Action>) {
        self.heard = now.mono;
        if resume.unfinished.is_empty() || planted(Mutant::UnfinishedForgotten) {
            return;
        }
        self.noise.mute_for(now, SILENCE);
        let grown = self.assembly.grow(&acknowledged_text(resume.unfinished, self.options.frame_bytes_max), false, 0);
        // Whole messages at its beginning were stored with their events; only their last frame held more.
        self.assembly.keep(&grown);
        self.stored_bytes = resume.unfinished.len();
        let reason = "the gateway or the line stopped in the middle of a message; the analyzer should send it again";
        let event = self.interruption(now, reason.to_owned());
        self.conclude_with(vec![event], false, actions);
    }

    fn received(&mut self, now: Now, bytes: &[u8]) {
        self.heard = now.mono;
        // The link holds bytes back while a commit is outstanding; one that does not must not fill the memory.
        let waiting = self.pending.is_some() || self.owed.is_some();
        if !waiting || self.scanner.held() <= self.options.message_bytes_max {
            self.scanner.push(bytes);
        }
    }

    fn take(&mut self, now: Now, piece: Piece, actions: &mut Vec<Action>) {
        if !self.in_session {
            return match piece {
                Piece::Noise(bytes) => self.noise.hear(now, &bytes),
                _ => self.begin(now, actions),
            };
        }
        match piece {
            Piece::Noise(bytes) => {
                // A frame whose STX was lost is noise too, and its sender has had no answer.
                self.unanswered |=
                    bytes.iter().any(|byte| !matches!(*byte, 0 | 0xff | ACK | NAK | b' ' | b'\r' | b'\n'));
                self.remember(&bytes);
            }
            Piece::Enq => self.conclude(now, Cause::Restart, actions),
            Piece::Eot => self.conclude(now, Cause::Eot, actions),
            Piece::Frame(frame) => self.frame(now, frame, actions),
            Piece::Fault(fault) => self.fault(now, fault, actions),
        }
    }

    /// ENQ has come and nothing is left of what was before it.
    fn begin(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.begin_unanswered(now);
        // An answer to a call that was given up would be taken for the one to the next call: the sender would be one answer
        // ahead from then on, and count its last frame as acknowledged before it is stored.
        if !self.scanner.is_given_up() {
            actions.push(Action::Send(vec![ACK]));
        }
    }

    fn begin_unanswered(&mut self, now: Now) {
        self.noise.forget();
        self.reset();
        self.sender.give_way();
        self.in_session = true;
        self.too_long_reported = false;
        self.moved = now.mono;
        self.raw.push(ENQ);
    }

    /// Forgets the message and the session.
    fn reset(&mut self) {
        self.assembly.clear();
        self.in_session = false;
        self.expected = 1;
        self.last = None;
        self.raw.clear();
        self.unaccepted_bytes = 0;
        self.stored_bytes = 0;
        self.refused = None;
        self.conflict = None;
        self.unanswered = false;
        self.style = Style::default();
    }

    /// Keeps bytes that are no accepted frame for the next capture, within bounds.
    fn remember(&mut self, bytes: &[u8]) {
        let room = self.options.frame_bytes_max.saturating_sub(self.unaccepted_bytes).min(bytes.len());
        self.raw.extend_from_slice(&bytes[..room]);
        self.unaccepted_bytes += room;
    }

    fn take_raw(&mut self) -> Vec<u8> {
        self.unaccepted_bytes = 0;
        std::mem::take(&mut self.raw)
    }

    fn committed(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.sender.note(std::mem::take(&mut self.asked), self.style);
        match self.pending.take() {
            Some(Pending::Frame { frame, grown, complete, bytes, received, .. }) => {
                self.stored(&frame, &grown);
                self.conflict = None;
                self.stored_bytes = if complete { 0 } else { self.stored_bytes + bytes };
                self.moved = now.mono;
                self.unanswered = now.mono.since(received) > ANSWER;
                if !self.unanswered && !planted(Mutant::AckBeforeCommit) {
                    actions.push(Action::Send(vec![ACK]));
                }
            }
            Some(Pending::Conclusion { restart, .. }) => {
                self.reset();
                if restart {
                    self.begin(now, actions);
                }
            }
            Some(Pending::Refusal { bytes, complete }) => {
                self.stored_bytes = if complete { 0 } else { self.stored_bytes + bytes };
                self.moved = now.mono;
                actions.push(Action::Send(vec![NAK]));
            }
            None => {}
        }
    }

    fn commit_failed(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.asked.clear();
        match self.pending.take() {
            Some(Pending::Frame { grown, before, unaccepted, .. }) => {
                self.assembly.undo(&grown);
                self.raw = before;
                self.unaccepted_bytes = unaccepted;
                self.unanswered = true;
                self.moved = now.mono;
                if !planted(Mutant::AckBeforeCommit) {
                    let answer = if planted(Mutant::AckAfterFailedCommit) { ACK } else { NAK };
                    actions.push(Action::Send(vec![answer]));
                }
            }
            Some(Pending::Conclusion { commit, restart }) => {
                self.in_session = false;
                // Busy: the sender comes back after 10 s (LIS01-A2). Whatever it has sent meanwhile, it sends again.
                let (held, _) = self.scanner.take_rest();
                if restart || held.contains(&ENQ) {
                    actions.push(Action::Send(vec![NAK]));
                }
                self.owed = Some((commit, now.mono.after(RETRY)));
            }
            Some(Pending::Refusal { .. }) => {
                self.too_long_reported = false;
                self.moved = now.mono;
                actions.push(Action::Send(vec![NAK]));
            }
            None => {}
        }
    }

    fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|due| now.mono < due) {
            return;
        }
        if self.owed.is_some() {
            self.settle_debt(actions);
        } else if !self.in_session {
            self.sender.deadline_reached(now, actions);
            self.report_noise(now, false, actions);
        } else if self.scanner.awaits_line_end() {
            self.scanner.close_line();
        } else {
            self.conclude(now, Cause::Silence, actions);
        }
    }

    fn closed(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.pending.is_some() {
            return;
        }
        if self.owed.is_some() {
            self.settle_debt(actions);
        } else if self.in_session {
            self.conclude(now, Cause::Closed, actions);
        } else {
            self.report_noise(now, true, actions);
        }
    }
}
