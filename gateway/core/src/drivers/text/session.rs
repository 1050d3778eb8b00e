//! One conversation in plain text: messages come in, and where the analyzer waits for an answer it gets one.
//!
//! Invariant: what says "accepted" is sent when the message is stored, never before. An analyzer that listens to answers
//! keeps what could not be stored; for one that does not, the commit is tried again until it is.

use super::super::unasked::Unasked;
use super::message;
use super::stray::Stray;
use crate::event::EventKind;
use crate::framing::bounded::{Messages, Piece};
use crate::reading::Encoding;
use crate::session::{Action, DriverOptions, Input, Resume, Session};
use crate::text_rules::TextRules;
use crate::time::{Mono, Now};
use std::sync::Arc;
use std::time::Duration;

/// A message that no silence ends is broken off after this one.
const SILENCE: Duration = Duration::from_secs(30);
/// A line between messages that has no end yet is looked at after this silence.
const LINE_SILENCE: Duration = Duration::from_secs(2);

pub(super) struct Conversation {
    rules: Arc<TextRules>,
    encoding: Encoding,
    message_bytes_max: usize,
    messages: Messages,
    stray: Stray,
    unasked: Unasked,
    /// What is said when the outstanding commit is stored. `None`: the analyzer listens to no answer and repeats nothing.
    answer: Option<Vec<u8>>,
    heard: Mono,
    /// Bytes received and let go of, not yet stated.
    dropped: usize,
    /// What is read next lacks what was dropped before it.
    maimed: bool,
    /// The port is gone: what is held is stated.
    closing: bool,
    /// Tests stated so far.
    serial: u64,
}

impl Session for Conversation {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => self.opened(now, resume, actions),
            Input::Received(bytes) => self.received(now, bytes, actions),
            Input::Committed => {
                self.unasked.committed();
                if let Some(answer) = self.answer.take() {
                    actions.push(Action::Send(answer));
                }
            }
            Input::CommitFailed => match self.answer.take() {
                Some(_) => {
                    self.unasked.give_up();
                    actions.extend(self.rules.answers.rejected.clone().map(Action::Send));
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
        self.unasked.due().unwrap_or_else(|| self.quiet_at())
    }
}

impl Conversation {
    pub fn new(rules: Arc<TextRules>, options: &DriverOptions) -> Conversation {
        let messages = Messages::new(rules.bounds.clone(), options.message_bytes_max, options.frame_bytes_max);
        Conversation {
            rules,
            encoding: options.reading.encoding,
            message_bytes_max: options.message_bytes_max,
            messages,
            stray: Stray::new(options.frame_bytes_max, options.line),
            unasked: Unasked::default(),
            answer: None,
            heard: Mono(0),
            dropped: 0,
            maimed: false,
            closing: false,
            serial: 0,
        }
    }

    fn opened(&mut self, now: Now, resume: Resume<'_>, actions: &mut Vec<Action>) {
        self.heard = now.mono;
        // Nothing is stored before a message is whole; another driver may have left something here.
        if !resume.unfinished.is_empty() {
            let reason = "the gateway stopped in the middle of a message";
            let event = EventKind::rejected("interrupted", reason, resume.unfinished.len());
            self.unasked.commit(Vec::new(), vec![event], actions);
        }
    }

    fn received(&mut self, now: Now, bytes: &[u8], actions: &mut Vec<Action>) {
        // The silence that ends a message may be over before anybody was told so.
        if !self.unasked.is_busy() && self.quiet_at().is_some_and(|due| due <= now.mono) {
            self.silence(now, actions);
        }
        self.heard = now.mono;
        let full = self.unasked.is_busy() && self.messages.waiting() > self.message_bytes_max;
        if self.dropped > 0 || full {
            self.dropped += bytes.len();
        } else {
            self.messages.push(bytes);
        }
    }

    /// When what is held is looked at without its end.
    fn quiet_at(&self) -> Option<Mono> {
        if self.messages.is_open() {
            return Some(self.heard.after(self.rules.bounds.idle.unwrap_or(SILENCE)));
        }
        match self.messages.has_line() {
            true => Some(self.heard.after(LINE_SILENCE)),
            false => self.stray.deadline(),
        }
    }

    fn advance(&mut self, now: Now, actions: &mut Vec<Action>) {
        while !self.unasked.is_busy() {
            if self.stray.is_full() {
                self.state_stray(actions);
            } else if let Some(piece) = self.messages.next_piece() {
                self.piece(now, piece, actions);
            } else if self.dropped > 0 {
                self.state_dropped(now, actions);
            } else if !self.closing || !self.silence(now, actions) {
                return;
            }
        }
    }

    /// What is held as it is, since nothing more comes; whether there was anything.
    fn silence(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        match self.messages.silence() {
            Some(piece) => {
                self.piece(now, piece, actions);
                true
            }
            None => self.state_stray(actions),
        }
    }

