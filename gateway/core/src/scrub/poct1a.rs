//! POCT1-A: XML whose elements say by their names that they are about somebody (PT, OPR, ORD, NTE; POCT1-A2 appendix B).
//!
//! Only attribute values and text between tags change, so the documents stay well-formed; entities in them stay.

use super::{Pseudonyms, Words, blot};
use std::ops::Range;

/// Documents without anybody in them.
pub fn poct1a(bytes: &[u8], names: &Pseudonyms) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    let mut words = Words::default();
    let mut others: Vec<Range<usize>> = Vec::new();
    // What becomes of the text in each open element.
    let mut open_elements: Vec<Option<Fate>> = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let around = open_elements.last().copied().flatten();
        let Some(open) = bytes[place..].iter().position(|byte| *byte == b'<').map(|at| place + at) else {
            settle(&mut clean, place..bytes.len(), around, &mut words, &mut others, names);
            break;
        };
        settle(&mut clean, place..open, around, &mut words, &mut others, names);
        let end = tag_end(bytes, open);
        let tag = &bytes[open..end];
        let name = tag_name(tag);
        let (closes, alone) = (tag.starts_with(b"</"), tag.ends_with(b"/>"));
        let is_element = name.first().is_some_and(u8::is_ascii_alphabetic);
        if closes {
            open_elements.pop();
        } else if is_element {
            let fate = match (around, fate(name)) {
                // Observations stand in PT (POCT1-A2), and are about what was measured.
                (Some(Fate::Invented), _) if is_measured(name) => None,
                (Some(Fate::Invented), Some(Fate::Stays)) => Some(Fate::Stays),
                (Some(outer), _) => Some(outer),
                (None, own) => own,
            };
            for value in attribute_values(bytes, open + 1 + name.len()..end) {
                settle(&mut clean, value, fate, &mut words, &mut others, names);
            }
            if !alone {
                open_elements.push(fate);
            }
        }
        place = end;
    }
    for range in others {
        words.replace(&mut clean[range], names);
    }
    clean
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Invented,
    Blotted,
}

fn is_measured(name: &[u8]) -> bool {
    matches!(name, b"OBS" | b"CTC" | b"RGT")
}

/// `None`: the element is about nobody.
fn fate(name: &[u8]) -> Option<Fate> {
    let name = name.to_ascii_lowercase();
    let of = |group: &[u8]| name == group || name.strip_prefix(group).is_some_and(|rest| rest.starts_with(b"."));
    let holds = |word: &[u8]| name.windows(word.len()).any(|part| part == word);
    match () {
        () if of(b"pt") && holds(b"gender") => Some(Fate::Stays),
        // Which test was ordered.
        () if name == b"ord.universal_service_id" => Some(Fate::Stays),
        () if of(b"nte") || holds(b"note_txt") => Some(Fate::Blotted),
        () if of(b"pt") || of(b"opr") || of(b"ord") => Some(Fate::Invented),
        () if [&b"patient"[..], b"operator", b"physician", b"specimen_id", b"sample_id"]
            .iter()
            .any(|word| holds(word)) =>
        {
            Some(Fate::Invented)
        }
        () => None,
    }
}

fn settle(
    clean: &mut [u8],
    range: Range<usize>,
    fate: Option<Fate>,
    words: &mut Words,
    others: &mut Vec<Range<usize>>,
    names: &Pseudonyms,
) {
    match fate {
        Some(Fate::Stays) => {}
        None => others.push(range),
        Some(fate) => {
            for part in between_entities(clean, range) {
                let text = &mut clean[part];
                if fate == Fate::Blotted {
                    blot(text);
                } else if !text.trim_ascii().is_empty() {
                    words.learn(text);
                    let from = text.len() - text.trim_ascii_start().len();
                    let until = text.trim_ascii_end().len();
                    let invented = names.invented(&text[from..until]);
                    text[from..until].copy_from_slice(&invented);
                }
            }
        }
    }
}

/// The parts of a text that are no `&...;`.
fn between_entities(bytes: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = range.start;
    let mut place = range.start;
    while place < range.end {
        let end = bytes[place..range.end].iter().position(|byte| *byte == b';').map(|at| place + at + 1);
        match (bytes[place], end) {
            (b'&', Some(end)) => {
                parts.push(start..place);
                (start, place) = (end, end);
            }
            _ => place += 1,
        }
    }
    parts.push(start..range.end);
    parts
}

