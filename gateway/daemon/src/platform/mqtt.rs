//! A real broker, through rumqttc.
//!
//! The library's event loop reconnects by itself and then forgets what was in flight; so it is polled by a task of its own
//! that ends at the first error, and with it every publish that still waits for its PUBACK fails. The caller's cursor is
//! the truth, the connection is disposable.

use super::tls::{Identity, client_config};
use super::{BoxFuture, Message, MqttConnect, MqttConnection, Publisher};
use gateway_core::config::Broker;
use gateway_core::delivery::{Reason, ReasonCode};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, LastWill, MqttOptions, PublishOptions, QoS, Transport,
};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const CONNECT_SECONDS_MAX: u64 = 10;
/// Retained states that may be on their way beside the window's events.
const STATES_MAX: usize = 1024;
const KEEP_ALIVE_SECONDS: u16 = 20;

/// Brokers on the network, and the one inside this process, which is started when it is first asked for.
#[derive(Default)]
pub struct RumqttPublisher {
    /// The embedded broker's port, once it runs.
    embedded: Mutex<Option<u16>>,
}

impl Publisher for RumqttPublisher {
    fn connect(&self, settings: &MqttConnect) -> BoxFuture<'static, Result<Box<dyn MqttConnection>, Reason>> {
        let options = self.options(settings);
        let window = settings.mqtt.window;
        Box::pin(async move {
            let (client, mut events) = AsyncClient::builder(options?).capacity(window + STATES_MAX).build();
            let connecting = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), connected(&mut events));
            match connecting.await {
                Ok(Ok(())) => Ok(Box::new(Connection::start(client, events)) as Box<dyn MqttConnection>),
                Ok(Err(error)) => Err(explain(&error)),
                Err(_) => Err(Reason::new(ReasonCode::Timeout, "the broker does not answer within 10 s")),
            }
        })
    }
}

impl RumqttPublisher {
    /// With the embedded broker already started on this port.
    pub fn beside(embedded_port: u16) -> RumqttPublisher {
        RumqttPublisher { embedded: Mutex::new(Some(embedded_port)) }
    }

    fn options(&self, settings: &MqttConnect) -> Result<MqttOptions, Reason> {
        let mqtt = &settings.mqtt;
        let (host, port, tls) = match &mqtt.broker {
            Broker::Url { host, port, tls } => (host.clone(), *port, *tls),
            Broker::Embedded => {
                let mut embedded = self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
                let port = match *embedded {
                    Some(port) => port,
                    None => start_embedded(mqtt.packet_bytes_max)
                        .map_err(|error| Reason::new(ReasonCode::ConnectionRefused, error))?,
                };
                *embedded = Some(port);
                ("127.0.0.1".to_owned(), port, false)
            }
        };
        let mut options = MqttOptions::new(settings.client_id.clone(), (host, port));
        options.set_keep_alive(KEEP_ALIVE_SECONDS);
        options.set_clean_session(true);
        options.set_max_packet_size(mqtt.packet_bytes_max, mqtt.packet_bytes_max);
        options.set_inflight(u16::try_from(mqtt.window).unwrap_or(u16::MAX).max(1));
        let will = LastWill::new(settings.will_topic.clone(), settings.will_payload.clone(), QoS::AtLeastOnce, true);
        options.set_last_will(will);
        if let Some(user) = &mqtt.user {
            let password = mqtt.password.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default();
            options.set_credentials(user.clone(), password);
        }
        if tls {
            let identity = Identity {
                ca_file: mqtt.ca_file.as_deref(),
                certificate_file: mqtt.certificate_file.as_deref(),
                key_file: mqtt.key_file.as_deref(),
                ..Identity::default()
            };
            let config = Arc::new(client_config(identity)?);
            options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(config)));
        }
        Ok(options)
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

async fn connected(events: &mut EventLoop) -> Result<(), ConnectionError> {
    loop {
        if let Event::Incoming(Incoming::ConnAck(_)) = events.poll().await? {
            return Ok(());
        }
    }
}

