//! The MQTT destination: the log, from the cursor on, with a window of publishes in flight.
//!
//! Delivered means PUBACK. The cursor is the truth and the connection is disposable: after any error it is thrown away and
//! publishing goes on from the cursor. Retained topics are never events: they are published from the present state on
//! every connect, and cleared for analyzers that are gone.

use super::{Recorder, Shown, attempt_note};
use crate::board::Board;
use crate::platform::{BoxFuture, Message, MqttConnect, MqttConnection, Platform};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::{DestinationId, HeadWatch, Record, Row, Store, StoreError, unsendable};
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use gateway_core::config::Mqtt;
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::dialects::envelope;
use gateway_core::event::{AnalyzerId, Event, Seq};
use gateway_core::health::Fact;
use gateway_core::mutants::{Mutant, planted};
use gateway_core::time::Mono;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The name of this destination in the store.
pub const MQTT: &str = "mqtt";
/// After this many disconnects at the same first unacknowledged event, the window shrinks to that event alone; after as
/// many again the event is dead.
const DISCONNECTS_MAX: u32 = 3;
/// A connection that lived longer than this did not break because of its first message.
const CULPRIT_SECONDS_MAX: u64 = 5;
const BACKOFF_MS_MIN: u64 = 200;
const BACKOFF_MS_MAX: u64 = 30_000;
/// How long a stop waits for PUBACKs that are on their way.
const DRAIN_SECONDS_MAX: u64 = 3;
/// Bytes that MQTT adds around topic and payload, at most.
const PACKET_OVERHEAD_BYTES: usize = 16;

/// Publishes to one broker.
pub struct BrokerWorker {
    pub mqtt: Mqtt,
    pub gateway: String,
    pub analyzers: Vec<AnalyzerId>,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub shown: Shown,
    pub pulse: Pulse,
}

/// Where publishing stands: everything at or below is done.
#[derive(Debug, Clone, Copy)]
struct Position {
    cursor: Seq,
    ordinal: u64,
}

/// The event at which connections keep breaking.
#[derive(Debug, Default)]
struct Suspect {
    seq: Option<Seq>,
    disconnects: u32,
}

impl Suspect {
    fn accuse(&mut self, seq: Seq) {
        if self.seq != Some(seq) {
            *self = Suspect { seq: Some(seq), disconnects: 0 };
        }
        self.disconnects += 1;
    }

    fn is_isolated(&self) -> bool {
        self.disconnects >= DISCONNECTS_MAX
    }

    fn is_convicted(&self) -> bool {
        self.disconnects >= 2 * DISCONNECTS_MAX
    }
}

enum End {
    Stopped,
    Lost(Reason),
}

type Ack = (Seq, u64, Result<(), Reason>);

impl BrokerWorker {
    /// Runs until it is asked to stop. Only a store that cannot be read ends it otherwise.
    pub async fn run(self, mut stop: Stop) -> Result<(), StoreError> {
        let destination = DestinationId(MQTT.to_owned());
        let backlog = self.store.backlog(&destination).await?;
        let position = Position { cursor: backlog.cursor, ordinal: backlog.ordinal };
        let mut recorder = Recorder::new(&self.platform, &self.store, &destination);
        let ended = self.keep_publishing(&mut stop, position, &mut recorder).await;
        recorder.flush().await;
        ended
    }

    async fn keep_publishing(
        &self,
        stop: &mut Stop,
        mut position: Position,
        recorder: &mut Recorder,
    ) -> Result<(), StoreError> {
        let mut suspect = Suspect::default();
        let mut backoff = BACKOFF_MS_MIN;
        let mut said = None;
        loop {
            let connecting = self.platform.publisher.connect(&self.connect_settings());
            let connected = tokio::select! {
                biased;
                () = stop.asked() => return Ok(()),
                connected = connecting => connected,
            };
            self.pulse.beat(self.now());
            match connected {
                Ok(connection) => {
                    let since = self.now();
                    said = None;
                    self.tell(None);
                    tracing::info!(destination = MQTT, "connected to the broker");
                    let session = Session::new(self, connection, position, suspect.is_isolated(), recorder);
                    let (end, reached, first) = session.run(stop).await?;
                    position = reached;
                    let End::Lost(reason) = end else { return Ok(()) };
                    if self.now().since(since).as_secs() >= CULPRIT_SECONDS_MAX {
                        backoff = BACKOFF_MS_MIN;
                    } else if let Some(seq) = first {
                        suspect.accuse(seq);
                    }
                    tracing::warn!(destination = MQTT, %reason, "connection to the broker lost");
                    self.tell(Some(reason));
                    if suspect.is_convicted()
                        && let Some(seq) = suspect.seq.take()
                    {
                        position = self.bury(position, seq, recorder).await?;
                    }
                }
                Err(reason) => {
                    // Said once, and again when the trouble is another one.
                    if said.replace(reason.code) != Some(reason.code) {
                        tracing::warn!(destination = MQTT, %reason, "no connection to the broker, trying again");
                    }
                    self.tell(Some(reason));
                }
            }
            let due = self.now().after(Duration::from_millis(backoff));
            backoff = (backoff * 2).min(BACKOFF_MS_MAX);
            tokio::select! {
                biased;
                () = stop.asked() => return Ok(()),
                () = self.platform.clock.sleep_until(due) => {}
            }
            self.pulse.beat(self.now());
        }
    }

