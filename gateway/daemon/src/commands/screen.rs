//! How screens look: colours where a terminal wants them, ages, sizes and spans in words.
//!
//! Invariant: whatever a device or a peer has said goes through [`plain`] before it is shown.

use super::plain;
use gateway_core::time::Timestamp;
use std::io::IsTerminal;

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint {
    colours: bool,
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Bad,
    Warning,
    Good,
    Head,
    Quiet,
}

impl Paint {
    /// None at all.
    #[cfg(test)]
    pub const PLAIN: Paint = Paint { colours: false };

    /// Colours on a terminal, unless `NO_COLOR` (no-color.org) is set to anything or `TERM` is `dumb`.
    pub fn of_terminal() -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint { colours: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    /// The text in that tone, with nothing in it that steers the terminal.
    pub fn put(self, tone: Tone, text: &str) -> String {
        let text = plain(text);
        let code = match tone {
            Tone::Bad => "31;1",
            Tone::Warning => "33",
            Tone::Good => "32",
            Tone::Head => "1",
            Tone::Quiet => "2",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// `5 s`, `12 min`, `3 h`, `9 days`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long before `now` that was; a moment that is still to come counts as now.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_seconds().saturating_sub(then.as_seconds());
    format!("{} ago", span(u64::try_from(seconds).unwrap_or(0)))
}

/// The same, or `-`.
pub fn age_or_dash(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| "-".to_owned(), |then| age(then, now))
}

/// `812 B`, `4.5 MB`: powers of ten, as on the box of a card.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// `1 event`, `2 events`
pub fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_told_in_the_unit_that_fits() {
        let spans = [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 days")];
        for (seconds, told) in spans {
            assert_eq!(span(seconds), told);
        }
        let sizes = [(999, "999 B"), (4_500_000, "4.5 MB"), (31_000_000_000, "31.0 GB"), (2_000_000_000_000, "2.0 TB")];
        for (bytes, told) in sizes {
            assert_eq!(size(bytes), told);
        }
        assert_eq!(age(Timestamp(5_000), Timestamp(2_000)), "0 s ago");
    }

    #[test]
    fn nothing_in_a_painted_text_steers_the_terminal() {
        assert_eq!(Paint::PLAIN.put(Tone::Bad, "a\x1b[2Jb\u{9b}c\u{202e}d"), "a?[2Jb?c?d");
        assert_eq!(Paint { colours: true }.put(Tone::Good, "\x1b"), "\x1b[32m?\x1b[0m");
    }
}
