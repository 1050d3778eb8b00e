//! Text without a frame, by the shape of its lines. Printouts have no mark of their own, so they score low.

use super::{Finding, Protocol, count, is_printable, share};

const COLUMNS_MIN: usize = 4;
const CODE_CHARS: std::ops::RangeInclusive<usize> = 4..=48;

/// The lines, if all of this is text.
fn lines(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let readable = share(bytes, |byte| is_printable(byte) || byte >= 0xa0);
    let binary = bytes.iter().filter(|byte| **byte < 0x20 && !is_printable(**byte)).count();
    if readable < 95 || binary * 50 > bytes.len() {
        return None;
    }
    let lines: Vec<&[u8]> =
        bytes.split(|byte| matches!(byte, b'\r' | b'\n' | 0x0c)).filter(|line| !line.trim_ascii().is_empty()).collect();
    (!lines.is_empty()).then_some(lines)
}

fn cells(line: &[u8], delimiter: u8) -> usize {
    line.split(|byte| *byte == delimiter).count()
}

pub(super) fn table(bytes: &[u8]) -> Option<Finding> {
    let lines = lines(bytes)?;
    for (delimiter, word) in [(b'\t', "tab"), (b';', "semicolon"), (b',', "comma"), (b'|', "bar")] {
        let heading = lines.iter().position(|line| is_heading(line, delimiter));
        let Some(heading) = heading else { continue };
        let columns = cells(lines[heading], delimiter);
        let rows = lines.len() - heading - 1;
        let fitting = lines[heading + 1..].iter().filter(|line| cells(line, delimiter).abs_diff(columns) <= 1).count();
        if rows > 0 && fitting * 10 >= rows * 8 {
            let evidence = vec![
                format!("a line of {columns} headings, separated by {word}s"),
                format!("{fitting} of {} below it have as many cells", count(rows, "line")),
            ];
            return Some(Finding::new(Protocol::Table, 85, evidence));
        }
    }
    None
}

/// Words and no values.
fn is_heading(line: &[u8], delimiter: u8) -> bool {
    let cells: Vec<&[u8]> = line.split(|byte| *byte == delimiter).map(<[u8]>::trim_ascii).collect();
    let filled: Vec<&&[u8]> = cells.iter().filter(|cell| !cell.is_empty()).collect();
    let worded = filled.iter().filter(|cell| cell[0].is_ascii_alphabetic() && !is_number(cell)).count();
    filled.len() >= COLUMNS_MIN && filled.len() * 10 >= cells.len() * 8 && worded * 10 >= filled.len() * 9
}

fn is_number(cell: &[u8]) -> bool {
    let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits > 0 && cell.iter().all(|byte| byte.is_ascii_digit() || b".,+-<>*^!HLhlv".contains(byte))
}

pub(super) fn tokens(bytes: &[u8]) -> Option<Finding> {
    let lines = lines(bytes)?;
    let named = |line: &&&[u8]| {
        let name = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" _#%-.".contains(byte);
        cells(line, b';') >= 2 && !name.is_empty() && name[0].is_ascii_uppercase() && name.iter().all(upper)
    };
    let fitting = lines.iter().filter(named).count();
    (fitting >= 3 && fitting * 10 >= lines.len() * 7).then(|| {
        let evidence = vec![format!("{fitting} of {} are a name, a semicolon and values", count(lines.len(), "line"))];
        Finding::new(Protocol::TokenLines, 74, evidence)
    })
}

pub(super) fn printout(bytes: &[u8]) -> Option<Finding> {
    let lines = lines(bytes)?;
    let words = |line: &&&[u8]| {
        let words: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t' | b':')).filter(|w| !w.is_empty()).collect();
        words.len() >= 2 && words[1..].iter().any(|word| is_number(word))
    };
    let telling = lines.iter().filter(words).count();
    let longest = lines.iter().map(|line| line.len()).max().unwrap_or_default();
    if telling == 0 || longest > 400 {
        return None;
    }
    let aligned = lines.iter().filter(|line| line.starts_with(b" ") || line.windows(2).any(|two| two == b"  ")).count();
    let mut evidence = vec![
        format!("{} of text, {longest} characters at most", count(lines.len(), "line")),
        format!("{telling} of them hold a word and a number"),
    ];
    if aligned > 1 {
        evidence.push(format!("{aligned} are aligned by blanks"));
    }
    let score = 45 + 15 * telling / lines.len() + if aligned * 2 >= lines.len() { 8 } else { 0 };
    Some(Finding::new(Protocol::Printout, score as u8, evidence))
}

pub(super) fn barcodes(bytes: &[u8]) -> Option<Finding> {
    let lines = lines(bytes)?;
    let ended = bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    let code = |line: &&&[u8]| {
        let line = line.trim_ascii();
        let text = line.strip_prefix(b"]").map_or(line, |rest| rest.get(2..).unwrap_or_default());
        let sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./^+*$%".contains(byte);
        CODE_CHARS.contains(&text.len()) && text.iter().all(sign) && text.iter().any(u8::is_ascii_digit)
    };
    let identified = lines.iter().filter(|line| line.starts_with(b"]")).count();
    if !ended || lines.iter().filter(code).count() * 10 < lines.len() * 7 {
        return None;
    }
    let mut evidence = vec![format!("{}, nearly each a code without a blank", count(lines.len(), "line"))];
    if identified > 0 {
        evidence.push(format!("{identified} with an AIM identifier"));
    }
    Some(Finding::new(Protocol::Barcodes, if identified > 0 { 80 } else { 58 }, evidence))
}
