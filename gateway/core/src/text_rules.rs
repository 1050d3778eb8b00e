//! How one model of analyzer writes plain text: where a message begins and ends, how it is checked and answered, and what
//! stands where in it. What a profile says under `text:`, as values; the driver `text` follows them.
//!
//! Invariant: every regular expression is compiled and every named group in it is one of [`GROUPS`].

use crate::reading::Pattern;
use std::collections::BTreeMap;
use std::time::Duration;

/// The names that a group in a regular expression, a fixed column or a column of a table may have.
pub const GROUPS: &[(&str, Part)] = &[
    ("sample", Part::Sample),
    ("instrument_sample", Part::InstrumentSample),
    ("patient", Part::Patient),
    ("serial", Part::Serial),
    ("model", Part::Model),
    ("at", Part::At),
    ("date", Part::Date),
    ("time", Part::Time),
    ("comment", Part::Comment),
    ("code", Part::Code),
    ("name", Part::Name),
    ("value", Part::Value),
    ("unit", Part::Unit),
    ("reference", Part::Reference),
    ("low", Part::Low),
    ("high", Part::High),
    ("flag", Part::Flag),
    ("flag2", Part::Flag),
    ("flag3", Part::Flag),
    ("status", Part::Status),
];

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Sample,
    InstrumentSample,
    Patient,
    /// The analyzer's serial number.
    Serial,
    /// The analyzer's model.
    Model,
    /// Date and time in one piece.
    At,
    Date,
    Time,
    Comment,
    Code,
    Name,
    Value,
    Unit,
    /// The reference range in one piece.
    Reference,
    /// Its lower end.
    Low,
    /// Its upper end.
    High,
    Flag,
    Status,
}

impl Part {
    /// The part of that name, if there is one.
    pub fn named(name: &str) -> Option<Part> {
        GROUPS.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
    }

    /// Whether it belongs to one result rather than to the test.
    pub fn is_of_result(self) -> bool {
        self >= Part::Code
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRules {
    pub bounds: Bounds,
    /// Lines that are taken out before anything is looked for.
    pub skip: Vec<Pattern>,
    pub checksum: Option<Checksum>,
    pub answers: Answers,
    /// How dates are written, as in strftime: `%d/%m/%Y %H:%M`. The first that fits counts.
    pub times: Vec<String>,
    /// What the analyzer's flags are called here; one that is not in the list stays as sent.
    pub flags: BTreeMap<String, String>,
    /// A test whose text matches is a control run.
    pub qc: Option<Pattern>,
    /// A test whose text matches is a calibration.
    pub calibration: Option<Pattern>,
    /// Of a text that matches no test is made.
    pub ignore: Option<Pattern>,
    pub layout: Layout,
}

/// Where a message begins and ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds {
    /// The byte before the message.
    pub begin: Option<u8>,
    /// The first line of a message.
    pub begin_line: Option<Pattern>,
    /// The byte behind the message.
    pub end: Option<u8>,
    /// How many bytes behind that byte belong to the message: a checksum.
    pub trailer_bytes: usize,
    /// The last line of a message.
    pub end_line: Option<Pattern>,
    /// A silence that ends a message.
    pub idle: Option<Duration>,
}

/// How a message is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checksum {
    pub rule: ChecksumRule,
    pub written: Written,
    /// Finds it, in the message from behind its begin byte, one character a byte: the group `sum` is the checksum, the
    /// group `counted` the bytes that count; without it all before the checksum.
    pub pattern: Pattern,
}

/// How the bytes are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumRule {
    /// All bytes, modulo 256.
    Sum,
    /// All bytes, exclusive or.
    Xor,
    /// CRC-16/MODBUS.
    Crc16Modbus,
    /// CRC-16/IBM-3740, which most call CCITT.
    Crc16Ccitt,
}

/// How a checksum is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// Hexadecimal digits, small or capital.
    #[default]
    Hex,
    Decimal,
    /// The bytes themselves, the higher first.
    Bytes,
}

/// What the analyzer is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// After a message is stored.
    pub accepted: Option<Vec<u8>>,
    /// After a message that is damaged, too long or could not be stored.
    pub rejected: Option<Vec<u8>>,
    /// What is said to a line or a control character between messages.
    pub handshake: Vec<(Pattern, Vec<u8>)>,
}

/// Where in a message what stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    Patterns(Patterns),
    Columns(Vec<Column>),
    Table(Table),
}

/// Regular expressions over the text of a message. `^` and `$` are the ends of a line, which ends with one LF.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patterns {
    /// Where each test of the message begins. `None`: the message is one test.
    pub test_begins: Option<Pattern>,
    /// What is said of the test: the first match of each counts.
    pub details: Vec<Pattern>,
    /// Each match of each is a result.
    pub results: Vec<Pattern>,
    /// Reference ranges that stand apart, by code.
    pub references: Vec<Pattern>,
}

/// A piece at a fixed place of the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub is: ColumnIs,
    /// Its first character, from 1, behind the begin byte.
    pub from: usize,
    /// In characters.
    pub width: usize,
    /// How many of its digits stand behind a decimal point that is not written.
    pub decimals: usize,
    /// Where its flag stands, one character.
    pub flag_from: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ColumnIs {
    Part(Part),
    /// The result of this code.
    Result(String),
}

/// Lines of cells under a line of headings.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub delimiter: char,
    /// The line of headings; what stands before it is a banner. `None`: the first line.
    pub header: Option<Pattern>,
    /// What stands under which heading. `None`: it is known and ignored.
    pub columns: BTreeMap<String, Option<Part>>,
    /// A heading that is a result's: groups `code`, `name` and `unit`. Without it each row is one result.
    pub result_heading: Option<Pattern>,
    /// A heading of flags: group `code`.
    pub flag_heading: Option<Pattern>,
}
