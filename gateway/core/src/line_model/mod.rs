//! A serial line as a pure function: what a receiver with one setting reads of bytes that were sent with another.
//!
//! A byte is a start bit (0), its data bits with the lowest first, perhaps a parity bit, and stop bits (1); between two bytes
//! the line stays at 1. A receiver waits for the fall from 1 to 0 and looks at the middle of each bit that it then expects.
//! Receivers differ in three things, and so a [`Receiver`] says which: what it does after a stop bit that is none, whether
//! the system passes such a byte on, and how exact its clock is. Invariant: the same setting on both ends changes nothing.

mod suspicion;

pub use suspicion::{Suspicion, suspicion};

use std::fmt;

/// `parity`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    #[default]
    None,
    Even,
    Odd,
}

/// How a serial line is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uart {
    /// Bits a second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

impl Uart {
    /// Eight bits, no parity, one stop bit.
    pub const fn plain(baud: u32) -> Uart {
        Uart { baud, data_bits: 8, parity: Parity::None, stop_bits: 1 }
    }

    /// Seven bits and a parity bit.
    pub const fn seven(baud: u32, parity: Parity) -> Uart {
        Uart { baud, data_bits: 7, parity, stop_bits: 1 }
    }

    /// `7E1`
    pub fn format(&self) -> String {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        format!("{}{parity}{}", self.data_bits, self.stop_bits)
    }
}

/// `9600 8N1`
impl fmt::Display for Uart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.baud, self.format())
    }
}

/// What becomes of a byte whose stop bit or parity is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faulty {
    /// It is passed on as it was read: Linux without parity checking (`INPCK` off), on most adapters.
    Kept,
    /// It is left out: Linux with `IGNPAR` on a 16550.
    Dropped,
    /// A NUL is passed on in its place: Linux with parity checking.
    Zero,
}

/// One kind of receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    pub uart: Uart,
    pub faulty: Faulty,
    /// After a stop bit that is none: takes it for the next start bit at once, as the 16550 does; else waits for the line to
    /// rise and fall.
    pub hasty: bool,
    /// When within a bit it looks, in thousandths of the bit: 500 but for a clock that is not exact.
    pub phase_thousandths: u32,
}

/// The bits of these bytes, one after the other without a pause; before and after them the line is at 1.
fn waveform(bytes: &[u8], uart: &Uart) -> Vec<bool> {
    let mut bits = Vec::with_capacity(bytes.len() * 12);
    for byte in bytes {
        bits.push(false);
        let data = (0..uart.data_bits).map(|place| byte >> place & 1 == 1);
        let ones = data.clone().filter(|bit| *bit).count();
        bits.extend(data);
        match uart.parity {
            Parity::None => {}
            Parity::Even => bits.push(ones % 2 == 1),
            Parity::Odd => bits.push(ones % 2 == 0),
        }
        bits.extend(std::iter::repeat_n(true, usize::from(uart.stop_bits)));
    }
    bits
}

/// What this receiver reads when these bytes are sent without a pause after a silence.
pub fn heard(sent: &[u8], sender: &Uart, receiver: &Receiver) -> Vec<u8> {
    let line = Wave { bits: waveform(sent, sender), per_bit: f64::from(sender.baud) / f64::from(receiver.uart.baud) };
    let mut read = Vec::new();
    let mut start = line.fall(None);
    while let Some(at) = start {
        let phase = f64::from(receiver.phase_thousandths) / 1000.0;
        let look = |bit: u8| at + (f64::from(bit) + phase) * line.per_bit;
        if line.level(look(0)) {
            // Too short for a start bit.
            start = line.fall(Some(look(0)));
            continue;
        }
        let parity_bits = u8::from(receiver.uart.parity != Parity::None);
        let stop = 1 + receiver.uart.data_bits + parity_bits;
        let bit = |place: u8| line.level(look(place));
        let byte = (0..receiver.uart.data_bits).fold(0_u8, |byte, place| byte | u8::from(bit(1 + place)) << place);
        let whole = bit(stop);
        let even = (1..stop).filter(|place| bit(*place)).count() % 2 == 0;
        let is_good = whole
            && match receiver.uart.parity {
                Parity::None => true,
                Parity::Even => even,
                Parity::Odd => !even,
            };
        match receiver.faulty {
            _ if is_good => read.push(byte),
            Faulty::Kept => read.push(byte),
            Faulty::Zero => read.push(0),
            Faulty::Dropped => {}
        }
        start = match whole || !receiver.hasty {
            true => line.fall(Some(look(stop))),
            false => Some(at + f64::from(stop) * line.per_bit),
        };
    }
    read
}

/// The line over time, counted in the sender's bits.
struct Wave {
    bits: Vec<bool>,
    /// The sender's bits in one bit of the receiver.
    per_bit: f64,
}

impl Wave {
    fn place(&self, time: f64) -> usize {
        time as usize
    }

    fn level(&self, time: f64) -> bool {
        self.bits.get(self.place(time)).copied().unwrap_or(true)
    }

    /// When the line next falls after that moment, or at all.
    fn fall(&self, after: Option<f64>) -> Option<f64> {
        let falls = |place: &usize| !self.bits[*place] && (*place == 0 || self.bits[place - 1]);
        let first = after.map_or(0, |moment| self.place(moment) + 1);
        (first..self.bits.len()).find(falls).map(|place| place as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(uart: Uart) -> Receiver {
        Receiver { uart, faulty: Faulty::Kept, hasty: false, phase_thousandths: 500 }
    }

    #[test]
    fn the_same_setting_on_both_ends_changes_nothing() {
        let bytes: Vec<u8> = (0..=255).collect();
        for uart in [Uart::plain(9600), Uart { stop_bits: 2, ..Uart::plain(1200) }] {
            assert_eq!(heard(&bytes, &uart, &exact(uart)), bytes);
        }
        for parity in [Parity::Even, Parity::Odd] {
            let seven: Vec<u8> = (0..128).collect();
            let uart = Uart::seven(4800, parity);
            assert_eq!(heard(&seven, &uart, &exact(uart)), seven);
            let eight = Uart { parity, ..Uart::plain(4800) };
            assert_eq!(heard(&bytes, &eight, &exact(eight)), bytes);
        }
    }

    #[test]
    fn a_parity_bit_becomes_the_eighth_bit() {
        let even = heard(b"HQ\x02", &Uart::seven(9600, Parity::Even), &exact(Uart::plain(9600)));
        assert_eq!(even, [0x48, 0xd1, 0x82]);
        let odd = heard(b"HQ", &Uart::seven(9600, Parity::Odd), &exact(Uart::plain(9600)));
        assert_eq!(odd, [0xc8, 0x51]);
        let checking = Receiver { faulty: Faulty::Zero, ..exact(Uart::seven(9600, Parity::Even)) };
        assert_eq!(
            heard(b"HQ", &Uart::plain(9600), &checking),
            [b'H', 0],
            "an eighth bit of 0 is the right parity of H"
        );
    }

    #[test]
    fn enq_at_half_the_speed_is_one_byte_with_a_wrong_stop_bit_and_what_follows_from_it() {
        // By hand: 0 1010 0000 1 with each bit twice is 0 01100110 0 ..., the stop bit is none.
        let sender = Uart::plain(4800);
        let receiver = exact(Uart::plain(9600));
        assert_eq!(heard(&[5], &sender, &receiver), [0x66]);
        assert_eq!(heard(&[5], &sender, &Receiver { hasty: true, ..receiver }), [0x66, 0x00]);
        assert_eq!(heard(&[5], &sender, &Receiver { faulty: Faulty::Dropped, ..receiver }), b"");
    }
}
