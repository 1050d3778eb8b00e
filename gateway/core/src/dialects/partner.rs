//! `partner`: `{eventName, data}` with an API key in a header, as seed 001 shows it.
//!
//! Personal data never leaves here, but in the two events whose documented payload holds some, and only where the
//! endpoint's settings say so; everything else is ids and URLs. Success is 200 alone. Of the events on the page some have
//! no shape: they take the keys of `sampleUpdated`.

use super::catalogue::{Entry, Key, Kind, Severity};
use super::verdict::Statuses;
use super::{
    Accepted, Attempt, Dialect, Endpoint, EndpointFault, PersonalData, Received, Refusal, RenderError, Request,
    Response, check_shared_key, incoming, one_secret, post, probe_event, single,
};
use crate::delivery::Outcome;
use crate::event::{Event, EventId, EventKind, EventName, RegistrationFact};
use crate::time::Now;
use serde_json::{Value, json};

/// See the module.
pub struct Partner;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=200 };
const AUDIENCES: &[&str] = &["samplers", "labs", "clients", "providers", "checkers"];

const DASHBOARD_URL: Key = Key::optional("dashboardUrl", Kind::Url);
const USER_URL: Key = Key::optional("userUrl", Kind::Url);
const APPOINTMENT_ID: Key = Key::optional("appointmentId", Kind::Integer);
const LOCATION_ID: Key = Key::optional("locationId", Kind::Integer);
const SAMPLE_ID: Key = Key::optional("sampleId", Kind::Integer);
const RESULT_ID: Key = Key::optional("resultId", Kind::Integer);
const PATIENT_ID: Key = Key::optional("patientId", Kind::Integer);
const USER_ID: Key = Key::required("userId", Kind::Integer);
const USER_EMAIL: Key = Key::optional("userEmail", Kind::Text).personal();
const USER_PHONE_NUMBER: Key = Key::optional("userPhoneNumber", Kind::Text).personal();

const BOOKING: &[Key] = &[
    DASHBOARD_URL.needed(),
    USER_URL.needed(),
    APPOINTMENT_ID.needed(),
    LOCATION_ID.needed(),
    Key::required("datetime", Kind::SpacedMoment),
    Key::required("paymentMethod", Kind::Text),
];
const DELETION: &[Key] = &[USER_ID, USER_EMAIL, USER_PHONE_NUMBER];
const SHARE: &[Key] = &[
    USER_ID,
    PATIENT_ID.needed(),
    Key::required("integrationId", Kind::Integer),
    USER_EMAIL,
    USER_PHONE_NUMBER,
    Key::required("scope", Kind::TextList),
];
// The keys of `sampleUpdated`. Only what an event is about is needed: a sample that was moved has no result yet.
const SAMPLE: &[Key] =
    &[DASHBOARD_URL, USER_URL, APPOINTMENT_ID, LOCATION_ID, SAMPLE_ID.needed(), RESULT_ID, PATIENT_ID];
const APPOINTMENT: &[Key] =
    &[DASHBOARD_URL, USER_URL, APPOINTMENT_ID.needed(), LOCATION_ID, SAMPLE_ID, RESULT_ID, PATIENT_ID];
const PATIENT: &[Key] =
    &[DASHBOARD_URL, USER_URL, APPOINTMENT_ID, LOCATION_ID, SAMPLE_ID, RESULT_ID, PATIENT_ID.needed()];
const ANYTHING: &[Key] = &[DASHBOARD_URL, USER_URL, APPOINTMENT_ID, LOCATION_ID, SAMPLE_ID, RESULT_ID, PATIENT_ID];

const fn documented(
    event: &'static str,
    audiences: &'static [&'static str],
    payload: &'static [Key],
    about: &'static str,
) -> Entry {
    Entry { event, about, severity: Severity::Info, audiences, payload, documented: true }
}

const fn ours(
    event: &'static str,
    audiences: &'static [&'static str],
    payload: &'static [Key],
    about: &'static str,
) -> Entry {
    Entry { documented: false, ..documented(event, audiences, payload, about) }
}

/// Every event of the page, those that it calls "coming soon" too.
const CATALOGUE: &[Entry] = &[
    documented("appointmentCreated", &["samplers"], BOOKING, "An appointment was made."),
    documented("appointmentUpdated", &["samplers"], BOOKING, "An appointment was changed."),
    documented("appointmentCancelled", &["samplers"], BOOKING, "An appointment was cancelled."),
    ours("appointmentCompleted", &["samplers"], APPOINTMENT, "An appointment has taken place."),
    ours("sampleReceived", &["labs"], SAMPLE, "A sample has come in."),
    documented(
        "sampleUpdated",
        &["samplers", "labs", "providers"],
        SAMPLE,
        "A result was added, or the sample was moved to this facility.",
    ),
    ours("codeUsed", &["clients"], ANYTHING, "A client's code was used."),
    ours("appAuthorized", &["providers"], ANYTHING, "An application was authorised."),
    ours("patientUpdated", &["providers"], PATIENT, "A patient's record was changed."),
    ours("appDeauthorized", &["providers"], ANYTHING, "An application lost its authorisation."),
    documented("dataDeletionRequest", &[], DELETION, "A person wants their data deleted."),
    documented("dataShareAccepted", &[], SHARE, "A person shares data with an external application."),
    ours("covidPositiveAlert", &["samplers", "labs", "clients"], SAMPLE, "A result is positive."),
    ours("resultVerified", &["checkers"], SAMPLE, "A person has verified a result."),
];

