//! Taking a person out of an event: which events are about them, and what is left of one.
//!
//! What is left are results without a person: values, codes, times, the ids of tests and registrations. Gone are sample and
//! patient ids, comments, a laboratory's id, a partner's ids, and what a posted payload says of them. A `dataDeletionRequest`
//! (seed 001) is left as it is: it still has to tell others whose data they must delete.

use crate::dialects::dialect;
use crate::event::{EventKind, Payload, Personal, Posted, Test, TestId};
use crate::registration::Registration;
use serde_json::Value;
use std::collections::BTreeSet;

/// The event by which a partner asks for erasure (seed 001).
pub const DELETION_REQUEST: &str = "dataDeletionRequest";

/// What is known of the person whose data is erased.
#[derive(Clone, Default)]
pub struct Person {
    /// Patient ids, as analyzers and registrations have them.
    pub patients: BTreeSet<String>,
    /// Patient ids of their registrations: nobody else's, though the patient's other data may not be meant.
    pub own: BTreeSet<String>,
    /// Sample ids that are theirs wherever they stand: of their registrations, unless another patient's have them too, and
    /// those asked for.
    pub samples: BTreeSet<String>,
    /// Sample ids by which somebody asked for the erasure: whatever has one of them is meant, whosever it is.
    pub asked: BTreeSet<String>,
    /// Sample ids that their tests had. Analyzers count samples from 1 again, so these are theirs only where no test is: in a
    /// query, a scan, a registration.
    pub samples_of_tests: BTreeSet<String>,
    pub tests: BTreeSet<TestId>,
    /// Numbers of their registrations.
    pub registrations: BTreeSet<i64>,
    /// A partner's integer id of them.
    pub user: Option<i64>,
    /// E-mail addresses and telephone numbers, in lower case.
    pub contacts: BTreeSet<String>,
    /// Patient ids and family names out of registrations that are erased: looked for only in bytes that nothing was read from.
    pub words: BTreeSet<String>,
}

impl Person {
    /// Whether an event is about them. `registration` is the number of the one that it belongs to.
    pub fn is_in(&self, kind: &EventKind, registration: Option<i64>) -> bool {
        if is_deletion_request(kind) {
            return false;
        }
        let of_test = kind.test.iter().chain(&kind.partial).any(|test| self.is_of(test));
        let asked = kind.query.iter().flat_map(|query| &query.sample_ids).any(|id| self.has_sample(id));
        let fact = kind.registration.as_ref().and_then(|fact| fact.sample_id.as_ref());
        let posted = kind.posted.as_ref().is_some_and(|posted| self.is_said(posted.payload.expose()));
        registration.is_some_and(|number| self.registrations.contains(&number))
            || of_test
            || asked
            || fact.is_some_and(|id| self.has_sample(id))
            || posted
    }

    /// Whether this is a request to erase them.
    pub fn is_asked_for(&self, kind: &EventKind) -> bool {
        is_deletion_request(kind) && kind.posted.as_ref().is_some_and(|posted| self.is_said(posted.payload.expose()))
    }

    /// Whether a registration is theirs.
    pub fn is_registered(&self, registration: &Registration) -> bool {
        let patient = registration.patient.as_ref();
        let id = patient.and_then(|patient| patient.id.as_ref());
        let mut contacts = patient.into_iter().flat_map(|patient| patient.email.iter().chain(&patient.phone));
        self.registrations.contains(&registration.number)
            || id.is_some_and(|id| self.patients.contains(id.expose()))
            || registration.sample_ids.iter().any(|id| self.asked.contains(id.expose()))
            || (!self.is_anothers(registration)
                && registration.sample_ids.iter().any(|id| self.samples.contains(id.expose())))
            || (self.user.is_some() && registration.partner.user == self.user)
            || contacts.any(|contact| self.contacts.contains(&contact.expose().to_lowercase()))
    }

    /// Whether a registration is not theirs and names a patient who is not them.
    pub fn is_anothers(&self, registration: &Registration) -> bool {
        let id = registration.patient.as_ref().and_then(|patient| patient.id.as_ref());
        !self.registrations.contains(&registration.number) && self.is_another(id)
    }

    /// Takes in a registration of theirs, without its samples. Another registration of the same patient is not meant by that.
    pub fn learn_registration(&mut self, registration: &Registration) {
        self.registrations.insert(registration.number);
        let ids = registration.patient.iter().flat_map(|patient| &patient.id);
        self.own.extend(ids.map(|id| id.expose().to_owned()));
        let words = registration.patient.iter().flat_map(|patient| patient.id.iter().chain(&patient.family_name));
        self.words.extend(words.map(|word| word.expose().to_owned()));
    }

