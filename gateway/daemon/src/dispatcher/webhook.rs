//! One webhook: asks its queue what is due, renders it in the endpoint's dialect, posts it, and records what came back.
//!
//! All decisions are [`Queue`]'s; this and its parts perform them: [`reading`] shows the queue the log, [`request`] makes one
//! request. A webhook never waits for another: each has its own worker.

mod reading;
mod request;

use super::{Recorder, Shown};
use crate::board::Board;
use crate::platform::{BoxFuture, Platform};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::{AttemptNote, DestinationId, Record, RedriveWatch, Row, Store, StoreError};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use gateway_core::config::{Order, Webhook};
use gateway_core::delivery::{
    Changes, DeliveryState, DestinationView, Entry, Jitter, Limits, Outcome, Queue, Reason, ReasonCode,
};
use gateway_core::dialects::Dialect;
use gateway_core::event::{Event, EventId, Lane, Seq};
use gateway_core::health::Fact;
use gateway_core::time::{Now, Timestamp};
use request::{Ended, Learned, Sender};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long a stop waits for answers that are on their way.
const DRAIN_SECONDS_MAX: u64 = 3;

/// Forwards to one endpoint.
pub struct WebhookWorker {
    pub destination: DestinationId,
    pub webhook: Webhook,
    /// Since when a person has paused it; the settings' `paused` stands above that.
    pub paused: Option<Timestamp>,
    pub gateway: String,
    pub dialect: &'static dyn Dialect,
    pub ahead_events_max: usize,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub shown: Shown,
    pub pulse: Pulse,
}

type Flight = BoxFuture<'static, Ended>;

/// The worker at work: from a start to a stop, or to a store that does not answer as it should.
struct Forwarding<'a> {
    worker: &'a WebhookWorker,
    recorder: &'a mut Recorder,
    sender: Arc<Sender>,
    queue: Queue,
    /// Read and not yet sent.
    events: BTreeMap<Seq, Event>,
    flights: FuturesUnordered<Flight>,
    learned: Learned,
    redrives: RedriveWatch,
    /// Sent again by a person, not yet taken into the queue.
    redriven: VecDeque<Seq>,
    /// While there is a backlog: the newest event of each lane in it.
    earlier: BTreeMap<Lane, Option<Seq>>,
    /// [`Store::erasures`] when the events here were read: after another one they are read again.
    erasures: u64,
    said: Option<ReasonCode>,
    left_alone: bool,
}

impl WebhookWorker {
    /// Runs until it is asked to stop. Only a store that cannot be read ends it otherwise.
    pub async fn run(&self, mut stop: Stop) -> Result<(), StoreError> {
        if self.webhook.paused || self.paused.is_some() {
            self.rest(&mut stop).await;
            return Ok(());
        }
        let mut recorder = Recorder::new(&self.platform, &self.store, &self.destination);
        let ended = match Forwarding::begin(self, &mut recorder).await {
            Ok(forwarding) => forwarding.keep_going(&mut stop).await,
            Err(error) => Err(error),
        };
        // Also after an error: what is written down need not be repeated.
        recorder.flush().await?;
        ended
    }

    /// Sends nothing, and says so, until the settings change or a person resumes it.
    async fn rest(&self, stop: &mut Stop) {
        let said = match self.paused.filter(|_| !self.webhook.paused) {
            Some(since) => format!("paused by a person at {since}; everything is kept until it is resumed"),
            None => "`paused: true` in the settings; everything is kept".to_owned(),
        };
        let reason = Reason::new(ReasonCode::Paused, said);
        tracing::warn!(destination = %self.webhook.id, %reason, "paused: nothing is sent, everything is kept");
        loop {
            let view = DestinationView { breaker: Some(reason.clone()), ..DestinationView::default() };
            self.show(view);
            let now = self.now();
            self.pulse.beat(now.mono);
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(now.mono.after(Duration::from_secs(BEAT_SECONDS))) => {}
            }
        }
    }

    fn show(&self, view: DestinationView) {
        self.board.tell(self.now(), Fact::DestinationChanged { destination: self.destination.0.clone(), view });
    }

    fn bury(&self, event: EventId, reason: &Reason) {
        let destination = self.destination.0.clone();
        self.board.tell(self.now(), Fact::Buried { destination, event, reason: reason.clone() });
    }

    /// What must keep its order with what.
    fn lane(&self, event: &Event) -> Lane {
        match self.webhook.order {
            Order::Test => event.lane(),
            Order::Analyzer => Lane(format!("a:{}", event.analyzer)),
            Order::None => Lane(format!("e:{}", event.seq.0)),
        }
    }

    /// What the bodies of these events are laid together from.
    async fn history(&self, batch: &[Event]) -> Result<Vec<Event>, StoreError> {
        let mut newest = BTreeMap::new();
        for event in batch {
            if let Some(test) = event.test_id().filter(|_| self.dialect.needs_history(event.kind.name)) {
                newest.insert(test.0, (test, event.seq));
            }
        }
        let mut history = Vec::new();
        for (test, through) in newest.into_values() {
            history.extend(self.store.test_history(test, through).await?);
        }
        Ok(history)
    }

    fn now(&self) -> Now {
        self.platform.clock.now()
    }
}

