//! A subscriber that writes down every event that a broker hands out.

use super::ledger::SharedLedger;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Subscribed with QoS 1 to everything below a prefix. It keeps its session over reconnects, so a broker that keeps
/// sessions too hands out what came meanwhile. Dropping it ends it.
pub struct MqttJudge {
    ledger: SharedLedger,
    subscribed: watch::Receiver<bool>,
    _tasks: JoinSet<()>,
}

impl MqttJudge {
    /// Starts to connect, and goes on trying until it is dropped. `name` is the client id, one for each judge of a broker.
    pub fn start(host: &str, port: u16, prefix: &str, name: &str) -> MqttJudge {
        MqttJudge::start_with(MqttOptions::new(name, (host, port)), prefix)
    }

    /// The same for a broker that wants a name and a password.
    pub fn start_as(host: &str, port: u16, prefix: &str, user: &str, password: &str) -> MqttJudge {
        let mut options = MqttOptions::new(user, (host, port));
        options.set_credentials(user, password.to_owned());
        MqttJudge::start_with(options, prefix)
    }

    fn start_with(mut options: MqttOptions, prefix: &str) -> MqttJudge {
        options.set_keep_alive(20);
        options.set_clean_session(false);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        let (client, events) = AsyncClient::builder(options).capacity(16).build();
        let ledger = SharedLedger::default();
        let (told, subscribed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(client, events, format!("{prefix}/#"), ledger.clone(), told));
        MqttJudge { ledger, subscribed, _tasks: tasks }
    }

    /// Returns once the broker has confirmed the subscription; what is published from then on is heard.
    pub async fn subscribed(&mut self, within: Duration) -> Result<(), String> {
        match tokio::time::timeout(within, self.subscribed.wait_for(|done| *done)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("the subscriber has ended".to_owned()),
            Err(_) => Err(format!("the broker has not confirmed the subscription within {} s", within.as_secs())),
        }
    }

    /// What was heard so far.
    pub fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }
}

async fn listen(
    client: AsyncClient,
    mut events: EventLoop,
    filter: String,
    ledger: SharedLedger,
    subscribed: watch::Sender<bool>,
) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                // On every connection: a broker that has lost its sessions would else stay silent.
                if client.subscribe(filter.as_str(), QoS::AtLeastOnce).await.is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => {
                subscribed.send_replace(true);
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic);
                if topic.contains("/events/") {
                    ledger.lock().note(&event_id(&publish.payload), None, &publish.payload);
                }
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// CloudEvents' `id`; a body without one is kept under a name that says so, for a judge to stumble over.
fn event_id(payload: &[u8]) -> String {
    let envelope: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    envelope["id"].as_str().unwrap_or("an event without an id").to_owned()
}
