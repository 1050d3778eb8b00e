//! LIS01-A2 (E1381) framing: bytes become ENQ, EOT, frames, faulty frames and noise. Knows no record and no field.
//!
//! A frame is `STX FN text (ETB|ETX) C1 C2 CR LF`; the sum covers FN to ETB or ETX inclusive, modulo 256 (LIS01-A2).
//! What real analyzers do besides is accepted: lower-case sums, no CR LF after the sum, LF inside the text that is not in
//! the sum. Invariant: the pieces depend on the bytes alone, not on how reads cut them, with one exception: a frame whose
//! CR LF has not come is held back until the next byte or until [`Scanner::close_line`] says that none will come.

use crate::mutants::{Mutant, planted};

pub const STX: u8 = 0x02;
pub const ETX: u8 = 0x03;
pub const EOT: u8 = 0x04;
pub const ENQ: u8 = 0x05;
pub const ACK: u8 = 0x06;
pub const LF: u8 = 0x0a;
pub const CR: u8 = 0x0d;
pub const NAK: u8 = 0x15;
pub const ETB: u8 = 0x17;

/// What the bytes hold next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Enq,
    Eot,
    Frame(Frame),
    Fault(Fault),
    /// Bytes outside of any frame. How many come in one piece means nothing.
    Noise(Vec<u8>),
}

/// A frame whose sum is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 0 to 7.
    pub number: u8,
    /// Without the number and without ETB or ETX.
    pub text: Vec<u8>,
    /// Ended by ETX: the text is whole. ETB: the next frame goes on with it.
    pub last: bool,
    /// As received, STX to LF.
    pub raw: Vec<u8>,
}

/// A frame that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// As received, at most the longest frame's length of it.
    pub raw: Vec<u8>,
    /// How many bytes it really had.
    pub bytes: usize,
}

/// Why a frame cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The sum is wrong or missing.
    Checksum,
    /// The byte after STX is not a digit from 0 to 7.
    Unnumbered,
    /// Longer than the limit, STX to LF.
    TooLong,
    /// STX, ENQ or EOT came before its end. The sender is not waiting for an answer to it.
    Cut,
}

/// Cuts a stream into [`Piece`]s.
#[derive(Debug)]
pub struct Scanner {
    buffer: Vec<u8>,
    /// What of the buffer has already been handed out.
    start: usize,
    /// How far the frame at `start` has been searched for its end.
    searched: usize,
    frame_bytes_max: usize,
    /// The head of a frame that is already too long, and how many bytes of it are gone from the buffer.
    overlong: Option<(Vec<u8>, usize)>,
    awaits_line_end: bool,
    line_closed: bool,
}

/// What follows ETB or ETX.
enum Tail {
    /// The sum has not come yet.
    Unknown,
    /// The sum is there, CR LF may still come.
    Open,
    /// So many bytes, and no sum.
    Sumless(usize),
    /// So many bytes, and this sum.
    Sum(usize, u8),
}

