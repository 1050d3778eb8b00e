//! Pieces at fixed places of a message: the old analyzers that write no separators and no decimal points.

use super::draft::{Draft, Pieces};
use crate::text_rules::{Column, ColumnIs, Part};

/// The one test of the message; `None` if the message is too short for these columns.
pub(super) fn draft(text: &str, columns: &[Column]) -> Option<Draft> {
    let letters: Vec<char> = text.chars().collect();
    let needed = columns.iter().map(|column| column.from).max().unwrap_or_default();
    if letters.len() < needed {
        return None;
    }
    let piece = |from: usize, width: usize| -> String { letters.iter().skip(from - 1).take(width).collect() };
    let mut draft = Draft { text: text.to_owned(), ..Draft::default() };
    for column in columns {
        let text = with_point(piece(column.from, column.width).trim(), column.decimals);
        match &column.is {
            ColumnIs::Part(part) => draft.pieces.add(*part, &text),
            ColumnIs::Result(code) => {
                let mut result = Pieces::default();
                result.add(Part::Code, code);
                result.add(Part::Value, &text);
                if let Some(from) = column.flag_from {
                    result.add(Part::Flag, &piece(from, 1));
                }
                // A flag beside blanks is the mark of no value.
                if result.get(Part::Value).is_some() {
                    draft.results.push(result);
                }
            }
        }
    }
    Some(draft)
}

/// Puts the decimal point in that is not written, and takes the zeros away that fill the field; what is no row of digits
/// stays as sent.
fn with_point(text: &str, decimals: usize) -> String {
    if decimals == 0 || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let digits = format!("{text:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let whole = whole.trim_start_matches('0');
    format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_put_between_digits_only() {
        for (text, decimals, expected) in [
            ("0057", 1, "5.7"),
            ("0450", 2, "4.50"),
            ("0008", 2, "0.08"),
            ("5", 2, "0.05"),
            ("0150", 0, "0150"),
            ("****", 1, "****"),
            ("", 1, ""),
            ("5.7", 1, "5.7"),
        ] {
            assert_eq!(with_point(text, decimals), expected);
        }
    }
}
