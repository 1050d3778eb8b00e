//! XML documents that follow each other without any terminator: a document ends with the closing tag of its root (POCT1-A,
//! the DML messages of CLSI POCT1), alone or between VT and FS CR. Knows no field and checks no well-formedness.
//!
//! Invariant: the pieces depend on the bytes alone, not on how reads cut them, and every byte is looked at once. What was
//! begun and not ended is given up where no document can go on: at VT, at FS, at another XML declaration, at the start of
//! another root. So damage in one document costs no other.

pub const VT: u8 = 0x0b;
pub const FS: u8 = 0x1c;
pub const CR: u8 = 0x0d;

/// Longer names are told apart by their beginnings alone, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Bytes outside of documents are handed out in pieces of at most so many.
const NOISE_BYTES_MAX: usize = 4096;
/// How much of a document that is too long is kept as evidence, in bytes.
const HEAD_BYTES_MAX: usize = 65_536;

/// What the bytes hold next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// From its first tag, declaration or comment to the end of its root's closing tag.
    Document {
        bytes: Vec<u8>,
        /// Whether VT came before it.
        enveloped: bool,
    },
    /// A document that was begun and never ended.
    Broken(Vec<u8>),
    /// A document longer than the limit: its first bytes, and how many it had.
    TooLong { head: Vec<u8>, bytes: usize },
    /// Bytes outside of any document. How many come in one piece means nothing.
    Noise(Vec<u8>),
}

/// What the names of roots tell.
#[derive(Debug, Clone, Copy)]
pub struct Roots {
    /// Whether a document without a prolog may begin with a tag of this name. Any other is the rest of a document whose
    /// beginning was lost.
    pub is_possible: fn(&[u8]) -> bool,
    /// Whether a tag of this name can only be a root's.
    pub is_certain: fn(&[u8]) -> bool,
}

/// Where in the markup the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// Behind `<`.
    Opened,
    /// Behind `<!`.
    Declaration,
    /// The number counts the `-` that stand together.
    Comment(u8),
    /// The number counts the `]` that stand together.
    CharacterData(u8),
    /// `<!DOCTYPE` and its like, with what is nested in it.
    Definition {
        depth: u32,
        quote: Option<u8>,
    },
    Instruction {
        question: bool,
    },
    Name {
        closing: bool,
    },
    Tag {
        closing: bool,
        quote: Option<u8>,
        slash: bool,
    },
}

/// Cuts a stream into documents.
#[derive(Debug)]
pub struct Documents {
    held: Vec<u8>,
    start: usize,
    document_bytes_max: usize,
    roots: Roots,
    place: Place,
    /// Within a document, its prolog included.
    open: bool,
    root: Option<Vec<u8>>,
    /// The name that is being read.
    name: Vec<u8>,
    enveloped: bool,
    /// The document or the noise so far.
    piece: Vec<u8>,
    /// How many bytes of a document that is too long are gone.
    gone: usize,
}

