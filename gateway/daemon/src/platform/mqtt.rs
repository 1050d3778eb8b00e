//! A real broker, through rumqttc, in MQTT 5 or 3.1.1.
//!
//! The library's event loop reconnects by itself and then forgets what was in flight; so it is polled by a task of its own
//! that ends at the first error, and with it every publish that still waits for its PUBACK fails. The caller's cursor is
//! the truth, the connection is disposable.

mod v4;
mod v5;
mod wire;

pub(super) use v4::explain;

use super::{BoxFuture, Message, MqttConnect, MqttConnection, Publisher};
use gateway_core::config::{Broker, MqttVersion};
use gateway_core::delivery::{Reason, ReasonCode};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wire::{Broken, Client, Events, Seen, Wire};

const CONNECT_SECONDS_MAX: u64 = 10;

/// Brokers on the network, and the one inside this process, which is started when it is first asked for.
#[derive(Default)]
pub struct RumqttPublisher {
    /// The embedded broker's port, once it runs.
    embedded: Mutex<Option<u16>>,
    older: Older,
}

/// Brokers, by host and port, that took MQTT 3.1.1 after they had not understood 5.
type Older = Arc<Mutex<BTreeSet<(String, u16)>>>;

impl Publisher for RumqttPublisher {
    fn connect(&self, settings: &MqttConnect) -> BoxFuture<'static, Result<Box<dyn MqttConnection>, Reason>> {
        let place = self.place(settings);
        let (settings, older) = (settings.clone(), Arc::clone(&self.older));
        Box::pin(async move {
            let (host, port) = place?;
            let is_older = || older.lock().unwrap_or_else(PoisonError::into_inner).contains(&(host.clone(), port));
            let (five, may_fall_back) = match (&settings.mqtt.broker, settings.mqtt.version) {
                // The one inside speaks 3.1.1.
                (Broker::Embedded, _) | (_, MqttVersion::V311) => (false, false),
                (_, MqttVersion::V5) => (true, false),
                (_, MqttVersion::Auto) => (!is_older(), true),
            };
            if five {
                match connected(v5::open(&settings, &host, port)?).await {
                    Err(Broken { other_version: true, .. }) if may_fall_back => {}
                    connection => return connection.map_err(|broken| broken.reason),
                }
            }
            let connection = connected(v4::open(&settings, &host, port)?).await.map_err(|broken| broken.reason)?;
            if five {
                tracing::info!(%host, port, "this broker does not understand MQTT 5; it is spoken to in 3.1.1");
                older.lock().unwrap_or_else(PoisonError::into_inner).insert((host, port));
            }
            Ok(connection)
        })
    }
}

impl RumqttPublisher {
    /// With the embedded broker already started on this port.
    pub fn beside(embedded_port: u16) -> RumqttPublisher {
        RumqttPublisher { embedded: Mutex::new(Some(embedded_port)), ..RumqttPublisher::default() }
    }

    /// Host and port of the broker.
    fn place(&self, settings: &MqttConnect) -> Result<(String, u16), Reason> {
        match settings.mqtt.broker.place() {
            Some((host, port, _)) => Ok((host.to_owned(), port)),
            None => {
                let mut embedded = self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
                let port = match *embedded {
                    Some(port) => port,
                    None => start_embedded(settings.mqtt.packet_bytes_max)
                        .map_err(|error| Reason::new(ReasonCode::ConnectionRefused, error))?,
                };
                *embedded = Some(port);
                Ok(("127.0.0.1".to_owned(), port))
            }
        }
    }
}

#[cfg(feature = "embedded-broker")]
fn start_embedded(packet_bytes_max: usize) -> Result<u16, String> {
    let port = super::broker::start(super::broker::FIRST_PORT, packet_bytes_max)?;
    tracing::info!(url = %format!("mqtt://127.0.0.1:{port}"), "the embedded broker listens");
    Ok(port)
}

