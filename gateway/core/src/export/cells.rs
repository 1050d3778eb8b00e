//! One row of CSV as RFC 4180 has it: quoted where a cell holds a comma, a quote or a line end; rows end with CR LF.

/// A row of these cells.
pub fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(&harmless(cell))).collect();
    cells.join(",") + "\r\n"
}

fn quoted(cell: &str) -> String {
    let plain = !cell.contains([',', '"', '\r', '\n']);
    if plain { cell.to_owned() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
}

/// Spreadsheets calculate what begins with one of these signs, also behind blanks and tabs. A number may, and so may a sign
/// alone (`+++` and `-` are results); anything else is made a text by an apostrophe, as spreadsheets mark texts themselves.
fn harmless(cell: &str) -> String {
    let seen = cell.trim_start_matches(|letter: char| letter.is_whitespace() || letter.is_control());
    let begins = seen.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if !begins || is_number(seen) || seen.trim_end().chars().all(|sign| matches!(sign, '+' | '-')) {
        return cell.to_owned();
    }
    format!("'{cell}")
}

/// `-1.5`, `+7,41`, `-2e5`.
fn is_number(text: &str) -> bool {
    let text = text.trim_end();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, part) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    [whole, part, exponent].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_only_where_they_must_be() {
        let cells = ["plain", "a,b", "say \"x\"", "two\nlines", "", "ä°"].map(str::to_owned);
        assert_eq!(line(&cells), "plain,\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",,ä°\r\n");
    }

    #[test]
    fn a_spreadsheet_calculates_nothing_and_numbers_stay_numbers() {
        for formula in
            ["=1+1", "+A1", "-1^0.282", "-2+3", "@SUM(A1)", "\t=1", "  =1", "=", "\r=1", "＝1", "-1e", "-.", "+1,2,3"]
        {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for plain in ["-1.5", "+7,41", "-2e5", "-3E+10", "+++", "-", "5.5", "a=b", "'x", "", " ", "<3.00", "-7 "] {
            assert_eq!(harmless(plain), plain);
        }
    }
}
