//! Records between SOH and EOT (`framing: soh`): no ENQ, no numbers, no checksums, one ACK for the whole message. So the
//! Radiometer ABL9 speaks where it is set to ASTM.
//!
//! Invariant: the ACK is sent when the message is stored. Where it could not be stored the answer is NAK; what never ended
//! gets none.

use super::super::unasked::Unasked;
use super::AWAITED_SOH;
use super::message;
use crate::drivers::noise::Noise;
use crate::event::EventKind;
use crate::framing::astm::{ACK, EOT, NAK};
use crate::framing::bounded::{Messages, Piece};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, DriverOptions, Input, Session};
use crate::text_rules::Bounds;
use crate::time::{Mono, Now};
use std::time::Duration;

pub(super) const SOH: u8 = 0x01;
const SILENCE: Duration = Duration::from_secs(30);

pub(super) struct Soh {
    options: DriverOptions,
    messages: Messages,
    noise: Noise,
    heard: Mono,
    unasked: Unasked,
    /// What is sent when the outstanding commit is stored, and when it is not. `None`: nobody waits for an answer.
    answers: Option<(u8, u8)>,
    /// Bytes received and let go of, not yet stated.
    dropped: usize,
    closing: bool,
}

impl Session for Soh {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => {
                self.heard = now.mono;
                if !resume.unfinished.is_empty() && !planted(Mutant::UnfinishedForgotten) {
                    let reason = "the gateway stopped in the middle of a message";
                    let event = EventKind::rejected("interrupted", reason, resume.unfinished.len());
                    self.commit(Vec::new(), vec![event], None, actions);
                }
            }
            Input::Received(bytes) => {
                self.heard = now.mono;
                let full = self.unasked.is_busy() && self.messages.waiting() > self.options.message_bytes_max;
                if self.dropped > 0 || full {
                    self.dropped += bytes.len();
                } else {
                    self.messages.push(bytes);
                }
            }
            Input::Committed => {
                self.unasked.committed();
                actions.extend(self.answers.take().map(|(stored, _)| Action::Send(vec![stored])));
            }
            Input::CommitFailed => match self.answers.take() {
                Some((_, failed)) => {
                    self.unasked.give_up();
                    actions.push(Action::Send(vec![failed]));
                }
                None => self.unasked.failed(now),
            },
            Input::DeadlineReached if self.deadline().is_none_or(|due| now.mono < due) => {}
            Input::DeadlineReached => {
                if !self.unasked.settle(actions) {
                    self.silence(now, actions);
                }
            }
            // Nothing is asked here, and there is no child.
            Input::Answered(_) | Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => {
                self.closing = true;
                self.unasked.settle(actions);
            }
        }
        self.advance(now, actions);
    }

    fn deadline(&self) -> Option<Mono> {
        match self.unasked.due() {
            Some(due) => due,
            None if self.messages.is_open() || self.messages.has_line() => Some(self.heard.after(SILENCE)),
            None => self.noise.deadline(),
        }
    }
}

impl Soh {
    pub fn new(options: DriverOptions) -> Soh {
        let bounds = Bounds { begin: Some(SOH), end: Some(EOT), ..Bounds::default() };
        Soh {
            messages: Messages::new(bounds, options.message_bytes_max, options.frame_bytes_max),
            noise: Noise::new(AWAITED_SOH, options.frame_bytes_max, options.line),
            options,
            heard: Mono(0),
            unasked: Unasked::default(),
            answers: None,
            dropped: 0,
            closing: false,
        }
    }

    fn advance(&mut self, now: Now, actions: &mut Vec<Action>) {
        while !self.unasked.is_busy() {
            if let Some(piece) = self.messages.next_piece() {
                self.piece(now, piece, actions);
            } else if self.dropped > 0 {
                let rest = self.messages.take_rest();
                let dropped = crate::drivers::dropped(std::mem::take(&mut self.dropped), now.wall);
                self.commit(rest, vec![dropped], None, actions);
            } else if !self.closing || !self.silence(now, actions) {
                return;
            }
        }
    }

    fn silence(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        if let Some(piece) = self.messages.silence() {
            self.piece(now, piece, actions);
        } else if let Some((capture, event)) = self.noise.report(now, self.closing) {
            self.commit(capture, vec![event], None, actions);
        } else {
            return false;
        }
        true
    }

    fn piece(&mut self, now: Now, piece: Piece, actions: &mut Vec<Action>) {
        match piece {
            Piece::Outside(bytes) => self.noise.hear(now, &bytes),
            Piece::Message(bytes) => {
                self.noise.good_session();
                let events = message::events(text(&bytes), now, &self.options.reading);
                if planted(Mutant::AckBeforeCommit) {
                    actions.push(Action::Send(vec![ACK]));
                }
                self.commit(bytes, events, Some((ACK, NAK)), actions);
            }
            Piece::Broken(bytes) => {
                let (device, partial) = message::partial(whole_records(text(&bytes)), now, &self.options.reading);
                let reason = "a message began with SOH and never ended with EOT";
                let rejected = EventKind::rejected("interrupted", reason, bytes.len());
                self.commit(bytes, vec![EventKind { device, partial, ..rejected }], None, actions);
            }
            Piece::TooLong { head, bytes } => {
                let limit = self.options.message_bytes_max;
                let reason = format!("a message of {bytes} bytes is longer than message_bytes_max ({limit} bytes)");
                let event = EventKind::rejected("too_long", reason, head.len());
                self.commit(head, vec![event], Some((NAK, NAK)), actions);
            }
        }
    }

    fn commit(
        &mut self,
        capture: Vec<u8>,
        events: Vec<EventKind>,
        answers: Option<(u8, u8)>,
        actions: &mut Vec<Action>,
    ) {
        self.answers = answers;
        self.unasked.commit(capture, events, actions);
    }
}

/// The records, without the bytes around them.
fn text(message: &[u8]) -> &[u8] {
    let message = message.strip_prefix(&[SOH]).unwrap_or(message);
    message.strip_suffix(&[EOT]).unwrap_or(message)
}

/// As far as the last record that has its end.
fn whole_records(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| matches!(*byte, b'\r' | b'\n')).map_or(0, |end| end + 1);
    &text[..end]
}
