//! The broker outside of the clinic: commands are answered there, and the API is not.

use super::bench::Bench;
use super::commander::{Commander, command};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_outside_may_give_commands_and_ask_for_nothing_else() {
    if !mosquitto::is_installed() {
        return;
    }
    let (cellar, abroad) = (Home::new(), Home::new());
    let (inner, outer) = (Mosquitto::start(&cellar).await, Mosquitto::start(&abroad).await);
    let sections = format!("mqtt: {{ url: '{}' }}\nmonitoring: {{ url: '{}' }}\n", inner.url(), outer.url());
    let bench = Bench::start(&sections).await;
    bench.home.says(&["connected to the second broker"]).await;
    let (inside, outside) = (Commander::start(&inner).await, Commander::start(&outer).await);
    inside.insist("hello", "read").await;
    outside.insist("hello", "read").await;

    // It is asked the same on both; inside it is answered.
    let asked = json!({"id": "a1", "token": "administer", "method": "GET", "path": "/api/events"}).to_string();
    for commander in [&outside, &inside] {
        commander.publish_on("analyzer-gateway/box/api/request", &asked);
    }
    let answer = "'analyzer-gateway/box/api/response/a1'";
    let log = |home: &Home| std::fs::read_to_string(home.path("mosquitto.log")).expect("a log of our own");
    cellar.eventually("the answer inside", || log(&cellar).contains(answer).then_some(())).await;
    // What came outside behind the request is answered, so the request was passed by.
    outside.done(&command("behind", "read", "ping", json!({}))).await;
    let told = log(&abroad);
    assert!(told.contains("'analyzer-gateway/box/api/request'"), "it did come to the broker: {told}");
    assert!(told.contains("analyzer-gateway/box/commands/request (QoS"), "the gateway asks for commands: {told}");
    assert!(!told.contains("analyzer-gateway/box/api/request (QoS"), "and not for requests to the API: {told}");
    assert!(!told.contains("/api/response/"), "{told}");

    // Settings that are pushed from there are confirmed from there.
    let yaml = std::fs::read_to_string(bench.home.settings_path()).expect("a settings file");
    let other = json!({"yaml": format!("{yaml}retention: {{ events_kept_days: 78 }}\n")});
    let pushed = outside.done(&command("push", "administer", "push_config", other)).await;
    let hash = pushed["settings"]["hash"].clone();
    bench.eventually("read", "/api/config", |config| config["hash"] == hash).await;
    let confirm = json!({ "hash": hash });
    inside.refused(&command("keep-inside", "administer", "confirm_config", confirm.clone()), "other_door").await;
    outside.done(&command("keep-outside", "administer", "confirm_config", confirm)).await;
    bench.gateway.stop().await;
}
