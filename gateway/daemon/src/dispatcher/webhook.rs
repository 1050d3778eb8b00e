//! One webhook: asks its queue what is due, renders it in the endpoint's dialect, posts it, and records what came back.
//!
//! All decisions are [`Queue`]'s; this file performs them. A webhook never waits for another: each has its own worker.

use super::{Recorder, Shown};
use crate::board::Board;
use crate::platform::{BoxFuture, Platform, SendError};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::{AttemptNote, DestinationId, Record, Row, Store, StoreError, unsendable};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use gateway_core::config::Webhook;
use gateway_core::delivery::{
    Changes, DeliveryState, Entry, Jitter, Limits, Outcome, Queue, Reason, ReasonCode, Start,
};
use gateway_core::dialects::{Attempt, Dialect, Response};
use gateway_core::event::{Event, EventId, Seq};
use gateway_core::health::Fact;
use gateway_core::time::Now;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a stop waits for answers that are on their way.
const DRAIN_SECONDS_MAX: u64 = 3;
/// The first characters of an answer that are kept for a person to read.
const ANSWER_CHARS_KEPT: usize = 200;

/// Forwards to one endpoint.
pub struct WebhookWorker {
    pub destination: DestinationId,
    pub webhook: Webhook,
    pub gateway: String,
    pub dialect: &'static dyn Dialect,
    pub ahead_events_max: usize,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub shown: Shown,
    pub pulse: Pulse,
}

/// One attempt that has come to its end.
struct Ended {
    start: Start,
    event: EventId,
    outcome: Outcome,
    note: AttemptNote,
}

type Flight = BoxFuture<'static, Ended>;

impl WebhookWorker {
    /// Runs until it is asked to stop. Only a store that cannot be read ends it otherwise.
    pub async fn run(&self, mut stop: Stop) -> Result<(), StoreError> {
        let mut recorder = Recorder::new(&self.platform, &self.store, &self.destination);
        let ended = self.keep_forwarding(&mut stop, &mut recorder).await;
        // Also after an error: what is written down need not be repeated.
        recorder.flush().await?;
        ended
    }

    async fn keep_forwarding(&self, stop: &mut Stop, recorder: &mut Recorder) -> Result<(), StoreError> {
        let backlog = self.store.backlog(&self.destination).await?;
        let limits = Limits { concurrency: self.webhook.concurrency, ahead_events_max: self.ahead_events_max };
        let schedule = self.webhook.schedule(self.dialect.schedule());
        let rows = backlog.rows.into_iter().map(|row| (row.seq, entry(row)));
        let mut queue = Queue::new(schedule, limits, backlog.cursor, backlog.ordinal, rows, self.now());
        let mut head = self.store.head();
        let mut events: BTreeMap<Seq, Event> = BTreeMap::new();
        let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
        let (mut left_alone, mut said) = (false, None);
        loop {
            head.borrow_and_update();
            self.offer(&mut queue, &mut events, recorder).await?;
            if recorder.keeps_up() {
                self.begin(&mut queue, &mut events, &mut flights, recorder).await?;
            }
            self.tell(&queue, &mut left_alone);
            let now = self.now();
            self.pulse.beat(now.mono);
            let beat = now.mono.after(Duration::from_secs(BEAT_SECONDS));
            let wake = queue.deadline(now).map_or(beat, |due| due.min(beat));
            tokio::select! {
                biased;
                () = stop.asked() => break,
                Some(ended) = flights.next(), if !flights.is_empty() => {
                    self.settle(&mut queue, ended, &mut flights, recorder, &mut said);
                }
                written = recorder.written() => written?,
                () = head.changed(), if queue.wants_events().is_some() => {}
                () = self.platform.clock.sleep_until(wake) => {}
            }
        }
        self.drain(queue, flights, recorder).await;
        Ok(())
    }

