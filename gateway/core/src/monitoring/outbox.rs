//! Notices that wait for their brokers.
//!
//! Invariant: at most [`KEPT_MAX`] are kept, whoever is away. What had to go before a broker had it is counted for that broker.

use super::{Notice, Publication};
use std::collections::{BTreeMap, VecDeque};

/// Notices kept for brokers that are away; then the oldest go.
pub const KEPT_MAX: usize = 256;

/// The newest notices, numbered, and how far each broker has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outbox {
    kept: VecDeque<Publication>,
    /// The number of the first one kept.
    first: u64,
    /// The number of the next one for each broker.
    places: BTreeMap<&'static str, u64>,
    dropped: u64,
}

impl Outbox {
    /// These brokers read from now on, a new one from the oldest notice that is kept.
    pub fn readers(&mut self, readers: &[&'static str]) {
        self.places.retain(|reader, _| readers.contains(reader));
        for reader in readers {
            self.places.entry(reader).or_insert(self.first);
        }
    }

    pub fn put(&mut self, notice: &Notice) {
        self.kept.push_back(Publication::once(notice.topic(), notice));
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
            self.first += 1;
            for place in self.places.values_mut().filter(|place| **place < self.first) {
                *place = self.first;
                self.dropped += 1;
            }
        }
    }

    /// The number of the next notice that this broker has not acknowledged.
    pub fn place(&self, reader: &str) -> u64 {
        self.places.get(reader).copied().unwrap_or(self.first + self.kept.len() as u64)
    }

    /// The first notice from this number on, and its number.
    pub fn from(&self, number: u64) -> Option<(u64, &Publication)> {
        let number = number.max(self.first);
        let index = usize::try_from(number - self.first).ok()?;
        self.kept.get(index).map(|publication| (number, publication))
    }

    /// This broker has acknowledged everything up to this number.
    pub fn acknowledged(&mut self, reader: &str, number: u64) {
        if let Some(place) = self.places.get_mut(reader) {
            *place = (*place).max(number + 1);
        }
    }

    /// How many notices a broker has not been told, all brokers together.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::NoticeCode;
    use crate::time::Timestamp;

    fn notice(number: i64) -> Notice {
        Notice::new(NoticeCode::Gap, Timestamp(number), "gateway", "a piece is missing")
    }

    #[test]
    fn each_broker_reads_at_its_own_pace_and_what_is_dropped_is_counted() {
        let mut outbox = Outbox::default();
        outbox.readers(&["mqtt", "monitoring"]);
        for number in 0..10 {
            outbox.put(&notice(number));
            outbox.acknowledged("mqtt", number.unsigned_abs());
        }
        assert_eq!((outbox.place("mqtt"), outbox.place("monitoring")), (10, 0));
        assert_eq!(outbox.from(10), None);
        for number in 10..KEPT_MAX as i64 + 5 {
            outbox.put(&notice(number));
        }
        assert_eq!(outbox.dropped(), 5, "five for the one that stood still, none for the other");
        assert_eq!((outbox.place("mqtt"), outbox.place("monitoring")), (10, 5));
        assert_eq!(outbox.from(0).map(|(number, _)| number), Some(5));
        outbox.readers(&["mqtt"]);
        outbox.put(&notice(0));
        assert_eq!(outbox.dropped(), 5, "who does not read misses nothing");
    }
}
