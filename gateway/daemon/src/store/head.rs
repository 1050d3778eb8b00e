//! The log's head, and those who wait for it to move.
//!
//! tokio's `watch` would do, but it wakes those who wait in an order that it draws by lot; with several destinations behind
//! one log that would be the only thing in the gateway that differs between two runs of the same simulation.

use gateway_core::event::Seq;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// The side that moves it.
pub(super) struct Head(Arc<Shared>);

struct Shared {
    seq: AtomicI64,
    moved: Notify,
}

/// The side that looks and waits.
pub struct HeadWatch {
    shared: Arc<Shared>,
    seen: Seq,
}

impl Head {
    pub(super) fn new(seq: Seq) -> Head {
        Head(Arc::new(Shared { seq: AtomicI64::new(seq.0), moved: Notify::new() }))
    }

    /// Moves it forward and wakes those who wait, in the order in which they began to.
    pub(super) fn raise(&self, seq: Seq) {
        if self.0.seq.fetch_max(seq.0, Ordering::AcqRel) < seq.0 {
            self.0.moved.notify_waiters();
        }
    }

    /// Moves it forward by one, where it only counts.
    pub(super) fn step(&self) {
        self.0.seq.fetch_add(1, Ordering::AcqRel);
        self.0.moved.notify_waiters();
    }

    pub(super) fn watch(&self) -> HeadWatch {
        let seen = Seq(self.0.seq.load(Ordering::Acquire));
        HeadWatch { shared: Arc::clone(&self.0), seen }
    }
}

impl HeadWatch {
    /// Where it is now.
    pub fn borrow(&self) -> Seq {
        Seq(self.shared.seq.load(Ordering::Acquire))
    }

    /// Where it is now; [`HeadWatch::changed`] waits for the next move from here.
    pub fn borrow_and_update(&mut self) -> Seq {
        self.seen = self.borrow();
        self.seen
    }

    /// Returns once it has moved from where it was last looked at.
    pub async fn changed(&mut self) {
        loop {
            let moved = self.shared.moved.notified();
            tokio::pin!(moved);
            // Registered before the look, so that no move falls in between.
            moved.as_mut().enable();
            let now = Seq(self.shared.seq.load(Ordering::Acquire));
            if now != self.seen {
                self.seen = now;
                return;
            }
            moved.await;
        }
    }
}
