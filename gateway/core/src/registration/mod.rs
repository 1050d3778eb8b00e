//! A registration: a sample expected or received, who it is of, what was ordered, and how far it has come.
//!
//! Everything here is a value and a rule; the store keeps them. Each change gives the events that follow from it
//! ([`follow`]), and those carry ids only.
//! Invariant: what tells who somebody is stands in [`Personal`] values, and no fault quotes a value.

mod follow;
mod order;
mod read;
mod verdict;

pub use follow::{Finished, Linked};
pub use read::{is_lab_id, is_registration_id};
pub use verdict::{Verdict, is_repeat, verdict};

use crate::event::{Personal, RegistrationFact, TestId};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Ids of one sample, at most.
pub const SAMPLE_IDS_MAX: usize = 16;
/// Ordered tests of one registration, at most.
pub const TESTS_MAX: usize = 200;
/// Characters of any text, at most.
pub const TEXT_CHARS_MAX: usize = 200;

/// A test that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderedTest {
    /// The code by which the analyzer or the laboratory knows it.
    pub code: String,
    #[serde(default)]
    pub name: String,
}

/// Who the sample is of. Every part may be absent; a registration with any of them is complete (seed 004).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Patient {
    /// The clinic's id of the patient, as analyzers send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub id: Option<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub given_name: Option<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub family_name: Option<Personal>,
    /// `1980-02-29`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub birth_date: Option<Personal>,
    /// `female`, `male`, `other` or `unknown`, the words of FHIR R4's administrative-gender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub sex: Option<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub email: Option<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub phone: Option<Personal>,
}

impl Patient {
    /// Whether nothing is said at all.
    pub fn is_empty(&self) -> bool {
        *self == Patient::default()
    }
}

/// The integer ids that a partner's systems use (seed 001). The sample's own is the registration's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PartnerIds {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appointment: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<i64>,
}

/// A registration as it is posted. Everything may be absent: `{}` makes one whose id can be printed on a label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistration {
    /// The id that outsiders use, `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`; the gateway makes one like `1234-5678` if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is printed on the tubes; the next test of any of them is linked. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub sample_ids: Vec<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Patient>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<OrderedTest>,
    #[serde(default)]
    pub partner: PartnerIds,
}

/// A change of a registration: what is given replaces what was there, what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub sample_ids: Option<Vec<Personal>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Patient>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Vec<OrderedTest>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<PartnerIds>,
}

/// A sample expected or received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// Its integer id, from 1.
    pub number: i64,
    /// The id that outsiders use.
    pub id: String,
    #[schemars(with = "Vec<String>")]
    pub sample_ids: Vec<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Patient>,
    #[serde(default)]
    pub tests: Vec<OrderedTest>,
    #[serde(default)]
    pub partner: PartnerIds,
    /// The laboratory's own id for it.
    pub lab_id: Option<String>,
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When it had patient details first.
    #[schemars(with = "Option<String>")]
    pub completed_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    pub sample_received_at: Option<Timestamp>,
    /// When its newest results came.
    #[schemars(with = "Option<String>")]
    pub results_at: Option<Timestamp>,
    /// The test of its newest results.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub test: Option<TestId>,
    /// The integer id of its newest results: the place of their `TEST_FINISHED` in the log.
    #[serde(default)]
    pub result: Option<i64>,
    /// When a person verified those results; gone again when newer ones come.
    #[schemars(with = "Option<String>")]
    pub verified_at: Option<Timestamp>,
    /// Who that was: the id that the client gave for the person, else the client's own.
    pub verified_by: Option<String>,
    /// The id of the registration whose sample is tested again here.
    pub retest_of: Option<String>,
    /// When an analyzer took its orders, or its cancellation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub orders_taken_at: Option<Timestamp>,
    /// When its tests were cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cancelled_at: Option<Timestamp>,
    /// The person's data was erased then; only ids and times are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub erased_at: Option<Timestamp>,
}

/// Why a registration is not made or not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no registration with this id")]
    Unknown,
    #[error("there is a registration with this id already")]
    Taken,
    #[error("the person's data of this registration was erased; it cannot be changed any more")]
    Erased,
    #[error("it has another lab id already")]
    OtherLabId,
    #[error("there are no results that could be verified")]
    NoResults,
    #[error("its results have come: there is nothing left to cancel")]
    HasResults,
    #[error("it has no results yet: its order still stands, and an analyzer that asks is told of it")]
    NotRunYet,
    #[error("this Idempotency-Key was used for another request: draw a new key for each request")]
    OtherRequest,
}

impl Registration {
    /// What its events say of it.
    pub fn fact(&self) -> RegistrationFact {
        RegistrationFact {
            id: self.id.clone(),
            number: self.number,
            lab_id: self.lab_id.clone(),
            patient: self.partner.patient,
            appointment: self.partner.appointment,
            location: self.partner.location,
            ..RegistrationFact::default()
        }
    }

    /// Whether the laboratory still has to give it an id.
    pub fn awaits_lab_id(&self) -> bool {
        self.completed_at.is_some() && self.lab_id.is_none() && self.erased_at.is_none()
    }

    /// Whether both say who the sample is of, and it is not the same person.
    pub fn is_of_another(&self, other: &Registration) -> bool {
        match (&self.patient, &other.patient) {
            (Some(Patient { id: Some(one), .. }), Some(Patient { id: Some(other), .. })) => one != other,
            (Some(one), Some(other)) => one != other,
            _ => false,
        }
    }

    /// Takes the person out of it. What stays are its own ids and its times.
    pub fn erase(&mut self, at: Timestamp) {
        self.sample_ids.clear();
        self.patient = None;
        self.partner = PartnerIds::default();
        self.lab_id = None;
        self.erased_at = self.erased_at.or(Some(at));
    }
}

/// An id in the shape of seed 004's, `1234-5678`, from whatever caused it. `turn` is raised while the id is taken.
pub fn made_id(cause: crate::event::Id, turn: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(b"registration");
    hash.update(cause.0);
    hash.update(turn.to_be_bytes());
    let digest = hash.finalize();
    let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % 100_000_000;
    format!("{:04}-{:04}", number / 10_000, number % 10_000)
}

#[cfg(test)]
mod tests;
