//! The machine's clocks: `CLOCK_BOOTTIME`, the wall clock, and the kernel's opinion of it.

use super::{BoxFuture, Clock, Entropy};
use gateway_core::event::Id;
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// When this program was built. Before this moment the wall clock is plainly wrong. A box without a battery starts at the moment at
/// which its service manager was built (systemd(1), "System clock epoch"), which is earlier: a moment of our own would not tell.
const BUILT_AT_SECONDS: &str = env!("BUILT_AT_SECONDS");

/// `adjtimex` reports this state while no time source keeps the clock (timex.h, TIME_ERROR).
const TIME_ERROR: libc::c_int = 5;

/// So long at most a sleep does not notice that the machine was suspended.
const PIECE: Duration = Duration::from_secs(60);

/// The real clocks.
pub struct SystemClock {
    boot: Id,
    plausible_from: Timestamp,
}

impl SystemClock {
    /// Reads the boot id once. Where the kernel does not tell one (a foreign system), each start counts as a boot.
    pub fn new() -> SystemClock {
        let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = told.and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| {
            let mut random = [0; 10];
            SystemEntropy.fill(&mut random);
            Id::timed(Timestamp(0), random)
        });
        let built_at: i64 = BUILT_AT_SECONDS.parse().expect("the build script writes a number");
        SystemClock { boot, plausible_from: Timestamp(built_at * 1000) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let mono = since_boot();
        let realtime = clock_gettime(ClockId::Realtime);
        let wall = Timestamp(realtime.tv_sec * 1000 + realtime.tv_nsec / 1_000_000);
        let quality = match () {
            () if kernel_says_synchronized() => ClockQuality::Synchronized,
            () if wall < self.plausible_from => ClockQuality::Unset,
            () => ClockQuality::Unsynchronized,
        };
        Now { mono, wall, quality }
    }

    fn boot(&self) -> Id {
        self.boot
    }

    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
        Box::pin(sleep_in_pieces(due, since_boot))
    }
}

fn since_boot() -> Mono {
    let boottime = clock_gettime(ClockId::Boottime);
    Mono(boottime.tv_sec as u64 * 1_000_000_000 + boottime.tv_nsec as u64)
}

/// A far deadline is slept in pieces: tokio counts without suspend, `Mono` with it.
async fn sleep_in_pieces(due: Mono, now: impl Fn() -> Mono) {
    let mut wait = due.since(now());
    loop {
        // Others have their turn even if nothing is left to wait for.
        tokio::time::sleep(wait.min(PIECE)).await;
        wait = due.since(now());
        if wait.is_zero() {
            return;
        }
    }
}

/// Whether the kernel's clock discipline is locked to a source (chrony, timesyncd and ntpd all say so through it).
#[allow(unsafe_code)]
fn kernel_says_synchronized() -> bool {
    // SAFETY: `timex` is a plain C struct for which all zeroes is valid (modes = 0 only reads), and it outlives the call.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&mut timex)
    };
    (0..TIME_ERROR).contains(&state)
}

/// The kernel's random numbers.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("the kernel gives no random numbers: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_far_deadline_is_waited_for_to_its_end() {
        let began = Instant::now();
        let due = Mono(0).after(Duration::from_secs(300));
        sleep_in_pieces(due, || Mono(0).after(began.elapsed())).await;
        assert_eq!(began.elapsed().as_secs(), 300);
        // A machine that was suspended for four of the five minutes has one left.
        let began = Instant::now();
        sleep_in_pieces(due, || Mono(0).after(Duration::from_secs(240) + began.elapsed())).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