    /// The event that breaks every connection becomes a dead letter, and publishing goes on past it.
    async fn bury(&self, position: Position, seq: Seq, recorder: &mut Recorder) -> Result<Position, StoreError> {
        let Some(event) = self.store.event(seq).await? else { return Ok(position) };
        let detail = "the broker closed the connection each time it was given this message";
        let reason = Reason::new(ReasonCode::PoisonMessage, detail);
        tracing::error!(destination = MQTT, event = %event.id, %reason, "dead letter");
        Ok(self.record_dead(position, &event, reason, 2 * DISCONNECTS_MAX, recorder))
    }

    fn record_dead(
        &self,
        position: Position,
        event: &Event,
        reason: Reason,
        attempts: u32,
        recorder: &mut Recorder,
    ) -> Position {
        let reached = Position { cursor: event.seq, ordinal: position.ordinal + 1 };
        let note = attempt_note(self.platform.clock.now(), event.seq, attempts, Some(&reason));
        let state = DeliveryState::Dead { attempts, reason };
        let row = Row { seq: event.seq, ordinal: reached.ordinal, lane: event.lane(), state, redriven: false };
        let cursor = Some((reached.cursor, reached.ordinal));
        recorder.add(Record { rows: vec![row], attempts: vec![note], cursor }, 1);
        reached
    }

    fn connect_settings(&self) -> MqttConnect {
        MqttConnect {
            mqtt: self.mqtt.clone(),
            client_id: format!("{}-{}", self.mqtt.topic_prefix, self.gateway),
            will_topic: self.topic("status"),
            will_payload: self.board.gateway_status_lost().into_bytes(),
        }
    }

    fn topic(&self, rest: &str) -> String {
        format!("{}/{}/{rest}", self.mqtt.topic_prefix, self.gateway)
    }

    fn event_message(&self, event: &Event) -> Message {
        Message {
            topic: self.topic(&format!("analyzers/{}/events/{}", event.analyzer, event.kind.name)),
            payload: envelope(event, &self.gateway).into_bytes(),
            retain: false,
        }
    }

    fn too_large(&self, message: &Message) -> Option<Reason> {
        let packet_bytes = message.topic.len() + message.payload.len() + PACKET_OVERHEAD_BYTES;
        let bytes_max = self.mqtt.packet_bytes_max;
        let detail = || format!("{packet_bytes} bytes; mqtt.packet_bytes_max is {bytes_max}");
        (packet_bytes > bytes_max).then(|| Reason::new(ReasonCode::TooLarge, detail()))
    }

    fn tell(&self, trouble: Option<Reason>) {
        let fact = Fact::DestinationReached { destination: MQTT.to_owned(), trouble };
        self.board.tell(self.platform.clock.now(), fact);
    }

    fn now(&self) -> Mono {
        self.platform.clock.now().mono
    }
}

/// One connection's life.
struct Session<'a> {
    worker: &'a BrokerWorker,
    recorder: &'a mut Recorder,
    connection: Box<dyn MqttConnection>,
    position: Position,
    /// Read from the log, not yet published.
    waiting: VecDeque<Event>,
    looked_to: Seq,
    next_ordinal: u64,
    window: usize,
    acks: FuturesOrdered<BoxFuture<'static, Ack>>,
    first_unacked: Option<Seq>,
    retained: FuturesUnordered<BoxFuture<'static, Result<(), Reason>>>,
    shown_states: Vec<(String, String)>,
    head: HeadWatch,
    changes: watch::Receiver<u64>,
}