#[cfg(not(feature = "embedded-broker"))]
fn start_embedded(_: usize) -> Result<u16, String> {
    Err("this build has no embedded broker: write the address of one into mqtt.url".to_owned())
}

async fn connected((client, mut events): Wire) -> Result<Box<dyn MqttConnection>, Broken> {
    let connecting = async {
        loop {
            if let Seen::Connected = events.next().await? {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), connecting).await {
        Ok(Ok(())) => Ok(Box::new(Connection::start(client, events))),
        Ok(Err(broken)) => Err(broken),
        Err(_) => {
            let reason = Reason::new(ReasonCode::Timeout, "the broker does not answer within 10 s");
            Err(Broken { reason, other_version: false })
        }
    }
}

/// Messages of others that wait to be taken.
const INCOMING_MAX: usize = 32;

/// Who asked for which topic.
type Subscriptions = Arc<Mutex<Vec<Subscription>>>;

struct Subscription {
    topic: String,
    /// What the broker has kept there is wanted too.
    kept: bool,
    sender: mpsc::Sender<Message>,
    /// It was said that messages come faster than they are taken: once for a connection.
    has_overflowed: bool,
}

struct Connection {
    client: Box<dyn Client>,
    subscriptions: Subscriptions,
    end: watch::Receiver<Option<Reason>>,
    polling: JoinHandle<()>,
}

impl Connection {
    fn start(client: Box<dyn Client>, mut events: Box<dyn Events>) -> Connection {
        let (told, end) = watch::channel(None);
        let subscriptions = Subscriptions::default();
        let wanted = Arc::clone(&subscriptions);
        // It must not be cancelled half-way, so it has a task of its own rather than an arm of a select.
        let polling = tokio::spawn(async move {
            let reason = loop {
                match events.next().await {
                    Ok(Seen::Published(message)) => hand_over(&wanted, message),
                    Ok(Seen::Connected | Seen::Other) => {}
                    Err(broken) => break broken.reason,
                }
            };
            drop(events);
            told.send_replace(Some(reason));
        });
        Connection { client, subscriptions, end, polling }
    }

    fn hear(&mut self, topic: String, kept: bool) -> mpsc::Receiver<Message> {
        let (sender, receiver) = mpsc::channel(INCOMING_MAX);
        let mut subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        // A broker that does not allow it leaves the receiver silent; everything else goes on.
        if self.client.subscribe(&topic) {
            subscriptions.push(Subscription { topic, kept, sender, has_overflowed: false });
        }
        receiver
    }
}

fn hand_over(wanted: &Subscriptions, message: Message) {
    let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = |one: &&mut Subscription| one.topic == message.topic && (one.kept || !message.retain);
    let Some(one) = wanted.iter_mut().find(asked) else { return };
    if let Err(TrySendError::Full(message)) = one.sender.try_send(message)
        && !one.has_overflowed
    {
        one.has_overflowed = true;
        let topic = message.topic;
        tracing::warn!(%topic, "more comes than can be answered; some is dropped without an answer: send less at once");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl MqttConnection for Connection {
    fn publish(&mut self, message: Message) -> BoxFuture<'static, Result<(), Reason>> {
        self.client.publish(message)
    }

    fn send(&mut self, message: Message) -> Result<(), Reason> {
        self.client.send(message)
    }

    fn subscribe(&mut self, topic: String) -> mpsc::Receiver<Message> {
        self.hear(topic, false)
    }

    fn subscribe_kept(&mut self, topic: String) -> mpsc::Receiver<Message> {
        self.hear(topic, true)
    }

    fn broken(&mut self) -> BoxFuture<'_, Reason> {
        Box::pin(async move {
            match self.end.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_else(gone),
                Err(_) => gone(),
            }
        })
    }

    fn disconnect(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if self.client.disconnect().await {
                let _ = tokio::time::timeout(Duration::from_secs(2), self.broken()).await;
            }
        })
    }
}

fn gone() -> Reason {
    Reason::new(ReasonCode::ConnectionLost, "the connection to the broker has ended")
}