/// Messages of others that wait to be taken.
const INCOMING_MAX: usize = 32;

/// Who asked for which topic.
type Subscriptions = Arc<Mutex<Vec<(String, mpsc::Sender<Message>)>>>;

struct Connection {
    client: AsyncClient,
    subscriptions: Subscriptions,
    end: watch::Receiver<Option<Reason>>,
    polling: JoinHandle<()>,
}

impl Connection {
    fn start(client: AsyncClient, mut events: EventLoop) -> Connection {
        let (told, end) = watch::channel(None);
        let subscriptions = Subscriptions::default();
        let wanted = Arc::clone(&subscriptions);
        // `poll` must not be cancelled half-way, so it has a task of its own rather than an arm of a select.
        let polling = tokio::spawn(async move {
            let reason = loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::Publish(publish))) => hand_over(&wanted, publish),
                    Ok(_) => {}
                    Err(error) => break explain(&error),
                }
            };
            drop(events);
            told.send_replace(Some(reason));
        });
        Connection { client, subscriptions, end, polling }
    }
}

fn hand_over(wanted: &Subscriptions, publish: rumqttc::Publish) {
    if publish.retain {
        return;
    }
    for (topic, sender) in wanted.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if topic.as_bytes() == &publish.topic[..] {
            let message = Message { topic: topic.clone(), payload: publish.payload.to_vec(), retain: false };
            let _ = sender.try_send(message);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl MqttConnection for Connection {
    fn publish(&mut self, message: Message) -> BoxFuture<'static, Result<(), Reason>> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(message.retain);
        let client = self.client.clone();
        // Queued here and not in the future, so that the order of the calls is the order on the wire.
        let queued = client.try_publish_tracked(message.topic, message.payload, options);
        Box::pin(async move {
            let lost = |error: String| Reason::new(ReasonCode::ConnectionLost, error);
            let notice = queued.map_err(|error| lost(error.to_string()))?;
            notice.wait_completion_async().await.map_err(|error| lost(error.to_string()))
        })
    }

    fn subscribe(&mut self, topic: String) -> mpsc::Receiver<Message> {
        let (sender, receiver) = mpsc::channel(INCOMING_MAX);
        // A broker that does not allow it leaves the receiver silent; everything else goes on.
        if self.client.try_subscribe(topic.clone(), QoS::AtLeastOnce).is_ok() {
            self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).push((topic, sender));
        }
        receiver
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
            if self.client.disconnect().await.is_ok() {
                let _ = tokio::time::timeout(Duration::from_secs(2), self.broken()).await;
            }
        })
    }
}

fn gone() -> Reason {
    Reason::new(ReasonCode::ConnectionLost, "the connection to the broker has ended")
}

/// A connection error in words, with the class that decides what a person should do.
pub(super) fn explain(error: &ConnectionError) -> Reason {
    if let Some(fault) = tls_fault(error) {
        return Reason::new(ReasonCode::Certificate, fault.to_string());
    }
    let code = match error {
        ConnectionError::ConnectionRefused(_) => ReasonCode::BrokerRefused,
        ConnectionError::Io(io) => match io.kind() {
            std::io::ErrorKind::ConnectionRefused => ReasonCode::ConnectionRefused,
            std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable => ReasonCode::NoNetwork,
            _ => ReasonCode::ConnectionLost,
        },
        ConnectionError::Tls(_) => ReasonCode::Certificate,
        _ => ReasonCode::ConnectionLost,
    };
    Reason::new(code, error.to_string())
}

/// The verdict of TLS, ours or the broker's (an alert may come with any later read), however deep the library has wrapped it.
fn tls_fault(error: &ConnectionError) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        let inside = current.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        let found = current.downcast_ref().or_else(|| inside.and_then(|inner| inner.downcast_ref()));
        if found.is_some() {
            return found;
        }
        cause = current.source();
    }
    None
}
