//! Any session, its events completed by what the analyzer's profile knows. So no driver has to know about names and LOINC.

use crate::reading::Reading;
use crate::session::{Action, Input, Session};
use crate::time::{Mono, Now};
use std::sync::Arc;

pub(super) struct Completed {
    pub session: Box<dyn Session>,
    pub reading: Arc<Reading>,
}

impl Session for Completed {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        let before = actions.len();
        self.session.handle(now, input, actions);
        for action in &mut actions[before..] {
            if let Action::Commit(commit) = action {
                commit.events.iter_mut().for_each(|event| self.reading.complete(event));
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        self.session.deadline()
    }
}
