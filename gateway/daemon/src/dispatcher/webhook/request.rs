//! One request to an endpoint: rendered, signed for the receiver's clock, sent, judged.
//!
//! What a refused key may come from is tried at once, within the same attempt: another clock, and in dialects that carry one
//! secret only, another of the valid secrets. What was learned is handed back and kept as long as the worker runs.

use super::WebhookWorker;
use crate::platform::{Clock, HttpClient, SendError};
use crate::store::{AttemptNote, unsendable};
use gateway_core::config::{Secret, Webhook};
use gateway_core::delivery::{Outcome, Reason, ReasonCode, Start};
use gateway_core::dialects::{Attempt, Dialect, RenderError, Response};
use gateway_core::event::{Event, EventId, Seq};
use gateway_core::time::{ClockQuality, Now, Timestamp};
use std::sync::Arc;

/// The first characters of an answer that are kept for a person to read.
const ANSWER_CHARS_KEPT: usize = 200;
/// A clock that differs by less is not what a signature is refused for.
const SKEW_MS_MIN: i64 = 60_000;
/// Requests that one attempt may take: the first, one for the clock, and the other secrets.
const TRIES_MAX: usize = 6;

/// What every request of an endpoint needs.
pub(super) struct Sender {
    webhook: Webhook,
    gateway: String,
    dialect: &'static dyn Dialect,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
}

/// One attempt of each of these events, come to its end.
pub(super) struct Ended {
    /// By whom the queue knows it.
    pub(super) leader: Seq,
    /// In the order of the log.
    pub(super) starts: Vec<Start>,
    pub(super) events: Vec<EventId>,
    /// When each of them was received.
    pub(super) received: Vec<Timestamp>,
    pub(super) began: Now,
    pub(super) outcome: Outcome,
    pub(super) notes: Vec<AttemptNote>,
    pub(super) learned: Learned,
}

/// What the answers so far have told about the receiver.
#[derive(Clone, Default)]
pub(super) struct Learned {
    /// The receiver's wall clock less our monotonic one, in ms: it stays true when our wall clock jumps.
    receiver_ms: Option<i64>,
    /// It has refused a signature made for our time, and none since that was made for its own.
    refuses_our_time: bool,
    /// The secret that it has accepted last, in dialects that carry one only, and whether there is a newer one.
    accepted: Option<(Secret, bool)>,
}

impl Learned {
    /// Whether the receiver has last accepted a secret that is not the newest.
    pub(super) fn uses_older_key(&self) -> bool {
        self.accepted.as_ref().is_some_and(|(_, older)| *older)
    }

    /// The receiver's clock as far as it is known and matters: our own is trusted if a time source keeps it and it has
    /// not been refused.
    fn signed_at(&self, now: Now) -> Timestamp {
        let Some(receiver_ms) = self.receiver_ms else { return now.wall };
        let theirs = Timestamp(receiver_ms.saturating_add(mono_ms(now)));
        let trusted = now.quality == ClockQuality::Synchronized && !self.refuses_our_time;
        if !trusted && theirs.0.abs_diff(now.wall.0) > SKEW_MS_MIN.unsigned_abs() { theirs } else { now.wall }
    }

    /// Reads the `Date` header (RFC 9110 section 6.6.1).
    fn read_clock(&mut self, response: &Response, now: Now) {
        let date = response.header("date").and_then(|date| jiff::fmt::rfc2822::parse(date.trim()).ok());
        if let Some(date) = date {
            self.receiver_ms = Some(date.timestamp().as_millisecond().saturating_sub(mono_ms(now)));
        }
    }
}

fn mono_ms(now: Now) -> i64 {
    i64::try_from(now.mono.0 / 1_000_000).unwrap_or(i64::MAX)
}

impl Sender {
    pub(super) fn new(worker: &WebhookWorker) -> Sender {
        Sender {
            webhook: worker.webhook.clone(),
            gateway: worker.gateway.clone(),
            dialect: worker.dialect,
            http: worker.platform.http.clone(),
            clock: worker.platform.clock.clone(),
        }
    }

    /// One attempt, from the events to the outcome.
    pub(super) async fn send(
        self: Arc<Self>,
        leader: Seq,
        starts: Vec<Start>,
        batch: Vec<Event>,
        history: Vec<Event>,
        mut learned: Learned,
    ) -> Ended {
        let began = self.clock.now();
        let spoilt = batch.iter().find_map(|event| unsendable(event, &history));
        let (outcome, response) = match spoilt {
            Some(reason) => (Outcome::Rejected { reason }, None),
            None => self.try_keys(&starts, &batch, &history, &mut learned).await,
        };
        let ended = self.clock.now();
        let notes = starts.iter().map(|start| note(start, began, ended, response.as_ref(), &outcome)).collect();
        let events = batch.iter().map(|event| event.id).collect();
        let received = batch.iter().map(|event| event.received_at).collect();
        Ended { leader, starts, events, received, began, outcome, notes, learned }
    }

