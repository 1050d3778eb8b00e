//! The events that follow from what happens to a registration.
//!
//! | what happens | what follows |
//! |---|---|
//! | it is made | `REGISTRATION_CREATED` |
//! | it has patient details for the first time | `REGISTRATION_COMPLETED` |
//! | its sample is scanned, reported or tested for the first time | `REGISTRATION_SAMPLE_RECEIVED` |
//! | the laboratory's id is known | `REGISTRATION_LAB_ID_ASSIGNED` |
//! | anything else of it changes | `REGISTRATION_UPDATED` |
//! | a test of it finishes | `REGISTRATION_RESULTS_COMPLETE`, and `REGISTRATION_POSITIVE_ALERT` if it is positive |
//! | that test is invalid | `REGISTRATION_RETEST` instead of `RESULTS_COMPLETE`, and a new registration |
//! | a test of it finishes that was run before | `REGISTRATION_RETEST`, and a new registration that gets the results |
//! | it is cancelled | `REGISTRATION_UPDATED` |
//! | it is to be run again | `REGISTRATION_RETEST`, and a new registration |
//! | a person verifies its results | `REGISTRATION_RESULT_VERIFIED` |
//!
//! A correction is told as complete again, so that whoever fetches results fetches these; what its earlier version has
//! already caused, a positive alert or a retest, is not caused twice. Quality control and calibration runs are never linked.

use super::{Amendment, NewRegistration, Patient, Refused, Registration, verdict};
use crate::event::{EventKind, EventName, Personal, RegistrationFact, Test};
use crate::time::Timestamp;

/// A finished test and the registration that its sample id leads to.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    pub test: &'a Test,
    /// The version of the same test that this one corrects.
    pub corrects: Option<&'a Test>,
    /// The place of its `TEST_FINISHED` in the log.
    pub result: i64,
    /// The sample id that led here.
    pub sample_id: &'a Personal,
    pub at: Timestamp,
}

/// What a finished test asks of its registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Linked {
    pub events: Vec<EventKind>,
    /// A retest has to be registered for this one.
    pub retest: bool,
}

impl Registration {
    /// A registration as it was asked for, and what follows.
    pub fn make(number: i64, id: String, new: NewRegistration, at: Timestamp) -> (Registration, Vec<EventKind>) {
        let mut made = Registration {
            number,
            id,
            sample_ids: new.sample_ids,
            patient: None,
            tests: new.tests,
            partner: new.partner,
            lab_id: None,
            created_at: at,
            completed_at: None,
            sample_received_at: None,
            results_at: None,
            test: None,
            result: None,
            verified_at: None,
            verified_by: None,
            retest_of: None,
            orders_taken_at: None,
            cancelled_at: None,
            erased_at: None,
        };
        let mut events = vec![made.event(EventName::RegistrationCreated)];
        events.extend(made.complete(new.patient, at));
        (made, events)
    }

    /// A registration for the same sample, to be tested again, and what follows.
    pub fn make_retest(&self, number: i64, id: String, at: Timestamp) -> (Registration, Vec<EventKind>) {
        let new = NewRegistration {
            id: None,
            sample_ids: self.sample_ids.clone(),
            patient: self.patient.clone(),
            tests: self.tests.clone(),
            partner: self.partner,
        };
        let (mut made, mut events) = Registration::make(number, id, new, at);
        made.retest_of = Some(self.id.clone());
        // The tube is here already; nobody has to be told again.
        made.sample_received_at = self.sample_received_at;
        let told = RegistrationFact { retest: Some(made.id.clone()), ..self.fact() };
        events.push(EventKind::about_registration(EventName::RegistrationRetest, told));
        (made, events)
    }

