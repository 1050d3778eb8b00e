//! Other people's subscribers beside a gateway that lives through a day: mosquitto_sub, and paho with Python's jsonschema.

use super::cable::{Cable, message};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use super::outside::{configure, line};
use super::watcher::Watcher;
use gateway_tests::contract;
use gateway_tests::judge::judge;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

const ROOT: &str = "analyzer-gateway/box/";

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("it starts")
}

/// mosquitto_sub, which writes each message on a line: retained, QoS, topic, payload.
fn mosquitto_sub(broker: &Mosquitto) -> Child {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-p", &broker.port.to_string(), "-q", "1", "-t", "#", "-F", "%r %q %t %p"]);
    spawn(command)
}

/// A day of the gateway, seen by those who watch.
async fn day(home: &Home, watcher: &Watcher) {
    let mut cable = Cable::plug(home, "line");
    let gateway = home.start_ready().await;
    cable.tell(&message("DAY-0001", 2)).await;
    let event = format!("{ROOT}analyzers/line/events/TEST_FINISHED");
    home.eventually("the event", || watcher.last(&event)).await;
    let health = format!("{ROOT}health");
    home.eventually("the health report", || watcher.last(&health)).await;
    drop(cable);
    let lost = format!("{ROOT}notices/ANALYZER_LOST");
    home.eventually("the notice", || watcher.last(&lost)).await;
    gateway.kill().await;
    let status = format!("{ROOT}status");
    let cause = |cause: &str| watcher.last(&status).filter(|status| status["cause"] == cause);
    home.eventually("the last will", || cause("vanished")).await;
    let gateway = home.start_ready().await;
    home.eventually("the status", || cause("started")).await;
    gateway.stop().await;
    home.eventually("the good-bye", || cause("stopped")).await;
}

/// Waits until a subscriber has printed a line with these words, and gives all lines up to it.
async fn lines_to(child: &mut Child, words: &[&str]) -> Vec<String> {
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut lines = Vec::new();
    let reading = async {
        while let Some(line) = reader.next_line().await.expect("text") {
            let last = words.iter().all(|word| line.contains(word));
            lines.push(line);
            if last {
                return;
            }
        }
        panic!("it ended before it said {words:?}: {lines:#?}");
    };
    tokio::time::timeout(super::home::DEADLINE, reading).await.expect("it says so in time");
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_sub_and_paho_see_what_the_page_says() {
    if !mosquitto::is_installed() {
        return;
    }
    let Some(python) = judge("python/bin/python") else { return };
    let home = Home::new();
    let broker = Mosquitto::start(&home).await;
    let watcher = Watcher::on(broker.port);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.arg("-B").arg(root.join("judges/python/mqtt_contract.py")).arg(broker.port.to_string());
    command.arg(root.parent().expect("the project").join("docs/mqtt-schemas.json"));
    let mut paho = spawn(command);
    let mut ready = [0; 6];
    let stdout = paho.stdout.as_mut().expect("it is piped");
    tokio::io::AsyncReadExt::read_exact(stdout, &mut ready).await.expect("it subscribes");
    assert_eq!(&ready, b"ready\n");
    let mut sub = mosquitto_sub(&broker);
    // It hears what is published from now on; nothing earlier was.
    let subscribed = |log: String| log.matches("Sending SUBACK").count() >= 3;
    let log = home.path("mosquitto.log");
    let read = || subscribed(std::fs::read_to_string(&log).unwrap_or_default()).then_some(());
    home.eventually("three subscriptions", read).await;

    configure(&home, &format!("mqtt: {{ url: '{}' }}\n{}", broker.url(), line()));
    day(&home, &watcher).await;

    let mut seen = BTreeSet::new();
    for line in lines_to(&mut sub, &["/status", r#""cause":"stopped""#]).await {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (retained, qos, topic, payload) = (next(), next(), next(), next());
        assert_eq!(qos, "1", "{topic}");
        let retained = (retained == "1").then_some(true);
        assert_eq!(contract::fault(topic, payload.as_bytes(), retained), None, "{payload}");
        let rest = topic.strip_prefix(ROOT).expect("nobody else speaks");
        seen.insert(gateway_core::monitoring::topic(rest).expect("judged above").pattern);
    }
    let expected = [
        "analyzers/<analyzer>/events/<EVENT>",
        "analyzers/<analyzer>/state",
        "destinations/<destination>/state",
        "health",
        "notices/<CODE>",
        "status",
        "summary",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);

    paho.stdin.take().expect("it is piped").write_all(b"judge\n").await.expect("it listens");
    let said = lines_to(&mut paho, &["judged"]).await;
    let bad: Vec<&String> = said.iter().filter(|line| line.starts_with("bad ")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let good: BTreeSet<&str> = said.iter().filter_map(|line| line.strip_prefix("ok ")).collect();
    assert_eq!(good.into_iter().collect::<Vec<_>>(), expected);
    paho.wait().await.expect("it ends");
}
