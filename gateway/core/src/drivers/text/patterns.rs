//! Regular expressions over the text of a message: what is said of a test, and each of its results.

use super::draft::{Draft, Pieces};
use crate::reading::Pattern;
use crate::text_rules::{Part, Patterns};
use regex_lite::Captures;
use std::collections::{HashMap, HashSet};

/// The tests of a message, each with the results that were found, in the order of the text.
pub(super) fn drafts(text: &str, rules: &Patterns) -> Vec<Draft> {
    let starts: Vec<usize> = match &rules.test_begins {
        Some(begins) => begins.regex().find_iter(text).map(|found| found.start()).collect(),
        None => Vec::new(),
    };
    let Some(first) = starts.first() else { return vec![draft(&Pieces::default(), text, rules)] };
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    // Looked at once, however many tests there are.
    let header = details(&text[..*first], rules);
    starts.iter().zip(ends).map(|(start, end)| draft(&header, &text[*start..end], rules)).collect()
}

/// One test; what is not said in its own text may stand in the `header` of all.
fn draft(header: &Pieces, text: &str, rules: &Patterns) -> Draft {
    let mut pieces = details(text, rules);
    pieces.fill_from(header);
    let mut results = results(text, &rules.results);
    let mut places = HashMap::<String, Vec<usize>>::new();
    for (place, result) in results.iter().enumerate() {
        places.entry(result.get(Part::Code).unwrap_or_default().to_owned()).or_default().push(place);
    }
    for reference in &rules.references {
        // The first that is found of a code counts: more of them would be looked up again and again for nothing.
        let mut seen = HashSet::new();
        for found in reference.regex().captures_iter(text) {
            let found = pieces_of(reference, &found);
            let code = found.get(Part::Code).unwrap_or_default();
            if let Some(known) = places.get(code).filter(|_| seen.insert(code.to_owned())) {
                known.iter().for_each(|place| results[*place].fill_from(&found));
            }
        }
    }
    Draft { pieces, results, text: text.to_owned() }
}

/// What the patterns of a test's details find.
fn details(text: &str, rules: &Patterns) -> Pieces {
    let mut pieces = Pieces::default();
    for detail in &rules.details {
        if let Some(found) = detail.regex().captures(text) {
            pieces.fill_from(&pieces_of(detail, &found));
        }
    }
    pieces
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
