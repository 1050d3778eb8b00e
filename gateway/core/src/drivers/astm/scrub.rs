//! An ASTM capture without anybody in it: P records, the ids of O and Q, people and comments, wherever a frame has cut them.
//!
//! Works on bytes, so that every length stays and only checksums change. A frame whose sum was wrong keeps a wrong one, so
//! that a decoder refuses what was refused.

use super::assembly::{record_end, record_type};
use crate::framing::astm::{CR, ENQ, EOT, ETB, ETX, STX, sum_of, sum_without_lf};
use crate::reading::Reading;
use crate::scrub::{Delimiters, Fate, Fields, Pseudonyms, blot};
use std::ops::Range;

/// No record of LIS02-A2 has as many; a profile's places beyond are not looked for.
const FIELDS_MAX: usize = 64;

/// See the module.
pub(super) fn scrub(bytes: &[u8], reading: &Reading, names: &Pseudonyms) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    let frames = frames_of(bytes);
    let mut fields = Fields::new(reading, names, Delimiters::default());
    if frames.is_empty() {
        scrub_text(&mut clean, &mut fields);
        return clean;
    }
    // What stands between the frames is nobody's answer.
    let mut from = 0;
    for frame in &frames {
        blot(&mut clean[from..frame.start]);
        from = frame.end;
    }
    blot(&mut clean[from..]);
    // Where each byte of the joined text stands; `None` for the end of a record that an ETX implies.
    let mut text: Vec<(u8, Option<usize>)> = Vec::new();
    let mut last: Option<&FrameSpan> = None;
    let mut copies: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for frame in &frames {
        let own = &bytes[frame.text.clone()];
        match last {
            _ if !frame.is_good() => {
                blot(&mut clean[frame.text.clone()]);
                continue;
            }
            Some(last) if bytes[last.text.clone()] == *own => copies.push((last.text.clone(), frame.text.clone())),
            _ => {
                text.extend(own.iter().copied().zip(frame.text.clone().map(Some)));
                if frame.ends_record && own.last() != Some(&CR) {
                    text.push((CR, None));
                }
                last = Some(frame);
            }
        }
    }
    let mut joined: Vec<u8> = text.iter().map(|(byte, _)| *byte).collect();
    scrub_text(&mut joined, &mut fields);
    for (byte, (_, place)) in joined.iter().zip(&text) {
        if let Some(place) = place {
            clean[*place] = *byte;
        }
    }
    for (from, to) in copies {
        clean.copy_within(from, to.start);
    }
    frames.iter().for_each(|frame| frame.sum_anew(bytes, &mut clean));
    clean
}

/// Where a frame stands.
struct FrameSpan {
    start: usize,
    /// Behind its sum.
    end: usize,
    text: Range<usize>,
    /// ETX and not ETB.
    ends_record: bool,
    sum: Option<Sum>,
}

/// How a frame was summed up.
#[derive(Clone, Copy)]
struct Sum {
    place: usize,
    lower_case: bool,
    /// The sum of these bytes without their LFs was meant.
    without_lf: bool,
    /// What was added to the right one: 0 in a good frame.
    off: u8,
}

impl FrameSpan {
    fn is_good(&self) -> bool {
        self.sum.is_some_and(|sum| sum.off == 0)
    }

    fn sum_anew(&self, before: &[u8], clean: &mut [u8]) {
        let Some(sum) = self.sum else { return };
        let summed = self.start + 1..self.text.end + 1;
        if before[summed.clone()] == clean[summed.clone()] {
            return;
        }
        let right = if sum.without_lf { sum_without_lf(&clean[summed]) } else { sum_of(&clean[summed]) };
        let value = right.wrapping_add(sum.off);
        let digits = if sum.lower_case { format!("{value:02x}") } else { format!("{value:02X}") };
        clean[sum.place..sum.place + 2].copy_from_slice(digits.as_bytes());
    }
}

fn frames_of(bytes: &[u8]) -> Vec<FrameSpan> {
    let mut frames = Vec::new();
    let mut from = 0;
    while let Some(start) = bytes[from..].iter().position(|byte| *byte == STX).map(|place| from + place) {
        let inside = &bytes[start + 1..];
        let ends = |byte: &u8| matches!(*byte, ETX | ETB | STX | ENQ | EOT);
        let stop = inside.iter().position(ends).map_or(bytes.len(), |place| start + 1 + place);
        let whole = matches!(bytes.get(stop), Some(&(ETX | ETB)));
        let sum = if whole { read_sum(bytes, start + 1, stop) } else { None };
        let end = sum.map_or(stop, |sum| sum.place + 2);
        let text = (start + 2).min(stop)..stop;
        frames.push(FrameSpan { start, end, text, ends_record: bytes.get(stop) == Some(&ETX), sum });
        from = end.max(start + 1);
    }
    frames
}

/// The two digits behind the ETX or ETB at `stop`.
fn read_sum(bytes: &[u8], first: usize, stop: usize) -> Option<Sum> {
    let digits = std::str::from_utf8(bytes.get(stop + 1..stop + 3)?).ok()?;
    let read = digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())??;
    let summed = &bytes[first..=stop];
    let without_lf = read != sum_of(summed) && read == sum_without_lf(summed);
    let right = if without_lf { sum_without_lf(summed) } else { sum_of(summed) };
    let lower_case = digits.bytes().any(|byte| byte.is_ascii_lowercase());
    Some(Sum { place: stop + 1, lower_case, without_lf, off: read.wrapping_sub(right) })
}

