//! What a finished test says as a whole: positive, invalid, and whether it repeats an earlier one.
//!
//! `test-v0` has an overall result (`detectionResult`, seed 000). Coded results are judged one by one: positive is a value
//! that reads POSITIVE, POS, DETECTED or REACTIVE, or a flag POS, DET or RR (HL7 table 0078); invalid is a value that reads
//! INVALID, ERROR or NO RESULT, or an order of which every result has the status X (LIS02-A2 9.9: cannot be done). Only the
//! first component of a value counts (`POSITIVE^`), in any letter case. Internal controls (the code IC, a code or name with
//! the word CONTROL) do not count.

use crate::event::{ResultValue, Test};
use serde_json::Value;

/// What a test says as a whole. A panel can be both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    pub positive: bool,
    pub invalid: bool,
}

/// The verdict of a finished test.
pub fn verdict(test: &Test) -> Verdict {
    let overall = test.result.as_ref().and_then(|result| result.get("detectionResult")).and_then(Value::as_str);
    if let Some(word) = overall {
        return Verdict { positive: word == "POSITIVE", invalid: word == "INVALID" };
    }
    let results: Vec<&ResultValue> = test.results.iter().filter(|result| !is_control(result)).collect();
    let reads = |result: &ResultValue, words: &[&str]| {
        let value = result.value.expose().split('^').next().unwrap_or_default().trim();
        words.iter().any(|word| value.eq_ignore_ascii_case(word))
    };
    let flagged = |result: &ResultValue| result.flags.iter().any(|flag| ["POS", "DET", "RR"].contains(&flag.as_str()));
    Verdict {
        positive: results
            .iter()
            .any(|result| reads(result, &["POSITIVE", "POS", "DETECTED", "REACTIVE"]) || flagged(result)),
        invalid: results.iter().any(|result| reads(result, &["INVALID", "ERROR", "NO RESULT"]))
            || (!results.is_empty() && results.iter().all(|result| result.status == "X")),
    }
}

/// Whether this test was run before, as far as the earlier ones of its sample tell: it brings a result under a code that one
/// of them has brought, or both are `test-v0` runs. A preliminary result (status P) is no run of its own, and one that
/// corrects, verifies or sends again an earlier one (C, V, R) is the same run (LIS02-A2 9.9).
pub fn is_repeat(earlier: &[Test], test: &Test) -> bool {
    let stands = |result: &&ResultValue| result.status != "P";
    let anew = |result: &&ResultValue| !["P", "C", "V", "R"].contains(&result.status.as_str());
    earlier.iter().filter(|before| before.id != test.id).any(|before| {
        let runs = before.result.is_some() && test.result.is_some();
        let known = |code: &str| before.results.iter().filter(stands).any(|result| result.code == code);
        runs || test.results.iter().filter(anew).any(|result| known(&result.code))
    })
}

fn is_control(result: &ResultValue) -> bool {
    let says = |text: &str| text.to_ascii_uppercase().contains("CONTROL");
    result.code.eq_ignore_ascii_case("IC") || says(&result.code) || says(&result.name)
}
