//! Received bytes taken apart for a person: where each frame begins, how long it is and whether it is whole; and the same bytes
//! with every letter and digit hidden.
//!
//! Invariant: the parts are in order, none overlaps another, and together they are all of the bytes.

use super::astm::{self, FaultKind};
use super::mllp;
use schemars::JsonSchema;
use serde::Serialize;

/// How bytes are framed, as far as a person is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// LIS01-A2.
    Astm,
    /// HL7's minimal lower layer protocol.
    Mllp,
    /// Lines that CR or LF end.
    Lines,
}

/// One stretch of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Part {
    /// Where it begins, from 0.
    pub at: usize,
    pub bytes: usize,
    pub kind: Kind,
    /// The frame's number, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u8>,
    pub verdict: Verdict,
}

/// What a stretch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// ENQ: a session begins.
    Enquiry,
    /// EOT: it ends.
    EndOfTransmission,
    Frame,
    /// A message between VT and FS.
    Block,
    Line,
    /// Bytes outside of any frame.
    Noise,
}

/// Whether it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Whole, and its checksum is right if it has one.
    Good,
    /// The checksum is wrong or missing.
    Checksum,
    /// The frame's number is no digit from 0 to 7.
    Unnumbered,
    TooLong,
    /// Its end never came.
    Cut,
    /// There is nothing to check.
    Unchecked,
}

/// All of the bytes in stretches. Frames longer than `frame_bytes_max` are told as that. Bytes without a single frame are shown
/// as lines.
pub fn parts(framing: Framing, bytes: &[u8], frame_bytes_max: usize) -> Vec<Part> {
    let found = match framing {
        Framing::Astm => astm_parts(bytes, frame_bytes_max),
        Framing::Mllp => mllp_parts(bytes, frame_bytes_max),
        Framing::Lines => lines(bytes),
    };
    if found.iter().all(|part| part.kind == Kind::Noise) { lines(bytes) } else { found }
}

/// Appends a stretch that goes on where the last one ended.
fn push(parts: &mut Vec<Part>, bytes: usize, kind: Kind, number: Option<u8>, verdict: Verdict) {
    let at = parts.last().map_or(0, |last| last.at + last.bytes);
    if bytes == 0 {
        return;
    }
    match parts.last_mut() {
        Some(last) if kind == Kind::Noise && last.kind == Kind::Noise => last.bytes += bytes,
        _ => parts.push(Part { at, bytes, kind, number, verdict }),
    }
}

fn astm_parts(bytes: &[u8], frame_bytes_max: usize) -> Vec<Part> {
    let mut scanner = astm::Scanner::new(frame_bytes_max);
    scanner.push(bytes);
    let mut parts = Vec::new();
    loop {
        match scanner.next_inside() {
            Some(astm::Piece::Enq) => push(&mut parts, 1, Kind::Enquiry, None, Verdict::Unchecked),
            Some(astm::Piece::Eot) => push(&mut parts, 1, Kind::EndOfTransmission, None, Verdict::Unchecked),
            Some(astm::Piece::Frame(frame)) => {
                push(&mut parts, frame.raw.len(), Kind::Frame, Some(frame.number), Verdict::Good);
            }
            Some(astm::Piece::Fault(fault)) => {
                let verdict = match fault.kind {
                    FaultKind::Checksum => Verdict::Checksum,
                    FaultKind::Unnumbered => Verdict::Unnumbered,
                    FaultKind::TooLong => Verdict::TooLong,
                    FaultKind::Cut => Verdict::Cut,
                };
                push(&mut parts, fault.bytes, Kind::Frame, None, verdict);
            }
            Some(astm::Piece::Noise(noise)) => push(&mut parts, noise.len(), Kind::Noise, None, Verdict::Unchecked),
            None if scanner.awaits_line_end() => scanner.close_line(),
            None => break,
        }
    }
    // What is left began a frame and never ended.
    let told = parts.last().map_or(0, |last| last.at + last.bytes);
    push(&mut parts, bytes.len() - told, Kind::Frame, None, Verdict::Cut);
    parts
}

fn mllp_parts(bytes: &[u8], frame_bytes_max: usize) -> Vec<Part> {
    let mut scanner = mllp::Scanner::new(frame_bytes_max, frame_bytes_max);
    scanner.push(bytes);
    let mut parts = Vec::new();
    while let Some(piece) = scanner.next_piece().or_else(|| scanner.take_rest()) {
        let (kind, verdict) = match &piece {
            mllp::Piece::Noise(_) => (Kind::Noise, Verdict::Unchecked),
            mllp::Piece::Block(_) => (Kind::Block, Verdict::Good),
            mllp::Piece::Cut(_) => (Kind::Block, Verdict::Cut),
            mllp::Piece::TooLong { .. } => (Kind::Block, Verdict::TooLong),
        };
        let length = if let mllp::Piece::TooLong { bytes, .. } = piece { bytes } else { piece.bytes().len() };
        push(&mut parts, length, kind, None, verdict);
    }
    let told = parts.last().map_or(0, |last| last.at + last.bytes);
    push(&mut parts, bytes.len() - told, Kind::Noise, None, Verdict::Unchecked);
    parts
}

