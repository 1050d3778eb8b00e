//! Frames: which are taken, which are known, which are refused.

use super::ending::conflict_report;
use super::{E1381, Pending};
use crate::drivers::astm::answer::Inquiry;
use crate::drivers::astm::assembly::Grown;
use crate::event::EventKind;
use crate::framing::astm::{ACK, Fault, FaultKind, Frame, NAK};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, CommitPoint};
use crate::time::Now;

impl E1381 {
    pub(super) fn frame(&mut self, now: Now, frame: Frame, actions: &mut Vec<Action>) {
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

    pub(super) fn refuse(&mut self, code: &'static str, raw: &[u8], actions: &mut Vec<Action>) {
        self.remember(raw);
        self.refused = Some(code);
        self.unanswered = true;
        actions.push(Action::Send(vec![NAK]));
    }

    pub(super) fn fault(&mut self, now: Now, fault: Fault, actions: &mut Vec<Action>) {
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
    pub(super) fn refuse_too_long(&mut self, raw: &[u8], reason: String, actions: &mut Vec<Action>) {
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
    pub(super) fn accept(&mut self, now: Now, frame: Frame, actions: &mut Vec<Action>) {
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
        self.style = self.style.seen(&frame.text, frame.last);
        if grown.messages.is_empty() && self.options.commit == CommitPoint::Message {
            self.raw.extend_from_slice(&frame.raw);
            self.stored(&frame, &grown);
            actions.push(Action::Send(vec![ACK]));
            return;
        }
        let complete = self.assembly.settles(&grown);
        let texts = grown.messages.iter().map(|range| &self.assembly.text()[range.clone()]);
        let mut events: Vec<EventKind> = texts.clone().flat_map(|text| self.facts(text, now)).collect();
        if events.iter().any(|event| event.query.is_some()) {
            self.asked = texts.flat_map(|text| Inquiry::all_of(text, &self.options.reading)).collect();
        }
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
        let unaccepted = self.unaccepted_bytes;
        let before = self.take_raw();
        let capture = [before.as_slice(), frame.raw.as_slice()].concat();
        let bytes = capture.len();
        actions.push(Action::Commit(Commit { capture, events, complete }));
        self.pending = Some(Pending::Frame { frame, grown, before, unaccepted, complete, bytes, received: self.heard });
    }

    /// The frame counts as received from now on.
    pub(super) fn stored(&mut self, frame: &Frame, grown: &Grown) {
        self.assembly.keep(grown);
        self.expected = (frame.number + 1) % 8;
        self.refused = None;
        self.unanswered = false;
        self.last = Some(frame.clone());
        self.noise.good_session();
    }
}
