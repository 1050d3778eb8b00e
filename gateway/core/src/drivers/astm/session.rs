//! A LIS01-A2 receiver as a state machine.
//!
//! Promises:
//! - A new frame is acknowledged only after its bytes are stored (`commit: frame`), or, for analyzers that repeat whole
//!   messages, the completing frame only after the whole message is (`commit: message`).
//! - A commit that fails is answered with NAK; one that succeeds more than 10 s after the frame came is answered with
//!   silence: the sender has given up or soon will, and its retransmission is then a known duplicate.
//! - What was acknowledged and never became whole is one `MESSAGE_REJECTED` (`interrupted`), at once or after the restart.
//! - Nothing is taken from the buffer while a commit is outstanding.

use super::assembly::{Assembly, Grown};
use super::capture::acknowledged_text;
use super::{message, noise::Noise};
use crate::event::EventKind;
use crate::framing::astm::{ACK, ENQ, Fault, FaultKind, Frame, NAK, Piece, Scanner};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, CommitPoint, DriverOptions, Input, Resume, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// LIS01-A2 6.5.2.3: a receiver discards the message after this silence.
const SILENCE: Duration = Duration::from_secs(30);
/// A sender waits 15 s for its answer (LIS01-A2 6.5.2.2); an ACK later than this could meet its next step.
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
    /// What came last, a frame or what may have been one, did not get its ACK.
    unanswered: bool,
    heard: Mono,
    /// When the session last moved: its 30 s run from here.
    moved: Mono,
    pending: Option<Pending>,
    /// A conclusion whose commit has failed, and when to try again.
    owed: Option<(Commit, Mono)>,
}

/// What is done when the outstanding commit is answered.
enum Pending {
    Frame {
        frame: Frame,
        grown: Grown,
        before: Vec<u8>,
        complete: bool,
        bytes: usize,
        received: Mono,
    },
    /// A message has been concluded. `restart`: by an ENQ that waits for its answer.
    Conclusion {
        commit: Commit,
        restart: bool,
    },
    /// A refusal has been reported; NAK either way.
    Refusal {
        bytes: usize,
        complete: bool,
    },
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
            Input::Closed => self.closed(now, actions),
        }
        while self.pending.is_none() && self.owed.is_none() {
            let piece = if self.in_session { self.scanner.next_inside() } else { self.scanner.next_outside() };
            let Some(piece) = piece else { break };
            self.take(now, piece, actions);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match (&self.pending, &self.owed) {
            (Some(_), _) => None,
            (None, Some((_, retry_at))) => Some(*retry_at),
            _ if !self.in_session => self.noise.deadline(),
            _ if self.scanner.awaits_line_end() => Some(self.heard.after(LINE_END)),
            _ => Some(self.moved.after(SILENCE)),
        }
    }
}

