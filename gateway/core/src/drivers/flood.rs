//! Any session, kept from filling the disk with noise: a loose cable, a wrong speed or a wrong protocol can be rejected some
//! forty times a second, for days. So many a day are stored with their bytes, far more than any analyzer has results to send;
//! the rest is counted, and the count is stated.
//!
//! Invariants:
//! - Only what was rejected whole is left out. A commit with anything that was understood, with records of a message that broke
//!   off, or behind stored bytes of an unfinished message always passes.
//! - What is left out is not answered: nothing is acknowledged that is not stored.

use crate::event::{EventKind, EventName};
use crate::session::{Action, Commit, Input, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// Rejections that are stored at any pace: a day of results under a wrong profile is kept, to be read again under the right one.
const ROOM_MAX: u32 = 1_000;
/// For each of these there is room for one more.
const REFILL: Duration = Duration::from_secs(90);

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
        match input {
            Input::Committed => self.flood.stored(),
            Input::CommitFailed => self.flood.not_stored(),
            _ => {}
        }
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
            // Up to its next commit it answers to what was left out.
            asked.retain(|action| !matches!(action, Action::Send(_)));
        }
        if let Some(Action::Commit(commit)) = asked.last_mut() {
            self.is_open = !commit.complete;
            let counted = self.flood.counted();
            commit.events.splice(0..0, counted);
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

/// How much room there is.
#[derive(Debug)]
pub(super) struct Flood {
    room_max: u32,
    refill: Duration,
    used: u32,
    /// When the next of them is free again.
    refill_at: Mono,
    counted: usize,
    counted_bytes: usize,
    /// The same of what is stated in a commit that is on its way.
    stated: (usize, usize),
}

impl Default for Flood {
    fn default() -> Self {
        Flood::new(ROOM_MAX, REFILL)
    }
}

impl Flood {
    /// Room for so many at any pace, and for one more after each `refill`.
    pub fn new(room_max: u32, refill: Duration) -> Flood {
        Flood { room_max, refill, used: 0, refill_at: Mono(0), counted: 0, counted_bytes: 0, stated: (0, 0) }
    }

    /// Whether a rejected message of so many bytes is stored. If not, it is counted.
    pub fn admits(&mut self, now: Now, bytes: usize) -> bool {
        while self.used > 0 && self.refill_at <= now.mono {
            self.used -= 1;
            self.refill_at = self.refill_at.after(self.refill);
        }
        if self.used >= self.room_max {
            self.counted += 1;
            self.counted_bytes += bytes;
            return false;
        }
        if self.used == 0 {
            self.refill_at = now.mono.after(self.refill);
        }
        self.used += 1;
        true
    }

    /// The commit in which the count was stated is stored.
    pub fn stored(&mut self) {
        self.stated = (0, 0);
    }

    /// It is not: the count is stated again in the next one.
    pub fn not_stored(&mut self) {
        let (count, bytes) = std::mem::take(&mut self.stated);
        self.counted += count;
        self.counted_bytes += bytes;
    }

    /// What was counted and is not stated yet.
    pub fn counted(&mut self) -> Option<EventKind> {
        let (count, bytes) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.counted_bytes));
        self.stated = (count, bytes);
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
    fn a_flood_is_stored_as_far_as_there_is_room_and_counted() {
        let mut session = against_noise(Box::new(Bytewise(Vec::new())));
        let mut now = Now::default();
        assert_eq!(told(&mut session, now, Input::Opened(Resume::default())), "");
        let flood = [b'r'; ROOM_MAX as usize + 5];
        assert_eq!(told(&mut session, now, Input::Received(&flood)), "r".repeat(ROOM_MAX as usize));
        assert_eq!(told(&mut session, now, Input::Received(b"rrgg")), "#gg", "what is understood passes");
        assert_eq!(told(&mut session, now, Input::Received(b"rfrr")), "#fr", "and what a broken message left behind");
        now.mono = now.mono.after(REFILL);
        assert_eq!(told(&mut session, now, Input::Received(b"rr")), "#r", "one, and how many there were before it");
        assert_eq!(told(&mut session, now, Input::Closed), "#");
        assert_eq!(told(&mut session, now, Input::Closed), "");
    }

    #[test]
    fn a_day_of_it_is_bounded() {
        let mut flood = Flood::default();
        let mut now = Now::default();
        let mut stored = 0;
        for _ in 0..24 * 3600 * 10 {
            stored += u32::from(flood.admits(now, 250));
            now.mono = now.mono.after(Duration::from_millis(100));
        }
        assert_eq!(stored, ROOM_MAX + 24 * 40 - 1);
        flood.counted();
        flood.not_stored();
        let reason = flood.counted().and_then(|event| event.rejection).expect("counted").reason;
        flood.stored();
        flood.not_stored();
        assert_eq!(flood.counted(), None);
        assert!(reason.starts_with("862041 more messages (215510250 bytes)"), "{reason}");
    }
}
