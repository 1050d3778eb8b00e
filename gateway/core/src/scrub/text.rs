//! Printed text: ids that the profile's patterns find are invented, what they find of results and times stays, all else is
//! blotted out.

use super::{Pseudonyms, Words, blot};
use crate::reading::Pattern;
use std::ops::Range;

/// Groups of a pattern that hold somebody's id.
const IDS: &[&str] = &["sample", "instrument_sample", "patient"];
/// Groups that hold what a person wrote.
const WORDS: &[&str] = &["comment"];

/// Messages without anybody in them. `known` are the profile's patterns: what they match stays, but for the groups that
/// hold ids and comments. A checksum over the text is mended by whoever knows its rule.
pub fn text(bytes: &[u8], known: &[&Pattern], names: &Pseudonyms) -> Vec<u8> {
    let seen = Seen::of(bytes);
    let mut clean = bytes.to_vec();
    blot(&mut clean);
    let (mut kept, mut ids, mut words) = (Vec::new(), Vec::new(), Words::default());
    let mut remarks = Vec::new();
    for found in known.iter().flat_map(|pattern| pattern.regex().captures_iter(&seen.text)) {
        let group = |name: &&str| found.name(name).map(|group| seen.place(group.range()));
        kept.extend(found.get(0).map(|whole| seen.place(whole.range())));
        ids.extend(IDS.iter().filter_map(group));
        remarks.extend(WORDS.iter().filter_map(group));
    }
    for range in &kept {
        clean[range.clone()].copy_from_slice(&bytes[range.clone()]);
    }
    for range in remarks {
        blot(&mut clean[range]);
    }
    for range in &ids {
        words.learn(&bytes[range.clone()]);
        clean[range.clone()].copy_from_slice(&names.invented(&bytes[range.clone()]));
    }
    for range in kept {
        words.replace(&mut clean[range], names);
    }
    clean
}

/// The text as a driver's patterns see it, each line ended by one LF, and where each of its bytes stands.
struct Seen {
    text: String,
    places: Vec<usize>,
}

impl Seen {
    fn of(bytes: &[u8]) -> Seen {
        let mut seen = Seen { text: String::with_capacity(bytes.len()), places: Vec::with_capacity(bytes.len() + 1) };
        let utf8 = std::str::from_utf8(bytes).ok();
        let latin = || bytes.iter().map(|byte| char::from(*byte)).enumerate();
        match utf8 {
            Some(text) => text.char_indices().for_each(|(place, c)| seen.push(bytes, place, c)),
            None => latin().for_each(|(place, c)| seen.push(bytes, place, c)),
        }
        seen.places.push(bytes.len());
        seen
    }

    fn push(&mut self, bytes: &[u8], place: usize, c: char) {
        let c = match c {
            '\r' if bytes.get(place + 1) == Some(&b'\n') => return,
            '\r' => '\n',
            c => c,
        };
        self.text.push(c);
        self.places.extend(std::iter::repeat_n(place, c.len_utf8()));
    }

    fn place(&self, range: Range<usize>) -> Range<usize> {
        self.places[range.start]..self.places[range.end].max(self.places[range.start])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_and_their_times_stay() {
        let print = "ID: S-1001\r\nAnn Invented 1980\r\nWBC 5.5 \u{b5}g\r\nIMG S-1001.png\r\nNote: call Ann\r\n\x0c";
        let patterns =
            [r"(?m)^ID: (?P<sample>\S+)$", r"(?m)^(?P<code>[A-Z]{3}) (?P<value>.+)$", r"Note: (?P<comment>.*)"];
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::new(text).expect("a pattern")).collect();
        let names = Pseudonyms::new([7; 32]);
        let clean = text(print.as_bytes(), &patterns.iter().collect::<Vec<_>>(), &names);
        let clean = String::from_utf8(clean).expect("UTF-8");
        assert!(!clean.contains("1001") && clean.starts_with("ID: ") && !clean.contains("Ann"), "{clean}");
        assert!(clean.contains("\r\nXxx Xxxxxxxx 0000\r\nWBC 5.5 \u{b5}g\r\nIMG "), "{clean}");
        assert!(clean.ends_with(".png\r\nNote: xxxx Xxx\r\n\x0c"), "{clean}");
        let latin = text(b"ID: M\xfcller7\nWBC 5 \xb5g", &patterns.iter().collect::<Vec<_>>(), &names);
        assert!(latin.ends_with(b"\nWBC 5 \xb5g") && !latin.windows(4).any(|part| part == b"ller"));
    }
}
