//! HL7 v2: who somebody is stands in PID and its neighbours, in the ids of orders and specimens, and in notes.

use super::{Delimiters, Fate, Fields, Pseudonyms, blot, parts};
use crate::reading::Reading;

/// No segment of HL7 v2 has as many fields; a profile's places beyond are not looked for.
const FIELDS_MAX: usize = 64;

/// Messages, in MLLP blocks or not, without anybody in them. The lengths stay; there is no checksum to mend.
pub fn hl7(bytes: &[u8], reading: &Reading, names: &Pseudonyms) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    let mut fields = Fields::new(reading, names, declared(b"MSH|^~\\&").unwrap_or_default());
    for learning in [true, false] {
        let mut is_control = false;
        for range in parts(bytes, |byte| matches!(byte, b'\r' | b'\n' | 0x0b | 0x1c)) {
            let segment = &mut clean[range];
            if segment.is_empty() {
                continue;
            }
            let Some(name) = segment_name(segment) else {
                blot(segment);
                continue;
            };
            if let Some(delimiters) = declared(segment) {
                is_control = segment.split(|byte| *byte == delimiters.field).nth(15) == Some(b"2");
                fields.delimiters = delimiters;
            }
            // MSH-1 is the delimiter itself.
            let first = usize::from(&name == b"MSH");
            let places: Vec<bool> = (0..FIELDS_MAX).map(|number| fields.is_id(&name, number)).collect();
            let fate = |number: usize| match number > 0 && places.get(number) == Some(&true) {
                true => Fate::Ids,
                // Mindray's control runs (MSH-16 is 2) have the item's number and name where others have ids.
                false if is_control && &name == b"OBR" && matches!(number, 2 | 3) => Fate::Stays,
                false => fate(&name, number),
            };
            if learning { fields.clean(segment, first, fate) } else { fields.search(segment, first, fate) }
        }
    }
    clean
}

fn segment_name(segment: &[u8]) -> Option<[u8; 3]> {
    let name: [u8; 3] = segment.get(..3)?.try_into().ok()?;
    // The driver takes names in any case.
    let name = name.map(|letter| letter.to_ascii_uppercase());
    let is_name = name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let ends = segment.get(3).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte > b' ');
    (is_name && ends).then_some(name)
}

/// HL7 2.5.1, chapter 2.5.4: the four behind the field's.
fn declared(segment: &[u8]) -> Option<Delimiters> {
    let [b'M' | b'm', b'S' | b's', b'H' | b'h', field, component, repeat, ..] = *segment else { return None };
    Some(Delimiters { field, component: Some(component), repeat: Some(repeat), sub: segment.get(7).copied() })
}

/// HL7 2.5.1, by the numbers of its fields (chapters 3, 4, 7, 13).
fn fate(segment: &[u8; 3], number: usize) -> Fate {
    match (segment, number) {
        (_, 0) => Fate::Stays,
        (b"MSH", 8) => Fate::Blotted,
        // Equipment, queries' answers, batches and messages about messages: nobody.
        (
            b"MSH" | b"MSA" | b"ERR" | b"QAK" | b"EQU" | b"TCD" | b"TCC" | b"INV" | b"SID" | b"FHS" | b"BHS" | b"BTS"
            | b"FTS",
            _,
        ) => Fate::Stays,
        // The set's number, and the sex: they tell nobody apart.
        (b"PID", 1 | 8) | (b"PV1" | b"NK1", 1) => Fate::Stays,
        (b"PID" | b"PD1" | b"PV1" | b"PV2" | b"NK1" | b"GT1" | b"IN1" | b"IN2" | b"IN3" | b"MRG", _) => Fate::Invented,
        (b"OBR", 2 | 3) | (b"ORC", 2..=4) | (b"SPM", 2 | 3) | (b"SAC", 3 | 4) | (b"QRD", 8) | (b"QPD", 3..) => {
            Fate::Ids
        }
        (b"OBR", 10 | 16 | 17 | 28 | 32..=35) | (b"ORC", 10..=12 | 14 | 19 | 21..=24) | (b"OBX", 16 | 25) => {
            Fate::Invented
        }
        (b"OBR", 13 | 31) | (b"SPM", 14) | (b"NTE", 3) | (b"DSP", 3) => Fate::Blotted,
        (b"OBX", 5) | (b"OBR" | b"ORC" | b"SPM" | b"SAC", _) => Fate::Searched,
        (b"OBX" | b"NTE" | b"DSP" | b"QRD" | b"QRF" | b"QPD" | b"RCP" | b"DSC", _) => Fate::Stays,
        _ => Fate::Blotted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_gone_and_results_stay() {
        let message = "\x0bMSH|^~\\&|XN|LAB|||20260304050607||ORU^R01|17|P|2.3.1\r\
                       PID|1||P-4711^^^HOSP||Invented^Ann^B||19800229|F|||Long Road 5\r\
                       OBR|1|ORD-77|S-1001|^^^CBC|||20260304050000|||nurse|||flu?|||Who^Doctor\r\
                       OBX|1|NM|WBC^White^L||5.50|10*3/uL|4-9|N|||F|||||tech7\r\
                       OBX|2|ST|FILE^^L||S-1001_Ann.png||||||F\rNTE|1||call Ann\rZPS|1|Ann|12\r\x1c\r";
        let clean = hl7(message.as_bytes(), &Reading::default(), &Pseudonyms::new([7; 32]));
        assert_eq!(clean.len(), message.len());
        let clean = String::from_utf8(clean).expect("ASCII");
        for gone in ["4711", "Invented", "Ann", "1980", "Long", "ORD-77", "1001", "nurse", "flu", "Who", "tech7"] {
            assert!(!clean.contains(gone), "{gone} in {clean}");
        }
        for kept in ["\x0bMSH|^~\\&|XN|LAB|||20260304050607||ORU^R01|17|P|2.3.1\r", "|F|", "|^^^CBC|||20260304050000|"]
        {
            assert!(clean.contains(kept), "{kept} not in {clean}");
        }
        assert!(clean.contains("OBX|1|NM|WBC^White^L||5.50|10*3/uL|4-9|N|||F|"), "{clean}");
        assert!(clean.contains(".png||||||F\r") && clean.ends_with("\r\x1c\r"), "{clean}");
        let id = clean.split("OBR|1|").nth(1).and_then(|rest| rest.split('|').nth(1)).expect("an id");
        assert_eq!(clean.matches(id).count(), 2, "{clean}");
    }

    #[test]
    fn what_is_no_segment_is_blotted_out() {
        let clean = hl7(b"Ann 5\rMSH|^~\\&|A\rADD|more of Ann\r", &Reading::default(), &Pseudonyms::new([7; 32]));
        assert_eq!(clean, b"Xxx 0\rMSH|^~\\&|A\rADD|xxxx xx Xxx\r");
    }
}
