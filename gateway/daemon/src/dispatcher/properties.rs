//! What the gateway says with MQTT 5 beside a payload: what it is, of which gateway, and until when it holds.
//!
//! Invariant: nothing here that the topic or the payload does not say as well; a reader of MQTT 3.1.1 lacks nothing.

use crate::platform::{Message, Properties};
use gateway_core::event::Event;
use gateway_core::monitoring::Publication;
use gateway_core::overview::SCHEMA;
use std::time::Duration;

/// A state that nobody has repeated for so long is not known any more; it is repeated twice in that time.
pub const STATE_SECONDS: u32 = 86_400;
/// Intervals after which a health report that was not repeated is gone.
const INTERVALS: u64 = 3;

/// Of a message in JSON; `root` is what stands before each topic.
pub fn of(root: &str) -> Properties {
    let gateway = root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Properties {
        content_type: Some("application/json"),
        user: vec![("gateway", gateway.to_owned()), ("schema", SCHEMA.to_string())],
        ..Properties::default()
    }
}

/// Of an event, which never expires.
pub fn of_event(root: &str, event: &Event) -> Properties {
    let mut properties = of(root);
    properties.content_type = Some("application/cloudevents+json");
    properties.user.push(("event", event.kind.word().to_owned()));
    properties
}

/// A publication on its topic. `interval`: between two health reports.
pub fn message(root: &str, publication: &Publication, interval: Duration) -> Message {
    let rest = publication.topic();
    let health_seconds = interval.as_secs().saturating_mul(INTERVALS);
    let expiry_seconds = match rest {
        // The last word on the gateway stays, and above all the last will.
        "status" | "summary" => None,
        "health" => u32::try_from(health_seconds).ok().filter(|seconds| *seconds > 0),
        _ => (publication.retain() && !publication.payload().is_empty()).then_some(STATE_SECONDS),
    };
    Message {
        topic: format!("{root}{rest}"),
        payload: publication.payload().to_vec(),
        retain: publication.retain(),
        properties: Properties { expiry_seconds, ..of(root) },
    }
}
