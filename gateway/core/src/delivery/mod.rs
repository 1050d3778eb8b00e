//! What becomes of a delivery: one event on its way to one destination.
//!
//! Pure arithmetic over the receiver's answers. [`advance`] is the only place that decides on a retry, and the only one
//! that turns a delivery into a dead letter; [`Queue`] decides for a whole destination what is tried when. Nothing here is
//! ever deleted: a delivery ends delivered, or dead with a reason that a person can read.

mod breaker;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod parts_tests;
mod plan;
mod queue;
#[cfg(test)]
mod queue_tests;
mod schedule;

pub use plan::{Changes, DestinationView, Entry, Limits, LiveMove, LivePart, Start};
pub use queue::Queue;
pub use schedule::{Jitter, RetryReading, RetrySchedule};

use crate::mutants::{Mutant, planted};
use crate::time::{Mono, Now};
use std::fmt;
use std::time::Duration;

/// Why an attempt failed, or why a delivery waits. The code is for programs and columns; the detail is a sentence that
/// names the status or the fault, never the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: ReasonCode,
    pub detail: String,
}

impl Reason {
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Reason {
        Reason { code, detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $next_step:literal;)*) => {
        /// The words for what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode { $($(#[$doc])* $name,)* }

        impl ReasonCode {
            /// Every code there is.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name,)*];

            /// The word in logs, columns and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(ReasonCode::$name => $word,)* }
            }

            /// What a person can do about it, in plain words.
            pub fn next_step(self) -> &'static str {
                match self { $(ReasonCode::$name => $next_step,)* }
            }

            /// Whether it lasts until somebody changes something.
            pub fn needs_a_person(self) -> bool {
                use ReasonCode::{BadSettings, Certificate, Gone, NotFound, Redirected, Unauthorized, UnknownHost};
                matches!(self, BadSettings | Certificate | Gone | NotFound | Redirected | Unauthorized | UnknownHost)
            }

            /// The reverse of [`ReasonCode::as_str`].
            pub fn from_word(word: &str) -> Option<ReasonCode> {
                ReasonCode::ALL.iter().copied().find(|code| code.as_str() == word)
            }
        }
    };
}

reason_codes! {
    /// The status says that the receiver has trouble of its own (5xx, 408, 425).
    ServerError = "server_error", "The receiver has a fault of its own. The gateway tries again; tell its operator if it lasts.";
    /// 429.
    TooManyRequests = "too_many_requests", "The receiver asks for a slower pace. The gateway waits as long as it says.";
    /// Nobody listens there.
    ConnectionRefused = "connection_refused", "Nothing answers at this address. Check host and port of the url, and that the receiver runs.";
    /// The connection broke in the middle.
    ConnectionLost = "connection_lost", "The connection broke before the answer. The gateway tries again.";
    /// No answer within `timeout`.
    Timeout = "timeout", "The receiver did not answer in time. Raise `timeout` if it is known to be slow.";
    /// This machine has no network: not an attempt.
    NoNetwork = "no_network", "The box has no network. Check the cable or the Wi-Fi; nothing is lost meanwhile.";
    /// The host's name does not exist.
    UnknownHost = "unknown_host", "The name in the url does not exist. Check its spelling and the box's DNS.";
    /// The certificate cannot be trusted.
    Certificate = "certificate", "The receiver's certificate is not trusted: expired, for another name, or from an unknown authority (`ca_file`).";
    /// 401 or 403.
    Unauthorized = "unauthorized", "The receiver refuses the key or the signature. Check `secret` on both sides.";
    /// 404, where the dialect takes it for a wrong address.
    NotFound = "not_found", "The receiver does not know this address. Check the path of the url.";
    /// 410: the receiver says that it is gone for good.
    Gone = "gone", "The receiver says that this address is closed for good. Remove the webhook or give its new url.";
    /// 3xx: redirects are not followed.
    Redirected = "redirected", "The receiver answers with another address. Write that address into `url` if you trust it.";
    /// The receiver refuses this very event (400, 422 and the like).
    Refused = "refused", "The receiver refuses this event. Compare it with what the receiver expects, then redrive it.";
    /// The body is longer than the destination takes.
    TooLarge = "too_large", "The event is larger than this destination accepts. Raise its limit, then redrive it.";
    /// The retry table is used up.
    AttemptsExhausted = "attempts_exhausted", "Every attempt of the retry table failed. Mend the receiver, then redrive.";
    /// The event cannot be written with these settings: a template, a key that does not fit.
    BadSettings = "bad_settings", "The gateway cannot write this event with the webhook's settings. Mend them; it is then sent by itself.";
    /// The settings pause the webhook.
    Paused = "paused", "The webhook is paused, in the settings or by a person. Everything is kept; take `paused` away or resume it, and it is sent.";
    /// The event cannot be written in this dialect.
    CannotRender = "cannot_render", "The gateway cannot write this event in the webhook's dialect. Tell the makers of the gateway.";
    /// The broker dropped the connection again and again at this very message.
    PoisonMessage = "poison_message", "The broker closes the connection whenever it gets this message. Look at its log, then redrive.";
    /// The broker refuses the client.
    BrokerRefused = "broker_refused", "The MQTT broker refuses the connection. Check user, password and certificate.";
    /// Another client has connected under our client id.
    SameIdTwice = "same_id_twice", "Another box uses the same gateway.id at this broker. Give each box an id of its own.";
    /// What the delivery needs was evicted to free space.
    DataEvicted = "data_evicted", "The disk was full and the raw samples of this test were given up. Results are kept.";
}

