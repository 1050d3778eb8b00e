//! Where ids stand in LIS2-A2 records: the profile's places, else CONTRACT's.
//!
//! Invariant: without a profile the sample's id is in O.3, O.4, P.3 or P.4, the first that holds something, and the patient's
//! in P.3, else P.4.

use super::records::Record;
use crate::reading::{FieldPlace, Reading};

/// A field of the records of one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    letter: u8,
    field: usize,
    /// From 1; `None`: the first component that holds something.
    component: Option<usize>,
}

impl Spot {
    const fn field(letter: u8, field: usize) -> Spot {
        Spot { letter, field, component: None }
    }

    pub fn of(place: &FieldPlace) -> Spot {
        // Longer names are other protocols' segments.
        let letter = if let [letter] = place.record.as_bytes() { *letter } else { 0 };
        Spot { letter, field: place.field, component: place.component }
    }
}

const SAMPLE: &[Spot] = &[Spot::field(b'O', 3), Spot::field(b'O', 4), Spot::field(b'P', 3), Spot::field(b'P', 4)];
const PATIENT: &[Spot] = &[Spot::field(b'P', 3), Spot::field(b'P', 4)];

/// Where the sample's id of a test is.
pub(super) fn of_sample(reading: &Reading) -> Vec<Spot> {
    known(&reading.sample_id, SAMPLE)
}

/// Where the patient's id is.
pub(super) fn of_patient(reading: &Reading) -> Vec<Spot> {
    known(&reading.patient_id, PATIENT)
}

/// Places in Q are for queries alone.
fn known(places: &[FieldPlace], default: &[Spot]) -> Vec<Spot> {
    let told: Vec<Spot> = places.iter().map(Spot::of).filter(|spot| spot.letter != b'Q').collect();
    if told.is_empty() { default.to_vec() } else { told }
}

/// The first of these spots that holds something, and what. `used` is passed over with its whole field.
pub(super) fn first_of<'a>(
    spots: &[Spot],
    used: Option<Spot>,
    record: impl Fn(u8) -> Option<&'a Record>,
) -> Option<(Spot, String)> {
    let free = |spot: &&Spot| used.is_none_or(|used| (used.letter, used.field) != (spot.letter, spot.field));
    spots.iter().filter(free).find_map(|spot| Some((*spot, in_record(record(spot.letter)?, *spot)?)))
}

/// What stands there in a record of the spot's letter. `""` alone means "delete" (LIS2-A2), so it is nothing.
pub(super) fn in_record(record: &Record, spot: Spot) -> Option<String> {
    let Some(component) = spot.component.filter(|_| record.letter == spot.letter) else {
        return record.first_component(spot.field).filter(|_| record.letter == spot.letter);
    };
    let part = record.components(spot.field).into_iter().nth(component - 1)?;
    (!part.is_empty() && part != "\"\"").then_some(part)
}

/// Which component of one repeat of Q.3 is the sample's id, from 0. LIS2-A2: the patient's id is the first and the sample's
/// the second; some leave both empty and put it behind them. Sysmex sends `rack^tube^id^attribute`, where the attribute is one
/// of A, B, C and M (how the id was read).
pub(super) fn sample_asked_for(parts: &[String], reading: &Reading) -> Option<usize> {
    let holds = |place: usize| parts.get(place).is_some_and(|part| !part.is_empty() && part != "\"\"");
    let told = reading.sample_id.iter().find(|place| place.record == "Q" && place.field == 3);
    if let Some(component) = told.and_then(|place| place.component) {
        return Some(component - 1).filter(|place| holds(*place));
    }
    let attribute = parts.get(3).is_some_and(|part| matches!(part.as_str(), "A" | "B" | "C" | "M"));
    if attribute && (0..3).all(holds) {
        return Some(2);
    }
    [1, 0].into_iter().chain(2..parts.len()).find(|place| holds(*place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_a_query_is_found_where_makers_put_it() {
        let asked = |field: &str, places: &[&str]| {
            let parts: Vec<String> = field.split('^').map(|part| part.trim().to_owned()).collect();
            let sample_id = places.iter().filter_map(|place| FieldPlace::parse(place)).collect();
            let reading = Reading { sample_id, ..Reading::default() };
            sample_asked_for(&parts, &reading).map(|place| parts[place].clone())
        };
        for (field, expected) in [
            ("^S-1", Some("S-1")),
            ("PAT-7^S-1", Some("S-1")),
            ("S-1", Some("S-1")),
            ("S-1^", Some("S-1")),
            ("^^S-1^587^0^2^^S1^SC", Some("S-1")),
            ("2^1^         S-1^B", Some("S-1")),
            ("^S-1^RACK 1^D8", Some("S-1")),
            ("ALL", Some("ALL")),
            ("", None),
            ("^^", None),
        ] {
            assert_eq!(asked(field, &[]).as_deref(), expected, "{field}");
        }
        assert_eq!(asked("1^2^S-1", &["O.3", "Q.3.3"]).as_deref(), Some("S-1"));
        assert_eq!(asked("1^2^", &["Q.3.3"]), None);
    }
}
