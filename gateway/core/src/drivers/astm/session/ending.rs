//! How messages and sessions end, and what is said about those that end badly.

use super::{Cause, E1381, Pending};
use crate::drivers::astm::answer::Inquiry;
use crate::drivers::astm::message;
use crate::drivers::astm::resend::Broken;
use crate::event::EventKind;
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit};
use crate::time::Now;

impl E1381 {
    pub(super) fn settle_debt(&mut self, actions: &mut Vec<Action>) {
        if let Some((commit, _)) = self.owed.take() {
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(Pending::Conclusion { commit, restart: false });
        }
    }

    pub(super) fn report_noise(&mut self, now: Now, closed: bool, actions: &mut Vec<Action>) {
        if let Some((capture, event)) = self.noise.report(now, closed) {
            let commit = Commit { capture, events: vec![event], complete: true };
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(Pending::Conclusion { commit, restart: false });
        }
    }

    /// Ends what is open: whole if the sender ended it cleanly, else rejected.
    pub(super) fn conclude(&mut self, now: Now, cause: Cause, actions: &mut Vec<Action>) {
        let mut broken_frame = false;
        if matches!(cause, Cause::Silence | Cause::Closed) {
            let (rest, is_frame) = self.scanner.take_rest();
            broken_frame = is_frame && rest.len() > 1;
            self.remember(&rest);
        }
        // After ETB another frame must come (LIS01-A2 6.3.1.1): EOT there gives the message up, wherever its records end.
        let goes_on = self.last.as_ref().is_some_and(|frame| !frame.last) || self.assembly.ends_in_record();
        let answered = !self.unanswered && self.refused.is_none();
        let clean = cause == Cause::Eot && answered && !goes_on;
        let mut events = Vec::new();
        let facts = if clean { self.facts(self.assembly.text(), now) } else { Vec::new() };
        // A message without its L whose orders have no results was given up before they came.
        let told =
            facts.is_empty() || facts.iter().any(|fact| fact.test.as_ref().is_none_or(|test| !test.results.is_empty()));
        if self.assembly.is_open() && clean && told {
            self.broken = Broken::stated(self.assembly.text(), &facts);
            events = facts;
            self.asked = Inquiry::all_of(self.assembly.text(), &self.options.reading);
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

    pub(super) fn conclude_with(&mut self, events: Vec<EventKind>, restart: bool, actions: &mut Vec<Action>) {
        let commit = Commit { capture: self.take_raw(), events, complete: true };
        actions.push(Action::Commit(commit.clone()));
        self.in_session = false;
        self.pending = Some(Pending::Conclusion { commit, restart });
    }

    /// What a whole message states, linked to its first try if that was broken off.
    pub(super) fn facts(&self, text: &[u8], now: Now) -> Vec<EventKind> {
        let mut facts = message::events(text, now, &self.options.reading);
        if let Some(broken) = &self.broken {
            broken.link(text, &mut facts);
        }
        facts
    }

    /// `MESSAGE_REJECTED` with the whole records of the open message.
    pub(super) fn interruption(&mut self, now: Now, reason: String) -> EventKind {
        let (device, partial) = message::partial(self.assembly.whole_records(), now, &self.options.reading);
        self.broken = Broken::of(self.assembly.whole_records(), &partial);
        let rejected = EventKind::rejected("interrupted", reason, self.stored_bytes + self.raw.len());
        EventKind { device, partial, ..rejected }
    }
}

pub(super) fn conflict_report(bytes: usize) -> EventKind {
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
