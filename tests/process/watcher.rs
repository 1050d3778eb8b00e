//! A subscriber that sees the retained topics as a status board would: the last word on each.

use gateway_tests::contract;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// The last payload on each topic.
type Seen = BTreeMap<String, Vec<u8>>;

pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    /// What was not as docs/mqtt.md has it.
    unlike: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Watcher {
    /// Subscribed to everything; connects again whenever it must.
    pub fn start(mut options: MqttOptions) -> Watcher {
        options.set_keep_alive(20);
        options.set_max_packet_size(1 << 24, 1 << 24);
        let (client, events) = AsyncClient::builder(options).capacity(16).build();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let unlike = Arc::new(Mutex::new(Vec::new()));
        tasks.spawn(watch(client, events, seen.clone(), unlike.clone()));
        Watcher { seen, unlike, _tasks: tasks }
    }

    pub fn on(port: u16) -> Watcher {
        Watcher::start(MqttOptions::new("watcher", ("127.0.0.1", port)))
    }

    /// The last JSON said on this topic.
    pub fn last(&self, topic: &str) -> Option<Value> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(topic).and_then(|payload| serde_json::from_slice(payload).ok())
    }

    /// Whether the topic was cleared (an empty retained payload) or never set.
    pub fn is_clear(&self, topic: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(topic).is_none_or(Vec::is_empty)
    }

    /// The last `state` said on this topic.
    pub fn state(&self, topic: &str) -> Option<String> {
        self.last(topic)?["state"].as_str().map(str::to_owned)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let unlike = self.unlike.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(unlike.is_empty() || std::thread::panicking(), "not as docs/mqtt.md has it: {unlike:#?}");
    }
}

async fn watch(client: AsyncClient, mut events: EventLoop, seen: Arc<Mutex<Seen>>, unlike: Arc<Mutex<Vec<String>>>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                if client.subscribe("#", QoS::AtLeastOnce).await.is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                let fault = contract::fault(&topic, &publish.payload, publish.retain.then_some(true));
                unlike.lock().unwrap_or_else(PoisonError::into_inner).extend(fault);
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, publish.payload.to_vec());
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
