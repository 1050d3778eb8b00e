//! `fhir`: each finished test as a transaction Bundle of FHIR R4, posted to the server's base address.
//!
//! 200 and 201 are success: a transaction is done whole or not at all. Of an OperationOutcome only the issue codes are
//! told: its texts may quote the patient.

mod bundle;
#[cfg(test)]
mod bundle_tests;
mod curve;

use super::findings::{has_findings, loinc_faults};
use super::standard_webhooks;
use super::verdict::Statuses;
use super::{Attempt, Dialect, Endpoint, EndpointFault, RenderError, Request, Response, post, probe_event, single};
use crate::delivery::{Outcome, Reason, ReasonCode};
use crate::event::{Event, EventId, EventKind, EventName};
use crate::time::Now;
use serde_json::Value;
use std::collections::BTreeSet;

/// See the module.
pub struct Fhir;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=201 };
const CONTENT_TYPE: &str = "application/fhir+json; charset=utf-8";
/// How many issue codes a reason names.
const CODES_MAX: usize = 5;

impl Dialect for Fhir {
    fn name(&self) -> &'static str {
        "fhir"
    }

    fn about(&self) -> &'static str {
        "Each finished test as a FHIR R4 transaction of report, observations, specimen and device: for FHIR servers"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        (name == EventName::TestFinished).then_some("TEST_FINISHED")
    }

    fn has_form(&self, event: &Event, _: &Endpoint) -> bool {
        has_findings(event)
    }

    fn needs_history(&self, name: EventName) -> bool {
        self.word(name).is_some()
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Vec<EndpointFault> {
        loinc_faults(endpoint)
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = attempt.endpoint.visible(single(batch)?);
        let Some(test) = event.kind.test.as_ref().filter(|_| has_findings(&event)) else { return Ok(None) };
        let bundle = bundle::transaction(&event, test, attempt)?;
        request(&event, attempt, &bundle).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let event = probe_event(id, attempt, EventKind::bare(EventName::WebhookTest));
        request(&event, attempt, &bundle::probe(id, attempt)).map(Request::marked_as_test)
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        let conflict = "HTTP 409, another change came in between";
        match STATUSES.judge(response, endpoint, now) {
            Outcome::Rejected { .. } if response.status == 409 => {
                let reason = told(Reason::new(ReasonCode::ServerError, conflict.to_owned()), response);
                Outcome::Retryable { reason, retry_after: None }
            }
            Outcome::Rejected { reason } => Outcome::Rejected { reason: told(reason, response) },
            Outcome::Held { reason } => Outcome::Held { reason: told(reason, response) },
            Outcome::Retryable { reason, retry_after } => {
                Outcome::Retryable { reason: told(reason, response), retry_after }
            }
            outcome => outcome,
        }
    }
}

fn request(event: &Event, attempt: &Attempt<'_>, bundle: &Value) -> Result<Request, RenderError> {
    let standard = (!attempt.secrets.is_empty()).then_some(event.id);
    post(event, attempt, CONTENT_TYPE, standard, bundle.to_string().into_bytes())
}

/// The reason with the issue codes of the answer, where it is an OperationOutcome. A word that is no issue
/// code is passed over: it may be anything.
fn told(mut reason: Reason, response: &Response) -> Reason {
    let Ok(outcome) = serde_json::from_slice::<Value>(&response.body) else { return reason };
    if outcome["resourceType"] != "OperationOutcome" {
        return reason;
    }
    let issues = outcome["issue"].as_array().into_iter().flatten();
    let codes: BTreeSet<&str> =
        issues.filter_map(|issue| issue["code"].as_str()).filter(|code| is_code(code)).collect();
    if !codes.is_empty() {
        let codes: Vec<&str> = codes.into_iter().take(CODES_MAX).collect();
        reason.detail.push_str(&format!("; its OperationOutcome says: {}", codes.join(", ")));
    }
    reason
}

/// The value set issue-type of FHIR R4.
fn is_code(code: &str) -> bool {
    const CODES: &[&str] = &[
        "invalid",
        "structure",
        "required",
        "value",
        "invariant",
        "security",
        "login",
        "unknown",
        "expired",
        "forbidden",
        "suppressed",
        "processing",
        "not-supported",
        "duplicate",
        "multiple-matches",
        "not-found",
        "deleted",
        "too-long",
        "code-invalid",
        "extension",
        "too-costly",
        "business-rule",
        "conflict",
        "transient",
        "lock-error",
        "no-store",
        "exception",
        "timeout",
        "incomplete",
        "throttled",
        "informational",
    ];
    CODES.contains(&code)
}
