//! Bytes outside of any document. Blanks, NUL, 0xff and byte order marks are nothing; a few others are line noise; so many
//! that somebody must be talking another language, or that a document's end must be among them, are reported.

use crate::drivers::astm;
use crate::event::EventKind;
use crate::time::{Mono, Now};
use std::time::Duration;

/// Less than this is line noise.
const STRAY_BYTES_MIN: usize = 64;
/// How long no second report is made, unless a good document has been seen in between.
const MUTE: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Stray {
    head: Vec<u8>,
    head_bytes_max: usize,
    bytes: usize,
    muted_until: Option<Mono>,
}

impl Stray {
    pub fn new(head_bytes_max: usize) -> Stray {
        Stray { head: Vec::new(), head_bytes_max, bytes: 0, muted_until: None }
    }

    pub fn hear(&mut self, bytes: &[u8]) {
        let is_nothing =
            |byte: &u8| matches!(*byte, 0 | 0xff | 0xfe | b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf);
        if bytes.iter().all(is_nothing) {
            return;
        }
        let room = self.head_bytes_max.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.bytes += bytes.len();
    }

    /// Whether something waits to be reported or forgotten.
    pub fn is_any(&self) -> bool {
        self.bytes > 0
    }

    /// Whether more would only be counted.
    pub fn is_full(&self) -> bool {
        self.head.len() >= self.head_bytes_max
    }

    /// A document has come that could be read: the next stray bytes are news again.
    pub fn good_document(&mut self) {
        self.muted_until = None;
    }

    /// The report of what was heard since the last one, if there is enough to report. It is forgotten either way.
    pub fn report(&mut self, now: Now) -> Option<(Vec<u8>, EventKind)> {
        let head = std::mem::take(&mut self.head);
        let bytes = std::mem::take(&mut self.bytes);
        if bytes < STRAY_BYTES_MIN || self.muted_until.is_some_and(|until| now.mono < until) {
            return None;
        }
        self.muted_until = Some(now.mono.after(MUTE));
        let event = match is_utf_16(&head) {
            true => {
                let reason = "the bytes are UTF-16, which POCT1-A does not use: set the analyzer to UTF-8";
                EventKind::rejected("encoding", reason, head.len())
            }
            false => {
                let reason = format!("{bytes} bytes outside of any document: {}", guess(&head));
                EventKind::rejected("not_poct1a", reason, head.len())
            }
        };
        Some((head, event))
    }
}

fn is_utf_16(bytes: &[u8]) -> bool {
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    holds(b"<\0") && holds(b"\0>") || holds(b"\0<") && holds(b">\0")
}

fn guess(bytes: &[u8]) -> &'static str {
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let begins =
        |signs: &[u8]| bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| signs.contains(byte));
    if holds(b"/>") || holds(b"</") {
        "the rest of a document whose beginning was missed or damaged"
    } else if holds(b"|\\^&") && (begins(b"H\x05\x02")) {
        "it looks like ASTM: the driver astm reads that"
    } else {
        astm::guess(bytes)
    }
}
