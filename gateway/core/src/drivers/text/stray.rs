//! What comes between messages and is no part of a handshake. A little of it is noise; whole lines of it are somebody who
//! writes in another way than the profile expects, and that is stated with its bytes.
//!
//! Invariant: of what is more than noise each byte is in a capture or in a stated count.

use crate::event::EventKind;
use crate::line_model::{Uart, suspicion};
use crate::time::{Mono, Now};
use std::time::Duration;

/// With fewer letters, digits and signs than this it is noise.
const LEGIBLE_BYTES_MIN: usize = 4;
/// So many that are no blanks and no control characters are more than noise, whatever they are: another speed, for one.
const DARK_BYTES_MIN: usize = 64;
/// Once a full head is stated, what follows is counted so far before it is stated too, if no silence comes.
const COUNTED_BYTES_MAX: usize = 1 << 20;
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Stray {
    head: Vec<u8>,
    head_bytes_max: usize,
    bytes: usize,
    legible: usize,
    dark: usize,
    heard: Mono,
    /// A full head is stated: what follows is the same, until silence.
    stated: bool,
    line: Option<Uart>,
}

impl Stray {
    pub fn new(head_bytes_max: usize, line: Option<Uart>) -> Stray {
        Stray { head: Vec::new(), head_bytes_max, bytes: 0, legible: 0, dark: 0, heard: Mono(0), stated: false, line }
    }

    pub fn hear(&mut self, now: Now, bytes: &[u8]) {
        self.heard = now.mono;
        self.bytes += bytes.len();
        self.legible += bytes.iter().filter(|byte| byte.is_ascii_graphic()).count();
        self.dark += bytes.iter().filter(|byte| **byte > b' ').count();
        let room = self.head_bytes_max.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    pub fn is_full(&self) -> bool {
        match self.stated {
            false => self.head.len() >= self.head_bytes_max,
            true => self.bytes >= COUNTED_BYTES_MAX,
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        (self.bytes > 0).then(|| self.heard.after(SILENCE))
    }

    /// What has gathered, if it is more than noise: its beginning and the fact.
    pub fn report(&mut self) -> Option<(Vec<u8>, EventKind)> {
        let full = self.is_full();
        let rest = std::mem::replace(&mut self.stated, full);
        let (bytes, capture) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.head));
        let (legible, dark) = (std::mem::take(&mut self.legible), std::mem::take(&mut self.dark));
        let worth = legible >= LEGIBLE_BYTES_MIN || dark >= DARK_BYTES_MIN || rest;
        // A full head is no noise, whatever is in it.
        if bytes == 0 || !(worth || self.stated) {
            return None;
        }
        let why = match self.line.and_then(|line| suspicion(&capture, &line)) {
            Some(suspicion) => suspicion.to_string(),
            None => "the analyzer is set to another format, or it is another model".to_owned(),
        };
        let more = if rest { "more " } else { "" };
        let kept = match capture.len() < bytes {
            true => format!(" (the first {} are kept)", capture.len()),
            false => String::new(),
        };
        let reason = format!(
            "{bytes} {more}bytes came{kept} in which no message begins as the profile says under `text:`: {why}"
        );
        let event = EventKind::rejected("no_message", reason, capture.len());
        Some((capture, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stated: how many bytes were counted, and how many are kept.
    fn stated(stray: &mut Stray) -> Option<(usize, usize)> {
        let (capture, event) = stray.report()?;
        let reason = event.rejection.map(|rejection| rejection.reason).unwrap_or_default();
        Some((reason.split(' ').next()?.parse().ok()?, capture.len()))
    }

    #[test]
    fn every_byte_of_a_long_burst_is_kept_or_counted() {
        for byte in [b'x', 0xf0, 0] {
            let mut stray = Stray::new(100, None);
            stray.hear(Now::default(), &[byte; 70]);
            assert!(!stray.is_full());
            stray.hear(Now::default(), &[byte; 70]);
            assert!(stray.is_full());
            assert_eq!(stated(&mut stray), Some((140, 100)), "{byte}");
            assert!(!stray.is_full());
            stray.hear(Now::default(), &[byte; 3]);
            assert_eq!(stated(&mut stray), Some((3, 3)), "the rest: {byte}");
            assert_eq!((stated(&mut stray), stray.deadline()), (None, None));
            stray.hear(Now::default(), &[byte; 3]);
            assert_eq!(stated(&mut stray), None, "a little noise after a silence: {byte}");
        }
    }

    #[test]
    fn what_never_falls_silent_is_stated_from_time_to_time() {
        let mut stray = Stray::new(100, None);
        let mut counted = 0;
        for _ in 0..3 * COUNTED_BYTES_MAX / 1000 {
            stray.hear(Now::default(), &[b'x'; 1000]);
            if stray.is_full() {
                counted += stated(&mut stray).map_or(0, |(bytes, _)| bytes);
            }
        }
        assert!(counted > 2 * COUNTED_BYTES_MAX);
        counted += stated(&mut stray).map_or(0, |(bytes, _)| bytes);
        assert_eq!(counted, 3 * COUNTED_BYTES_MAX / 1000 * 1000);
    }

    #[test]
    fn little_is_noise_and_many_dark_bytes_are_not() {
        for (bytes, expected) in [(vec![0xf0; 63], None), (vec![0xf0; 64], Some((64, 64))), (vec![b'\r'; 90], None)] {
            let mut stray = Stray::new(100, None);
            stray.hear(Now::default(), &bytes);
            assert_eq!(stated(&mut stray), expected);
        }
    }
}
