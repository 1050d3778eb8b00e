//! What is heard outside of any frame. The standards ignore it; so much of it that somebody must be talking another language
//! is reported once, with a guess at the language.

use crate::event::EventKind;
use crate::time::{Mono, Now};
use std::time::Duration;

/// Less than this near sessions is line noise.
const NOISE_BYTES_MIN: usize = 64;
const SILENCE: Duration = Duration::from_secs(5);
/// How long no second report is made, unless a good session has been seen in between.
const MUTE: Duration = Duration::from_secs(600);

/// What a driver waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    /// The report's code: `not_astm`
    pub code: &'static str,
    /// What the bytes lack: `the ENQ that begins a session`
    pub lacking: &'static str,
}

#[derive(Debug)]
pub(super) struct Noise {
    awaited: Awaited,
    head: Vec<u8>,
    head_bytes_max: usize,
    bytes: usize,
    last: Mono,
    muted_until: Option<Mono>,
}

impl Noise {
    pub fn new(awaited: Awaited, head_bytes_max: usize) -> Noise {
        Noise { awaited, head: Vec::new(), head_bytes_max, bytes: 0, last: Mono(0), muted_until: None }
    }

    pub fn hear(&mut self, now: Now, bytes: &[u8]) {
        if now.mono.since(self.last) > SILENCE {
            self.forget();
        }
        let room = self.head_bytes_max.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.bytes += bytes.len();
        self.last = now.mono;
    }

    /// A session begins: what came before was noise near it.
    pub fn forget(&mut self) {
        self.head.clear();
        self.bytes = 0;
    }

    /// Somebody speaks our protocol after all.
    pub fn good_session(&mut self) {
        self.forget();
        self.muted_until = None;
    }

    /// The session that a restart of ours has cut off may still be under way: its rest is not reported.
    pub fn mute_for(&mut self, now: Now, span: Duration) {
        self.muted_until = Some(now.mono.after(span));
    }

    pub fn deadline(&self) -> Option<Mono> {
        let due = self.last.after(SILENCE);
        (self.bytes >= NOISE_BYTES_MIN && self.muted_until.is_none_or(|until| until <= due)).then_some(due)
    }

    /// The report, if there is enough to report and it is time, or if the line is `closed` and no more can come.
    pub fn report(&mut self, now: Now, closed: bool) -> Option<(Vec<u8>, EventKind)> {
        let due = self.deadline()?;
        if now.mono < due && !closed {
            return None;
        }
        let capture = std::mem::take(&mut self.head);
        let bytes = std::mem::take(&mut self.bytes);
        self.mute_for(now, MUTE);
        let reason = format!("{bytes} bytes without {}: {}", self.awaited.lacking, guess(&capture));
        let event = EventKind::rejected(self.awaited.code, reason, capture.len());
        Some((capture, event))
    }
}

/// What bytes that are no session of the driver probably are, in words for the person who set the line up.
pub fn guess(bytes: &[u8]) -> &'static str {
    let first = bytes.iter().copied().find(|byte| !matches!(byte, 0 | 0xff | b' ' | b'\r' | b'\n' | b'\t'));
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let share = |test: fn(&u8) -> bool| bytes.iter().filter(|byte| test(byte)).count() * 10 / bytes.len().max(1);
    match first {
        None => "nothing but blanks, NUL or 0xFF: is the cable loose, or the baud rate wrong?",
        Some(0x0b) => "it starts with VT: looks like HL7 over MLLP",
        Some(0x05) => "it starts with ENQ: looks like ASTM (LIS01-A2)",
        Some(_) if holds(b"MSH|") => "it looks like HL7 without its frame (VT, FS, CR): driver hl7, framing: none",
        Some(0x01) => "it starts with SOH: a maker's own envelope around records",
        Some(0x02) => {
            "STX text without ENQ: the rest of a session whose beginning was missed, or a maker's own protocol"
        }
        Some(b'<') => "it looks like XML, perhaps POCT1-A",
        Some(b'{') => "it looks like JSON lines: the driver test-v0 reads those",
        Some(b'H' | b'h') if holds(b"|\\^") || holds(b"^&") || holds(b"@^\\") => {
            "it looks like LIS2 records without frames: set framing: none"
        }
        Some(_) if share(|byte| *byte >= 0x80) >= 1 => {
            "bytes with the high bit: the line settings (baud rate, parity, data bits) may be wrong"
        }
        Some(_) if share(|byte| (0x20..0x7f).contains(byte) || (9..=13).contains(byte)) >= 9 => {
            "it looks like plain text, as for a printer"
        }
        Some(_) => "the line settings (baud rate, parity, data bits) may be wrong, or the protocol is another",
    }
}
