//! A broker in memory: takes messages in order, sometimes refuses, breaks, or keeps its acknowledgement to itself.

use super::world::{Life, World, digest};
use crate::contract;
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_daemon::platform::{BoxFuture, Message, MqttConnect, MqttConnection, Publisher};
use gateway_daemon::simulated::seeded::Seeded;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What goes wrong, in publishes (or connects) per thousand, as long as `faults_left` lasts.
#[derive(Debug, Clone, Default)]
pub struct BrokerPlan {
    pub refused: u32,
    /// The connection breaks before the message is accepted.
    pub broken_before: u32,
    /// The message is accepted, the connection breaks before the PUBACK.
    pub broken_after: u32,
    pub faults_left: u32,
    /// A PUBACK takes up to so long.
    pub ack_ms_max: u64,
    /// No broker at all between these moments.
    pub away: Option<(Duration, Duration)>,
}

/// A message that the broker has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub at: Duration,
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
}

/// The broker, which survives the gateway.
#[derive(Clone)]
pub struct Broker {
    world: World,
    state: Arc<Mutex<State>>,
}

struct State {
    plan: BrokerPlan,
    chance: Seeded,
    accepted: Vec<Accepted>,
    retained: BTreeMap<String, Vec<u8>>,
    /// Whether each message is held against the contract, and what was not as it says.
    held: bool,
    unlike: Vec<String>,
}

enum Fate {
    Accept(Duration),
    BreakBefore,
    BreakAfter,
}

impl Broker {
    pub fn new(world: &World, plan: BrokerPlan, chance: Seeded) -> Broker {
        let state =
            State { plan, chance, accepted: Vec::new(), retained: BTreeMap::new(), held: false, unlike: Vec::new() };
        Broker { world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds each message against docs/mqtt.md from now on.
    pub fn hold_to_contract(&self) {
        self.lock().held = true;
    }

    /// What was not as docs/mqtt.md has it.
    pub fn unlike(&self) -> Vec<String> {
        self.lock().unlike.clone()
    }

    /// Every event accepted, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.lock().accepted.clone()
    }

    /// The retained messages, by topic.
    pub fn retained(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().retained.clone()
    }

    fn is_away(&self) -> bool {
        let now = self.world.now();
        self.lock().plan.away.is_some_and(|(from, to)| (from..to).contains(&now))
    }

    fn refuses(&self) -> bool {
        let state = &mut *self.lock();
        state.chance.chance(state.plan.refused) && state.plan.take_fault()
    }

    /// Of the states that go with each connection only one breaks it: a dozen chances in each would be a broker that nobody
    /// could publish to.
    fn fate(&self, topic: &str) -> Fate {
        let state = &mut *self.lock();
        let (before, after) =
            (state.chance.chance(state.plan.broken_before), state.chance.chance(state.plan.broken_after));
        let breaks = is_event(topic) || topic.ends_with("/status");
        let (before, after) = (before && breaks, after && breaks);
        let delay = Duration::from_millis(state.chance.below(state.plan.ack_ms_max + 1));
        if before && state.plan.take_fault() {
            Fate::BreakBefore
        } else if after && state.plan.take_fault() {
            Fate::BreakAfter
        } else {
            Fate::Accept(delay)
        }
    }

    fn accept(&self, message: Message) {
        let Message { topic, payload, retain, .. } = message;
        self.world.note(format!("broker accepts {topic} {}", digest(&payload)));
        let mut state = self.lock();
        if state.held {
            state.unlike.extend(contract::fault(&topic, &payload, Some(retain)));
        }
        if !retain && !is_event(&topic) {
            return;
        }
        if !retain {
            state.accepted.push(Accepted { at: self.world.now(), topic, payload, retain });
        } else if payload.is_empty() {
            state.retained.remove(&topic);
        } else {
            state.retained.insert(topic, payload);
        }
    }
}

impl BrokerPlan {
    fn take_fault(&mut self) -> bool {
        let left = self.faults_left > 0;
        self.faults_left = self.faults_left.saturating_sub(1);
        left
    }
}

/// What must arrive, and not only what is told of the gateway.
fn is_event(topic: &str) -> bool {
    topic.contains("/events/")
}

fn lost() -> Reason {
    Reason::new(ReasonCode::ConnectionLost, "simulated: the connection broke")
}

/// The publisher of one life of the gateway.
pub struct SimPublisher {
    pub life: Life,
    pub broker: Broker,
}

impl Publisher for SimPublisher {
    fn connect(&self, _: &MqttConnect) -> BoxFuture<'static, Result<Box<dyn MqttConnection>, Reason>> {
        let (life, broker) = (self.life.clone(), self.broker.clone());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if life.is_over() {
                pending::<()>().await;
            }
            if broker.is_away() || broker.refuses() {
                return Err(Reason::new(ReasonCode::ConnectionRefused, "simulated: nobody listens"));
            }
            life.world().note("broker connected");
            let (wire, received) = mpsc::unbounded_channel();
            let (broken, breaks) = oneshot::channel();
            tokio::spawn(serve(broker, life.clone(), received, broken));
            Ok(Box::new(SimConnection { life, wire, breaks: Some(breaks) }) as Box<dyn MqttConnection>)
        })
    }
}

