//! The text of HL7 version 2: its delimiters, what is escaped, how segments are put together (2.5.1, chapter 2). What a driver
//! and a dialect share.
//!
//! Invariant: whatever a field's text holds, it stays inside of its field.

use std::fmt::Write;

/// The five delimiters of a message, from MSH-1 and MSH-2 (section 2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delimiters {
    pub field: char,
    pub component: char,
    pub repeat: char,
    pub escape: char,
    pub subcomponent: char,
}

impl Delimiters {
    /// The recommended ones: `|^~\&`.
    pub const USUAL: Delimiters =
        Delimiters { field: '|', component: '^', repeat: '~', escape: '\\', subcomponent: '&' };

    /// MSH-2.
    pub fn encoding_characters(&self) -> String {
        [self.component, self.repeat, self.escape, self.subcomponent].iter().collect()
    }

    /// A field's text with the delimiters and everything below blank escaped (section 2.7): `\F\` for `|`, `\X0D\` for a CR.
    pub fn escaped(&self, text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            let code = match c {
                c if c == self.field => 'F',
                c if c == self.component => 'S',
                c if c == self.subcomponent => 'T',
                c if c == self.repeat => 'R',
                c if c == self.escape => 'E',
                c if c.is_control() => 'X',
                c => {
                    escaped.push(c);
                    continue;
                }
            };
            escaped.extend([self.escape, code]);
            if code == 'X' {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    write!(escaped, "{byte:02X}").expect("a String takes everything");
                }
            }
            escaped.push(self.escape);
        }
        escaped
    }
}

/// A field's text under the usual delimiters.
pub(crate) fn escaped(text: &str) -> String {
    Delimiters::USUAL.escaped(text)
}

/// The reverse. A sequence that is none of these stays as it is.
#[cfg(test)]
pub(crate) fn unescaped(text: &str) -> String {
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
pub(crate) struct Segment {
    name: &'static str,
    delimiters: Delimiters,
    fields: Vec<String>,
}

impl Segment {
    pub(crate) fn new(name: &'static str) -> Segment {
        Segment::with(Delimiters::USUAL, name)
    }

    /// One for a message with these delimiters.
    pub(crate) fn with(delimiters: Delimiters, name: &'static str) -> Segment {
        Segment { name, delimiters, fields: Vec::new() }
    }

    /// Sets field `number`, counted from 1, to a text in HL7's own form.
    pub(crate) fn raw(mut self, number: usize, text: impl Into<String>) -> Segment {
        if self.fields.len() < number {
            self.fields.resize(number, String::new());
        }
        self.fields[number - 1] = text.into();
        self
    }

    /// Sets field `number` to one text.
    pub(crate) fn text(self, number: usize, text: &str) -> Segment {
        let escaped = self.delimiters.escaped(text);
        self.raw(number, escaped)
    }

    /// Sets field `number` to components, without the empty ones at the end.
    pub(crate) fn components(self, number: usize, components: &[&str]) -> Segment {
        let Delimiters { component: separator, .. } = self.delimiters;
        let escaped: Vec<String> = components.iter().map(|component| self.delimiters.escaped(component)).collect();
        let joined = escaped.join(separator.encode_utf8(&mut [0; 4]));
        self.raw(number, joined.trim_end_matches(separator))
    }

    /// Adds the segment and its CR to a message. MSH's first field is the separator itself, so its others count from 2.
    pub(crate) fn write(&self, message: &mut String) {
        let start = message.len();
        let separator = self.delimiters.field;
        message.push_str(self.name);
        for field in self.fields.iter().skip(usize::from(self.name == "MSH")) {
            message.push(separator);
            message.push_str(field);
        }
        message.truncate(start + message[start..].trim_end_matches(separator).len());
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
    fn a_message_may_have_delimiters_of_its_own() {
        let own = Delimiters { field: '$', component: '%', repeat: '*', escape: '!', subcomponent: '@' };
        assert_eq!(own.escaped("a$b%c@d*e!f|g^"), "a!F!b!S!c!T!d!R!e!E!f|g^");
        let mut message = String::new();
        Segment::with(own, "PID").components(5, &["A$B", "C"]).write(&mut message);
        assert_eq!(message, "PID$$$$$A!F!B%C\r");
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
