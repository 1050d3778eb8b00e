//! The device's clock beside ours. POCT1-A writes times as ISO 8601, mostly with an offset from UTC, and many devices send an
//! offset that nobody has ever set.

use crate::time::{ClockQuality, Now};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A clock that is wrong by no more than this is left alone, in seconds.
const TOLERATED_SECONDS: i64 = 60;
/// Time zones differ by whole half hours (but for a few).
const HALF_HOUR_SECONDS: i64 = 1800;

/// A time as the device writes it, without its offset and fractions of a second; a date alone is its midnight.
pub(super) fn local(text: &str) -> Option<DateTime> {
    let text = text.trim();
    let parse = |length: usize| text.get(..length).and_then(|part| part.parse::<DateTime>().ok());
    let rest_is =
        |from: usize, signs: &[char]| text.get(from..).is_some_and(|rest| rest.is_empty() || rest.starts_with(signs));
    if rest_is(19, &['.', ',', '+', '-', 'Z']) {
        return parse(19);
    }
    if rest_is(16, &['+', '-', 'Z']) {
        return parse(16);
    }
    if text.len() == 10 { parse(10) } else { None }
}

/// Now, as our documents write it.
pub(super) fn written(now: Now, zone: &TimeZone) -> String {
    let moment = jiff::Timestamp::from_millisecond(now.wall.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Whether the device's clock should be set: ours is kept by a time source, and the device's differs by more than a minute,
/// both with its offset and without. Where no time zone was set for the gateway, a difference of whole half hours tells
/// nothing about the clock and is left alone.
pub(super) fn is_wrong(stamp: &str, now: Now, zone: &TimeZone) -> bool {
    let (ClockQuality::Synchronized, Some(told)) = (now.quality, local(stamp)) else { return false };
    let Ok(ours) = jiff::Timestamp::from_millisecond(now.wall.0) else { return false };
    let here = ours.to_zoned(zone.clone()).datetime();
    let apart = |a: DateTime, b: DateTime| Some(a.duration_since(b).as_secs().abs());
    let by_zone = apart(told, here);
    let by_offset = stamp.trim().parse::<jiff::Timestamp>().ok().map(|told| told.duration_since(ours).as_secs().abs());
    let Some(wrong_by) = by_zone.into_iter().chain(by_offset).min() else { return false };
    let beside = wrong_by % HALF_HOUR_SECONDS;
    let whole = beside.min(HALF_HOUR_SECONDS - beside) <= TOLERATED_SECONDS && wrong_by <= 15 * 3600;
    wrong_by > TOLERATED_SECONDS && !(whole && *zone == TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Mono, Timestamp};

    /// 2026-11-21T20:14:03Z
    fn now(quality: ClockQuality) -> Now {
        Now { mono: Mono(0), wall: Timestamp(1_795_292_043_000), quality }
    }

    #[test]
    fn times_are_read_with_and_without_offset() {
        let read = |text| local(text).map(|time| time.to_string());
        for text in
            ["2018-07-26T15:51:26", "2018-07-26T15:51:26-08:00", "2018-07-26T15:51:26.00Z", " 2018-07-26T15:51:26 "]
        {
            assert_eq!(read(text).as_deref(), Some("2018-07-26T15:51:26"), "{text}");
        }
        assert_eq!(read("2018-07-26T15:51+01:00").as_deref(), Some("2018-07-26T15:51:00"));
        assert_eq!(read("2018-07-26").as_deref(), Some("2018-07-26T00:00:00"));
        for text in ["", "2018-13-26T15:51:26", "20180726155126", "2018-07-26T15:51:26x", "\u{e4}018-07-26"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_is_set_only_where_it_is_surely_wrong() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let synchronized = now(ClockQuality::Synchronized);
        assert_eq!(written(synchronized, &berlin), "2026-11-21T21:14:03+01:00");
        for (stamp, in_utc, in_berlin) in [
            ("2026-11-21T20:14:40+00:00", false, false),
            ("2026-11-21T21:13:30", false, false),
            ("2026-11-21T21:20:30", true, true),
            ("2026-11-21T22:14:03", false, true),
            ("2026-11-21T21:14:03-08:00", false, false),
            ("2026-11-21T20:20:03Z", true, true),
            ("2006-01-01T13:40:47-08:00", true, true),
            ("", false, false),
            ("yesterday", false, false),
        ] {
            assert_eq!(is_wrong(stamp, synchronized, &TimeZone::UTC), in_utc, "{stamp} in UTC");
            assert_eq!(is_wrong(stamp, synchronized, &berlin), in_berlin, "{stamp} in Berlin");
            assert!(!is_wrong(stamp, now(ClockQuality::Unsynchronized), &berlin));
        }
    }
}
