//! The pieces that were found of a test become the test. CONTRACT's rules: a value is the text as sent, a number only where
//! the whole of it is a decimal; a time is local, and null where it cannot be read.

use super::super::values::{decimal, local_time, names_a_control};
use crate::event::{Device, EventKind, EventName, Id, Identity, Personal, ResultValue, Test, TestState};
use crate::text_rules::{Part, TextRules};
use crate::time::Now;
use jiff::fmt::strtime::BrokenDownTime;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Dates that can be read in one way only; a profile need not name them.
const PLAIN_TIMES: &[&str] = &["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"];

/// The pieces of one test or of one result.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    /// The first that held something counts.
    parts: BTreeMap<Part, String>,
    flags: Vec<String>,
    comments: Vec<String>,
}

impl Pieces {
    /// Blank pieces say nothing.
    pub fn add(&mut self, part: Part, text: &str) {
        let text = text.trim();
        match part {
            _ if text.is_empty() => {}
            Part::Flag => self.flags.push(text.to_owned()),
            Part::Comment => self.comments.push(text.to_owned()),
            _ => {
                self.parts.entry(part).or_insert_with(|| text.to_owned());
            }
        }
    }

    pub fn get(&self, part: Part) -> Option<&str> {
        self.parts.get(&part).map(String::as_str)
    }

    fn text(&self, part: Part) -> String {
        self.get(part).unwrap_or_default().to_owned()
    }

    /// What was found only here is added to what was found before.
    pub fn fill_from(&mut self, other: &Pieces) {
        for (part, text) in &other.parts {
            self.parts.entry(*part).or_insert_with(|| text.clone());
        }
        self.comments.extend(other.comments.iter().cloned());
    }

    /// Date and time as sent, blanks between them squeezed.
    fn at_text(&self) -> String {
        let parts = match self.get(Part::At) {
            Some(at) => vec![at],
            None => [Part::Date, Part::Time].into_iter().filter_map(|part| self.get(part)).collect(),
        };
        parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whether it says what a result is: a code, and a value or at least a mark in a value's place.
    pub fn is_result(&self) -> bool {
        self.get(Part::Code).is_some() && (self.get(Part::Value).is_some() || !self.flags.is_empty())
    }
}

/// A test while its pieces are collected.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub pieces: Pieces,
    pub results: Vec<Pieces>,
    /// The text that is this test's own: what its id is made of, and what the patterns of control runs look at.
    pub text: String,
}

/// A time as it could be read.
struct Moment {
    /// RFC 3339 without offset.
    text: String,
    /// Whether it is down to the second, so that no other run of the analyzer has it.
    exact: bool,
}

fn moment(text: &str, times: &[String]) -> Option<Moment> {
    let formats = times.iter().map(String::as_str).chain(PLAIN_TIMES.iter().copied());
    for format in formats {
        let Ok(read) = BrokenDownTime::parse(format, text) else { continue };
        let Ok(date) = read.to_date() else { continue };
        // A date alone is its midnight, as in every other driver.
        let Ok(time) = (if read.hour().is_some() { read.to_time() } else { Ok(jiff::civil::Time::midnight()) }) else {
            continue;
        };
        let exact = read.second().is_some() && time != jiff::civil::Time::midnight();
        return Some(Moment { text: date.to_datetime(time).to_string(), exact });
    }
    let digits = local_time(text)?;
    let exact = text.bytes().filter(u8::is_ascii_digit).count() == 14 && !digits.ends_with("T00:00:00");
    Some(Moment { text: digits, exact })
}

