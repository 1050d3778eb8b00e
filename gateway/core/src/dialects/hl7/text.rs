//! The text of HL7 version 2: what is escaped, how segments are put together and taken apart (2.5.1, chapter 2).
//!
//! Invariant: whatever a field's text holds, it stays inside of its field. [`unescaped`] gives back what [`escaped`] took.

use std::fmt::Write;

/// A field's text with the delimiters and everything below blank escaped (section 2.7): `\F\` for `|`, `\X0D\` for a CR.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => escaped.push_str("\\F\\"),
            '^' => escaped.push_str("\\S\\"),
            '&' => escaped.push_str("\\T\\"),
            '~' => escaped.push_str("\\R\\"),
            '\\' => escaped.push_str("\\E\\"),
            c if c.is_control() => {
                escaped.push_str("\\X");
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    write!(escaped, "{byte:02X}").expect("a String takes everything");
                }
                escaped.push('\\');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The reverse. A sequence that is none of these stays as it is.
#[cfg(test)]
pub(super) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let Some((code, tail)) = after.split_once('\\') else {
            rest = &rest[plain.len()..];
            break;
        };
        match code {
            "F" => bytes.push(b'|'),
            "S" => bytes.push(b'^'),
            "T" => bytes.push(b'&'),
            "R" => bytes.push(b'~'),
            "E" => bytes.push(b'\\'),
            code => {
                let digits = code.strip_prefix('X').unwrap_or_default();
                let pairs = (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16));
                bytes.extend(pairs.map(|byte| byte.expect("hexadecimal")));
            }
        }
        rest = tail;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).expect("what was escaped was text")
}

/// One segment: its fields by number, written without the empty ones at its end.
pub(super) struct Segment {
    name: &'static str,
    fields: Vec<String>,
}

impl Segment {
    pub(super) fn new(name: &'static str) -> Segment {
        Segment { name, fields: Vec::new() }
    }

    /// Sets field `number`, counted from 1, to a text in HL7's own form.
    pub(super) fn raw(mut self, number: usize, text: impl Into<String>) -> Segment {
        if self.fields.len() < number {
            self.fields.resize(number, String::new());
        }
        self.fields[number - 1] = text.into();
        self
    }

    /// Sets field `number` to one text.
    pub(super) fn text(self, number: usize, text: &str) -> Segment {
        self.raw(number, escaped(text))
    }

    /// Sets field `number` to components, without the empty ones at the end.
    pub(super) fn components(self, number: usize, components: &[&str]) -> Segment {
        let escaped: Vec<String> = components.iter().map(|component| escaped(component)).collect();
        self.raw(number, escaped.join("^").trim_end_matches('^'))
    }

    /// Adds the segment and its CR to a message. MSH's first field is the separator itself, so its others count from 2.
    pub(super) fn write(&self, message: &mut String) {
        let start = message.len();
        message.push_str(self.name);
        for field in self.fields.iter().skip(usize::from(self.name == "MSH")) {
            message.push('|');
            message.push_str(field);
        }
        message.truncate(start + message[start..].trim_end_matches('|').len());
        message.push('\r');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delimiters_and_line_ends_are_escaped() {
        assert_eq!(escaped("a|b^c&d~e\\f\r\ng\u{85}"), r"a\F\b\S\c\T\d\R\e\E\f\X0D\\X0A\g\XC285\");
        assert_eq!(escaped("10*3/µL ü"), "10*3/µL ü");
    }

    #[test]
    fn a_segment_ends_with_its_last_valued_field() {
        let mut message = String::new();
        Segment::new("MSH").raw(1, "|").raw(2, "^~\\&").text(4, "a|b").text(6, "").write(&mut message);
        Segment::new("OBX").raw(1, "1").components(3, &["WBC", "", "L", ""]).write(&mut message);
        assert_eq!(message, "MSH|^~\\&||a\\F\\b\rOBX|1||WBC^^L\r");
    }

    proptest! {
        #[test]
        fn escaping_round_trips_and_stays_inside_its_field(text in any::<String>()) {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(|c: char| "|^&~".contains(c) || c.is_control()));
            prop_assert_eq!(unescaped(&escaped), text);
        }
    }
}
