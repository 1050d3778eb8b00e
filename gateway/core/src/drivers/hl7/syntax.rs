//! Segments, fields, components and escapes of HL7 version 2 (2.5.1 chapter 2), by the delimiters that each message declares.
//!
//! Reads what analyzers really send: segments ended by CR, LF or both, their names in any case, blanks around them. A line
//! that is no segment goes on with the field before it. Text is made of the bytes by MSH-18 where the bytes agree with it,
//! else by the setting.

use crate::framing::mllp::{FS, VT};
use crate::hl7::Delimiters;
use crate::reading::{Encoding, FieldPlace};

/// One message: from its MSH to the next.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub delimiters: Delimiters,
    /// What its bytes are, for the answer.
    pub encoding: Encoding,
    /// The first is MSH.
    pub segments: Vec<Segment>,
}

/// One segment with its delimiters.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// In capitals.
    pub name: String,
    /// As received. The first is field 1; MSH-1 is the field separator itself.
    fields: Vec<String>,
    delimiters: Delimiters,
    encoding: Encoding,
}

/// Names of segments that only hold messages together.
const ENVELOPE: [&str; 4] = ["FHS", "BHS", "BTS", "FTS"];

/// The messages of one block. Empty: it holds none, or the first of them has no delimiters that could be used.
pub(super) fn messages(block: &[u8], setting: Encoding) -> Vec<Message> {
    let encoding = encoding_of(block, setting);
    let text = encoding.decode(block);
    let mut messages: Vec<Message> = Vec::new();
    let frame = |c: char| c.is_ascii_control() || c == ' ' || c == '\u{feff}';
    for line in text.split(['\r', '\n', char::from(VT), char::from(FS)]) {
        let line = line.trim_start_matches(frame);
        if line.trim_end().is_empty() {
            continue;
        }
        if name_of(line).is_some_and(|name| name == "MSH") {
            match delimiters(line) {
                Some(delimiters) => messages.push(Message { delimiters, encoding, segments: Vec::new() }),
                None if messages.last().is_some_and(|open| !line[3..].starts_with(open.delimiters.field)) => {}
                None => return Vec::new(),
            }
        }
        let Some(message) = messages.last_mut() else {
            // A batch's header; anything else before the first MSH means that this is no message.
            if name_of(line).is_some_and(|name| ENVELOPE.contains(&name.as_str())) {
                continue;
            }
            return Vec::new();
        };
        message.add(line);
    }
    messages
}

impl Message {
    fn add(&mut self, line: &str) {
        let separator = self.delimiters.field;
        let name = name_of(line).filter(|_| line[3..].trim_end().is_empty() || line[3..].starts_with(separator));
        match (name, self.segments.last_mut()) {
            (Some(name), _) if ENVELOPE.contains(&name.as_str()) => {}
            (Some(name), _) => {
                let mut fields: Vec<String> = line.split(separator).skip(1).map(str::to_owned).collect();
                if name == "MSH" {
                    fields.insert(0, separator.to_string());
                }
                self.segments.push(Segment { name, fields, delimiters: self.delimiters, encoding: self.encoding });
            }
            // A text with line ends of its own, or base64 in lines.
            (None, Some(before)) => {
                if let Some(field) = before.fields.last_mut() {
                    field.push('\n');
                    field.push_str(line);
                }
            }
            (None, None) => {}
        }
    }

    pub fn segment(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == name)
    }
}

/// The name that a line begins with, in capitals: a letter and two letters or digits.
fn name_of(line: &str) -> Option<String> {
    let name = line.get(..3)?;
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && name.as_bytes()[0].is_ascii_alphabetic();
    letters.then(|| name.to_ascii_uppercase())
}

/// MSH-1 and MSH-2. What MSH-2 leaves out is as usual.
fn delimiters(line: &str) -> Option<Delimiters> {
    let field = line.chars().nth(3).filter(|sign| !sign.is_alphanumeric() && !sign.is_whitespace())?;
    let mut declared: Vec<char> = line.chars().skip(4).take_while(|sign| *sign != field).take(5).collect();
    // A log has doubled the backslash.
    declared.dedup_by(|next, before| *next == '\\' && *before == '\\');
    let usual = Delimiters::USUAL;
    let sign = |place: usize, usual: char| declared.get(place).copied().unwrap_or(usual);
    let delimiters = Delimiters {
        field,
        component: sign(0, usual.component),
        repeat: sign(1, usual.repeat),
        escape: sign(2, usual.escape),
        subcomponent: sign(3, usual.subcomponent),
    };
    let Delimiters { component, repeat, escape, subcomponent, .. } = delimiters;
    let all = [field, component, repeat, escape, subcomponent];
    let distinct = all.iter().enumerate().all(|(place, one)| !all[..place].contains(one) && !one.is_alphanumeric());
    distinct.then_some(delimiters)
}

