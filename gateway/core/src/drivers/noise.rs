//! What is heard outside of any frame. The standards ignore it; so much of it that somebody must be talking another language
//! is reported once, with a guess at the language and at the line setting. A question that is asked again and again, at another
//! speed or in another protocol, is a few bytes each time: it is reported for the asking, not for its length.

use crate::event::EventKind;
use crate::framing::astm::{ENQ, EOT};
use crate::line_model::{Uart, suspicion};
use crate::time::{Mono, Now};
use std::time::Duration;

/// Less than this near sessions is line noise.
const NOISE_BYTES_MIN: usize = 64;
const SILENCE: Duration = Duration::from_secs(5);
/// How long no second report is made, unless a good session has been seen in between.
const MUTE: Duration = Duration::from_secs(600);
/// So many short cries, each after a silence, may be a question that nobody here understands.
const CRIES: usize = 4;
/// What is kept of each.
const CRY_BYTES_MAX: usize = 8;

/// What a driver waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    /// The report's code: `not_astm`
    pub code: &'static str,
    /// What the bytes lack: `the ENQ that begins a session`
    pub lacking: &'static str,
    /// What is said of frames of LIS01-A2, where the settings say that there are none.
    pub framed: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Noise {
    awaited: Awaited,
    head: Vec<u8>,
    head_bytes_max: usize,
    bytes: usize,
    last: Mono,
    muted_until: Option<Mono>,
    /// How the line is set, if it is a serial one.
    line: Option<Uart>,
    /// Short cries since the last good session.
    cries: Vec<Vec<u8>>,
}

impl Noise {
    pub fn new(awaited: Awaited, head_bytes_max: usize, line: Option<Uart>) -> Noise {
        Noise {
            awaited,
            head: Vec::new(),
            head_bytes_max,
            bytes: 0,
            last: Mono(0),
            muted_until: None,
            line,
            cries: Vec::new(),
        }
    }

    pub fn hear(&mut self, now: Now, bytes: &[u8]) {
        let silence = now.mono.since(self.last);
        if silence > SILENCE {
            self.cried();
            self.forget();
        }
        // Who is switched on in the morning is not who asked yesterday.
        if silence > MUTE {
            self.cries.clear();
        }
        let room = self.head_bytes_max.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.bytes += bytes.len();
        self.last = now.mono;
    }

    /// What was said before a silence was short.
    fn cried(&mut self) {
        if (1..=CRY_BYTES_MAX).contains(&self.bytes) && self.cries.len() < CRIES {
            self.cries.push(self.head.clone());
        }
    }

    /// A session begins: what came before was noise near it.
    pub fn forget(&mut self) {
        self.head.clear();
        self.bytes = 0;
    }

    /// Somebody speaks our protocol after all.
    pub fn good_session(&mut self) {
        self.forget();
        self.cries.clear();
        self.muted_until = None;
    }

    /// The session that a restart of ours has cut off may still be under way: its rest is not reported.
    pub fn mute_for(&mut self, now: Now, span: Duration) {
        self.muted_until = Some(now.mono.after(span));
    }

    pub fn deadline(&self) -> Option<Mono> {
        let due = self.last.after(SILENCE);
        let enough = self.bytes >= NOISE_BYTES_MIN || self.cries.len() == CRIES;
        (enough && self.muted_until.is_none_or(|until| until <= due)).then_some(due)
    }

    /// The report, if there is enough to report and it is time, or if the line is `closed` and no more can come.
    pub fn report(&mut self, now: Now, closed: bool) -> Option<(Vec<u8>, EventKind)> {
        let due = self.deadline()?;
        if now.mono < due && !closed {
            return None;
        }
        let cries = std::mem::take(&mut self.cries);
        if self.bytes < NOISE_BYTES_MIN {
            return self.question(now, cries);
        }
        let capture = std::mem::take(&mut self.head);
        let bytes = std::mem::take(&mut self.bytes);
        self.mute_for(now, MUTE);
        let guess = guess(&capture, self.line, self.awaited.framed);
        let reason = format!("{bytes} bytes without {}: {guess}", self.awaited.lacking);
        let event = EventKind::rejected(self.awaited.code, reason, capture.len());
        Some((capture, event))
    }

    /// Cries that are one question, ENQ or at another setting; any others are noise.
    fn question(&mut self, now: Now, cries: Vec<Vec<u8>>) -> Option<(Vec<u8>, EventKind)> {
        let capture = cries.concat();
        // Who gets no answer gives up with EOT, and asks again (LIS01-A2).
        let asks = capture.iter().all(|byte| matches!(*byte, ENQ | EOT)) && capture.contains(&ENQ);
        let suspicion = match asks {
            true => guess(&[ENQ], None, self.awaited.framed),
            false => suspicion(&capture, self.line.as_ref()?)?.to_string(),
        };
        self.mute_for(now, MUTE);
        let reason = format!("a few bytes again and again, without {}: {suspicion}", self.awaited.lacking);
        let event = EventKind::rejected(self.awaited.code, reason, capture.len());
        Some((capture, event))
    }
}

/// Whether bytes begin as a session of LIS01-A2 does, or within one: ENQ, or STX and a frame's number.
fn is_framed(bytes: &[u8]) -> bool {
    match bytes.trim_ascii_start() {
        [ENQ, ..] => true,
        [0x02, number, ..] => matches!(number, b'0'..=b'7'),
        _ => false,
    }
}

/// What bytes that are no session of the driver probably are; where another line setting explains them, which:
/// `these look like 7E1 at 4800: ...`. `framed` is said of frames of LIS01-A2.
fn guess(bytes: &[u8], line: Option<Uart>, framed: Option<&'static str>) -> String {
    match line.and_then(|line| suspicion(bytes, &line)) {
        Some(suspicion) => suspicion.to_string(),
        None => framed.filter(|_| is_framed(bytes)).unwrap_or_else(|| language(bytes)).to_owned(),
    }
}

/// What bytes that are no session of the driver probably are, in words for the person who set the line up.
pub fn language(bytes: &[u8]) -> &'static str {
    let first = bytes.iter().copied().find(|byte| !matches!(byte, 0 | 0xff | b' ' | b'\r' | b'\n' | b'\t'));
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let share = |test: fn(&u8) -> bool| bytes.iter().filter(|byte| test(byte)).count() * 10 / bytes.len().max(1);
    match first {
        None => "nothing but blanks, NUL or 0xFF: is the cable loose, or the baud rate wrong?",
        Some(0x0b) => "it starts with VT: looks like HL7 over MLLP",
        Some(ENQ) => "it starts with ENQ: looks like ASTM (LIS01-A2)",
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
