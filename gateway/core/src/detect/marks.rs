//! What names itself: HL7 by MSH, POCT1-A by its elements, test-v0 by its keys.

use super::{Finding, Protocol, count, holds};

const VT: u8 = 0x0b;
const FS: u8 = 0x1c;
/// A message type or a version longer than this is none.
const WORD_BYTES_MAX: usize = 20;

pub(super) fn hl7(bytes: &[u8]) -> Option<Finding> {
    let header = |place: &usize| {
        bytes[*place..].starts_with(b"MSH") && bytes.get(place + 3).is_some_and(u8::is_ascii_punctuation)
    };
    let headers: Vec<usize> = (0..bytes.len()).filter(header).collect();
    let Some(first) = headers.first().copied() else { return rest_of_hl7(bytes) };
    let begun = headers.iter().filter(|place| **place > 0 && bytes[**place - 1] == VT).count();
    let ended = bytes.iter().filter(|byte| **byte == FS).count();
    let mut evidence = vec![format!("{} (MSH)", count(headers.len(), "message"))];
    if begun > 0 {
        evidence.push(format!("{begun} begun by VT, {ended} ended by FS"));
    } else {
        evidence.push("no VT before it: a copy of a message, or its beginning was missed".to_owned());
    }
    let delimiter = bytes[first + 3];
    let segment = bytes[first..].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    // MSH-1 is the delimiter itself, so that MSH-9 is the ninth part.
    let fields: Vec<&[u8]> = segment.split(|byte| *byte == delimiter).collect();
    for (place, what) in [(8, "type"), (11, "version")] {
        let word = fields.get(place).map(|field| String::from_utf8_lossy(field)).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '^' | '.' | '_');
        if !word.is_empty() && word.len() <= WORD_BYTES_MAX && word.chars().all(is_word) {
            evidence.push(format!("{what} {word}"));
        }
    }
    let score = if begun > 0 { 97 } else { 78 };
    Some(Finding::new(Protocol::Hl7, score, evidence))
}

/// Segments of a message whose beginning was missed.
fn rest_of_hl7(bytes: &[u8]) -> Option<Finding> {
    let names = ["PID|", "PV1|", "OBR|", "OBX|", "NTE|", "ORC|", "SPM|", "TCD|", "MSA|"];
    let lines: Vec<&[u8]> = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| line.len() > 4).collect();
    let is_segment = |line: &&&[u8]| names.iter().any(|name| line.starts_with(name.as_bytes()));
    let segments = lines.iter().filter(is_segment).count();
    (segments > 0 && segments * 2 >= lines.len()).then(|| {
        let evidence = vec![
            format!("{segments} of {} begin with a segment's name", count(lines.len(), "line")),
            "no MSH: the beginning was missed".to_owned(),
        ];
        Finding::new(Protocol::Hl7, 71, evidence)
    })
}

pub(super) fn poct1a(bytes: &[u8]) -> Option<Finding> {
    let roots = ["HEL", "DST", "OBS", "EVS", "REQ", "ACK", "EOT", "KPA", "END", "ESC", "DTV", "OPL", "PTL"];
    let documents = |root: &&str| {
        let tag = format!("<{root}.R0");
        bytes.windows(tag.len()).filter(|window| *window == tag.as_bytes()).count()
    };
    let found: Vec<(&str, usize)> = roots.iter().map(|root| (*root, documents(root))).filter(|(_, n)| *n > 0).collect();
    let said: usize = found.iter().map(|(_, number)| number).sum();
    if said == 0 && !holds(bytes, b"<HDR.") {
        return None;
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    let evidence = match said {
        0 => vec!["an element of POCT1-A's header".to_owned()],
        _ => vec![format!("{} of POCT1-A: {}", count(said, "document"), names.join(", "))],
    };
    // A document behind the first clue may be quoted by another format.
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let score = if matches!(begins, Some(b'<' | &VT)) && said > 0 { 96 } else { 72 };
    Some(Finding::new(Protocol::Poct1a, score, evidence))
}

pub(super) fn test_v0(bytes: &[u8]) -> Option<Finding> {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    let object = |line: &&[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).ok();
    let objects: Vec<_> = lines.iter().filter_map(object).collect();
    let ours = objects.iter().filter(|object| object.contains_key("event") && object.contains_key("device")).count();
    let cut = lines.first().is_some_and(|line| line.starts_with(b"{\"version\":0,\"event\":"));
    let score = match (ours, objects.len()) {
        (1.., _) if ours * 10 >= lines.len() * 7 => 97,
        (1.., _) => 80,
        (0, 0) if cut => 70,
        _ => return None,
    };
    let evidence = match ours {
        0 => vec!["a line that begins as test-v0's do".to_owned()],
        _ => vec![format!("{ours} of {} are JSON with event and device", count(lines.len(), "line"))],
    };
    Some(Finding::new(Protocol::TestV0, score, evidence))
}
