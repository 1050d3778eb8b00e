//! The second broker: the same states and notices as the clinic's own, over TLS with a certificate, and not one event.

use super::cable::{Cable, message, private};
use super::certificates::make_certificates;
use super::home::Home;
use super::mosquitto::{self, Mosquitto, free_port};
use super::watcher::Watcher;
use gateway_tests::contract;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use rustix::process::Signal;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// One message as it came: topic, payload, whether the broker had kept it.
type Heard = (String, Vec<u8>, bool);

/// Hears everything on a broker and keeps all of it.
pub struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    _tasks: JoinSet<()>,
}

impl Listener {
    pub fn on(port: u16) -> Listener {
        let mut options = MqttOptions::new("listener", ("127.0.0.1", port));
        options.set_max_packet_size(1 << 24, 1 << 24);
        let (client, mut events) = AsyncClient::builder(options).capacity(16).build();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, kept) = (JoinSet::new(), heard.clone());
        tasks.spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        let _ = client.subscribe("#", QoS::AtLeastOnce).await;
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        let message = (topic, publish.payload.to_vec(), publish.retain);
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Listener { heard, _tasks: tasks }
    }

    fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn has(&self, topic: &str) -> bool {
        self.all().iter().any(|(heard, payload, _)| heard == topic && !payload.is_empty())
    }

    pub fn last(&self, topic: &str) -> Option<Value> {
        let all = self.all();
        let last = all.iter().rev().find(|(heard, _, _)| heard == topic)?;
        serde_json::from_slice(&last.1).ok()
    }

    fn is_cleared(&self, topic: &str) -> bool {
        self.all().iter().rev().find(|(heard, _, _)| heard == topic).is_some_and(|(_, payload, _)| payload.is_empty())
    }

    pub fn assert_free_of_events_and(&self, words: &[&str]) {
        for (topic, payload, _) in self.all() {
            assert!(!topic.contains("/events/") && !topic.contains("/api/"), "{topic} is nobody's business outside");
            let text = String::from_utf8_lossy(&payload).into_owned();
            for word in words {
                assert!(!topic.contains(word) && !text.contains(word), "{word} on {topic}: {text}");
            }
        }
    }

    pub fn assert_as_the_page_says(&self) {
        let all = self.all();
        let faults =
            all.iter().filter_map(|(topic, payload, kept)| contract::fault(topic, payload, kept.then_some(true)));
        let faults: Vec<String> = faults.collect();
        assert!(faults.is_empty(), "not as docs/mqtt.md has it: {faults:#?}");
    }
}

/// Writes settings with `PLACE` replaced by the test's folder.
pub fn configure(home: &Home, sections: &str) {
    home.configure(&sections.replace("PLACE", home.path("").display().to_string().trim_end_matches('/')));
}

pub fn line() -> &'static str {
    "analyzers:\n  - { id: line, driver: astm, port: { path: PLACE/line } }\n"
}

const ROOT: &str = "analyzer-gateway/box";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_outside_hears_how_the_box_is_and_never_of_a_test() {
    if !mosquitto::is_installed() {
        return;
    }
    let (home, abroad) = (Home::new(), Home::new());
    make_certificates(&abroad);
    let here = abroad.path("").display().to_string();
    let plain = free_port();
    let doors = format!(
        "cafile {here}ca.pem\ncertfile {here}server.pem\nkeyfile {here}server.key\nrequire_certificate true\n\
         listener {plain} 127.0.0.1\nallow_anonymous true\n"
    );
    let outer = Mosquitto::start_with(&abroad, &doors).await;
    let inner = Mosquitto::start(&home).await;
    let (watcher, outside) = (Watcher::on(inner.port), Listener::on(plain));
    let settings = |analyzers: &str| {
        format!(
            "mqtt: {{ url: '{}' }}\nmonitoring: {{ url: 'mqtts://127.0.0.1:{}', ca_file: {here}ca.pem, \
             certificate_file: {here}client.pem, key_file: {here}client.key }}\n\
             webhooks:\n  - {{ id: lims, url: 'http://127.0.0.1:9/', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s }}\n{analyzers}",
            inner.url(),
            outer.port
        )
    };
    configure(&home, &settings(line()));
    let mut cable = Cable::plug(&home, "line");
    let gateway = home.start_ready().await;

    cable.tell(&message("CANARY-7731", 3)).await;
    let event = format!("{ROOT}/analyzers/line/events/TEST_FINISHED");
    home.eventually("the event inside", || watcher.last(&event)).await;
    for topic in ["status", "health", "summary", "analyzers/line/state", "destinations/mqtt/state"] {
        let topic = format!("{ROOT}/{topic}");
        home.eventually(&format!("{topic} outside"), || outside.has(&topic).then_some(())).await;
        home.eventually(&format!("{topic} inside"), || watcher.last(&topic)).await;
    }
    let status = outside.last(&format!("{ROOT}/status")).expect("seen above");
    assert_eq!((&status["cause"], &status["gateway"]), (&Value::from("started"), &Value::from("box")));
    // What happens is told on both, by its code and without its words.
    cable.say(b"\x05").await;
    cable.say(b"\x021NAME-CANARY-7731 is no record\r\x03FF\r\n\x04").await;
    drop(cable);
    let lost = format!("{ROOT}/notices/ANALYZER_LOST");
    home.eventually("the notice outside", || outside.has(&lost).then_some(())).await;
    home.eventually("the notice inside", || watcher.last(&lost)).await;
    let state = format!("{ROOT}/analyzers/line/state");
    home.eventually("the state outside", || (outside.last(&state)?["state"] == "lost").then_some(())).await;

    // Settings that come later, good and bad.
    configure(&home, "nonsense: true\n");
    gateway.signal(Signal::HUP);
    let refused = format!("{ROOT}/notices/CONFIG_REFUSED");
    home.eventually("the refusal outside", || outside.has(&refused).then_some(())).await;
    let shown = || outside.last(&format!("{ROOT}/status"));
    home.eventually("the status outside", || shown().filter(|status| status["configuration"]["refused"].is_string()))
        .await;

    // Killed: both brokers speak the last will. An analyzer that left the settings meanwhile leaves no state behind.
    gateway.kill().await;
    home.eventually("the last will outside", || shown().filter(|status| status["cause"] == "vanished")).await;
    let removed = format!("{ROOT}/destinations/webhook:lims/state");
    assert!(outside.has(&removed) && outside.has(&state));
    let without = settings("").replace("webhooks:", "# webhooks:").replace("\n  - { id: lims", "\n  # - { id: lims");
    configure(&home, &without);
    let gateway = home.start_ready().await;
    for topic in [&state, &removed] {
        home.eventually(&format!("{topic} cleared outside"), || outside.is_cleared(topic).then_some(())).await;
        home.eventually(&format!("{topic} cleared inside"), || watcher.is_clear(topic).then_some(())).await;
    }
    gateway.stop().await;
    home.eventually("the good-bye outside", || shown().filter(|status| status["cause"] == "stopped")).await;

    let private = private("CANARY-7731");
    let words: Vec<&str> = private.iter().map(String::as_str).chain(["whsec_", "GLU1"]).collect();
    outside.assert_free_of_events_and(&words);
    outside.assert_as_the_page_says();
    home.assert_discreet(private.iter().map(String::as_str));
}
