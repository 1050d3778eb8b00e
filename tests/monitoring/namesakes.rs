//! Two boxes with one id at one broker push each other out: both say so, and no result is lost or given up for it.

use super::cable::{Cable, message};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use super::outside::{Listener, configure, line};
use serde_json::Value;

/// What `status --json` says of the troubles.
async fn troubles(home: &Home) -> Vec<(String, String, String)> {
    let settings = home.settings_path().display().to_string();
    let output = home.command(&["status", "--json", "--config", &settings]).output().await.expect("it runs");
    let Ok(status) = serde_json::from_slice::<Value>(&output.stdout) else { return Vec::new() };
    let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let all = status["troubles"].as_array().into_iter().flatten();
    all.map(|one| (word(one, "subject"), word(one, "code"), word(one, "urgency"))).collect()
}

async fn both_say_so(version: &str) {
    if !mosquitto::is_installed() {
        return;
    }
    let (home, other, place) = (Home::new(), Home::new(), Home::new());
    let broker = Mosquitto::start(&place).await;
    let listener = Listener::on(broker.port);
    for box_of_that_id in [&home, &other] {
        let mqtt = format!("mqtt: {{ url: '{}', version: '{version}' }}\nhttp: {{ listen: off }}\n", broker.url());
        configure(box_of_that_id, &(mqtt + line()));
    }
    let mut cable = Cable::plug(&home, "line");
    let gateway = home.start_ready().await;
    home.says(&["connected to the broker"]).await;
    let alone = troubles(&home).await;
    assert!(alone.iter().all(|(_, code, _)| code != "same_id_twice"), "{alone:?}");
    let twin = other.start_ready().await;
    let expected = ("mqtt".to_owned(), "same_id_twice".to_owned(), "today".to_owned());
    for one in [&home, &other] {
        one.says(&["another box uses the same gateway.id"]).await;
        let told = troubles(one).await;
        assert!(told.contains(&expected), "{told:?}");
    }

    // What is measured meanwhile arrives, and counts as nobody's poison.
    cable.tell(&message("TWIN-7731", 2)).await;
    let event = "analyzer-gateway/box/analyzers/line/events/TEST_FINISHED";
    home.eventually("the result", || listener.has(event).then_some(())).await;
    twin.stop().await;
    let told = troubles(&home).await;
    assert!(told.iter().all(|(_, code, _)| code != "dead_letters"), "{told:?}");
    gateway.stop().await;
    home.assert_discreet(["TWIN-7731"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boxes_of_one_id_say_so_in_mqtt_5() {
    both_say_so("5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boxes_of_one_id_say_so_in_the_older_mqtt() {
    both_say_so("3.1.1").await;
}
