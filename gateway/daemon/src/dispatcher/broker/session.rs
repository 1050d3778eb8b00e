//! One connection to the broker, from the connect to its end.

use super::{BrokerWorker, MQTT, Position};
use crate::dispatcher::Recorder;
use crate::dispatcher::namesake::Namesake;
use crate::dispatcher::outlet::{Outlet, root};
use crate::dispatcher::requests::{Requests, Turn};
use crate::dispatcher::telling::{ACK_SECONDS_MAX, Audience, Telling};
use crate::platform::{BoxFuture, Message, MqttConnection};
use crate::pulse::{BEAT_SECONDS, Stop};
use crate::store::{DestinationId, HeadWatch, Record, RedriveWatch, Row, StoreError, unsendable};
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use gateway_core::delivery::{DeliveryState, Outcome, Reason, ReasonCode};
use gateway_core::event::{Event, EventId, Seq};
use gateway_core::health::Fact;
use gateway_core::mutants::{Mutant, planted};
use gateway_core::time::{Mono, Now, Timestamp};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a stop waits for PUBACKs that are on their way.
const DRAIN_SECONDS_MAX: u64 = 3;

/// How a connection ended that nobody asked to end.
pub(super) struct Lost {
    pub reason: Reason,
    pub reached: Position,
    /// The oldest event that was on its way.
    pub first_unacked: Option<Seq>,
}

type Ack = (Published, Result<(), Reason>);

/// What is counted of a publication once it is answered.
struct Flown {
    event: EventId,
    began: Now,
    received: Timestamp,
}

/// What was published.
enum Published {
    /// The next event of the log, and its ordinal.
    Next(Seq, u64),
    /// One that a person has sent again.
    Again(Row),
}

/// One connection's life.
pub(super) struct Session<'a> {
    worker: &'a BrokerWorker,
    recorder: &'a mut Recorder,
    connection: Box<dyn MqttConnection>,
    position: Position,
    /// Read from the log, not yet published.
    waiting: VecDeque<Event>,
    /// Sent again by a person, not yet published.
    again: VecDeque<(Row, Event)>,
    redrives: RedriveWatch,
    looked_to: Seq,
    next_ordinal: u64,
    window: usize,
    acks: FuturesOrdered<BoxFuture<'static, Ack>>,
    /// What `acks` waits for, in the same order.
    in_flight: VecDeque<Seq>,
    /// The same, with what is counted of them.
    flown: VecDeque<Flown>,
    /// When the broker last acknowledged anything, or when waiting for it began.
    progress: Mono,
    /// How the gateway is, for everybody who watches.
    telling: Telling,
    root: String,
    /// What others ask, and the answers that are on their way to them.
    requests: Requests,
    /// Somebody else of our name, and what is said in it.
    namesake: &'a mut Namesake,
    named: mpsc::Receiver<Message>,
    head: HeadWatch,
    changes: watch::Receiver<u64>,
}