    /// Shows the queue as much of the log as it wants.
    async fn offer(
        &self,
        queue: &mut Queue,
        events: &mut BTreeMap<Seq, Event>,
        recorder: &mut Recorder,
    ) -> Result<(), StoreError> {
        while let Some(limit) = queue.wants_events() {
            let looked = queue.looked();
            let (members, through) = self.store.next_events(&self.destination, looked, limit).await?;
            if through <= looked {
                return Ok(());
            }
            if let Some(newest) = members.last() {
                self.shown.raise(newest.seq);
            }
            for event in members {
                if self.dialect.has_form(&event, &self.webhook.endpoint) {
                    queue.offer(event.seq, event.lane(), self.now());
                    events.insert(event.seq, event);
                }
            }
            note_down(recorder, queue.skip_to(through), Vec::new());
        }
        Ok(())
    }

    /// Begins every attempt whose turn it is.
    async fn begin(
        &self,
        queue: &mut Queue,
        events: &mut BTreeMap<Seq, Event>,
        flights: &mut FuturesUnordered<Flight>,
        recorder: &mut Recorder,
    ) -> Result<(), StoreError> {
        while let Some(start) = queue.next(self.now()) {
            let event = match events.remove(&start.seq) {
                Some(event) => Some(event),
                None => self.store.event(start.seq).await?,
            };
            let Some(event) = event else {
                note_down(recorder, queue.pass(start.seq), Vec::new());
                continue;
            };
            let history = match event.test_id() {
                Some(test) if self.dialect.needs_history(event.kind.name) => {
                    self.store.test_history(test, event.seq).await?
                }
                _ => Vec::new(),
            };
            self.shown.raise(event.seq);
            flights.push(self.attempt(start, event, history));
        }
        Ok(())
    }

    /// One attempt, from the event to the outcome.
    fn attempt(&self, start: Start, event: Event, history: Vec<Event>) -> Flight {
        let began = self.now();
        let secrets = self.webhook.secrets_at(began);
        let attempt = Attempt {
            gateway: &self.gateway,
            endpoint: &self.webhook.endpoint,
            secrets: &secrets,
            now: began,
            signed_at: began.wall,
            number: start.attempt,
            ordinal: start.ordinal,
            redriven: start.redriven,
            historical: false,
            history: &history,
        };
        let id = event.id;
        let batch = [event];
        let sending = match (unsendable(&batch[0], &history), self.dialect.render(&batch, &attempt)) {
            (Some(reason), _) => Err(reason),
            (None, Ok(Some(request))) => Ok(self.platform.http.send(&self.webhook, request)),
            (None, Ok(None)) => Err(Reason::new(ReasonCode::CannotRender, "the event has no form in this dialect")),
            (None, Err(error)) => Err(Reason::new(ReasonCode::CannotRender, error.problem)),
        };
        let (dialect, clock) = (self.dialect, self.platform.clock.clone());
        let endpoint = self.webhook.endpoint.clone();
        Box::pin(async move {
            let answer = match sending {
                Ok(sending) => sending.await,
                Err(reason) => {
                    let note = note(&start, began, began, None, Some(reason.clone()));
                    return Ended { start, event: id, outcome: Outcome::Rejected { reason }, note };
                }
            };
            let ended = clock.now();
            match answer {
                Ok(response) => {
                    let outcome = dialect.judge(&batch, &response, &endpoint, ended);
                    let note = note(&start, began, ended, Some(&response), reason_of(&outcome));
                    Ended { start, event: id, outcome, note }
                }
                Err(error) => {
                    let outcome = match error {
                        SendError::NoNetwork(reason) => Outcome::NoNetwork { reason },
                        SendError::Passing(reason) => Outcome::Retryable { reason, retry_after: None },
                        SendError::Configuration(reason) => Outcome::Held { reason },
                    };
                    let note = note(&start, began, ended, None, reason_of(&outcome));
                    Ended { start, event: id, outcome, note }
                }
            }
        })
    }

    /// Records this outcome and all that are ready with it.
    fn settle(
        &self,
        queue: &mut Queue,
        first: Ended,
        flights: &mut FuturesUnordered<Flight>,
        recorder: &mut Recorder,
        said: &mut Option<ReasonCode>,
    ) {
        let mut next = Some(first);
        while let Some(ended) = next.take() {
            let mut random = [0; 2];
            self.platform.entropy.fill(&mut random);
            let jitter = Jitter(u16::from_le_bytes(random));
            let seq = ended.start.seq;
            let changes = queue.finish(seq, &ended.outcome, self.now(), jitter);
            let state = changes.rows.iter().rev().find(|(row, _)| *row == seq).map(|(_, entry)| &entry.state);
            self.say(&ended, said, state);
            let notes = if changes.counted { vec![ended.note] } else { Vec::new() };
            note_down(recorder, changes, notes);
            next = flights.next().now_or_never().flatten();
        }
    }

