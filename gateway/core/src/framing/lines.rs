//! Lines ended by LF or CRLF, or by bytes of the caller's choice, each at most so many bytes long. What is longer is counted, not kept.

/// What the bytes hold next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line as received, its end included.
    Whole(Vec<u8>),
    /// A line longer than the limit: its first bytes, and how many it had.
    TooLong { head: Vec<u8>, bytes: usize },
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    line_bytes_max: usize,
    ends: &'static [u8],
    /// The head of a line that is already too long, and how many bytes of it are gone.
    overlong: Option<(Vec<u8>, usize)>,
}

/// How much of a line that is too long is kept as evidence, in bytes.
const OVERLONG_HEAD_BYTES_MAX: usize = 65_536;

impl Lines {
    pub fn new(line_bytes_max: usize) -> Lines {
        Lines::ended_by(b"\n", line_bytes_max)
    }

    /// Lines that each of these bytes ends.
    pub fn ended_by(ends: &'static [u8], line_bytes_max: usize) -> Lines {
        Lines { buffer: Vec::new(), start: 0, searched: 0, line_bytes_max, ends, overlong: None }
    }

    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait here.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether an unterminated line waits here.
    pub fn has_rest(&self) -> bool {
        self.held() > 0 || self.overlong.is_some()
    }

    /// Hands out the unterminated line.
    pub fn take_rest(&mut self) -> Option<Line> {
        let rest = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        self.searched = 0;
        match self.overlong.take() {
            Some((head, gone)) => Some(Line::TooLong { head, bytes: gone + rest.len() }),
            None if rest.is_empty() => None,
            None => Some(Line::Whole(rest)),
        }
    }

    /// The next line that has its end.
    pub fn next_line(&mut self) -> Option<Line> {
        let rest = &self.buffer[self.start..];
        let end =
            rest[self.searched..].iter().position(|byte| self.ends.contains(byte)).map(|place| place + self.searched);
        let length = end.map_or(rest.len(), |end| end + 1);
        if self.overlong.is_some() || length > self.line_bytes_max {
            let (head, gone) = self.overlong.get_or_insert_with(|| (Vec::new(), 0));
            let room = OVERLONG_HEAD_BYTES_MAX.min(self.line_bytes_max).saturating_sub(head.len());
            head.extend_from_slice(&rest[..room.min(length)]);
            *gone += length;
            self.start += length;
            self.searched = 0;
            end?;
            return self.overlong.take().map(|(head, bytes)| Line::TooLong { head, bytes });
        }
        if end.is_none() {
            self.searched = length;
            return None;
        }
        let line = rest[..length].to_vec();
        self.start += length;
        self.searched = 0;
        Some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], step: usize) -> Vec<Line> {
        let mut lines = Lines::new(8);
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            lines.push(part);
            all.extend(std::iter::from_fn(|| lines.next_line()));
        }
        all.extend(lines.take_rest());
        all
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let bytes = b"one\r\ntwo\n\n0123456789abcdef\nlast";
        let whole = lines(bytes, bytes.len());
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[3], Line::TooLong { head: b"01234567".to_vec(), bytes: 17 });
        for step in 1..20 {
            assert_eq!(lines(bytes, step), whole, "in reads of {step}");
        }
    }
}