impl Draft {
    /// The fact. `ordinal` tells it from others with the same text in the same message; `serial` from the same text in
    /// another message, where no time does.
    pub fn into_event(self, rules: &TextRules, now: Now, ordinal: u64, serial: u64) -> EventKind {
        let at_text = self.pieces.at_text();
        let at = moment(&at_text, &rules.times);
        let mut hash = Sha256::new();
        hash.update(self.text.as_bytes());
        // They may stand in a header that several tests share: equal results at the same time may be another sample's.
        for (part, text) in &self.pieces.parts {
            hash.update([*part as u8]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(ordinal.to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let exact = at.as_ref().is_some_and(|at| at.exact)
            || self.results.iter().any(|result| moment(&result.at_text(), &rules.times).is_some_and(|at| at.exact));
        let id = match exact {
            true => Id::derived(&[&hash]),
            false => {
                let (wall, mono) = (now.wall.0.to_be_bytes(), now.mono.0.to_be_bytes());
                Id::derived(&[&hash, &wall, &mono, &serial.to_be_bytes()])
            }
        };
        let matches = |pattern: &Option<crate::reading::Pattern>| {
            pattern.as_ref().is_some_and(|pattern| pattern.regex().is_match(&self.text))
        };
        let instrument_sample = self.pieces.get(Part::InstrumentSample);
        let sample = self.pieces.get(Part::Sample).or(instrument_sample);
        let results: Vec<ResultValue> =
            self.results.iter().map(|result| value(result, rules, at.as_ref(), &at_text)).collect();
        let last = results.iter().filter_map(|result| result.at.clone()).max();
        let test = Test {
            sample_id: sample.map(Personal::new),
            instrument_sample_id: instrument_sample.map(Personal::new),
            patient_id: self.pieces.get(Part::Patient).map(Personal::new),
            qc: matches(&rules.qc) || sample.is_some_and(names_a_control),
            calibration: matches(&rules.calibration),
            finished_at: at.map(|at| at.text).or(last),
            results,
            comments: self.pieces.comments.iter().map(Personal::new).collect(),
            ..Test::new(id, TestState::Done)
        };
        let (model, sn) = (self.pieces.get(Part::Model), self.pieces.get(Part::Serial));
        let (model, sn) = (model.map(str::to_owned), sn.map(str::to_owned));
        let device = (model.is_some() || sn.is_some()).then(|| Device { model, sn, details: Default::default() });
        let identity = exact.then_some(Identity(hash));
        EventKind { identity, ..EventKind::about_test(EventName::TestFinished, device, test) }
    }
}

fn value(pieces: &Pieces, rules: &TextRules, test_at: Option<&Moment>, test_at_text: &str) -> ResultValue {
    let value = pieces.text(Part::Value);
    let own = pieces.at_text();
    let (at, at_text) = match own.is_empty() {
        true => (test_at.map(|at| at.text.clone()), test_at_text.to_owned()),
        false => (moment(&own, &rules.times).map(|at| at.text), own),
    };
    let reference = match (pieces.get(Part::Reference), pieces.get(Part::Low), pieces.get(Part::High)) {
        (Some(reference), _, _) => reference.to_owned(),
        (None, None, None) => String::new(),
        (None, low, high) => format!("{} - {}", low.unwrap_or_default(), high.unwrap_or_default()).trim().to_owned(),
    };
    let flag = |flag: &String| rules.flags.get(flag).unwrap_or(flag).clone();
    ResultValue {
        code: pieces.text(Part::Code),
        name: pieces.text(Part::Name),
        number: decimal(&value),
        value: Personal::new(value),
        unit: pieces.text(Part::Unit),
        reference,
        flags: pieces.flags.iter().map(flag).filter(|flag| !flag.is_empty()).collect(),
        status: pieces.text(Part::Status),
        at,
        at_text,
        comments: pieces.comments.iter().map(Personal::new).collect(),
        ..ResultValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_the_profile_first_and_an_unreadable_one_is_none() {
        let read = |text: &str, formats: &[&str]| {
            let formats: Vec<String> = formats.iter().map(|format| (*format).to_owned()).collect();
            moment(text, &formats).map(|moment| (moment.text, moment.exact))
        };
        let known = |text: &str, exact| Some((text.to_owned(), exact));
        assert_eq!(read("12:58 20 Nov 2019", &["%H:%M %d %b %Y"]), known("2019-11-20T12:58:00", false));
        assert_eq!(read("17/09/2021 13:30", &["%d/%m/%Y %H:%M"]), known("2021-09-17T13:30:00", false));
        assert_eq!(read("10/25/24 18:35", &["%m/%d/%y %H:%M"]), known("2024-10-25T18:35:00", false));
        assert_eq!(read("10/25/24 6:35:07 PM", &["%m/%d/%y %I:%M:%S %p"]), known("2024-10-25T18:35:07", true));
        assert_eq!(read("2026-03-15 09:15:23", &[]), known("2026-03-15T09:15:23", true));
        assert_eq!(read("2026-03-15", &[]), known("2026-03-15T00:00:00", false));
        assert_eq!(read("20260315091523", &[]), known("2026-03-15T09:15:23", true));
        assert_eq!(read("2026-03-15 00:00:00", &[]), known("2026-03-15T00:00:00", false));
        for text in ["", "00/00/0000", "31/02/2024 10:00", "soon", "13:30"] {
            assert_eq!(read(text, &["%d/%m/%Y %H:%M"]), None, "{text}");
        }
    }
}
