//! Any session, kept from filling the disk with noise: messages that mean nothing, one after the other, from a loose cable, a
//! wrong speed, a wrong protocol. The first are stored with their bytes for a person to look at; of the others a few a day are,
//! the rest is counted, and the count is stated.
//!
//! Invariant: only what was rejected whole is left out. A commit with anything that was understood, with records of a message
//! that broke off, or behind stored bytes of an unfinished message always passes.

use crate::event::{EventKind, EventName};
use crate::session::{Action, Commit, Input, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// So many in a row are stored, whatever the pace: a clumsy sender is no noise.
const IN_A_ROW_MAX: u32 = 16;
/// From then on one after each of these, the last again and again.
const QUIET: [Duration; 3] = [Duration::from_secs(600), Duration::from_secs(3600), Duration::from_secs(6 * 3600)];

/// The session as a link should hear it.
pub fn against_noise(session: Box<dyn Session>) -> Box<dyn Session> {
    Box::new(Dammed { session, flood: Flood::default(), is_open: false, own: false })
}

struct Dammed {
    session: Box<dyn Session>,
    flood: Flood,
    /// Bytes of an unfinished message are stored, or about to be.
    is_open: bool,
    /// The outstanding commit is none of the session's.
    own: bool,
}

impl Session for Dammed {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.own) && matches!(input, Input::Committed | Input::CommitFailed) {
            return;
        }
        if let Input::Opened(resume) = &input {
            self.is_open = !resume.unfinished.is_empty();
        }
        let closed = matches!(input, Input::Closed);
        let mut asked = Vec::new();
        self.session.handle(now, input, &mut asked);
        while let Some(Action::Commit(commit)) = asked.last()
            && !self.is_open
            && is_rejected(commit)
            && !self.flood.admits(now, commit.capture.len())
        {
            asked.pop();
            actions.append(&mut asked);
            self.session.handle(now, Input::Committed, &mut asked);
        }
        if let Some(Action::Commit(commit)) = asked.last_mut() {
            self.is_open = !commit.complete;
            let counted = self.flood.counted();
            commit.events.splice(0..0, counted);
            if is_understood(commit) {
                self.flood = Flood::default();
            }
        } else if closed && let Some(counted) = self.flood.counted() {
            self.own = true;
            asked.push(Action::Commit(Commit { capture: Vec::new(), events: vec![counted], complete: !self.is_open }));
        }
        actions.append(&mut asked);
    }

    fn deadline(&self) -> Option<Mono> {
        if self.own { None } else { self.session.deadline() }
    }
}

/// Whether nothing in it was understood.
fn is_rejected(commit: &Commit) -> bool {
    let rejected = |event: &EventKind| event.name == EventName::MessageRejected && event.partial.is_empty();
    commit.complete && !commit.events.is_empty() && commit.events.iter().all(rejected)
}

fn is_understood(commit: &Commit) -> bool {
    let says_nothing = [EventName::MessageRejected, EventName::AnalyzerAlarm, EventName::Gap];
    !commit.complete || commit.events.iter().any(|event| !says_nothing.contains(&event.name))
}

#[derive(Debug, Default)]
struct Flood {
    in_a_row: u32,
    quiet_until: Mono,
    /// How many pauses there were.
    pauses: usize,
    counted: usize,
    counted_bytes: usize,
}

impl Flood {
    /// Whether a rejected message of so many bytes is stored. If not, it is counted.
    fn admits(&mut self, now: Now, bytes: usize) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row < IN_A_ROW_MAX {
            return true;
        }
        if now.mono < self.quiet_until {
            self.counted += 1;
            self.counted_bytes += bytes;
            return false;
        }
        self.quiet_until = now.mono.after(QUIET[self.pauses.min(QUIET.len() - 1)]);
        self.pauses += 1;
        true
    }

    /// What was counted and is not stated yet.
    fn counted(&mut self) -> Option<EventKind> {
        let (count, bytes) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.counted_bytes));
        let reason = format!(
            "{count} more messages ({bytes} bytes) could not be understood and are not kept; those before them are. Are the \
             line's speed, parity and cable right, and the protocol?"
        );
        (count > 0).then(|| EventKind::rejected("noise", reason, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Resume;

    /// Each byte is a message: `r` is rejected, `g` is good, `f` is a frame of an unfinished one.
    struct Bytewise(Vec<u8>);

    impl Bytewise {
        fn next(&mut self, actions: &mut Vec<Action>) {
            let Some(byte) = self.0.pop() else { return };
            let event = match byte {
                b'r' => EventKind::rejected("bad", "bad", 1),
                _ => EventKind::bare(EventName::DeviceReady),
            };
            let events = if byte == b'f' { Vec::new() } else { vec![event] };
            actions.push(Action::Commit(Commit { capture: vec![byte], events, complete: byte != b'f' }));
        }
    }

    impl Session for Bytewise {
        fn handle(&mut self, _: Now, input: Input<'_>, actions: &mut Vec<Action>) {
            if let Input::Received(bytes) = input {
                self.0.splice(0..0, bytes.iter().rev().copied());
            }
            self.next(actions);
        }

        fn deadline(&self) -> Option<Mono> {
            None
        }
    }

    /// The captures that come through, and the codes of what is counted.
    fn told(session: &mut Box<dyn Session>, now: Now, input: Input<'_>) -> String {
        let (mut told, mut actions) = (String::new(), Vec::new());
        session.handle(now, input, &mut actions);
        while let Some(Action::Commit(commit)) = actions.pop() {
            let counted = commit.events.iter().filter_map(|event| event.rejection.as_ref());
            told.extend(counted.filter(|rejection| rejection.code == "noise").map(|_| '#'));
            told.push_str(&String::from_utf8(commit.capture).expect("letters"));
            session.handle(now, Input::Committed, &mut actions);
        }
        told
    }

    #[test]
    fn a_flood_is_stored_at_its_beginning_and_counted() {
        let mut session = against_noise(Box::new(Bytewise(Vec::new())));
        let mut now = Now::default();
        assert_eq!(told(&mut session, now, Input::Opened(Resume::default())), "");
        let flood = [b'r'; 100];
        assert_eq!(told(&mut session, now, Input::Received(&flood)), "r".repeat(16));
        now.mono = now.mono.after(QUIET[0]);
        assert_eq!(told(&mut session, now, Input::Received(&flood)), "#r", "one, and how many there were before it");
        assert_eq!(told(&mut session, now, Input::Received(b"rrgrr")), "#grr", "what is understood ends it");
        assert_eq!(told(&mut session, now, Input::Received(&flood)), "r".repeat(14));
        assert_eq!(told(&mut session, now, Input::Received(b"frrr")), "#frrr", "a frame was understood");
        assert_eq!(told(&mut session, now, Input::Received(&flood)).len(), 14);
        assert_eq!(told(&mut session, now, Input::Closed), "#");
        assert_eq!(told(&mut session, now, Input::Closed), "");
    }

    #[test]
    fn a_day_of_it_is_a_few_captures() {
        let mut flood = Flood::default();
        let mut now = Now::default();
        let mut stored = 0;
        for _ in 0..24 * 3600 * 10 {
            stored += u32::from(flood.admits(now, 250));
            now.mono = now.mono.after(Duration::from_millis(100));
        }
        assert_eq!(stored, IN_A_ROW_MAX - 1 + 6);
        let reason = flood.counted().and_then(|event| event.rejection).expect("counted").reason;
        assert!(reason.starts_with("863979 more messages (215994750 bytes)"), "{reason}");
    }
}