    fn piece(&mut self, now: Now, piece: Piece, actions: &mut Vec<Action>) {
        let maimed = std::mem::take(&mut self.maimed);
        match piece {
            Piece::Outside(bytes) => self.between(now, &bytes, actions),
            Piece::Message(bytes) if self.rules.bounds.begin.is_none() && is_blank(&bytes) => {}
            Piece::Message(bytes) if maimed => self.interrupted(bytes, "its beginning was dropped", actions),
            Piece::Message(bytes) => self.message(now, bytes, actions),
            Piece::Broken(bytes) if is_blank(&bytes) => {}
            Piece::Broken(bytes) => self.interrupted(bytes, "it began and never ended", actions),
            Piece::TooLong { head, bytes } => {
                let limit = self.message_bytes_max;
                let reason = format!("a message of {bytes} bytes is longer than message_bytes_max ({limit} bytes)");
                let event = EventKind::rejected("too_long", reason, head.len());
                self.refuse(head, event, actions);
            }
        }
    }

    /// A line or a control character between messages: a question that has an answer, or nothing of ours.
    fn between(&mut self, now: Now, bytes: &[u8], actions: &mut Vec<Action>) {
        match self.answer_to(bytes) {
            Some(answer) => said(answer, actions),
            None => self.stray.hear(now, bytes),
        }
    }

    /// The answer to a question of the handshake; what its groups have found is filled in.
    fn answer_to(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = encoding_rs::mem::decode_latin1(bytes).replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim_end_matches('\n');
        let mut known = self.rules.answers.handshake.iter();
        let (pattern, answer, found) =
            known.find_map(|(known, answer)| Some((known, answer, known.regex().captures(text)?)))?;
        let mut filled = encoding_rs::mem::decode_latin1(answer).into_owned();
        for name in pattern.regex().capture_names().flatten() {
            filled = filled.replace(&format!("{{{name}}}"), found.name(name).map_or("", |found| found.as_str()));
        }
        Some(encoding_rs::mem::encode_latin1_lossy(&filled).into_owned())
    }

    fn message(&mut self, now: Now, bytes: Vec<u8>, actions: &mut Vec<Action>) {
        // A protocol of lines may put its header before a question too.
        if self.rules.bounds.begin_line.is_some()
            && let Some(answer) = self.answer_to(last_line(&bytes))
        {
            return said(answer, actions);
        }
        if !message::is_intact(&bytes, &self.rules) {
            let reason =
                "the message's checksum is wrong or missing: the line is noisy, or the profile's rule is wrong";
            let event = EventKind::rejected("checksum", reason, bytes.len());
            return self.refuse(bytes, event, actions);
        }
        let events = message::events(&bytes, &self.rules, self.encoding, now, &mut self.serial);
        self.answer = self.rules.answers.accepted.clone();
        self.unasked.commit(bytes, events, actions);
    }

    /// Damaged on its way: the analyzer is told so when that is stored, and where it is not.
    fn refuse(&mut self, bytes: Vec<u8>, event: EventKind, actions: &mut Vec<Action>) {
        self.answer = self.rules.answers.rejected.clone();
        self.unasked.commit(bytes, vec![event], actions);
    }

    fn interrupted(&mut self, bytes: Vec<u8>, why: &str, actions: &mut Vec<Action>) {
        let event = EventKind::rejected("interrupted", format!("the message is not whole: {why}"), bytes.len());
        self.unasked.commit(bytes, vec![event], actions);
    }

    fn state_stray(&mut self, actions: &mut Vec<Action>) -> bool {
        let Some((capture, event)) = self.stray.report() else { return false };
        self.unasked.commit(capture, vec![event], actions);
        true
    }

    /// All that was held is stored or looked at: now comes the hole. The message it falls into is broken off.
    fn state_dropped(&mut self, now: Now, actions: &mut Vec<Action>) {
        let rest = self.messages.take_rest();
        let mut events = vec![super::super::dropped(std::mem::take(&mut self.dropped), now.wall)];
        if !is_blank(&rest) {
            let reason = "bytes were dropped in the middle of a message, while the store took nothing";
            events.insert(0, EventKind::rejected("interrupted", reason, rest.len()));
        }
        self.maimed = self.rules.bounds.begin.is_none() && self.rules.bounds.begin_line.is_none();
        self.unasked.commit(rest, events, actions);
    }
}

fn last_line(message: &[u8]) -> &[u8] {
    message.trim_ascii_end().rsplit(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default()
}

/// An empty answer is none.
fn said(answer: Vec<u8>, actions: &mut Vec<Action>) {
    if !answer.is_empty() {
        actions.push(Action::Send(answer));
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte <= b' ')
}