    /// Takes the change in. Nothing follows if nothing is different.
    pub fn amend(&mut self, amendment: Amendment, at: Timestamp) -> Result<Vec<EventKind>, Refused> {
        self.still_there()?;
        let before = self.clone();
        let Amendment { sample_ids, patient, tests, partner } = amendment;
        self.sample_ids = sample_ids.unwrap_or_else(|| std::mem::take(&mut self.sample_ids));
        self.tests = tests.unwrap_or_else(|| std::mem::take(&mut self.tests));
        self.partner = partner.unwrap_or(self.partner);
        if self.tests != before.tests {
            self.orders_taken_at = None;
        }
        let completed = self.complete(patient, at);
        let named = Registration { patient: before.patient.clone(), completed_at: before.completed_at, ..self.clone() };
        let patient_only = completed.is_some() && named == before;
        let mut events = Vec::new();
        if *self != before && !patient_only {
            events.push(self.event(EventName::RegistrationUpdated));
        }
        events.extend(completed);
        Ok(events)
    }

    /// The sample has come in; `sample_id` is what was read off it. Nothing follows the second time.
    pub fn receive_sample(
        &mut self,
        sample_id: Option<&Personal>,
        at: Timestamp,
    ) -> Result<Option<EventKind>, Refused> {
        self.still_there()?;
        if self.sample_received_at.is_some() {
            return Ok(None);
        }
        self.sample_received_at = Some(at);
        let fact = RegistrationFact { sample_id: sample_id.cloned(), sample_received_at: Some(at), ..self.fact() };
        Ok(Some(EventKind::about_registration(EventName::RegistrationSampleReceived, fact)))
    }

    /// The laboratory's id is known. Nothing follows if it was known already.
    pub fn assign_lab_id(&mut self, lab_id: &str) -> Result<Option<EventKind>, Refused> {
        self.still_there()?;
        match &self.lab_id {
            Some(known) if known == lab_id => Ok(None),
            Some(_) => Err(Refused::OtherLabId),
            None => {
                self.lab_id = Some(lab_id.to_owned());
                Ok(Some(self.event(EventName::RegistrationLabIdAssigned)))
            }
        }
    }

    /// A test of its sample has finished. `Finished::test` was not run before ([`super::is_repeat`]), or this is the
    /// registration made for its repetition.
    pub fn finish(&mut self, finished: Finished<'_>) -> Linked {
        let Finished { test, corrects, result, sample_id, at } = finished;
        let mut events: Vec<EventKind> = self.receive_sample(Some(sample_id), at).ok().flatten().into_iter().collect();
        (self.results_at, self.test, self.result) = (Some(at), Some(test.id), Some(result));
        (self.verified_at, self.verified_by) = (None, None);
        let verdict = verdict(test);
        let before = corrects.map(super::verdict).unwrap_or_default();
        let fact = RegistrationFact {
            sample_id: Some(sample_id.clone()),
            test: Some(test.id),
            result: Some(result),
            ..self.fact()
        };
        if !verdict.invalid {
            events.push(EventKind::about_registration(EventName::RegistrationResultsComplete, fact.clone()));
        }
        if verdict.positive && !before.positive {
            events.push(EventKind::about_registration(EventName::RegistrationPositiveAlert, fact));
        }
        Linked { events, retest: verdict.invalid && !before.invalid }
    }

    /// A person has verified its results. Nothing follows the second time.
    pub fn verify(&mut self, by: &str, at: Timestamp) -> Result<Option<EventKind>, Refused> {
        self.still_there()?;
        if self.results_at.is_none() {
            return Err(Refused::NoResults);
        }
        if self.verified_at.is_some() {
            return Ok(None);
        }
        (self.verified_at, self.verified_by) = (Some(at), Some(by.to_owned()));
        let fact = RegistrationFact {
            test: self.test,
            result: self.result,
            verified_by: self.verified_by.clone(),
            ..self.fact()
        };
        Ok(Some(EventKind::about_registration(EventName::RegistrationResultVerified, fact)))
    }

    fn complete(&mut self, patient: Option<Patient>, at: Timestamp) -> Option<EventKind> {
        self.patient = Some(patient?).filter(|patient| !patient.is_empty());
        if self.patient.is_none() || self.completed_at.is_some() {
            return None;
        }
        self.completed_at = Some(at);
        Some(self.event(EventName::RegistrationCompleted))
    }

    pub(super) fn event(&self, name: EventName) -> EventKind {
        EventKind::about_registration(name, self.fact())
    }

    pub(super) fn still_there(&self) -> Result<(), Refused> {
        if self.erased_at.is_some() { Err(Refused::Erased) } else { Ok(()) }
    }
}
