//! How often somebody may guess a passphrase or a pairing code.
//!
//! Invariant: guesses are counted by who makes them, so that nobody can lock somebody else out: whoever has signed in from an
//! address under a name is not held up there by the guesses of others.

use gateway_core::time::Mono;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);
/// Wrong guesses a minute by one address for one name.
const OF_NAME_MAX: u32 = 5;
/// By one address, whatever the names.
const OF_ADDRESS_MAX: u32 = 15;
/// By all together who have never signed in from where they are.
const OF_ALL_MAX: u32 = 60;
/// Addresses and names that have signed in, the latest ones.
const KNOWN_MAX: usize = 64;

/// See above.
#[derive(Default)]
pub struct Attempts {
    began: Mono,
    of_name: HashMap<(IpAddr, String), u32>,
    of_address: HashMap<IpAddr, u32>,
    of_all: u32,
    known: VecDeque<(IpAddr, String)>,
}

impl Attempts {
    /// Counts an attempt as a wrong one until it is told to be right. The error: how many seconds to wait.
    pub fn admit(&mut self, now: Mono, address: IpAddr, name: &str) -> Result<(), u32> {
        let gone = now.since(self.began);
        if gone >= WINDOW {
            (self.began, self.of_all) = (now, 0);
            self.of_name.clear();
            self.of_address.clear();
        }
        let key = (address, name.to_owned());
        let is_known = self.known.contains(&key);
        let of_name = self.of_name.get(&key).copied().unwrap_or(0);
        let of_address = self.of_address.get(&address).copied().unwrap_or(0);
        let is_full = of_name >= OF_NAME_MAX || of_address >= OF_ADDRESS_MAX;
        if is_full || (!is_known && self.of_all >= OF_ALL_MAX) {
            let left = WINDOW.saturating_sub(now.since(self.began)).as_secs();
            return Err(u32::try_from(left).unwrap_or(u32::MAX).max(1));
        }
        *self.of_name.entry(key).or_default() += 1;
        *self.of_address.entry(address).or_default() += 1;
        self.of_all += u32::from(!is_known);
        Ok(())
    }

    /// The attempt was right: it does not count, and this name is known at this address.
    pub fn succeed(&mut self, address: IpAddr, name: &str) {
        let key = (address, name.to_owned());
        if let Some(wrong) = self.of_name.remove(&key)
            && let Some(of_address) = self.of_address.get_mut(&address)
        {
            *of_address = of_address.saturating_sub(wrong);
        }
        if !self.known.contains(&key) {
            self.of_all = self.of_all.saturating_sub(1);
            self.known.truncate(KNOWN_MAX - 1);
            self.known.push_front(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn guesses_are_slowed_down_for_a_minute() {
        let mut attempts = Attempts::default();
        for _ in 0..OF_NAME_MAX {
            assert_eq!(attempts.admit(at(100), address(1), "anna"), Ok(()));
        }
        assert_eq!(attempts.admit(at(110), address(1), "anna"), Err(50));
        assert_eq!(attempts.admit(at(110), address(2), "anna"), Ok(()), "another address is not held up");
        assert_eq!(attempts.admit(at(160), address(1), "anna"), Ok(()));
    }

    #[test]
    fn nobody_is_locked_out_by_others() {
        let mut attempts = Attempts::default();
        attempts.admit(at(100), address(1), "anna").unwrap();
        attempts.succeed(address(1), "anna");
        let mut guesses = 0;
        for from in 2..=255 {
            for name in ["anna", "b", "c", "d"] {
                guesses += u32::from(attempts.admit(at(101), address(from), name).is_ok());
            }
        }
        assert_eq!(guesses, OF_ALL_MAX);
        assert!(attempts.admit(at(102), address(9), "stranger").is_err());
        assert_eq!(attempts.admit(at(102), address(1), "anna"), Ok(()));
    }

    #[test]
    fn names_are_not_a_way_around_the_bound_of_an_address() {
        let mut attempts = Attempts::default();
        let admitted = (0..100).filter(|name| attempts.admit(at(100), address(1), &name.to_string()).is_ok()).count();
        assert_eq!(admitted, OF_ADDRESS_MAX as usize);
    }
}
