//! Messages that mean nothing, one after the other: noise, a wrong speed, a wrong protocol. The first are stored with their bytes
//! for a person to look at; of the others a few a day are, the rest is counted. So noise fills no disk.

use crate::event::EventKind;
use crate::time::{Mono, Now};
use std::time::Duration;

/// So many in a row are stored, whatever the pace: a clumsy sender is no noise.
const IN_A_ROW_MAX: u32 = 8;
/// From then on one after each of these, the last again and again.
const QUIET: [Duration; 3] = [Duration::from_secs(600), Duration::from_secs(3600), Duration::from_secs(6 * 3600)];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Flood {
    in_a_row: u32,
    quiet_until: Mono,
    /// How many pauses there were.
    pauses: usize,
    counted: usize,
    counted_bytes: usize,
}

impl Flood {
    /// A message of so many bytes was rejected: whether that is stated with its bytes. If not, it is counted.
    pub fn admits(&mut self, now: Now, bytes: usize) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row < IN_A_ROW_MAX {
            return true;
        }
        if now.mono < self.quiet_until {
            self.counted += 1;
            self.counted_bytes += bytes;
            return false;
        }
        self.quiet_until = now.mono.after(QUIET[self.pauses.min(QUIET.len() - 1)]);
        self.pauses += 1;
        true
    }

    /// Something was understood. What was counted is to be stated before it.
    pub fn understood(&mut self) -> Option<EventKind> {
        let counted = self.counted();
        *self = Flood::default();
        counted
    }

    /// What was counted and is not stated yet.
    pub fn counted(&mut self) -> Option<EventKind> {
        let (count, bytes) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.counted_bytes));
        let reason = format!(
            "{count} more messages ({bytes} bytes) could not be understood and are not kept; those before them are. Are the \
             line's speed, parity and cable right, and the protocol?"
        );
        (count > 0).then(|| EventKind::rejected("noise", reason, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_stored_a_few_times_a_day_and_counted_for_the_rest() {
        let mut flood = Flood::default();
        let mut now = Now::default();
        let mut stored = 0;
        for _ in 0..24 * 3600 * 10 {
            stored += u32::from(flood.admits(now, 250));
            now.mono = now.mono.after(Duration::from_millis(100));
        }
        assert_eq!(stored, IN_A_ROW_MAX - 1 + 6);
        let reason = flood.understood().and_then(|event| event.rejection).expect("counted").reason;
        assert!(reason.starts_with("863987 more messages (215996750 bytes)"), "{reason}");
        assert!(flood.admits(now, 1), "who was understood once is heard again");
        assert_eq!(flood.counted(), None);
    }
}
