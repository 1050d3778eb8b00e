//! Who hears the gateway: a subscriber to everything at a broker, and a receiver that quotes what it was sent.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use gateway_daemon::platform::serve::HyperServer;
use gateway_daemon::platform::{HttpServer, Serving};
use gateway_daemon::pulse::stop_channel;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Everything that was heard: a topic and its payload, or a request's body.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<(String, String)>>>);

impl Heard {
    fn add(&self, topic: &str, payload: &[u8]) {
        let payload = String::from_utf8_lossy(payload).into_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((topic.to_owned(), payload));
    }

    pub fn all(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The topics on which this word was heard.
    pub fn topics_of(&self, word: &str) -> Vec<String> {
        let all = self.all().into_iter().filter(|(topic, payload)| topic.contains(word) || payload.contains(word));
        all.map(|(topic, _)| topic).collect()
    }
}

/// Subscribes to everything at the broker on this port.
pub async fn at_broker(port: u16) -> (Heard, JoinSet<()>) {
    let mut options = MqttOptions::new("canary-listener", ("127.0.0.1", port));
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::builder(options).capacity(16).build();
    client.subscribe("#", QoS::AtLeastOnce).await.expect("a running loop");
    let (heard, mut listening) = (Heard::default(), JoinSet::new());
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    let hears = heard.clone();
    listening.spawn(async move {
        let (_client, mut ready) = (client, Some(ready));
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::SubAck(_))) => {
                    let _ = ready.take().map(|ready| ready.send(()));
                }
                Ok(Event::Incoming(Incoming::Publish(message))) => {
                    hears.add(&String::from_utf8_lossy(&message.topic), &message.payload);
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    subscribed.await.expect("it subscribes");
    (heard, listening)
}

/// A receiver at `/hook` that refuses everything and quotes it in the answer, and a collector of traces at `/traces`.
pub fn quoting(port: u16) -> (Heard, JoinSet<()>) {
    async fn quote(State(heard): State<Heard>, body: Bytes) -> (StatusCode, Bytes) {
        heard.add("webhook", &body);
        (StatusCode::BAD_REQUEST, body)
    }
    async fn trace(State(heard): State<Heard>, body: Bytes) -> StatusCode {
        heard.add("traces", &body);
        StatusCode::OK
    }
    let heard = Heard::default();
    let router: Router =
        Router::new().route("/hook", post(quote)).route("/traces", post(trace)).with_state(heard.clone());
    let mut serving = JoinSet::new();
    let at = Serving::Tcp(format!("127.0.0.1:{port}"));
    serving.spawn(async move {
        // It serves as long as this is held.
        let (_stopper, stop) = stop_channel();
        HyperServer.serve(&at, router, stop).await.expect("it serves");
    });
    (heard, serving)
}
