//! What control characters frame: E1381, SOH to EOT, STX to ETX, fixed widths; and LIS2 records in none of these.

use super::{Finding, ONLY_CALLS, Protocol, count, holds, is_printable, share};
use crate::framing::astm::{ACK, ENQ, EOT, ETX, FaultKind, NAK, Piece, STX, Scanner};

const FRAME_BYTES_MAX: usize = 1 << 20;
const SOH: u8 = 0x01;
const GS: u8 = 0x1d;
const SUB: u8 = 0x1a;

pub(super) fn e1381(bytes: &[u8]) -> Option<Finding> {
    let (mut good, mut wrong, mut unnumbered, mut header) = (0, 0, 0, false);
    let mut scanner = Scanner::new(FRAME_BYTES_MAX);
    scanner.push(bytes);
    let mut closed = false;
    loop {
        match scanner.next_inside() {
            Some(Piece::Frame(frame)) => {
                good += 1;
                header |= is_header(&frame.text);
            }
            Some(Piece::Fault(fault)) => match fault.kind {
                FaultKind::Checksum if is_numbered(&fault.raw) => wrong += 1,
                FaultKind::Checksum | FaultKind::Unnumbered => unnumbered += 1,
                FaultKind::TooLong | FaultKind::Cut => {}
            },
            Some(_) => {}
            None if closed => break,
            None => {
                scanner.close_line();
                closed = true;
            }
        }
    }
    let asked = bytes.iter().filter(|byte| **byte == ENQ).count();
    let only_controls = bytes.iter().all(|byte| matches!(*byte, ENQ | EOT | ACK | NAK | 0 | 0xff | b'\r' | b'\n'));
    let mut evidence = Vec::new();
    if asked > 0 {
        evidence.push(count(asked, "ENQ"));
    }
    if good + wrong > 0 {
        evidence.push(format!("{good} of {} with the right sum", count(good + wrong, "frame")));
    }
    if header {
        evidence.push("an H record begins the message".to_owned());
    }
    let score = match (good, asked) {
        (1.., _) if header => 92 + 8 * good / (good + wrong),
        (1.., _) => 60 + 30 * good / (good + wrong),
        (0, 2..) if only_controls => {
            evidence.push(ONLY_CALLS.to_owned());
            75
        }
        (0, 1) if only_controls && bytes.len() <= 4 => 55,
        (0, 1..) if wrong > 0 && unnumbered == 0 && share(bytes, is_printable) >= 60 => 70,
        _ => return None,
    };
    Some(Finding::new(Protocol::E1381, score as u8, evidence))
}

/// Whether a frame's number stands behind its STX; else it is a maker's own text between STX and ETX.
fn is_numbered(frame: &[u8]) -> bool {
    let text = frame.iter().position(|byte| *byte == STX).map_or(frame, |begins| &frame[begins + 1..]);
    matches!(text.first(), Some(b'0'..=b'7'))
}

/// `H` and its delimiters.
fn is_header(record: &[u8]) -> bool {
    let delimiter = |place: usize| record.get(place).is_some_and(u8::is_ascii_punctuation);
    matches!(record.first(), Some(b'H' | b'h')) && delimiter(1) && delimiter(2) && delimiter(3)
}

/// Lines that begin with a record's letter and the header's delimiter.
fn record_lines(bytes: &[u8]) -> Option<(usize, usize)> {
    let lines: Vec<&[u8]> = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()).collect();
    let header = lines.iter().find(|line| is_header(line))?;
    let delimiter = header[1];
    let is_record = |line: &&&[u8]| {
        line[0].is_ascii_alphabetic()
            && b"HPORCQMSL".contains(&line[0].to_ascii_uppercase())
            && line.get(1).is_none_or(|second| *second == delimiter)
    };
    Some((lines.iter().filter(is_record).count(), lines.len()))
}

pub(super) fn records(bytes: &[u8]) -> Option<Finding> {
    let begins = bytes.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0)?;
    let framed = bytes.iter().any(|byte| matches!(*byte, STX | SOH | 0x0b));
    let (records, lines) = record_lines(bytes)?;
    if framed || !is_header(&bytes[begins..]) || records * 10 < lines * 8 {
        return None;
    }
    let evidence = vec![
        format!("{records} of {} begin with a record's letter", count(lines, "line")),
        "an H record begins the message".to_owned(),
        "neither ENQ nor STX".to_owned(),
    ];
    let score = if records >= 3 { 93 } else { 75 };
    Some(Finding::new(Protocol::Records, score, evidence))
}

