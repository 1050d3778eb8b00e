//! `hl7`: each finished test as one ORU^R01 message of HL7 2.5.1, over MLLP or in a POST; the receiver's MSA is the verdict.
//!
//! The url chooses: `mllp://` sends the bare message, `https://` the same bytes as `application/hl7-v2`. The message asks
//! for nothing in MSH-15 and MSH-16 (original mode), and an accept acknowledgment of the enhanced mode is taken as well.

mod answer;
mod message;
#[cfg(test)]
mod message_tests;

use super::findings::{has_findings, loinc_faults};
use super::local::Zone;
use super::standard_webhooks;
use super::verdict::Statuses;
use super::{Attempt, Dialect, Endpoint, EndpointFault, RenderError, Request, Response, post, probe_event, single};
use crate::delivery::Outcome;
use crate::event::{Event, EventId, EventKind, EventName};
use crate::time::Now;
use answer::{Acknowledgment, unclear};

/// See the module.
pub struct Hl7;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=299 };
const CONTENT_TYPE: &str = "application/hl7-v2; charset=utf-8";

impl Dialect for Hl7 {
    fn name(&self) -> &'static str {
        "hl7"
    }

    fn about(&self) -> &'static str {
        "Each finished test as an HL7 2.5.1 message (ORU^R01), over MLLP or HTTP: for laboratory and hospital systems"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        (name == EventName::TestFinished).then_some("TEST_FINISHED")
    }

    fn has_form(&self, event: &Event, _: &Endpoint) -> bool {
        has_findings(event)
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Vec<EndpointFault> {
        let mut faults = loinc_faults(endpoint);
        if endpoint.mllp && !endpoint.signatures.is_empty() {
            faults.push(EndpointFault {
                key: "signatures",
                problem: "has no meaning for `mllp://`, which has no headers".to_owned(),
                advice: "remove it, or write an `https://` url".to_owned(),
            });
        }
        faults
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = attempt.endpoint.visible(single(batch)?);
        let Some(test) = event.kind.test.as_ref().filter(|_| has_findings(&event)) else { return Ok(None) };
        let message = message::oru(&event, test, attempt.gateway, attempt.endpoint)?.into_bytes();
        if attempt.endpoint.mllp {
            return Ok(Some(Request::Mllp(message)));
        }
        let standard = (!attempt.secrets.is_empty()).then_some(event.id);
        post(&event, attempt, CONTENT_TYPE, standard, message).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let now = Zone::named(&attempt.endpoint.time_zone)?.at(attempt.now.wall);
        let message = message::probe(id, attempt.gateway, attempt.endpoint, &now).into_bytes();
        if attempt.endpoint.mllp {
            return Ok(Request::Mllp(message));
        }
        let event = probe_event(id, attempt, EventKind::bare(EventName::WebhookTest));
        let standard = (!attempt.secrets.is_empty()).then_some(id);
        post(&event, attempt, CONTENT_TYPE, standard, message).map(Request::marked_as_test)
    }

    fn judge(&self, sent: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        let by_status = STATUSES.judge(response, endpoint, now);
        let is_ours = |answer: &Acknowledgment| match sent {
            [] => true,
            sent => sent.iter().any(|event| message::control_id(event.id) == answer.control_id),
        };
        match (Acknowledgment::read(&response.body), &by_status) {
            // Over HTTP a refusal comes with a status that says the same in HTTP's words: HL7's are more exact.
            (Some(answer), _) if is_ours(&answer) && !answer.accepts() => answer.verdict(),
            (_, status) if *status != Outcome::Delivered => by_status,
            (Some(answer), _) if is_ours(&answer) => answer.verdict(),
            (Some(_), _) => unclear("it answers another one, by its MSA-2"),
            (None, _) => unclear("it holds no MSA segment, as an HL7 receiver's answer must"),
        }
    }
}
