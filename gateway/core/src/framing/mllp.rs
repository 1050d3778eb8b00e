//! MLLP (HL7 Minimal Lower Layer Protocol, release 1): VT, a message, FS, CR. Bytes become blocks and noise. Also messages
//! without that frame, one after the other, each known by how its first line begins.
//!
//! A VT always begins a block, also in the middle of another one, which is cut off by it. FS ends a block whether a CR follows
//! or not. What is longer than the limit is counted, and only its head is kept. Every split of the bytes gives the same
//! pieces, but for a CR behind FS: a block has it only if it came along. One that comes later ends what is already told, and is
//! no piece.

pub const VT: u8 = 0x0b;
pub const FS: u8 = 0x1c;
const CR: u8 = 0x0d;
const LF: u8 = 0x0a;

/// What the bytes hold next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes outside of any block.
    Noise(Vec<u8>),
    /// A whole block as received, its frame included.
    Block(Vec<u8>),
    /// The beginning of a block whose end never came.
    Cut(Vec<u8>),
    /// A block that is too long: its first bytes, and how many it had.
    TooLong { head: Vec<u8>, bytes: usize },
}

impl Piece {
    /// The bytes that are kept of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Piece::Noise(bytes) | Piece::Block(bytes) | Piece::Cut(bytes) | Piece::TooLong { head: bytes, .. } => bytes,
        }
    }
}

/// Cuts a stream into blocks.
#[derive(Debug)]
pub struct Scanner {
    buffer: Vec<u8>,
    start: usize,
    /// Bytes from `start` that hold no end.
    searched: usize,
    block_bytes_max: usize,
    head_bytes_max: usize,
    /// How a message without a frame begins; `None`: blocks have their frame.
    mark: Option<&'static [u8]>,
    in_block: bool,
    /// The block before `start` may still get its CR.
    may_trail: bool,
    /// The byte before `start`: what a line begins after.
    before: u8,
    /// The head of a block that is already too long, and how many bytes of it are gone.
    overlong: Option<(Vec<u8>, usize)>,
}

impl Scanner {
    /// `block_bytes_max` counts VT and FS.
    pub fn new(block_bytes_max: usize, head_bytes_max: usize) -> Scanner {
        Scanner {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            block_bytes_max,
            head_bytes_max,
            mark: None,
            in_block: false,
            may_trail: false,
            before: CR,
            overlong: None,
        }
    }

