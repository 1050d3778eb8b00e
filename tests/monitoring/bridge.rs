//! mosquitto's bridge, as config/monitoring has it: the monitoring topics go out, the events stay.

use super::cable::{Cable, message};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use super::outside::{Listener, configure, line};
use gateway_core::monitoring::{Audience, Direction, TOPICS};
use std::path::Path;

fn example() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project");
    std::fs::read_to_string(root.join("config/monitoring/mosquitto-bridge.conf")).expect("an example")
}

/// The patterns that are sent upstream.
fn carried(conf: &str) -> Vec<&str> {
    let lines = conf.lines().filter_map(|line| line.strip_prefix("topic "));
    lines.map(|line| line.strip_suffix(" out 1").expect("outwards only, with QoS 1")).collect()
}

#[test]
fn the_example_carries_what_everybody_may_hear_and_nothing_else() {
    let conf = example();
    let everyone = TOPICS.iter().filter(|topic| topic.audience == Audience::Everyone);
    let outwards = everyone.filter(|topic| topic.direction == Direction::FromGateway);
    let level = |word: &str| if word.starts_with('<') { "+".to_owned() } else { word.to_owned() };
    let pattern = |pattern: &str| pattern.split('/').map(level).collect::<Vec<_>>().join("/");
    let wanted: Vec<String> = outwards.map(|topic| format!("analyzer-gateway/+/{}", pattern(topic.pattern))).collect();
    assert_eq!(carried(&conf), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bridge_carries_states_and_no_event() {
    if !mosquitto::is_installed() {
        return;
    }
    let (home, abroad) = (Home::new(), Home::new());
    let outer = Mosquitto::start(&abroad).await;
    // Without encryption here: the outer broker is on this machine.
    let tls = |line: &&str| !["address", "bridge_cafile", "bridge_certfile", "bridge_keyfile"].contains(&word(line));
    let conf: Vec<String> = example().lines().filter(tls).map(str::to_owned).collect();
    let address = format!("connection analyzer-gateway-monitoring\naddress 127.0.0.1:{}", outer.port);
    let conf = conf.join("\n").replace("connection analyzer-gateway-monitoring", &address);
    let inner = Mosquitto::start_with(&home, &format!("allow_anonymous true\n{conf}\n")).await;

    let (inside, outside) = (Listener::on(inner.port), Listener::on(outer.port));
    let mut cable = Cable::plug(&home, "line");
    configure(&home, &format!("mqtt: {{ url: '{}' }}\n{}", inner.url(), line()));
    let gateway = home.start_ready().await;
    cable.tell(&message("BRIDGE-0001", 2)).await;
    let event = "analyzer-gateway/box/analyzers/line/events/TEST_FINISHED";
    home.eventually("the event inside", || inside.has(event).then_some(())).await;
    for topic in ["status", "health", "summary", "analyzers/line/state", "destinations/mqtt/state"] {
        let topic = format!("analyzer-gateway/box/{topic}");
        home.eventually(&format!("{topic} outside"), || outside.has(&topic).then_some(())).await;
    }
    gateway.stop().await;
    let stopped = || outside.last("analyzer-gateway/box/status").filter(|status| status["cause"] == "stopped");
    // What came before it came in its order, so an event would have been seen by now.
    home.eventually("the last word outside", stopped).await;
    outside.assert_free_of_events_and(&["BRIDGE-0001"]);
    outside.assert_as_the_page_says();
}

fn word(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}
