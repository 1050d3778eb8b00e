//! Traces for those who have a collector (OpenTelemetry, OTLP 1 over HTTP with JSON): how an event was committed and each attempt
//! to deliver it. The trace's id is the event's id, so that whoever has an event finds its trace.
//!
//! Invariants: nothing waits for the collector, and what it does not take in time is dropped; a span holds ids, names from the
//! settings, words of ours and times, never what was measured.

use crate::board::Board;
use crate::platform::{Platform, SendError};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::spans::{Span, What};
use data_encoding::HEXLOWER;
use gateway_core::config::{Telemetry, Webhook};
use gateway_core::dialects::{HttpRequest, Request};
use gateway_core::event::Id;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the collector may take for one request.
const TIMEOUT_SECONDS: u64 = 10;

/// The part that sends them.
pub struct Exporter {
    pub settings: Telemetry,
    pub gateway: String,
    pub platform: Platform,
    pub board: Arc<Board>,
    pub pulse: Pulse,
}

impl Exporter {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let Some(collector) = self.collector() else { return stop.asked().await };
        let mut said = None;
        loop {
            let now = self.platform.clock.now().mono;
            self.pulse.beat(now);
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.send(&collector, &mut said) => {}
            }
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(now.after(Duration::from_secs(BEAT_SECONDS))) => {}
            }
        }
    }

    fn collector(&self) -> Option<Webhook> {
        let mut collector = Webhook::new("telemetry", self.settings.otlp_url.as_deref()?, "");
        collector.proxy = self.settings.proxy.clone();
        collector.timeout = Duration::from_secs(TIMEOUT_SECONDS);
        if let Some(token) = &self.settings.otlp_token {
            collector.headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        Some(collector)
    }

    /// Sends what waits. A collector that is away is told once, and its spans wait within their bound.
    async fn send(&self, collector: &Webhook, said: &mut Option<String>) {
        loop {
            let spans = self.board.spans.next();
            if spans.is_empty() {
                return;
            }
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            let body = request(&self.gateway, &spans).to_string().into_bytes();
            let sending = self.platform.http.send(collector, Request::Http(HttpRequest { headers, body }));
            let trouble = match sending.await {
                Ok(response) if (200..300).contains(&response.status) => None,
                Ok(response) => Some(format!("the collector answered with status {}", response.status)),
                Err(SendError::NoNetwork(reason) | SendError::Passing(reason) | SendError::Configuration(reason)) => {
                    Some(reason.to_string())
                }
            };
            let Some(reason) = trouble else {
                *said = None;
                continue;
            };
            self.board.spans.give_back(spans);
            if said.as_ref() != Some(&reason) {
                tracing::warn!(%reason, "traces cannot be handed over; nothing else waits for it");
                *said = Some(reason);
            }
            return;
        }
    }
}

/// `ExportTraceServiceRequest` in OTLP's JSON: ids in hexadecimal, nanoseconds as text, numbers for enums (OTLP 1, "JSON
/// Protobuf encoding").
fn request(gateway: &str, spans: &[Span]) -> Value {
    let resource = [
        ("service.name", "analyzer-gateway"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", gateway),
    ];
    let resource: Vec<Value> = resource.iter().map(|(key, value)| text(key, value)).collect();
    let spans: Vec<Value> = spans.iter().map(span_json).collect();
    let scope = json!({ "name": "analyzer-gateway", "version": env!("CARGO_PKG_VERSION") });
    let scoped = json!({ "scope": scope, "spans": spans });
    json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [scoped] }] })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// The commit is the trace's root, every attempt its child.
fn span_json(span: &Span) -> Value {
    let id = |parts: &[&[u8]]| HEXLOWER.encode(&Id::derived(parts).0[..8]);
    let root = id(&[b"commit", &span.event.0]);
    let began = i128::from(span.began.0) * 1_000_000;
    let ended = began + i128::try_from(span.took.as_nanos()).unwrap_or(0);
    let mut attributes = vec![text("event.id", &span.event.to_string())];
    let mut told = json!({
        "traceId": HEXLOWER.encode(&span.event.0),
        "startTimeUnixNano": began.to_string(),
        "endTimeUnixNano": ended.to_string(),
    });
    match &span.what {
        What::Commit { analyzer, name } => {
            attributes.extend([text("analyzer", analyzer), text("event.name", name.as_str())]);
            told["spanId"] = json!(root);
            told["name"] = json!("commit");
            // SPAN_KIND_INTERNAL
            told["kind"] = json!(1);
        }
        What::Attempt { destination, number, outcome } => {
            attributes.extend([text("destination", destination), text("outcome", outcome)]);
            attributes.push(json!({ "key": "attempt", "value": { "intValue": number.to_string() } }));
            let began = span.began.0.to_be_bytes();
            told["spanId"] =
                json!(id(&[b"attempt", &span.event.0, destination.as_bytes(), &number.to_be_bytes(), &began]));
            told["parentSpanId"] = json!(root);
            told["name"] = json!("deliver");
            // SPAN_KIND_CLIENT, STATUS_CODE_ERROR
            told["kind"] = json!(3);
            if *outcome != "delivered" {
                told["status"] = json!({ "code": 2, "message": outcome });
            }
        }
    }
    told["attributes"] = Value::Array(attributes);
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::Spans;
    use gateway_core::delivery::Outcome;
    use gateway_core::event::EventName;
    use gateway_core::time::{Mono, Now, Timestamp};

    fn now(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: Timestamp(1_790_000_000_000 + ms.cast_signed()), ..Now::default() }
    }

    #[test]
    fn an_attempt_is_the_child_of_its_events_commit() {
        let spans = Spans::default();
        spans.want(true);
        let event = Id([0xab; 16]);
        spans.committed(event, "pcr", EventName::TestFinished, now(0), now(5));
        spans.attempted(event, "webhook:lims", 1, &Outcome::Delivered, now(6), now(26));
        let told = request("clinic-7", &spans.next());
        let told = &told["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!((&told[0]["traceId"], &told[1]["traceId"]), (&json!("ab".repeat(16)), &json!("ab".repeat(16))));
        assert_eq!(told[1]["parentSpanId"], told[0]["spanId"]);
        assert_eq!(told[0]["spanId"].as_str().map(str::len), Some(16));
        assert_ne!(told[1]["spanId"], told[0]["spanId"]);
        assert_eq!(told[1]["startTimeUnixNano"], "1790000000006000000");
        assert_eq!(told[1]["endTimeUnixNano"], "1790000000026000000");
    }
}
