//! What a page that stays open fetches again and again: the same test while it runs, the same list while it grows.
//!
//! Invariant: the first look of a person at anything is in the audit log, and the next one ten minutes later at the latest; a
//! look further back is a look at something else. Programs' reads are all in it.

use super::Api;
use super::auth::{Client, is_page};
use super::problem::Problem;
use gateway_core::time::Mono;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So long one entry stands for what follows.
const LOOK: Duration = Duration::from_secs(600);
/// Looks that are remembered; beyond them each is written down.
const LOOKS_MAX: usize = 512;

/// Who looked at what: how far back, and since when.
#[derive(Default)]
pub struct Looks(Mutex<HashMap<(String, String), (i64, Mono)>>);

impl Looks {
    /// Whether this look is one to write down.
    fn is_new(&self, now: Mono, client: &str, what: &str, lowest: i64) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.to_owned(), what.to_owned());
        if looks.get(&key).is_some_and(|(known, since)| lowest >= *known && now.since(*since) < LOOK) {
            return false;
        }
        if looks.len() >= LOOKS_MAX {
            looks.retain(|_, (_, since)| now.since(*since) < LOOK);
        }
        if looks.len() < LOOKS_MAX {
            looks.insert(key, (lowest, now));
        }
        true
    }
}

impl Api {
    /// Writes a read into the audit log, unless it is a person's page that looks at the same again. `what` and `lowest` say what is
    /// the same: the list or the test, and how far back a list goes. A `+` behind the object says that what followed is meant too.
    pub(super) async fn audit_look(
        &self,
        client: &Client,
        (what, lowest): (&str, i64),
        object: &str,
    ) -> Result<(), Problem> {
        if !is_page(&client.id) {
            return self.audit(&client.id, "read", object, "ok").await;
        }
        if !self.looks.is_new(self.mono(), &client.id, what, lowest) {
            return Ok(());
        }
        self.audit(&client.id, "read", &format!("{object}+"), "ok").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn a_look_counts_once_in_ten_minutes_and_another_one_by_itself() {
        let looks = Looks::default();
        assert!(looks.is_new(at(0), "page:anna", "tests", 12));
        assert!(!looks.is_new(at(599), "page:anna", "tests", 13), "the list has grown");
        assert!(looks.is_new(at(599), "page:anna", "tests", 11), "further back");
        assert!(looks.is_new(at(599), "page:ben", "tests", 12));
        assert!(looks.is_new(at(599), "page:anna", "test/7", 0));
        assert!(looks.is_new(at(1_200), "page:anna", "tests", 13));
    }

    #[test]
    fn beyond_the_bound_each_look_counts() {
        let looks = Looks::default();
        for number in 0..LOOKS_MAX {
            assert!(looks.is_new(at(1), "page:anna", &number.to_string(), 0));
        }
        assert!(looks.is_new(at(2), "page:anna", "more", 0) && looks.is_new(at(2), "page:anna", "more", 0));
        assert!(!looks.is_new(at(2), "page:anna", "0", 0));
        assert!(looks.is_new(at(700), "page:anna", "more", 0) && !looks.is_new(at(700), "page:anna", "more", 0));
    }
}