/// MSH-18 (table 0211) where the bytes agree with it, else the setting; `auto` becomes what it comes to for these bytes.
fn encoding_of(block: &[u8], setting: Encoding) -> Encoding {
    let is_utf_8 = std::str::from_utf8(block).is_ok();
    match declared(block).as_str() {
        "UNICODE" | "UNICODE UTF-8" | "UTF-8" | "UTF8" if is_utf_8 => Encoding::Utf8,
        "8859/1" | "8859-1" | "ISO-8859-1" => Encoding::Latin1,
        "GB 18030-2000" | "GB18030" | "GBK" | "GB2312" => Encoding::Gbk,
        _ => match setting {
            Encoding::Auto if is_utf_8 => Encoding::Utf8,
            Encoding::Auto => Encoding::Latin1,
            setting => setting,
        },
    }
}

/// MSH-18 of the first message in a block, in capitals. It is read as bytes: what they mean is not known yet.
fn declared(block: &[u8]) -> String {
    let Some(at) = block.windows(3).position(|window| window.eq_ignore_ascii_case(b"MSH")) else {
        return String::new();
    };
    let line = block[at..].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let Some(separator) = line.get(3) else { return String::new() };
    let field = line.split(|byte| byte == separator).nth(17).unwrap_or_default();
    let first = field.split(|byte| *byte == b'~').next().unwrap_or_default();
    String::from_utf8_lossy(first).trim().to_ascii_uppercase()
}

impl Segment {
    /// A field as received, without the blanks around it; empty if there is none. Fields count from 1.
    pub fn raw(&self, number: usize) -> &str {
        self.fields.get(number.wrapping_sub(1)).map_or("", |field| field.trim())
    }

    /// The whole field with its escapes undone; a field that holds only `""`, which means "none", is empty.
    pub fn text(&self, number: usize) -> String {
        self.plain(self.raw(number))
    }

    /// The repetitions of a field as received. A field without any has one.
    pub fn repeats(&self, number: usize) -> impl Iterator<Item = &str> {
        self.raw(number).split(self.delimiters.repeat)
    }

    /// The components of a repetition, each as the first of its subcomponents that holds something.
    pub fn components(&self, repeat: &str) -> Vec<String> {
        let plain = |component: &str| {
            let parts = component.split(self.delimiters.subcomponent).map(|part| self.plain(part.trim()));
            parts.into_iter().find(|part| !part.is_empty()).unwrap_or_default()
        };
        repeat.split(self.delimiters.component).map(plain).collect()
    }

    /// One component of the first repetition that holds it; `None` if none does. Components count from 1.
    pub fn component(&self, number: usize, component: usize) -> Option<String> {
        let mut found = self.repeats(number).map(|repeat| self.components(repeat).into_iter().nth(component - 1));
        found.find_map(|text| text.filter(|text| !text.is_empty()))
    }

    /// What stands at a place of this segment.
    pub fn at(&self, place: &FieldPlace) -> Option<String> {
        match place.component {
            Some(component) => self.component(place.field, component),
            None => self.repeats(place.field).flat_map(|repeat| self.components(repeat)).find(|text| !text.is_empty()),
        }
    }

    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// The segment as one line, as received.
    pub fn line(&self) -> String {
        let separator = self.delimiters.field.to_string();
        let line: Vec<&str> =
            std::iter::once(self.name.as_str()).chain(self.fields.iter().map(String::as_str)).collect();
        line.join(&separator)
    }

    fn plain(&self, text: &str) -> String {
        if text == "\"\"" { String::new() } else { self.unescaped(text) }
    }

