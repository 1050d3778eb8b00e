//! How often the report may be written onto the card.
//!
//! Invariant: whatever happens, a card is not worn out: the longer things do not settle, the longer the next write waits.

use crate::time::Mono;
use std::time::Duration;

/// Between two writes at least, and at most while things never settle.
const WAIT_SECONDS_MIN: u64 = 60;
const WAIT_SECONDS_MAX: u64 = 3_600;

/// After this long without a write all is as at first.
const SETTLED_SECONDS: u64 = 2 * WAIT_SECONDS_MAX;

/// The first write goes at once, each further one waits twice as long as the one before it, from a minute to an hour.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    last: Option<Mono>,
    wait_seconds: u64,
}

impl Pace {
    /// Whether a change may be written now.
    pub fn may(&self, now: Mono) -> bool {
        self.last.is_none_or(|last| now.since(last) >= Duration::from_secs(self.wait_seconds))
    }

    pub fn written(&mut self, now: Mono) {
        let settled = self.last.is_none_or(|last| now.since(last) >= Duration::from_secs(SETTLED_SECONDS));
        let next = if settled { WAIT_SECONDS_MIN } else { self.wait_seconds * 2 };
        self.wait_seconds = next.clamp(WAIT_SECONDS_MIN, WAIT_SECONDS_MAX);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many writes a day of a cable that never sits still costs.
    #[test]
    fn what_never_settles_is_written_about_once_an_hour() {
        let mut pace = Pace::default();
        let mut written = Vec::new();
        for second in 0..86_400_u64 {
            let now = Mono(second * 1_000_000_000);
            if pace.may(now) {
                pace.written(now);
                written.push(second);
            }
        }
        assert_eq!(written[..5], [0, 60, 180, 420, 900]);
        assert!(written.len() <= 24 + 6, "{}", written.len());
        pace.written(Mono(200_000 * 1_000_000_000));
        assert!(pace.may(Mono(200_060 * 1_000_000_000)), "after two quiet hours it is quick again");
    }
}