impl E1381 {
    pub fn new(options: DriverOptions) -> E1381 {
        E1381 {
            scanner: Scanner::new(options.frame_bytes_max),
            noise: Noise::new(options.frame_bytes_max),
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
            unanswered: false,
            heard: Mono(0),
            moved: Mono(0),
            pending: None,
            owed: None,
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
        self.noise.forget();
        self.reset();
        self.in_session = true;
        self.too_long_reported = false;
        self.moved = now.mono;
        self.raw.push(ENQ);
        actions.push(Action::Send(vec![ACK]));
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

    fn frame(&mut self, now: Now, frame: Frame, actions: &mut Vec<Action>) {
        self.moved = now.mono;
        let repeats = self.last.as_ref().filter(|last| last.number == frame.number);
        let same = repeats.is_some_and(|last| last.text == frame.text && last.last == frame.last);
        let planted_duplicate = same && planted(Mutant::DuplicateFrameStored);
        if same && !planted_duplicate {
            self.refused = None;
            self.unanswered = false;
            self.remember(&frame.raw);
            actions.push(Action::Send(vec![ACK]));
        } else if repeats.is_some() && !planted_duplicate {
            self.refuse("frame_number", &frame.raw, actions);
            self.conflict = Some(frame.text);
        } else if frame.number != self.expected && !planted_duplicate {
            self.refuse("frame_number", &frame.raw, actions);
        } else {
            self.accept(now, frame, actions);
        }
    }

    fn refuse(&mut self, code: &'static str, raw: &[u8], actions: &mut Vec<Action>) {
        self.remember(raw);
        self.refused = Some(code);
        self.unanswered = true;
        actions.push(Action::Send(vec![NAK]));
    }

    fn fault(&mut self, now: Now, fault: Fault, actions: &mut Vec<Action>) {
        self.moved = now.mono;
        match fault.kind {
            FaultKind::Checksum => self.refuse("checksum", &fault.raw, actions),
            FaultKind::Unnumbered => self.refuse("frame_number", &fault.raw, actions),
            FaultKind::TooLong => {
                let limit = self.options.frame_bytes_max;
                let reason = format!("a frame of {} bytes is longer than frame_bytes_max ({limit})", fault.bytes);
                self.refuse_too_long(&fault.raw, reason, actions);
            }
            FaultKind::Cut => {
                self.remember(&fault.raw);
                self.refused = Some("interrupted");
            }
        }
    }

    /// Only the first in a session is reported: the sender tries each frame six times.
    fn refuse_too_long(&mut self, raw: &[u8], reason: String, actions: &mut Vec<Action>) {
        if self.too_long_reported {
            return self.refuse("too_long", raw, actions);
        }
        self.too_long_reported = true;
        self.remember(raw);
        self.refused = Some("too_long");
        self.unanswered = true;
        let capture = self.take_raw();
        let bytes = capture.len();
        let complete = !self.assembly.is_open();
        let events = vec![EventKind::rejected("too_long", reason, bytes)];
        actions.push(Action::Commit(Commit { capture, events, complete }));
        self.pending = Some(Pending::Refusal { bytes, complete });
    }

    /// A good new frame: stored first, acknowledged then.
    fn accept(&mut self, now: Now, frame: Frame, actions: &mut Vec<Action>) {
        if self.conflict.as_ref() == Some(&frame.text) {
            self.conflict = None;
        }
        let grown = self.assembly.grow(&frame.text, frame.last, frame.raw.len());
        if self.assembly.bytes() > self.options.message_bytes_max {
            self.assembly.undo(&grown);
            let limit = self.options.message_bytes_max;
            let reason = format!("the message is longer than message_bytes_max ({limit} bytes)");
            return self.refuse_too_long(&frame.raw, reason, actions);
        }
        if grown.messages.is_empty() && self.options.commit == CommitPoint::Message {
            self.raw.extend_from_slice(&frame.raw);
            self.stored(&frame, &grown);
            actions.push(Action::Send(vec![ACK]));
            return;
        }
        let complete = self.assembly.settles(&grown);
        let texts = grown.messages.iter().map(|range| &self.assembly.text()[range.clone()]);
        let mut events: Vec<EventKind> = texts.flat_map(|text| message::events(text, now)).collect();
        // The sender went on without ever resolving it: its text would be lost without a word.
        if self.conflict.is_some() {
            events.push(conflict_report(self.raw.len()));
        }
        if planted(Mutant::CaptureWithoutEvents) {
            events.clear();
        }
        if planted(Mutant::AckBeforeCommit) {
            actions.push(Action::Send(vec![ACK]));
        }
        let before = self.take_raw();
        let capture = [before.as_slice(), frame.raw.as_slice()].concat();
        let bytes = capture.len();
        actions.push(Action::Commit(Commit { capture, events, complete }));
        self.pending = Some(Pending::Frame { frame, grown, before, complete, bytes, received: self.heard });
    }

    /// The frame counts as received from now on.
    fn stored(&mut self, frame: &Frame, grown: &Grown) {
        self.assembly.keep(grown);
        self.expected = (frame.number + 1) % 8;
        self.refused = None;
        self.unanswered = false;
        self.last = Some(frame.clone());
        self.noise.good_session();
    }

    fn committed(&mut self, now: Now, actions: &mut Vec<Action>) {
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
        match self.pending.take() {
            Some(Pending::Frame { grown, before, .. }) => {
                self.assembly.undo(&grown);
                self.raw = before;
                self.unanswered = true;
                self.moved = now.mono;
                if !planted(Mutant::AckBeforeCommit) {
                    let answer = if planted(Mutant::AckAfterFailedCommit) { ACK } else { NAK };
                    actions.push(Action::Send(vec![answer]));
                }
            }
            Some(Pending::Conclusion { commit, restart }) => {
                self.in_session = false;
                // Busy: the sender comes back after 10 s (LIS01-A2 6.2.3). Whatever it has sent meanwhile, it sends again.
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

    fn settle_debt(&mut self, actions: &mut Vec<Action>) {
        if let Some((commit, _)) = self.owed.take() {
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(Pending::Conclusion { commit, restart: false });
        }
    }

    fn report_noise(&mut self, now: Now, closed: bool, actions: &mut Vec<Action>) {
        if let Some((capture, event)) = self.noise.report(now, closed) {
            let commit = Commit { capture, events: vec![event], complete: true };
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(Pending::Conclusion { commit, restart: false });
        }
    }

    /// Ends what is open: whole if the sender ended it cleanly, else rejected.
    fn conclude(&mut self, now: Now, cause: Cause, actions: &mut Vec<Action>) {
        let mut broken_frame = false;
        if matches!(cause, Cause::Silence | Cause::Closed) {
            let (rest, is_frame) = self.scanner.take_rest();
            broken_frame = is_frame && rest.len() > 1;
            self.remember(&rest);
        }
        let clean =
            cause == Cause::Eot && !self.unanswered && self.refused.is_none() && !self.assembly.ends_in_record();
        let mut events = Vec::new();
        if self.assembly.is_open() && clean {
            events = message::events(self.assembly.text(), now);
            if planted(Mutant::CaptureWithoutEvents) {
                events.clear();
            }
        } else if self.assembly.is_open() {
            events.push(self.interruption(now, interruption_reason(cause, self.refused)));
        } else if let Some(code) = self.refused.take() {
            if code != "too_long" || !self.too_long_reported {
                events.push(EventKind::rejected(code, refusal_reason(code), self.raw.len()));
            }
            self.conflict = None;
        } else if broken_frame {
            events.push(EventKind::rejected("interrupted", "a frame began and never ended", self.raw.len()));
        }
        if self.conflict.take().is_some() {
            events.push(conflict_report(self.raw.len()));
        }
        if events.is_empty() && !self.assembly.is_open() {
            self.reset();
            if cause == Cause::Restart {
                self.begin(now, actions);
            }
            return;
        }
        self.conclude_with(events, cause == Cause::Restart, actions);
    }

    fn conclude_with(&mut self, events: Vec<EventKind>, restart: bool, actions: &mut Vec<Action>) {
        let commit = Commit { capture: self.take_raw(), events, complete: true };
        actions.push(Action::Commit(commit.clone()));
        self.in_session = false;
        self.pending = Some(Pending::Conclusion { commit, restart });
    }

    /// `MESSAGE_REJECTED` with the whole records of the open message.
    fn interruption(&self, now: Now, reason: String) -> EventKind {
        let (device, partial) = message::partial(self.assembly.whole_records(), now);
        let rejected = EventKind::rejected("interrupted", reason, self.stored_bytes + self.raw.len());
        EventKind { device, partial, ..rejected }
    }
}

fn conflict_report(bytes: usize) -> EventKind {
    let reason = "a frame repeated the number of the one before it with another text, and was refused";
    EventKind::rejected("frame_number", reason, bytes)
}

fn interruption_reason(cause: Cause, refused: Option<&str>) -> String {
    let how = match cause {
        Cause::Eot => "the analyzer gave the message up",
        Cause::Silence => "the analyzer fell silent for 30 s in the middle of a message",
        Cause::Restart => "the analyzer began a new session in the middle of a message",
        Cause::Closed => "the line was closed in the middle of a message",
    };
    match refused {
        Some(code) => format!("{how}, after a frame was refused ({code})"),
        None => how.to_owned(),
    }
}

fn refusal_reason(code: &str) -> &'static str {
    match code {
        "checksum" => {
            "the checksum of a frame was wrong, and no good copy of it came: noise on the line, or wrong settings"
        }
        "frame_number" => "a frame had a number that was neither the next nor the last, and no other copy of it came",
        "interrupted" => "a frame was broken off, and no whole copy of it came",
        _ => "a frame was too long, and no shorter one came",
    }
}
