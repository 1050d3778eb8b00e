//! The last lines of this process's log, kept in memory for the diagnostic bundle.
//!
//! Invariant: a line here is a message as it stands in the source (tests/tidy.rs holds that none has a place to fill in) and
//! those of its fields that [`FIELDS`] names.

use gateway_core::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

const LINES_MAX: usize = 500;
const FIELD_CHARS_MAX: usize = 300;
/// What may leave the house: ids of ours, names from the settings, counts, codes and reasons.
const FIELDS: [&str; 18] = [
    "analyzer",
    "attempt",
    "bytes",
    "code",
    "destination",
    "error",
    "event",
    "events",
    "gateway",
    "hash",
    "message",
    "next_step",
    "orders",
    "place",
    "reason",
    "repeated",
    "seq",
    "stored",
];

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    at: Timestamp,
    level: &'static str,
    target: &'static str,
    #[serde(flatten)]
    fields: BTreeMap<&'static str, String>,
}

/// Keeps the lines of the gateway's own code.
pub struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if !target.starts_with("gateway_") {
            return;
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let at = Timestamp(jiff::Timestamp::now().as_millisecond());
        let line = Line { at, level: event.metadata().level().as_str(), target, fields: fields.0 };
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The last lines, oldest first.
pub fn recent() -> Vec<Line> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if FIELDS.contains(&field.name()) {
            self.0.insert(field.name(), format!("{value:?}").chars().take(FIELD_CHARS_MAX).collect());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