/// What one attempt came to, in the dialect's reading of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer itself has said so.
    Delivered,
    /// Try again after the next delay of the table, or after `retry_after` if that is longer.
    Retryable { reason: Reason, retry_after: Option<Duration> },
    /// A fault of configuration: the endpoint pauses, keeps everything and probes.
    Held { reason: Reason },
    /// This event will never be accepted as it is.
    Rejected { reason: Reason },
    /// This machine has no network. Not an attempt: the schedule stands still.
    NoNetwork { reason: Reason },
}

/// Where a delivery stands. `attempts` counts the ones made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryState {
    /// Not attempted since it was queued (or behind another of its lane).
    Queued {
        attempts: u32,
    },
    /// Waits for its next attempt at `due`.
    Waiting {
        attempts: u32,
        due: Mono,
        reason: Reason,
    },
    /// Waits for a person, a new configuration or a successful probe.
    Held {
        attempts: u32,
        reason: Reason,
    },
    Dead {
        attempts: u32,
        reason: Reason,
    },
    Delivered {
        attempts: u32,
    },
}

impl DeliveryState {
    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        match self {
            DeliveryState::Queued { attempts }
            | DeliveryState::Waiting { attempts, .. }
            | DeliveryState::Held { attempts, .. }
            | DeliveryState::Dead { attempts, .. }
            | DeliveryState::Delivered { attempts } => *attempts,
        }
    }

    /// Whether the lane may go on past it.
    pub fn is_settled(&self) -> bool {
        matches!(self, DeliveryState::Dead { .. } | DeliveryState::Delivered { .. })
    }
}

/// The state after one attempt, made at `now`, came to `outcome`.
pub fn advance(
    state: &DeliveryState,
    outcome: &Outcome,
    schedule: &RetrySchedule,
    now: Now,
    jitter: Jitter,
) -> DeliveryState {
    let attempts = state.attempts().saturating_add(1);
    match outcome {
        Outcome::Delivered => DeliveryState::Delivered { attempts },
        Outcome::Rejected { reason } => DeliveryState::Dead { attempts, reason: reason.clone() },
        Outcome::Held { reason } => DeliveryState::Held { attempts, reason: reason.clone() },
        Outcome::NoNetwork { .. } => state.clone(),
        Outcome::Retryable { reason, retry_after } => {
            let step = if planted(Mutant::RetryTooEarly) { attempts.saturating_sub(1) } else { attempts };
            let Some(delay) = schedule.delay_after(step) else {
                let detail = format!("{attempts} attempts failed, the last one with {reason}");
                return DeliveryState::Dead { attempts, reason: Reason::new(ReasonCode::AttemptsExhausted, detail) };
            };
            let delay = if schedule.jittered { jitter.lengthen(delay) } else { delay };
            let asked = retry_after.unwrap_or_default().min(schedule.retry_after_max);
            DeliveryState::Waiting { attempts, due: now.mono.after(delay.max(asked)), reason: reason.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(list: &[u64]) -> Vec<Duration> {
        list.iter().copied().map(Duration::from_secs).collect()
    }

    fn due_times(schedule: &RetrySchedule) -> Vec<u64> {
        let mut now = Now::default();
        let mut times = Vec::new();
        now.mono = now.mono.after(schedule.delay_after(0).expect("a first attempt"));
        let mut state = DeliveryState::Queued { attempts: 0 };
        loop {
            times.push(now.mono.0 / 1_000_000_000);
            let reason = Reason::new(ReasonCode::ServerError, "500");
            state = advance(&state, &Outcome::Retryable { reason, retry_after: None }, schedule, now, Jitter(0));
            match state {
                DeliveryState::Waiting { due, .. } => now.mono = due,
                _ => return times,
            }
        }
    }

    #[test]
    fn the_three_readings_of_one_table() {
        let mut schedule = RetrySchedule::table(seconds(&[0, 5, 10, 30]));
        assert_eq!(due_times(&schedule), [0, 5, 15, 45]);
        schedule.reading = RetryReading::Offsets;
        assert_eq!(due_times(&schedule), [0, 5, 10, 30]);
        schedule.reading = RetryReading::Retries;
        assert_eq!(due_times(&schedule), [0, 0, 5, 15, 45]);
    }

    #[test]
    fn the_last_failure_is_a_dead_letter_with_its_reason() {
        let schedule = RetrySchedule::table(seconds(&[0]));
        let reason = Reason::new(ReasonCode::Timeout, "no answer in 30 s");
        let outcome = Outcome::Retryable { reason, retry_after: None };
        let state = advance(&DeliveryState::Queued { attempts: 0 }, &outcome, &schedule, Now::default(), Jitter(0));
        let DeliveryState::Dead { attempts: 1, reason } = state else { panic!("{state:?}") };
        assert_eq!(reason.code, ReasonCode::AttemptsExhausted);
        assert!(reason.detail.contains("no answer in 30 s"));
    }

    #[test]
    fn retry_after_lengthens_and_never_shortens() {
        let schedule = RetrySchedule::table(seconds(&[0, 60, 60]));
        let due = |asked| {
            let reason = Reason::new(ReasonCode::TooManyRequests, "429");
            let outcome = Outcome::Retryable { reason, retry_after: Some(Duration::from_secs(asked)) };
            match advance(&DeliveryState::Queued { attempts: 0 }, &outcome, &schedule, Now::default(), Jitter(0)) {
                DeliveryState::Waiting { due, .. } => due.0 / 1_000_000_000,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((due(5), due(600), due(u64::from(u32::MAX))), (60, 600, 86_400));
    }

    #[test]
    fn no_network_is_not_an_attempt() {
        let state = DeliveryState::Queued { attempts: 3 };
        let outcome = Outcome::NoNetwork { reason: Reason::new(ReasonCode::NoNetwork, "no route") };
        let schedule = RetrySchedule::standard();
        assert_eq!(advance(&state, &outcome, &schedule, Now::default(), Jitter(9)), state);
    }
}
