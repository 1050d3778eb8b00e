//! What a finished test has found, in one shape for the dialects that send results one by one.

use crate::event::{Event, EventName, Personal, ResultValue, Test};
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
        name: String::new(),
        value: Personal::new(value),
        number: None,
        unit: String::new(),
        reference: String::new(),
        flags: Vec::new(),
        status: "F".to_owned(),
        at: test.finished_at.clone(),
        at_text: String::new(),
        comments: Vec::new(),
    }
}
