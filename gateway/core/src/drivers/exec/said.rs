//! The lines of the conversation with a child process: what it may say, read strictly, and what it is told.
//!
//! Invariant: a word of the child's own never gets into a rejection, an alarm or a log, because it may hold what a patient is
//! called. Of codes only small letters and `_` pass, and the sentences are ours.

use super::stated::StatedEvent;
use crate::event::{Id, Personal};
use crate::registration::{OrderedTest, Patient};
use crate::session::RunningTest;
use crate::time::Now;
use crate::worklist::{OrderAction, Question, WorkOrder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of these lines, told in the first one.
const VERSION: u32 = 1;
/// Samples in one question, at most.
const SAMPLES_MAX: usize = 256;
/// Events in one commit, at most.
const EVENTS_MAX: usize = 1_000;
/// The longest deadline that a child may ask for.
const DEADLINE_MAX: Duration = Duration::from_secs(86_400);

/// What a line of the child says.
#[derive(Debug)]
pub(super) enum Said {
    /// It has heard the last `opened`.
    Ready,
    /// To the analyzer.
    Send(Vec<u8>),
    Commit(Proposal),
    /// So many of the bytes that are not stored are no message; `None`: all.
    Ignore(Option<usize>),
    Deadline(Option<Duration>),
    Ask(Question),
}

/// What the child wants stored.
#[derive(Debug)]
pub(super) struct Proposal {
    /// `None`: the bytes themselves.
    pub capture: Option<Vec<u8>>,
    /// So many of the bytes that are not stored belong to it; `None`: all.
    pub bytes: Option<usize>,
    pub events: Vec<StatedEvent>,
    pub complete: bool,
    /// What makes the message the same when the analyzer repeats it.
    pub message_id: Option<Personal>,
}

/// Why a line means nothing.
#[derive(Debug)]
pub(super) struct Fault {
    /// For the rejection.
    pub reason: &'static str,
    /// For the child alone: it may quote the line.
    pub why: String,
    /// Whether the child waits for `committed`.
    pub of_commit: bool,
}

/// One key, and its value.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Ready(bool),
    Send(String),
    Commit(CommitLine),
    Ignore(Amount),
    DeadlineMs(Option<u64>),
    Ask(QuestionLine),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitLine {
    #[serde(default)]
    capture: Option<String>,
    #[serde(default)]
    bytes: Option<usize>,
    #[serde(default)]
    events: Vec<StatedEvent>,
    #[serde(default = "yes")]
    complete: bool,
    #[serde(default)]
    message_id: Option<Personal>,
}

fn yes() -> bool {
    true
}

/// A number of bytes, or `"all"`.
struct Amount(Option<usize>);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        match (number, value.as_str()) {
            (Some(number), _) => Ok(Amount(Some(number))),
            (None, Some("all")) => Ok(Amount(None)),
            _ => Err(serde::de::Error::custom("expected a number of bytes or \"all\"")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum QuestionLine {
    All(bool),
    Samples(Vec<Personal>),
}

/// What this line says.
pub(super) fn read(line: &[u8]) -> Result<Said, Fault> {
    // A child that waits for its answer must get one, whatever is wrong with what it said.
    let of_commit = line.trim_ascii_start().starts_with(b"{\"commit\"");
    let fault = |reason, why: String| Fault { reason, why, of_commit };
    let line: Line = serde_json::from_slice(line)
        .map_err(|error| fault("is none that docs/exec-driver.md knows", error.to_string()))?;
    let bytes = |text: &str| {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|error| fault("holds bytes that are not in base64", error.to_string()))
    };
    Ok(match line {
        Line::Ready(false) | Line::Ask(QuestionLine::All(false)) => {
            return Err(fault("says false where only true means something", "write true".to_owned()));
        }
        Line::Ready(true) => Said::Ready,
        Line::Send(text) => Said::Send(bytes(&text)?),
        Line::Commit(commit) if commit.events.len() > EVENTS_MAX => {
            let why = format!("{} events are more than {EVENTS_MAX}", commit.events.len());
            return Err(fault("commits too many events at once", why));
        }
        Line::Commit(commit) => Said::Commit(Proposal {
            capture: commit.capture.as_deref().map(bytes).transpose()?,
            bytes: commit.bytes,
            events: commit.events,
            complete: commit.complete,
            message_id: commit.message_id,
        }),
        Line::Ignore(Amount(bytes)) => Said::Ignore(bytes),
        Line::DeadlineMs(span) => Said::Deadline(span.map(|span| Duration::from_millis(span).min(DEADLINE_MAX))),
        Line::Ask(QuestionLine::All(true)) => Said::Ask(Question::All),
        Line::Ask(QuestionLine::Samples(samples)) if samples.len() > SAMPLES_MAX => {
            let why = format!("{} samples are more than {SAMPLES_MAX}", samples.len());
            return Err(fault("asks for too many samples at once", why));
        }
        Line::Ask(QuestionLine::Samples(samples)) => Said::Ask(Question::Samples(samples)),
    })
}

/// What the child is told, one line each.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Telling<'a> {
    Opened(Opening<'a>),
    Deadline(bool),
    Closed(bool),
    #[serde(untagged)]
    Received {
        received: String,
        /// Milliseconds since 1970, UTC.
        at: i64,
    },
    #[serde(untagged)]
    Committed {
        committed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
    },
    #[serde(untagged)]
    Orders {
        orders: Vec<Order<'a>>,
    },
}

#[derive(Serialize)]
pub(super) struct Opening<'a> {
    version: u32,
    /// The bytes of a message that was not complete, in base64.
    unfinished: String,
    /// So many of them are stored.
    stored: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<&'a Id>,
}

#[derive(Serialize)]
pub(super) struct Order<'a> {
    sample_id: &'a Personal,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a Patient>,
    tests: &'a [OrderedTest],
    action: &'static str,
}

impl<'a> Telling<'a> {
    pub fn opened(stored: &[u8], held: &[u8], running: Option<&'a RunningTest>) -> Telling<'a> {
        let unfinished = STANDARD.encode([stored, held].concat());
        Telling::Opened(Opening {
            version: VERSION,
            unfinished,
            stored: stored.len(),
            running: running.map(|running| &running.id),
        })
    }

    pub fn received(now: Now, bytes: &[u8]) -> Telling<'static> {
        Telling::Received { received: STANDARD.encode(bytes), at: now.wall.0 }
    }

    pub fn orders(orders: &'a [WorkOrder]) -> Telling<'a> {
        let order = |order: &'a WorkOrder| Order {
            sample_id: &order.sample_id,
            patient: order.patient.as_ref(),
            tests: &order.tests,
            action: match order.action {
                OrderAction::New => "new",
                OrderAction::Rerun => "rerun",
                OrderAction::Cancel => "cancel",
            },
        };
        Telling::Orders { orders: orders.iter().map(order).collect() }
    }

    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("only string keys");
        line.push(b'\n');
        line
    }
}
