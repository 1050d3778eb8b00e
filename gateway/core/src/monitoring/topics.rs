//! The MQTT contract: every topic there is, who may hear it, what its payload looks like and when it is told.
//!
//! Invariant: nothing is published on a topic that is not in [`TOPICS`]. docs/mqtt.md is written from this list, and the tests
//! hold every message of every test against it.

use super::{AnalyzerState, DestinationState, HealthReport, Notice, Status, Summary};
use schemars::schema_for;
use serde_json::{Value, json};

/// Who may hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every broker, also the one outside of the clinic: free of patient data by its type.
    Everyone,
    /// The clinic's own broker (`mqtt:`) alone.
    Clinic,
}

/// Who publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    FromGateway,
    ToGateway,
}

/// One kind of message. All are sent with QoS 1.
pub struct Topic {
    /// Behind `<topic_prefix>/<gateway>/`; words in angle brackets stand for one level each.
    pub pattern: &'static str,
    pub audience: Audience,
    pub direction: Direction,
    /// Whether the broker keeps it. An empty payload then takes it away.
    pub retained: bool,
    /// In which case it is told.
    pub when: &'static str,
    pub about: &'static str,
    /// JSON Schema (draft 2020-12) of the payload.
    pub schema: fn() -> Value,
    pub example: fn() -> Value,
}

/// Everything that is said over MQTT.
pub const TOPICS: &[Topic] = &[
    Topic {
        pattern: "status",
        audience: Audience::Everyone,
        direction: Direction::FromGateway,
        retained: true,
        when: "With each connection and whenever it changes, at most four times a second. It is also the last will: the broker \
               says it with `lost` and the cause `vanished` when the gateway is gone without a good-bye.",
        about: "The gateway itself: its state in Homie's words, the most urgent trouble, boot, version, settings and clock.",
        schema: schema::<Status>,
        example: status,
    },
    Topic {
        pattern: "health",
        audience: Audience::Everyone,
        direction: Direction::FromGateway,
        retained: true,
        when: "With each connection and every `monitoring.interval_seconds`.",
        about: "The machine, the store and the queues in figures. What the machine cannot say is null.",
        schema: schema::<HealthReport>,
        example: health,
    },
    Topic {
        pattern: "summary",
        audience: Audience::Everyone,
        direction: Direction::FromGateway,
        retained: true,
        when: "With each connection, when something in it changes (at most every 5 s), and every `monitoring.interval_seconds`.",
        about: "What a list of many gateways needs of one: its troubles by urgency, each with the next step.",
        schema: schema::<Summary>,
        example: summary,
    },
    Topic {
        pattern: "analyzers/<analyzer>/state",
        audience: Audience::Everyone,
        direction: Direction::FromGateway,
        retained: true,
        when: "With each connection and whenever it changes, at most four times a second. Cleared when the analyzer is no \
               longer in the settings.",
        about: "One analyzer: its state in Homie's words, since when and why, and the state of its test.",
        schema: schema::<AnalyzerState>,
        example: analyzer_state,
    },
    Topic {
        pattern: "destinations/<destination>/state",
        audience: Audience::Everyone,
        direction: Direction::FromGateway,
        retained: true,
        when: "With each connection and whenever it changes, at most four times a second. Cleared when the destination is no \
               longer in the settings.",
        about: "One destination: `mqtt`, or `webhook:` and the endpoint's id.",
        schema: schema::<DestinationState>,
        example: destination_state,
    },
    Topic {
        pattern: "notices/<CODE>",
        audience: Audience::Everyone,
        direction: Direction::FromGateway,
        retained: false,
        when: "When it happens. For a broker that is away the newest 256 are kept until the gateway stops; older ones are \
               dropped and counted in `health` (`notices_dropped`). The events themselves stay in the gateway's log.",
        about: "What happened, without a person's data. The codes are listed below.",
        schema: schema::<Notice>,
        example: notice,
    },
    Topic {
        pattern: "analyzers/<analyzer>/events/<EVENT>",
        audience: Audience::Clinic,
        direction: Direction::FromGateway,
        retained: false,
        when: "Once an event is stored, in the order of the log, and again until the broker has acknowledged it. A repeat has the \
               same `id`.",
        about: "Every event with its results, as CloudEvents 1.0 JSON. `data` is what `decode` prints and webhooks carry.",
        schema: event_schema,
        example: event,
    },
    Topic {
        pattern: "api/request",
        audience: Audience::Clinic,
        direction: Direction::ToGateway,
        retained: false,
        when: "When somebody asks the API over MQTT (docs/api.md).",
        about: "One request to the HTTP API, with a token of its own.",
        schema: request_schema,
        example: request,
    },
    Topic {
        pattern: "api/response/<id>",
        audience: Audience::Clinic,
        direction: Direction::FromGateway,
        retained: false,
        when: "Once the request of that id is answered.",
        about: "The API's answer: status, headers and body.",
        schema: response_schema,
        example: response,
    },
];

