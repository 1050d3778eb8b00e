//! From bytes that make no sense to the line setting with which they would.
//!
//! Four clues, the surest first: what every conversation begins with, sent at another setting and read at ours
//! ([`super::heard`]); an eighth bit that is the parity of the other seven in every byte; bytes that a receiver can only read
//! when the sender is slower; NULs in the place of bytes whose parity was wrong. Bytes that read well raise no suspicion.

use super::{Faulty, Parity, Receiver, Uart, heard};
use std::collections::BTreeSet;
use std::fmt;

/// The speeds that analyzers use, the likeliest first.
const BAUDS: [u32; 9] = [9600, 19_200, 4800, 38_400, 2400, 115_200, 57_600, 1200, 600];
/// So much of what was received is looked at.
const LOOKED_BYTES_MAX: usize = 2048;
/// Openings that match in fewer bytes may be chance.
const OPENING_BYTES_MIN: usize = 4;
/// A question that nobody answers, this often.
const ENQUIRIES_MIN: usize = 3;
/// A clue that each byte gives needs so many of them.
const BYTES_MIN: usize = 16;
/// Fewer different bytes say nothing of a speed.
const KINDS_MIN: usize = 4;

/// How ASTM and HL7 messages begin: after STX, after VT, and without a frame.
const OPENINGS: [&[u8]; 4] = [b"\x021H|\\^&|||", b"\x0bMSH|^~\\&|", b"H|\\^&|||", b"<?xml version=\"1.0\""];
const ENQ: u8 = 0x05;
const EOT: u8 = 0x04;

/// A setting and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    pub settings: Uart,
    /// Whether only the speed is known, and not the format.
    pub is_only_speed: bool,
    pub evidence: String,
}

/// `these look like 7E1 at 4800: ...`
impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uart { baud, .. } = self.settings;
        match self.is_only_speed {
            true => write!(f, "these look like {baud} baud: {}", self.evidence),
            false => write!(f, "these look like {} at {baud}: {}", self.settings.format(), self.evidence),
        }
    }
}

/// What the sender's setting probably is, if these bytes were read with another one.
pub fn suspicion(bytes: &[u8], read_at: &Uart) -> Option<Suspicion> {
    let bytes = &bytes[..bytes.len().min(LOOKED_BYTES_MAX)];
    let readable = bytes.iter().filter(|byte| is_text(**byte)).count();
    if bytes.len() >= OPENING_BYTES_MIN && readable * 10 >= bytes.len() * 9 && !is_enquiries(bytes) {
        return None;
    }
    enquiries(bytes, read_at)
        .or_else(|| opening(bytes, read_at))
        .or_else(|| parity(bytes, read_at))
        .or_else(|| nuls(bytes, read_at))
        .or_else(|| slower(bytes, read_at))
}

fn is_text(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || matches!(byte, b'\t' | b'\r' | b'\n' | 2..=6 | 0x0b | 0x0c | 0x15 | 0x17 | 0x1c)
}

/// Two bytes at most, again and again: what reads like text may be a question at another speed.
fn is_enquiries(bytes: &[u8]) -> bool {
    let kinds: BTreeSet<u8> = bytes.iter().copied().collect();
    kinds.len() <= 3 && !kinds.contains(&ENQ)
}

/// Settings that bytes may have been sent with, each next one rarer.
fn senders(read_at: &Uart) -> impl Iterator<Item = Uart> + '_ {
    let formats = |baud| {
        let eight = |parity| Uart { parity, ..Uart::plain(baud) };
        let seven = |parity| Uart::seven(baud, parity);
        [Uart::plain(baud), seven(Parity::Even), seven(Parity::Odd), eight(Parity::Even), eight(Parity::Odd)]
    };
    BAUDS.into_iter().flat_map(formats).filter(move |uart| uart != read_at)
}

