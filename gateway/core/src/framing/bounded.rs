//! Messages of plain text in a stream of bytes: they begin and end with a byte, with a line, or with a silence.
//!
//! Invariant: what comes out does not depend on how the stream was cut into reads, and nothing of it is lost: each byte is
//! part of a piece, or of what is held.

use crate::reading::Pattern;
use crate::text_rules::Bounds;

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// So much of a line is compared with the patterns that begin and end a message, in bytes.
const LINE_BYTES_MAX: usize = 4096;

/// What the bytes hold next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Between messages: one control character, one line with its end, or the end of a blank one.
    Outside(Vec<u8>),
    /// A message as received, with the bytes before and behind it.
    Message(Vec<u8>),
    /// A message that another one has cut off, or that silence has.
    Broken(Vec<u8>),
    /// A message above the limit: its first bytes, and how many it had.
    TooLong { head: Vec<u8>, bytes: usize },
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Messages {
    bounds: Bounds,
    message_bytes_max: usize,
    head_bytes_max: usize,
    /// Received and not yet looked at, from `start`.
    buffer: Vec<u8>,
    start: usize,
    open: bool,
    /// The open message; once it is too long, its head.
    message: Vec<u8>,
    /// How many bytes the open message has had.
    bytes: usize,
    /// The line that has no end yet, its first bytes.
    line: Vec<u8>,
    line_start: usize,
    /// How many bytes are still to come behind the end byte.
    trailer: Option<usize>,
}

impl Messages {
    /// A message has `message_bytes_max` at most; of a longer one `head_bytes_max` are kept.
    pub fn new(bounds: Bounds, message_bytes_max: usize, head_bytes_max: usize) -> Messages {
        Messages {
            bounds,
            message_bytes_max,
            head_bytes_max: head_bytes_max.min(message_bytes_max),
            buffer: Vec::new(),
            start: 0,
            open: false,
            message: Vec::new(),
            bytes: 0,
            line: Vec::new(),
            line_start: 0,
            trailer: None,
        }
    }

    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait to be looked at.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether a message has begun that has not ended.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether a line between messages has no end yet.
    pub fn has_line(&self) -> bool {
        !self.open && !self.line.is_empty()
    }

    /// The next piece that is whole.
    pub fn next_piece(&mut self) -> Option<Piece> {
        while let Some(byte) = self.buffer.get(self.start).copied() {
            self.start += 1;
            let piece = if self.open { self.inside(byte) } else { self.outside(byte) };
            if piece.is_some() {
                return piece;
            }
        }
        None
    }

    /// What is held when nothing more has come for a while.
    pub fn silence(&mut self) -> Option<Piece> {
        if !self.open {
            return (!self.line.is_empty()).then(|| Piece::Outside(std::mem::take(&mut self.line)));
        }
        let whole =
            self.trailer.is_none() && (self.bounds.idle.is_some() || matches(&self.bounds.end_line, &self.line));
        Some(self.close(whole))
    }

    /// All that is held, as it is: what follows is not its end.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.message);
        if !self.open {
            rest.append(&mut self.line);
        }
        rest.extend_from_slice(&self.buffer[self.start..]);
        self.buffer.clear();
        self.start = 0;
        self.close(false);
        rest
    }

    fn outside(&mut self, byte: u8) -> Option<Piece> {
        let control = byte.is_ascii_control() && !matches!(byte, CR | LF | b'\t');
        let begins = self.bounds.begin == Some(byte);
        if (begins || control) && !self.line.is_empty() {
            // The line first, then this byte again.
            self.start -= 1;
            return Some(Piece::Outside(std::mem::take(&mut self.line)));
        }
        if begins {
            self.open(vec![byte]);
            return None;
        }
        if control {
            return Some(Piece::Outside(vec![byte]));
        }
        let ends_line = matches!(byte, CR | LF);
        if ends_line && self.line.is_empty() {
            return Some(Piece::Outside(vec![byte]));
        }
        if self.bounds.begin.is_none() && self.bounds.begin_line.is_none() {
            self.open(vec![byte]);
            self.line.push(byte);
            self.line_start = 0;
            return None;
        }
        if !ends_line {
            self.line.push(byte);
            let full = self.line.len() >= self.head_bytes_max.min(LINE_BYTES_MAX);
            return full.then(|| Piece::Outside(std::mem::take(&mut self.line)));
        }
        let mut line = std::mem::take(&mut self.line);
        let (begins, ends) = (matches(&self.bounds.begin_line, &line), matches(&self.bounds.end_line, &line));
        line.push(byte);
        if !begins {
            return Some(Piece::Outside(line));
        }
        self.open(line);
        ends.then(|| self.close(true))
    }

    fn inside(&mut self, byte: u8) -> Option<Piece> {
        if let Some(left) = self.trailer {
            self.keep(byte);
            self.trailer = Some(left - 1);
            return (left == 1).then(|| self.close(true));
        }
        if self.bounds.end == Some(byte) {
            self.keep(byte);
            if self.bounds.trailer_bytes == 0 {
                return Some(self.close(true));
            }
            self.trailer = Some(self.bounds.trailer_bytes);
            return None;
        }
        if self.bounds.begin == Some(byte) {
            self.start -= 1;
            return Some(self.close(self.bounds.idle.is_some()));
        }
        self.keep(byte);
        if !matches!(byte, CR | LF) {
            if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
            return None;
        }
        let line = std::mem::take(&mut self.line);
        let begun = std::mem::replace(&mut self.line_start, self.message.len());
        if line.is_empty() {
            return None;
        }
        if begun > 0 && matches(&self.bounds.begin_line, &line) {
            let own = [&line[..], &[byte]].concat();
            let too_long = self.is_too_long();
            self.message.truncate(if too_long { self.message.len() } else { begun });
            self.bytes -= own.len().min(self.bytes);
            let piece = self.close(self.bounds.idle.is_some());
            self.open(own);
            return Some(piece);
        }
        matches(&self.bounds.end_line, &line).then(|| self.close(true))
    }

    fn open(&mut self, begin: Vec<u8>) {
        self.open = true;
        self.bytes = begin.len();
        self.line_start = begin.len();
        self.message = begin;
        self.line.clear();
    }

    fn is_too_long(&self) -> bool {
        self.bytes > self.message_bytes_max
    }

    fn keep(&mut self, byte: u8) {
        self.bytes += 1;
        if !self.is_too_long() {
            self.message.push(byte);
        } else if self.message.len() > self.head_bytes_max {
            self.message.truncate(self.head_bytes_max);
            self.message.shrink_to_fit();
        }
    }

    fn close(&mut self, whole: bool) -> Piece {
        let too_long = self.is_too_long();
        self.open = false;
        self.line.clear();
        self.line_start = 0;
        self.trailer = None;
        let bytes = std::mem::take(&mut self.bytes);
        let mut message = std::mem::take(&mut self.message);
        if too_long {
            message.truncate(self.head_bytes_max);
            return Piece::TooLong { head: message, bytes };
        }
        if whole { Piece::Message(message) } else { Piece::Broken(message) }
    }
}

