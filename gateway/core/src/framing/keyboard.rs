//! The keys of a keyboard as the Linux kernel numbers them (`linux/input-event-codes.h`), as bytes: what a scanner that
//! types like a keyboard would have sent over a serial line. The layout is the US one, which scanners have unless somebody
//! has set them otherwise.
//!
//! Invariant: a key that cannot be read gives [`UNREADABLE`], never nothing: an id with a letter missing would be another
//! sample's.

/// Stands for a key without a character here (ASCII SUB). No id holds it.
pub const UNREADABLE: u8 = 0x1a;

const EV_SYN: u16 = 0;
const SYN_DROPPED: u16 = 3;
const EV_KEY: u16 = 1;
/// Rows of keys that follow each other: the first code, their characters, and those with shift.
const ROWS: [(u16, &[u8], &[u8]); 10] = [
    (2, b"1234567890-=", b"!@#$%^&*()_+"),
    (15, b"\tqwertyuiop[]\r", b"\tQWERTYUIOP{}\r"),
    (30, b"asdfghjkl;'`", b"ASDFGHJKL:\"~"),
    (43, b"\\zxcvbnm,./", b"|ZXCVBNM<>?"),
    (55, b"*", b"*"),
    (57, b" ", b" "),
    (71, b"789-456+1230.", b"789-456+1230."),
    (96, b"\r", b"\r"),
    (98, b"/", b"/"),
    (117, b"=", b"="),
];
const CAPS_LOCK: u16 = 58;
/// Num lock, scroll lock, the two logo keys: pressed by some scanners around a code, without a meaning for it.
const SILENT: [u16; 4] = [69, 70, 125, 126];

/// The modifiers' state between two keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keyboard {
    shift: Pair,
    control: Pair,
    alt: Pair,
    caps: bool,
}

/// The left and the right one of a modifier.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    left: bool,
    right: bool,
}

impl Pair {
    fn held(self) -> bool {
        self.left || self.right
    }
}

impl Keyboard {
    /// Takes one `struct input_event` of the kernel, in this machine's byte order: a time, whose length differs between
    /// machines, then type, code and value in 8 bytes.
    pub fn event(&mut self, record: &[u8]) -> Option<u8> {
        let [.., t0, t1, c0, c1, v0, v1, v2, v3] = record else { return None };
        let kind = u16::from_ne_bytes([*t0, *t1]);
        let code = u16::from_ne_bytes([*c0, *c1]);
        let value = i32::from_ne_bytes([*v0, *v1, *v2, *v3]);
        match (kind, code) {
            (EV_KEY, code) => self.key(code, value),
            // The kernel's own memory was full, and keys are lost.
            (EV_SYN, SYN_DROPPED) => Some(UNREADABLE),
            _ => None,
        }
    }

    /// Takes a key's code and value: 0 released, 1 pressed, 2 held down, which a scanner does not mean.
    pub fn key(&mut self, code: u16, value: i32) -> Option<u8> {
        let is_down = value != 0;
        match code {
            29 => self.control.left = is_down,
            97 => self.control.right = is_down,
            42 => self.shift.left = is_down,
            54 => self.shift.right = is_down,
            56 => self.alt.left = is_down,
            100 => self.alt.right = is_down,
            CAPS_LOCK => self.caps ^= value == 1,
            _ if value != 1 || SILENT.contains(&code) => {}
            // A character given by its number on the keypad, or by another layout's third level.
            _ if self.alt.held() => return Some(UNREADABLE),
            _ => return Some(self.character(code).unwrap_or(UNREADABLE)),
        }
        None
    }

    fn character(self, code: u16) -> Option<u8> {
        let place = |first: u16| code.checked_sub(first).map(usize::from);
        let (plain, shifted) = ROWS.iter().find_map(|(first, plain, shifted)| {
            let place = place(*first)?;
            Some((*plain.get(place)?, *shifted.get(place)?))
        })?;
        let upper = self.shift.held() ^ (self.caps && plain.is_ascii_alphabetic());
        let character = if upper { shifted } else { plain };
        // Control and a letter or a sign: how scanners type the separators of GS1 codes.
        Some(if self.control.held() { character & 0x1f } else { character })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presses and releases each key in turn; a negative one is with shift.
    fn typed(keys: &[i16]) -> Vec<u8> {
        let mut keyboard = Keyboard::default();
        let mut bytes = Vec::new();
        for key in keys {
            let code = key.unsigned_abs();
            let shift = if *key < 0 { [(42, 1), (42, 0)].to_vec() } else { Vec::new() };
            bytes.extend(shift.first().and_then(|(shift, value)| keyboard.key(*shift, *value)));
            bytes.extend(keyboard.key(code, 1));
            bytes.extend(keyboard.key(code, 2));
            bytes.extend(keyboard.key(code, 0));
            bytes.extend(shift.last().and_then(|(shift, value)| keyboard.key(*shift, *value)));
        }
        bytes
    }

    #[test]
    fn every_key_of_the_us_layout_gives_its_character() {
        assert_eq!(typed(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]), b"1234567890-=");
        assert_eq!(typed(&[-2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13]), b"!@#$%^&*()_+");
        assert_eq!(typed(&[16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]), b"qwertyuiop[]\r");
        assert_eq!(typed(&[-30, -31, -32, -33, -34, -35, -36, -37, -38, -39, -40, -41]), b"ASDFGHJKL:\"~");
        assert_eq!(typed(&[43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 57]), b"\\zxcvbnm,./ ");
        assert_eq!(typed(&[71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 55, 98, 96]), b"789-456+1230.*/\r");
    }

    #[test]
    fn caps_lock_turns_letters_and_nothing_else() {
        assert_eq!(typed(&[58, 30, 2, -30, 58, 30]), b"A1aa");
    }

    #[test]
    fn what_has_no_character_is_never_left_out() {
        // F1, and a digit of a character typed by its number.
        assert_eq!(typed(&[30, 59, 31]), [b'a', UNREADABLE, b's']);
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.key(56, 1), None);
        assert_eq!(keyboard.key(79, 1), Some(UNREADABLE));
        assert_eq!((keyboard.key(56, 0), keyboard.key(79, 1)), (None, Some(b'1')));
        // Control and ]: the group separator.
        assert_eq!((keyboard.key(29, 1), keyboard.key(27, 1)), (None, Some(0x1d)));
    }

    #[test]
    fn a_record_of_the_kernel_is_read_whatever_its_time_is_long() {
        for time in [8, 16] {
            let record = |kind: u16, code: u16, value: i32| {
                let mut bytes = vec![0xaa; time];
                bytes.extend([kind.to_ne_bytes(), code.to_ne_bytes()].concat());
                bytes.extend(value.to_ne_bytes());
                bytes
            };
            let mut keyboard = Keyboard::default();
            assert_eq!(keyboard.event(&record(EV_KEY, 42, 1)), None);
            assert_eq!(keyboard.event(&record(EV_KEY, 31, 1)), Some(b'S'));
            assert_eq!(keyboard.event(&record(EV_SYN, 0, 0)), None);
            assert_eq!(keyboard.event(&record(4, 4, 458_774)), None);
            assert_eq!(keyboard.event(&record(EV_SYN, SYN_DROPPED, 0)), Some(UNREADABLE));
        }
        assert_eq!(Keyboard::default().event(&[1, 2, 3]), None);
    }
}