/// Records of a message whose beginning was missed.
pub(super) fn rest(bytes: &[u8]) -> Option<Finding> {
    let lines: Vec<&[u8]> = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| line.len() > 2).collect();
    let is_record = |line: &&&[u8]| b"PORCQML".contains(&line[0]) && line[1] == b'|';
    let records = lines.iter().filter(is_record).count();
    if records == 0 || records * 2 < lines.len() || holds(bytes, b"MSH") {
        return None;
    }
    let framed = bytes.iter().any(|byte| matches!(*byte, ETX | EOT));
    let protocol = if framed { Protocol::E1381 } else { Protocol::Records };
    let evidence = vec![
        format!("{records} of {} begin with a record's letter", count(lines.len(), "line")),
        "no H record: the beginning was missed".to_owned(),
    ];
    Some(Finding::new(protocol, 69, evidence))
}

pub(super) fn soh(bytes: &[u8]) -> Option<Finding> {
    let begins = bytes.iter().position(|byte| *byte == SOH)?;
    if holds(bytes, &[STX]) {
        return None;
    }
    let rest = &bytes[begins + 1..];
    let ends = rest.iter().filter(|byte| **byte == EOT).count();
    let text = &rest[..rest.iter().position(|byte| *byte == EOT).unwrap_or(rest.len())];
    let mut evidence = vec![format!("SOH, and {} behind it", count(ends, "EOT"))];
    let score = match record_lines(text) {
        Some((records, lines)) if records * 10 >= lines * 8 => {
            evidence.push(format!("{} in between, an H record first", count(records, "record")));
            95
        }
        _ if ends > 0 && share(text, is_printable) >= 90 => 45,
        _ => return None,
    };
    Some(Finding::new(Protocol::SohEnvelope, score, evidence))
}

/// The texts between STX and ETX, as far as they ended.
fn enclosed(bytes: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    let mut rest = bytes;
    while let Some(begins) = rest.iter().position(|byte| *byte == STX) {
        let Some(ends) = rest[begins..].iter().position(|byte| *byte == ETX) else { break };
        texts.push(&rest[begins + 1..begins + ends]);
        rest = &rest[begins + ends + 1..];
    }
    texts
}

pub(super) fn stx(bytes: &[u8]) -> Option<Finding> {
    let texts = enclosed(bytes);
    let inside = texts.concat();
    let telling = share(&inside, |byte| is_printable(byte) || matches!(byte, 0x1c..=0x1f));
    let apart = inside.len() * 3 < bytes.len();
    if inside.len() < 8 || apart || telling < 85 || texts.iter().any(|text| is_header(&text[text.len().min(1)..])) {
        return None;
    }
    let mut evidence = vec![format!("{} between STX and ETX, no E1381 frame", count(texts.len(), "text"))];
    let summed = texts.iter().filter(|text| ends_with_its_sum(text)).count();
    if summed > 0 {
        evidence.push(format!("GS and the right sum end {summed} of them"));
    }
    let score = if summed > 0 { 85 } else { 65 };
    Some(Finding::new(Protocol::StxEnvelope, score, evidence))
}

/// GS and two hexadecimal digits, the sum of all before them (mini VIDAS).
fn ends_with_its_sum(text: &[u8]) -> bool {
    let Some(place) = text.iter().rposition(|byte| *byte == GS) else { return false };
    let sum = text[..=place].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    let digits = std::str::from_utf8(&text[place + 1..]).ok().map(str::trim);
    digits.and_then(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()) == Some(sum)
}

/// Sysmex' `D1U` between STX and ETX, or digits up to SUB.
pub(super) fn fixed(bytes: &[u8]) -> Option<Finding> {
    let texts = enclosed(bytes);
    let sysmex = texts.iter().filter(|text| text.len() > 20 && text[0] == b'D' && text[1].is_ascii_digit()).count();
    if sysmex > 0 {
        let evidence = vec![format!("{} between STX and ETX begin with D and a digit", count(sysmex, "text"))];
        return Some(Finding::new(Protocol::FixedWidth, 80, evidence));
    }
    let records: Vec<&[u8]> = bytes.split(|byte| *byte == SUB).collect();
    let whole = &records[..records.len() - 1];
    let dense = |text: &&&[u8]| text.len() >= 30 && share(text, |byte| byte.is_ascii_alphanumeric()) >= 80;
    let fitting = whole.iter().filter(dense).count();
    (fitting > 0 && fitting == whole.len()).then(|| {
        let evidence = vec![format!("{}, ended by SUB, of digits without a gap", count(fitting, "record"))];
        Finding::new(Protocol::FixedWidth, 75, evidence)
    })
}