/// The entry for a topic, given behind `<topic_prefix>/<gateway>/`.
pub fn topic(rest: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| matches(topic.pattern, rest))
}

fn matches(pattern: &str, rest: &str) -> bool {
    let (mut wanted, mut levels) = (pattern.split('/'), rest.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (None, None) => return true,
            (Some(word), Some(level)) if word == level || (word.starts_with('<') && !level.is_empty()) => {}
            _ => return false,
        }
    }
}

fn schema<T: schemars::JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn event_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event",
        "description": "CloudEvents 1.0.",
        "type": "object",
        "required": ["specversion", "id", "type", "source", "time", "datacontenttype", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": text("The event's id: the same on every repeat and at every destination."),
            "type": { "type": "string", "pattern": "^analyzer-gateway\\.", "description": "`analyzer-gateway.` and the event's name." },
            "source": { "type": "string", "pattern": "^/[^/]+/[^/]+$", "description": "`/<gateway>/<analyzer>`" },
            "time": { "type": "string", "format": "date-time" },
            "subject": text("The test's id, if it is about a test."),
            "datacontenttype": { "const": "application/json" },
            "redriven": { "const": true, "description": "A person has sent it off again." },
            "data": {
                "type": "object",
                "required": ["event", "analyzer", "received_at", "clock", "device"],
                "properties": {
                    "event": text("The event's name, the last part of the topic."),
                    "analyzer": text("The analyzer's id in the settings."),
                    "received_at": { "type": "string", "format": "date-time" },
                    "clock": { "enum": ["unset", "unsynchronized", "synchronized", "corrected"] },
                    "device": { "type": ["object", "null"] },
                    "test": { "type": "object", "required": ["id", "state", "results"] },
                },
                "additionalProperties": true,
            },
        },
    })
}

fn request_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Request",
        "type": "object",
        "required": ["id", "token", "method", "path"],
        "additionalProperties": false,
        "properties": {
            "id": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "description": "The end of the answer's topic." },
            "token": text("A token of the API, as `token add` has made it."),
            "method": text("`GET`, `POST` ..."),
            "path": text("With its query: `/api/events?after=7`."),
            "body": { "description": "The body, as JSON." },
            "idempotency_key": { "type": ["string", "null"] },
        },
    })
}

fn response_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Response",
        "type": "object",
        "required": ["id", "status", "headers", "body"],
        "properties": {
            "id": text("The request's id; `unreadable` if it cannot be read."),
            "status": { "type": "integer", "minimum": 100, "maximum": 599 },
            "headers": { "type": "object", "additionalProperties": { "type": "string" } },
            "body": { "description": "The body, as JSON." },
        },
    })
}

fn status() -> Value {
    json!({
        "schema": 1, "state": "alert", "cause": "started", "since": "2026-11-21T20:14:03.120Z",
        "reason": "webhook:lims: connection_refused: nobody listens there, since 2026-11-21T20:20:00.000Z",
        "gateway": "clinic-7", "version": "1.0.0", "boot": "5f0c2f0e-5b1e-4a63-9a3b-0d5f3c1e8a11", "clock": "synchronized",
        "configuration": { "hash": "9f2c...", "refused": null },
    })
}

fn machine() -> Value {
    json!({
        "cpu_celsius": 51.5, "throttled": [], "throttled_since_boot": ["under_voltage"], "load": 0.12,
        "process_bytes": 31_457_280, "process_anonymous_bytes": 12_582_912, "memory_total_bytes": 945_000_000,
        "memory_available_bytes": 610_000_000, "disk_total_bytes": 31_000_000_000u64, "disk_free_bytes": 24_000_000_000u64,
        "disk_days_left": 412.5, "card_wear_percent": 10, "uptime_seconds": 86_400,
        "certificates": [{ "of": "monitoring", "what": "certificate_file", "days_left": 41 }],
    })
}

fn health() -> Value {
    json!({
        "schema": 1, "at": "2026-11-21T20:25:03.120Z", "clock": "synchronized", "machine": machine(),
        "store": { "head": 1204, "bytes": 8_388_608 },
        "destinations": [{
            "id": "webhook:lims", "state": "trouble", "code": "connection_refused", "reason": "nobody listens there",
            "since": "2026-11-21T20:20:00.000Z", "waiting": 3, "held": 0, "dead": 0, "oldest_unacked_seconds": 303,
            "last_delivered_at": "2026-11-21T20:19:58.000Z",
        }],
        "analyzers": { "ready": 2, "lost": 1 },
        "monitoring": { "state": "ready", "code": null, "reason": null, "since": null },
        "notices_dropped": 0,
    })
}

