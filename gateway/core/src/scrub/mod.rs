//! Captures that may leave the house: the same bytes without anybody in them.
//!
//! Everything that may tell who somebody is becomes as much invented text of the same kind: letters stay letters of their
//! case, digits digits, signs and lengths stay. An id becomes the same invented one wherever it stands. What is not
//! understood is blotted out, letters to `x` and digits to `0`. What stays are the analyzer's own name, times, codes, values
//! and flags: what a decoder is tried with.
//!
//! Each format has a file here; a driver's `scrub` chooses. Invariant: the result has the length of the input.

mod fields;
mod hl7;
mod poct1a;
mod text;

pub(crate) use fields::{Delimiters, Fate, Fields, parts};
pub use hl7::hl7;
pub use poct1a::poct1a;
pub use text::text;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::fmt;

/// Too little is known of the bytes to say who stands in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("captures of this analyzer cannot be scrubbed: too little of them is understood")]
pub struct Unscrubbable;

/// Shorter words are not looked for in places where they need not be names: they stand everywhere.
const WORD_BYTES_MIN: usize = 3;

/// Gives each id and name an invented one. With one key, the same gets the same; without the key nobody can try out which
/// id an invented one stands for, so it is drawn anew for each export and kept nowhere.
pub struct Pseudonyms {
    key: [u8; 32],
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    /// `key`: 32 random bytes.
    pub fn new(key: [u8; 32]) -> Pseudonyms {
        Pseudonyms { key }
    }

    /// As much invented text for an id or a name; never the same text, unless it has neither letter nor digit.
    pub fn invented(&self, text: &[u8]) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut block: u32 = 0;
        while stream.len() < text.len() {
            let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
            mac.update(&block.to_be_bytes());
            mac.update(text);
            stream.extend_from_slice(&mac.finalize().into_bytes());
            block += 1;
        }
        let utf8 = std::str::from_utf8(text).is_ok();
        let swap = |(byte, chance): (&u8, &u8)| match byte {
            // Never the same letter or digit: a step of 1 to 25, or 1 to 9.
            b'a'..=b'z' => b'a' + (byte - b'a' + 1 + chance % 25) % 26,
            b'A'..=b'Z' => b'A' + (byte - b'A' + 1 + chance % 25) % 26,
            b'0'..=b'9' => b'0' + (byte - b'0' + 1 + chance % 9) % 10,
            _ => *byte,
        };
        let mut swapped: Vec<u8> = text.iter().zip(&stream).map(swap).collect();
        replace_foreign(&mut swapped, utf8);
        swapped
    }
}

/// Letters to `x`, digits to `0`; signs and blanks stay.
pub(crate) fn blot(text: &mut [u8]) {
    let utf8 = std::str::from_utf8(text).is_ok();
    for byte in text.iter_mut() {
        match byte {
            b'a'..=b'z' => *byte = b'x',
            b'A'..=b'Z' => *byte = b'X',
            b'0'..=b'9' => *byte = b'0',
            _ => {}
        }
    }
    replace_foreign(text, utf8);
}

/// What is not ASCII becomes other letters of as many bytes; in an encoding that is not UTF-8 each byte an `x`.
fn replace_foreign(text: &mut [u8], utf8: bool) {
    let mut place = 0;
    while place < text.len() {
        let letter: &[u8] = match text[place] {
            0x00..=0x7f => {
                place += 1;
                continue;
            }
            0xc0..=0xdf if utf8 => "\u{e6}".as_bytes(),
            0xe0..=0xef if utf8 => "\u{4e00}".as_bytes(),
            0xf0..=0xff if utf8 => "\u{1d49c}".as_bytes(),
            _ => b"x",
        };
        let length = letter.len().min(text.len() - place);
        text[place..place + length].copy_from_slice(&letter[..length]);
        place += length;
    }
}

/// The ids and names found in one message, so that they are replaced where they stand in other text too.
#[derive(Default)]
pub(crate) struct Words(BTreeSet<Vec<u8>>);

impl Words {
    /// Remembers an id or a name, if it is long enough to be told from any other text.
    pub fn learn(&mut self, word: &[u8]) {
        let word = word.trim_ascii();
        if word.len() >= WORD_BYTES_MIN && word.iter().any(u8::is_ascii_alphanumeric) {
            self.0.insert(word.to_vec());
        }
    }

    /// Replaces them wherever they stand by themselves, the longest first.
    pub fn replace(&self, text: &mut [u8], names: &Pseudonyms) {
        let mut words: Vec<&Vec<u8>> = self.0.iter().collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let mut done = vec![false; text.len()];
        for word in words {
            let mut from = 0;
            while let Some(found) = text[from..].windows(word.len()).position(|part| part.eq_ignore_ascii_case(word)) {
                let (start, end) = (from + found, from + found + word.len());
                let alone = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte < 0x80);
                let before = start.checked_sub(1).and_then(|place| text.get(place));
                if alone(before) && alone(text.get(end)) && !done[start..end].contains(&true) {
                    text[start..end].copy_from_slice(&names.invented(word));
                    done[start..end].fill(true);
                }
                from = start + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_id_has_the_shape_of_the_id_and_nothing_of_it() {
        let names = Pseudonyms::new([7; 32]);
        for text in ["S-1001", "M\u{fc}ller^Anna", "0", "\u{738b}\u{5c0f}\u{660e}", "x9 Y"] {
            let invented = names.invented(text.as_bytes());
            assert_eq!(invented.len(), text.len());
            assert_eq!(invented, names.invented(text.as_bytes()), "the same gets the same");
            assert_ne!(Pseudonyms::new([8; 32]).invented(b"S-1001"), names.invented(b"S-1001"));
            let invented = String::from_utf8(invented).expect("UTF-8 stays UTF-8");
            for (before, after) in text.chars().zip(invented.chars()) {
                assert_eq!(before.is_ascii_digit(), after.is_ascii_digit(), "{text} {invented}");
                assert_eq!(before.is_alphanumeric(), before != after, "{text} {invented}");
            }
        }
        assert!(names.invented(b"M\xfcller").is_ascii(), "Latin-1 has no other letters of its own here");
    }

    #[test]
    fn words_are_replaced_where_they_stand_alone() {
        let (names, mut words) = (Pseudonyms::new([7; 32]), Words::default());
        [&b"S-10"[..], b"S-100", b"ab", b"--- "].iter().for_each(|word| words.learn(word));
        let mut text = b"PNG&R&S-100&R&s-10.PNG S-1000 ab ---".to_vec();
        words.replace(&mut text, &names);
        let text = String::from_utf8(text).expect("ASCII");
        assert!(!text.contains("S-100&") && !text.to_uppercase().contains("S-10."), "{text}");
        assert!(text.ends_with(" S-1000 ab ---"), "{text}");
    }
}
