//! What a message states, or why it is refused.

use super::super::values::tells_runs_apart;
use super::groups::{device, drafts};
use super::header::Header;
use super::inquiry::Inquiry;
use super::syntax::{Message, messages};
use crate::event::{Device, EventKind, EventName, Id, Identity, Test};
use crate::session::DriverOptions;
use crate::time::Now;
use sha2::{Digest, Sha256};

/// One message of a block, understood or not.
pub(super) struct Said {
    /// `None`: there is no header that could be answered by.
    pub header: Option<Header>,
    pub content: Content,
}

pub(super) enum Content {
    Results(Vec<EventKind>),
    Inquiry {
        inquiry: Box<Inquiry>,
        device: Option<Device>,
    },
    /// An answer to something that was sent: MSA-1 and MSA-2.
    Answer {
        code: String,
        control_id: String,
    },
    Refused(Refusal),
}

/// Why a message is refused: a word and a sentence for the event, a number of table 0357 for the answer.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub reason: String,
    pub error: Error,
}

/// Numbers of table 0357, with its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    Accepted,
    SegmentSequence,
    FieldMissing,
    UnsupportedType,
    UnsupportedVersion,
    Internal,
}

impl Error {
    pub fn number(self) -> &'static str {
        match self {
            Error::Accepted => "0",
            Error::SegmentSequence => "100",
            Error::FieldMissing => "101",
            Error::UnsupportedType => "200",
            Error::UnsupportedVersion => "203",
            Error::Internal => "207",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Error::Accepted => "Message accepted",
            Error::SegmentSequence => "Segment sequence error",
            Error::FieldMissing => "Required field missing",
            Error::UnsupportedType => "Unsupported message type",
            Error::UnsupportedVersion => "Unsupported version id",
            Error::Internal => "Application internal error",
        }
    }
}

/// Everything that a block says. Empty if there is nothing in it at all.
pub(super) fn said(block: &[u8], options: &DriverOptions, now: Now) -> Vec<Said> {
    let read = messages(block, options.reading.encoding);
    if !read.is_empty() {
        let digest: [u8; 32] = Sha256::digest(bare(block)).into();
        let said = read.iter().enumerate().map(|(place, message)| one(message, place, &digest, options, now));
        return said.collect();
    }
    if bare(block).is_empty() {
        return Vec::new();
    }
    let reason = "a block of MLLP without a message: it does not begin with MSH and five delimiters";
    let refusal = Refusal { code: "not_hl7", reason: reason.to_owned(), error: Error::SegmentSequence };
    vec![Said { header: None, content: Content::Refused(refusal) }]
}

/// A block without its frame.
fn bare(block: &[u8]) -> &[u8] {
    let is_frame = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control();
    let start = block.iter().position(|byte| !is_frame(byte)).unwrap_or(block.len());
    let end = block.iter().rposition(|byte| !is_frame(byte)).map_or(start, |last| last + 1);
    &block[start..end]
}

fn one(message: &Message, place: usize, digest: &[u8; 32], options: &DriverOptions, now: Now) -> Said {
    let Some(header) = Header::read(message) else {
        let refusal = refusal("broken_header", "its header (MSH) cannot be read", Error::SegmentSequence);
        return Said { header: None, content: Content::Refused(refusal) };
    };
    let content = match content(message, &header, options) {
        Content::Results(_) => match results(message, &header, place, digest, options, now) {
            facts if facts.is_empty() => {
                let reason = "a message of results (ORU, OUL) without any order (OBR) or result (OBX)";
                Content::Refused(refusal("no_results", reason, Error::SegmentSequence))
            }
            facts => Content::Results(facts),
        },
        content => content,
    };
    Said { header: Some(header), content }
}

fn refusal(code: &'static str, reason: impl Into<String>, error: Error) -> Refusal {
    Refusal { code, reason: reason.into(), error }
}

