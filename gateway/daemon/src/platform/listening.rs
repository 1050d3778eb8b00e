//! A broker that is listened to for as long as it takes: filters with wildcards, retained messages, every connection anew.
//!
//! Beside `mqtt.rs`, whose connections publish and are disposable: here nothing is published, and the listener never learns
//! of a lost connection but as news.

use super::mqtt::explain;
use super::tls::{Identity, client_config};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::Secret;
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS, SubscribeFilter, SubscribeReasonCode, Transport,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const KEEP_ALIVE_SECONDS: u16 = 30;
const BACKOFF_MS_MIN: u64 = 500;
const BACKOFF_MS_MAX: u64 = 10_000;
/// Messages that wait to be taken; the broker keeps the next ones.
const HEARD_MAX: usize = 1_024;
/// A broker that passes longer packets on is left, so it should be told to refuse them.
pub const PACKET_BYTES_MAX: usize = 4 << 20;

/// Where a broker is and who we are there.
#[derive(Debug, Clone)]
pub struct BrokerAt {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

impl BrokerAt {
    /// MQTT 3.1.1 with a clean session. The error names the file that cannot be used.
    pub fn options(&self, client_id: &str) -> Result<MqttOptions, Reason> {
        let mut options = MqttOptions::new(client_id, (self.host.clone(), self.port));
        options.set_keep_alive(KEEP_ALIVE_SECONDS);
        options.set_clean_session(true);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some(user) = &self.user {
            let password = self.password.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default();
            options.set_credentials(user.clone(), password);
        }
        if self.tls {
            let identity = Identity {
                ca_file: self.ca_file.as_deref(),
                certificate_file: self.certificate_file.as_deref(),
                key_file: self.key_file.as_deref(),
                ..Identity::default()
            };
            let config = Arc::new(client_config(identity)?);
            options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(config)));
        }
        Ok(options)
    }
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// The broker has taken the subscription: what it had kept follows.
    Listening,
    Message {
        topic: String,
        payload: Vec<u8>,
        retained: bool,
    },
    /// The connection has gone; another one is tried until it holds.
    Lost(Reason),
}

/// Connects, subscribes to the filters with QoS 1, and goes on listening until the receiver is dropped. The error names the
/// file that cannot be used; whatever else goes wrong is news.
pub fn listen(at: &BrokerAt, client_id: &str, filters: Vec<String>) -> Result<mpsc::Receiver<Heard>, Reason> {
    let (client, events) = AsyncClient::builder(at.options(client_id)?).capacity(filters.len() + 1).build();
    let (sender, receiver) = mpsc::channel(HEARD_MAX);
    tokio::spawn(go_on(client, events, filters, sender));
    Ok(receiver)
}

async fn go_on(client: AsyncClient, mut events: EventLoop, filters: Vec<String>, sender: mpsc::Sender<Heard>) {
    let mut backoff = BACKOFF_MS_MIN;
    loop {
        // Polled to its end: what comes may wait for the listener, but is never cut off half-way.
        let heard = match events.poll().await {
            Ok(Event::Incoming(Incoming::Publish(publish))) => Heard::Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retained: publish.retain,
            },
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                subscribe(&client, &filters);
                continue;
            }
            Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                backoff = BACKOFF_MS_MIN;
                match ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    true => Heard::Lost(Reason::new(
                        ReasonCode::BrokerRefused,
                        "the broker does not let this user listen to the gateways",
                    )),
                    false => Heard::Listening,
                }
            }
            Ok(_) => continue,
            Err(error) => {
                if sender.send(Heard::Lost(explain(&error))).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(backoff)).await;
                backoff = (backoff * 2).min(BACKOFF_MS_MAX);
                continue;
            }
        };
        if sender.send(heard).await.is_err() {
            return;
        }
    }
}

fn subscribe(client: &AsyncClient, filters: &[String]) {
    let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
    // The queue has room: it is empty after a connect.
    let _ = client.try_subscribe_many(filters);
}
