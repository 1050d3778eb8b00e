//! Moments and spans as plain values. Whoever has a clock passes the time in; nothing here asks for it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A wall-clock moment: milliseconds since 1970-01-01T00:00:00Z. Prints and serialises as RFC 3339 in UTC with three
/// decimals, `2026-11-21T20:14:03.120Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since the epoch, rounded down: what Standard Webhooks and seed 002 call the timestamp.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The span from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment moved by `offset_ms`, saturating.
    pub fn shifted(self, offset_ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(offset_ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let moment: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Timestamp(moment.as_millisecond()))
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME` since the boot: counts on through suspend, never jumps, means nothing after a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// This moment plus a span, saturating.
    pub fn after(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The span from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// How far the wall clock can be trusted. A Pi has no battery clock, so it starts with none of these but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockQuality {
    /// Nobody has set the clock since the boot and its reading is plainly wrong.
    #[default]
    Unset,
    /// The reading is plausible (a file or a battery clock gave it), but no time server has confirmed it.
    Unsynchronized,
    /// The kernel says that a time source keeps the clock.
    Synchronized,
    /// The clock was not synchronized when the event was stored; a later synchronization in the same boot mended the time.
    Corrected,
}

impl ClockQuality {
    /// The word in the JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ClockQuality::Unset => "unset",
            ClockQuality::Unsynchronized => "unsynchronized",
            ClockQuality::Synchronized => "synchronized",
            ClockQuality::Corrected => "corrected",
        }
    }

    /// The reverse of [`ClockQuality::as_str`]; an unknown word is `Unset`, the most careful reading.
    pub fn from_word(word: &str) -> ClockQuality {
        match word {
            "unsynchronized" => ClockQuality::Unsynchronized,
            "synchronized" => ClockQuality::Synchronized,
            "corrected" => ClockQuality::Corrected,
            _ => ClockQuality::Unset,
        }
    }
}

/// One reading of the platform's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    pub mono: Mono,
    pub wall: Timestamp,
    pub quality: ClockQuality,
}
