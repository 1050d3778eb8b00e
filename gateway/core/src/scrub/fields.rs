//! What ASTM records and HL7 segments have in common: fields, repeats, components, and what becomes of each.

use super::{Pseudonyms, Words, blot};
use crate::drivers::values::{decimal, names_a_control};
use crate::reading::{FieldPlace, Reading};
use std::ops::Range;

/// Components of a sample's field that are shorter than this are a rack's place or a type, not an id.
const ID_BYTES_MIN: usize = 4;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    /// Each component gets an invented one.
    Invented,
    /// The same for the first component and others long enough to be ids.
    Ids,
    Blotted,
    /// Only known ids and names in it are replaced.
    Searched,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Delimiters {
    pub field: u8,
    pub repeat: Option<u8>,
    pub component: Option<u8>,
    /// Inside a component (HL7).
    pub sub: Option<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Delimiters { field: b'|', repeat: Some(b'\\'), component: Some(b'^'), sub: None }
    }
}

/// The ids and names of one transmission, learnt field by field.
pub(crate) struct Fields<'a> {
    pub reading: &'a Reading,
    pub names: &'a Pseudonyms,
    pub delimiters: Delimiters,
    words: Words,
}

impl<'a> Fields<'a> {
    pub fn new(reading: &'a Reading, names: &'a Pseudonyms, delimiters: Delimiters) -> Fields<'a> {
        Fields { reading, names, delimiters, words: Words::default() }
    }

    /// Whether the profile finds the sample's or the patient's id in this field.
    pub fn is_id(&self, record: &[u8], number: usize) -> bool {
        let is_it = |place: &FieldPlace| place.record.as_bytes() == record && place.field == number;
        self.reading.sample_id.iter().chain(&self.reading.patient_id).any(is_it)
    }

    /// Takes people out of a record whose first field has the number `first`, and remembers them.
    pub fn clean(&mut self, record: &mut [u8], first: usize, fate: impl Fn(usize) -> Fate) {
        let field = self.delimiters.field;
        for (at, range) in parts(record, |byte| byte == field).into_iter().enumerate() {
            match fate(first + at) {
                Fate::Stays | Fate::Searched => {}
                Fate::Blotted => blot(&mut record[range]),
                Fate::Invented => self.invent(&mut record[range], 0),
                Fate::Ids => self.invent(&mut record[range], ID_BYTES_MIN),
            }
        }
    }

    /// Replaces what is remembered where it stands in other fields; a number is a value, whoever has it as an id.
    pub fn search(&self, record: &mut [u8], first: usize, fate: impl Fn(usize) -> Fate) {
        let field = self.delimiters.field;
        for (at, range) in parts(record, |byte| byte == field).into_iter().enumerate() {
            let part = &mut record[range];
            let is_number = std::str::from_utf8(part).is_ok_and(|text| decimal(text.trim()).is_some());
            if fate(first + at) == Fate::Searched && !is_number {
                self.words.replace(part, self.names);
            }
        }
    }

    fn invent(&mut self, field: &mut [u8], bytes_min: usize) {
        let Delimiters { repeat, component, sub, .. } = self.delimiters;
        let mut first = true;
        for part in parts(field, |byte| [repeat, component, sub].contains(&Some(byte))) {
            let word = field[part.clone()].to_vec();
            let trimmed = word.trim_ascii();
            // `""` deletes, ALL asks for all.
            if trimmed.is_empty() || trimmed == b"\"\"" || trimmed == b"ALL" {
                continue;
            }
            let wanted = std::mem::take(&mut first) || trimmed.len() >= bytes_min;
            if wanted && !self.is_control(trimmed) {
                self.words.learn(trimmed);
                let from = part.start + word.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
                field[from..from + trimmed.len()].copy_from_slice(&self.names.invented(trimmed));
            }
        }
    }

    /// Control material is nobody.
    fn is_control(&self, word: &[u8]) -> bool {
        let text = self.reading.encoding.decode(word);
        let patterns = [&self.reading.qc, &self.reading.calibration];
        names_a_control(&text) || patterns.into_iter().flatten().any(|pattern| pattern.regex().is_match(&text))
    }
}

/// The parts between delimiters.
pub(crate) fn parts(text: &[u8], is_delimiter: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (place, byte) in text.iter().enumerate() {
        if is_delimiter(*byte) {
            parts.push(start..place);
            start = place + 1;
        }
    }
    parts.push(start..text.len());
    parts
}