impl<'a> Forwarding<'a> {
    async fn begin(worker: &'a WebhookWorker, recorder: &'a mut Recorder) -> Result<Self, StoreError> {
        // Before the rows are read: what is asked for later is either in them or told here.
        let redrives = worker.store.redrives(&worker.destination);
        let backlog = worker.store.backlog(&worker.destination).await?;
        let webhook = &worker.webhook;
        let limits = Limits {
            concurrency: webhook.concurrency,
            ahead_events_max: worker.ahead_events_max,
            batch: webhook.batch.min(worker.dialect.events_per_request_max(&webhook.endpoint)),
            backfill_per_second_max: webhook.backfill_per_second_max,
        };
        let schedule = webhook.schedule(worker.dialect.schedule());
        let rows = backlog.rows.into_iter().map(|row| (row.seq, entry(row)));
        let position = (backlog.cursor, backlog.ordinal);
        Ok(Forwarding {
            worker,
            recorder,
            sender: Arc::new(Sender::new(worker)),
            queue: Queue::new(schedule, limits, position, backlog.live, rows, worker.now()),
            events: BTreeMap::new(),
            flights: FuturesUnordered::new(),
            learned: Learned::default(),
            redrives,
            redriven: VecDeque::new(),
            earlier: BTreeMap::new(),
            erasures: worker.store.erasures(),
            said: None,
            left_alone: false,
        })
    }

