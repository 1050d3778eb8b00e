//! `lab`: thin events `{event, data}` about registrations, as seed 004 shows them; whoever wants more fetches the URL.
//!
//! The page retries whatever is not answered with 200, so a refused event is tried again by the table too; a fault of the
//! settings (401, 403, 404, 410, a redirect) holds the endpoint as everywhere, which loses no attempt. Its eleven delays
//! are the page's, read as gaps unless `retry_reading` says otherwise.

use super::catalogue::{Entry, Key, Kind, Severity};
use super::local::Zone;
use super::verdict::Statuses;
use super::{
    Accepted, Attempt, Dialect, Endpoint, EndpointFault, Received, Refusal, RenderError, Request, Response, incoming,
    post, probe_event, single, standard_webhooks,
};
use crate::delivery::{Outcome, RetrySchedule};
use crate::event::{Event, EventId, EventKind, EventName, RegistrationFact};
use crate::time::{Now, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// See the module.
pub struct Lab;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=200 };

/// Days, hours and minutes, as the page writes them.
const DELAYS: [(u64, u64, u64); 11] = [
    (0, 0, 0),
    (0, 0, 5),
    (0, 0, 10),
    (0, 0, 30),
    (0, 1, 0),
    (0, 4, 0),
    (0, 12, 0),
    (1, 0, 0),
    (1, 12, 0),
    (2, 0, 0),
    (3, 0, 0),
];

const ID: Key = Key::required("testregistration_id", Kind::Text);
const URL: Key = Key::required("url", Kind::Url);
const LAB_ID: Key = Key::required("lab_id", Kind::Text);
const SAMPLE_RECEIVED_AT: Key = Key::required("sample_received_at", Kind::Moment);
const RETEST_ID: Key = Key::required("retest_testregistration_id", Kind::Text);

const fn entry(event: &'static str, payload: &'static [Key], about: &'static str) -> Entry {
    Entry { event, about, severity: Severity::Info, audiences: &[], payload, documented: true }
}

const CATALOGUE: &[Entry] = &[
    entry("lab_results.complete", &[ID, URL], "The results of a registration are there."),
    entry("test_registration.complete", &[ID, URL], "A registration has its patient details."),
    entry("test_registration.lml_lab_id_created", &[ID, LAB_ID], "A registration has its laboratory id."),
    entry("test_registration.sample_received", &[ID, URL, SAMPLE_RECEIVED_AT], "The sample has come in."),
    entry("test_registration.retest", &[ID, RETEST_ID], "A second registration was made for a retest."),
];

impl Dialect for Lab {
    fn name(&self) -> &'static str {
        "lab"
    }

    fn about(&self) -> &'static str {
        "Thin events about registrations and their results, each with the URL to fetch them from"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        Some(match name {
            EventName::RegistrationResultsComplete => "lab_results.complete",
            EventName::RegistrationCompleted => "test_registration.complete",
            EventName::RegistrationLabIdAssigned => "test_registration.lml_lab_id_created",
            EventName::RegistrationSampleReceived => "test_registration.sample_received",
            EventName::RegistrationRetest => "test_registration.retest",
            _ => return None,
        })
    }

    fn catalogue(&self) -> &'static [Entry] {
        CATALOGUE
    }

    fn has_form(&self, event: &Event, _: &Endpoint) -> bool {
        let kind = &event.kind;
        match (&kind.posted, &kind.registration) {
            (Some(posted), _) => posted.dialect == self.name() && self.entry(&posted.event).is_some(),
            (None, Some(fact)) => match kind.name {
                EventName::RegistrationLabIdAssigned => fact.lab_id.is_some(),
                EventName::RegistrationRetest => fact.retest.is_some(),
                name => self.word(name).is_some(),
            },
            (None, None) => false,
        }
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Vec<EndpointFault> {
        let fault = EndpointFault {
            key: "http.public_url",
            problem: "is missing: events of the dialect lab carry URLs of this box, from which results are fetched"
                .to_owned(),
            advice: "write how the box is reached from outside, like https://gateway.clinic.example".to_owned(),
        };
        if endpoint.public_url.is_some() { Vec::new() } else { vec![fault] }
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = single(batch)?;
        if !self.has_form(event, attempt.endpoint) {
            return Ok(None);
        }
        let kind = &event.kind;
        let word = kind.posted.as_ref().map_or_else(|| self.word(kind.name), |posted| Some(posted.event.as_str()));
        let Some(entry) = word.and_then(|word| self.entry(word)) else { return Ok(None) };
        let payload = match (&kind.posted, &kind.registration) {
            (Some(posted), _) => entry.posted(posted)?,
            (None, Some(fact)) => entry.write(&data(kind.name, fact, event.received_at, attempt.endpoint)?),
            (None, None) => return Ok(None),
        };
        request(event, attempt, entry.event, &payload).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let event = probe_event(id, attempt, EventKind::bare(EventName::WebhookTest));
        request(&event, attempt, "webhook.test", "{}").map(Request::marked_as_test)
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        match STATUSES.judge(response, endpoint, now) {
            Outcome::Rejected { reason } => Outcome::Retryable { reason, retry_after: None },
            other => other,
        }
    }

    fn receives(&self) -> bool {
        true
    }

    fn accept(&self, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
        incoming::lab(self, received)
    }

    fn schedule(&self) -> RetrySchedule {
        let seconds = |(days, hours, minutes)| Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60);
        RetrySchedule::table(DELAYS.into_iter().map(seconds).collect())
    }
}

fn request(event: &Event, attempt: &Attempt<'_>, name: &str, data: &str) -> Result<Request, RenderError> {
    let body = format!(r#"{{"event":"{name}","data":{data}}}"#).into_bytes();
    // To a receiver of the document alone these headers mean nothing: they come with the signature that they are for.
    let standard = (!attempt.secrets.is_empty()).then_some(event.id);
    post(event, attempt, "application/json", standard, body)
}

/// What the page's `data` holds for an event of a registration: all keys that are known, of which the catalogue picks.
fn data(
    name: EventName,
    fact: &RegistrationFact,
    received_at: Timestamp,
    endpoint: &Endpoint,
) -> Result<Value, RenderError> {
    let results = (name == EventName::RegistrationResultsComplete).then_some("lab_results");
    let path: Vec<&str> = ["api", "test_registration", &fact.id].into_iter().chain(results).chain([""]).collect();
    let url = endpoint.link(&path).ok_or_else(|| {
        RenderError::settings("`http.public_url` is missing, with which the URLs in this dialect's events begin")
    })?;
    let received_at = Zone::named(&endpoint.time_zone)?.at(fact.sample_received_at.unwrap_or(received_at));
    Ok(json!({
        ID.name: fact.id,
        URL.name: url,
        LAB_ID.name: fact.lab_id,
        SAMPLE_RECEIVED_AT.name: received_at.strftime("%FT%T%:z").to_string(),
        RETEST_ID.name: fact.retest,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted as gaps the page's table lasts 8 days, 5 hours and 45 minutes.
    #[test]
    fn there_are_eleven_attempts_at_the_pages_delays() {
        let schedule = Lab.schedule();
        assert_eq!(schedule.attempts_max(), 11);
        assert!(!schedule.jittered);
        let all: Duration = schedule.delays.iter().sum();
        assert_eq!(all, Duration::from_secs(((8 * 24 + 5) * 60 + 45) * 60));
    }
}
