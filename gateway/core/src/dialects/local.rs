//! An analyzer's local times as moments: with the offset that its clock has in the clinic's time zone.

use super::RenderError;
use crate::time::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A clinic's time zone.
pub(super) struct Zone(TimeZone);

/// What an analyzer's time text says.
pub(super) enum Local {
    /// A day without a time.
    Day(Date),
    Moment(jiff::Zoned),
}

impl Zone {
    /// The zone of that IANA name; nothing is UTC.
    pub(super) fn named(name: &str) -> Result<Zone, RenderError> {
        if name.is_empty() {
            return Ok(Zone(TimeZone::UTC));
        }
        let unknown = |_| RenderError::settings("`gateway.time_zone` is not a time zone that this machine knows");
        TimeZone::get(name).map(Zone).map_err(unknown)
    }

    /// Reads RFC 3339 without offset, as events carry it (with one it is taken as it is). `None`: it cannot be read. A time
    /// that the clock change skips or repeats is read with the offset before the change.
    pub(super) fn read(&self, text: &str) -> Option<Local> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Some(Local::Moment(moment.to_zoned(self.0.clone())));
        }
        if text.len() == "2026-11-21".len() {
            return text.parse().ok().map(Local::Day);
        }
        let local: DateTime = text.parse().ok()?;
        local.to_zoned(self.0.clone()).ok().map(Local::Moment)
    }

    /// A moment of the gateway in this zone.
    pub(super) fn at(&self, moment: Timestamp) -> jiff::Zoned {
        let moment = jiff::Timestamp::from_millisecond(moment.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        moment.to_zoned(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_gets_the_offset_of_its_day() {
        let zone = Zone::named("Europe/Berlin").expect("a zone");
        let offset = |text: &str| match zone.read(text) {
            Some(Local::Moment(moment)) => moment.strftime("%FT%T%:z").to_string(),
            Some(Local::Day(day)) => day.to_string(),
            None => "none".to_owned(),
        };
        assert_eq!(offset("2026-11-21T20:14:03"), "2026-11-21T20:14:03+01:00");
        assert_eq!(offset("2026-07-21T20:14:03"), "2026-07-21T20:14:03+02:00");
        assert_eq!(offset("2026-07-21T20:14:03Z"), "2026-07-21T22:14:03+02:00");
        assert_eq!(offset("2026-07-21"), "2026-07-21");
        assert_eq!(offset("soon"), "none");
    }

    #[test]
    fn an_unknown_zone_is_a_fault_of_the_settings() {
        assert!(Zone::named("Europe/Nowhere").is_err_and(|error| error.is_settings));
        assert!(Zone::named("").is_ok());
    }
}
