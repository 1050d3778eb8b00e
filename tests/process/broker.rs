//! The MQTT destination against a real broker: gone and back, unreachable, choosy, encrypted; and the one inside.

use super::cable::{Cable, message};
use super::certificates::make_certificates;
use super::database::Database;
use super::home::Home;
use super::mosquitto::{self, Mosquitto, free_port};
use super::watcher::Watcher;
use gateway_daemon::simulated::ledger::SharedLedger;
use gateway_daemon::simulated::mqtt_judge::MqttJudge;
use rumqttc::MqttOptions;
use rustix::process::Signal;
use std::time::Duration;

const STATUS: &str = "analyzer-gateway/box/status";

fn analyzer(id: &str) -> String {
    format!("analyzers:\n  - {{ id: {id}, driver: astm, port: {{ path: PLACE/{id} }} }}\n")
}

/// Writes settings with `PLACE` replaced by the test's folder.
fn configure(home: &Home, sections: &str) {
    home.configure(&sections.replace("PLACE", home.path("").display().to_string().trim_end_matches('/')));
}

async fn judge(broker: &Mosquitto) -> MqttJudge {
    let mut judge = MqttJudge::start("127.0.0.1", broker.port, "analyzer-gateway", "judge");
    judge.subscribed(Duration::from_secs(30)).await.expect("a subscription");
    judge
}

fn has(ledger: &SharedLedger, sample: &str) -> bool {
    ledger.lock().ids_of(&format!("sample {sample}")).len() == 1
}