fn lines(bytes: &[u8]) -> Vec<Part> {
    let end = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    let mut parts = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == end) {
        push(&mut parts, line.len(), Kind::Line, None, Verdict::Unchecked);
    }
    parts
}

/// The records of the text: what stands in the frames, cut at CR and LF. Empty ones are left out.
pub fn records(framing: Framing, bytes: &[u8], parts: &[Part]) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    for part in parts {
        let raw = bytes.get(part.at..part.at + part.bytes).unwrap_or_default();
        match (part.kind, framing) {
            (Kind::Frame, _) => text.extend_from_slice(frame_text(raw)),
            (Kind::Block, _) => text.extend(raw.iter().filter(|byte| !matches!(**byte, mllp::VT | mllp::FS))),
            (Kind::Line, _) => text.extend_from_slice(raw),
            (Kind::Noise | Kind::Enquiry | Kind::EndOfTransmission, _) => {}
        }
    }
    let records = text.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|record| !record.is_empty());
    records.map(<[u8]>::to_vec).collect()
}

/// The text of a frame as it was received: without STX, its number, and what begins with ETB or ETX.
fn frame_text(raw: &[u8]) -> &[u8] {
    let text = raw.get(2..).unwrap_or_default();
    let end = text.iter().rposition(|byte| matches!(*byte, astm::ETB | astm::ETX)).unwrap_or(text.len());
    &text[..end]
}

/// What kind of record it is, where that is a word of the protocol and no content: `H`, `OBX`.
pub fn record_kind(framing: Framing, record: &[u8]) -> Option<String> {
    let length = match framing {
        Framing::Astm => 1,
        Framing::Mllp => 3,
        Framing::Lines => return None,
    };
    let (word, rest) = record.split_at_checked(length)?;
    let is_word = word.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let ends = rest.first().is_none_or(|byte| byte.is_ascii_punctuation());
    (is_word && ends).then(|| String::from_utf8_lossy(word).into_owned())
}

/// The same bytes with every letter as `x` and every digit as `9`, so that delimiters, control characters and lengths can be
/// seen, and nobody's name or result. Bytes beyond ASCII are letters here.
pub fn masked(bytes: &[u8]) -> Vec<u8> {
    let mask = |byte: &u8| match byte {
        b'0'..=b'9' => b'9',
        byte if byte.is_ascii_alphabetic() || !byte.is_ascii() => b'x',
        byte => *byte,
    };
    bytes.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(parts: &[Part]) -> Vec<(Kind, usize, Verdict)> {
        parts.iter().map(|part| (part.kind, part.bytes, part.verdict)).collect()
    }

    #[test]
    fn frames_are_told_with_their_verdicts_and_nothing_is_left_out() {
        let good = astm::frame(1, b"H|\\^&\r", true);
        let mut bad = astm::frame(2, b"P|1||TUBE-9\r", true);
        let sum = bad.len() - 4;
        bad[sum] = if bad[sum] == b'0' { b'1' } else { b'0' };
        let bytes = [&[astm::ENQ][..], &good, &bad, b"noise", &[astm::EOT], &[astm::STX], b"3L|1"].concat();
        let parts = parts(Framing::Astm, &bytes, 1_000);
        let expected = [
            (Kind::Enquiry, 1, Verdict::Unchecked),
            (Kind::Frame, good.len(), Verdict::Good),
            (Kind::Frame, bad.len(), Verdict::Checksum),
            (Kind::Noise, 5, Verdict::Unchecked),
            (Kind::EndOfTransmission, 1, Verdict::Unchecked),
            (Kind::Frame, 5, Verdict::Cut),
        ];
        assert_eq!(kinds(&parts), expected);
        assert_eq!(parts.iter().map(|part| part.bytes).sum::<usize>(), bytes.len());
        let kinds = records(Framing::Astm, &bytes, &parts);
        let kinds: Vec<_> = kinds.iter().map(|record| record_kind(Framing::Astm, record)).collect();
        assert_eq!(kinds, ["H", "P", "L"].map(|word| Some(word.to_owned())));
    }

    #[test]
    fn blocks_and_lines_are_told_too() {
        let bytes = b"\x0bMSH|^~\\&|x\rPID|1\r\x1c\r\x0bMSH|cut";
        let found = parts(Framing::Mllp, bytes, 1_000);
        assert_eq!(kinds(&found), [(Kind::Block, 20, Verdict::Good), (Kind::Block, 8, Verdict::Cut)]);
        let segments = records(Framing::Mllp, bytes, &found);
        assert_eq!(record_kind(Framing::Mllp, &segments[1]).as_deref(), Some("PID"));
        let bare = parts(Framing::Astm, b"H|\\^&\rL|1\r", 1_000);
        assert_eq!(kinds(&bare), [(Kind::Line, 6, Verdict::Unchecked), (Kind::Line, 4, Verdict::Unchecked)]);
        assert_eq!(record_kind(Framing::Lines, b"ANN"), None, "a printout's first word may be a name");
    }

    #[test]
    fn a_mask_hides_letters_and_digits_only() {
        assert_eq!(masked(b"\x021P|1||An\xc3\xa9^7.5\x03"), b"\x029x|9||xxxx^9.9\x03");
    }
}
