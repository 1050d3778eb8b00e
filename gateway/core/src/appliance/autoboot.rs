//! Which half of the card a Raspberry Pi 4 or 5 starts: `autoboot.txt`, and what RAUC asks of whoever looks after it.
//!
//! The firmware starts `[all] boot_partition`; after a restart that asks for it (`reboot "0 tryboot"`) it starts `[tryboot]
//! boot_partition` once, and forgets that with the next reset (Raspberry Pi documentation, "autoboot.txt" and "tryboot"). So
//! `[all]` is the system that stays and `[tryboot]` always the other one; a new system is tried by asking and stays by exchanging
//! the two numbers.
//!
//! Invariant: the file has the same length whatever it says, and fits one sector of the card. So it is changed by writing that one
//! sector, which a power cut leaves old or new; its entry in the folder and its place stay as they are.

use serde::{Deserialize, Serialize};

/// A sector of the card, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// One half of the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub const BOTH: [Slot; 2] = [Slot::A, Slot::B];

    /// Reads `A` or `B`, as RAUC and the kernel's command line have it.
    pub fn read(word: &str) -> Option<Slot> {
        match word {
            "A" => Some(Slot::A),
            "B" => Some(Slot::B),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Slot::A => "A",
            Slot::B => "B",
        }
    }

    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// The number of the partition with its kernel: 1 is the one that any laptop reads.
    fn partition(self) -> u8 {
        match self {
            Slot::A => 2,
            Slot::B => 3,
        }
    }
}

/// The file that makes this slot the one that stays.
pub fn text(stays: Slot) -> String {
    let (stays, other) = (stays.partition(), stays.other().partition());
    format!(
        "# Which half of the card is started. The gateway's updates write it; do not edit.\n\
         [all]\ntryboot_a_b=1\nboot_partition={stays}\n[tryboot]\nboot_partition={other}\n"
    )
}

/// Which slot this file makes the one that stays; `None`: it is none of ours.
pub fn read(file: &str) -> Option<Slot> {
    Slot::BOTH.into_iter().find(|slot| text(*slot) == file)
}

/// What is remembered beside the file: `boot-slots.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slots {
    /// Started once when the box restarts for it.
    #[serde(default)]
    pub tried: Option<Slot>,
    /// Not to be started.
    #[serde(default)]
    pub a_bad: bool,
    #[serde(default)]
    pub b_bad: bool,
}

/// What has to be written, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub slots: Slots,
    /// The slot that `autoboot.txt` has to name from now on; `None`: it stays.
    pub stays: Option<Slot>,
}

impl Slots {
    pub fn is_bad(self, slot: Slot) -> bool {
        match slot {
            Slot::A => self.a_bad,
            Slot::B => self.b_bad,
        }
    }

    fn marked(mut self, slot: Slot, bad: bool) -> Slots {
        match slot {
            Slot::A => self.a_bad = bad,
            Slot::B => self.b_bad = bad,
        }
        self
    }

    /// `get-primary`: what the next orderly restart starts.
    pub fn primary(self, stays: Slot) -> Slot {
        self.tried.filter(|tried| !self.is_bad(*tried)).unwrap_or(stays)
    }

    /// `set-primary`: the slot is tried with the next restart; it stays only once it is marked good.
    pub fn with_primary(self, slot: Slot, stays: Slot) -> Slots {
        Slots { tried: (slot != stays).then_some(slot), ..self }.marked(slot, false)
    }

    /// `set-state`: a good slot that runs is the one that stays from now on. A bad one is not tried; if it was the one that stays,
    /// the other one is.
    pub fn with_state(self, slot: Slot, good: bool, stays: Slot, runs: Option<Slot>) -> Change {
        let slots = self.marked(slot, !good);
        match good {
            true if runs == Some(slot) => {
                let stays = (stays != slot).then_some(slot);
                Change { slots: Slots { tried: slots.tried.filter(|tried| *tried != slot), ..slots }, stays }
            }
            true => Change { slots, stays: None },
            false => {
                let tried = slots.tried.filter(|tried| *tried != slot);
                let stays = (stays == slot && !slots.is_bad(slot.other())).then_some(slot.other());
                Change { slots: Slots { tried, ..slots }, stays }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_differs_in_two_digits_of_one_sector() {
        let (a, b) = (text(Slot::A), text(Slot::B));
        assert_eq!(a.len(), b.len());
        assert!(a.len() <= SECTOR_BYTES);
        assert_eq!(a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count(), 2);
        assert_eq!((read(&a), read(&b), read("boot_partition=2\n")), (Some(Slot::A), Some(Slot::B), None));
    }

    #[test]
    fn a_new_system_is_tried_once_and_stays_when_it_is_good() {
        // As RAUC installs to B: bad while it is written, then the one to be tried.
        let begun = Slots::default().with_state(Slot::B, false, Slot::A, Some(Slot::A));
        assert_eq!((begun.slots.primary(Slot::A), begun.stays), (Slot::A, None));
        let tried = begun.slots.with_primary(Slot::B, Slot::A);
        assert_eq!(tried.primary(Slot::A), Slot::B);
        let good = tried.with_state(Slot::B, true, Slot::A, Some(Slot::B));
        assert_eq!((good.stays, good.slots), (Some(Slot::B), Slots::default()));
        let again = good.slots.with_state(Slot::B, true, Slot::B, Some(Slot::B));
        assert_eq!(again, Change { slots: Slots::default(), stays: None }, "a second word changes nothing");
    }

    #[test]
    fn a_bad_one_is_not_tried_again_and_the_old_one_stays() {
        let tried = Slots::default().with_primary(Slot::B, Slot::A);
        let bad = tried.with_state(Slot::B, false, Slot::A, Some(Slot::B));
        assert_eq!((bad.stays, bad.slots.primary(Slot::A)), (None, Slot::A));
        // Back to the one before, after it had stayed.
        let back = Slots::default().with_state(Slot::B, false, Slot::B, Some(Slot::B));
        assert_eq!(back.stays, Some(Slot::A));
        let both = Slots { a_bad: true, ..Slots::default() }.with_state(Slot::B, false, Slot::B, Some(Slot::B));
        assert_eq!(both.stays, None, "never to one that is bad as well");
    }

    #[test]
    fn there_is_always_a_slot_to_start() {
        for tried in [None, Some(Slot::A), Some(Slot::B)] {
            for (a_bad, b_bad) in [(false, false), (true, false), (false, true), (true, true)] {
                for stays in Slot::BOTH {
                    let slots = Slots { tried, a_bad, b_bad };
                    assert!(Slot::BOTH.contains(&slots.primary(stays)));
                    for (slot, good) in [(Slot::A, true), (Slot::A, false), (Slot::B, true), (Slot::B, false)] {
                        let change = slots.with_state(slot, good, stays, Some(stays));
                        assert!(read(&text(change.stays.unwrap_or(stays))).is_some());
                    }
                }
            }
        }
    }
}
