//! Printed text: what the profile's patterns find of somebody is invented, lines of results stay, all else is blotted out.

use super::{Pseudonyms, Words, blot, parts};
use crate::reading::Pattern;

/// Groups of a pattern that hold the id or the name of somebody.
const GROUPS: &[&str] = &["sample", "sample_id", "patient", "patient_id", "name"];

/// Lines without anybody in them. `who`: patterns whose groups `sample`, `patient` or `name` hold ids and names;
/// `is_kept`: whether a line says a result or a time and stays, but for ids and names in it. A checksum over the
/// text is mended by whoever knows its rule.
pub fn text(bytes: &[u8], who: &[&Pattern], is_kept: &dyn Fn(&str) -> bool, names: &Pseudonyms) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    let mut words = Words::default();
    let lines = parts(bytes, |byte| byte < b' ' && byte != b'\t');
    for line in &lines {
        let seen = line_text(&bytes[line.clone()]);
        let found = who.iter().flat_map(|pattern| pattern.regex().captures_iter(&seen));
        let mut people = Vec::new();
        for captures in found {
            people.extend(GROUPS.iter().filter_map(|group| captures.name(group)).map(|group| group.range()));
        }
        if !is_kept(&seen) {
            blot(&mut clean[line.clone()]);
        }
        for person in people {
            let place = line.start + person.start..line.start + person.end;
            let word = bytes[place.clone()].to_vec();
            words.learn(&word);
            clean[place].copy_from_slice(&names.invented(&word));
        }
    }
    for line in lines {
        words.replace(&mut clean[line], names);
    }
    clean
}

/// One ASCII character a byte, so that places in it are places in the bytes.
fn line_text(line: &[u8]) -> String {
    line.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_and_their_times_stay() {
        let print = "ID: S-1001\r\nAnn Invented 1980\r\nWBC 5.5 10*3/uL\r\nIMG S-1001.png\r\n\x0c";
        let id = Pattern::new(r"ID: (?P<sample>\S+)").expect("a pattern");
        let kept = |line: &str| line.starts_with("WBC") || line.starts_with("IMG");
        let clean = text(print.as_bytes(), &[&id], &kept, &Pseudonyms::new([7; 32]));
        let clean = String::from_utf8(clean).expect("ASCII");
        assert!(!clean.contains("1001") && clean.starts_with("XX: "), "{clean}");
        assert!(
            clean.contains("\r\nXxx Xxxxxxxx 0000\r\nWBC 5.5 10*3/uL\r\nIMG ") && clean.ends_with(".png\r\n\x0c"),
            "{clean}"
        );
    }
}
