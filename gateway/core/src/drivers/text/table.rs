//! A table: lines of cells under a line of headings, each row a test. What a column holds is known by its heading, so an
//! export with more columns, or in another order, is read the same.

use super::draft::{Draft, Pieces};
use crate::reading::Pattern;
use crate::text_rules::{Part, Table};

/// The tests of a table, and which rows have not the cells that the headings promise, the first being 1.
pub(super) struct Rows {
    pub drafts: Vec<Draft>,
    pub damaged: Vec<usize>,
}

/// What a column holds.
enum Held {
    Nothing,
    Part(Part),
    Result(Pieces),
    FlagOf(String),
}

/// `None`: there is no line of headings.
pub(super) fn rows(text: &str, table: &Table) -> Option<Rows> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let headings = match &table.header {
        Some(header) => lines.find(|line| header.regex().is_match(line))?,
        None => lines.next()?,
    };
    let held: Vec<Held> = cells(headings, table.delimiter).iter().map(|heading| held(heading.trim(), table)).collect();
    let mut rows = Rows { drafts: Vec::new(), damaged: Vec::new() };
    for (place, line) in lines.enumerate() {
        let cells = cells(line, table.delimiter);
        let more = cells.iter().skip(held.len()).any(|cell| !cell.trim().is_empty());
        if cells.len() < held.len() || more {
            rows.damaged.push(place + 1);
            continue;
        }
        rows.drafts.push(draft(line, &cells, &held, table.result_heading.is_some()));
    }
    Some(rows)
}

fn held(heading: &str, table: &Table) -> Held {
    match table.columns.get(heading) {
        Some(Some(part)) => return Held::Part(*part),
        Some(None) => return Held::Nothing,
        None => {}
    }
    let group = |pattern: &Option<Pattern>, names: &[&str]| {
        let found = pattern.as_ref()?.regex().captures(heading)?;
        let mut pieces = Pieces::default();
        for name in names {
            if let (Some(part), Some(text)) = (Part::named(name), found.name(name)) {
                pieces.add(part, text.as_str());
            }
        }
        pieces.get(Part::Code).is_some().then_some(pieces)
    };
    if let Some(flag) = group(&table.flag_heading, &["code"]) {
        return Held::FlagOf(flag.get(Part::Code).unwrap_or_default().to_owned());
    }
    group(&table.result_heading, &["code", "name", "unit"]).map_or(Held::Nothing, Held::Result)
}

fn draft(line: &str, cells: &[String], held: &[Held], wide: bool) -> Draft {
    let mut draft = Draft { text: line.to_owned(), ..Draft::default() };
    let mut only = Pieces::default();
    for (cell, held) in cells.iter().zip(held) {
        match held {
            Held::Nothing => {}
            Held::Part(part) if part.is_of_result() => only.add(*part, cell),
            Held::Part(part) => draft.pieces.add(*part, cell),
            Held::Result(known) => {
                let mut result = known.clone();
                result.add(Part::Value, cell);
                draft.results.push(result);
            }
            Held::FlagOf(code) => {
                let same = |result: &&mut Pieces| result.get(Part::Code) == Some(code);
                draft.results.iter_mut().filter(same).for_each(|result| result.add(Part::Flag, cell));
            }
        }
    }
    if !wide {
        draft.results.push(only);
    }
    draft.results.retain(Pieces::is_result);
    draft
}

/// The cells of a line. A cell in double quotes may hold the delimiter, and a quote as two (RFC 4180, 2).
fn cells(line: &str, delimiter: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let cell = cells.last_mut().expect("there is always a last cell");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted || cell.trim().is_empty() => quoted = !quoted,
            letter if letter == delimiter && !quoted => cells.push(String::new()),
            letter => cell.push(letter),
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_at_delimiters_outside_of_quotes() {
        for (line, expected) in [
            ("a;b;", vec!["a", "b", ""]),
            ("\"a;b\";c", vec!["a;b", "c"]),
            ("\"a \"\"b\"\"\";5\" wide", vec!["a \"b\"", "5\" wide"]),
            ("", vec![""]),
        ] {
            assert_eq!(cells(line, ';'), expected, "{line}");
        }
    }
}