/// Records, each ended as LIS2 and the field end them. What is learnt in the first round is looked for in the second.
fn scrub_text(text: &mut [u8], fields: &mut Fields<'_>) {
    for learning in [true, false] {
        let mut start = 0;
        while start < text.len() {
            let end = record_end(text, start).unwrap_or(text.len());
            let record = &mut text[start..end];
            start = end + 1;
            let Some(letter) = record_type(record) else {
                blot(record);
                continue;
            };
            if letter == b'H' {
                fields.delimiters = declared(record);
            }
            let places: Vec<bool> = (0..FIELDS_MAX).map(|number| fields.is_id(&[letter], number)).collect();
            let fate = |number: usize| match number > 2 && places.get(number) == Some(&true) {
                true => Fate::Ids,
                false => fate(letter, number),
            };
            if learning { fields.clean(record, 1, fate) } else { fields.search(record, 1, fate) }
        }
    }
}

/// LIS02-A2, by the numbers of its fields.
fn fate(letter: u8, number: usize) -> Fate {
    match (letter, number) {
        (b'H', 4 | 6 | 8 | 11) => Fate::Blotted,
        // The sex tells nobody apart.
        (b'P', 9) => Fate::Stays,
        (b'P', 3..) => Fate::Invented,
        (b'O', 3 | 4) => Fate::Ids,
        (b'O', 11 | 17..=22) => Fate::Invented,
        (b'O', 14) | (b'C', 4) | (b'M' | b'S', 3..) => Fate::Blotted,
        (b'R', 11) | (b'Q', 3 | 4 | 11 | 12) => Fate::Invented,
        (b'R', 4 | 14..) | (b'O', 13 | 15 | 23..) => Fate::Searched,
        _ => Fate::Stays,
    }
}

/// The delimiters of an H record. A capture that went through a log's escaping has the repeat delimiter twice.
fn declared(header: &[u8]) -> Delimiters {
    let mut rest = header.iter().copied().skip_while(|byte| *byte <= b' ').skip(1);
    let Some(field) = rest.next() else { return Delimiters::default() };
    let mut declared: Vec<u8> = rest.take_while(|byte| *byte != field).collect();
    if declared.len() > 3 && declared[0] == declared[1] {
        declared.remove(0);
    }
    match declared.is_empty() {
        true => Delimiters { field, ..Delimiters::default() },
        false => {
            Delimiters { field, repeat: declared.first().copied(), component: declared.get(1).copied(), sub: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::astm::frame;

    fn scrubbed(bytes: &[u8]) -> String {
        let clean = scrub(bytes, &Reading::default(), &Pseudonyms::new([7; 32]));
        assert_eq!(clean.len(), bytes.len());
        String::from_utf8(clean).expect("ASCII")
    }

    #[test]
    fn people_are_gone_from_every_record_and_results_stay() {
        let records = "H|\\^&||secret|XP^1^A77\rP|1|P-4711||LAB-9|Invented^Ann||19800229|F|||||Dr Who\rC|1|I|call Ann\r\
                       O|1|S-1001^12^3|RACK7|^^^WBC|||||||||||||Who\rR|1|^^^WBC|5.50|10*3/uL||N||F||nurse\r\
                       R|2|^^^IMG|PNG&R&S-1001.PNG\rM|1|Ann was here\rQ|1|^S-1001\\^S-1002||ALL\rL|1|N\r";
        let clean = scrubbed(records.as_bytes());
        for gone in ["secret", "4711", "LAB-9", "Invented", "Ann", "1980", "Who", "1001", "1002", "RACK7", "nurse"] {
            assert!(!clean.contains(gone), "{gone} in {clean}");
        }
        for kept in ["XP^1^A77", "|F|", "^12^3|", "|5.50|10*3/uL||N||F", "^^^IMG|PNG&R&", "|ALL\r", "L|1|N\r"] {
            assert!(clean.contains(kept), "{kept} not in {clean}");
        }
        let id = clean.split("O|1|").nth(1).and_then(|rest| rest.split('^').next()).expect("an id");
        assert_eq!(clean.matches(id).count(), 3, "the same id is the same everywhere: {clean}");
    }

    #[test]
    fn control_material_keeps_its_name() {
        assert!(scrubbed(b"H|\\^&\rO|1|QC-LOW\rL|1\r").contains("|QC-LOW\r"));
    }

    #[test]
    fn a_name_that_a_frame_cuts_is_found_and_the_sums_are_right() {
        let frames =
            [frame(1, b"H|\\^&\rP|1|||P-47", false), frame(2, b"11|Inven", false), frame(2, b"11|Inven", false)];
        let mut bytes =
            [&[ENQ][..], &frames.concat(), &frame(3, b"ted^Ann", true), &frame(4, b"L|1\r", true), &[EOT]].concat();
        let bad = bytes.len() - 4;
        bytes[bad] ^= 1;
        let clean = scrubbed(&bytes);
        assert!(!clean.contains("P-47") && !clean.contains("Inven") && !clean.contains("ted"), "{clean:?}");
        let sums: Vec<bool> = frames_of(clean.as_bytes()).iter().map(FrameSpan::is_good).collect();
        assert_eq!(sums, [true, true, true, true, false]);
        let texts: Vec<&[u8]> =
            frames_of(clean.as_bytes()).iter().map(|span| &clean.as_bytes()[span.text.clone()]).collect();
        assert_eq!(texts[1], texts[2], "a repeated frame is repeated");
    }
}
