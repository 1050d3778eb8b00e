//! The gateway as an edge node at a plant's broker, by Sparkplug B (`gateway_core::sparkplug`), on a connection of its own: its
//! last will is the node's death certificate.
//!
//! Invariant: through a [`Plant`] goes nothing but what [`EdgeNode`] makes of the overview. It is no destination of the store:
//! what happened while the broker was away is not told, how things are is.

use super::namesake::Namesake;
use crate::board::Board;
use crate::platform::{Message, MqttConnect, MqttConnection, Platform, Properties, Publisher};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use gateway_core::config::Sparkplug;
use gateway_core::delivery::Reason;
use gateway_core::health::Fact;
use gateway_core::sparkplug::{EdgeNode, Message as Told, PrimaryHost};
use gateway_core::time::{Mono, Now};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The name of this part, on the board and in the log.
pub const SPARKPLUG: &str = "sparkplug";
const BACKOFF_MS_MIN: u64 = 500;
const BACKOFF_MS_MAX: u64 = 60_000;
/// A connection that lived longer than this was a good one: the next pause is short again.
const GOOD_SECONDS_MIN: u64 = 10;
/// Between two looks at what has changed: what changes faster is told once.
const LOOK_MS_MIN: u64 = 1_000;
/// Births are told again no oftener, however often a host asks; one that asks sooner is answered then.
const REBIRTH_MS_MIN: u64 = 1_000;

/// Tells a plant how the box and its analyzers are.
pub struct SparkplugWorker {
    pub settings: Sparkplug,
    pub gateway: String,
    /// How often figures are told that change by themselves.
    pub interval: Duration,
    pub platform: Platform,
    pub board: Arc<Board>,
    pub pulse: Pulse,
}

/// How a connection ended.
enum Ended {
    /// The gateway was asked to stop.
    Stopped,
    /// The primary host has gone, and the node with it.
    HostGone,
    Broken(Reason),
}

impl SparkplugWorker {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let mut backoff = BACKOFF_MS_MIN;
        let mut said = None;
        let mut bd_seq: u8 = 0;
        let mut host = self.settings.primary_host.as_deref().map(PrimaryHost::new);
        let mut namesake = Namesake::at(SPARKPLUG, &self.board, self.now());
        loop {
            self.pulse.beat(self.now().mono);
            namesake.look(self.now());
            let node = EdgeNode::new(&self.settings.group_id, &self.gateway, bd_seq);
            bd_seq = bd_seq.wrapping_add(1);
            let will = node.death(self.now().wall);
            let connecting = Plant::connect(&*self.platform.publisher, &self.settings, &self.gateway, &will);
            let connected = tokio::select! {
                biased;
                () = stop.asked() => return,
                connected = connecting => connected,
            };
            let began = self.now().mono;
            let ended = match connected {
                Ok(plant) => {
                    tracing::info!(destination = SPARKPLUG, "connected to the plant's broker");
                    self.tell(None);
                    self.keep_telling(plant, node, &mut host, &mut namesake, &mut stop).await
                }
                Err(reason) => Ended::Broken(reason),
            };
            if self.now().mono.since(began).as_secs() >= GOOD_SECONDS_MIN {
                (backoff, said) = (BACKOFF_MS_MIN, None);
            }
            match ended {
                Ended::Stopped => return,
                Ended::HostGone => {
                    tracing::info!(destination = SPARKPLUG, "the primary host is offline; waiting for it")
                }
                Ended::Broken(reason) => {
                    namesake.lost(self.now(), &reason);
                    // Said once, and again when the trouble is another one.
                    if said.replace(reason.code) != Some(reason.code) {
                        let next_step = reason.code.next_step();
                        tracing::warn!(destination = SPARKPLUG, %reason, next_step, "no connection to the plant's broker, trying again");
                    }
                    self.tell(Some(reason));
                }
            }
            let due = self.now().mono.after(Duration::from_millis(backoff));
            backoff = (backoff * 2).min(BACKOFF_MS_MAX);
            if self.rest_until(due, &mut stop).await {
                return;
            }
        }
    }

    /// Tells until the connection ends, or until there is a reason to end it.
    async fn keep_telling(
        &self,
        mut plant: Plant,
        mut node: EdgeNode,
        host: &mut Option<PrimaryHost>,
        namesake: &mut Namesake,
        stop: &mut Stop,
    ) -> Ended {
        // A host may answer the first birth at once.
        let mut commands = plant.hear(node.commands(), false);
        let mut states = host.as_mut().map(|host| {
            host.forget();
            plant.hear(host.topic(), true)
        });
        let mut changes = self.board.changes();
        // When the births were last told, and when they are to be told again.
        let mut born: Option<Mono> = None;
        let mut wanted: Option<Mono> = None;
        let mut figures = self.now().mono;
        loop {
            let now = self.now();
            self.pulse.beat(now.mono);
            namesake.look(now);
            let is_awaited = host.as_ref().is_none_or(PrimaryHost::is_online);
            if born.is_some() && !is_awaited {
                // Section 5.4: a node goes when its host does.
                return plant.leave(&node, now).await.unwrap_or(Ended::HostGone);
            }
            let messages = if is_awaited && (born.is_none() || wanted.is_some_and(|due| now.mono >= due)) {
                (born, wanted) = (Some(now.mono), None);
                changes.mark_unchanged();
                node.births(&self.board.overview(now))
            } else if born.is_some() && (changes.has_changed().unwrap_or(false) || now.mono >= figures) {
                changes.mark_unchanged();
                figures = now.mono.after(self.interval);
                node.changes(&self.board.overview(now))
            } else {
                Vec::new()
            };
            if let Err(reason) = plant.say(messages) {
                return Ended::Broken(reason);
            }
            let look = now.mono.after(Duration::from_millis(LOOK_MS_MIN));
            tokio::select! {
                biased;
                () = stop.asked() => {
                    let ended = match born {
                        Some(_) => plant.leave(&node, self.now()).await,
                        None => plant.leave_unborn().await,
                    };
                    return ended.unwrap_or(Ended::Stopped);
                }
                reason = plant.broken() => return Ended::Broken(reason),
                Some(command) = commands.recv() => {
                    if EdgeNode::is_rebirth(&command.payload)
                        && let Some(born) = born
                    {
                        wanted = Some(born.after(Duration::from_millis(REBIRTH_MS_MIN)));
                    }
                }
                Some(state) = heard(&mut states) => {
                    if let Some(host) = host {
                        host.hear(&state.payload);
                    }
                }
                () = self.platform.clock.sleep_until(look) => {}
            }
        }
    }

    /// Returns whether it was asked to stop meanwhile.
    async fn rest_until(&self, due: Mono, stop: &mut Stop) -> bool {
        while self.now().mono < due {
            self.pulse.beat(self.now().mono);
            let beat = self.now().mono.after(Duration::from_secs(BEAT_SECONDS));
            tokio::select! {
                biased;
                () = stop.asked() => return true,
                () = self.platform.clock.sleep_until(due.min(beat)) => {}
            }
        }
        false
    }

    fn tell(&self, trouble: Option<Reason>) {
        self.board.tell(self.now(), Fact::PlantReached { trouble });
    }

    fn now(&self) -> Now {
        self.platform.clock.now()
    }
}