/// Every kind of receiver that may have read.
fn receivers(uart: Uart) -> Vec<Receiver> {
    let fates: &[Faulty] = match uart.parity {
        Parity::None => &[Faulty::Kept, Faulty::Dropped],
        Parity::Even | Parity::Odd => &[Faulty::Zero],
    };
    let mut kinds = Vec::new();
    for faulty in fates {
        for hasty in [false, true] {
            for phase_thousandths in [500, 470, 530] {
                kinds.push(Receiver { uart, faulty: *faulty, hasty, phase_thousandths });
            }
        }
    }
    kinds
}

/// ENQ and nothing else, with EOT where the sender gave up.
fn enquiries(bytes: &[u8], read_at: &Uart) -> Option<Suspicion> {
    for sender in senders(read_at).filter(|sender| sender.baud != read_at.baud) {
        for receiver in receivers(*read_at) {
            let (enq, eot) = (heard(&[ENQ], &sender, &receiver), heard(&[EOT], &sender, &receiver));
            if enq.iter().all(|byte| matches!(byte, 0 | 0xff)) || enq == eot {
                continue;
            }
            let (mut rest, mut asked) = (bytes, 0);
            loop {
                match (rest.strip_prefix(enq.as_slice()), rest.strip_prefix(eot.as_slice())) {
                    (Some(after), _) => (rest, asked) = (after, asked + 1),
                    (None, Some(after)) if !eot.is_empty() => rest = after,
                    _ => break,
                }
            }
            if rest.is_empty() && asked >= ENQUIRIES_MIN {
                let evidence = format!("{asked} times what an ENQ of that speed is read as at {read_at}");
                return Some(Suspicion { settings: sender, is_only_speed: true, evidence });
            }
        }
    }
    None
}

fn opening(bytes: &[u8], read_at: &Uart) -> Option<Suspicion> {
    let mut best: Option<(usize, Suspicion)> = None;
    for sender in senders(read_at) {
        for receiver in receivers(*read_at) {
            for opening in OPENINGS {
                let mut expected = heard(opening, &sender, &receiver);
                // How the last byte is read depends on what follows.
                expected.pop();
                let kinds: BTreeSet<u8> = expected.iter().copied().collect();
                let told = expected.len();
                if told < OPENING_BYTES_MIN || kinds.len() < 3 || best.as_ref().is_some_and(|(known, _)| *known >= told)
                {
                    continue;
                }
                if bytes.windows(told).any(|window| window == expected) {
                    let words = opening.escape_ascii();
                    let evidence = format!("{told} bytes in a row are what \"{words}\" is read as at {read_at}");
                    best = Some((told, Suspicion { settings: sender, is_only_speed: false, evidence }));
                }
            }
        }
    }
    best.map(|(_, suspicion)| suspicion)
}

/// Seven bits and a parity bit, read as eight.
fn parity(bytes: &[u8], read_at: &Uart) -> Option<Suspicion> {
    if read_at.data_bits != 8 || read_at.parity != Parity::None {
        return None;
    }
    let told: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, 0 | 0xff)).collect();
    let readable = told.iter().filter(|byte| is_text(**byte & 0x7f)).count();
    if told.len() < BYTES_MIN || readable * 10 < told.len() * 9 || told.iter().all(|byte| *byte < 0x80) {
        return None;
    }
    let even = told.iter().filter(|byte| byte.count_ones() % 2 == 0).count();
    let most = told.len() * 49 / 50;
    let (parity, fitting) = match even {
        even if even >= most => (Parity::Even, even),
        even if told.len() - even >= most => (Parity::Odd, told.len() - even),
        _ => return None,
    };
    let word = if parity == Parity::Even { "even" } else { "odd" };
    let evidence =
        format!("the eighth bit is the {word} parity of the other seven in {fitting} of {} bytes", told.len());
    Some(Suspicion { settings: Uart::seven(read_at.baud, parity), is_only_speed: false, evidence })
}

