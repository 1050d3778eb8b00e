//! `session`: a session's numbered event stream with a MAC over each body, as seeds 002 and 003 show it.
//!
//! `sequence` was fixed when the event was committed: no retry, filter or restart renumbers it. The documented receiver
//! takes the low byte of each UTF-16 code unit of the body into its MAC, so a body is ASCII only: then its MAC and ours,
//! over the bytes, are the same. Success is any 2xx and the retry table is the usual one: the page speaks of neither.

use super::catalogue::{Entry, Key, Kind, Severity};
use super::verdict::Statuses;
use super::{
    Accepted, Attempt, Dialect, Endpoint, Received, Refusal, RenderError, Request, Response, check_shared_key,
    incoming, one_secret, post, probe_event, single,
};
use crate::delivery::Outcome;
use crate::event::{Event, EventId, EventKind, EventName, Payload, Personal, Posted};
use crate::time::Now;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// See the module.
pub struct Session;

const NAME: &str = "session";
const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=299 };

const MEASUREMENT: Key = Key::required("measurementId", Kind::Text);
const MEASUREMENT_IF_CREATED: Key = Key::optional("measurementId", Kind::Text);
const DETAILS: Key = Key::required("details", Kind::Text);

const fn entry(event: &'static str, severity: Severity, payload: &'static [Key], about: &'static str) -> Entry {
    Entry { event, about, severity, audiences: &[], payload, documented: true }
}

/// All events of seed 002; seed 003 lacks FAILED_INIT_BLOOD_FLOW.
const CATALOGUE: &[Entry] = &[
    entry("WMS_LOADED", Severity::Info, &[], "The application is loaded."),
    entry("CONFIGURATION_LOADED", Severity::Info, &[], "Its configuration was fetched."),
    entry("CAMERA_PERMISSION_GRANTED", Severity::Info, &[], "The user has granted the use of the camera."),
    entry("CAMERA_PERMISSION_DENIED", Severity::Error, &[], "The user has denied the use of the camera."),
    entry("CAMERA_STARTED", Severity::Info, &[], "The camera has started."),
    entry("MEASUREMENT_STARTED", Severity::Info, &[], "The measurement has started."),
    entry("MEASUREMENT_CREATED", Severity::Info, &[MEASUREMENT], "The measurement has an id."),
    entry(
        "INTERMEDIATE_RESULTS",
        Severity::Info,
        &[MEASUREMENT, Key::required("snr", Kind::Number), Key::required("sequence", Kind::Integer)],
        "Intermediate results have come in.",
    ),
    entry("SCAN_COMPLETED", Severity::Info, &[MEASUREMENT], "The scan is complete, the final results are awaited."),
    entry("RESULTS_RECEIVED", Severity::Info, &[MEASUREMENT], "The final results have come in."),
    entry(
        "REDIRECTING_TO_CALLBACK",
        Severity::Info,
        &[MEASUREMENT_IF_CREATED],
        "The user is sent to the callback URL.",
    ),
    entry("MEASUREMENT_CANCELED", Severity::Warn, &[MEASUREMENT], "The measurement was cancelled."),
    // The page names these two keys' meaning but not the keys.
    Entry {
        documented: false,
        ..entry(
            "CONSTRAINT_VIOLATION",
            Severity::Error,
            &[MEASUREMENT_IF_CREATED, Key::optional("constraint", Kind::Text)],
            "A constraint was violated, which cancels the measurement; the key `constraint` is ours.",
        )
    },
    entry("PAGE_UNLOADED", Severity::Info, &[MEASUREMENT_IF_CREATED], "The user has left the page."),
    entry("WEBSOCKET_DISCONNECTED", Severity::Warn, &[MEASUREMENT], "The connection was lost."),
    entry("WEBSOCKET_RECONNECTED", Severity::Info, &[MEASUREMENT], "The connection was made, or made again."),
    entry("WEBSOCKET_RECONNECTION_FAILED", Severity::Error, &[MEASUREMENT], "The connection could not be made again."),
    Entry {
        documented: false,
        ..entry(
            "API_ERROR",
            Severity::Error,
            &[MEASUREMENT_IF_CREATED, Key::optional("errorCode", Kind::Text)],
            "An interface answered with an error; the key `errorCode` is ours.",
        )
    },
    entry(
        "PAGE_VISIBILITY_CHANGE",
        Severity::Info,
        &[MEASUREMENT_IF_CREATED, Key::required("state", Kind::OneOf(&["VISIBLE", "HIDDEN"]))],
        "The page was hidden or shown.",
    ),
    entry("LOW_SNR", Severity::Error, &[DETAILS], "The measurement was cancelled for too low a signal-to-noise ratio."),
    entry("FAILED_INIT_BLOOD_FLOW", Severity::Error, &[MEASUREMENT], "The blood-flow collector could not start."),
    entry("GENERAL_ERROR", Severity::Error, &[DETAILS], "The camera could not be started."),
];

