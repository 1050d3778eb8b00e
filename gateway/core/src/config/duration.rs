//! Spans of time as people write them: a whole number and a unit, `0s`, `500ms`, `30s`, `5m`, `2h`, `1d`.

use std::time::Duration;

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a span; `None` if it is not one. A bare `0` needs no unit.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, unit_ms) = UNITS.iter().find(|(word, _)| *word == unit)?;
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_millis(number.checked_mul(*unit_ms)?))
}

/// Writes a span so that [`parse`] reads the same; what is shorter than a millisecond is dropped.
pub fn format(span: Duration) -> String {
    let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if span_ms == 0 {
        return "0s".to_owned();
    }
    let (unit, unit_ms) = UNITS.iter().find(|(_, unit_ms)| span_ms.is_multiple_of(*unit_ms)).unwrap_or(&UNITS[4]);
    format!("{}{unit}", span_ms / unit_ms)
}
