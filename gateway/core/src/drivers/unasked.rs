//! For senders that nobody can ask to repeat: what they said is committed, and committed again until it is stored.

use crate::event::EventKind;
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit};
use crate::time::{Mono, Now};
use std::time::Duration;

const RETRY: Duration = Duration::from_secs(1);

/// The one commit that may be outstanding.
#[derive(Default)]
pub(super) struct Unasked {
    pending: Option<Commit>,
    /// What failed, and when it is tried again.
    owed: Option<(Commit, Mono)>,
}

impl Unasked {
    /// Whether what is held has to wait.
    pub fn is_busy(&self) -> bool {
        self.pending.is_some() || self.owed.is_some()
    }

    pub fn commit(&mut self, capture: Vec<u8>, mut events: Vec<EventKind>, actions: &mut Vec<Action>) {
        if planted(Mutant::CaptureWithoutEvents) {
            events.clear();
        }
        self.send(Commit { capture, events, complete: true }, actions);
    }

    pub fn committed(&mut self) {
        self.pending = None;
    }

    pub fn failed(&mut self, now: Now) {
        self.owed = self.pending.take().map(|commit| (commit, now.mono.after(RETRY)));
    }

    /// What failed elsewhere, and whose sender does not hear of it.
    pub fn owe(&mut self, commit: Commit, now: Now) {
        self.owed = Some((commit, now.mono.after(RETRY)));
    }

    /// The sender keeps what failed: it is not tried again.
    pub fn give_up(&mut self) {
        self.pending = None;
    }

    /// When `settle` is due; `Some(None)`: an answer is awaited, and nothing else.
    pub fn due(&self) -> Option<Option<Mono>> {
        match (&self.pending, &self.owed) {
            (Some(_), _) => Some(None),
            (None, Some((_, retry_at))) => Some(Some(*retry_at)),
            (None, None) => None,
        }
    }

    /// Commits again what failed; whether there was anything.
    pub fn settle(&mut self, actions: &mut Vec<Action>) -> bool {
        let owed = self.owed.take();
        let owes = owed.is_some();
        if let Some((commit, _)) = owed {
            self.send(commit, actions);
        }
        owes
    }

    fn send(&mut self, commit: Commit, actions: &mut Vec<Action>) {
        actions.push(Action::Commit(commit.clone()));
        self.pending = Some(commit);
    }
}