async fn arrives(home: &Home, ledger: &SharedLedger, sample: &str) {
    home.eventually(&format!("{sample} at MQTT"), || has(ledger, sample).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_and_comes_back_gets_everything() {
    if !mosquitto::is_installed() {
        return;
    }
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let mut broker = Mosquitto::start(&home).await;
    let judge = judge(&broker).await;
    // Unreachable when the gateway starts.
    broker.switch_off().await;
    configure(&home, &format!("mqtt: {{ url: '{}' }}\n{}", broker.url(), analyzer("line")));
    let gateway = home.start_ready().await;
    home.says(&["WARN", "mqtt", "connection_refused"]).await;
    cable.tell(&message("AWAY-0001", 3)).await;
    broker.switch_on(&home).await;
    arrives(&home, judge.ledger(), "AWAY-0001").await;
    // Away again in the middle of traffic, twice.
    for round in 0..2 {
        cable.tell(&message(&format!("AWAY-1{round}00"), 20)).await;
        broker.switch_off().await;
        for number in 1..=5 {
            cable.tell(&message(&format!("AWAY-1{round}0{number}"), 3)).await;
        }
        broker.switch_on(&home).await;
        for number in 0..=5 {
            arrives(&home, judge.ledger(), &format!("AWAY-1{round}0{number}")).await;
        }
    }
    let database = Database::open(&home.state_dir());
    home.eventually("the cursor", || (database.undone("mqtt") == 0).then_some(())).await;
    gateway.stop().await;
    let events = database.events();
    home.eventually("the subscriber", || (judge.ledger().lock().len() == events.len()).then_some(())).await;
    assert_eq!(judge.ledger().lock().differing, 0);
    assert!(events.iter().all(|event| judge.ledger().lock().get(&event.id).is_some()));
    let unreachable = home.lines(&["WARN", "mqtt"]);
    assert!(unreachable.len() <= 12, "an absent broker is said, not shouted: {unreachable:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retained_topics_tell_how_things_stand() {
    if !mosquitto::is_installed() {
        return;
    }
    let home = Home::new();
    let broker = Mosquitto::start(&home).await;
    let watcher = Watcher::on(broker.port);
    configure(&home, &format!("mqtt: {{ url: '{}' }}\n{}", broker.url(), analyzer("line")));
    let state = "analyzer-gateway/box/analyzers/line/state";
    let gateway = home.start_ready().await;
    home.eventually("status ready", || (watcher.state(STATUS)? == "ready").then_some(())).await;
    let absent = home.eventually("a state without a cable", || watcher.last(state)).await;
    assert_ne!(absent["state"], "ready", "{absent}");
    assert!(absent["since"].is_string() && absent["reason"].is_string(), "{absent}");

    let mut cable = Cable::plug(&home, "line");
    home.eventually("the analyzer ready", || (watcher.state(state)? == "ready").then_some(())).await;
    cable.tell(&message("STATE-0001", 1)).await;
    drop(cable);
    home.eventually("the analyzer lost", || (watcher.state(state)? == "lost").then_some(())).await;
    let _cable = Cable::plug(&home, "line");
    home.eventually("the analyzer ready again", || (watcher.state(state)? == "ready").then_some(())).await;

    // Killed: the broker speaks the last will. Back: the present state again.
    gateway.kill().await;
    let will = home.eventually("the last will", || watcher.last(STATUS).filter(|status| status["state"] == "lost"));
    let will = will.await;
    assert!(will["since"].is_string(), "{will}");
    let gateway = home.start_ready().await;
    home.eventually("status ready after the kill", || (watcher.state(STATUS)? == "ready").then_some(())).await;

    // An analyzer that leaves the settings leaves no state behind.
    configure(&home, &format!("mqtt: {{ url: '{}' }}\n{}", broker.url(), analyzer("other")));
    gateway.signal(Signal::HUP);
    home.says(&["new settings in force"]).await;
    home.eventually("the old state cleared", || watcher.is_clear(state).then_some(())).await;

    // Stopped in order: said so, and no last will.
    gateway.stop().await;
    let stopped =
        home.eventually("status after the stop", || watcher.last(STATUS).filter(|status| status["state"] != "ready"));
    assert_eq!(stopped.await["state"], "disconnected");
    // Late subscribers see the same: it is retained.
    let late = Watcher::start(MqttOptions::new("late", ("127.0.0.1", broker.port)));
    home.eventually("the retained status", || (late.state(STATUS)? == "disconnected").then_some(())).await;
    assert!(late.is_clear(state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_long_or_breaks_the_connection_is_set_aside() {
    if !mosquitto::is_installed() {
        return;
    }
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    // The gateway's own limit is 6000 bytes; the broker cuts the line at 4500.
    let broker = Mosquitto::start_with(&home, "allow_anonymous true\nmax_packet_size 4500\n").await;
    let judge = judge(&broker).await;
    let mqtt = format!("mqtt: {{ url: '{}', packet_bytes_max: 6000 }}\n", broker.url());
    configure(&home, &format!("{mqtt}{}", analyzer("line")));
    let gateway = home.start_ready().await;
    cable.tell(&message("SIZE-0001", 2)).await;
    cable.tell(&message("SIZE-0002", 60)).await;
    cable.tell(&message("SIZE-0003", 2)).await;
    arrives(&home, judge.ledger(), "SIZE-0003").await;
    let database = Database::open(&home.state_dir());
    assert_eq!(database.dead("mqtt"), ["too_large"]);
    home.says(&["ERROR", "mqtt", "too_large", "packet_bytes_max"]).await;

    let length = |sample| {
        serde_json::to_string(
            &database.events().iter().rfind(|event| event.body["test"]["sample_id"] == sample).expect("stored").body,
        )
        .expect("JSON")
        .len()
    };
    cable.tell(&message("SIZE-0004", 25)).await;
    cable.tell(&message("SIZE-0005", 2)).await;
    home.eventually("the event stored", || (database.count("TEST_FINISHED") == 5).then_some(())).await;
    assert!((4000..5500).contains(&length("SIZE-0004")), "between the two limits: {}", length("SIZE-0004"));
    arrives(&home, judge.ledger(), "SIZE-0005").await;
    assert_eq!(database.dead("mqtt"), ["too_large", "poison_message"]);
    assert!(!has(judge.ledger(), "SIZE-0002") && !has(judge.ledger(), "SIZE-0004"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_both_ways_and_a_password() {
    if !mosquitto::is_installed() {
        return;
    }
    let home = Home::new();
    make_certificates(&home);
    let mut cable = Cable::plug(&home, "line");
    let passwords = home.path("passwords");
    let status = std::process::Command::new("mosquitto_passwd")
        .args(["-c", "-b", &passwords.to_string_lossy(), "gateway", "right-password"])
        .status();
    assert!(status.expect("it comes with mosquitto").success());
    let here = home.path("").display().to_string();
    // A second door for the subscriber.
    let plain = free_port();
    let broker = Mosquitto::start_with(
        &home,
        &format!(
            "cafile {here}ca.pem\ncertfile {here}server.pem\nkeyfile {here}server.key\nrequire_certificate true\n\
             listener {plain} 127.0.0.1\npassword_file {here}passwords\nallow_anonymous false\n"
        ),
    )
    .await;
    let settings = |client: bool, password: &str| {
        let own = if client { "certificate_file: PLACE/client.pem, key_file: PLACE/client.key, " } else { "" };
        format!(
            "mqtt: {{ url: 'mqtts://127.0.0.1:{}', ca_file: PLACE/ca.pem, {own}user: gateway, {password} }}\n{}",
            broker.port,
            analyzer("line")
        )
    };

    // Without a certificate of its own, then with the wrong password: each said clearly, nothing lost.
    configure(&home, &settings(false, "password: right-password"));
    let gateway = home.start_ready().await;
    let line = home.says(&["WARN", "mqtt", "no connection to the broker"]).await;
    assert!(line.contains("certificate"), "{line}");
    cable.tell(&message("TLS-0001", 2)).await;
    configure(&home, &settings(true, "password: wrong-password"));
    gateway.signal(Signal::HUP);
    home.says(&["WARN", "mqtt", "broker_refused"]).await;

    let mut options = MqttOptions::new("watcher", ("127.0.0.1", plain));
    options.set_credentials("gateway", "right-password");
    let watcher = Watcher::start(options);
    let password_file = home.write("password", "right-password\n");
    configure(&home, &settings(true, &format!("password_file: {}", password_file.display())));
    gateway.signal(Signal::HUP);
    home.eventually("status ready", || (watcher.state(STATUS)? == "ready").then_some(())).await;
    let database = Database::open(&home.state_dir());
    home.eventually("what had to wait", || (database.undone("mqtt") == 0).then_some(())).await;
    cable.tell(&message("TLS-0002", 2)).await;
    let topic = "analyzer-gateway/box/analyzers/line/events/TEST_FINISHED";
    home.eventually("the event through TLS", || {
        (watcher.last(topic)?["data"]["test"]["sample_id"] == "TLS-0002").then_some(())
    })
    .await;
    gateway.stop().await;
    let key = std::fs::read_to_string(home.path("client.key")).expect("written above");
    let body: Vec<&str> = key.lines().filter(|line| !line.starts_with('-') && line.len() > 8).collect();
    home.assert_discreet(["right-password", "wrong-password"].into_iter().chain(body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_inside_takes_the_next_free_port() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    // If somebody else has the known port already, all the better.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", 1883));
    configure(&home, &analyzer("line"));
    let gateway = home.start_ready().await;
    let line = home.says(&["the embedded broker listens"]).await;
    let port = line.split("mqtt://127.0.0.1:").nth(1).and_then(|rest| rest.trim_end_matches(['"', ' ']).parse().ok());
    let port: u16 = port.expect("the line ends with the address");
    assert!(port > 1883, "{line}");
    let watcher = Watcher::on(port);
    home.eventually("status ready", || (watcher.state(STATUS)? == "ready").then_some(())).await;
    cable.tell(&message("INSIDE-01", 2)).await;
    let topic = "analyzer-gateway/box/analyzers/line/events/TEST_FINISHED";
    home.eventually("the event", || (watcher.last(topic)?["data"]["test"]["sample_id"] == "INSIDE-01").then_some(()))
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_broker_holds_nobody_up() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    configure(&home, &format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n{}", free_port(), analyzer("line")));
    let gateway = home.start_ready().await;
    cable.tell(&message("ALONE-01", 2)).await;
    let database = Database::open(&home.state_dir());
    home.eventually("the event stored", || (database.count("TEST_FINISHED") == 1).then_some(())).await;
    assert!(database.undone("mqtt") > 0);
    gateway.stop().await;
    home.assert_discreet(super::cable::private("ALONE-01").iter().map(String::as_str));
}