impl Scanner {
    pub fn new(frame_bytes_max: usize) -> Scanner {
        Scanner {
            buffer: Vec::new(),
            start: 0,
            searched: 1,
            frame_bytes_max,
            overlong: None,
            awaits_line_end: false,
            line_closed: false,
        }
    }

    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
        self.line_closed = false;
    }

    /// How many bytes wait here.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether a frame has begun and not ended. Only inside a session does this mean anything.
    pub fn in_frame(&self) -> bool {
        self.overlong.is_some() || self.held() > 0
    }

    /// Whether EOT or another ENQ waits here before any frame: the sender has given up the call that came before.
    pub fn is_given_up(&self) -> bool {
        let next = self.buffer[self.start..].iter().find(|byte| matches!(**byte, STX | ENQ | EOT));
        next.is_some_and(|byte| *byte != STX)
    }

    /// Whether a frame is complete but for its CR LF.
    pub fn awaits_line_end(&self) -> bool {
        self.awaits_line_end
    }

    /// No CR LF will come: the frame that waits for it is complete.
    pub fn close_line(&mut self) {
        self.line_closed = true;
    }

    /// Hands out everything that waits, and whether it is the beginning of a frame.
    pub fn take_rest(&mut self) -> (Vec<u8>, bool) {
        let is_frame = self.overlong.is_some() || self.buffer.get(self.start) == Some(&STX);
        let mut rest = self.overlong.take().map(|(head, _)| head).unwrap_or_default();
        rest.extend_from_slice(&self.buffer[self.start..]);
        self.buffer.clear();
        self.start = 0;
        self.searched = 1;
        self.awaits_line_end = false;
        (rest, is_frame)
    }

    /// The next piece while no session is open: ENQ, and all else is noise.
    pub fn next_outside(&mut self) -> Option<Piece> {
        let rest = &self.buffer[self.start..];
        match rest.iter().position(|byte| *byte == ENQ) {
            Some(0) => {
                self.consume(1);
                Some(Piece::Enq)
            }
            None if rest.is_empty() => None,
            place => Some(Piece::Noise(self.consume(place.unwrap_or(rest.len())))),
        }
    }

    /// The next piece inside a session.
    pub fn next_inside(&mut self) -> Option<Piece> {
        self.awaits_line_end = false;
        if self.overlong.is_some() {
            return self.skip_overlong();
        }
        let rest = &self.buffer[self.start..];
        match *rest.first()? {
            ENQ => {
                self.consume(1);
                Some(Piece::Enq)
            }
            EOT => {
                self.consume(1);
                Some(Piece::Eot)
            }
            STX => self.frame(),
            _ => {
                let end = rest.iter().position(|byte| matches!(*byte, STX | ENQ | EOT)).unwrap_or(rest.len());
                Some(Piece::Noise(self.consume(end)))
            }
        }
    }

    /// The next byte, for who has sent something himself and waits for one of ACK, NAK, EOT and ENQ.
    pub fn next_answer(&mut self) -> Option<u8> {
        (self.held() > 0).then(|| self.consume(1)[0])
    }

    /// Whether a frame begins here.
    pub fn begins_frame(&self) -> bool {
        self.buffer.get(self.start) == Some(&STX)
    }

    fn consume(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + count].to_vec();
        self.start += count;
        self.searched = 1;
        taken
    }

    fn frame(&mut self) -> Option<Piece> {
        let rest = &self.buffer[self.start..];
        let from = self.searched.min(rest.len());
        let Some(end) = rest[from..].iter().position(|byte| ends_frame(*byte)).map(|place| place + from) else {
            self.searched = rest.len();
            if rest.len() > self.frame_bytes_max {
                self.begin_overlong(rest.len());
            }
            return None;
        };
        self.searched = end;
        if end > self.frame_bytes_max {
            self.begin_overlong(end);
            return self.skip_overlong();
        }
        if !matches!(rest[end], ETX | ETB) {
            let raw = self.consume(end);
            return Some(Piece::Fault(Fault { kind: FaultKind::Cut, bytes: raw.len(), raw }));
        }
        let (length, sum) = match tail(&rest[end + 1..], self.line_closed) {
            Tail::Unknown => return None,
            Tail::Open => {
                self.awaits_line_end = true;
                return None;
            }
            Tail::Sumless(more) => (end + 1 + more, None),
            Tail::Sum(more, sum) => (end + 1 + more, Some(sum)),
        };
        let raw = self.consume(length);
        Some(self.judge(raw, end, sum))
    }

    fn judge(&self, mut raw: Vec<u8>, end: usize, sum: Option<u8>) -> Piece {
        let bytes = raw.len();
        let summed = &raw[1..=end];
        let right = sum.is_some_and(|sum| sum_of(summed) == sum || sum_without_lf(summed) == sum);
        let kind = if bytes > self.frame_bytes_max {
            FaultKind::TooLong
        } else if !right && !planted(Mutant::ChecksumIgnored) {
            FaultKind::Checksum
        } else if end < 2 || !(b'0'..=b'7').contains(&raw[1]) {
            FaultKind::Unnumbered
        } else {
            let text = raw[2..end].to_vec();
            return Piece::Frame(Frame { number: raw[1] - b'0', text, last: raw[end] == ETX, raw });
        };
        raw.truncate(self.frame_bytes_max);
        Piece::Fault(Fault { kind, raw, bytes })
    }

    /// Keeps the head of a frame that is too long and lets go of its first `count` bytes.
    fn begin_overlong(&mut self, count: usize) {
        let mut head = self.consume(count);
        head.truncate(self.frame_bytes_max);
        self.overlong = Some((head, count));
    }

    /// Lets go of the rest of a frame that is too long, without keeping it.
    fn skip_overlong(&mut self) -> Option<Piece> {
        let rest = &self.buffer[self.start..];
        let end = rest.iter().position(|byte| ends_frame(*byte));
        let gone = end.unwrap_or(rest.len());
        let last = end.map(|end| rest[end]);
        self.start += gone;
        self.searched = 1;
        let (_, bytes) = self.overlong.as_mut()?;
        *bytes += gone;
        let (kind, more) = match last? {
            ETX | ETB => match tail(&self.buffer[self.start + 1..], self.line_closed) {
                Tail::Unknown => return None,
                Tail::Open => {
                    self.awaits_line_end = true;
                    return None;
                }
                Tail::Sumless(more) | Tail::Sum(more, _) => (FaultKind::TooLong, more + 1),
            },
            _ => (FaultKind::Cut, 0),
        };
        self.start += more;
        let (raw, bytes) = self.overlong.take()?;
        Some(Piece::Fault(Fault { kind, raw, bytes: bytes + more }))
    }
}

/// ETX and ETB end a frame; the others are forbidden in its text (LIS01-A2) and mean that it was given up.
fn ends_frame(byte: u8) -> bool {
    matches!(byte, ETX | ETB | STX | ENQ | EOT)
}

