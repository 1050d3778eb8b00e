//! The shape of a profile's `text:`: how an analyzer writes plain text. Never filled, as its parent's types.

use crate::text_rules::{ChecksumRule, Written};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// How an analyzer writes plain text: exactly one of patterns, columns and table.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [
    { "required": ["patterns"] }, { "required": ["columns"] }, { "required": ["table"] }
]))]
pub struct Text {
    /// The byte before each message, such as STX, SOH or 0x0B.
    pub begin: Option<String>,
    /// A regular expression: the first line of each message.
    pub begin_line: Option<String>,
    /// The byte behind each message, such as ETX, EOT, FF, SUB or 0x1C.
    pub end: Option<String>,
    /// How many bytes behind the end byte belong to the message: a checksum. Default: 0.
    #[schemars(range(max = 8))]
    pub trailer_bytes: Option<usize>,
    /// A regular expression: the last line of each message.
    pub end_line: Option<String>,
    /// A silence that ends a message, such as 2s. Only for analyzers that mark no end.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub idle: Option<String>,
    /// Regular expressions: lines that are left out before anything is looked for.
    #[schemars(length(min = 1))]
    pub skip: Option<Vec<String>>,
    /// How a message is checked. Default: not at all.
    pub checksum: Option<Checksum>,
    /// What the analyzer is answered. Default: nothing.
    pub answers: Option<Answers>,
    /// How its dates are written, in the letters of strftime, such as %d/%m/%Y %H:%M. The first that fits counts.
    #[schemars(length(min = 1))]
    pub times: Option<Vec<String>>,
    /// What the analyzer's flags are called in the events, such as "^": H.
    pub flags: Option<BTreeMap<String, String>>,
    /// A regular expression: a test whose text matches is a control run.
    pub qc: Option<String>,
    /// A regular expression: a test whose text matches is a calibration.
    pub calibration: Option<String>,
    /// A regular expression: of a text that matches no test is made. Its bytes are kept.
    pub ignore: Option<String>,
    /// What stands where, by regular expressions.
    pub patterns: Option<Patterns>,
    /// What stands where, by fixed places.
    #[schemars(length(min = 1))]
    pub columns: Option<Vec<Column>>,
    /// A table with a line of headings.
    pub table: Option<Table>,
}

/// How a message is checked.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Checksum {
    /// sum (modulo 256), xor, crc16-modbus or crc16-ccitt.
    pub rule: ChecksumRule,
    /// A regular expression that finds it: the group sum is the checksum; the group counted, or else all before the
    /// checksum, are the bytes that count.
    pub pattern: String,
    /// hex, decimal or bytes (as they are). Default: hex.
    pub written: Option<Written>,
}

/// What the analyzer is answered. Control characters stand in pointed brackets: <ACK>, OK<CR>.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Answers {
    /// When a message is stored.
    pub accepted: Option<String>,
    /// When a message is damaged or could not be stored. Default: nothing.
    pub rejected: Option<String>,
    /// What is answered to lines and control characters between messages.
    #[schemars(length(min = 1))]
    pub handshake: Option<Vec<Handshake>>,
}

/// A question between messages, and its answer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Handshake {
    /// A regular expression: the line, without its end, or the control character, such as \x05; or a whole message that is
    /// nothing but a question.
    pub pattern: String,
    /// The answer, such as <ACK>. {name} stands for what the group of that name has found. Default: nothing.
    pub send: Option<String>,
}

/// Regular expressions over the text of a message. ^ and $ are the ends of a line. What they find is told by the names of
/// their groups.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Patterns {
    /// Where each test of the message begins. Default: a message is one test.
    pub test_begins: Option<String>,
    /// What is said of the test, groups sample, patient, at, date, time, serial, model, comment. The first match counts.
    #[schemars(length(min = 1))]
    pub details: Option<Vec<String>>,
    /// The results, groups code, name, value, unit, flag, flag2, flag3, reference, low, high, status, comment. Each match is
    /// a result.
    #[schemars(length(min = 1))]
    pub results: Vec<String>,
    /// Reference ranges that stand apart from the results, groups code, reference, low, high.
    #[schemars(length(min = 1))]
    pub references: Option<Vec<String>>,
}

/// A piece at a fixed place: exactly one of is and code.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{ "required": ["is"] }, { "required": ["code"] }]))]
pub struct Column {
    /// What stands there: sample, patient, at, date, time, serial, model or comment.
    pub is: Option<String>,
    /// The code of the result whose value stands there.
    pub code: Option<String>,
    /// The place of its first character, from 1, behind the begin byte.
    #[schemars(range(min = 1, max = 65_536))]
    pub from: usize,
    /// How many characters it has.
    #[schemars(range(min = 1, max = 1024))]
    pub width: usize,
    /// How many of its digits stand behind a decimal point that is not sent. Default: 0.
    #[schemars(range(max = 9))]
    pub decimals: Option<usize>,
    /// The place of the one character that is its flag.
    #[schemars(range(min = 1, max = 65_536))]
    pub flag_from: Option<usize>,
}

/// A table with a line of headings: each row is a test.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Table {
    /// What separates the cells: tab, or one character such as ";".
    pub delimiter: String,
    /// A regular expression: the line of headings. What stands before it is left out. Default: the first line.
    pub header: Option<String>,
    /// What stands under a heading: sample, patient, at, date, time, code, value, unit and so on, or ignore.
    pub columns: BTreeMap<String, String>,
    /// A regular expression: other headings that are a result each, groups code, name, unit. Default: each row is one result.
    pub result_heading: Option<String>,
    /// A regular expression: headings of flags, group code.
    pub flag_heading: Option<String>,
}
