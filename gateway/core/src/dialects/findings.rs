//! What a finished test has found, in one shape for the dialects that send results one by one.

use super::{Endpoint, EndpointFault};
use crate::event::{Event, EventName, Personal, ResultValue, Test};
use crate::reading::is_loinc;
use serde_json::Value;
use std::borrow::Cow;

/// Whether there is anything to send: a finished test with results, or an amplification run with its result object.
pub(super) fn has_findings(event: &Event) -> bool {
    let found = |test: &Test| !test.results.is_empty() || matches!(test.result, Some(Value::Object(_)));
    event.kind.name == EventName::TestFinished && event.kind.test.as_ref().is_some_and(found)
}

/// The results of the test; of an amplification run (seed 000) the overall `detectionResult` first, then each subgroup's,
/// all of them final.
pub(super) fn findings(test: &Test) -> Cow<'_, [ResultValue]> {
    let Some(Value::Object(result)) = test.result.as_ref().filter(|_| test.results.is_empty()) else {
        return Cow::Borrowed(&test.results);
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let overall = finding(test, "detectionResult".to_owned(), text(result.get("detectionResult")));
    let groups = result.get("subGroupResults").and_then(Value::as_array).into_iter().flatten();
    let groups = groups.map(|group| finding(test, text(group.get("name")), text(group.get("result"))));
    Cow::Owned(std::iter::once(overall).chain(groups).collect())
}

fn finding(test: &Test, code: String, value: String) -> ResultValue {
    ResultValue {
        code,
        value: Personal::new(value),
        status: "F".to_owned(),
        at: test.finished_at.clone(),
        ..ResultValue::default()
    }
}

/// What is wrong with `loinc:`: a code that is none. Its last digit checks the others (modulus 10), so a slip is told.
pub(super) fn loinc_faults(endpoint: &Endpoint) -> Vec<EndpointFault> {
    let bad = endpoint.loinc.iter().filter(|(_, loinc)| !is_loinc(loinc));
    let fault = |(code, loinc): (&String, &String)| EndpointFault {
        key: "loinc",
        problem: format!("`{loinc}`, written for `{code}`, is no LOINC code: its check digit is not right"),
        advice: "look the code up at loinc.org and write it with its hyphen, such as `6690-2`, or remove the line"
            .to_owned(),
    };
    bad.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_loinc_code_is_told() {
        let faults = |loinc: &str| {
            let loinc = [("WBC".to_owned(), loinc.to_owned())].into();
            loinc_faults(&Endpoint { loinc, ..Endpoint::default() }).len()
        };
        for good in ["6690-2", "2951-2", "718-7", "94500-6"] {
            assert_eq!(faults(good), 0, "{good}");
        }
        for bad in ["6690-3", "6960-2", "6690", "-2", "WBC", "6690-2 ", "12345678-9", "\u{fc}-1", ""] {
            assert_eq!(faults(bad), 1, "{bad}");
        }
    }
}
