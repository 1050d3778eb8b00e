//! Who is in the house: connections, and which of them are being answered.
//!
//! Invariant: a connection that is being answered is never closed for a newcomer; of the others the one that has said nothing
//! for longest is.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// Connections open at once at one place.
const GUESTS_MAX: usize = 128;

/// Everybody at one place.
#[derive(Default)]
pub struct Guests(Arc<Book>);

#[derive(Default)]
struct Book {
    lines: Mutex<Lines>,
    /// Somebody has left or is idle again.
    changed: Notify,
}

#[derive(Default)]
struct Lines {
    next: u64,
    inside: usize,
    /// Those who are not being answered, the one idle for longest first.
    idle: BTreeMap<u64, Weak<Guest>>,
}

/// One connection. Dropping it leaves the house.
pub struct Guest {
    book: Arc<Book>,
    /// How many answers are on their way, and the line in `idle` while there are none.
    state: Mutex<(usize, u64)>,
    pub give_way: Notify,
}

impl Guests {
    /// A place for a newcomer, as soon as there is one: whoever is idle for longest gives way.
    pub async fn admit(&self) -> Arc<Guest> {
        loop {
            let changed = self.0.changed.notified();
            let idlest = {
                let mut lines = self.0.lines();
                if lines.inside < GUESTS_MAX {
                    lines.inside += 1;
                    let guest = Guest { book: Arc::clone(&self.0), state: Mutex::default(), give_way: Notify::new() };
                    let guest = Arc::new(guest);
                    guest.is_idle(&mut lines);
                    return guest;
                }
                lines.idle.pop_first()
            };
            if let Some(guest) = idlest.and_then(|(_, guest)| guest.upgrade()) {
                guest.give_way.notify_one();
            }
            changed.await;
        }
    }
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn state(&self) -> MutexGuard<'_, (usize, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(self: &Arc<Self>, lines: &mut Lines) {
        lines.next += 1;
        self.state().1 = lines.next;
        lines.idle.insert(lines.next, Arc::downgrade(self));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let line = self.state().1;
        let mut lines = self.book.lines();
        lines.idle.remove(&line);
        lines.inside -= 1;
        drop(lines);
        self.book.changed.notify_one();
    }
}

/// An answer on its way, from the request's head to the end of the answer's body.
pub struct Answering(Arc<Guest>);

impl Answering {
    pub fn begin(guest: &Arc<Guest>) -> Answering {
        let mut lines = guest.book.lines();
        let mut state = guest.state();
        state.0 += 1;
        lines.idle.remove(&state.1);
        Answering(Arc::clone(guest))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut lines = self.0.book.lines();
        let left = {
            let mut state = self.0.state();
            state.0 -= 1;
            state.0
        };
        if left == 0 {
            self.0.is_idle(&mut lines);
            self.0.book.changed.notify_one();
        }
    }
}

/// An answer's body, with the sign that it is on its way.
pub struct Attended {
    pub body: Body,
    pub _answering: Answering,
}

impl HttpBody for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