/// A line of bytes as text, one character a byte.
fn matches(pattern: &Option<Pattern>, line: &[u8]) -> bool {
    let on = |pattern: &Pattern| pattern.regex().is_match(&encoding_rs::mem::decode_latin1(line));
    pattern.as_ref().is_some_and(on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pattern(text: &str) -> Option<Pattern> {
        Pattern::new(text).ok()
    }

    /// The pieces, the first letter of each kind before its bytes.
    fn pieces(bounds: &Bounds, bytes: &[u8], step: usize) -> Vec<String> {
        let mut messages = Messages::new(bounds.clone(), 20, 8);
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            messages.push(part);
            all.extend(std::iter::from_fn(|| messages.next_piece()));
        }
        all.extend(messages.silence());
        let shown = |piece: Piece| match piece {
            Piece::Outside(bytes) => format!("o:{}", bytes.escape_ascii()),
            Piece::Message(bytes) => format!("m:{}", bytes.escape_ascii()),
            Piece::Broken(bytes) => format!("b:{}", bytes.escape_ascii()),
            Piece::TooLong { head, bytes } => format!("t:{}:{bytes}", head.escape_ascii()),
        };
        all.into_iter().map(shown).collect()
    }

    fn check(bounds: Bounds, bytes: &[u8], expected: &[&str]) {
        for step in 1..=bytes.len() {
            assert_eq!(pieces(&bounds, bytes, step), expected, "in reads of {step}");
        }
    }

    #[test]
    fn bytes_bound_a_message() {
        let bounds = Bounds { begin: Some(2), end: Some(3), ..Bounds::default() };
        check(bounds.clone(), b"\x05hi\x02a\rb\x03\x04", &["o:\\x05", "o:hi", "m:\\x02a\\rb\\x03", "o:\\x04"]);
        check(bounds.clone(), b"\x02a\x02b\x03", &["b:\\x02a", "m:\\x02b\\x03"]);
        check(bounds.clone(), b"\x02a", &["b:\\x02a"]);
        check(bounds.clone(), b"\x02aaaaaaaaaaaaaaaaaaaaaaaaaa\x03", &["t:\\x02aaaaaaa:28"]);
        let bounds = Bounds { trailer_bytes: 2, ..bounds };
        check(bounds.clone(), b"\x02a\x03\x02\x03\r", &["m:\\x02a\\x03\\x02\\x03", "o:\\r"]);
        check(bounds, b"\x02a\x031", &["b:\\x02a\\x031"]);
    }

    #[test]
    fn lines_bound_a_message() {
        let bounds = Bounds { begin_line: pattern("^RES"), end_line: pattern("^END"), ..Bounds::default() };
        check(bounds.clone(), b"HI\rRES\r\na\rEND\r\n", &["o:HI\\r", "m:RES\\r\\na\\rEND\\r", "o:\\n"]);
        check(bounds.clone(), b"RES\ra\rRES\rEND", &["b:RES\\ra\\r", "m:RES\\rEND"]);
        check(bounds.clone(), b"RES\ra\rEN", &["b:RES\\ra\\rEN"]);
        let bounds = Bounds { end_line: None, idle: Some(Duration::from_secs(1)), ..bounds };
        check(bounds, b"RES\ra\rRES\rb", &["m:RES\\ra\\r", "m:RES\\rb"]);
    }

    #[test]
    fn silence_ends_a_message() {
        let bounds = Bounds { idle: Some(Duration::from_secs(1)), ..Bounds::default() };
        check(bounds, b"\r a\r\nb\r\n", &["o:\\r", "m: a\\r\\nb\\r\\n"]);
    }
}