    /// Blocks without a frame: each begins with a line that begins with `mark`, and ends before the next such line, or where
    /// [`take_rest`](Scanner::take_rest) says that nothing follows.
    pub fn unframed(mark: &'static [u8], block_bytes_max: usize, head_bytes_max: usize) -> Scanner {
        Scanner { mark: Some(mark), ..Scanner::new(block_bytes_max, head_bytes_max) }
    }

    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
        if self.may_trail && self.held() > 0 {
            self.may_trail = false;
            self.start += usize::from(self.buffer[0] == CR);
        }
    }

    /// How many bytes wait here.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether a block has begun and not ended.
    pub fn in_block(&self) -> bool {
        self.in_block
    }

    /// Hands out the block that has no end. Without frames that is the last one.
    pub fn take_rest(&mut self) -> Option<Piece> {
        let rest = self.take(self.held());
        self.may_trail = false;
        if !std::mem::take(&mut self.in_block) {
            return (!rest.is_empty()).then_some(Piece::Noise(rest));
        }
        Some(match self.mark {
            Some(_) => self.ended(rest),
            None if self.overlong.is_some() => self.ended(rest),
            None => Piece::Cut(rest),
        })
    }

    /// The next piece, if it is there as a whole. Noise comes as far as it is there.
    pub fn next_piece(&mut self) -> Option<Piece> {
        if !self.in_block {
            let rest = &self.buffer[self.start..];
            let begin = self.beginning(rest, 0);
            let noise = begin.unwrap_or_else(|| rest.len() - self.may_begin(rest));
            let bytes = self.take(noise);
            self.in_block = begin.is_some();
            self.searched = usize::from(self.in_block);
            if !bytes.is_empty() {
                return Some(Piece::Noise(bytes));
            }
            begin?;
        }
        let rest = &self.buffer[self.start..];
        let from = self.searched.min(rest.len());
        let end = match self.mark {
            None => rest[from..].iter().position(|byte| matches!(*byte, FS | VT)).map(|place| place + from),
            Some(_) => self.beginning(rest, from),
        };
        let Some(end) = end else {
            self.searched = rest.len() - self.may_begin(&rest[from..]);
            self.shed();
            return None;
        };
        let is_whole = self.mark.is_some() || rest[end] == FS;
        let length = end + usize::from(self.mark.is_none() && is_whole);
        let trailer = usize::from(self.mark.is_none() && is_whole && rest.get(length) == Some(&CR));
        self.may_trail = self.mark.is_none() && is_whole && rest.len() == length;
        let overlong = self.overlong.is_some() || length > self.block_bytes_max;
        let mut block = self.take(length + trailer);
        self.in_block = !is_whole || self.mark.is_some();
        self.searched = 1;
        Some(match (overlong, is_whole) {
            (true, _) => {
                block.truncate(length);
                self.ended(block)
            }
            (false, true) => Piece::Block(block),
            (false, false) => Piece::Cut(block),
        })
    }

    /// Where a block begins, at or behind `from`.
    fn beginning(&self, rest: &[u8], from: usize) -> Option<usize> {
        let Some(mark) = self.mark else { return rest[from..].iter().position(|byte| *byte == VT).map(|at| at + from) };
        let windows = rest.windows(mark.len()).enumerate().skip(from);
        let mut marks = windows.filter(|(_, window)| window.eq_ignore_ascii_case(mark));
        // The last is the end of a byte order mark.
        let ends_line = |byte: u8| matches!(byte, CR | LF | VT | FS | 0xbf);
        let before = |place: usize| if place == 0 { self.before } else { rest[place - 1] };
        marks.find(|(place, _)| ends_line(before(*place))).map(|(place, _)| place)
    }

    /// How many bytes at the end may be the beginning of a mark.
    fn may_begin(&self, rest: &[u8]) -> usize {
        self.mark.map_or(0, |mark| mark.len().min(rest.len()))
    }

    /// Lets go of what is beyond the limit.
    fn shed(&mut self) {
        let held = self.held();
        if self.overlong.is_none() && held <= self.block_bytes_max {
            return;
        }
        // What may be the beginning of the next mark stays.
        let gone = self.take(held - self.mark.map_or(0, <[u8]>::len).min(held));
        self.count(&gone);
    }

    fn count(&mut self, bytes: &[u8]) {
        let (head, count) = self.overlong.get_or_insert_with(|| (Vec::new(), 0));
        let room = self.head_bytes_max.saturating_sub(head.len()).min(bytes.len());
        head.extend_from_slice(&bytes[..room]);
        *count += bytes.len();
    }

    /// The block whose last bytes these are.
    fn ended(&mut self, last: Vec<u8>) -> Piece {
        if self.overlong.is_none() && last.len() <= self.block_bytes_max {
            return Piece::Block(last);
        }
        self.count(&last);
        let (head, bytes) = self.overlong.take().expect("it was just counted");
        Piece::TooLong { head, bytes }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + count].to_vec();
        self.start += count;
        self.searched = 0;
        self.before = taken.last().copied().unwrap_or(self.before);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every piece, noise joined.
    fn pieces(mut scanner: Scanner, parts: &[&[u8]]) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut keep = |piece: Piece| match (pieces.last_mut(), piece) {
            (Some(Piece::Noise(before)), Piece::Noise(more)) => before.extend(more),
            (_, piece) => pieces.push(piece),
        };
        for part in parts {
            scanner.push(part);
            while let Some(piece) = scanner.next_piece() {
                keep(piece);
            }
        }
        if let Some(piece) = scanner.take_rest() {
            keep(piece);
        }
        pieces
    }

    fn framed(parts: &[&[u8]]) -> Vec<Piece> {
        pieces(Scanner::new(20, 8), parts)
    }

    fn bare(parts: &[&[u8]]) -> Vec<Piece> {
        pieces(Scanner::unframed(b"MSH", 20, 8), parts)
    }

    fn noise(bytes: &[u8]) -> Piece {
        Piece::Noise(bytes.to_vec())
    }

    fn block(bytes: &[u8]) -> Piece {
        Piece::Block(bytes.to_vec())
    }

    #[test]
    fn blocks_begin_at_vt_and_end_at_fs() {
        assert_eq!(
            framed(&[b"x\x0bA\r\x1c\r\x0bB\x1c\x0bC\x1c\r\n"]),
            [noise(b"x"), block(b"\x0bA\r\x1c\r"), block(b"\x0bB\x1c"), block(b"\x0bC\x1c\r"), noise(b"\n"),]
        );
    }

    #[test]
    fn a_cr_that_comes_later_still_ends_its_block() {
        assert_eq!(framed(&[b"\x0bA\x1c", b"\r\r", b"\r"]), [block(b"\x0bA\x1c"), noise(b"\r\r")]);
        assert_eq!(framed(&[b"\x0bA\x1c", b"", b"\r\x0bB\x1c"]), [block(b"\x0bA\x1c"), block(b"\x0bB\x1c")]);
        assert_eq!(framed(&[b"\x0bA\x1c", b"x\r"]), [block(b"\x0bA\x1c"), noise(b"x\r")]);
    }

    #[test]
    fn a_vt_begins_anew_and_an_end_may_be_missing() {
        let cut = |bytes: &[u8]| Piece::Cut(bytes.to_vec());
        assert_eq!(framed(&[b"\x0bA\x0bB\x1c\r\x0bC"]), [cut(b"\x0bA"), block(b"\x0bB\x1c\r"), cut(b"\x0bC")]);
        assert_eq!(framed(&[b"\x0b"]), [cut(b"\x0b")]);
        assert_eq!(framed(&[b"\x1c\r"]), [noise(b"\x1c\r")]);
    }

    #[test]
    fn of_a_block_that_is_too_long_the_head_is_kept() {
        let long = [&b"\x0b"[..], &[b'a'; 30], b"\x1c\r\x0bB\x1c\r"].concat();
        let head = b"\x0baaaaaaa".to_vec();
        let expected = [Piece::TooLong { head: head.clone(), bytes: 32 }, block(b"\x0bB\x1c\r")];
        assert_eq!(framed(&[&long]), expected);
        let just_right = [&b"\x0b"[..], &[b'a'; 18], b"\x1c"].concat();
        assert_eq!(framed(&[&just_right]), [block(&just_right)]);
        assert_eq!(framed(&[&long[..25]]), [Piece::TooLong { head, bytes: 25 }]);
    }

    #[test]
    fn messages_without_a_frame_begin_with_their_mark() {
        assert_eq!(bare(&[b"\n\nMSH|1\rPID\rMSH|2\nx"]), [noise(b"\n\n"), block(b"MSH|1\rPID\r"), block(b"MSH|2\nx")]);
        assert_eq!(bare(&[b"MSH|MSH\rmsh|2"]), [block(b"MSH|MSH\r"), block(b"msh|2")]);
        assert_eq!(bare(&[b"PID\rMS"]), [noise(b"PID\rMS")]);
        let long = [&b"MSH|"[..], &[b'a'; 40], b"\rMSH|2"].concat();
        assert_eq!(bare(&[&long]), [Piece::TooLong { head: b"MSH|aaaa".to_vec(), bytes: 45 }, block(b"MSH|2")]);
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_pieces(
            bytes in prop::collection::vec(prop_oneof![Just(VT), Just(FS), Just(CR), Just(b'M'), Just(b'S'), Just(b'H'), Just(b'|')], 0..80),
            places in prop::collection::vec(0_usize..80, 0..8),
        ) {
            let mut places: Vec<usize> = places.into_iter().map(|place| place.min(bytes.len())).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let parts: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            // A block has its CR only if it came along.
            let told = |pieces: Vec<Piece>| -> Vec<Piece> {
                let bare = |piece: Piece| match piece {
                    Piece::Block(bytes) if bytes.ends_with(&[FS, CR]) => block(&bytes[..bytes.len() - 1]),
                    piece => piece,
                };
                pieces.into_iter().map(bare).collect()
            };
            prop_assert_eq!(told(framed(&parts)), told(framed(&[&bytes])));
            prop_assert_eq!(bare(&parts), bare(&[&bytes]));
        }
    }
}
