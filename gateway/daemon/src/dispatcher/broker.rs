//! The MQTT destination: the log, from the cursor on, with a window of publishes in flight.
//!
//! Delivered means PUBACK. The cursor is the truth and the connection is disposable: after any error it is thrown away and
//! publishing goes on from the cursor. Retained topics are never events: they are published from the present state on
//! every connect, and cleared for analyzers that are gone.

mod session;

use super::namesake::Namesake;
use super::outlet::root;
use super::telling::PACKET_OVERHEAD_BYTES;
use super::{Recorder, Shown, attempt_note, properties};
use crate::board::Board;
use crate::calls::Calls;
use crate::platform::{Message, MqttConnect, Platform};
use crate::pulse::{Pulse, Stop};
use crate::store::{DestinationId, Record, Row, Store, StoreError};
use gateway_core::config::Mqtt;
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::dialects::envelope;
use gateway_core::event::{AnalyzerId, Event, Seq};
use gateway_core::health::Fact;
use gateway_core::monitoring::{Publication, Status};
use gateway_core::time::Mono;
use session::{Lost, Session};
use std::sync::Arc;
use std::time::Duration;

/// The name of this destination in the store.
pub const MQTT: &str = "mqtt";
/// After this many disconnects at the same first unacknowledged event the window shrinks to that event alone.
const DISCONNECTS_MAX: u32 = 3;
/// After this many, about half a minute with the pauses between them, the event is dead: a network that comes and goes must
/// not look like a message that kills the connection.
const CONVICTED_AFTER: u32 = 10;
/// A connection that lived longer than this did not break because of its first message.
const CULPRIT_SECONDS_MAX: u64 = 5;
const BACKOFF_MS_MIN: u64 = 200;
const BACKOFF_MS_MAX: u64 = 30_000;
/// The longest pause while the broker takes connections and drops them.
const DROPPED_BACKOFF_MS_MAX: u64 = 4_000;

/// Publishes to one broker.
pub struct BrokerWorker {
    pub mqtt: Mqtt,
    pub gateway: String,
    pub analyzers: Vec<AnalyzerId>,
    /// How often it says how the gateway is although nothing has changed.
    pub interval: Duration,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub shown: Shown,
    /// Where requests to the API are handed in.
    pub calls: Calls,
    pub pulse: Pulse,
}

/// Where publishing stands: everything at or below is done.
#[derive(Debug, Clone, Copy)]
struct Position {
    cursor: Seq,
    ordinal: u64,
    /// How many events are dead.
    dead: usize,
}

/// The event at which connections keep breaking.
#[derive(Debug, Default)]
struct Suspect {
    seq: Option<Seq>,
    disconnects: u32,
    /// An event was buried and none was acknowledged since: it is the broker that is at fault, not the next event.
    appeased: bool,
}

impl Suspect {
    fn accuse(&mut self, seq: Seq) {
        if self.appeased {
            return;
        }
        if self.seq != Some(seq) {
            *self = Suspect { seq: Some(seq), ..Suspect::default() };
        }
        self.disconnects += 1;
    }

    fn is_isolated(&self) -> bool {
        self.disconnects >= DISCONNECTS_MAX
    }

    fn is_convicted(&self) -> bool {
        self.disconnects >= CONVICTED_AFTER
    }
}

impl BrokerWorker {
    /// Runs until it is asked to stop. Only a store that cannot be read ends it otherwise.
    pub async fn run(&self, mut stop: Stop) -> Result<(), StoreError> {
        let destination = DestinationId(MQTT.to_owned());
        let backlog = self.store.backlog(&destination).await?;
        let dead = backlog.rows.iter().filter(|row| row.state.is_settled()).count();
        let position = Position { cursor: backlog.cursor, ordinal: backlog.ordinal, dead };
        self.tell_dead(dead);
        let mut recorder = Recorder::new(&self.platform, &self.store, &destination);
        let ended = self.keep_publishing(&mut stop, position, &mut recorder).await;
        recorder.flush().await?;
        ended
    }

