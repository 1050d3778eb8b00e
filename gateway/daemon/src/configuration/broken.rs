//! What the YAML parser could not follow, in plain words and at the line where a person has to mend it, which often is not the
//! one at which the parser gave up.
//!
//! Invariant: nothing of the file is quoted.

use gateway_core::config::{Mistake, Place};
use serde_saphyr::granit_parser::{ErrorKind, ScanError};

/// `since`: the byte up to which everything was understood.
pub fn broken(text: &str, error: &ScanError, since: usize) -> Mistake {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    let mistake = |(line, column): (usize, usize), problem: &str, suggestion: &str| {
        Mistake::new(Place::At { line, column }, "", problem, suggestion)
    };
    if let Some(place) = tab_in_indentation(text, line) {
        let problem = "this line is indented with a tab, which YAML does not allow";
        return mistake(place, problem, "write spaces in place of the tab");
    }
    if nth(text, line).trim_start().starts_with("```") {
        let problem = "this line is of the page or the chat that the settings were copied from";
        return mistake((line, 1), problem, "remove the lines with ```");
    }
    match error.kind() {
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            let (problem, suggestion) = ("the \"quotes\" that open here are not closed", "close them in this line");
            mistake(opening_quote(text, since).unwrap_or((line, column)), problem, suggestion)
        }
        kind => {
            let may_be_above = [ErrorKind::MappingKeyNotAllowed, ErrorKind::MappingValueNotAllowed];
            let may_be_above = may_be_above.contains(kind) || *kind == ErrorKind::ExpectedBlockMappingKey;
            let (problem, suggestion) = in_words(kind);
            match continued(text, line, column).filter(|_| may_be_above) {
                Some((place, problem, suggestion)) => mistake(place, problem, suggestion),
                None => mistake((line, column), &problem, suggestion),
            }
        }
    }
}

/// The parser's error for somebody who has never heard of a mapping, and what to do.
fn in_words(kind: &ErrorKind) -> (String, &'static str) {
    let (problem, suggestion) = match kind {
        ErrorKind::UnexpectedCharacter { .. } => {
            ("a value cannot begin with this character", "put the value in \"quotes\"")
        }
        ErrorKind::UnclosedFlowCollection { open: '[' } | ErrorKind::ExpectedFlowSequenceSeparator => {
            ("a list in [brackets] is not closed, or lacks a comma", "write it as `[one, two]`")
        }
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::ExpectedFlowMappingSeparator => {
            ("a group in {braces} is not closed, or lacks a comma", "write it as `{ one: 1, two: 2 }`")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("something follows after the closing quotes", "put the whole value in quotes, or remove what follows")
        }
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => {
            ("a \\ in \"quotes\" has a meaning of its own", "put the value in 'single quotes' instead")
        }
        ErrorKind::MappingKeyNotAllowed | ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            ("there is a colon too many in this line", "put a value that has a colon in it in \"quotes\"")
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed => (
            "this line does not fit to the ones above it",
            "indent it by as many spaces as the lines that it belongs to, with the dash under the dashes",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("this line is no key with a colon", "write `key: value`, with a space after the colon")
        }
        ErrorKind::BomInsideDocument => ("there is an invisible mark (BOM) in this line", "type the line again"),
        // The parser's own words quote nothing of the file.
        other => {
            let suggestion = "look at this line and the one above it: colons, spaces in front, quotes";
            return (format!("this is not YAML: {other}"), suggestion);
        }
    };
    (problem.to_owned(), suggestion)
}

/// A line, counted from 1.
fn nth(text: &str, line: usize) -> &str {
    text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
}

fn indentation(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

/// The first line up to `last` that has a tab in its indentation, and where.
fn tab_in_indentation(text: &str, last: usize) -> Option<(usize, usize)> {
    text.lines().take(last + 1).enumerate().find_map(|(index, line)| {
        let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        let content = !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let column = indentation.chars().position(|c| c == '\t').filter(|_| content)?;
        Some((index + 1, column + 1))
    })
}

/// Where the first quote behind this byte stands.
fn opening_quote(text: &str, since: usize) -> Option<(usize, usize)> {
    let at = since + text.get(since..)?.find(['"', '\''])?;
    let before = &text[..at];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some((before.matches('\n').count() + 1, column))
}

/// Why a line with one colon has one too many: YAML reads it as the rest of the line above, which is where the slip is.
fn continued(text: &str, line: usize, column: usize) -> Option<((usize, usize), &'static str, &'static str)> {
    let this = nth(text, line);
    let before: String = this.chars().take(column.saturating_sub(1)).collect();
    if before.contains(": ") || before.contains(['{', '[', '"', '\'']) {
        return None;
    }
    let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let lines: Vec<&str> = text.lines().take(line.saturating_sub(1)).collect();
    let index = lines.iter().rposition(|line| is_code(line))?;
    let above = lines[index].split(" #").next().unwrap_or_default().trim_end();
    let first = indentation(above) + 1;
    let deeper = (
        (line, indentation(this) + 1),
        "this line is indented deeper than the one above it, which has its value already",
        "indent it by as many spaces as the lines that it belongs to",
    );
    let content = above.trim_start();
    let has_colon = content.contains(": ") || content.ends_with(':');
    let is_item = content.starts_with("- ");
    if content.starts_with('-') && !is_item && has_colon {
        return Some(((index + 1, first), "this dash lacks the space behind it", "write `- key: value`"));
    }
    if has_colon || is_item {
        return (indentation(this) > indentation(above)).then_some(deeper);
    }
    Some(match content.contains(':') {
        true => (
            (index + 1, first),
            "this line lacks the space behind its colon",
            "write `key: value`, with a space after the colon",
        ),
        false => (
            (index + 1, first),
            "this line lacks its colon",
            "write `key:` or `key: value`; in front of a remark write #",
        ),
    })
}
