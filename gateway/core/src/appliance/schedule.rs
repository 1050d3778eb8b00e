//! When the box looks for updates by itself: once in each night's window of the settings.
//!
//! Invariant: a box that does not know what time it is does nothing by itself.

use super::{Update, UpdatePhase};
use crate::config::{Automatic, Hours};
use crate::time::{ClockQuality, Now, Timestamp};
use jiff::tz::TimeZone;

/// Whether a look is due, and the day that it is then done for. `done`: the day of the last one, as this has told it. `last`: how
/// the last update ended, which outlasts a start of the box; while nothing is known of it nothing is due.
pub fn due(
    now: Now,
    automatic: Automatic,
    between: Hours,
    zone: &str,
    done: Option<i64>,
    last: Option<&Update>,
) -> Option<i64> {
    if automatic == Automatic::Never || now.quality == ClockQuality::Unset {
        return None;
    }
    let last = last.filter(|last| !last.phase.is_going_on())?;
    let night = night_of(now.wall, between, zone)?;
    // A box as it came has written down when it began to count.
    let was_update = last.phase != UpdatePhase::None || !last.reason.is_empty();
    let was_tonight = was_update && night_of(last.at, between, zone) == Some(night);
    (done != Some(night) && !was_tonight).then_some(night)
}

/// The day of the window in which this moment is.
fn night_of(wall: Timestamp, between: Hours, zone: &str) -> Option<i64> {
    let moment = jiff::Timestamp::from_millisecond(wall.0).ok()?;
    let local = moment.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC)).datetime();
    let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
    if !between.has(minute) {
        return None;
    }
    // A window over midnight belongs to the day on which it began.
    let begun_yesterday = between.from_minute > between.to_minute && minute < between.to_minute;
    let date = if begun_yesterday { local.date().yesterday().ok()? } else { local.date() };
    Some(i64::from(date.year()) * 10_000 + i64::from(date.month()) * 100 + i64::from(date.day()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Mono;

    fn at(text: &str) -> Now {
        let wall = Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        Now { mono: Mono(0), wall, quality: ClockQuality::Synchronized }
    }

    fn last(phase: UpdatePhase, text: &str) -> Update {
        Update { phase, percent: None, from: None, to: None, reason: String::new(), at: at(text).wall }
    }

    #[test]
    fn it_looks_once_a_night_in_the_clinics_own_time() {
        let hours = Hours { from_minute: 120, to_minute: 300 };
        let none = last(UpdatePhase::None, "2026-11-22T01:00:00Z");
        let due = |text, done| due(at(text), Automatic::Check, hours, "Europe/Berlin", done, Some(&none));
        assert_eq!(due("2026-11-22T00:59:00Z", None), None);
        assert_eq!(due("2026-11-22T01:00:00Z", None), Some(20_261_122));
        assert_eq!(due("2026-11-22T03:59:00Z", Some(20_261_122)), None);
        assert_eq!(due("2026-11-23T03:59:00Z", Some(20_261_122)), Some(20_261_123));
        assert_eq!(due("2026-11-22T04:00:00Z", None), None);
    }

    #[test]
    fn a_window_over_midnight_is_one_night() {
        let hours = Hours { from_minute: 1_380, to_minute: 60 };
        let none = last(UpdatePhase::None, "2026-11-22T23:00:00Z");
        let due = |text, done| due(at(text), Automatic::Install, hours, "UTC", done, Some(&none));
        assert_eq!(due("2026-11-22T23:30:00Z", None), Some(20_261_122));
        assert_eq!(due("2026-11-23T00:30:00Z", Some(20_261_122)), None);
        assert_eq!(due("2026-11-23T00:30:00Z", None), Some(20_261_122));
        assert_eq!(due("2026-11-23T12:00:00Z", None), None);
    }

    #[test]
    fn a_box_without_a_clock_or_without_the_wish_does_nothing() {
        let hours = Hours { from_minute: 0, to_minute: 1_439 };
        let unset = Now { quality: ClockQuality::Unset, ..at("2026-11-22T12:00:00Z") };
        let good = last(UpdatePhase::Good, "2026-11-20T12:00:00Z");
        assert_eq!(due(unset, Automatic::Install, hours, "UTC", None, Some(&good)), None);
        assert_eq!(due(at("2026-11-22T12:00:00Z"), Automatic::Never, hours, "UTC", None, Some(&good)), None);
    }

    #[test]
    fn a_start_in_the_night_asks_for_no_second_update_and_none_while_one_goes_on() {
        let hours = Hours { from_minute: 1_380, to_minute: 60 };
        let due = |last: Option<&Update>| due(at("2026-11-23T00:30:00Z"), Automatic::Install, hours, "UTC", None, last);
        for phase in [UpdatePhase::Good, UpdatePhase::RolledBack, UpdatePhase::Failed] {
            assert_eq!(due(Some(&last(phase, "2026-11-22T23:10:00Z"))), None, "{phase:?}");
            assert_eq!(due(Some(&last(phase, "2026-11-22T12:00:00Z"))), Some(20_261_122), "{phase:?}");
        }
        for phase in [UpdatePhase::Restarting, UpdatePhase::Proving, UpdatePhase::Installing] {
            assert_eq!(due(Some(&last(phase, "2026-11-20T12:00:00Z"))), None, "{phase:?}");
        }
        assert_eq!(due(None), None, "nobody knows yet");
    }
}