fn tail(after: &[u8], line_closed: bool) -> Tail {
    let mut sum = 0_u8;
    for place in 0..2 {
        match after.get(place).map(|byte| (*byte as char).to_digit(16)) {
            None => return Tail::Unknown,
            Some(None) => return Tail::Sumless(place),
            Some(Some(digit)) => sum = (sum << 4) | digit as u8,
        }
    }
    match (after.get(2), after.get(3)) {
        (None, _) if !line_closed => Tail::Open,
        (Some(&CR), None) if !line_closed => Tail::Open,
        (Some(&CR), Some(&LF)) => Tail::Sum(4, sum),
        (Some(&CR | &LF), _) => Tail::Sum(3, sum),
        _ => Tail::Sum(2, sum),
    }
}

/// The checksum of what stands between STX and the sum (LIS01-A2 6.3.3).
pub fn sum_of(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// Some analyzers put LF into the text after they have made the sum.
pub fn sum_without_lf(bytes: &[u8]) -> u8 {
    bytes.iter().filter(|byte| **byte != LF).fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// Frames a text as a sender would: what tests and simulated analyzers send.
pub fn frame(number: u8, text: &[u8], last: bool) -> Vec<u8> {
    let mut raw = vec![STX, b'0' + number % 8];
    raw.extend_from_slice(text);
    raw.push(if last { ETX } else { ETB });
    let sum = sum_of(&raw[1..]);
    raw.extend_from_slice(format!("{sum:02X}\r\n").as_bytes());
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], step: usize) -> Vec<Piece> {
        let mut scanner = Scanner::new(40);
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            scanner.push(part);
            while let Some(piece) = scanner.next_inside() {
                all.push(piece);
            }
        }
        scanner.close_line();
        all.extend(std::iter::from_fn(|| scanner.next_inside()));
        all.retain(|piece| !matches!(piece, Piece::Noise(_)));
        all
    }

    fn faults(bytes: &[u8]) -> Vec<FaultKind> {
        let whole = pieces(bytes, bytes.len());
        for step in 1..9 {
            assert_eq!(pieces(bytes, step), whole, "in reads of {step}");
        }
        let kind = |piece| if let Piece::Fault(fault) = piece { Some(fault.kind) } else { None };
        whole.into_iter().filter_map(kind).collect()
    }

    #[test]
    fn a_frame_comes_out_whole_however_it_is_cut() {
        let mut bytes = frame(1, b"H|\\^&\r", false);
        bytes.extend(frame(2, b"L|1|N\r", true));
        assert_eq!(faults(&bytes), []);
        assert_eq!(pieces(&bytes, 3).len(), 2);
    }

    #[test]
    fn lower_case_sums_missing_line_ends_and_unsummed_lf_are_accepted() {
        let sum = sum_of(b"1L|1\r\x03");
        let plain = format!("\x021L|1\r\x03{sum:02x}");
        assert_eq!(pieces(plain.as_bytes(), 1).len(), 1);
        let with_lf = format!("\x021L|1\r\n\x03{sum:02X}\r\n");
        assert_eq!(faults(with_lf.as_bytes()), []);
        let twice = format!("{plain}\x021L|1\r\x03{sum:02x}\x04");
        assert_eq!(pieces(twice.as_bytes(), 2).len(), 3);
    }

    #[test]
    fn wrong_sums_are_faults_in_etb_frames_too() {
        for last in [true, false] {
            let mut bytes = frame(1, b"R|1|^^^GLU|5.5\r", last);
            bytes[6] ^= 1;
            assert_eq!(faults(&bytes), [FaultKind::Checksum]);
        }
        assert_eq!(faults(b"\x021L|1\r\x03\r\n"), [FaultKind::Checksum]);
    }

    #[test]
    fn the_length_limit_counts_stx_to_lf_and_the_stream_goes_on_behind_it() {
        let fits = frame(1, &[b'x'; 33], true);
        assert_eq!(fits.len(), 40);
        assert_eq!(faults(&fits), []);
        for length in [34, 35, 37, 39, 60, 500] {
            let mut bytes = frame(1, &vec![b'x'; length], true);
            let real = bytes.len();
            bytes.extend(frame(2, b"L\r", true));
            assert_eq!(faults(&bytes), [FaultKind::TooLong]);
            let whole = pieces(&bytes, 7);
            assert!(matches!(&whole[0], Piece::Fault(fault) if fault.bytes == real && fault.raw.len() == 40));
            assert!(matches!(&whole[1], Piece::Frame(frame) if frame.number == 2));
        }
    }

    #[test]
    fn a_frame_given_up_for_another_is_a_cut_one() {
        let mut bytes = b"\x021R|1|".to_vec();
        bytes.extend(frame(1, b"R|1\r", true));
        assert_eq!(faults(&bytes), [FaultKind::Cut]);
        assert_eq!(faults(b"\x02\x03\x30\x33\r\n"), [FaultKind::Unnumbered]);
    }
}
