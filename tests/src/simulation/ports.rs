//! The small ports: clock, randomness, disk, service manager.

use super::world::{Life, World};
use gateway_core::event::Id;
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use gateway_daemon::platform::{
    BoxFuture, Clock, CommitMoment, Disk, Entropy, HttpServer, Notice, PortError, ServiceManager, Serving,
};
use gateway_daemon::pulse::Stop;
use gateway_daemon::simulated::seeded::Seeded;
use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// 2026-11-21T08:00:00Z: what a clock that is right shows when a run begins.
pub const TRUE_START: Timestamp = Timestamp(1_795_248_000_000);
/// A machine has been up for so long when the gateway starts for the first time.
const UPTIME: Duration = Duration::from_secs(20);

/// What the wall clock does during a run, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct WallPlan {
    /// From that moment on: this far from the truth, and this good.
    pub steps: Vec<(Duration, i64, ClockQuality)>,
}

impl WallPlan {
    fn at(&self, now: Duration) -> (i64, ClockQuality) {
        let passed = self.steps.iter().rev().find(|(from, ..)| *from <= now);
        passed.map_or((0, ClockQuality::Synchronized), |(_, offset_ms, quality)| (*offset_ms, *quality))
    }
}

/// Virtual time as one boot sees it.
pub struct SimClock {
    world: World,
    plan: WallPlan,
    boot: Id,
    /// When this boot began, on the run's own time.
    booted: Duration,
}

impl SimClock {
    /// Boot number `boot` of the machine, begun at that moment of the run.
    pub fn new(world: &World, plan: WallPlan, boot: u32, booted: Duration) -> SimClock {
        let boot = Id::derived(&[b"simulated boot", &boot.to_be_bytes()]);
        SimClock { world: world.clone(), plan, boot, booted }
    }

    fn mono(&self) -> Mono {
        Mono::default().after(UPTIME + self.world.now().saturating_sub(self.booted))
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let now = self.world.now();
        let (offset_ms, quality) = self.plan.at(now);
        let wall = TRUE_START.shifted(i64::try_from(now.as_millis()).unwrap_or(i64::MAX)).shifted(offset_ms);
        Now { mono: self.mono(), wall, quality }
    }

    fn boot(&self) -> Id {
        self.boot
    }

    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
        // tokio's timers count in milliseconds: rounded up, so that it is never early.
        let wait = due.since(self.mono());
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Dice from the seed.
pub struct SimEntropy(Mutex<Seeded>);

impl SimEntropy {
    pub fn new(chance: Seeded) -> SimEntropy {
        SimEntropy(Mutex::new(chance))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut chance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            let bits = chance.bits().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}

/// What the disk does during a run.
#[derive(Debug, Clone, Default)]
pub struct DiskPlan {
    /// Work takes up to so long.
    pub latency_ms_max: u64,
    /// Of a thousand commits so many fail, as long as `failures_left` lasts.
    pub failing: u32,
    pub failures_left: u32,
    /// No commit succeeds between these moments.
    pub broken: Option<(Duration, Duration)>,
}

/// Runs the database's work inline, after a little virtual time.
pub struct SimDisk {
    life: Life,
    state: Mutex<(DiskPlan, Seeded)>,
}

impl SimDisk {
    pub fn new(life: &Life, plan: DiskPlan, chance: Seeded) -> SimDisk {
        SimDisk { life: life.clone(), state: Mutex::new((plan, chance)) }
    }

    fn latency(&self) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = state.0.latency_ms_max + 1;
        Duration::from_millis(state.1.below(bound))
    }

    fn fails(&self) -> bool {
        let now = self.life.world().now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, chance) = &mut *state;
        if plan.broken.is_some_and(|(from, to)| (from..to).contains(&now)) {
            return true;
        }
        let fails = chance.chance(plan.failing) && plan.failures_left > 0;
        plan.failures_left -= u32::from(fails);
        fails
    }
}

impl Disk for SimDisk {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let latency = self.latency();
        let life = self.life.clone();
        if latency.is_zero() {
            return Box::pin(async move {
                match life.is_over() {
                    true => pending().await,
                    false => work(),
                }
            });
        }
        // Its own task: the work is done even if nobody waits for it any more, unless the power is gone.
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = life.over() => {}
                () = tokio::time::sleep(latency) => work(),
            }
        });
        Box::pin(async move {
            let _ = task.await;
        })
    }

    fn at_commit(&self, moment: CommitMoment) -> Result<(), String> {
        let text = match moment {
            CommitMoment::Before if self.fails() => {
                // The effect is counted all the same: a crash right here is like one before any other commit.
                let _ = self.life.effect("commit fails");
                return Err("simulated: the disk refuses".to_owned());
            }
            CommitMoment::Before => "commit",
            CommitMoment::After => "committed",
        };
        if self.life.effect(text) { Ok(()) } else { Err("simulated: the power is gone".to_owned()) }
    }
}

/// A service manager that only listens.
pub struct SimService {
    world: World,
}

impl SimService {
    pub fn new(world: &World) -> SimService {
        SimService { world: world.clone() }
    }
}

impl ServiceManager for SimService {
    fn notify(&self, notice: Notice<'_>) {
        match notice {
            Notice::Watchdog | Notice::Status(_) => {}
            other => self.world.note(format!("service {other:?}")),
        }
    }

    fn watchdog_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(120))
    }
}

/// Nobody comes to the door.
pub struct SimServer;

impl HttpServer for SimServer {
    fn serve(&self, _: &Serving, _: axum::Router, mut stop: Stop) -> BoxFuture<'static, Result<(), PortError>> {
        Box::pin(async move {
            stop.asked().await;
            Ok(())
        })
    }
}