    /// Sends until the answer is no refusal of the key, or there is nothing else to try.
    async fn try_keys(
        &self,
        starts: &[Start],
        batch: &[Event],
        history: &[Event],
        learned: &mut Learned,
    ) -> (Outcome, Option<Response>) {
        let valid = self.webhook.secrets_at(self.clock.now());
        let mut keys = self.keys(&valid, learned);
        let mut tried = 0;
        loop {
            tried += 1;
            let now = self.clock.now();
            let (signing_at, signed_at) = (now.wall, learned.signed_at(now));
            let key = keys.first().cloned().unwrap_or_default();
            let sending = match self.render(starts, batch, history, &key, signed_at, now) {
                Ok(request) => self.http.send(&self.webhook, request),
                Err(outcome) => return (outcome, None),
            };
            let answer = sending.await;
            let now = self.clock.now();
            let response = match answer {
                Ok(response) => response,
                Err(error) => return (without_answer(error, now), None),
            };
            learned.read_clock(&response, now);
            let refused = matches!(response.status, 401 | 403);
            if refused {
                learned.refuses_our_time = true;
                let other_clock = learned.signed_at(now).0.abs_diff(signed_at.0) > SKEW_MS_MIN.unsigned_abs();
                if tried < TRIES_MAX && other_clock {
                    continue;
                }
                if tried < TRIES_MAX && keys.len() > 1 {
                    keys.remove(0);
                    continue;
                }
            }
            // Its own time was no better, or ours was taken: the next request may carry ours again.
            if refused || signed_at == signing_at {
                learned.refuses_our_time = false;
            }
            let outcome = self.dialect.judge(batch, &response, &self.webhook.endpoint, now);
            if outcome == Outcome::Delivered && self.dialect.takes_one_secret() {
                learned.accepted = key.first().map(|secret| (secret.clone(), valid.first() != Some(secret)));
            }
            return (outcome, Some(response));
        }
    }

    /// What signs the first try, the second, and so on. The secret that was accepted last comes first.
    fn keys(&self, valid: &[Secret], learned: &Learned) -> Vec<Vec<Secret>> {
        if !self.dialect.takes_one_secret() {
            return vec![valid.to_vec()];
        }
        let accepted = learned.accepted.as_ref().map(|(secret, _)| secret);
        let mut keys: Vec<Vec<Secret>> = valid.iter().map(|secret| vec![secret.clone()]).collect();
        keys.sort_by_key(|key| key.first() != accepted);
        keys
    }

    fn render(
        &self,
        starts: &[Start],
        batch: &[Event],
        history: &[Event],
        secrets: &[Secret],
        signed_at: Timestamp,
        now: Now,
    ) -> Result<gateway_core::dialects::Request, Outcome> {
        let first = starts.first().expect("a request has an event");
        let ordinals: Vec<u64> = starts.iter().map(|start| start.ordinal).collect();
        let attempt = Attempt {
            gateway: &self.gateway,
            endpoint: &self.webhook.endpoint,
            secrets,
            now,
            signed_at,
            number: first.attempt,
            ordinal: first.ordinal,
            ordinals: &ordinals,
            redriven: first.redriven,
            historical: first.historical,
            history,
        };
        match self.dialect.render(batch, &attempt) {
            Ok(Some(request)) => Ok(request),
            Ok(None) => {
                let reason = Reason::new(ReasonCode::CannotRender, "the event has no form in this dialect");
                Err(Outcome::Rejected { reason })
            }
            Err(RenderError { problem, is_settings: true }) => {
                Err(Outcome::Held { reason: Reason::new(ReasonCode::BadSettings, problem) })
            }
            Err(RenderError { problem, is_settings: false }) => {
                Err(Outcome::Rejected { reason: Reason::new(ReasonCode::CannotRender, problem) })
            }
        }
    }
}

fn without_answer(error: SendError, now: Now) -> Outcome {
    match error {
        SendError::NoNetwork(reason) => Outcome::NoNetwork { reason },
        SendError::Passing(reason) => Outcome::Retryable { reason, retry_after: None },
        // A box that does not know the time cannot tell whether a certificate is valid. The first probe after the clock is set
        // gets through.
        SendError::Configuration(reason)
            if reason.code == ReasonCode::Certificate && now.quality == ClockQuality::Unset =>
        {
            let detail = format!("{}; the clock of the box is not set, which may be all that is wrong", reason.detail);
            Outcome::Held { reason: Reason::new(reason.code, detail) }
        }
        SendError::Configuration(reason) => Outcome::Held { reason },
    }
}

fn note(start: &Start, began: Now, ended: Now, response: Option<&Response>, outcome: &Outcome) -> AttemptNote {
    let reason = match outcome {
        Outcome::Delivered => None,
        Outcome::Retryable { reason, .. }
        | Outcome::Held { reason }
        | Outcome::Rejected { reason }
        | Outcome::NoNetwork { reason } => Some(reason.clone()),
    };
    let answer =
        response.map(|response| String::from_utf8_lossy(&response.body).chars().take(ANSWER_CHARS_KEPT).collect());
    AttemptNote {
        seq: start.seq,
        ordinal: Some(start.ordinal),
        number: start.attempt,
        at: began.wall,
        duration_ms: u64::try_from(ended.mono.since(began.mono).as_millis()).unwrap_or(u64::MAX),
        status: response.map(|response| response.status),
        reason,
        answer: answer.unwrap_or_default(),
    }
}