impl<'a> Session<'a> {
    fn new(
        worker: &'a BrokerWorker,
        connection: Box<dyn MqttConnection>,
        position: Position,
        alone: bool,
        recorder: &'a mut Recorder,
    ) -> Session<'a> {
        Session {
            worker,
            recorder,
            connection,
            position,
            waiting: VecDeque::new(),
            looked_to: position.cursor,
            next_ordinal: position.ordinal,
            window: if alone { 1 } else { worker.mqtt.window.max(1) },
            acks: FuturesOrdered::new(),
            first_unacked: None,
            retained: FuturesUnordered::new(),
            shown_states: Vec::new(),
            head: worker.store.head(),
            changes: worker.board.changes(),
        }
    }

    async fn run(mut self, stop: &mut Stop) -> Result<(End, Position, Option<Seq>), StoreError> {
        self.clear_retained().await?;
        self.publish_states();
        let end = loop {
            self.fill().await?;
            self.worker.pulse.beat(self.worker.now());
            let beat = self.worker.now().after(Duration::from_secs(BEAT_SECONDS));
            let caught_up = self.waiting.is_empty();
            tokio::select! {
                biased;
                () = stop.asked() => {
                    self.say_goodbye().await;
                    self.connection.disconnect().await;
                    return Ok((End::Stopped, self.position, None));
                }
                Some(ack) = self.acks.next(), if !self.acks.is_empty() => {
                    if let Err(reason) = self.take_acks(ack) {
                        break reason;
                    }
                }
                reason = self.connection.broken() => break reason,
                () = self.recorder.written() => {}
                Some(published) = self.retained.next(), if !self.retained.is_empty() => {
                    if let Err(reason) = published {
                        break reason;
                    }
                }
                () = self.head.changed(), if caught_up && self.acks.len() < self.window => {}
                _ = self.changes.changed() => self.publish_states(),
                () = self.worker.platform.clock.sleep_until(beat) => {}
            }
        };
        Ok((End::Lost(end), self.position, self.first_unacked))
    }

    /// Publishes from the log until the window is full or the log is read.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.acks.len() < self.window && self.recorder.keeps_up() {
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
            let message = self.worker.event_message(&event);
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
            let (seq, ordinal) = (event.seq, self.next_ordinal);
            self.first_unacked.get_or_insert(seq);
            let publishing = self.connection.publish(message);
            self.acks.push_back(if planted(Mutant::DeliveredBeforePuback) {
                Box::pin(async move {
                    drop(publishing);
                    (seq, ordinal, Ok(()))
                })
            } else {
                Box::pin(async move { (seq, ordinal, publishing.await) })
            });
        }
        Ok(())
    }

    /// Moves the cursor over this acknowledgement and all that are ready behind it.
    fn take_acks(&mut self, first: Ack) -> Result<(), Reason> {
        let mut next = Some(first);
        let mut failure = None;
        let before = self.position.cursor;
        let mut count = 0;
        while let Some((seq, ordinal, result)) = next.take() {
            if let Err(reason) = result {
                self.first_unacked = Some(seq);
                failure = Some(reason);
                break;
            }
            self.position = Position { cursor: seq, ordinal };
            self.first_unacked = None;
            count += 1;
            next = self.acks.next().now_or_never().flatten();
        }
        if self.position.cursor > before {
            let cursor = Some((self.position.cursor, self.position.ordinal));
            self.recorder.add(Record { cursor, ..Record::default() }, count);
            // A suspect that was acknowledged was none.
            self.window = self.worker.mqtt.window.max(1);
            self.worker.board.delivered(MQTT, count);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Clears the retained state of analyzers that the log knows and the settings do not.
    async fn clear_retained(&mut self) -> Result<(), StoreError> {
        for analyzer in self.worker.store.analyzers_seen().await? {
            if !self.worker.analyzers.contains(&analyzer) {
                let topic = self.worker.topic(&format!("analyzers/{analyzer}/state"));
                let empty = Message { topic, payload: Vec::new(), retain: true };
                self.retained.push(self.connection.publish(empty));
            }
        }
        Ok(())
    }

    /// Publishes every retained state that differs from what this connection has published.
    fn publish_states(&mut self) {
        let mut states = vec![(self.worker.topic("status"), self.worker.board.gateway_status())];
        for (analyzer, state) in self.worker.board.analyzer_states() {
            if self.worker.analyzers.contains(&analyzer) {
                states.push((self.worker.topic(&format!("analyzers/{analyzer}/state")), state));
            }
        }
        for state in states {
            if !self.shown_states.contains(&state) {
                self.shown_states.retain(|(topic, _)| *topic != state.0);
                let message = Message { topic: state.0.clone(), payload: state.1.clone().into_bytes(), retain: true };
                self.retained.push(self.connection.publish(message));
                self.shown_states.push(state);
            }
        }
    }

    /// Waits for what is on its way, leaves a true status behind, and closes without the last will.
    async fn say_goodbye(&mut self) {
        let worker = self.worker;
        let patience = worker.now().after(Duration::from_secs(DRAIN_SECONDS_MAX));
        let payload = worker.board.gateway_status_stopped().into_bytes();
        let leaving = self.connection.publish(Message { topic: worker.topic("status"), payload, retain: true });
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
