//! What all ports of a run share: virtual time, the trace, the numbered effects, and which gateway is alive.
//!
//! An effect is a point at which the gateway touches the world: before and after each commit, each send of bytes to an
//! analyzer, each publish, each post. A crash happens exactly at one of them: from then on nothing that this gateway does
//! reaches anybody, until the run drops it.

use std::fmt;
use std::future::pending;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One line of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Virtual time since the run began.
    pub at: Duration,
    /// Its number, if it is an effect of the gateway.
    pub effect: Option<u64>,
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.effect.map(|number| format!("#{number}")).unwrap_or_default();
        write!(f, "{:>14.6} {number:>6} {}", self.at.as_secs_f64(), self.text)
    }
}

/// The shared state of a run; clones share it.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    started: Instant,
    crashed: Notify,
}

struct State {
    trace: Vec<Line>,
    effects: u64,
    crash_at: Option<u64>,
    /// The number of the gateway that runs; 0 while none does.
    life: u32,
    lives: u32,
}

impl World {
    /// A world in which the gateway crashes at that effect, or never.
    pub fn new(crash_at: Option<u64>) -> World {
        let state = State { trace: Vec::new(), effects: 0, crash_at, life: 0, lives: 0 };
        World(Arc::new(Inner { state: Mutex::new(state), started: Instant::now(), crashed: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time since the run began.
    pub fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Writes a line that is no effect of the gateway.
    pub fn note(&self, text: impl Into<String>) {
        let line = Line { at: self.now(), effect: None, text: text.into() };
        self.state().trace.push(line);
    }

    pub fn trace(&self) -> Vec<Line> {
        self.state().trace.clone()
    }

    /// How many effects there were.
    pub fn effects(&self) -> u64 {
        self.state().effects
    }

    /// How many gateways there have been.
    pub fn lives(&self) -> u32 {
        self.state().lives
    }

    /// A new gateway comes to life.
    pub fn new_life(&self) -> Life {
        let mut state = self.state();
        state.lives += 1;
        state.life = state.lives;
        Life { world: self.clone(), number: state.lives }
    }
}

/// One gateway's right to touch the world, from its start to its stop or crash.
#[derive(Clone)]
pub struct Life {
    world: World,
    pub number: u32,
}

impl Life {
    pub fn world(&self) -> &World {
        &self.world
    }

    pub fn is_over(&self) -> bool {
        self.world.state().life != self.number
    }

    /// Ends it by a crash outside of any effect, or because it has stopped.
    pub fn end(&self) {
        self.world.state().life = 0;
        self.world.0.crashed.notify_waiters();
    }

    /// Counts an effect. `false`: the gateway is dead, by this very effect or before it, and must not notice anything more.
    #[must_use]
    pub fn effect(&self, text: impl Into<String>) -> bool {
        let at = self.world.now();
        let mut state = self.world.state();
        if state.life != self.number {
            return false;
        }
        state.effects += 1;
        let number = state.effects;
        state.trace.push(Line { at, effect: Some(number), text: text.into() });
        if state.crash_at != Some(number) {
            return true;
        }
        state.trace.push(Line { at, effect: None, text: "CRASH".to_owned() });
        state.life = 0;
        drop(state);
        self.world.0.crashed.notify_waiters();
        false
    }

    /// As [`Life::effect`] for a future: a dead gateway's future never ends.
    pub async fn effect_or_never(&self, text: impl Into<String>) {
        if !self.effect(text) {
            pending::<()>().await;
        }
    }

    /// Returns when the gateway is dead.
    pub async fn over(&self) {
        loop {
            let crashed = self.world.0.crashed.notified();
            if self.is_over() {
                return;
            }
            crashed.await;
        }
    }
}

/// Some digits that differ when the bytes do.
pub fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:08x}", hasher.finish() as u32)
}
