//! Received bytes for a person's eyes: hexadecimal and text, with everything that may be a patient's masked.
//!
//! Shown are control characters, punctuation, the letters that begin a record or a segment, names of XML elements, and what
//! headers say of the analyzer (LIS2's H record, HL7's MSH). Invariant: of all else each letter is an `x`, each digit a `9`,
//! and its byte two dots.

use std::fmt::Write;

const WIDTH: usize = 16;
const HEAD_BYTES_MAX: usize = 512;
/// What begins a record of LIS2 or a segment of HL7, and is no one's name.
const NAMES: &[u8] =
    b"H P O R C Q M L S MSH MSA PID PV1 OBR OBX NTE ORC SPM SAC INV EQU ERR QRD QRF QPD RCP QAK DSP DSC TCD";

/// The beginning of these bytes, a line for each sixteen.
pub fn shown(bytes: &[u8], with_data: bool) -> Vec<String> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let open = if with_data { vec![true; head.len()] } else { harmless(head) };
    let mut lines = Vec::new();
    for (row, part) in head.chunks(WIDTH).enumerate() {
        let (mut hex, mut text) = (String::new(), String::new());
        for (place, byte) in part.iter().enumerate() {
            let (digits, sign) = match (open[row * WIDTH + place], byte) {
                (true, 0x20..0x7f) => (format!("{byte:02x}"), char::from(*byte)),
                (true, _) => (format!("{byte:02x}"), '.'),
                (false, b'0'..=b'9') => ("..".to_owned(), '9'),
                (false, _) => ("..".to_owned(), 'x'),
            };
            // Writing to a string does not fail.
            let _ = write!(hex, "{digits} ");
            text.push(sign);
        }
        lines.push(format!("{hex:<width$} {text}", width = WIDTH * 3));
    }
    if bytes.len() > head.len() {
        lines.push(format!("and {} bytes more", bytes.len() - head.len()));
    }
    lines
}

/// Which bytes may be shown.
fn harmless(bytes: &[u8]) -> Vec<bool> {
    let mut open: Vec<bool> = bytes.iter().map(|byte| *byte < 0x7f && !byte.is_ascii_alphanumeric()).collect();
    let mut start = 0;
    while start < bytes.len() {
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0x01 | 0x02 | 0x0b);
        let end = bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length);
        unmask_line(&bytes[start..end], &mut open[start..end]);
        start = end + 1;
    }
    unmask_elements(bytes, &mut open);
    open
}

/// The letters before the first delimiter; all of a header.
fn unmask_line(line: &[u8], open: &mut [bool]) {
    let numbered = usize::from(line.first().is_some_and(u8::is_ascii_digit));
    let letters = line[numbered..].iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let delimited = line.get(numbered + letters).is_some_and(|byte| matches!(byte, b'|' | b'`' | b'!'));
    let word = &line[numbered..numbered + letters];
    if !delimited || !NAMES.split(|byte| *byte == b' ').any(|name| name == word) {
        return;
    }
    let upto = if word == b"H" || word == b"MSH" { line.len() } else { numbered + letters };
    open[..upto].fill(true);
}

/// `<HDR.control_id`
fn unmask_elements(bytes: &[u8], open: &mut [bool]) {
    let mut in_name = false;
    for (place, byte) in bytes.iter().enumerate() {
        let named = bytes.get(place + 1).is_some_and(|next| next.is_ascii_alphabetic() || *next == b'/');
        in_name = match byte {
            b'<' => named,
            byte => in_name && (byte.is_ascii_alphanumeric() || b"._-/".contains(byte)),
        };
        open[place] |= in_name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[String]) -> String {
        lines.iter().map(|line| &line[WIDTH * 3 + 1..]).collect()
    }

    #[test]
    fn no_letter_or_digit_of_a_record_is_shown_but_its_first() {
        let bytes = b"\x021H|\\^&|||XQ-7^A1\rP|1||4711||Doe^Jane\rR|1|^^^K|4.1\r\x03";
        let shown = shown(bytes, false);
        assert_eq!(text(&shown), ".1H|\\^&|||XQ-7^A1.P|9||9999||xxx^xxxx.R|9|^^^x|9.9..");
        assert!(!shown.concat().contains("44 6f 65"), "{shown:?}");
        assert!(text(&super::shown(bytes, true)).contains("Doe^Jane"));
    }

    #[test]
    fn text_without_records_is_masked_whole_and_xml_keeps_its_names() {
        assert_eq!(text(&shown(b"Jane 4.1 mmol", false)), "xxxx 9.9 xxxx");
        assert_eq!(text(&shown(b"<PT.id V=\"Jane7\">Doe</PT.id>", false)), "<PT.id x=\"xxxx9\">xxx</PT.id>");
        assert_eq!(text(&shown("\u{b5}".as_bytes(), false)), "xx");
        assert_eq!(shown(&[b'x'; 600], false).last().map(String::as_str), Some("and 88 bytes more"));
    }
}
