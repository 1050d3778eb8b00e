//! What one message of plain text states: a test or several with their results, by the rules of the profile.

use super::draft::Draft;
use super::{columns, patterns, table};
use crate::event::EventKind;
use crate::framing::checksum::{crc16_ccitt, crc16_modbus, sum, xor};
use crate::reading::Encoding;
use crate::text_rules::{Checksum, ChecksumRule, Layout, TextRules, Written};
use crate::time::Now;
use std::collections::HashMap;

/// Whether the message's checksum, if it has to have one, fits.
pub(super) fn is_intact(message: &[u8], rules: &TextRules) -> bool {
    rules.checksum.as_ref().is_none_or(|checksum| fits(&message[begin(message, rules)..], checksum).unwrap_or(false))
}

fn fits(body: &[u8], checksum: &Checksum) -> Option<bool> {
    // One character a byte, so that places in the text are places in the bytes.
    let text = encoding_rs::mem::decode_latin1(body);
    let found = checksum.pattern.regex().captures(&text)?;
    let place = |at: usize| text[..at].chars().count();
    let sent = found.name("sum")?;
    let counted = match found.name("counted") {
        Some(counted) => place(counted.start())..place(counted.end()),
        None => 0..place(sent.start()),
    };
    let counted = &body[counted];
    let sum = match checksum.rule {
        ChecksumRule::Sum => u32::from(sum(counted)),
        ChecksumRule::Xor => u32::from(xor(counted)),
        ChecksumRule::Crc16Modbus => u32::from(crc16_modbus(counted)),
        ChecksumRule::Crc16Ccitt => u32::from(crc16_ccitt(counted)),
    };
    let sent = match checksum.written {
        Written::Hex => u32::from_str_radix(sent.as_str().trim(), 16).ok()?,
        Written::Decimal => sent.as_str().trim().parse().ok()?,
        Written::Bytes => sent.as_str().chars().fold(0, |sum, byte| (sum << 8) | u32::from(byte)),
    };
    Some(sum == sent)
}

fn begin(message: &[u8], rules: &TextRules) -> usize {
    usize::from(rules.bounds.begin.is_some() && message.first() == rules.bounds.begin.as_ref())
}

/// The facts of a message: one `TEST_FINISHED` a test, and one `MESSAGE_REJECTED` for what holds no result. `serial` counts
/// the tests of the session.
pub(super) fn events(
    message: &[u8],
    rules: &TextRules,
    encoding: Encoding,
    now: Now,
    serial: &mut u64,
) -> Vec<EventKind> {
    let text = text(message, rules, encoding);
    let rejected = |code: &str, reason: &str| EventKind::rejected(code, reason, message.len());
    let ignored = |draft: &Draft| rules.ignore.as_ref().is_some_and(|known| known.regex().is_match(&draft.text));
    let mut events = Vec::new();
    let mut drafts = match &rules.layout {
        Layout::Patterns(known) => patterns::drafts(&text, known),
        Layout::Columns(known) => match columns::draft(&text, known) {
            Some(draft) => vec![draft],
            None if ignored(&Draft { text: text.clone(), ..Draft::default() }) => Vec::new(),
            None => {
                let reason = "the message is shorter than the columns of its profile: it is in another format";
                return vec![rejected("too_short", reason)];
            }
        },
        Layout::Table(known) => match table::rows(&text, known) {
            Some(rows) if rows.drafts.is_empty() && rows.damaged.is_empty() => {
                return vec![rejected("no_results", "the table has headings and no rows")];
            }
            Some(rows) => {
                if let Some(first) = rows.damaged.first() {
                    events.push(rejected("damaged_rows", &damaged(*first, rows.damaged.len())));
                }
                rows.drafts
            }
            None => return vec![rejected("no_headings", "no line of the message is the profile's line of headings")],
        },
    };
    drafts.retain(|draft| !ignored(draft));
    let count = drafts.len();
    drafts.retain(|draft| !draft.results.is_empty());
    if drafts.len() < count {
        let reason = match count {
            1 => "no result was found in the message by its profile: it is in another format".to_owned(),
            _ => format!("in {} of {count} tests of the message no result was found", count - drafts.len()),
        };
        events.push(rejected("no_results", &reason));
    }
    // Equal texts in one message are different tests; the same one in another message is known by its time.
    let mut seen = HashMap::<String, u64>::new();
    let tests = drafts.into_iter().map(|draft| {
        let times = seen.entry(draft.text.clone()).or_default();
        *times += 1;
        *serial += 1;
        draft.into_event(rules, now, *times, *serial)
    });
    tests.chain(events).collect()
}

/// What is said of rows whose cells do not fit, of which one is the first.
fn damaged(first: usize, count: usize) -> String {
    let which = match count {
        1 => format!("row {first} under the headings has"),
        _ => format!("{count} rows, the first of them row {first} under the headings, have"),
    };
    format!("{which} other cells than the headings say; lines that are no rows, such as the last one, go under `skip:`")
}

/// The text between begin and end, each line ended by one LF, without the lines that are skipped.
fn text(message: &[u8], rules: &TextRules, encoding: Encoding) -> String {
    let bounds = &rules.bounds;
    let tail = 1 + bounds.trailer_bytes;
    let ended = bounds.end.is_some_and(|end| {
        message.len().checked_sub(tail).and_then(|at| message.get(at)).is_some_and(|byte| *byte == end)
    });
    let end = if ended { message.len() - tail } else { message.len() };
    let body = &message[begin(message, rules).min(end)..end];
    let text = encoding.decode(body).replace("\r\n", "\n").replace('\r', "\n");
    if rules.skip.is_empty() {
        return text;
    }
    let skipped = |line: &&str| rules.skip.iter().any(|known| known.regex().is_match(line.trim_end_matches('\n')));
    text.split_inclusive('\n').filter(|line| !skipped(line)).collect()
}