    async fn keep_publishing(
        &self,
        stop: &mut Stop,
        mut position: Position,
        recorder: &mut Recorder,
    ) -> Result<(), StoreError> {
        let mut suspect = Suspect::default();
        let mut namesake = Namesake::at(MQTT, &self.board, self.platform.clock.now());
        let mut backoff = BACKOFF_MS_MIN;
        let mut said = None;
        loop {
            let connecting = self.platform.publisher.connect(&self.connect_settings());
            let connected = tokio::select! {
                biased;
                () = stop.asked() => return Ok(()),
                connected = recorder.beside(connecting) => connected?,
            };
            self.pulse.beat(self.now());
            match connected {
                Ok(connection) => {
                    let since = self.now();
                    said = None;
                    self.tell(None);
                    tracing::info!(destination = MQTT, "connected to the broker");
                    let alone = suspect.is_isolated();
                    let session = Session::begin(self, connection, position, alone, recorder, &mut namesake).await;
                    let Some(lost) = session.run(stop).await? else { return Ok(()) };
                    let Lost { reason, reached, first_unacked: first } = lost;
                    if reached.cursor > position.cursor {
                        suspect = Suspect::default();
                    }
                    position = reached;
                    namesake.lost(self.platform.clock.now(), &reason);
                    if self.now().since(since).as_secs() >= CULPRIT_SECONDS_MAX {
                        backoff = BACKOFF_MS_MIN;
                    } else if let Some(seq) = first.filter(|_| !namesake.is_seen()) {
                        suspect.accuse(seq);
                        backoff = backoff.min(DROPPED_BACKOFF_MS_MAX);
                    }
                    tracing::warn!(destination = MQTT, %reason, "connection to the broker lost");
                    self.tell(Some(reason));
                    if suspect.is_convicted()
                        && let Some(seq) = suspect.seq.take()
                    {
                        position = self.bury(position, seq, recorder).await?;
                        suspect = Suspect { appeased: true, ..Suspect::default() };
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
                slept = recorder.beside(self.platform.clock.sleep_until(due)) => slept?,
            }
            self.pulse.beat(self.now());
        }
    }

    /// The event that breaks every connection becomes a dead letter, and publishing goes on past it.
    async fn bury(&self, position: Position, seq: Seq, recorder: &mut Recorder) -> Result<Position, StoreError> {
        let destination = DestinationId(MQTT.to_owned());
        let detail = "the broker closed the connection each time it was given this message";
        let reason = Reason::new(ReasonCode::PoisonMessage, detail);
        if seq <= position.cursor {
            // It was dead before, and a person had sent it again.
            let Some(row) = self.store.delivery(&destination, seq).await? else { return Ok(position) };
            tracing::error!(destination = MQTT, seq = seq.0, %reason, "dead letter again");
            return Ok(self.record_dead_again(position, row, reason, CONVICTED_AFTER, recorder));
        }
        let (next, _) = self.store.next_events(&destination, position.cursor, 1).await?;
        let Some(event) = next.into_iter().next().filter(|event| event.seq == seq) else { return Ok(position) };
        tracing::error!(destination = MQTT, event = %event.id, %reason, "dead letter");
        Ok(self.record_dead(position, &event, reason, CONVICTED_AFTER, recorder))
    }

    fn record_dead(
        &self,
        position: Position,
        event: &Event,
        reason: Reason,
        attempts: u32,
        recorder: &mut Recorder,
    ) -> Position {
        let reached = Position { cursor: event.seq, ordinal: position.ordinal + 1, dead: position.dead + 1 };
        let note = attempt_note(self.platform.clock.now(), event.seq, attempts, Some(&reason));
        let fact = Fact::Buried { destination: MQTT.to_owned(), event: event.id, reason: reason.clone() };
        self.board.tell(self.platform.clock.now(), fact);
        let state = DeliveryState::Dead { attempts, reason };
        let row = Row {
            seq: event.seq,
            ordinal: reached.ordinal,
            lane: event.lane(),
            state,
            redriven: false,
            historical: false,
        };
        let cursor = Some((reached.cursor, reached.ordinal));
        recorder.add(Record { rows: vec![row], attempts: vec![note], cursor, live: None }, 1);
        self.tell_dead(reached.dead);
        reached
    }

    /// The same for an event that the cursor had passed long ago.
    fn record_dead_again(
        &self,
        position: Position,
        row: Row,
        reason: Reason,
        attempts: u32,
        recorder: &mut Recorder,
    ) -> Position {
        let note = attempt_note(self.platform.clock.now(), row.seq, attempts, Some(&reason));
        let row = Row { state: DeliveryState::Dead { attempts, reason }, ..row };
        recorder.add(Record { rows: vec![row], attempts: vec![note], ..Record::default() }, 1);
        let reached = Position { dead: position.dead + 1, ..position };
        self.tell_dead(reached.dead);
        reached
    }

    fn tell_dead(&self, dead: usize) {
        let fact = Fact::DeadLetters { destination: MQTT.to_owned(), dead };
        self.board.tell(self.platform.clock.now(), fact);
    }

    fn connect_settings(&self) -> MqttConnect {
        let now = self.platform.clock.now();
        MqttConnect {
            mqtt: self.mqtt.clone(),
            client_id: format!("{}-{}", self.mqtt.topic_prefix, self.gateway),
            will_topic: self.topic("status"),
            will_payload: Publication::state("status", &Status::from(&self.board.overview_lost(now)))
                .payload()
                .to_vec(),
            will_retain: true,
            will_properties: properties::of(&root(&self.mqtt, &self.gateway)),
        }
    }

    fn topic(&self, rest: &str) -> String {
        format!("{}{rest}", root(&self.mqtt, &self.gateway))
    }

    fn event_message(&self, event: &Event, redriven: bool) -> Message {
        let mut payload = envelope(event, &self.gateway);
        if redriven {
            // An extension attribute of CloudEvents, at the front of the object.
            payload.insert_str(1, r#""redriven":true,"#);
        }
        Message {
            topic: self.topic(&format!("analyzers/{}/events/{}", event.analyzer, event.kind.word())),
            payload: payload.into_bytes(),
            retain: false,
            properties: properties::of_event(&root(&self.mqtt, &self.gateway), event),
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