impl<'a> Session<'a> {
    pub(super) async fn begin(
        worker: &'a BrokerWorker,
        mut connection: Box<dyn MqttConnection>,
        position: Position,
        alone: bool,
        recorder: &'a mut Recorder,
        namesake: &'a mut Namesake,
    ) -> Session<'a> {
        let root = root(&worker.mqtt, &worker.gateway);
        let named = Namesake::listen(connection.as_mut(), &root);
        let requests = Requests::local(connection.as_mut(), &worker.calls, &root);
        let now = worker.platform.clock.now();
        let mqtt = &worker.mqtt;
        let audience =
            Audience { root: &root, packet_bytes_max: mqtt.packet_bytes_max, home_assistant: mqtt.home_assistant };
        let telling = Telling::begin(MQTT, &worker.store, &worker.board, worker.interval, now, audience).await;
        Session {
            worker,
            recorder,
            connection,
            position,
            waiting: VecDeque::new(),
            again: VecDeque::new(),
            redrives: worker.store.redrives(&DestinationId(MQTT.to_owned())),
            looked_to: position.cursor,
            next_ordinal: position.ordinal,
            window: if alone { 1 } else { worker.mqtt.window.max(1) },
            acks: FuturesOrdered::new(),
            in_flight: VecDeque::new(),
            flown: VecDeque::new(),
            progress: worker.now(),
            telling,
            root,
            requests,
            namesake,
            named,
            head: worker.store.head(),
            changes: worker.board.changes(),
        }
    }

    /// Publishes until the connection breaks, or until it is asked to stop (`None`).
    pub(super) async fn run(mut self, stop: &mut Stop) -> Result<Option<Lost>, StoreError> {
        self.clear_unknown().await?;
        self.take_redriven().await?;
        let reason = loop {
            if !self.redrives.take().is_empty() {
                self.take_redriven().await?;
            }
            self.fill().await?;
            let now = self.worker.platform.clock.now();
            if let Some(overdue) = self.overdue().or_else(|| self.telling.overdue(now.mono)) {
                break overdue;
            }
            self.worker.pulse.beat(now.mono);
            self.namesake.look(now);
            if self.telling.is_due(now.mono) {
                self.telling.say(now, Outlet::over(&mut *self.connection, &self.root)).await;
            }
            let beat = now.mono.after(Duration::from_secs(BEAT_SECONDS)).min(self.telling.wake());
            let caught_up = self.waiting.is_empty();
            tokio::select! {
                biased;
                () = stop.asked() => {
                    self.say_goodbye().await;
                    self.connection.disconnect().await;
                    return Ok(None);
                }
                Some(ack) = self.acks.next(), if !self.acks.is_empty() => {
                    if let Err(reason) = self.take_acks(ack) {
                        break reason;
                    }
                }
                reason = self.connection.broken() => break reason,
                written = self.recorder.written() => written?,
                told = self.telling.acknowledged(|| self.worker.now()) => {
                    if let Err(reason) = told {
                        break reason;
                    }
                }
                turn = self.requests.turn() => match turn {
                    Turn::Answer(reply) => self.requests.publish(self.connection.as_mut(), reply),
                    Turn::Broken(reason) => break reason,
                },
                Some(said) = self.named.recv() => self.namesake.hear(self.worker.platform.clock.now(), &said),
                () = self.redrives.asked() => {}
                () = self.head.changed(), if caught_up && self.acks.len() < self.window => {}
                _ = self.changes.changed() => self.telling.ask(),
                () = self.worker.platform.clock.sleep_until(beat) => {}
            }
        };
        Ok(Some(Lost { reason, reached: self.position, first_unacked: self.in_flight.front().copied() }))
    }

    /// A broker that answers pings and withholds a PUBACK would otherwise be waited for in vain.
    fn overdue(&self) -> Option<Reason> {
        let silent = self.worker.now().since(self.progress).as_secs() >= ACK_SECONDS_MAX;
        let detail = format!("the broker has not acknowledged a message for {ACK_SECONDS_MAX} s");
        (silent && !self.acks.is_empty()).then(|| Reason::new(ReasonCode::Timeout, detail))
    }

    /// Publishes from the log until the window is full or the log is read.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.acks.len() < self.window && self.recorder.keeps_up() {
            if let Some((row, event)) = self.again.pop_front() {
                self.publish_again(row, &event);
                continue;
            }
            if self.waiting.is_empty() {
                let head = self.head.borrow_and_update();
                if self.looked_to >= head {
                    return Ok(());
                }
                let destination = DestinationId(MQTT.to_owned());
                let store = &self.worker.store;
                let (events, looked_to) = store.next_events(&destination, self.looked_to, self.window.max(16)).await?;
                self.looked_to = looked_to;
                if let Some(newest) = events.last() {
                    self.worker.shown.raise(newest.seq);
                }
                self.waiting.extend(events);
                if self.waiting.is_empty() {
                    continue;
                }
            }
            let Some(event) = self.waiting.pop_front() else { return Ok(()) };
            let message = self.worker.event_message(&event, false);
            if let Some(reason) = unsendable(&event, &[]).or_else(|| self.worker.too_large(&message)) {
                if !self.acks.is_empty() {
                    // What is ahead of it must be done first: the cursor is about to pass it.
                    self.waiting.push_front(event);
                    return Ok(());
                }
                tracing::error!(destination = MQTT, event = %event.id, %reason, "dead letter");
                self.position = self.worker.record_dead(self.position, &event, reason, 0, self.recorder);
                self.next_ordinal = self.position.ordinal;
                continue;
            }
            self.next_ordinal += 1;
            self.publish(&event, Published::Next(event.seq, self.next_ordinal), message);
        }
        Ok(())
    }

    fn publish(&mut self, event: &Event, published: Published, message: Message) {
        if self.in_flight.is_empty() {
            self.progress = self.worker.now();
        }
        self.in_flight.push_back(event.seq);
        let began = self.worker.platform.clock.now();
        self.flown.push_back(Flown { event: event.id, began, received: event.received_at });
        let publishing = self.connection.publish(message);
        self.acks.push_back(if planted(Mutant::DeliveredBeforePuback) {
            Box::pin(async move {
                drop(publishing);
                (published, Ok(()))
            })
        } else {
            Box::pin(async move { (published, publishing.await) })
        });
    }

    /// Reads what a person has sent again and nobody has published yet. One whose PUBACK is not written down yet is published
    /// twice.
    async fn take_redriven(&mut self) -> Result<(), StoreError> {
        let backlog = self.worker.store.backlog(&DestinationId(MQTT.to_owned())).await?;
        self.position.dead = backlog.rows.iter().filter(|row| row.state.is_settled()).count();
        self.worker.tell_dead(self.position.dead);
        self.again.clear();
        let queued = |row: &Row| matches!(row.state, DeliveryState::Queued { .. });
        for row in backlog.rows.into_iter().filter(queued) {
            if self.in_flight.contains(&row.seq) {
                continue;
            }
            if let Some(event) = self.worker.store.event(row.seq).await? {
                self.again.push_back((row, event));
            }
        }
        Ok(())
    }

    fn publish_again(&mut self, row: Row, event: &Event) {
        let message = self.worker.event_message(event, true);
        match unsendable(event, &[]).or_else(|| self.worker.too_large(&message)) {
            Some(reason) => {
                tracing::error!(destination = MQTT, event = %event.id, %reason, "dead letter again");
                self.position = self.worker.record_dead_again(self.position, row, reason, 0, self.recorder);
            }
            None => self.publish(event, Published::Again(row), message),
        }
    }

    /// Moves the cursor over this acknowledgement and all that are ready behind it.
    fn take_acks(&mut self, first: Ack) -> Result<(), Reason> {
        let mut next = Some(first);
        let mut failure = None;
        let before = self.position.cursor;
        let mut count = 0;
        while let Some((published, result)) = next.take() {
            let flown = self.flown.pop_front();
            if let Err(reason) = result {
                self.count(flown, &Outcome::Retryable { reason: reason.clone(), retry_after: None });
                failure = Some(reason);
                break;
            }
            self.count(flown, &Outcome::Delivered);
            match published {
                Published::Next(cursor, ordinal) => self.position = Position { cursor, ordinal, ..self.position },
                Published::Again(row) => {
                    let row = Row { state: DeliveryState::Delivered { attempts: 1 }, ..row };
                    self.recorder.add(Record { rows: vec![row], ..Record::default() }, 1);
                }
            }
            self.in_flight.pop_front();
            self.progress = self.worker.now();
            count += 1;
            next = self.acks.next().now_or_never().flatten();
        }
        if self.position.cursor > before {
            let cursor = Some((self.position.cursor, self.position.ordinal));
            self.recorder.add(Record { cursor, ..Record::default() }, count);
            let fact = Fact::Delivered { destination: MQTT.to_owned() };
            self.worker.board.tell(self.worker.platform.clock.now(), fact);
            // A suspect that was acknowledged was none.
            self.window = self.worker.mqtt.window.max(1);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Takes away the states of analyzers that the log knows and the settings do not: an older version has noted no topics.
    async fn clear_unknown(&mut self) -> Result<(), StoreError> {
        let mut seen = self.worker.store.analyzers_seen().await?;
        seen.retain(|analyzer| !self.worker.analyzers.contains(analyzer));
        let worker = self.worker;
        self.telling.clear(seen.iter().map(|analyzer| worker.topic(&format!("analyzers/{analyzer}/state"))));
        Ok(())
    }

    fn count(&self, flown: Option<Flown>, outcome: &Outcome) {
        let Some(Flown { event, began, received }) = flown else { return };
        let now = self.worker.platform.clock.now();
        self.worker.board.tally.attempted(MQTT, outcome, now.wall.since(received));
        self.worker.board.spans.attempted(event, MQTT, 1, outcome, began, now);
    }

    /// Waits for what is on its way, leaves a true status behind, and closes without the last will.
    async fn say_goodbye(&mut self) {
        let worker = self.worker;
        let due = worker.now().after(Duration::from_secs(DRAIN_SECONDS_MAX));
        self.requests.drain(self.connection.as_mut(), &worker.platform.clock, due).await;
        let patience = worker.now().after(Duration::from_secs(DRAIN_SECONDS_MAX));
        let now = worker.platform.clock.now();
        let leaving = self.telling.goodbye(now, Outlet::over(&mut *self.connection, &self.root));
        let draining = async {
            while let Some(ack) = self.acks.next().await {
                if self.take_acks(ack).is_err() {
                    return;
                }
            }
            let _ = leaving.await;
        };
        tokio::select! {
            biased;
            () = draining => {}
            () = worker.platform.clock.sleep_until(patience) => {}
        }
    }
}