/// The next word of the host, if the settings name one.
async fn heard(states: &mut Option<mpsc::Receiver<Message>>) -> Option<Message> {
    match states {
        Some(states) => states.recv().await,
        None => None,
    }
}

/// The connection to a plant's broker.
struct Plant {
    connection: Box<dyn MqttConnection>,
}

impl Plant {
    async fn connect(
        publisher: &dyn Publisher,
        settings: &Sparkplug,
        gateway: &str,
        will: &Told,
    ) -> Result<Plant, Reason> {
        let settings = MqttConnect {
            mqtt: settings.broker.clone(),
            client_id: format!("sparkplug-{}-{gateway}", settings.group_id),
            will_topic: will.topic().to_owned(),
            will_payload: will.payload().to_vec(),
            will_retain: false,
            will_properties: Properties::default(),
        };
        Ok(Plant { connection: publisher.connect(&settings).await? })
    }

    /// In this order, which is that of their numbers; one that cannot be sent would leave a hole, so it ends the connection.
    fn say(&mut self, messages: Vec<Told>) -> Result<(), Reason> {
        messages.iter().try_for_each(|told| {
            let (topic, payload) = (told.topic().to_owned(), told.payload().to_vec());
            self.connection.send(Message { topic, payload, ..Message::default() })
        })
    }

    /// What others publish on this topic, on request also what the broker has kept there.
    fn hear(&mut self, topic: String, kept: bool) -> mpsc::Receiver<Message> {
        if kept { self.connection.subscribe_kept(topic) } else { self.connection.subscribe(topic) }
    }

    async fn broken(&mut self) -> Reason {
        self.connection.broken().await
    }

    /// Says the death before the connection is closed in order, which leaves the last will unsaid.
    async fn leave(mut self, node: &EdgeNode, now: Now) -> Option<Ended> {
        match self.say(vec![node.death(now.wall)]) {
            Ok(()) => self.leave_unborn().await,
            Err(reason) => Some(Ended::Broken(reason)),
        }
    }

    async fn leave_unborn(self) -> Option<Ended> {
        self.connection.disconnect().await;
        None
    }
}
