//! The light of the box: six states that somebody without a screen can tell apart by counting.
//!
//! Invariant: each state has a pattern of its own, by the kernel's trigger `pattern` and, where a kernel lacks that, by `timer`.

use super::{NetworkSource, UpdatePhase};
use crate::overview::DeviceState;
use crate::overview::Overview;

/// What the light says. docs/card.md has the table for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Light {
    Starting,
    Fine,
    Degraded,
    ConfigError,
    NoNetwork,
    Updating,
}

/// Between two blinks of a group, and between two groups.
const BLINK_MS: u32 = 200;
const PAUSE_MS: u32 = 1_800;

impl Light {
    pub const ALL: [Light; 6] =
        [Light::Starting, Light::Fine, Light::Degraded, Light::ConfigError, Light::NoNetwork, Light::Updating];

    /// The word in `layout::TOLD_LIGHT`.
    pub fn word(self) -> &'static str {
        match self {
            Light::Starting => "starting",
            Light::Fine => "fine",
            Light::Degraded => "degraded",
            Light::ConfigError => "config_error",
            Light::NoNetwork => "no_network",
            Light::Updating => "updating",
        }
    }

    pub fn from_word(word: &str) -> Option<Light> {
        Light::ALL.into_iter().find(|light| light.word() == word.trim())
    }

    /// Of a running gateway. `addresses`: those of this box, `None` if nobody knows.
    pub fn of(overview: &Overview, addresses: Option<&[String]>) -> Light {
        let phase = overview.appliance.update.as_ref().map(|update| update.phase);
        let source = overview.appliance.network.as_ref().map(|network| network.in_force);
        match () {
            () if phase.is_some_and(changes_the_box) => Light::Updating,
            () if overview.configuration.refused.is_some() => Light::ConfigError,
            () if source == Some(NetworkSource::Fallback) || addresses.is_some_and(<[_]>::is_empty) => Light::NoNetwork,
            () if overview.analyzers.iter().any(|analyzer| analyzer.state == DeviceState::Init) => Light::Starting,
            () if overview.state == DeviceState::Alert => Light::Degraded,
            () => Light::Fine,
        }
    }

    /// For the kernel's `pattern` trigger: pairs of brightness and milliseconds. A step of no length between two makes the
    /// change sharp; without it the light would fade (Linux, Documentation/ABI/testing/sysfs-class-led-trigger-pattern).
    pub fn pattern(self, brightest: u32) -> String {
        let steps = |on: u32, off: u32| format!("{brightest} {on} {brightest} 0 0 {off} 0 0");
        let blinks = |count: usize| {
            let short = vec![steps(BLINK_MS, BLINK_MS); count - 1];
            let last = steps(BLINK_MS, PAUSE_MS);
            short.into_iter().chain([last]).collect::<Vec<_>>().join(" ")
        };
        match self {
            Light::Starting => steps(100, 100),
            Light::Fine => blinks(1),
            Light::Degraded => blinks(2),
            Light::ConfigError => blinks(3),
            Light::NoNetwork => blinks(4),
            Light::Updating => steps(1_000, 1_000),
        }
    }

    /// For the kernel's `timer` trigger: milliseconds on and off.
    pub fn timer(self) -> (u32, u32) {
        match self {
            Light::Starting => (100, 100),
            Light::Fine => (200, 1_800),
            Light::Degraded => (500, 500),
            Light::ConfigError => (100, 500),
            Light::NoNetwork => (1_800, 200),
            Light::Updating => (1_000, 1_000),
        }
    }
}

/// Whether the card should stay where it is.
fn changes_the_box(phase: UpdatePhase) -> bool {
    use UpdatePhase::{Checking, Fetching, Installing, Proving, Restarting};
    matches!(phase, Fetching | Checking | Installing | Restarting | Proving)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_state_has_a_word_and_patterns_of_its_own() {
        for light in Light::ALL {
            assert_eq!(Light::from_word(&format!("{}\n", light.word())), Some(light));
            let pattern = light.pattern(255);
            let pairs: Vec<u32> = pattern.split(' ').map(|word| word.parse().expect("numbers only")).collect();
            assert!(pairs.len().is_multiple_of(4) && pairs.chunks(2).any(|pair| pair == [0, 0]), "{pattern}");
        }
        assert_eq!(Light::from_word("purple"), None);
        let patterns: BTreeSet<String> = Light::ALL.iter().map(|light| light.pattern(1)).collect();
        let timers: BTreeSet<(u32, u32)> = Light::ALL.iter().map(|light| light.timer()).collect();
        assert_eq!((patterns.len(), timers.len()), (6, 6));
        assert_eq!(Light::Degraded.pattern(1), "1 200 1 0 0 200 0 0 1 200 1 0 0 1800 0 0");
    }
}