    /// The same, and who the patient is: whatever else is theirs is meant too.
    pub fn learn_patient(&mut self, registration: &Registration) {
        self.learn_registration(registration);
        let Some(patient) = &registration.patient else { return };
        self.patients.extend(patient.id.iter().map(|id| id.expose().to_owned()));
        let contacts = patient.email.iter().chain(&patient.phone);
        self.contacts.extend(contacts.map(|contact| contact.expose().to_lowercase()));
    }

    /// Takes them out of an event that is about them.
    pub fn take_out(&self, kind: &mut EventKind, registration: Option<i64>) {
        let linked = registration.is_some_and(|number| self.registrations.contains(&number));
        if let Some(test) = kind.test.as_mut().filter(|test| linked || self.is_of(test)) {
            strip(test);
        }
        kind.partial.iter_mut().filter(|test| self.is_of(test)).for_each(strip);
        if let Some(query) = &mut kind.query {
            query.sample_ids.retain(|id| !self.has_sample(id));
        }
        if let Some(fact) = &mut kind.registration {
            (fact.sample_id, fact.lab_id) = (None, None);
            (fact.patient, fact.appointment, fact.location) = (None, None, None);
        }
        if let Some(posted) = &mut kind.posted {
            posted.payload = Payload::new(self.without(posted));
        }
    }

    /// The texts that are theirs wherever they stand.
    pub fn needles(&self) -> impl Iterator<Item = &str> {
        self.patients.iter().chain(&self.samples).chain(&self.contacts).map(String::as_str)
    }

    /// Whether bytes that nothing was read from hold something of theirs.
    pub fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        self.needles().chain(self.words.iter().map(String::as_str)).any(|word| holds_word(bytes, word))
    }

    /// Whether a test is theirs.
    pub fn is_of(&self, test: &Test) -> bool {
        let has =
            |known: &BTreeSet<String>, id: &Option<Personal>| id.as_ref().is_some_and(|id| known.contains(id.expose()));
        let has_sample = |known| has(known, &test.sample_id) || has(known, &test.instrument_sample_id);
        self.tests.contains(&test.id)
            || has(&self.patients, &test.patient_id)
            || has_sample(&self.asked)
            || (!self.is_another(test.patient_id.as_ref()) && has_sample(&self.samples))
    }

    /// The sample ids of theirs that a test of another patient has too.
    pub fn disputed<'a>(&'a self, test: &'a Test) -> impl Iterator<Item = &'a str> {
        let ids = test.sample_id.iter().chain(&test.instrument_sample_id).map(Personal::expose);
        ids.filter(|id| {
            self.is_another(test.patient_id.as_ref()) && self.samples.contains(*id) && !self.asked.contains(*id)
        })
    }

    fn is_another(&self, patient: Option<&Personal>) -> bool {
        patient.is_some_and(|id| {
            let id = id.expose();
            !id.trim().is_empty() && !self.patients.contains(id) && !self.own.contains(id)
        })
    }

    fn has_sample(&self, id: &Personal) -> bool {
        self.samples.contains(id.expose()) || self.samples_of_tests.contains(id.expose())
    }

    fn is_said(&self, value: &Value) -> bool {
        match value {
            Value::Object(map) => map.iter().any(|(key, value)| self.is_user(key, value) || self.is_said(value)),
            Value::Array(items) => items.iter().any(|item| self.is_said(item)),
            Value::String(text) => self.is_theirs(text),
            _ => false,
        }
    }

    fn is_user(&self, key: &str, value: &Value) -> bool {
        key == "userId" && self.user.is_some() && value.as_i64() == self.user
    }

    fn is_theirs(&self, text: &str) -> bool {
        let text = text.trim();
        self.patients.contains(text) || self.samples.contains(text) || self.contacts.contains(&text.to_lowercase())
    }

    /// The payload without what is theirs, and without what the catalogue calls personal.
    fn without(&self, posted: &Posted) -> Value {
        let entry = dialect(&posted.dialect)
            .and_then(|dialect| dialect.catalogue().iter().find(|entry| entry.event == posted.event));
        let personal: Vec<&str> =
            entry.into_iter().flat_map(|entry| entry.payload).filter(|key| key.personal).map(|key| key.name).collect();
        let mut payload = posted.payload.expose().clone();
        self.blank(&mut payload, &personal);
        payload
    }

    fn blank(&self, value: &mut Value, personal: &[&str]) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    if personal.contains(&key.as_str()) || self.is_user(key, value) {
                        *value = Value::Null;
                    }
                    self.blank(value, personal);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.blank(item, personal)),
            Value::String(text) if self.is_theirs(text) => *value = Value::Null,
            _ => {}
        }
    }
}

