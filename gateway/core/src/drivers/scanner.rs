//! `scanner`: a barcode scanner that reads the ids of samples, on a serial port or typing like a keyboard.
//!
//! A code ends with CR, LF or both, or where nothing follows it for 200 ms. An AIM identifier in front of it (`]C1`, ISO/IEC
//! 15424) says how it was printed, not what it says, and is taken off. A code with control characters is refused: it is no
//! id that a person could type, or the port is set wrongly. So are codes that come faster than anybody can scan, beyond what a
//! scanner may have collected: something else is plugged in.

use super::flood::Flood;
use super::unasked::Unasked;
use crate::error::ConfigError;
use crate::event::{EventKind, EventName, Personal, RegistrationFact};
use crate::framing::lines::{Line, Lines};
use crate::scrub::{Pseudonyms, Unscrubbable};
use crate::session::{Action, Driver, DriverOptions, Input, Resume, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// Longer than any id on a tube; the densest printed codes hold more, but no id.
const CODE_BYTES_MAX: usize = 512;
/// What may wait while the store takes nothing.
const HELD_BYTES_MAX: usize = 65_536;
const IDLE: Duration = Duration::from_millis(200);
/// Codes that a scanner with a memory may hand over at once.
const COLLECTED_MAX: u32 = 1_000;
/// Beyond these, nobody scans more than one each so often for long.
const SCAN: Duration = Duration::from_secs(10);

/// See the module.
pub struct Scanner;

impl Driver for Scanner {
    fn name(&self) -> &'static str {
        "scanner"
    }

    fn about(&self) -> &'static str {
        "A barcode scanner that reads the ids of samples, one a line"
    }

    fn open(&self, _: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        Ok(Box::new(Scans {
            lines: Lines::ended_by(b"\r\n", CODE_BYTES_MAX),
            unasked: Unasked::default(),
            heard: Mono(0),
            dropped: 0,
            pace: Flood::new(COLLECTED_MAX, SCAN),
        }))
    }

    /// Every code may be somebody's.
    fn scrub(&self, _: &DriverOptions, bytes: &[u8], names: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        let mut clean = bytes.to_vec();
        for line in clean.split_mut(|byte| matches!(*byte, b'\r' | b'\n')) {
            let from = symbology_bytes(line);
            let invented = names.invented(&line[from..]);
            line[from..].copy_from_slice(&invented);
        }
        Ok(clean)
    }
}

struct Scans {
    lines: Lines,
    unasked: Unasked,
    heard: Mono,
    /// Bytes received and let go of, not yet stated.
    dropped: usize,
    pace: Flood,
}

impl Session for Scans {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => self.opened(now, resume, actions),
            Input::Received(bytes) => {
                self.heard = now.mono;
                if self.dropped > 0 || (self.unasked.is_busy() && self.lines.held() > HELD_BYTES_MAX) {
                    self.dropped += bytes.len();
                } else {
                    self.lines.push(bytes);
                }
            }
            Input::Committed => self.unasked.committed(),
            Input::CommitFailed => self.unasked.failed(now),
            Input::DeadlineReached if self.deadline().is_none_or(|due| now.mono < due) => {}
            Input::DeadlineReached => {
                if !self.unasked.settle(actions)
                    && let Some(line) = self.lines.take_rest()
                {
                    self.line(now, line, actions);
                }
            }
            // Nothing is asked here, and there is no child.
            Input::Answered(_) | Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => self.closed(actions),
        }
        while !self.unasked.is_busy() {
            match self.lines.next_line() {
                Some(line) => self.line(now, line, actions),
                None if self.dropped > 0 => {
                    // The code that was cut off there is half an id: it goes with what was dropped.
                    self.lines.take_rest();
                    let gap = super::dropped(std::mem::take(&mut self.dropped), now.wall);
                    self.unasked.commit(Vec::new(), vec![gap], actions);
                }
                None => break,
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self.unasked.due() {
            Some(due) => due,
            None => self.lines.has_rest().then(|| self.heard.after(IDLE)),
        }
    }
}

impl Scans {
    fn opened(&mut self, now: Now, resume: Resume<'_>, actions: &mut Vec<Action>) {
        self.heard = now.mono;
        if !resume.unfinished.is_empty() {
            let reason = "the gateway stopped in the middle of a code";
            let event = EventKind::rejected("interrupted", reason, resume.unfinished.len());
            self.unasked.commit(Vec::new(), vec![event], actions);
        }
    }

    /// Unplugged within a code: what came of it may be half an id.
    fn closed(&mut self, actions: &mut Vec<Action>) {
        if self.unasked.settle(actions) || self.unasked.is_busy() {
            return;
        }
        if let Some(Line::Whole(bytes) | Line::TooLong { head: bytes, .. }) = self.lines.take_rest() {
            let event = EventKind::rejected("interrupted", "a code began and never ended", bytes.len());
            self.unasked.commit(bytes, vec![event], actions);
        }
    }

    fn line(&mut self, now: Now, line: Line, actions: &mut Vec<Action>) {
        let (capture, event) = match line {
            Line::Whole(bytes) => match read(&bytes) {
                Ok(None) => return,
                Ok(Some(_)) if !self.pace.admits(now, bytes.len()) => {
                    let reason = "codes come faster than anybody scans: is another device plugged in here?";
                    let event = EventKind::rejected("not_a_scanner", reason, bytes.len());
                    (bytes, event)
                }
                Ok(Some(code)) => {
                    let fact = RegistrationFact { sample_id: Some(Personal::new(code)), ..RegistrationFact::default() };
                    (bytes, EventKind::about_registration(EventName::SampleScanned, fact))
                }
                Err(reason) => {
                    let event = EventKind::rejected("not_a_code", reason, bytes.len());
                    (bytes, event)
                }
            },
            Line::TooLong { head, bytes } => {
                let reason = format!("a code of {bytes} bytes is longer than {CODE_BYTES_MAX}");
                let event = EventKind::rejected("too_long", reason, head.len());
                (head, event)
            }
        };
        self.unasked.commit(capture, vec![event], actions);
    }
}

/// The code, or nothing if there is none between two line ends. What is not UTF-8 is Latin-1.
fn read(bytes: &[u8]) -> Result<Option<String>, &'static str> {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    if text.contains(|c: char| c.is_control()) {
        return Err("the code has control characters: it is no sample's id, or the scanner's port is set wrongly");
    }
    let code = without_symbology(&text);
    Ok(Some(code.to_owned()))
}

/// Takes off `]`, a letter and a digit, if there is something after them.
fn without_symbology(code: &str) -> &str {
    &code[symbology_bytes(code.as_bytes())..]
}

fn symbology_bytes(code: &[u8]) -> usize {
    match code {
        [b']', letter, digit, _, ..] if letter.is_ascii_alphabetic() && digit.is_ascii_digit() => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_is_printed() {
        for (sent, read_as) in [
            (&b"S-1001\r"[..], Some("S-1001")),
            (b" S-1001 \r\n", Some("S-1001")),
            (b"]C1S-1001\r", Some("S-1001")),
            (b"]C1\r", Some("]C1")),
            (b"]CC1\r", Some("]CC1")),
            (b"\xfc7\r", Some("\u{fc}7")),
            ("]ü1".as_bytes(), Some("]ü1")),
            (b"\r", None),
            (b"", None),
        ] {
            assert_eq!(read(sent).expect("a code").as_deref(), read_as);
        }
        assert!(read(b"010\x1d17\r").is_err());
    }
}
