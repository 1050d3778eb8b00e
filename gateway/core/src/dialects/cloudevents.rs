//! `cloudevents`, the default: CloudEvents 1.0 in structured JSON, signed by Standard Webhooks.
//!
//! `webhook-id` and `webhook-timestamp` come with every request, the signature where the endpoint has a secret.
//!
//! `data` is CONTRACT's data object, the same that `decode` prints. The same envelope goes to MQTT. `subject` is the
//! test's id and nothing else: a context attribute is what proxies and brokers log, so it never holds patient data.

use super::standard_webhooks;
use super::verdict::Statuses;
use super::{Attempt, Dialect, Endpoint, RenderError, Request, Response, post, probe_event, single};
use crate::delivery::Outcome;
use crate::event::{AnalyzerId, Event, EventId, EventKind, EventName, Id, TestId};
use crate::mutants::{Mutant, planted};
use crate::time::{Now, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

/// See the module.
pub struct CloudEvents;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=299 };

/// The event as CloudEvents 1.0 JSON, on one line without its end: the body of a webhook, the payload of a publish.
pub fn envelope(event: &Event, gateway: &str) -> String {
    envelope_with_id(event, gateway, event.id)
}

fn envelope_with_id(event: &Event, gateway: &str, id: EventId) -> String {
    #[derive(Serialize)]
    struct Envelope<'a> {
        specversion: &'static str,
        id: EventId,
        #[serde(rename = "type")]
        kind: String,
        source: String,
        time: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<TestId>,
        datacontenttype: &'static str,
        data: &'a RawValue,
    }
    let AnalyzerId(analyzer) = &event.analyzer;
    let data = RawValue::from_string(event.data_json()).expect("data_json writes JSON");
    let envelope = Envelope {
        specversion: "1.0",
        id,
        kind: format!("analyzer-gateway.{}", event.kind.word()),
        source: format!("/{gateway}/{analyzer}"),
        time: event.received_at,
        subject: event.test_id(),
        datacontenttype: "application/json",
        data: &data,
    };
    serde_json::to_string(&envelope).expect("these types have only string keys")
}

impl Dialect for CloudEvents {
    fn name(&self) -> &'static str {
        "cloudevents"
    }

    fn about(&self) -> &'static str {
        "CloudEvents 1.0 as JSON, signed by Standard Webhooks: the gateway's own words, every event"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        Some(name.as_str())
    }

    fn has_form(&self, _: &Event, _: &Endpoint) -> bool {
        true
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = single(batch)?;
        let id = match planted(Mutant::NewIdEachAttempt) {
            true => Id::derived(&[&event.id.0, &attempt.number.to_be_bytes()]),
            false => event.id,
        };
        let body = envelope_with_id(event, attempt.gateway, id).into_bytes();
        post(event, attempt, "application/cloudevents+json; charset=utf-8", Some(id), body).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let event = probe_event(id, attempt, EventKind::bare(EventName::WebhookTest));
        let request = self.render(&[event], attempt)?.ok_or_else(|| RenderError::ours("a probe has a form"))?;
        Ok(request.marked_as_test())
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        STATUSES.judge(response, endpoint, now)
    }
}
