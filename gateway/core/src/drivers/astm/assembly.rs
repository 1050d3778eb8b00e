//! Frame texts grow into messages: where records end, and where messages (H to L) end.
//!
//! The text of an ETX frame ends a record even without its CR; the text of an ETB frame goes on in the next one, in the
//! middle of a field if need be. A frame can be taken back until it is known to be stored.

use crate::framing::astm::{CR, LF};
use std::ops::Range;

/// The letters that records begin with (LIS2-A2).
const RECORD_LETTERS: &[u8] = b"HPORCQMSL";

/// The text received since the last whole message.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    text: Vec<u8>,
    /// Where the first record begins that has no end yet.
    record: usize,
    /// How far that record has been searched for its end.
    searched: usize,
    /// How many received bytes the open message has had, frames included.
    bytes: usize,
}

/// What one frame has added, until [`Assembly::keep`] or [`Assembly::undo`].
#[derive(Debug)]
pub(super) struct Grown {
    /// The messages that are whole now, as ranges of [`Assembly::text`].
    pub messages: Vec<Range<usize>>,
    /// Where the message begins that is not.
    rest: usize,
    before: (usize, usize, usize, usize),
}

impl Assembly {
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Received bytes of the open message, this frame included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether anything of a message is here.
    pub fn is_open(&self) -> bool {
        !is_blank(&self.text)
    }

    /// Whether the text stops in the middle of a record.
    pub fn ends_in_record(&self) -> bool {
        !is_blank(&self.text[self.record..])
    }

    /// The whole records of the open message.
    pub fn whole_records(&self) -> &[u8] {
        &self.text[..self.record]
    }

    /// Appends the text of a frame that had `bytes` bytes; `last` ends the record it stops in.
    pub fn grow(&mut self, text: &[u8], last: bool, bytes: usize) -> Grown {
        let before = (self.text.len(), self.record, self.searched, self.bytes);
        self.text.extend_from_slice(text);
        if last && self.text.last().is_some_and(|byte| *byte != CR) {
            self.text.push(CR);
        }
        self.bytes += bytes;
        let mut messages = Vec::new();
        let mut start = 0;
        while let Some(end) = record_end(&self.text, self.searched.max(self.record)) {
            match record_type(&self.text[self.record..end]) {
                Some(b'L') => {
                    messages.push(start..end + 1);
                    start = end + 1;
                }
                // An H without an L before it: the message before has ended without one.
                Some(b'H') if !is_blank(&self.text[start..self.record]) => {
                    messages.push(start..self.record);
                    start = self.record;
                }
                _ => {}
            }
            self.record = end + 1;
        }
        // An LF can only be judged with the two bytes behind it.
        self.searched = self.text.len().saturating_sub(2).max(self.record);
        Grown { messages, rest: start, before }
    }

    /// Whether nothing but blanks remains behind the whole messages, or nothing else is here at all.
    pub fn settles(&self, grown: &Grown) -> bool {
        is_blank(&self.text[grown.rest..])
    }

    /// The frame is stored: lets go of the messages that are whole.
    pub fn keep(&mut self, grown: &Grown) {
        if self.settles(grown) {
            self.clear();
            return;
        }
        if grown.messages.is_empty() {
            return;
        }
        self.text.drain(..grown.rest);
        self.record -= grown.rest;
        self.searched -= grown.rest.min(self.searched);
        self.bytes = self.text.len();
    }

    /// The frame is not stored: as if it had never come.
    pub fn undo(&mut self, grown: &Grown) {
        let (length, record, searched, bytes) = grown.before;
        self.text.truncate(length);
        self.record = record;
        self.searched = searched;
        self.bytes = bytes;
    }

    pub fn clear(&mut self) {
        *self = Assembly::default();
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte <= b' ')
}

/// Where the record ends that is being searched from `from`: at its CR, or at an LF that stands in a CR's place because
/// the next record begins behind it.
pub(super) fn record_end(text: &[u8], from: usize) -> Option<usize> {
    let begins_record = |at: usize| {
        text.get(at).is_some_and(|letter| RECORD_LETTERS.contains(letter))
            && text.get(at + 1).is_some_and(|byte| byte.is_ascii_punctuation() || *byte == CR)
    };
    (from..text.len()).find(|at| text[*at] == CR || (text[*at] == LF && begins_record(at + 1)))
}

/// The records of a text, blank ones left out.
pub(super) fn split_records(text: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = record_end(text, start).unwrap_or(text.len());
        if !is_blank(&text[start..end]) {
            records.push(&text[start..end]);
        }
        start = end + 1;
    }
    records
}

/// The letter of a record, in upper case, if it looks like one at all.
pub(super) fn record_type(record: &[u8]) -> Option<u8> {
    let mut bytes = record.iter().skip_while(|byte| **byte <= b' ');
    let letter = bytes.next()?.to_ascii_uppercase();
    let alone = bytes.next().is_none_or(|byte| byte.is_ascii_punctuation() || *byte <= b' ');
    (alone && RECORD_LETTERS.contains(&letter)).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_at_l_at_the_next_h_and_not_in_between() {
        let mut assembly = Assembly::default();
        let grown = assembly.grow(b"H|\\^&\rO|1\rR|1|^^^A|", false, 30);
        assert!(grown.messages.is_empty());
        assembly.keep(&grown);
        assert!(assembly.ends_in_record());
        let grown = assembly.grow(b"5\rL|1|N\rH|\\^&\rP|1\rH|\\^&", true, 30);
        assert_eq!(grown.messages.len(), 2);
        assert_eq!(assembly.text()[grown.messages[0].clone()].last(), Some(&CR));
        assert!(!assembly.settles(&grown));
        assembly.undo(&grown);
        assert_eq!(assembly.text(), b"H|\\^&\rO|1\rR|1|^^^A|");
        let grown = assembly.grow(b"5\rL", true, 30);
        assert!(assembly.settles(&grown));
        assembly.keep(&grown);
        assert!(!assembly.is_open());
    }

    #[test]
    fn blanks_open_no_message() {
        let mut assembly = Assembly::default();
        for (text, last) in [(&b""[..], true), (b"\r\n", true), (b"  ", false)] {
            let grown = assembly.grow(text, last, 9);
            assert!(assembly.settles(&grown));
            assembly.keep(&grown);
            assert_eq!((assembly.is_open(), assembly.bytes()), (false, 0));
        }
        let grown = assembly.grow(b"H|\\^&\r", true, 12);
        assert!(!assembly.settles(&grown));
        assembly.keep(&grown);
        let grown = assembly.grow(b"\r\n", true, 9);
        assert!(!assembly.settles(&grown), "blanks inside a message do not end it");
    }

    #[test]
    fn lf_ends_a_record_only_where_the_next_one_begins() {
        let records = split_records(b"H|\\^&\nO|1|a\nb|2\r\nR|1\r\r\nL\r");
        assert_eq!(records, [&b"H|\\^&"[..], b"O|1|a\nb|2", b"R|1", b"L"]);
        assert_eq!(split_records(b"O|1|a\n b|2\r"), [&b"O|1|a\n b|2"[..]]);
    }

    #[test]
    fn only_the_nine_letters_are_records() {
        assert_eq!(record_type(b"h|\\^&"), Some(b'H'));
        assert_eq!(record_type(b"\n L"), Some(b'L'));
        assert_eq!(record_type(b"MSH|^~\\&"), None);
        assert_eq!(record_type(b"24/10/29"), None);
    }
}
