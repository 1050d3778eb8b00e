//! When the box looks for updates by itself: once in each night's window of the settings.
//!
//! Invariant: a box that does not know what time it is does nothing by itself.

use crate::config::{Automatic, Hours};
use crate::time::{ClockQuality, Now};
use jiff::tz::TimeZone;

/// Whether a look is due, and the day that it is then done for. `done`: the day of the last one, as this has told it.
pub fn due(now: Now, automatic: Automatic, between: Hours, zone: &str, done: Option<i64>) -> Option<i64> {
    if automatic == Automatic::Never || now.quality == ClockQuality::Unset {
        return None;
    }
    let moment = jiff::Timestamp::from_millisecond(now.wall.0).ok()?;
    let local = moment.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC)).datetime();
    let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
    if !between.has(minute) {
        return None;
    }
    // A window over midnight belongs to the day on which it began.
    let begun_yesterday = between.from_minute > between.to_minute && minute < between.to_minute;
    let date = if begun_yesterday { local.date().yesterday().ok()? } else { local.date() };
    let day = i64::from(date.year()) * 10_000 + i64::from(date.month()) * 100 + i64::from(date.day());
    (done != Some(day)).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Mono, Timestamp};

    fn at(text: &str) -> Now {
        let wall = Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        Now { mono: Mono(0), wall, quality: ClockQuality::Synchronized }
    }

    #[test]
    fn it_looks_once_a_night_in_the_clinics_own_time() {
        let hours = Hours { from_minute: 120, to_minute: 300 };
        let due = |text, done| due(at(text), Automatic::Check, hours, "Europe/Berlin", done);
        assert_eq!(due("2026-11-22T00:59:00Z", None), None);
        assert_eq!(due("2026-11-22T01:00:00Z", None), Some(20_261_122));
        assert_eq!(due("2026-11-22T03:59:00Z", Some(20_261_122)), None);
        assert_eq!(due("2026-11-23T03:59:00Z", Some(20_261_122)), Some(20_261_123));
        assert_eq!(due("2026-11-22T04:00:00Z", None), None);
    }

    #[test]
    fn a_window_over_midnight_is_one_night() {
        let hours = Hours { from_minute: 1_380, to_minute: 60 };
        let due = |text, done| due(at(text), Automatic::Install, hours, "UTC", done);
        assert_eq!(due("2026-11-22T23:30:00Z", None), Some(20_261_122));
        assert_eq!(due("2026-11-23T00:30:00Z", Some(20_261_122)), None);
        assert_eq!(due("2026-11-23T00:30:00Z", None), Some(20_261_122));
        assert_eq!(due("2026-11-23T12:00:00Z", None), None);
    }

    #[test]
    fn a_box_without_a_clock_or_without_the_wish_does_nothing() {
        let hours = Hours { from_minute: 0, to_minute: 1_439 };
        let unset = Now { quality: ClockQuality::Unset, ..at("2026-11-22T12:00:00Z") };
        assert_eq!(due(unset, Automatic::Install, hours, "UTC", None), None);
        assert_eq!(due(at("2026-11-22T12:00:00Z"), Automatic::Never, hours, "UTC", None), None);
    }
}
