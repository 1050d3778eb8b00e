//! OBX: one result value. Also the values that Mindray's chemistry analyzers put into OBR for a control run.

use super::super::values::{decimal, local_time};
use super::syntax::Segment;
use crate::event::{Omitted, Personal, ResultValue};
use crate::reading::{Reading, is_loinc};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// How many bytes of pictures a test may still carry.
pub(super) struct PictureRoom(pub usize);

/// The result of an OBX segment. CONTRACT: its code is OBX-3.1, its value OBX-5 as sent.
pub(super) fn result(obx: &Segment, reading: &Reading, room: &mut PictureRoom) -> ResultValue {
    let parts = obx.components(obx.repeats(3).next().unwrap_or_default());
    let part = |number: usize| parts.get(number - 1).map(String::as_str).filter(|part| !part.is_empty());
    let chosen = reading.code.iter().map(|number| usize::from(*number)).find(|number| part(*number).is_some());
    // OBX-3 is a code, its name and its system, then an alternate one of each (CE, CWE).
    let place = chosen.or_else(|| [1, 4, 2, 5].into_iter().find(|number| part(*number).is_some()));
    let code = place.and_then(part).unwrap_or_default().to_owned();
    let sub_id = obx.text(4);
    // Mindray's chemistry analyzers have the name of the test in OBX-4.
    let is_name = sub_id.starts_with(char::is_alphabetic);
    let name = [2, 5].into_iter().filter(|number| Some(*number) != place).find_map(part);
    let name = name.unwrap_or(if is_name { &sub_id } else { "" }).to_owned();
    let coded =
        [(1, 3), (4, 6)].into_iter().find(|(_, system)| part(*system) == Some("LN")).and_then(|(code, _)| part(code));
    let (value, omitted) = value(obx, room);
    let at_text = [19, 14].into_iter().map(|number| obx.text(number)).find(|text| !text.is_empty()).unwrap_or_default();
    ResultValue {
        name,
        loinc: coded.filter(|code| is_loinc(code)).map(str::to_owned),
        number: decimal(value.expose()),
        value,
        omitted,
        unit: unit(obx),
        reference: obx.text(7),
        flags: obx.repeats(8).map(|repeat| first(obx, repeat)).filter(|flag| !flag.is_empty()).collect(),
        status: obx.text(11),
        at: local_time(&at_text),
        at_text,
        run: Some(sub_id).filter(|sub_id| !sub_id.is_empty() && !is_name),
        code,
        ..ResultValue::default()
    }
}

fn first(segment: &Segment, repeat: &str) -> String {
    segment.components(repeat).into_iter().find(|part| !part.is_empty()).unwrap_or_default()
}

/// OBX-6.1, and the whole field where a power of ten was written with the component separator: `10^9/L`.
fn unit(obx: &Segment) -> String {
    let parts = obx.components(obx.raw(6));
    let is_power = |pair: &[String]| {
        pair[0].trim_end_matches(['*', 'x', 'X']).ends_with("10")
            && pair[1].starts_with(|c: char| c.is_ascii_digit() || c == '-')
    };
    match parts.get(..2).filter(|pair| is_power(pair)) {
        Some(pair) => pair.join(obx.delimiters().component.encode_utf8(&mut [0; 4])),
        None => first(obx, obx.raw(6)),
    }
}

/// OBX-5 as sent with its escapes undone. A picture for which there is no room is left out, and what was left out is told.
fn value(obx: &Segment, room: &mut PictureRoom) -> (Personal, Option<Omitted>) {
    let raw = obx.raw(5);
    // ED (2.5.1 section 2.A.24): source, type, subtype, encoding, data.
    let parts: Vec<&str> = raw.splitn(5, obx.delimiters().component).collect();
    let encoded = parts.get(3).is_some_and(|encoding| encoding.trim().eq_ignore_ascii_case("base64"));
    if !encoded && !obx.raw(2).eq_ignore_ascii_case("ED") {
        return (Personal::new(if raw == "\"\"" { raw.to_owned() } else { obx.unescaped(raw) }), None);
    }
    match room.0.checked_sub(raw.len()) {
        Some(left) => {
            room.0 = left;
            (Personal::new(raw), None)
        }
        None => {
            let part = |place: usize| parts.get(place).map_or("", |part| part.trim());
            let sha256 = Sha256::digest(raw).iter().fold(String::new(), |mut hash, byte| {
                write!(hash, "{byte:02x}").expect("a String takes everything");
                hash
            });
            let media_type = media_type(part(1), part(2));
            (Personal::default(), Some(Omitted { media_type, encoding: word(part(3)), bytes: raw.len(), sha256 }))
        }
    }
}

/// ED.2 (table 0191) and ED.3 (table 0291) as a media type: `image/bmp`.
fn media_type(kind: &str, subtype: &str) -> String {
    let kind = match word(kind).as_str() {
        "im" | "image" => "image".to_owned(),
        "au" | "audio" => "audio".to_owned(),
        "tx" | "ft" | "text" => "text".to_owned(),
        "ap" | "application" | "" => "application".to_owned(),
        other => other.to_owned(),
    };
    let subtype = if subtype.is_empty() { "octet-stream".to_owned() } else { word(subtype) };
    format!("{kind}/{subtype}")
}

/// A word for programs: what stands there may be anything, so only a short one of usual signs passes.
fn word(text: &str) -> String {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-+._".contains(c);
    if text.len() <= 40 && text.chars().all(usual) { text.to_ascii_lowercase() } else { "unknown".to_owned() }
}

