//! How one model of analyzer is read where it differs from its protocol's rule: what a profile knows, as values.
//!
//! A driver asks it for places, codes and the encoding while it reads; names, units, LOINC codes and the rules for control
//! and calibration runs are laid over its finished events by [`Reading::complete`], the same for every driver.

use crate::event::{Device, EventKind, Test};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// See the module. The default reads as the driver's protocol says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Where the analyzer says nothing of itself: its model's name.
    pub model: Option<String>,
    /// Where the analyzer writes its model's name. `None`: the driver's own guess.
    pub model_at: Option<FieldPlace>,
    pub encoding: Encoding,
    /// Where the sample's id is: the first of these that holds something. Empty: the driver's own order.
    pub sample_id: Vec<FieldPlace>,
    /// Where the patient's id is. Empty: the driver's own order.
    pub patient_id: Vec<FieldPlace>,
    /// Where the analyzer's serial number is. `None`: the driver's own guess.
    pub serial_number: Option<FieldPlace>,
    /// The components of the test id that hold the code, the first that holds something counts. Empty: the driver's order.
    pub code: Vec<u8>,
    /// The components of the test id that follow the code where it comes more than once in an order. Empty: the driver's
    /// own way.
    pub told_apart_by: Vec<u8>,
    /// The components of the test id that hold the test's name, the first that holds something counts. Empty: the driver's.
    pub test_name: Vec<u8>,
    /// A test whose sample id matches is a control run.
    pub qc: Option<Pattern>,
    /// A test of whose records one of these fields matches is a control run.
    pub qc_fields: Vec<(FieldPlace, Pattern)>,
    /// A test whose sample id matches is a calibration.
    pub calibration: Option<Pattern>,
    /// What the analyzer's codes mean.
    pub codes: BTreeMap<String, Meaning>,
}

/// What one of the analyzer's codes means; empty where that is not certain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meaning {
    pub name: String,
    /// The unit of values that come without one.
    pub unit: String,
    /// Its LOINC code, whatever the unit is.
    pub loinc: String,
    /// Its LOINC code by the value's unit: LOINC tells a mass from an amount of substance.
    pub loinc_by_unit: BTreeMap<String, String>,
}

impl Meaning {
    /// The LOINC code of a value in that unit, if there is one for it.
    fn loinc_for(&self, unit: &str) -> Option<&String> {
        let of_unit = self.loinc_by_unit.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit));
        of_unit.map(|(_, code)| code).or(Some(&self.loinc)).filter(|code| !code.is_empty())
    }
}

/// A field of a record or segment: `O.4`, `P.3`, `PID.3.1`. Fields are counted as the protocol counts them (LIS2-A2: the
/// record's letter is field 1; HL7: `PID.3` is PID-3). POCT1-A has names instead: `ORD.order_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlace {
    /// `O`, `PID`; the whole name where fields have names.
    pub record: String,
    /// From 1; 0 where fields have names.
    pub field: usize,
    /// From 1; `None`: the first component that holds something.
    pub component: Option<usize>,
}

impl FieldPlace {
    /// Reads `O.4`, `PID.3.1` and `ORD.order_id`; `None` if it is no such place.
    pub fn parse(text: &str) -> Option<FieldPlace> {
        if let Some(named) = FieldPlace::named(text) {
            return Some(named);
        }
        let mut parts = text.split('.');
        let record = parts.next().filter(|record| (1..=3).contains(&record.len()))?;
        let number = |part: &str| part.parse::<usize>().ok().filter(|number| (1..=200).contains(number));
        let field = number(parts.next()?)?;
        let component = parts.next().map(number);
        let well = parts.next().is_none()
            && record.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            && record.starts_with(|first: char| first.is_ascii_uppercase());
        let place = || FieldPlace { record: record.to_owned(), field, component: component.flatten() };
        (well && component != Some(None)).then(place)
    }

    /// Three capital letters (`PT` has two), a dot, and a name in small letters.
    fn named(text: &str) -> Option<FieldPlace> {
        let (object, name) = text.split_once('.')?;
        let is_object = (2..=3).contains(&object.len()) && object.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_name =
            (3..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (is_object && is_name).then(|| FieldPlace { record: text.to_owned(), field: 0, component: None })
    }

    /// Whether it is a name rather than a number.
    pub fn is_named(&self) -> bool {
        self.field == 0
    }
}

/// Whether this is a LOINC code: up to seven digits, a dash and their check digit (modulus 10).
pub fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    let digits = number.bytes().rev().map(|byte| byte.wrapping_sub(b'0')).enumerate();
    let doubled = digits.map(|(place, digit)| match (place % 2, digit) {
        (0, digit @ 5..=9) => u32::from(digit) * 2 - 9,
        (0, digit) => u32::from(digit) * 2,
        (_, digit) => u32::from(digit),
    });
    let is_number = (1..=7).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && check == ((10 - doubled.sum::<u32>() % 10) % 10).to_string()
}