/// What kind of message it is.
fn content(message: &Message, header: &Header, options: &DriverOptions) -> Content {
    if header.code.is_empty() {
        let reason = "its header (MSH-9) does not say what kind of message it is";
        return Content::Refused(refusal("broken_header", reason, Error::FieldMissing));
    }
    if !header.version.is_empty() && header.version != "2" && !header.version.starts_with("2.") {
        let reason = "its header (MSH-12) names a version that is not 2.x: set the analyzer to HL7 version 2";
        return Content::Refused(refusal("unknown_version", reason, Error::UnsupportedVersion));
    }
    if is_answer(header) {
        let field = |number| message.segment("MSA").map_or("", |msa| msa.raw(number)).to_owned();
        // ORL says AA, and in ORC-1 of an order that it is not accepted all the same (IHE LAW, LAB-28; table 0119).
        let refused = message.segments.iter().any(|segment| segment.name == "ORC" && segment.raw(1) == "UA");
        let code = if refused { "UA".to_owned() } else { field(1).to_ascii_uppercase() };
        return Content::Answer { code, control_id: field(2) };
    }
    if let Some(inquiry) = Inquiry::read(message, header) {
        return Content::Inquiry { inquiry: Box::new(inquiry), device: device(message, &options.reading) };
    }
    match header.code.as_str() {
        "ORU" | "OUL" => Content::Results(Vec::new()),
        code => {
            let what =
                KNOWN.iter().find(|(known, _)| *known == code).map_or("a message of another kind", |known| known.1);
            let reason = format!(
                "{what}: only results (ORU, OUL) and queries (QBP^Q11, QRY^Q02, ORM^O01 with ORC-1 RF) are taken"
            );
            Content::Refused(refusal("unknown_type", reason, Error::UnsupportedType))
        }
    }
}

/// What else is heard from analyzers and their programs, in words for the one who set them up.
const KNOWN: &[(&str, &str)] = &[
    ("ORM", "an order (ORM)"),
    ("OML", "an order (OML)"),
    ("ADT", "a patient's admission (ADT)"),
    ("QBP", "a query (QBP) of a kind that is not known"),
    ("QRY", "a query (QRY) of a kind that is not known"),
    ("SSU", "the status of a specimen (SSU)"),
    ("ESU", "the status of equipment (ESU)"),
    ("INU", "an inventory (INU)"),
    ("EAC", "an equipment command (EAC)"),
    ("NMD", "application data (NMD)"),
    ("MFN", "a master file (MFN)"),
];

fn is_answer(header: &Header) -> bool {
    ["ACK", "ORL", "ORR", "MCF", "RSP", "QCK"].contains(&header.code.as_str())
}

/// One `TEST_FINISHED` an order.
fn results(
    message: &Message,
    header: &Header,
    place: usize,
    digest: &[u8; 32],
    options: &DriverOptions,
    now: Now,
) -> Vec<EventKind> {
    let drafts = drafts(message, header, &options.reading, options.picture_bytes_max);
    let repeatable = tells_runs_apart(&header.time) || drafts.iter().any(|draft| draft.tells_runs_apart());
    let device = device(message, &options.reading);
    let mut facts = Vec::new();
    for (ordinal, draft) in drafts.into_iter().enumerate() {
        let hash = fingerprint(digest, place, ordinal);
        let id = match repeatable {
            true => Id::derived(&[&hash]),
            false => Id::derived(&[&hash, &now.wall.0.to_be_bytes(), &now.mono.0.to_be_bytes()]),
        };
        let test = draft.into_test(id, header, &options.reading);
        let fact = EventKind::about_test(EventName::TestFinished, device.clone(), test);
        facts.push(EventKind { identity: repeatable.then_some(Identity(hash)), ..fact });
    }
    facts
}

/// The device and the tests of a message that was broken off, from its whole segments.
pub(super) fn partial(block: &[u8], options: &DriverOptions, now: Now) -> (Option<Device>, Vec<Test>) {
    let whole = block.iter().rposition(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    let said = said(&block[..whole], options, now);
    let facts = said.into_iter().filter_map(|said| match said.content {
        Content::Results(facts) => Some(facts),
        _ => None,
    });
    let mut device = None;
    let mut tests = Vec::new();
    for fact in facts.flatten() {
        device = device.or(fact.device);
        tests.extend(fact.test);
    }
    (device, tests)
}

/// One fact of a message: the block, which of its messages, which of its facts this is.
fn fingerprint(digest: &[u8], place: usize, ordinal: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(digest);
    hash.update((place as u64).to_be_bytes());
    hash.update((ordinal as u64).to_be_bytes());
    hash.finalize().into()
}
