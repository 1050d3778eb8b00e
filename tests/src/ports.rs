//! The smallest ports that a store can run on: a disk that works inline and a clock that stands still until it is moved.

use gateway_core::event::Id;
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use gateway_daemon::platform::{BoxFuture, Clock, CommitMoment, Disk};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A clock that shows what it was last set to.
#[derive(Clone)]
pub struct FixedClock(Arc<Mutex<(Now, Id)>>);

impl FixedClock {
    /// Shows 2026-11-21T20:14:03Z, synchronized, in boot number `boot`.
    pub fn new(boot: u8) -> FixedClock {
        let wall = Timestamp(1_795_292_043_000);
        let now = Now { mono: Mono(1_000_000_000), wall, quality: ClockQuality::Synchronized };
        FixedClock(Arc::new(Mutex::new((now, Id([boot; 16])))))
    }

    pub fn set(&self, now: Now) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }

    /// Lets time pass, on both clocks.
    pub fn pass(&self, span: Duration) {
        let now = self.now();
        let wall = now.wall.shifted(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        self.set(Now { mono: now.mono.after(span), wall, ..now });
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Now {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn boot(&self) -> Id {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
        let left = due.since(self.now().mono);
        Box::pin(tokio::time::sleep(left))
    }
}

/// What the disk does at the next commits.
pub type Fault = Box<dyn FnMut(CommitMoment) -> Result<(), String> + Send>;

/// Runs the work in the calling thread, at the first poll: so a future dropped before that leaves it undone.
#[derive(Clone, Default)]
pub struct InlineDisk(Arc<Mutex<Option<Fault>>>);

impl InlineDisk {
    /// Asks `fault` before and after each commit from now on.
    pub fn inject(&self, fault: impl FnMut(CommitMoment) -> Result<(), String> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(fault));
    }

    /// No faults any more.
    pub fn heal(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Disk for InlineDisk {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }

    fn at_commit(&self, moment: CommitMoment) -> Result<(), String> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(fault) => fault(moment),
            None => Ok(()),
        }
    }
}
