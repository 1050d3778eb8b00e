//! Regular expressions over the text of a message: what is said of a test, and each of its results.

use super::draft::{Draft, Pieces};
use crate::reading::Pattern;
use crate::text_rules::{Part, Patterns};
use regex_lite::Captures;

/// The tests of a message, each with the results that were found, in the order of the text.
pub(super) fn drafts(text: &str, rules: &Patterns) -> Vec<Draft> {
    let starts: Vec<usize> = match &rules.test_begins {
        Some(begins) => begins.regex().find_iter(text).map(|found| found.start()).collect(),
        None => Vec::new(),
    };
    let Some(first) = starts.first() else { return vec![draft("", text, rules)] };
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| draft(&text[..*first], &text[*start..end], rules)).collect()
}

/// One test; what is not said in its own text may stand in the `header` of all.
fn draft(header: &str, text: &str, rules: &Patterns) -> Draft {
    let mut pieces = Pieces::default();
    for part in [text, header] {
        for detail in &rules.details {
            if let Some(found) = detail.regex().captures(part) {
                pieces.fill_from(&pieces_of(detail, &found));
            }
        }
    }
    let mut results = results(text, &rules.results);
    for reference in &rules.references {
        for found in reference.regex().captures_iter(text) {
            let found = pieces_of(reference, &found);
            let same = |result: &&mut Pieces| result.get(Part::Code) == found.get(Part::Code);
            results.iter_mut().filter(same).for_each(|result| result.fill_from(&found));
        }
    }
    Draft { pieces, results, text: text.to_owned() }
}

/// Every match that holds a result; where two overlap the earlier pattern's counts.
fn results(text: &str, patterns: &[Pattern]) -> Vec<Pieces> {
    let mut found = Vec::new();
    for (place, pattern) in patterns.iter().enumerate() {
        for captures in pattern.regex().captures_iter(text) {
            let pieces = pieces_of(pattern, &captures);
            let whole = captures.get(0).map_or(0..0, |whole| whole.range());
            if pieces.is_result() {
                found.push((whole, place, pieces));
            }
        }
    }
    found.sort_by_key(|(range, place, _)| (range.start, *place));
    let mut end = 0;
    found.retain(|(range, _, _)| {
        let apart = range.start >= end;
        end = if apart { range.end } else { end };
        apart
    });
    found.into_iter().map(|(_, _, pieces)| pieces).collect()
}

fn pieces_of(pattern: &Pattern, found: &Captures<'_>) -> Pieces {
    let mut pieces = Pieces::default();
    for name in pattern.regex().capture_names().flatten() {
        if let (Some(part), Some(text)) = (Part::named(name), found.name(name)) {
            pieces.add(part, text.as_str());
        }
    }
    pieces
}
