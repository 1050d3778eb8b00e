//! What several families of analyzers share: values that are numbers, times without a zone, ids of control material.

use serde_json::Number;

/// The value as a number, if the whole of it is a decimal: JSON's spelling, the digits as sent.
pub(crate) fn decimal(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction_missing = fraction.map_or(whole.is_empty(), str::is_empty);
    if fraction_missing || !all_digits(whole) || !fraction.is_none_or(all_digits) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
    format!("{sign}{whole}{fraction}").parse().ok()
}

/// `20240723172452`, `202407231724` or `20240723` as RFC 3339 without offset; a fraction of a second and an offset behind it
/// (`.25+0100`, which LIS2-A2 and HL7 allow) are left off. A date alone becomes its midnight, so that every reader finds one
/// shape; the text beside it shows what was sent.
pub(super) fn local_time(text: &str) -> Option<String> {
    let digits = without_offset(text)?;
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<i8>().ok());
    let year: i16 = digits[..4].parse().ok()?;
    let (month, day) = (part(4, 6)?, part(6, 8)?);
    let moment = jiff::civil::DateTime::new(year, month, day, part(8, 10)?, part(10, 12)?, part(12, 14)?, 0).ok()?;
    Some(moment.to_string())
}

/// The digits of a time, without the fraction and the offset; `None` where something else stands behind them.
fn without_offset(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|sign| *sign != ' ').collect();
    let digits = text.split(['.', '+', '-', 'Z']).next().unwrap_or_default();
    let rest = &text[digits.len()..];
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|sign: char| sign.is_ascii_digit()),
        None => rest,
    };
    let is_hours = |offset: &str| offset.len() == 4 && offset.parse::<u16>().is_ok_and(|offset| offset <= 1400);
    let is_offset = matches!(rest, "" | "Z") || rest.strip_prefix(['+', '-']).is_some_and(is_hours);
    is_offset.then(|| digits.to_owned())
}

/// Whether no other run of this analyzer has this time: one down to the second. Midnight is what a clock shows that was
/// never set.
pub(super) fn tells_runs_apart(text: &str) -> bool {
    let digits = without_offset(text).unwrap_or_default();
    digits.len() == 14 && !digits.ends_with("000000") && local_time(&digits).is_some()
}

/// Whether a sample's id says by itself that this is control material. Only beginnings that no patient's sample has.
pub(crate) fn names_a_control(sample_id: &str) -> bool {
    let begins = |word: &&str| sample_id.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    ["QC-", "QC_", "CTRL", "CONTROL"].iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_and_unreadable_ones_are_none() {
        assert_eq!(local_time("20240723172452").as_deref(), Some("2024-07-23T17:24:52"));
        assert_eq!(local_time("202405271030").as_deref(), Some("2024-05-27T10:30:00"));
        assert_eq!(local_time("20240527").as_deref(), Some("2024-05-27T00:00:00"));
        assert_eq!(local_time("20240527 1030").as_deref(), Some("2024-05-27T10:30:00"));
        for text in ["20240723172452.25+0100", "20240723172452-0500", "20240723172452Z", "20240723 172452.1234"] {
            assert_eq!(local_time(text).as_deref(), Some("2024-07-23T17:24:52"), "{text}");
        }
        for text in ["20240723-172452", "20240723172452+01", "20240723172452x", "20240723172452.5x"] {
            assert_eq!(local_time(text), None, "{text}");
        }
        for text in ["", "20241327", "20240527250000", "2024-05-27", "00000000", "2024052710", "\u{e4}2345678"] {
            assert_eq!(local_time(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_time_down_to_the_second_tells_runs_apart() {
        for text in ["20260131101500", "20260131101500+0100", "20260131101500.25-0500", "20260131 101500"] {
            assert!(tells_runs_apart(text), "{text}");
        }
        for text in ["", "202601311015", "20260131000000", "20260131000000+0100", "20261331101500", "20260131", "now"] {
            assert!(!tells_runs_apart(text), "{text}");
        }
    }

    #[test]
    fn a_control_is_known_by_the_beginning_of_its_sample_id() {
        for id in ["QC-LOW", "qc_2", "CTRL1", "Ctrl-N", "CONTROL", "control 3"] {
            assert!(names_a_control(id), "{id}");
        }
        for id in ["", "QC", "QC1", "S-QC-1", "CONT-7", "113", "\u{e4}C-1", "QUALITY"] {
            assert!(!names_a_control(id), "{id}");
        }
    }

    #[test]
    fn a_number_is_the_whole_value_or_nothing() {
        let number = |text| decimal(text).map(|number| number.to_string());
        for (text, expected) in
            [("5.50", "5.50"), ("-0.282", "-0.282"), ("+1", "1"), ("007", "7"), (".5", "0.5"), ("0", "0")]
        {
            assert_eq!(number(text).as_deref(), Some(expected));
        }
        for text in ["", "-", ".", "5.", "7,41", "<3.00", "> 8", "-1^0.282", "1e5", "--1", "1.2.3", "-----", "\u{665}"]
        {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
