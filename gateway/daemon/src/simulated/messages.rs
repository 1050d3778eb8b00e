//! What simulated analyzers have to say: whole LIS2-A2 messages of a haematology and of an immunoassay analyzer, with
//! invented samples and values. Each message is told from all others by its sample id and its time.

use super::astm::Message;
use super::seeded::Seeded;
use gateway_core::time::Timestamp;

/// Which analyzer is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hematology,
    Immunoassay,
}

/// Code, unit, lowest and highest value of the reference range, decimals.
pub(super) type Assay = (&'static str, &'static str, f64, f64, usize);

pub(super) const BLOOD_COUNT: [Assay; 20] = [
    ("WBC", "10*3/uL", 4.0, 10.0, 2),
    ("RBC", "10*6/uL", 3.9, 5.7, 2),
    ("HGB", "g/dL", 12.0, 17.0, 1),
    ("HCT", "%", 36.0, 50.0, 1),
    ("MCV", "fL", 80.0, 99.0, 1),
    ("MCH", "pg", 27.0, 34.0, 1),
    ("MCHC", "g/dL", 31.5, 36.0, 1),
    ("PLT", "10*3/uL", 150.0, 400.0, 0),
    ("LYM%", "%", 20.0, 45.0, 1),
    ("MXD%", "%", 3.0, 12.0, 1),
    ("NEUT%", "%", 45.0, 75.0, 1),
    ("LYM#", "10*3/uL", 1.0, 4.0, 2),
    ("MXD#", "10*3/uL", 0.1, 1.2, 2),
    ("NEUT#", "10*3/uL", 2.0, 7.5, 2),
    ("RDW-SD", "fL", 37.0, 54.0, 1),
    ("RDW-CV", "%", 11.0, 16.0, 1),
    ("PDW", "fL", 9.0, 17.0, 1),
    ("MPV", "\u{b5}m3", 9.0, 13.0, 1),
    ("P-LCR", "%", 13.0, 43.0, 1),
    ("PCT", "%", 0.17, 0.35, 2),
];

pub(super) const IMMUNOASSAY: [Assay; 8] = [
    ("TSH", "mIU/L", 0.27, 4.2, 3),
    ("FT4", "pmol/L", 12.0, 22.0, 2),
    ("FT3", "pmol/L", 3.1, 6.8, 2),
    ("FERR", "ug/L", 30.0, 400.0, 1),
    ("B12", "pmol/L", 145.0, 569.0, 0),
    ("VITD", "nmol/L", 50.0, 125.0, 1),
    ("TNT-HS", "ng/L", 3.0, 14.0, 2),
    ("HBSAG", "COI", 0.1, 0.9, 3),
];

/// One analyzer's stream of messages.
pub struct Worklist {
    kind: Kind,
    serial: String,
    chance: Seeded,
    next: u64,
}

impl Worklist {
    /// Samples are numbered from `first`, so that a peer that starts again need not repeat an id.
    pub fn new(kind: Kind, seed: u64, first: u64) -> Worklist {
        let mut chance = Seeded::new(seed);
        let serial = format!("{}{:05}", if kind == Kind::Hematology { 'A' } else { 'E' }, chance.below(100_000));
        Worklist { kind, serial, chance, next: first }
    }

    /// The next sample's message, measured at `at`. The analyzer's own clock has no zone and is taken for UTC.
    pub fn draw(&mut self, at: Timestamp) -> Message {
        let number = self.next;
        self.next += 1;
        let time = compact(at);
        let (letter, header) = match self.kind {
            Kind::Hematology => ('H', format!("H|\\^&|||XQ-320^00-17^{}^^^^7081||||||||E1394-97|{time}", self.serial)),
            Kind::Immunoassay => ('I', format!("H|\\^&|{number}||IMX 411^{}|||||host||P|LIS2-A2|{time}", self.serial)),
        };
        let id = format!("{letter}{number:04}");
        let mut records = vec![header, format!("P|1|||P{:05}", self.chance.below(100_000))];
        let assays: &[Assay] = if self.kind == Kind::Hematology { &BLOOD_COUNT } else { &IMMUNOASSAY };
        // Some analyzers pad the id with blanks in a component of O.4, others write it plainly into O.3.
        records.push(match self.kind {
            Kind::Hematology => format!("O|1||^^{id:>22}^A|^^^CBC|R||{time}||||N||||||||||||||F"),
            Kind::Immunoassay => format!("O|1|{id}|{id}|ALL|R||{time}||||N||||1||||||||||O"),
        });
        for (index, assay) in assays.iter().enumerate() {
            self.result(index + 1, assay, &time, &mut records);
        }
        records.push("L|1|N".to_owned());
        Message { id, records: records.iter().map(|record| latin1(record)).collect() }
    }

    fn result(&mut self, number: usize, assay: &Assay, time: &str, records: &mut Vec<String>) {
        let (code, unit, low, high, decimals) = *assay;
        let span = high - low;
        let value = self.chance.between(low - span / 6.0, high + span / 6.0).max(0.0);
        let (text, flag) = match self.chance.below(60) {
            0 => ("-----".to_owned(), "A"),
            1 if self.kind == Kind::Immunoassay => (format!("<{low:.decimals$}"), "<"),
            _ if value < low => (format!("{value:.decimals$}"), "L"),
            _ if value > high => (format!("{value:.decimals$}"), "H"),
            _ => (format!("{value:.decimals$}"), "N"),
        };
        match self.kind {
            Kind::Hematology => {
                records.push(format!("R|{number}|^^^^{code}^1|{text}|{unit}|{low}^{high}|{flag}||F||||{time}"));
            }
            Kind::Immunoassay => {
                // Qualitative tests carry a code and the cut-off index in one field.
                let text = if code == "HBSAG" { format!("-1^{text}") } else { text };
                records.push(format!("R|{number}|^^^{code}|{text}|{unit}|{low} TO {high}|{flag}||F||lab||{time}|E1"));
                if flag == "A" {
                    records.push("C|1|I|27^Not enough sample|I".to_owned());
                }
            }
        }
    }
}

/// `20261121201403`, as LIS2-A2 writes a time.
pub(super) fn compact(at: Timestamp) -> String {
    at.to_string().chars().filter(char::is_ascii_digit).take(14).collect()
}

/// LIS2-A2's nominal encoding. Every character used here has one byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_different_and_the_same_for_the_same_seed() {
        for kind in [Kind::Hematology, Kind::Immunoassay] {
            let (mut one, mut two) = (Worklist::new(kind, 3, 7), Worklist::new(kind, 3, 7));
            let at = Timestamp(1_795_291_200_000);
            let (first, second) = (one.draw(at), one.draw(at));
            assert_eq!(first, two.draw(at));
            assert_ne!(first.id, second.id);
            assert!(first.id.ends_with("0007"));
            assert_eq!((first.records[0][0], first.records[first.records.len() - 1][0]), (b'H', b'L'));
            let header = String::from_utf8_lossy(&first.records[0]).into_owned();
            assert_eq!(header.split('|').nth(13), Some(compact(at).as_str()), "H.14 is the time");
            assert!(!first.records.iter().flatten().any(|byte| *byte < 0x20), "no control character in a record");
        }
    }
}