/// A receiver that checks parity reads NULs where it is wrong.
fn nuls(bytes: &[u8], read_at: &Uart) -> Option<Suspicion> {
    if read_at.parity == Parity::None || bytes.len() < BYTES_MIN {
        return None;
    }
    let nuls = bytes.iter().filter(|byte| **byte == 0).count();
    let readable = bytes.iter().filter(|byte| is_text(**byte)).count();
    let of = bytes.len();
    if nuls * 20 >= of * 19 {
        let parity = if read_at.parity == Parity::Even { Parity::Odd } else { Parity::Even };
        let evidence = format!("the parity was wrong in {nuls} of {of} bytes");
        return Some(Suspicion { settings: Uart { parity, ..*read_at }, is_only_speed: false, evidence });
    }
    let mixed = nuls * 5 >= of && (nuls + readable) * 20 >= of * 19;
    mixed.then(|| Suspicion {
        settings: Uart::plain(read_at.baud),
        is_only_speed: false,
        evidence: format!("the parity was wrong in {nuls} of {of} bytes, and the others can be read"),
    })
}

/// A slower sender's bits are several of ours, so few bytes can be read at all.
fn slower(bytes: &[u8], read_at: &Uart) -> Option<Suspicion> {
    let kinds: BTreeSet<u8> = bytes.iter().copied().collect();
    if bytes.len() < BYTES_MIN || read_at.data_bits != 8 || read_at.parity != Parity::None {
        return None;
    }
    // What comes from a sender slower still leaves too little to tell its speed.
    for baud in [read_at.baud / 4, read_at.baud / 2].into_iter().filter(|baud| BAUDS.contains(baud)) {
        let possible = readable_of_slower(read_at.baud, baud);
        let of_half = readable_of_slower(read_at.baud, baud / 2);
        let fitting = bytes.iter().filter(|byte| possible.contains(byte)).count();
        let telling = bytes.iter().filter(|byte| !of_half.contains(byte)).count();
        if fitting * 20 >= bytes.len() * 19 && telling * 10 >= bytes.len() && kinds.len() >= KINDS_MIN {
            let evidence = format!(
                "{fitting} of {} bytes are among the {} that a slower sender can leave at {read_at}",
                bytes.len(),
                possible.len()
            );
            return Some(Suspicion { settings: Uart::plain(baud), is_only_speed: true, evidence });
        }
    }
    None
}