/// A regular expression that knows what it was written as.
#[derive(Clone)]
pub struct Pattern(regex_lite::Regex);

impl Pattern {
    /// Compiles it, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = regex_lite::RegexBuilder::new(text).size_limit(1 << 20).build();
        built.map(Pattern).map_err(|error| error.to_string())
    }

    pub fn regex(&self) -> &regex_lite::Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.0.as_str())
    }
}

/// How an analyzer's bytes become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8 where the bytes are valid UTF-8, else Latin-1.
    #[default]
    Auto,
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "latin-1")]
    Latin1,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "windows-1251")]
    Windows1251,
    Gbk,
    ShiftJis,
    /// The eighth bit is a parity bit or noise: it is taken off.
    #[serde(rename = "7-bit")]
    SevenBit,
}

impl Encoding {
    /// Every one with its word in the YAML.
    pub const WORDS: &[(&str, Encoding)] = &[
        ("auto", Encoding::Auto),
        ("utf-8", Encoding::Utf8),
        ("latin-1", Encoding::Latin1),
        ("windows-1252", Encoding::Windows1252),
        ("windows-1251", Encoding::Windows1251),
        ("gbk", Encoding::Gbk),
        ("shift-jis", Encoding::ShiftJis),
        ("7-bit", Encoding::SevenBit),
    ];

    /// The text of these bytes. What the encoding does not have becomes U+FFFD; nothing is left out.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        let by = |encoding: &'static encoding_rs::Encoding| encoding.decode_without_bom_handling(bytes).0;
        match self {
            Encoding::Auto => match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => encoding_rs::mem::decode_latin1(bytes),
            },
            Encoding::Utf8 => String::from_utf8_lossy(bytes),
            Encoding::Latin1 => encoding_rs::mem::decode_latin1(bytes),
            Encoding::Windows1252 => by(encoding_rs::WINDOWS_1252),
            Encoding::Windows1251 => by(encoding_rs::WINDOWS_1251),
            Encoding::Gbk => by(encoding_rs::GBK),
            Encoding::ShiftJis => by(encoding_rs::SHIFT_JIS),
            Encoding::SevenBit => Cow::Owned(bytes.iter().map(|byte| char::from(byte & 0x7f)).collect()),
        }
    }

    /// The bytes of a text, for what is sent to the analyzer. What the encoding does not have becomes `?`.
    pub fn encode(self, text: &str) -> Vec<u8> {
        let single = |most: u32| text.chars().map(|c| if u32::from(c) <= most { c as u8 } else { b'?' }).collect();
        let by = |encoding: &'static encoding_rs::Encoding| {
            let mut bytes = Vec::with_capacity(text.len());
            for c in text.chars() {
                let mut utf8 = [0; 4];
                let (encoded, _, lost) = encoding.encode(c.encode_utf8(&mut utf8));
                if lost { bytes.push(b'?') } else { bytes.extend_from_slice(&encoded) }
            }
            bytes
        };
        match self {
            Encoding::Auto | Encoding::Utf8 => text.as_bytes().to_vec(),
            Encoding::Latin1 => single(0xff),
            Encoding::SevenBit => single(0x7f),
            Encoding::Windows1252 => by(encoding_rs::WINDOWS_1252),
            Encoding::Windows1251 => by(encoding_rs::WINDOWS_1251),
            Encoding::Gbk => by(encoding_rs::GBK),
            Encoding::ShiftJis => by(encoding_rs::SHIFT_JIS),
        }
    }
}

impl Reading {
    /// Lays what is known over what an analyzer has said; what it said itself stays.
    pub fn complete(&self, event: &mut EventKind) {
        let says_tests = event.test.is_some() || !event.partial.is_empty();
        if let (true, Some(model)) = (says_tests, &self.model) {
            let device = event.device.get_or_insert_with(Device::default);
            device.model.get_or_insert_with(|| model.clone());
        }
        event.test.iter_mut().chain(&mut event.partial).for_each(|test| self.complete_test(test));
    }