/// Behind the `>` of the tag that opens at `open`; inside quotes there may be more of them.
fn tag_end(bytes: &[u8], open: usize) -> usize {
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate().skip(open + 1) {
        match (quote, byte) {
            (Some(mark), byte) if mark == *byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

fn tag_name(tag: &[u8]) -> &[u8] {
    let name = tag.strip_prefix(b"</").or_else(|| tag.strip_prefix(b"<")).unwrap_or_default();
    let end =
        name.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/')).unwrap_or(name.len());
    &name[..end]
}

/// What stands between the quotes of the attribute `V`, which holds every value (POCT1-A2 appendix B).
fn attribute_values(bytes: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    let mut place = range.start;
    while let Some(equals) = bytes[place..range.end].iter().position(|byte| *byte == b'=').map(|at| place + at) {
        let is_value = bytes[place..equals].trim_ascii().ends_with(b"V");
        let after = bytes[equals + 1..range.end].iter().position(|byte| matches!(byte, b'"' | b'\''));
        let Some(open) = after.map(|at| equals + 1 + at) else { break };
        let close = bytes[open + 1..range.end].iter().position(|byte| *byte == bytes[open]);
        let close = close.map_or(range.end, |at| open + 1 + at);
        if is_value {
            values.push(open + 1..close);
        }
        place = (close + 1).min(range.end);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_gone_and_results_stay() {
        let document = r#"<?xml version="1.0"?><OBS.R01><HDR><HDR.control_id V="12"/></HDR><SVC><SVC.role_cd V="OBS"/>
<PT><PT.patient_id V="P-4711"/><PT.name V="x"><GIV V="Ann"/><FAM V="O&apos;Hara>"/></PT.name><PT.gender_cd V="F"/></PT>
<OBS><OBS.observation_id V="GLU" SN="LN"/><OBS.value V="5.5" U="mmol/L"/><OBS.method_cd V="M"/></OBS>
<OBS><OBS.qualitative_value V="seen by Ann"/></OBS><OPR><OPR.operator_id V='op77'/></OPR>
<ORD><ORD.universal_service_id V="GLU"/><ORD.order_id V="ORD-5"/></ORD><NTE><NTE.text V="call Hara"/></NTE></SVC></OBS.R01>"#;
        let clean = poct1a(document.as_bytes(), &Pseudonyms::new([7; 32]));
        assert_eq!(clean.len(), document.len());
        let clean = String::from_utf8(clean).expect("ASCII");
        for gone in ["4711", "Ann", "Hara", "op77", "ORD-5", "call"] {
            assert!(!clean.contains(gone), "{gone} in {clean}");
        }
        for kept in [
            r#"<HDR.control_id V="12"/>"#,
            r#"<SVC.role_cd V="OBS"/>"#,
            r#"<PT.gender_cd V="F"/>"#,
            r#"<OBS.observation_id V="GLU" SN="LN"/><OBS.value V="5.5" U="mmol/L"/>"#,
            r#"<ORD.universal_service_id V="GLU"/>"#,
            "&apos;",
            r#"V="seen by "#,
        ] {
            assert!(clean.contains(kept), "{kept} not in {clean}");
        }
    }

    #[test]
    fn observations_within_their_patient_stay() {
        let document = r#"<PT><PT.patient_id V="P-4711"/><OBS><OBS.observation_id V="GLU"/><OBS.value V="5.5" U="mmol/L"/>
<NTE><NTE.text V="call Hara"/></NTE><OBS.note>P-4711</OBS.note></OBS><PT.name><FAM V="Hara"/></PT.name></PT><SVC.x V="y"/>"#;
        let clean = poct1a(document.as_bytes(), &Pseudonyms::new([7; 32]));
        let clean = String::from_utf8(clean).expect("ASCII");
        assert!(!clean.contains("4711") && !clean.contains("Hara") && !clean.contains("call"), "{clean}");
        assert!(clean.contains(r#"<OBS.observation_id V="GLU"/><OBS.value V="5.5" U="mmol/L"/>"#), "{clean}");
        assert!(clean.contains(r#"<SVC.x V="y"/>"#), "{clean}");
    }

    #[test]
    fn what_ends_in_the_middle_is_cleaned_too() {
        for document in ["<PT><PT.patient_id V=\"P-4711", "<PT.name>Ann-Marie", "<PT.name V='Ann-Marie' "] {
            let clean = poct1a(document.as_bytes(), &Pseudonyms::new([7; 32]));
            let clean = String::from_utf8(clean).expect("ASCII");
            assert!(!clean.contains("4711") && !clean.contains("Ann") && !clean.contains("Marie"), "{clean}");
        }
    }
}
