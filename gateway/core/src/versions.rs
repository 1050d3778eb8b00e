//! Corrections: a test stated again is a new version of the same test.
//!
//! Invariant: a version is whole. What a correction leaves out is carried over from the version before it, so that a
//! receiver that replaces the one by the other loses no result. `Test::corrected` names what is different.

use crate::event::{Personal, ResultValue, Test};
use std::collections::BTreeSet;

/// The result status of a correction (LIS02-A2 9.9 `C`; HL7 table 0085 `C`).
const CORRECTED: &str = "C";

/// Whether the analyzer says that it corrects what it has reported before.
pub fn is_correction(test: &Test) -> bool {
    test.results.iter().any(|result| result.status == CORRECTED)
}

/// Whether this correction may mean that earlier test: both are control runs or neither is, one of the corrected codes was
/// reported there, and it is not said to be of another patient. A sample's id may be used again.
pub fn corrects(correction: &Test, earlier: &Test) -> bool {
    let alike = (correction.qc, correction.calibration) == (earlier.qc, earlier.calibration)
        && patients(correction, earlier).is_none_or(|(now, before)| now == before);
    let codes: BTreeSet<&str> = earlier.results.iter().map(|result| result.code.as_str()).collect();
    let mut corrected = correction.results.iter().filter(|result| result.status == CORRECTED);
    alike && corrected.any(|result| codes.contains(result.code.as_str()))
}

/// Whether both name the same patient.
pub fn same_patient(correction: &Test, earlier: &Test) -> bool {
    patients(correction, earlier).is_some_and(|(now, before)| now == before)
}

fn patients<'a>(correction: &'a Test, earlier: &'a Test) -> Option<(&'a str, &'a str)> {
    let id =
        |test: &'a Test| test.patient_id.as_ref().map(|id| Personal::expose(id).trim()).filter(|id| !id.is_empty());
    id(correction).zip(id(earlier))
}

/// The next version of `earlier`: what the correction says, laid over it. Results are told apart by their codes; where a
/// code stands more than once, by their order too.
pub fn laid_over(earlier: &Test, correction: &Test) -> Test {
    let mut results = earlier.results.clone();
    let mut taken = vec![false; results.len()];
    for result in &correction.results {
        let place = results.iter().zip(&taken).position(|(known, taken)| !taken && known.code == result.code);
        match place {
            Some(place) => {
                results[place] = result.clone();
                taken[place] = true;
            }
            None => {
                results.push(result.clone());
                taken.push(true);
            }
        }
    }
    let newer = correction.clone();
    let mut next = Test {
        id: earlier.id,
        sample_id: newer.sample_id.or_else(|| earlier.sample_id.clone()),
        instrument_sample_id: newer.instrument_sample_id.or_else(|| earlier.instrument_sample_id.clone()),
        patient_id: newer.patient_id.or_else(|| earlier.patient_id.clone()),
        started_at: earlier.started_at.clone().or(newer.started_at),
        finished_at: newer.finished_at.or_else(|| earlier.finished_at.clone()),
        results,
        comments: if newer.comments.is_empty() { earlier.comments.clone() } else { newer.comments },
        data: earlier.data.clone(),
        result: newer.result.or_else(|| earlier.result.clone()),
        ..newer
    };
    let said_to_be = correction.results.iter().filter(|result| result.status == CORRECTED);
    next.corrected = changed_codes(earlier, &next);
    for result in said_to_be {
        if !next.corrected.contains(&result.code) {
            next.corrected.push(result.code.clone());
        }
    }
    numbered_after(next, earlier)
}

/// `now` is what is read today where `stored` was read before: the next version, or `None` if they say the same. The
/// samples of a run are not read again.
pub fn read_anew(stored: &Test, now: &Test) -> Option<Test> {
    let next = Test {
        id: stored.id,
        state: stored.state,
        version: stored.version,
        corrected: stored.corrected.clone(),
        data: stored.data.clone(),
        ..now.clone()
    };
    if next == *stored {
        return None;
    }
    let corrected = changed_codes(stored, &next);
    Some(numbered_after(Test { corrected, ..next }, stored))
}

fn numbered_after(next: Test, earlier: &Test) -> Test {
    Test { version: earlier.version.saturating_add(1), ..next }
}