/// A control run without any OBX (Mindray BS-200 and BS-400 host interface manuals): OBR-2 is the test's number, 3 its name,
/// 13 the control's name, 14 its lot, 15 when that expires, 17 its level, 18 the mean, 19 the standard deviation, 20 the
/// value, 21 the unit.
pub(super) fn control(obr: &Segment) -> Option<ResultValue> {
    let value = obr.text(20);
    let named = [(13, "Control"), (14, "Lot"), (15, "Expiry"), (17, "Level"), (18, "Mean"), (19, "SD")];
    let comment = |(number, name): (usize, &str)| {
        let text = obr.text(number);
        (!text.is_empty()).then(|| Personal::new(format!("{name}: {text}")))
    };
    let at_text = [7, 6].into_iter().map(|number| obr.text(number)).find(|text| !text.is_empty()).unwrap_or_default();
    (!value.is_empty()).then(|| ResultValue {
        code: obr.text(2),
        name: obr.text(3),
        number: decimal(&value),
        value: Personal::new(value),
        unit: obr.text(21),
        at: local_time(&at_text),
        at_text,
        comments: named.into_iter().filter_map(comment).collect(),
        ..ResultValue::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::syntax::messages;
    use super::*;
    use crate::reading::Encoding;

    fn read(obx: &str, reading: &Reading, room: usize) -> ResultValue {
        let text = format!("MSH|^~\\&\r{obx}");
        let message = &messages(text.as_bytes(), Encoding::Auto)[0];
        result(&message.segments[1], reading, &mut PictureRoom(room))
    }

    fn plain(obx: &str) -> ResultValue {
        read(obx, &Reading::default(), 1000)
    }

    #[test]
    fn codes_and_names() {
        for (field, sub_id, code, name, loinc) in [
            ("6690-2^WBC^LN", "", "6690-2", "WBC", Some("6690-2")),
            ("6690-3^WBC^LN", "", "6690-3", "WBC", None),
            ("GLU", "", "GLU", "", None),
            ("12^Glucose^99X^2345-7^Glu^LN", "1", "12", "Glucose", Some("2345-7")),
            ("^Glucose", "", "Glucose", "", None),
            ("", "", "", "", None),
            ("2", "TBil", "2", "TBil", None),
        ] {
            let result = plain(&format!("OBX|1|NM|{field}|{sub_id}|5"));
            let said = (result.code.as_str(), result.name.as_str(), result.loinc.as_deref());
            assert_eq!(said, (code, name, loinc), "{field}");
        }
        let reading = Reading { code: vec![2], ..Reading::default() };
        assert_eq!(read("OBX|1|NM|1^WBC^L||5", &reading, 0).code, "WBC");
    }

    #[test]
    fn values_are_as_sent_and_a_number_only_as_a_whole() {
        for (kind, sent, number) in [
            ("NM", " 9.81 ", Some("9.81")),
            ("SN", ">^100", None),
            ("SN", "^1^:^128", None),
            ("CE", "N^Negative^L", None),
            ("NM", "5~6", None),
            ("ST", "<=1.005", None),
            ("NM", "", None),
        ] {
            let result = plain(&format!("OBX|1|{kind}|A||{sent}"));
            assert_eq!(result.value.expose(), sent.trim(), "{sent}");
            assert_eq!(result.number.map(|number| number.to_string()).as_deref(), number, "{sent}");
        }
        assert_eq!(plain(r"OBX|1|ST|A||a\F\b").value.expose(), "a|b");
    }

    #[test]
    fn units_flags_runs_and_times() {
        for (sent, unit) in [
            ("mmol/L^mmol/L^UCUM", "mmol/L"),
            ("10^9/L", "10^9/L"),
            ("10*9/L", "10*9/L"),
            ("x10^3/uL", "x10^3/uL"),
            ("^per 10", "per 10"),
            ("", ""),
        ] {
            assert_eq!(plain(&format!("OBX|1|NM|A||5|{sent}")).unit, unit);
        }
        let result = plain("OBX|1|NM|A|2|5|g|1-9|L~^low||X|C|||20260131101200.5+0100|||||");
        assert_eq!((result.flags.join(" "), result.run.as_deref()), ("L low".to_owned(), Some("2")));
        assert_eq!((result.status.as_str(), result.at.as_deref()), ("C", Some("2026-01-31T10:12:00")));
        let both = plain("OBX|1|NM|A||5||||||F|||20260131101200|||||20260131101500");
        assert_eq!(both.at_text, "20260131101500");
        assert_eq!(plain("OBX|1|NM|A|1/2|5").run.as_deref(), Some("1/2"));
    }

    #[test]
    fn a_picture_without_room_is_told_and_left_out() {
        let obx = "OBX|1|ED|15008^Histogram^99X||^Image^BMP^Base64^QkLMAAAA";
        let kept = read(obx, &Reading::default(), 26);
        assert_eq!((kept.value.expose(), kept.omitted), ("^Image^BMP^Base64^QkLMAAAA", None));
        let left = read(obx, &Reading::default(), 25);
        let omitted = left.omitted.expect("left out");
        assert_eq!((left.value.expose(), omitted.bytes, omitted.sha256.len()), ("", 26, 64));
        assert_eq!((omitted.media_type.as_str(), omitted.encoding.as_str()), ("image/bmp", "base64"));
        let unnamed = read("OBX|1|ED|A||^^^^x", &Reading::default(), 0).omitted.expect("left out");
        assert_eq!((unnamed.media_type.as_str(), unnamed.encoding.as_str()), ("application/octet-stream", ""));
    }
}