    /// Whether a field of the test's records says that it is a control run. `field` reads the text at a place.
    pub fn is_control(&self, field: impl Fn(&FieldPlace) -> Option<String>) -> bool {
        let says =
            |(place, pattern): &(FieldPlace, Pattern)| field(place).is_some_and(|text| pattern.regex().is_match(&text));
        self.qc_fields.iter().any(says)
    }

    fn complete_test(&self, test: &mut Test) {
        let sample = test.sample_id.as_ref().map_or("", |id| id.expose());
        let matches = |pattern: &Option<Pattern>| pattern.as_ref().is_some_and(|found| found.regex().is_match(sample));
        test.qc |= matches(&self.qc);
        test.calibration |= matches(&self.calibration);
        for result in &mut test.results {
            let Some(meaning) = self.codes.get(&result.code) else { continue };
            let fill = |text: &mut String, known: &str| {
                if text.is_empty() {
                    known.clone_into(text);
                }
            };
            fill(&mut result.name, &meaning.name);
            fill(&mut result.unit, &meaning.unit);
            if result.loinc.is_none() {
                result.loinc = meaning.loinc_for(&result.unit).cloned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, ResultValue, TestState};

    #[test]
    fn places_are_written_as_people_write_them() {
        let place = |record: &str, field, component| Some(FieldPlace { record: record.to_owned(), field, component });
        assert_eq!(FieldPlace::parse("O.4"), place("O", 4, None));
        assert_eq!(FieldPlace::parse("PID.3.1"), place("PID", 3, Some(1)));
        assert_eq!(FieldPlace::parse("PV1.3"), place("PV1", 3, None));
        assert_eq!(FieldPlace::parse("ORD.order_id"), place("ORD.order_id", 0, None));
        for wrong in [
            "",
            "O",
            "o.4",
            "PT.Patient",
            "P.patient_id",
            "PT.id.x",
            "O.0",
            "O.x",
            "O.4.x",
            "O.4.1.1",
            "ORDER.4",
            "1.2",
            ".4",
        ] {
            assert_eq!(FieldPlace::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_unit_decides_which_loinc_code_a_value_has() {
        let by_unit =
            [("mg/dL", "2345-7"), ("mmol/L", "14749-6")].map(|(unit, code)| (unit.to_owned(), code.to_owned()));
        let glucose = Meaning { loinc_by_unit: by_unit.into(), ..Meaning::default() };
        let reading = Reading { codes: [("GLU".to_owned(), glucose)].into(), ..Reading::default() };
        let loinc = |unit: &str| {
            let result = ResultValue { code: "GLU".to_owned(), unit: unit.to_owned(), ..ResultValue::default() };
            let mut test = Test::new(Id([0; 16]), TestState::Done);
            test.results.push(result);
            reading.complete_test(&mut test);
            test.results.remove(0).loinc
        };
        assert_eq!(loinc("mg/dl").as_deref(), Some("2345-7"));
        assert_eq!(loinc("mmol/L").as_deref(), Some("14749-6"));
        assert_eq!(loinc("g/L"), None);
    }

    #[test]
    fn bytes_become_text_and_text_becomes_bytes() {
        for (encoding, bytes, text) in [
            (Encoding::Auto, &b"5 \xc2\xb5m"[..], "5 \u{b5}m"),
            (Encoding::Auto, b"5 \xb5m", "5 \u{b5}m"),
            (Encoding::Latin1, b"\x80", "\u{80}"),
            (Encoding::Windows1252, b"\x80", "\u{20ac}"),
            (Encoding::Windows1251, b"\xcf", "\u{41f}"),
            (Encoding::Gbk, b"\xa6\xcc", "\u{3bc}"),
            (Encoding::ShiftJis, b"\x83\xca", "\u{3bc}"),
            (Encoding::SevenBit, b"\xc1B", "AB"),
            (Encoding::Utf8, b"a\xff", "a\u{fffd}"),
        ] {
            assert_eq!(encoding.decode(bytes), text);
            if !matches!(encoding, Encoding::SevenBit | Encoding::Utf8) && bytes != b"5 \xb5m" {
                assert_eq!(encoding.encode(text), bytes);
            }
        }
        assert_eq!(Encoding::Latin1.encode("\u{20ac}1"), b"?1");
        assert_eq!(Encoding::Gbk.encode("\u{1f600}1"), b"?1");
    }
}
