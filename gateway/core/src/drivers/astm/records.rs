//! LIS2-A2 (E1394) records: delimiters, fields, components, escapes. Knows no meaning of any field.

use super::assembly::{record_type, split_records};
use crate::reading::Encoding;

/// The four delimiters, as the H record declares them (LIS2-A2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delimiters {
    pub field: char,
    pub repeat: Option<char>,
    pub component: Option<char>,
    pub escape: Option<char>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Delimiters { field: '|', repeat: Some('\\'), component: Some('^'), escape: Some('&') }
    }
}

impl Delimiters {
    /// From an H record; what it leaves out does not exist, and an H without any has the usual ones.
    fn declared(header: &str) -> Delimiters {
        let mut rest = header.chars().skip(1);
        let Some(field) = rest.next() else { return Delimiters::default() };
        let mut declared: Vec<char> = rest.take_while(|letter| *letter != field).collect();
        // A capture that went through a log's escaping has the backslash twice.
        if declared.len() > 3 && declared[0] == declared[1] {
            declared.remove(0);
        }
        if declared.is_empty() {
            return Delimiters { field, ..Delimiters::default() };
        }
        let nth = |place: usize| declared.get(place).copied();
        Delimiters { field, repeat: nth(0), component: nth(1), escape: nth(2) }
    }

    /// Resolves escape sequences that are closed and known; all else stays as it is (LIS2-A2).
    pub fn unescape(&self, text: &str) -> String {
        let Some(escape) = self.escape.filter(|escape| text.contains(*escape)) else { return text.to_owned() };
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find(escape) {
            plain.push_str(&rest[..open]);
            let inside = &rest[open + escape.len_utf8()..];
            let sequence = inside.find(escape).map(|close| (&inside[..close], &inside[close + escape.len_utf8()..]));
            match sequence.and_then(|(word, after)| self.meaning(word).map(|meaning| (meaning, after))) {
                Some((meaning, after)) => {
                    plain.push_str(&meaning);
                    rest = after;
                }
                None => {
                    plain.push(escape);
                    rest = inside;
                }
            }
        }
        plain.push_str(rest);
        plain
    }

    /// The text with its delimiters escaped and what may not stand in a frame (LIS01-A2) as blanks.
    pub fn escape(&self, text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for sign in text.chars() {
            let word = match Some(sign) {
                delimiter if delimiter == Some(self.field) => "F",
                delimiter if delimiter == self.component => "S",
                delimiter if delimiter == self.repeat => "R",
                delimiter if delimiter == self.escape => "E",
                _ => "",
            };
            match self.escape {
                Some(escape) if !word.is_empty() => escaped.extend([escape.into(), word.to_owned(), escape.into()]),
                _ if !word.is_empty() || sign.is_control() => escaped.push(' '),
                _ => escaped.push(sign),
            }
        }
        escaped
    }

    fn meaning(&self, word: &str) -> Option<String> {
        match word {
            "F" => Some(self.field.to_string()),
            "S" => self.component.map(String::from),
            "R" => self.repeat.map(String::from),
            "E" => self.escape.map(String::from),
            "H" | "N" => Some(String::new()),
            _ => {
                let digits = word.strip_prefix('X').filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
                let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                (0..digits.len()).step_by(2).map(|at| byte(at).map(char::from)).collect()
            }
        }
    }
}

/// One record of a message.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// The letter, in upper case.
    pub letter: u8,
    fields: Vec<String>,
    pub delimiters: Delimiters,
}

impl Record {
    /// Field `number` as received, 1 being the record's letter; empty if absent.
    pub fn raw(&self, number: usize) -> &str {
        self.fields.get(number - 1).map_or("", String::as_str)
    }

    /// Field `number` with its escapes resolved and the blanks at its ends gone.
    pub fn text(&self, number: usize) -> String {
        self.delimiters.unescape(trim(self.raw(number)))
    }

    /// The repeats of a field, as received.
    pub fn repeats(&self, number: usize) -> Vec<&str> {
        split(self.raw(number), self.delimiters.repeat)
    }

    /// The components of the first repeat of a field, escapes resolved and blanks gone.
    pub fn components(&self, number: usize) -> Vec<String> {
        self.components_of(self.repeats(number).first().copied().unwrap_or_default())
    }

    /// The components of one repeat.
    pub fn components_of(&self, repeat: &str) -> Vec<String> {
        let clean = |part: &str| self.delimiters.unescape(trim(part));
        self.raw_components_of(repeat).into_iter().map(clean).collect()
    }