impl Documents {
    /// Documents of at most so many bytes.
    pub fn new(document_bytes_max: usize, roots: Roots) -> Documents {
        Documents {
            held: Vec::new(),
            start: 0,
            document_bytes_max,
            roots,
            place: Place::Text,
            open: false,
            root: None,
            name: Vec::new(),
            enveloped: false,
            piece: Vec::new(),
            gone: 0,
        }
    }

    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.start);
        self.start = 0;
        self.held.extend_from_slice(bytes);
    }

    /// How many bytes wait here.
    pub fn held(&self) -> usize {
        self.held.len() - self.start + self.piece.len()
    }

    /// Whether a document was begun and has not ended.
    pub fn in_document(&self) -> bool {
        self.open
    }

    /// Gives up what was begun and not ended, since no more of it comes.
    pub fn take_rest(&mut self) -> Option<Piece> {
        match self.open {
            true => Some(self.cut()),
            false => {
                self.place = Place::Text;
                let noise = std::mem::take(&mut self.piece);
                (!noise.is_empty()).then_some(Piece::Noise(noise))
            }
        }
    }

    /// The next piece that is whole.
    pub fn next_piece(&mut self) -> Option<Piece> {
        while let Some(byte) = self.held.get(self.start).copied() {
            let (piece, taken) = if self.open { self.inside(byte) } else { self.outside(byte) };
            self.start += usize::from(taken);
            if piece.is_some() {
                return piece;
            }
        }
        None
    }

    fn outside(&mut self, byte: u8) -> (Option<Piece>, bool) {
        if matches!(byte, VT | FS) {
            self.enveloped = byte == VT;
            self.place = Place::Text;
            return (None, true);
        }
        if self.place == Place::Opened && (matches!(byte, b'?' | b'!') || begins_name(byte)) {
            self.piece.pop();
            let noise = std::mem::replace(&mut self.piece, vec![b'<']);
            self.open = true;
            return ((!noise.is_empty()).then_some(Piece::Noise(noise)), false);
        }
        self.place = if byte == b'<' { Place::Opened } else { Place::Text };
        self.piece.push(byte);
        let full = self.piece.len() >= NOISE_BYTES_MAX && byte != b'<';
        (full.then(|| Piece::Noise(std::mem::take(&mut self.piece))), true)
    }

    fn inside(&mut self, byte: u8) -> (Option<Piece>, bool) {
        if matches!(byte, VT | FS) {
            return (Some(self.cut()), false);
        }
        if self.another_begins(byte) {
            // The tag so far is `<?xml` or `<` and the name: it belongs to the next document.
            let begun = match self.place {
                Place::Instruction { .. } => b"<?xml".to_vec(),
                _ => [b"<", self.name.as_slice()].concat(),
            };
            let place = self.place;
            let name = std::mem::take(&mut self.name);
            if self.gone == 0 {
                self.piece.truncate(self.piece.len().saturating_sub(begun.len()));
            }
            let piece = self.cut();
            (self.piece, self.open, self.place, self.name) = (begun, true, place, name);
            return (Some(piece), false);
        }
        if self.begins_with_no_root(byte) {
            (self.open, self.place) = (false, Place::Text);
            return (None, false);
        }
        self.keep(byte);
        let ended = self.step(byte);
        (ended.then(|| self.ended()), true)
    }

    /// Whether the name that this byte ends shows that the document before it is broken off.
    fn another_begins(&self, byte: u8) -> bool {
        match self.place {
            Place::Instruction { .. } => {
                let beyond_its_own = self.piece.len() > b"<?xml".len();
                beyond_its_own && self.name == b"xml" && byte.is_ascii_whitespace()
            }
            Place::Name { closing: false } if !in_name(byte) => {
                self.root.as_ref().is_some_and(|root| *root == self.name || (self.roots.is_certain)(&self.name))
            }
            _ => false,
        }
    }

    /// Whether the name that this byte ends, the first thing of the document, shows that there is none.
    fn begins_with_no_root(&self, byte: u8) -> bool {
        let is_first = self.root.is_none() && self.gone == 0 && self.piece.len() == self.name.len() + 1;
        let named = self.place == Place::Name { closing: false } && !in_name(byte);
        named && is_first && !(self.roots.is_possible)(&self.name)
    }

    /// Moves on by one byte; whether the document ends with it.
    fn step(&mut self, byte: u8) -> bool {
        self.place = match self.place {
            Place::Text if byte == b'<' => Place::Opened,
            Place::Text => Place::Text,
            Place::Opened => self.opened(byte),
            Place::Declaration => self.declaration(byte),
            Place::Comment(2..) | Place::CharacterData(2..) if byte == b'>' => Place::Text,
            Place::Comment(dashes) => Place::Comment(if byte == b'-' { (dashes + 1).min(2) } else { 0 }),
            Place::CharacterData(ends) => Place::CharacterData(if byte == b']' { (ends + 1).min(2) } else { 0 }),
            Place::Definition { depth, quote } => definition(byte, depth, quote),
            Place::Instruction { question: true } if byte == b'>' => Place::Text,
            Place::Instruction { .. } => {
                self.spell(byte);
                Place::Instruction { question: byte == b'?' }
            }
            Place::Name { closing } if in_name(byte) => {
                self.spell(byte);
                Place::Name { closing }
            }
            Place::Name { closing } => {
                if self.root.is_none() && !closing {
                    self.root = Some(self.name.clone());
                }
                return self.tag(byte, closing, None, false);
            }
            Place::Tag { closing, quote, slash } => return self.tag(byte, closing, quote, slash),
        };
        false
    }

    fn opened(&mut self, byte: u8) -> Place {
        self.name.clear();
        match byte {
            b'?' => Place::Instruction { question: false },
            b'!' => Place::Declaration,
            b'/' => Place::Name { closing: true },
            b'<' => Place::Opened,
            _ if begins_name(byte) => {
                self.spell(byte);
                Place::Name { closing: false }
            }
            _ => Place::Text,
        }
    }

    fn declaration(&mut self, byte: u8) -> Place {
        self.spell(byte);
        let so_far = self.name.as_slice();
        match so_far {
            b"--" => Place::Comment(0),
            b"[CDATA[" => Place::CharacterData(0),
            _ if b"--".starts_with(so_far) || b"[CDATA[".starts_with(so_far) => Place::Declaration,
            _ => definition(byte, 1, None),
        }
    }

    /// A byte of a tag behind its name. `<` stands in no tag: where it does, the tag before it is broken.
    fn tag(&mut self, byte: u8, closing: bool, quote: Option<u8>, slash: bool) -> bool {
        self.place = match (byte, quote) {
            (b'<', _) => Place::Opened,
            (b'>', None) => Place::Text,
            (b'"' | b'\'', None) => Place::Tag { closing, quote: Some(byte), slash: false },
            (_, Some(open)) if open == byte => Place::Tag { closing, quote: None, slash: false },
            _ => Place::Tag { closing, quote, slash: byte == b'/' },
        };
        let is_root = self.root.as_ref() == Some(&self.name);
        self.place == Place::Text && is_root && (closing || slash)
    }

    fn spell(&mut self, byte: u8) {
        if self.name.len() < NAME_BYTES_MAX {
            self.name.push(byte);
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.gone == 0 && self.piece.len() < self.document_bytes_max {
            self.piece.push(byte);
        } else {
            self.piece.truncate(HEAD_BYTES_MAX);
            self.gone = self.gone.max(self.document_bytes_max) + 1;
        }
    }

    fn ended(&mut self) -> Piece {
        let enveloped = self.enveloped;
        match self.cut() {
            Piece::Broken(bytes) => Piece::Document { bytes, enveloped },
            too_long => too_long,
        }
    }

    /// The document so far, as it is, and nothing of it any more.
    fn cut(&mut self) -> Piece {
        let piece = std::mem::take(&mut self.piece);
        (self.open, self.root, self.place, self.enveloped) = (false, None, Place::Text, false);
        self.name.clear();
        match std::mem::take(&mut self.gone) {
            0 => Piece::Broken(piece),
            bytes => Piece::TooLong { head: piece, bytes },
        }
    }
}

fn definition(byte: u8, depth: u32, quote: Option<u8>) -> Place {
    match (byte, quote) {
        (b'"' | b'\'', None) => Place::Definition { depth, quote: Some(byte) },
        (_, Some(open)) if open == byte => Place::Definition { depth, quote: None },
        (b'<', None) => Place::Definition { depth: depth.saturating_add(1), quote },
        (b'>', None) if depth <= 1 => Place::Text,
        (b'>', None) => Place::Definition { depth: depth - 1, quote },
        _ => Place::Definition { depth, quote },
    }
}

fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn in_name(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !matches!(byte, b'>' | b'/' | b'<' | b'=' | b'"' | b'\'')
}

#[cfg(test)]
#[path = "xml/tests.rs"]
mod tests;