/// The bytes that can be read of a slower line, whatever is sent on it: from the edge of a start bit, or from a place
/// where a stop bit should have been, once or several times in a row.
fn readable_of_slower(ours: u32, theirs: u32) -> BTreeSet<u8> {
    let per_bit = f64::from(theirs) / f64::from(ours);
    let mut possible = BTreeSet::new();
    for missed in 0..ours / theirs {
        let begins = (f64::from(9 * missed) * per_bit) % 1.0 + per_bit / 2.0;
        let places: Vec<usize> = (0..=8).map(|bit| (begins + f64::from(bit) * per_bit) as usize).collect();
        let last = places.last().copied().unwrap_or_default();
        // The first of the sender's bits is the 0 of the start; the others are anything.
        for bits in 0_u32..1 << last.min(12) {
            let level = |place: usize| place > 0 && bits >> (place - 1) & 1 == 1;
            let byte = (0..8_usize).fold(0_u8, |byte, bit| byte | u8::from(level(places[bit + 1])) << bit);
            possible.insert(byte);
        }
    }
    possible
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &[u8] = b"\x05\x021H|\\^&|||XQ-100^1^A1||||||||LIS2-A2|20260112093000\rP|1||7731\r\x03A4\r\n\x04";
    const OURS: Uart = Uart::plain(9600);

    fn told(bytes: &[u8], sender: Uart, read_at: Uart) -> Vec<Option<Suspicion>> {
        let read = |receiver: &Receiver| suspicion(&heard(bytes, &sender, receiver), &read_at);
        receivers(read_at).iter().map(read).collect()
    }

    #[test]
    fn what_reads_well_raises_no_suspicion() {
        for text in [RECORDS, b"\x05\x05\x05\x05", b"Glucose   5.4 mmol/L\r\n", b"{\"version\":0}\n", b"", b"\x00\xff"]
        {
            assert_eq!(suspicion(text, &OURS), None, "{}", text.escape_ascii());
        }
        let latin = "Größe µm³, äöü ÄÖÜ".repeat(3);
        assert_eq!(suspicion(latin.as_bytes(), &OURS), None);
    }

    #[test]
    fn seven_bits_with_parity_are_seen_by_the_parity() {
        for (parity, word) in [(Parity::Even, "7E1"), (Parity::Odd, "7O1")] {
            for suspicion in told(RECORDS, Uart::seven(9600, parity), OURS) {
                let suspicion = suspicion.expect("a suspicion");
                assert_eq!(suspicion.settings, Uart::seven(9600, parity), "{suspicion}");
                assert!(suspicion.to_string().starts_with(&format!("these look like {word} at 9600: ")), "{suspicion}");
            }
        }
    }

    #[test]
    fn a_session_at_another_speed_and_format_is_named_with_both() {
        let session = &RECORDS[1..];
        for sender in [Uart::plain(4800), Uart::seven(4800, Parity::Even), Uart::seven(2400, Parity::Odd)] {
            let found = told(session, sender, OURS);
            let right = found.iter().flatten().filter(|suspicion| suspicion.settings == sender).count();
            assert!(right * 2 >= found.len(), "{sender}: {found:?}");
            for suspicion in found.iter().flatten() {
                assert_eq!(suspicion.settings.baud, sender.baud, "{sender}: {suspicion}");
            }
        }
    }

    #[test]
    fn a_faster_sender_is_known_by_how_a_message_begins() {
        let found = told(&RECORDS[1..], Uart::plain(19_200), OURS);
        let right = found.iter().flatten().filter(|suspicion| suspicion.settings.baud == 19_200).count();
        assert!(right > 0, "{found:?}");
    }

    #[test]
    fn a_question_that_nobody_answers_is_known_at_another_speed() {
        for baud in [4800, 2400, 19_200] {
            let receiver = Receiver { uart: OURS, faulty: Faulty::Kept, hasty: false, phase_thousandths: 470 };
            let once = heard(&[ENQ], &Uart::plain(baud), &receiver);
            let suspicion = suspicion(&once.repeat(4), &OURS).expect("a suspicion");
            assert_eq!((suspicion.settings.baud, suspicion.is_only_speed), (baud, true), "{suspicion}");
        }
    }

    #[test]
    fn a_printout_at_half_the_speed_is_known_by_the_bytes_that_can_be_read_at_all() {
        let printout = b"Sample 4711  pH 7.41  pCO2 38.1 mmHg  Na+ 139 mmol/L\r\n".repeat(2);
        for baud in [4800, 2400] {
            for suspicion in told(&printout, Uart::plain(baud), OURS).into_iter().flatten() {
                assert_eq!(suspicion.settings.baud, baud, "{suspicion}");
            }
        }
    }

    #[test]
    fn parity_checking_shows_a_sender_without_parity() {
        let seven = Uart::seven(9600, Parity::Even);
        for suspicion in told(RECORDS, OURS, seven) {
            assert_eq!(suspicion.expect("a suspicion").settings, OURS);
        }
        for suspicion in told(RECORDS, Uart::seven(9600, Parity::Odd), seven) {
            assert_eq!(suspicion.expect("a suspicion").settings, Uart::seven(9600, Parity::Odd));
        }
    }

    #[test]
    fn noise_is_not_taken_for_a_setting() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .take(2000)
        .collect();
        for part in noise.chunks(100) {
            assert_eq!(suspicion(part, &OURS), None);
        }
    }
}