    /// One line when a reason is new, not one for each attempt; and always one for a dead letter.
    fn say(&self, ended: &Ended, said: &mut Option<ReasonCode>, state: Option<&DeliveryState>) {
        let (endpoint, event, attempt) = (&self.webhook.id, ended.event, ended.start.attempt);
        if let Some(DeliveryState::Dead { reason, .. }) = state {
            tracing::error!(destination = %endpoint, %event, attempt, %reason, "dead letter: it is kept and not sent again");
            return;
        }
        match &ended.outcome {
            Outcome::Delivered => {
                *said = None;
                tracing::debug!(destination = %endpoint, %event, attempt, "delivered");
            }
            Outcome::Retryable { reason, .. }
            | Outcome::Held { reason }
            | Outcome::NoNetwork { reason }
            | Outcome::Rejected { reason } => {
                if said.replace(reason.code) == Some(reason.code) {
                    tracing::debug!(destination = %endpoint, %event, attempt, %reason, "not delivered, kept");
                } else {
                    let next_step = reason.code.next_step();
                    tracing::warn!(destination = %endpoint, %event, attempt, %reason, next_step, "not delivered, kept");
                }
            }
        }
    }

    /// Shows how the queue stands, and says when the endpoint is left alone and when it is well again.
    fn tell(&self, queue: &Queue, left_alone: &mut bool) {
        let view = queue.view();
        match &view.breaker {
            Some(reason) if !*left_alone => {
                tracing::warn!(destination = %self.webhook.id, %reason, "the endpoint is left alone but for probes; everything is kept");
            }
            None if *left_alone => tracing::info!(destination = %self.webhook.id, "the endpoint is well again"),
            _ => {}
        }
        *left_alone = view.breaker.is_some();
        self.board.tell(self.now(), Fact::DestinationChanged { destination: self.destination.0.clone(), view });
    }

    /// Waits, within a bound, for the answers that are on their way: each one that is recorded need not be repeated.
    async fn drain(&self, mut queue: Queue, mut flights: FuturesUnordered<Flight>, recorder: &mut Recorder) {
        let patience = self.now().mono.after(Duration::from_secs(DRAIN_SECONDS_MAX));
        let draining = async {
            while let Some(ended) = flights.next().await {
                self.settle(&mut queue, ended, &mut flights, recorder, &mut None);
            }
        };
        tokio::select! {
            biased;
            () = draining => {}
            () = self.platform.clock.sleep_until(patience) => {}
        }
    }

    fn now(&self) -> Now {
        self.platform.clock.now()
    }
}

fn reason_of(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Delivered => None,
        Outcome::Retryable { reason, .. }
        | Outcome::Held { reason }
        | Outcome::Rejected { reason }
        | Outcome::NoNetwork { reason } => Some(reason.clone()),
    }
}

fn note(start: &Start, began: Now, ended: Now, response: Option<&Response>, reason: Option<Reason>) -> AttemptNote {
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

/// Hands what has changed to the disk.
fn note_down(recorder: &mut Recorder, changes: Changes, attempts: Vec<AttemptNote>) {
    if changes.is_empty() && attempts.is_empty() {
        return;
    }
    let rows = changes.rows.into_iter().map(|(seq, entry)| row(seq, entry)).collect();
    let outcomes = attempts.len();
    recorder.add(Record { rows, attempts, cursor: changes.cursor, live: None }, outcomes);
}

fn entry(row: Row) -> Entry {
    Entry { ordinal: row.ordinal, lane: row.lane, state: row.state, redriven: row.redriven }
}

fn row(seq: Seq, entry: Entry) -> Row {
    Row {
        seq,
        ordinal: entry.ordinal,
        lane: entry.lane,
        state: entry.state,
        redriven: entry.redriven,
        historical: false,
    }
}