type Sent = (Message, oneshot::Sender<()>);

/// One connection, from the broker's side: messages in their order, until it breaks.
async fn serve(broker: Broker, life: Life, mut received: mpsc::UnboundedReceiver<Sent>, broken: oneshot::Sender<()>) {
    let gone_at = broker.lock().plan.away.map(|(from, _)| from);
    let until_gone = gone_at.and_then(|from| from.checked_sub(broker.world.now()));
    let mut gone = std::pin::pin!(tokio::time::sleep(until_gone.unwrap_or(Duration::from_secs(1 << 32))));
    loop {
        let sent = tokio::select! {
            biased;
            () = life.over() => return,
            () = &mut gone => break,
            sent = received.recv() => sent,
        };
        let Some((message, ack)) = sent else { return };
        tokio::time::sleep(Duration::from_millis(2)).await;
        match broker.fate(&message.topic) {
            Fate::BreakBefore => break,
            Fate::BreakAfter => {
                let retained = !is_event(&message.topic);
                broker.accept(message);
                let _ = retained || life.effect("published, PUBACK lost");
                break;
            }
            Fate::Accept(delay) => {
                let retained = !is_event(&message.topic);
                broker.accept(message);
                if !(retained || life.effect("published")) {
                    return;
                }
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = ack.send(());
                });
            }
        }
    }
    broker.world.note("broker connection breaks");
    let _ = broken.send(());
}

struct SimConnection {
    life: Life,
    wire: mpsc::UnboundedSender<Sent>,
    breaks: Option<oneshot::Receiver<()>>,
}

impl MqttConnection for SimConnection {
    fn publish(&mut self, message: Message) -> BoxFuture<'static, Result<(), Reason>> {
        // What is no event is told again at every connect, or is a notice that nobody waits for: a crash at one of them is like
        // a crash a moment before.
        let text = format!("publish {} {}", message.topic, digest(&message.payload));
        if !is_event(&message.topic) && !self.life.is_over() {
            self.life.world().note(text);
        } else if !self.life.effect(text) {
            return Box::pin(pending());
        }
        let (ack, acked) = oneshot::channel();
        let sent = self.wire.send((message, ack));
        let life = self.life.clone();
        Box::pin(async move {
            if sent.is_ok() && acked.await.is_ok() {
                return if life.is_over() { pending().await } else { Ok(()) };
            }
            if life.is_over() { pending().await } else { Err(lost()) }
        })
    }

    /// Nobody asks anything here.
    fn subscribe(&mut self, _: String) -> mpsc::Receiver<Message> {
        mpsc::channel(1).1
    }

    fn broken(&mut self) -> BoxFuture<'_, Reason> {
        Box::pin(async {
            if let Some(breaks) = &mut self.breaks {
                let told = breaks.await;
                self.breaks = None;
                if told.is_err() {
                    // The broker's side ended because the gateway did.
                    pending::<()>().await;
                }
            }
            if self.life.is_over() { pending().await } else { lost() }
        })
    }

    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.life.world().note("broker disconnected");
        Box::pin(async {})
    }
}
