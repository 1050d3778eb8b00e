//! `cloudevents`, the default: CloudEvents 1.0, signed by Standard Webhooks.
//!
//! Structured, the envelope is the body, and several events are a JSON array of envelopes (a batch). Binary, the attributes
//! are `ce-` headers and the body is `data` alone (CloudEvents HTTP binding 1.0.2, sections 3.1 to 3.3). `webhook-id` and
//! `webhook-timestamp` come with every request, the signature where the endpoint has a secret; the `webhook-id` of several
//! events is derived from their ids, so the same batch has the same one on each attempt.
//!
//! `data` is CONTRACT's data object, the same that `decode` prints. The same envelope goes to MQTT. `subject` is the
//! test's id and nothing else: a context attribute is what proxies and brokers log, so it never holds patient data.

use super::standard_webhooks;
use super::verdict::Statuses;
use super::{
    Accepted, Attempt, Dialect, Endpoint, Mode, Received, Refusal, RenderError, Request, Response, incoming, post,
    post_with, probe_event, single,
};
use crate::delivery::Outcome;
use crate::event::{AnalyzerId, Event, EventId, EventKind, EventName, Id, TestId};
use crate::mutants::{Mutant, planted};
use crate::time::{Now, Timestamp};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

/// See the module.
pub struct CloudEvents;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=299 };

/// The event as CloudEvents 1.0 JSON, on one line without its end: the body of a webhook, the payload of a publish.
pub fn envelope(event: &Event, gateway: &str) -> String {
    envelope_with_id(event, gateway, event.id)
}

/// The most events of a batch: with small events a body of about a megabyte.
const BATCH_EVENTS_MAX: usize = 1000;
/// What a header value encodes (section 3.1.3.2 of the HTTP binding): all but printable ASCII, and blank, `"` and `%`.
const IN_A_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The context attributes, but for `datacontenttype`, which is `application/json`.
#[derive(Serialize)]
struct Attributes {
    specversion: &'static str,
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<TestId>,
}

impl Attributes {
    fn of(event: &Event, gateway: &str, id: EventId) -> Attributes {
        let AnalyzerId(analyzer) = &event.analyzer;
        Attributes {
            specversion: "1.0",
            id,
            kind: format!("analyzer-gateway.{}", event.kind.word()),
            source: format!("/{gateway}/{analyzer}"),
            time: event.received_at,
            subject: event.test_id(),
        }
    }

    fn headers(&self) -> Vec<(String, String)> {
        let attributes = [
            ("ce-specversion", Some(self.specversion.to_owned())),
            ("ce-id", Some(self.id.to_string())),
            ("ce-type", Some(self.kind.clone())),
            ("ce-source", Some(self.source.clone())),
            ("ce-time", Some(self.time.to_string())),
            ("ce-subject", self.subject.map(|subject| subject.to_string())),
        ];
        let encoded = |value: String| utf8_percent_encode(&value, IN_A_HEADER).to_string();
        attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), encoded(value?)))).collect()
    }
}

fn envelope_with_id(event: &Event, gateway: &str, id: EventId) -> String {
    #[derive(Serialize)]
    struct Envelope<'a> {
        #[serde(flatten)]
        attributes: Attributes,
        datacontenttype: &'static str,
        data: &'a RawValue,
    }
    let data = RawValue::from_string(event.data_json()).expect("data_json writes JSON");
    let attributes = Attributes::of(event, gateway, id);
    let envelope = Envelope { attributes, datacontenttype: "application/json", data: &data };
    serde_json::to_string(&envelope).expect("these types have only string keys")
}

/// The same on every attempt; of a batch it is derived from the ids of its events.
fn request_id(batch: &[Event], attempt: &Attempt<'_>) -> EventId {
    match batch {
        [event] if planted(Mutant::NewIdEachAttempt) => Id::derived(&[&event.id.0, &attempt.number.to_be_bytes()]),
        [event] => event.id,
        _ => Id::derived(&batch.iter().map(|event| event.id.0.as_slice()).collect::<Vec<_>>()),
    }
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

    fn has_form(&self, event: &Event, endpoint: &Endpoint) -> bool {
        event.kind.posted.is_none() || endpoint.posted
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn events_per_request_max(&self, endpoint: &Endpoint) -> usize {
        match endpoint.mode {
            Mode::Structured => BATCH_EVENTS_MAX,
            Mode::Binary => 1,
        }
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        if !batch.iter().all(|event| self.has_form(event, attempt.endpoint)) {
            return Ok(None);
        }
        let id = request_id(batch, attempt);
        let envelope = |event, id| envelope_with_id(&attempt.endpoint.visible(event), attempt.gateway, id);
        if attempt.endpoint.mode == Mode::Binary {
            let event = attempt.endpoint.visible(single(batch)?);
            let mut own = vec![("content-type".to_owned(), "application/json".to_owned())];
            own.extend(Attributes::of(&event, attempt.gateway, id).headers());
            return post_with(&event, attempt, own, Some(id), event.data_json().into_bytes()).map(Some);
        }
        match batch {
            [] => Ok(None),
            [event] => {
                let body = envelope(event, id).into_bytes();
                post(event, attempt, "application/cloudevents+json; charset=utf-8", Some(id), body).map(Some)
            }
            [first, ..] => {
                let envelopes: Vec<String> = batch.iter().map(|event| envelope(event, event.id)).collect();
                let body = format!("[{}]", envelopes.join(",")).into_bytes();
                post(first, attempt, "application/cloudevents-batch+json; charset=utf-8", Some(id), body).map(Some)
            }
        }
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let event = probe_event(id, attempt, EventKind::bare(EventName::WebhookTest));
        let request = self.render(&[event], attempt)?.ok_or_else(|| RenderError::ours("a probe has a form"))?;
        Ok(request.marked_as_test())
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        STATUSES.judge(response, endpoint, now)
    }

    fn receives(&self) -> bool {
        true
    }

    fn accept(&self, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
        incoming::cloudevents(received)
    }
}