impl Partner {
    fn entry_of(&self, event: &Event) -> Option<&'static Entry> {
        let kind = &event.kind;
        match &kind.posted {
            Some(posted) if posted.dialect == self.name() => self.entry(&posted.event),
            Some(_) => None,
            None => kind.registration.as_ref().and_then(|_| self.word(kind.name)).and_then(|word| self.entry(word)),
        }
    }
}

impl Dialect for Partner {
    fn name(&self) -> &'static str {
        "partner"
    }

    fn about(&self) -> &'static str {
        "Thin events for a partner's webhook: an event's name, ids and URLs, with an API key in a header"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        Some(match name {
            EventName::RegistrationSampleReceived => "sampleReceived",
            EventName::RegistrationUpdated | EventName::RegistrationResultsComplete | EventName::RegistrationRetest => {
                "sampleUpdated"
            }
            EventName::RegistrationPositiveAlert => "covidPositiveAlert",
            EventName::RegistrationResultVerified => "resultVerified",
            _ => return None,
        })
    }

    fn catalogue(&self) -> &'static [Entry] {
        CATALOGUE
    }

    fn has_form(&self, event: &Event, endpoint: &Endpoint) -> bool {
        let wanted = |entry: &Entry| {
            let audience = endpoint.audience.as_deref();
            entry.audiences.is_empty() || audience.is_none_or(|audience| entry.audiences.contains(&audience))
        };
        let allowed = |entry: &Entry| !entry.is_personal() || endpoint.personal_data != PersonalData::None;
        self.entry_of(event).is_some_and(|entry| wanted(entry) && allowed(entry))
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        check_shared_key(secret, "the key that the receiver expects in `x-api-key`")?;
        match secret {
            Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
                Err("the key has characters that a header cannot carry; use letters, digits and signs of ASCII"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Vec<EndpointFault> {
        let known = endpoint.audience.as_deref().is_none_or(|audience| AUDIENCES.contains(&audience));
        let fault = EndpointFault {
            key: "audience",
            problem: "is none of the audiences of this dialect".to_owned(),
            advice: format!("write one of {}, or remove the line to send everybody's events", AUDIENCES.join(", ")),
        };
        if known { Vec::new() } else { vec![fault] }
    }

    fn personal_data(&self) -> PersonalData {
        PersonalData::None
    }

    fn takes_one_secret(&self) -> bool {
        true
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = single(batch)?;
        let Some(entry) = self.entry_of(event).filter(|_| self.has_form(event, attempt.endpoint)) else {
            return Ok(None);
        };
        let payload = match (&event.kind.posted, &event.kind.registration) {
            (Some(posted), _) => entry.posted(posted)?,
            (None, Some(fact)) => entry.write(&sample(fact, attempt.endpoint)),
            (None, None) => return Ok(None),
        };
        request(event, attempt, entry.event, &payload).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let event = probe_event(id, attempt, EventKind::bare(EventName::WebhookTest));
        request(&event, attempt, "webhookTest", "{}").map(Request::marked_as_test)
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        STATUSES.judge(response, endpoint, now)
    }

    fn receives(&self) -> bool {
        true
    }

    fn accept(&self, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
        incoming::partner(self, received)
    }
}

fn request(event: &Event, attempt: &Attempt<'_>, name: &str, data: &str) -> Result<Request, RenderError> {
    let key = one_secret(attempt)?.expose();
    let body = format!(r#"{{"eventName":"{name}","data":{data}}}"#);
    Ok(post(event, attempt, "application/json", None, body.into_bytes())?.with_header("x-api-key", key))
}

/// A registration's event in the keys of `sampleUpdated`; what nobody gave is null.
fn sample(fact: &RegistrationFact, endpoint: &Endpoint) -> Value {
    let url = match fact.result {
        Some(result) => endpoint.link(&["api", "results", &result.to_string()]),
        None => endpoint.link(&["api", "registrations", &fact.id]),
    };
    json!({
        DASHBOARD_URL.name: url,
        USER_URL.name: url,
        APPOINTMENT_ID.name: fact.appointment,
        LOCATION_ID.name: fact.location,
        SAMPLE_ID.name: fact.number,
        RESULT_ID.name: fact.result,
        PATIENT_ID.name: fact.patient,
    })
}