    /// The components of one repeat, as received.
    pub fn raw_components_of<'a>(&self, repeat: &'a str) -> Vec<&'a str> {
        split(repeat, self.delimiters.component)
    }

    /// The first component of any repeat of a field that holds something. `""` alone means "delete" (LIS2-A2), so it
    /// holds nothing.
    pub fn first_component(&self, number: usize) -> Option<String> {
        let holds = |part: &String| !part.is_empty() && part != "\"\"";
        self.repeats(number).into_iter().flat_map(|repeat| self.components_of(repeat)).find(holds)
    }

    /// All fields with their escapes resolved.
    pub fn plain_fields(&self) -> Vec<String> {
        let declares = self.letter == b'H';
        let plain = |(place, field): (usize, &String)| match place {
            1 if declares => field.clone(),
            _ => self.delimiters.unescape(field),
        };
        self.fields.iter().enumerate().map(plain).collect()
    }
}

fn split(text: &str, delimiter: Option<char>) -> Vec<&str> {
    match delimiter {
        Some(delimiter) => text.split(delimiter).collect(),
        None => vec![text],
    }
}

/// Only blanks at the ends: a value is kept as it was sent.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The records of a message's text. Lines that are no record are left out; they stay in the capture.
pub(super) fn parse_records(text: &[u8], encoding: Encoding) -> Vec<Record> {
    let mut delimiters = Delimiters::default();
    // All of a message is in one encoding: what is not UTF-8 in one record is not in another.
    let encoding = match encoding {
        Encoding::Auto if std::str::from_utf8(text).is_err() => Encoding::Latin1,
        told => told,
    };
    let mut records = Vec::new();
    for bytes in split_records(text) {
        let Some(letter) = record_type(bytes) else { continue };
        let line = encoding.decode(bytes);
        let line: String =
            line.trim_start_matches(|sign: char| sign <= ' ').chars().filter(|sign| *sign != '\n').collect();
        if letter == b'H' {
            delimiters = Delimiters::declared(&line);
        }
        let fields = line.split(delimiters.field).map(str::to_owned).collect();
        records.push(Record { letter, fields, delimiters });
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_come_from_h() {
        let of = |header| Delimiters::declared(header);
        assert_eq!(of(r"H|\^&"), Delimiters::default());
        assert_eq!(of(r"H|\\^&|||x"), Delimiters::default());
        assert_eq!(of("H"), Delimiters::default());
        let genexpert = Delimiters { field: '|', repeat: Some('@'), component: Some('^'), escape: Some('\\') };
        assert_eq!(of(r"H|@^\|id"), genexpert);
        assert_eq!(of("H|`^&").repeat, Some('`'));
        assert_eq!(of("H!~$").escape, None);
    }

    #[test]
    fn only_closed_known_escapes_are_resolved() {
        let usual = Delimiters::default();
        assert_eq!(usual.unescape("PNG&R&2026&R&a.PNG"), r"PNG\2026\a.PNG");
        assert_eq!(usual.unescape("a&F&b&S&c&E&d&X4142&e&H&f&N&"), "a|b^c&dABef");
        assert_eq!(usual.unescape("A&B&F&C"), "A&B|C");
        assert_eq!(usual.unescape("salt & pepper &Zx& &X4& &"), "salt & pepper &Zx& &X4& &");
        let genexpert = Delimiters::declared(r"H|@^\|");
        assert_eq!(genexpert.unescape(r"one \R\two \"), r"one @two \");
    }

    #[test]
    fn fields_are_split_before_escapes_are_resolved() {
        let records = parse_records(b"H|\\^&\rR|1|^^^A&S&B|x&F&y\rnothing\rL\r", Encoding::Auto);
        assert_eq!(records.len(), 3);
        assert_eq!(records[1].components(3), ["", "", "", "A^B"]);
        assert_eq!(records[1].text(4), "x|y");
        assert_eq!(records[2].raw(3), "");
    }

    #[test]
    fn text_is_utf8_if_all_of_it_is_else_latin_1() {
        let utf = parse_records("H|\\^&\rR|1|A|5|µg\r".as_bytes(), Encoding::Auto);
        assert_eq!(utf[1].text(5), "µg");
        let latin = parse_records(b"H|\\^&\rR|1|A|5|\xb5g\r", Encoding::Auto);
        assert_eq!(latin[1].text(5), "µg");
        let gbk = parse_records(b"H|\\^&\rR|1|A|5|\xa6\xccg\xb5|F\r", Encoding::Gbk);
        assert_eq!(gbk[1].text(5), "μg祙F");
    }
}