    async fn keep_going(mut self, stop: &mut Stop) -> Result<(), StoreError> {
        let worker = self.worker;
        let mut head = worker.store.head();
        self.recall_lanes().await?;
        loop {
            let newest = head.borrow_and_update();
            self.take_redriven().await?;
            self.set_apart(newest).await?;
            self.offer(newest).await?;
            if self.recorder.keeps_up() {
                self.start_due().await?;
            }
            self.tell();
            let now = worker.now();
            worker.pulse.beat(now.mono);
            let beat = now.mono.after(Duration::from_secs(BEAT_SECONDS));
            let wake = self.queue.deadline(now).map_or(beat, |due| due.min(beat));
            tokio::select! {
                biased;
                () = stop.asked() => break,
                Some(ended) = self.flights.next(), if !self.flights.is_empty() => self.settle(ended),
                written = self.recorder.written() => written?,
                () = self.redrives.asked() => {}
                () = head.changed(), if self.queue.wants_events().is_some() => {}
                () = worker.platform.clock.sleep_until(wake) => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// Begins every attempt whose turn it is.
    async fn start_due(&mut self) -> Result<(), StoreError> {
        let worker = self.worker;
        while let Some(leader) = self.queue.next(worker.now()) {
            let erasures = worker.store.erasures();
            if std::mem::replace(&mut self.erasures, erasures) != erasures {
                self.events.clear();
            }
            let mut starts = vec![leader];
            starts.extend(self.queue.company(leader.seq, worker.now()));
            starts.sort_unstable_by_key(|start| start.seq);
            let (mut batch, mut sent) = (Vec::with_capacity(starts.len()), Vec::with_capacity(starts.len()));
            for start in starts {
                let event = match self.events.remove(&start.seq) {
                    Some(event) => Some(event),
                    None => worker.store.event(start.seq).await?,
                };
                match event {
                    Some(event) => {
                        worker.shown.raise(event.seq);
                        batch.push(event);
                        sent.push(start);
                    }
                    None => {
                        let changes = self.queue.pass(start.seq);
                        self.note_down(changes, Vec::new());
                    }
                }
            }
            if !batch.is_empty() {
                let history = worker.history(&batch).await?;
                let sending = Arc::clone(&self.sender).send(leader.seq, sent, batch, history, self.learned.clone());
                self.flights.push(sending.boxed());
            }
        }
        Ok(())
    }

    /// Records this outcome and all that are ready with it.
    fn settle(&mut self, first: Ended) {
        let mut next = Some(first);
        while let Some(ended) = next.take() {
            let mut random = [0; 2];
            self.worker.platform.entropy.fill(&mut random);
            let jitter = Jitter(u16::from_le_bytes(random));
            let changes = self.queue.finish(ended.leader, &ended.outcome, self.worker.now(), jitter);
            self.learn(&ended);
            self.say(&ended, &changes);
            self.count(&ended);
            let notes = if changes.counted { ended.notes } else { Vec::new() };
            self.note_down(changes, notes);
            next = self.flights.next().now_or_never().flatten();
        }
    }

    fn learn(&mut self, ended: &Ended) {
        let older = ended.learned.uses_older_key();
        if older && !self.learned.uses_older_key() {
            tracing::warn!(destination = %self.worker.webhook.id, "the receiver still accepts the older key only");
        } else if self.learned.uses_older_key() && !older {
            tracing::info!(destination = %self.worker.webhook.id, "the receiver accepts the newest key");
        }
        self.learned = ended.learned.clone();
    }

    /// One line when a reason is new, not one for each attempt; and always one for a dead letter.
    fn say(&mut self, ended: &Ended, changes: &Changes) {
        let endpoint = &self.worker.webhook.id;
        let mut is_buried = false;
        for (event, start) in ended.events.iter().zip(&ended.starts) {
            let state = changes.rows.iter().rev().find(|(row, _)| *row == start.seq).map(|(_, entry)| &entry.state);
            if let Some(DeliveryState::Dead { reason, .. }) = state {
                let attempt = start.attempt;
                tracing::error!(destination = %endpoint, %event, attempt, %reason, "dead letter: it is kept and not sent again");
                self.worker.bury(*event, reason);
                is_buried = true;
            }
        }
        let (Some(event), Some(start)) = (ended.events.first(), ended.starts.first()) else { return };
        let (attempt, events) = (start.attempt, ended.events.len());
        match &ended.outcome {
            Outcome::Delivered => {
                self.said = None;
                let fact = Fact::Delivered { destination: self.worker.destination.0.clone() };
                self.worker.board.tell(self.worker.platform.clock.now(), fact);
                tracing::debug!(destination = %endpoint, %event, events, attempt, "delivered");
            }
            Outcome::Retryable { reason, .. }
            | Outcome::Held { reason }
            | Outcome::NoNetwork { reason }
            | Outcome::Rejected { reason } => {
                // A dead letter has said it already.
                if self.said.replace(reason.code) == Some(reason.code) || is_buried {
                    tracing::debug!(destination = %endpoint, %event, events, attempt, %reason, "not delivered, kept");
                } else {
                    let next_step = reason.code.next_step();
                    tracing::warn!(destination = %endpoint, %event, events, attempt, %reason, next_step, "not delivered, kept");
                }
            }
        }
    }

    fn count(&self, ended: &Ended) {
        let (board, now) = (&self.worker.board, self.worker.now());
        let destination = &self.worker.destination.0;
        let events = ended.events.iter().zip(&ended.received).zip(&ended.starts);
        for ((event, received), start) in events {
            board.tally.attempted(destination, &ended.outcome, now.wall.since(*received));
            board.spans.attempted(*event, destination, start.attempt, &ended.outcome, ended.began, now);
        }
    }

    /// Shows how the queue stands, and says when the endpoint is left alone and when it is well again.
    fn tell(&mut self) {
        let view = DestinationView { older_key: self.learned.uses_older_key(), ..self.queue.view() };
        let destination = &self.worker.webhook.id;
        match &view.breaker {
            Some(reason) if !self.left_alone => {
                tracing::warn!(%destination, %reason, "the endpoint is left alone but for probes; everything is kept");
            }
            None if self.left_alone => tracing::info!(%destination, "the endpoint is well again"),
            _ => {}
        }
        self.left_alone = view.breaker.is_some();
        self.worker.show(view);
    }

    /// Waits, within a bound, for the answers that are on their way: each one that is recorded need not be repeated.
    async fn drain(mut self) {
        let clock = &self.worker.platform.clock;
        let patience = clock.sleep_until(clock.now().mono.after(Duration::from_secs(DRAIN_SECONDS_MAX)));
        let draining = async {
            while let Some(ended) = self.flights.next().await {
                self.settle(ended);
            }
        };
        tokio::select! {
            biased;
            () = draining => {}
            () = patience => {}
        }
    }

    /// Hands what has changed to the disk.
    fn note_down(&mut self, changes: Changes, attempts: Vec<AttemptNote>) {
        if changes.is_empty() && attempts.is_empty() {
            return;
        }
        let rows = changes.rows.into_iter().map(|(seq, entry)| row(seq, entry)).collect();
        let outcomes = attempts.len();
        self.recorder.add(Record { rows, attempts, cursor: changes.cursor, live: changes.live }, outcomes);
    }
}

fn entry(row: Row) -> Entry {
    let Row { ordinal, lane, state, redriven, historical, .. } = row;
    Entry { ordinal, lane, state, redriven, historical }
}

fn row(seq: Seq, entry: Entry) -> Row {
    let Entry { ordinal, lane, state, redriven, historical } = entry;
    Row { seq, ordinal, lane, state, redriven, historical }
}