/// Whether this is a partner's request to erase somebody.
pub fn is_deletion_request(kind: &EventKind) -> bool {
    kind.posted.as_ref().is_some_and(|posted| posted.event == DELETION_REQUEST)
}

fn strip(test: &mut Test) {
    (test.sample_id, test.instrument_sample_id, test.patient_id) = (None, None, None);
    test.comments.clear();
    test.results.iter_mut().for_each(|result| result.comments.clear());
}

/// Whether bytes hold a text as a word of its own: what stands before and behind it is neither a letter nor a digit.
fn holds_word(bytes: &[u8], word: &str) -> bool {
    let word = word.as_bytes();
    let is_inside = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    !word.is_empty()
        && bytes.windows(word.len()).enumerate().any(|(at, window)| {
            window == word
                && !is_inside(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && !is_inside(bytes.get(at + word.len()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventName, Id, Query, TestState};
    use serde_json::json;

    fn test(number: u8, patient: Option<&str>, sample: &str) -> Test {
        Test {
            sample_id: Some(Personal::new(sample)),
            patient_id: patient.map(Personal::new),
            comments: vec![Personal::new("called the ward")],
            result: Some(json!({ "detectionResult": "NEGATIVE" })),
            ..Test::new(Id([number; 16]), TestState::Done)
        }
    }

    fn person() -> Person {
        let set = |text: &str| BTreeSet::from([text.to_owned()]);
        Person {
            patients: set("P-7"),
            samples_of_tests: set("0001"),
            user: Some(12),
            contacts: set("ann@example.org"),
            ..Person::default()
        }
    }

    #[test]
    fn a_result_stays_and_nobody_can_tell_whose_it_was() {
        let mut kind = EventKind::about_test(EventName::TestFinished, None, test(1, Some("P-7"), "0001"));
        assert!(person().is_in(&kind, None));
        person().take_out(&mut kind, None);
        let test = kind.test.as_ref().expect("it stays");
        assert!(test.sample_id.is_none() && test.patient_id.is_none() && test.comments.is_empty());
        assert!(test.result.is_some());
        assert!(!person().is_in(&kind, None));
    }

    #[test]
    fn a_sample_number_that_is_used_again_is_not_theirs_in_another_test() {
        let other = EventKind::about_test(EventName::TestFinished, None, test(2, None, "0001"));
        assert!(!person().is_in(&other, None));
        let sample_ids = vec![Personal::new("0001"), Personal::new("0002")];
        let query = Query { sample_ids, status: "O".to_owned() };
        let mut kind = EventKind { query: Some(query), ..EventKind::bare(EventName::QueryReceived) };
        assert!(person().is_in(&kind, None));
        person().take_out(&mut kind, None);
        assert_eq!(kind.query.expect("it stays").sample_ids, [Personal::new("0002")]);
    }

    #[test]
    fn a_posted_payload_keeps_what_is_not_theirs() {
        let posted = |event: &str| {
            let payload =
                json!({ "userId": 12, "patientId": 4, "userEmail": "Ann@Example.org", "scope": ["P-7", "x"] });
            let (dialect, event) = ("partner".to_owned(), event.to_owned());
            EventKind::posted(Posted { dialect, event, session: None, payload: Payload::new(payload) })
        };
        assert!(!person().is_in(&posted(DELETION_REQUEST), None), "others must still be told");
        let mut kind = posted("somethingElse");
        assert!(person().is_in(&kind, None));
        person().take_out(&mut kind, None);
        let payload = kind.posted.expect("it stays").payload;
        let left = json!({ "userId": null, "patientId": 4, "userEmail": null, "scope": [null, "x"] });
        assert_eq!(payload.expose(), &left);
    }

    #[test]
    fn bytes_hold_a_word_only_between_delimiters() {
        assert!(holds_word(b"P|1||P-7^x", "P-7") && holds_word(b"P-7", "P-7"));
        assert!(!holds_word(b"P|1||P-70^x", "P-7") && !holds_word(b"XP-7", "P-7") && !holds_word(b"x", ""));
    }
}