    /// Undoes the escapes of section 2.7 that stand for characters, and the line break of formatted text. Others stay.
    pub fn unescaped(&self, text: &str) -> String {
        let Delimiters { field, component, repeat, escape, subcomponent } = self.delimiters;
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(escape) {
            plain.push_str(before);
            let sequence = after.split_once(escape);
            let meaning = sequence.and_then(|(code, _)| match code {
                "F" => Some(field.to_string()),
                "S" => Some(component.to_string()),
                "T" => Some(subcomponent.to_string()),
                "R" => Some(repeat.to_string()),
                "E" => Some(escape.to_string()),
                ".br" | ".BR" => Some("\n".to_owned()),
                code => self.hexadecimal(code.strip_prefix(['X', 'x'])?),
            });
            match (meaning, sequence) {
                (Some(meaning), Some((_, tail))) => {
                    plain.push_str(&meaning);
                    rest = tail;
                }
                _ => {
                    plain.push(escape);
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        plain
    }

    fn hexadecimal(&self, digits: &str) -> Option<String> {
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect();
        bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| self.encoding.decode(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Message {
        messages(text.as_bytes(), Encoding::Auto).pop().expect("a message")
    }

    fn names(text: &str) -> Vec<String> {
        one(text).segments.into_iter().map(|segment| segment.name).collect()
    }

    #[test]
    fn lines_end_in_any_way_and_names_have_any_case() {
        for end in ["\r", "\n", "\r\n", "\r\r\n"] {
            let text = ["MSH|^~\\&|A", "pid|1", " OBX|1||X||5", "", "PV1", ""].join(end);
            assert_eq!(names(&text), ["MSH", "PID", "OBX", "PV1"], "{end:?}");
        }
        assert_eq!(names("\u{b}\u{feff}MSH|^~\\&\rPID|1\r\u{1c}\r"), ["MSH", "PID"]);
    }

    #[test]
    fn a_line_that_is_no_segment_goes_on_with_the_field_before() {
        let message = one("MSH|^~\\&\rNTE|1||first\rand second\nNOTES|x\rPID|1");
        assert_eq!(message.segments[1].text(3), "first\nand second\nNOTES|x");
        assert_eq!(message.segments[2].name, "PID");
    }

    #[test]
    fn a_block_may_hold_a_batch() {
        let batch = messages(b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\rBTS|2\rFTS|1\r", Encoding::Auto);
        assert_eq!(batch.len(), 2);
        assert_eq!(batch[1].segments.len(), 1);
    }

    #[test]
    fn a_message_without_usable_delimiters_is_none() {
        let usable = |text: &str| !messages(text.as_bytes(), Encoding::Auto).is_empty();
        for text in
            ["", "PID|1", "MSH", "MSHa^~\\&", "MSH|^^\\&|A", "hello", "MSH AB", "MSH|ab\\&|", "MSH|^~\\&\rMSH|~~"]
        {
            assert!(!usable(text), "{text}");
        }
        for text in ["MSH|^|A", "MSH|^~\\\\&|A", "MSH|^~\\&#|A", "MSH|^~\\&\rNTE|1||a\rMSHA~"] {
            assert!(usable(text), "{text}");
        }
    }

    #[test]
    fn delimiters_are_those_of_the_message() {
        let message = one("MSH$%*!@$APP\rOBX$1$ST$A%B$$x!S!y!F!z$a@b%c*d");
        let result = &message.segments[1];
        assert_eq!(message.segments[0].raw(3), "APP");
        assert_eq!(result.component(3, 2).as_deref(), Some("B"));
        assert_eq!(result.text(5), "x%y$z");
        assert_eq!(result.components("a@b%c"), ["a", "c"]);
        assert_eq!(result.repeats(6).collect::<Vec<_>>(), ["a@b%c", "d"]);
        assert_eq!(result.line(), "OBX$1$ST$A%B$$x!S!y!F!z$a@b%c*d");
    }

    #[test]
    fn escapes_are_undone_and_unknown_ones_stay() {
        let segment = one("MSH|^~\\&").segments.remove(0);
        for (sent, read) in [
            (r"A\F\B\S\C\T\D\R\E\E\", r"A|B^C&D~E\"),
            (r"1\.br\2", "1\n2"),
            (r"\X41C2B5\", "A\u{b5}"),
            (r"\X4\ \Xzz\ \H\bold\N\", r"\X4\ \Xzz\ \H\bold\N\"),
            (r"C:\dir\file", r"C:\dir\file"),
            (r"open \F", r"open \F"),
        ] {
            assert_eq!(segment.unescaped(sent), read);
        }
    }

    #[test]
    fn the_charset_is_the_declared_one_where_the_bytes_agree() {
        let read = |charset: &str, bytes: &[u8], setting| {
            let head = format!("MSH|^~\\&|A||||||ORU^R01|1|P|2.5||||||{charset}\rNTE|1||");
            let block = [head.as_bytes(), bytes].concat();
            messages(&block, setting)[0].segments[1].text(3)
        };
        let (utf_8, latin, gbk) = ("\u{b5}".as_bytes(), &b"\xb5"[..], &b"\xa6\xcc"[..]);
        assert_eq!(read("UNICODE", utf_8, Encoding::Latin1), "\u{b5}");
        assert_eq!(read("UNICODE UTF-8", utf_8, Encoding::Auto), "\u{b5}");
        assert_eq!(read("UNICODE", latin, Encoding::Auto), "\u{b5}");
        assert_eq!(read("8859/1", latin, Encoding::Gbk), "\u{b5}");
        assert_eq!(read("ASCII", latin, Encoding::Auto), "\u{b5}");
        assert_eq!(read("ASCII", gbk, Encoding::Gbk), "\u{3bc}");
        assert_eq!(read("", utf_8, Encoding::Auto), "\u{b5}");
        assert_eq!(read("GB 18030-2000", gbk, Encoding::Auto), "\u{3bc}");
    }

    #[test]
    fn nothing_and_none_are_both_empty() {
        let segment = one("MSH|^~\\&\rOBR|\"\"|  |^second&x|^^^^MR~77").segments.remove(1);
        assert_eq!((segment.text(1), segment.text(2), segment.text(9)), Default::default());
        assert_eq!(segment.component(3, 1), None);
        assert_eq!(segment.component(4, 1).as_deref(), Some("77"));
        assert_eq!(segment.at(&FieldPlace::parse("OBR.3").expect("a place")).as_deref(), Some("second"));
    }
}
