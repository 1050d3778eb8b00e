//! Which protocol these bytes are, by what only that protocol has: control characters, checksums that are right, headers,
//! the shape of lines.
//!
//! Every recogniser looks at the same bytes and states what it found, with a score that can be compared: 90 and more is a
//! protocol's own framing with its own header inside, 70 its framing or its header, 50 a shape that others have too. Bytes
//! may begin in the middle of a message. Invariant: evidence counts and names, it never quotes what may be a patient's.

mod evidence;
mod fit;
mod frames;
mod marks;
mod text;

pub use evidence::shown;
pub use fit::{Fit, Known, fit, identity};

use crate::event::Device;
use crate::session::Framing;

/// Of what was received so much is looked at.
pub const LOOKED_BYTES_MAX: usize = 1 << 20;
/// From this score on the bytes count as recognised.
pub const RECOGNISED: u8 = 40;
/// The evidence of an analyzer that has only called. Who called back, if anybody, is not in its bytes.
pub const ONLY_CALLS: &str = "nothing else was said";

/// What bytes on a port can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    E1381,
    Records,
    SohEnvelope,
    Hl7,
    Poct1a,
    TestV0,
    Table,
    TokenLines,
    FixedWidth,
    StxEnvelope,
    Printout,
    Barcodes,
}

impl Protocol {
    /// In the words of a manual.
    pub fn words(self) -> &'static str {
        match self {
            Protocol::E1381 => "ASTM: LIS2 records in E1381 (LIS01-A2) frames",
            Protocol::Records => "ASTM: LIS2 records without frames",
            Protocol::SohEnvelope => "ASTM: LIS2 records between SOH and EOT",
            Protocol::Hl7 => "HL7 version 2 over MLLP",
            Protocol::Poct1a => "POCT1-A: XML documents of a point-of-care device",
            Protocol::TestV0 => "test-v0: JSON lines",
            Protocol::Table => "a table with a line of headings (CSV, TSV)",
            Protocol::TokenLines => "lines of a name and its values",
            Protocol::FixedWidth => "records of a fixed width",
            Protocol::StxEnvelope => "a maker's own text between STX and ETX",
            Protocol::Printout => "plain text, as for a printer",
            Protocol::Barcodes => "codes, as a barcode scanner sends them",
        }
    }

    /// The driver that reads it: the word in the YAML.
    pub fn driver(self) -> &'static str {
        match self {
            Protocol::E1381 | Protocol::Records | Protocol::SohEnvelope => "astm",
            Protocol::Hl7 => "hl7",
            Protocol::Poct1a => "poct1a",
            Protocol::TestV0 => "test-v0",
            Protocol::Barcodes => "scanner",
            Protocol::Table
            | Protocol::TokenLines
            | Protocol::FixedWidth
            | Protocol::StxEnvelope
            | Protocol::Printout => "text",
        }
    }

    /// Of the `astm` family.
    pub fn framing(self) -> Framing {
        match self {
            Protocol::Records => Framing::None,
            Protocol::SohEnvelope => Framing::Soh,
            _ => Framing::E1381,
        }
    }
}

/// One protocol that the bytes may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub protocol: Protocol,
    /// 0 to 100.
    pub score: u8,
    /// What speaks for it, a phrase each.
    pub evidence: Vec<String>,
    /// What the analyzer says of itself.
    pub device: Device,
}

impl Finding {
    fn new(protocol: Protocol, score: u8, evidence: Vec<String>) -> Finding {
        Finding { protocol, score: score.min(100), evidence, device: Device::default() }
    }
}

/// Finds one protocol in bytes, or nothing of it.
type Recogniser = fn(&[u8]) -> Option<Finding>;

/// Every protocol that these bytes may be, the likeliest first; empty if they are none.
pub fn detect(bytes: &[u8]) -> Vec<Finding> {
    let bytes = &bytes[..bytes.len().min(LOOKED_BYTES_MAX)];
    let recognisers: [Recogniser; 13] = [
        frames::e1381,
        frames::records,
        frames::rest,
        frames::soh,
        frames::stx,
        frames::fixed,
        marks::hl7,
        marks::poct1a,
        marks::test_v0,
        text::table,
        text::tokens,
        text::printout,
        text::barcodes,
    ];
    let mut findings: Vec<Finding> = recognisers.iter().filter_map(|recognise| recognise(bytes)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.score));
    if let Some(best) = findings.first_mut() {
        best.device = identity(best.protocol, bytes);
    }
    findings
}

/// `1 frame`, `2 frames`
fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn share(bytes: &[u8], test: impl Fn(u8) -> bool) -> usize {
    bytes.iter().filter(|byte| test(**byte)).count() * 100 / bytes.len().max(1)
}

fn is_printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || matches!(byte, b'\t' | b'\r' | b'\n' | 0x0c)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(bytes: &[u8]) -> Option<Protocol> {
        let finding = detect(bytes).into_iter().next()?;
        (finding.score >= RECOGNISED).then_some(finding.protocol)
    }

    #[test]
    fn formats_that_no_fixture_holds_are_recognised_too() {
        for (bytes, protocol) in [
            (&b"\x05\x04\x05\x04\x05"[..], Protocol::E1381),
            (b"\x02D1U26011200012345670123456789012345678901234567890\x03", Protocol::FixedWidth),
            (b"A0000100012601120930005570423014100421009800330033502100\x1a", Protocol::FixedWidth),
            (b"\x0224/10/29 09:30 12# 0042 [S] Na 131 mmol/L K 4.1 mmol/L\x03", Protocol::StxEnvelope),
            (b"\x02\rRESULT\r! 6.1 \r2 4.50L\r3 13.9 \r\x03", Protocol::StxEnvelope),
            (b"7731 7.41 38.1 95.0 139 4.1 1.20 24.0 -0.5\r", Protocol::Printout),
            (b"]C14711-0815\r\n", Protocol::Barcodes),
            (b"4711081500\r4711081501\r", Protocol::Barcodes),
            (b"\x0b<?xml version=\"1.0\"?><HEL.R01><HDR><HDR.control_id V=\"1\"/>", Protocol::Poct1a),
            (b"Id;Date;WBC;RBC;HGB\r\n4711;2026-01-12;5.1;4.50;13.9\r\n", Protocol::Table),
        ] {
            assert_eq!(best(bytes), Some(protocol), "{} {:?}", bytes.escape_ascii(), detect(bytes));
        }
    }

    #[test]
    fn noise_and_nothing_are_no_protocol() {
        let mut state = 7_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .take(4000)
        .collect();
        assert_eq!(best(b""), None);
        assert_eq!(best(b"\x00\xff\r\n"), None);
        for part in noise.chunks(400) {
            assert_eq!(best(part), None, "{:?}", detect(part));
        }
    }
}
