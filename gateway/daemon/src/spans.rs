//! What takes time and is told to a collector of traces: the commit of an event and each attempt to deliver it.
//!
//! Invariants: bounded, the oldest go; a span holds ids, names from the settings, words of ours and times, never what was measured.

use crate::tally::word;
use gateway_core::delivery::Outcome;
use gateway_core::event::{EventId, EventName};
use gateway_core::time::{Now, Timestamp};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Spans that wait for the collector.
const WAITING_SPANS_MAX: usize = 2048;
/// Spans in one request.
const BATCH_SPANS_MAX: usize = 512;

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub event: EventId,
    pub began: Timestamp,
    pub took: Duration,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Commit { analyzer: String, name: EventName },
    Attempt { destination: String, number: u32, outcome: &'static str },
}

/// What waits for the collector; nothing does while there is none.
#[derive(Debug, Default)]
pub struct Spans {
    wanted: AtomicBool,
    waiting: Mutex<VecDeque<Span>>,
}

impl Spans {
    /// Whether there is a collector.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
        if !wanted {
            self.waiting().clear();
        }
    }

    pub fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// An event is on the disk.
    pub fn committed(&self, event: EventId, analyzer: &str, name: EventName, began: Now, ended: Now) {
        let what = What::Commit { analyzer: analyzer.to_owned(), name };
        self.add(Span { event, began: began.wall, took: ended.mono.since(began.mono), what });
    }

    /// An attempt to deliver it came to its end.
    pub fn attempted(&self, event: EventId, destination: &str, number: u32, outcome: &Outcome, began: Now, ended: Now) {
        let what = What::Attempt { destination: destination.to_owned(), number, outcome: word(outcome) };
        self.add(Span { event, began: began.wall, took: ended.mono.since(began.mono), what });
    }

    fn add(&self, span: Span) {
        if self.are_wanted() {
            let mut waiting = self.waiting();
            if waiting.len() >= WAITING_SPANS_MAX {
                waiting.pop_front();
            }
            waiting.push_back(span);
        }
    }

    /// As many as one request carries, which then wait no more.
    pub fn next(&self) -> Vec<Span> {
        let mut waiting = self.waiting();
        let many = waiting.len().min(BATCH_SPANS_MAX);
        waiting.drain(..many).collect()
    }

    /// What the collector has not taken goes back to the front, as far as there is room.
    pub fn give_back(&self, spans: Vec<Span>) {
        let mut waiting = self.waiting();
        for span in spans.into_iter().rev() {
            if waiting.len() < WAITING_SPANS_MAX {
                waiting.push_front(span);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::event::Id;
    use gateway_core::time::Mono;

    fn now(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: Timestamp(1_790_000_000_000 + ms.cast_signed()), ..Now::default() }
    }

    #[test]
    fn what_nobody_wants_is_not_kept_and_what_waits_is_bounded() {
        let spans = Spans::default();
        let commit = || spans.committed(Id([1; 16]), "pcr", EventName::TestFinished, now(0), now(5));
        commit();
        assert!(spans.next().is_empty());
        spans.want(true);
        (0..WAITING_SPANS_MAX + 10).for_each(|_| commit());
        assert_eq!(spans.waiting().len(), WAITING_SPANS_MAX);
        let batch = spans.next();
        assert_eq!(batch.len(), BATCH_SPANS_MAX);
        commit();
        spans.give_back(batch);
        assert_eq!(spans.waiting().len(), WAITING_SPANS_MAX);
    }
}