fn summary() -> Value {
    json!({
        "schema": 1, "gateway": "clinic-7", "version": "1.0.0", "state": "alert", "at": "2026-11-21T20:25:03.120Z",
        "clock": "synchronized", "urgency": "watch",
        "troubles": [{
            "code": "connection_refused", "urgency": "watch", "subject": "webhook:lims",
            "reason": "connection_refused: nobody listens there", "since": "2026-11-21T20:20:00.000Z",
            "next_step": "Nothing answers at this address. Check host and port of the url, and that the receiver runs.",
        }],
        "analyzers": 3, "analyzers_ready": 2, "waiting": 3, "oldest_unacked_seconds": 303, "held": 0, "dead": 0,
        "disk_days_left": 412.5,
    })
}

fn analyzer_state() -> Value {
    json!({
        "state": "lost", "since": "2026-11-21T20:20:00.000Z", "reason": "unplugged", "test_state": "IDLE",
        "model": "Sysmex XP-100", "serial_number": "A1", "port": "usb 0403:6001",
    })
}

fn destination_state() -> Value {
    json!({
        "state": "trouble", "since": "2026-11-21T20:20:00.000Z", "code": "connection_refused",
        "reason": "nobody listens there", "held": 0, "dead": 0,
    })
}

fn notice() -> Value {
    json!({
        "schema": 1, "code": "MESSAGE_REJECTED", "at": "2026-11-21T20:14:03.120Z", "subject": "hematology",
        "reason_code": "interrupted", "reason": "a frame began and never ended",
        "event": "018f3a52-6d2a-7c1b-9d52-3f1f6f2b7c10",
    })
}

fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "018f3a52-6d2a-7c1b-9d52-3f1f6f2b7c10", "type": "analyzer-gateway.TEST_FINISHED",
        "source": "/clinic-7/hematology", "time": "2026-11-21T20:14:03.120Z",
        "subject": "4b1c7a52-6d2a-5c1b-9d52-3f1f6f2b7c10", "datacontenttype": "application/json",
        "data": {
            "event": "TEST_FINISHED", "analyzer": "hematology", "received_at": "2026-11-21T20:14:03.120Z",
            "clock": "synchronized", "device": { "model": "XP-100", "sn": "A1" },
            "test": {
                "id": "4b1c7a52-6d2a-5c1b-9d52-3f1f6f2b7c10", "state": "DONE", "sample_id": "113",
                "instrument_sample_id": "113", "patient_id": null, "qc": false, "started_at": null,
                "finished_at": "2024-07-23T17:24:52",
                "results": [{
                    "code": "WBC", "name": "", "value": "5.5", "number": 5.5, "unit": "10*3/uL", "reference": "",
                    "flags": ["N"], "status": "F", "at": "2024-07-23T17:24:52", "at_text": "20240723172452", "comments": [],
                }],
            },
        },
    })
}

fn request() -> Value {
    json!({ "id": "q1", "token": "...", "method": "GET", "path": "/api/status" })
}

fn response() -> Value {
    json!({ "id": "q1", "status": 200, "headers": { "content-type": "application/json" }, "body": { "schema": 1 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_by_its_pattern() {
        let pattern = |rest: &str| topic(rest).map(|topic| topic.pattern);
        assert_eq!(pattern("status"), Some("status"));
        assert_eq!(pattern("analyzers/a/state"), Some("analyzers/<analyzer>/state"));
        assert_eq!(pattern("destinations/webhook:lims/state"), Some("destinations/<destination>/state"));
        assert_eq!(pattern("analyzers/a/events/TEST_FINISHED"), Some("analyzers/<analyzer>/events/<EVENT>"));
        assert_eq!(pattern("analyzers//state"), None);
        assert_eq!(pattern("status/more"), None);
    }

    #[test]
    fn the_examples_are_what_the_types_read() {
        fn reads<T: serde::de::DeserializeOwned + serde::Serialize>(pattern: &str) {
            let example = (topic(pattern).expect("in the list").example)();
            let read: T = serde_json::from_value(example.clone()).expect("an example of its type");
            assert_eq!(serde_json::to_value(read).expect("plain fields"), example, "{pattern}: no field more or less");
        }
        reads::<Status>("status");
        reads::<HealthReport>("health");
        reads::<Summary>("summary");
        reads::<AnalyzerState>("analyzers/a/state");
        reads::<DestinationState>("destinations/a/state");
        reads::<Notice>("notices/GAP");
    }
}