/// The session that numbers this event in the dialect `session`; `None`: it has no form there and takes no number. A
/// test of an analyzer's is a session of its own.
pub fn session_of(kind: &EventKind) -> Option<String> {
    match (&kind.posted, &kind.test) {
        (Some(posted), _) => {
            let known = posted.dialect == NAME && Session.entry(&posted.event).is_some();
            posted.session.as_ref().filter(|_| known).map(|session| session.expose().to_owned())
        }
        (None, test) => test.as_ref().filter(|_| Session.word(kind.name).is_some()).map(|test| test.id.to_string()),
    }
}

impl Dialect for Session {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "A session's numbered events, each with a severity, under a MAC: for receivers of a measuring station's webhook"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        match name {
            EventName::TestStarted => Some("MEASUREMENT_CREATED"),
            EventName::TestFinished => Some("RESULTS_RECEIVED"),
            _ => None,
        }
    }

    fn catalogue(&self) -> &'static [Entry] {
        CATALOGUE
    }

    fn numbers_sessions(&self) -> bool {
        true
    }

    fn has_form(&self, event: &Event, _: &Endpoint) -> bool {
        session_of(&event.kind).is_some()
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        check_shared_key(secret, "the MAC secret, which signs `X-WMS-Content-MAC`,")
    }

    fn takes_one_secret(&self) -> bool {
        true
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = single(batch)?;
        let kind = &event.kind;
        let word = match &kind.posted {
            Some(posted) => Some(posted.event.as_str()),
            None => self.word(kind.name),
        };
        let (Some(session), Some(entry)) = (session_of(kind), word.and_then(|word| self.entry(word))) else {
            return Ok(None);
        };
        let sequence = event.sequence.ok_or_else(|| {
            RenderError::ours("the event has no place in its session: it was stored before sessions were numbered")
        })?;
        let payload = match &kind.posted {
            Some(posted) => entry.posted(posted)?,
            None => entry.write(&json!({MEASUREMENT.name: session})),
        };
        let payload = if payload == "{}" { String::new() } else { format!(r#","payload":{payload}"#) };
        let body = format!(
            r#"{{"timestamp":{},"sessionId":{},"sequence":{sequence},"event":"{}","severity":"{}"{payload}}}"#,
            event.received_at.as_seconds(),
            Value::String(session),
            entry.event,
            entry.severity.as_str(),
        );
        let body = ascii(&body).into_bytes();
        let mac = content_mac(one_secret(attempt)?.expose(), &body);
        Ok(Some(post(event, attempt, "application/json", None, body)?.with_header("x-wms-content-mac", mac)))
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let posted = Posted {
            dialect: NAME.to_owned(),
            event: "WMS_LOADED".to_owned(),
            session: Some(Personal::new(format!("webhook-test-{id}"))),
            payload: Payload::default(),
        };
        let event = probe_event(id, attempt, EventKind::posted(posted));
        let request = self.render(&[event], attempt)?.ok_or_else(|| RenderError::ours("WMS_LOADED has a form"))?;
        Ok(request.marked_as_test())
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        STATUSES.judge(response, endpoint, now)
    }

    fn receives(&self) -> bool {
        true
    }

    fn accept(&self, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
        incoming::session(received)
    }
}

/// The same JSON with every character outside ASCII written as its UTF-16 code units. Such characters stand in JSON only
/// inside of texts, where an escape means the same.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

/// The value of `X-WMS-Content-MAC`: the HMAC-SHA256 of the body, in hexadecimal.
pub fn content_mac(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    format!("hmac-sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_of_ascii_is_escaped_and_means_the_same() {
        let json = r#"{"a":"für 🚀","b":"\n"}"#;
        let escaped = ascii(json);
        assert_eq!(escaped, r#"{"a":"f\u00fcr \ud83d\ude80","b":"\n"}"#);
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(read(&escaped), read(json));
    }

    /// RFC 4231 section 4.3.
    #[test]
    fn the_mac_is_the_published_one() {
        let mac = content_mac("Jefe", b"what do ya want for nothing?");
        assert_eq!(mac, "hmac-sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