/// The codes under which something else stands than before, each once, in the order of the newer test and then of those
/// that it has no more.
fn changed_codes(before: &Test, after: &Test) -> Vec<String> {
    let under = |test: &'_ Test, code: &str| {
        test.results.iter().filter(|result| result.code == code).cloned().collect::<Vec<ResultValue>>()
    };
    let mut codes: Vec<String> = Vec::new();
    for result in after.results.iter().chain(&before.results) {
        let code = &result.code;
        if !codes.contains(code) && under(before, code) != under(after, code) {
            codes.push(code.clone());
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, Personal, TestState};

    fn test(results: &[(&str, &str, &str)]) -> Test {
        let result = |(code, value, status): &(&str, &str, &str)| ResultValue {
            code: (*code).to_owned(),
            value: Personal::new(*value),
            status: (*status).to_owned(),
            ..ResultValue::default()
        };
        let results = results.iter().map(result).collect();
        Test { results, ..Test::new(Id([1; 16]), TestState::Done) }
    }

    fn values(test: &Test) -> Vec<(&str, &str)> {
        test.results.iter().map(|result| (result.code.as_str(), result.value.expose())).collect()
    }

    #[test]
    fn a_correction_carries_what_it_leaves_out() {
        let first = Test {
            sample_id: Some(Personal::new("S-1")),
            comments: vec![Personal::new("haemolytic")],
            ..test(&[("WBC", "5.5", "F"), ("RBC", "4.5", "F")])
        };
        let correction = Test { id: Id([2; 16]), ..test(&[("WBC", "5.9", "C"), ("PLT", "200", "F")]) };
        let second = laid_over(&first, &correction);
        assert_eq!((second.id, second.version), (first.id, 2));
        assert_eq!(values(&second), [("WBC", "5.9"), ("RBC", "4.5"), ("PLT", "200")]);
        assert_eq!(second.corrected, ["WBC", "PLT"]);
        assert_eq!((&second.sample_id, &second.comments), (&first.sample_id, &first.comments));
        let third = laid_over(&second, &test(&[("RBC", "4.5", "C")]));
        assert_eq!((third.version, third.corrected), (3, vec!["RBC".to_owned()]));
    }

    #[test]
    fn codes_that_stand_twice_are_corrected_in_their_order() {
        let first = test(&[("NOTE", "a", "F"), ("NOTE", "b", "F")]);
        let second = laid_over(&first, &test(&[("NOTE", "c", "C")]));
        assert_eq!(values(&second), [("NOTE", "c"), ("NOTE", "b")]);
    }

    #[test]
    fn only_what_was_reported_can_be_corrected() {
        let first = test(&[("WBC", "5.5", "F")]);
        assert!(corrects(&test(&[("WBC", "5.9", "C")]), &first));
        assert!(!corrects(&test(&[("RBC", "4.1", "C"), ("WBC", "5.5", "F")]), &first));
        assert!(!corrects(&Test { qc: true, ..test(&[("WBC", "5.9", "C")]) }, &first));
        let of = |patient: &str, test: Test| Test { patient_id: Some(Personal::new(patient)), ..test };
        let (now, before) = (of("P-2", test(&[("WBC", "5.9", "C")])), of("P-1", first.clone()));
        assert!(!corrects(&now, &before) && corrects(&now, &first) && corrects(&of("P-1 ", now), &before));
        assert!(is_correction(&test(&[("WBC", "5.9", "C")])) && !is_correction(&first));
    }

    #[test]
    fn what_reads_the_same_is_no_new_version() {
        let stored = Test { version: 2, corrected: vec!["WBC".to_owned()], ..test(&[("WBC", "5.5", "F")]) };
        let same = Test { id: Id([9; 16]), ..test(&[("WBC", "5.5", "F")]) };
        assert_eq!(read_anew(&stored, &same), None);
        let other = read_anew(&stored, &test(&[("RBC", "5.5", "F")])).expect("a change");
        assert_eq!((other.id, other.version), (stored.id, 3));
        assert_eq!(other.corrected, ["RBC", "WBC"]);
        let patient = Test { patient_id: Some(Personal::new("P-1")), ..same };
        assert_eq!(read_anew(&stored, &patient).map(|next| next.corrected), Some(Vec::new()));
    }
}
