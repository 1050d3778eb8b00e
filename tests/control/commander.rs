//! Somebody with a broker and a token: gives commands and hears the answers.

use super::mosquitto::Mosquitto;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(60);
const TOPIC: &str = "analyzer-gateway/box/commands";

pub struct Commander {
    client: AsyncClient,
    heard: Arc<Mutex<Vec<Value>>>,
    _tasks: JoinSet<()>,
}

/// RFC 3339, so many seconds from now.
pub fn moment(seconds: i64) -> String {
    let now = jiff::Timestamp::now();
    now.saturating_add(jiff::SignedDuration::from_secs(seconds)).expect("near").to_string()
}

/// A command that is good for a minute.
pub fn command(id: &str, token: &str, name: &str, arguments: Value) -> Value {
    json!({
        "schema": 1, "id": id, "command": name, "token": token, "expires_at": moment(60), "arguments": arguments
    })
}

impl Commander {
    /// Connected, and subscribed to every answer.
    pub async fn start(broker: &Mosquitto) -> Commander {
        let mut options = MqttOptions::new("commander", ("127.0.0.1".to_owned(), broker.port));
        options.set_keep_alive(20);
        options.set_max_packet_size(1 << 24, 1 << 24);
        let (client, mut events) = AsyncClient::builder(options).capacity(2_000).build();
        client.subscribe(format!("{TOPIC}/response/#"), QoS::AtLeastOnce).await.expect("queued");
        let subscribing =
            async { while !matches!(events.poll().await.expect("a broker"), Event::Incoming(Incoming::SubAck(_))) {} };
        tokio::time::timeout(DEADLINE, subscribing).await.expect("a subscription");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(events, heard.clone()));
        Commander { client, heard, _tasks: tasks }
    }

    pub fn publish(&self, payload: &str) {
        self.publish_on(&format!("{TOPIC}/request"), payload);
    }

    pub fn publish_on(&self, topic: &str, payload: &str) {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.try_publish_tracked(topic.to_owned(), payload.to_owned(), options).expect("room");
    }

    /// Every answer so far.
    pub fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answers to this id, once there are so many.
    pub async fn answers(&self, id: &str, count: usize) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let answers: Vec<Value> = self.heard().into_iter().filter(|answer| answer["id"] == id).collect();
            if answers.len() >= count {
                return answers;
            }
            assert!(tokio::time::Instant::now() < deadline, "no answer to {id}: {:?}", self.heard());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Gives a command, each time under a new id, until one is done: what comes faster than it can be answered is dropped, and
    /// more than one a second is told to slow down.
    pub async fn insist(&self, id: &str, token: &str) {
        for number in 0..60 {
            let id = format!("{id}-{number}");
            self.publish(&command(&id, token, "ping", json!({})).to_string());
            let answer = match tokio::time::timeout(Duration::from_secs(1), self.answers(&id, 1)).await {
                Ok(mut answers) => answers.remove(0),
                Err(_) => continue,
            };
            if answer["outcome"] == "done" {
                return;
            }
            assert_eq!(answer["code"], "too_many", "{answer}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{token} is never answered");
    }

    /// Gives a command and waits for its answer.
    pub async fn give(&self, command: &Value) -> Value {
        self.publish(&command.to_string());
        let id = command["id"].as_str().expect("an id");
        self.answers(id, 1).await.remove(0)
    }

    /// The same; it must be refused with this code.
    pub async fn refused(&self, command: &Value, code: &str) -> Value {
        let answer = self.give(command).await;
        assert_eq!((&answer["outcome"], &answer["code"]), (&json!("refused"), &json!(code)), "{answer}");
        assert!(answer["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{answer}");
        answer
    }

    /// The same; it must be done. Gives what came of it.
    pub async fn done(&self, command: &Value) -> Value {
        let answer = self.give(command).await;
        assert_eq!(answer["outcome"], "done", "{answer}");
        answer["result"].clone()
    }
}

async fn listen(mut events: EventLoop, heard: Arc<Mutex<Vec<Value>>>) {
    while let Ok(event) = events.poll().await {
        if let Event::Incoming(Incoming::Publish(publish)) = event {
            let answer: Value = serde_json::from_slice(&publish.payload).expect("JSON");
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            assert_eq!(topic, format!("{TOPIC}/response/{}", answer["id"].as_str().expect("an id")));
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        }
    }
}
