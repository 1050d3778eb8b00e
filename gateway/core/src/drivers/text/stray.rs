//! What comes between messages and is no part of a handshake. A little of it is noise; whole lines of it are somebody who
//! writes in another way than the profile expects, and that is stated with its bytes.

use crate::event::EventKind;
use crate::line_model::{Uart, suspicion};
use crate::time::{Mono, Now};
use std::time::Duration;

/// With fewer letters, digits and signs than this it is noise.
const LEGIBLE_BYTES_MIN: usize = 4;
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Stray {
    head: Vec<u8>,
    head_bytes_max: usize,
    bytes: usize,
    legible: usize,
    heard: Mono,
    /// The head was full and is stated: what follows is the same, until silence.
    stated: bool,
    line: Option<Uart>,
}

impl Stray {
    pub fn new(head_bytes_max: usize, line: Option<Uart>) -> Stray {
        Stray { head: Vec::new(), head_bytes_max, bytes: 0, legible: 0, heard: Mono(0), stated: false, line }
    }

    pub fn hear(&mut self, now: Now, bytes: &[u8]) {
        self.heard = now.mono;
        self.bytes += bytes.len();
        self.legible += bytes.iter().filter(|byte| byte.is_ascii_graphic()).count();
        let room = self.head_bytes_max.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    pub fn is_full(&self) -> bool {
        !self.stated && self.head.len() >= self.head_bytes_max
    }

    pub fn deadline(&self) -> Option<Mono> {
        (self.bytes > 0).then(|| self.heard.after(SILENCE))
    }

    /// What has gathered, if it is more than noise: its beginning and the fact.
    pub fn report(&mut self) -> Option<(Vec<u8>, EventKind)> {
        let full = self.is_full();
        let worth = self.legible >= LEGIBLE_BYTES_MIN && !self.stated;
        let (bytes, capture) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.head));
        self.legible = 0;
        self.stated = full;
        if !worth {
            return None;
        }
        let why = match self.line.and_then(|line| suspicion(&capture, &line)) {
            Some(suspicion) => suspicion.to_string(),
            None => "the analyzer is set to another format, or it is another model".to_owned(),
        };
        let reason = format!("{bytes} bytes came in which no message begins as the profile says under `text:`: {why}");
        let event = EventKind::rejected("no_message", reason, capture.len());
        Some((capture, event))
    }
}
