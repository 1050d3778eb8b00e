//! A message that was broken off and is sent again whole: the facts of the second are linked to what was read of the first.
//!
//! The link is `details.resend_of`: the ids of the partial tests in the earlier `MESSAGE_REJECTED`. The repetition is known by
//! its records: all that was whole in the broken message stands at the beginning of the new one, in equal bytes. The header
//! is left out, since it may carry the time of sending.
//!
//! A message without its L that was ended in order counts as whole. If one comes after it that begins with all of it and goes
//! on, the analyzer had given it up all the same (it missed an ACK): what was stated is then the first version of the same tests.

use super::assembly::{record_type, split_records};
use crate::event::{EventKind, Test, TestId};
use serde_json::json;
use sha2::{Digest, Sha256};

/// What is remembered of a message that was broken off.
#[derive(Debug)]
pub(super) struct Broken {
    tests: Vec<TestId>,
    records: usize,
    digest: [u8; 32],
    /// Whether its tests were stated as finished.
    stated: bool,
}

impl Broken {
    /// `None` if nothing was read of it that could be referred to.
    pub fn of(whole_records: &[u8], partial: &[Test]) -> Option<Broken> {
        let tests: Vec<TestId> = partial.iter().map(|test| test.id).collect();
        let records = records(whole_records);
        let stated = false;
        (!tests.is_empty()).then(|| Broken { tests, records: records.len(), digest: digest(&records), stated })
    }

    /// The same of a message without its L that was taken for whole.
    pub fn stated(whole_records: &[u8], facts: &[EventKind]) -> Option<Broken> {
        let tests: Vec<Test> = facts.iter().filter_map(|fact| fact.test.clone()).collect();
        Broken::of(whole_records, &tests).map(|broken| Broken { stated: true, ..broken })
    }

    /// Links the facts of a whole message, if it is the repetition.
    pub fn link(&self, text: &[u8], facts: &mut [EventKind]) {
        let records = records(text);
        if records.get(..self.records).is_none_or(|same| digest(same) != self.digest) {
            return;
        }
        if self.stated {
            // With no more than its L it is the same message, and its identity says so.
            let goes_on = records[self.records..].iter().any(|record| record_type(record) != Some(b'L'));
            let tests = facts.iter_mut().filter_map(|fact| fact.test.as_mut()).filter(|_| goes_on);
            for (test, id) in tests.zip(&self.tests) {
                test.id = *id;
                test.version = 2;
            }
        } else {
            for fact in facts.iter_mut().filter(|fact| fact.test.is_some()) {
                fact.details = Some(json!({ "resend_of": self.tests }));
            }
        }
    }
}

fn records(text: &[u8]) -> Vec<&[u8]> {
    split_records(text).into_iter().filter(|record| record_type(record) != Some(b'H')).collect()
}

fn digest(records: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for record in records {
        hash.update(record);
        hash.update(b"\r");
    }
    hash.finalize().into()
}
