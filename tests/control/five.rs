//! MQTT 5 as paho sees it; a broker that knows only 3.1.1; and a PUBACK that refuses.

use super::bench::{Bench, free_port};
use super::commander::command;
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use gateway_tests::judge::judge;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const DEADLINE: Duration = Duration::from_secs(60);

async fn post(bench: &Bench) {
    let event = json!({"dialect": "session", "event": "WMS_LOADED", "session_id": "s"});
    bench.post("post", "/api/events", event).await.expect(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_sees_what_a_message_is_of_whom_and_until_when() {
    let Some(python) = judge("python/bin/python").filter(|_| mosquitto::is_installed()) else { return };
    let cellar = Home::new();
    let broker = Mosquitto::start(&cellar).await;
    let listen = format!("127.0.0.1:{}", free_port());
    let cable = format!("analyzers:\n  - {{ id: line, driver: astm, port: {{ tcp: {{ listen: '{listen}' }} }} }}\n");
    let bench = Bench::start(&format!("mqtt: {{ url: '{}', version: 5 }}\n{cable}", broker.url())).await;
    bench.home.says(&["connected to the broker"]).await;
    let state = |status: &Value| status["destinations"][0]["state"] == "ready";
    bench.eventually("read", "/api/status", state).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/python/mqtt_five.py");
    let mut paho = tokio::process::Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(broker.port.to_string())
        .arg(command("five", "read", "ping", json!({})).to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python starts");
    let mut lines = BufReader::new(paho.stdout.take().expect("it is piped")).lines();
    let mut seen: Vec<Value> = Vec::new();
    let has = |seen: &[Value], topic: &str| {
        seen.iter().find(|one| one["topic"].as_str().is_some_and(|is| is == topic)).cloned()
    };
    let wanted = [
        "answers/five",
        "analyzer-gateway/box/status",
        "analyzer-gateway/box/analyzers/line/state",
        "analyzer-gateway/box/analyzers/gateway/events/WMS_LOADED",
        "analyzer-gateway/box/commands/response/elsewhere",
    ];
    while !wanted.iter().all(|topic| has(&seen, topic).is_some()) {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("only {seen:#?}")).expect("a pipe").expect("it goes on");
        if seen.is_empty() {
            // It is subscribed: an event is no retained message and would have passed it by before.
            post(&bench).await;
        }
        seen.push(serde_json::from_str(&line).expect("JSON"));
    }
    let [answer, status, analyzer, event, elsewhere] = wanted.map(|topic| has(&seen, topic).expect("it is there"));
    assert_eq!((&answer["correlation"], &answer["payload"]["id"]), (&json!("correlated"), &json!("five")));
    assert_eq!(elsewhere["payload"]["outcome"], "done", "an answer never passes for another gateway's word");
    assert!(has(&seen, "analyzer-gateway/other/status").is_none());
    for one in [&answer, &status, &analyzer, &event] {
        assert_eq!((&one["user"]["gateway"], &one["user"]["schema"]), (&json!("box"), &json!("1")), "{one}");
    }
    assert_eq!(event["content_type"], "application/cloudevents+json");
    assert_eq!(event["user"]["event"], "WMS_LOADED");
    assert_eq!((&event["expiry"], &status["expiry"]), (&Value::Null, &Value::Null), "these never expire");
    assert_eq!(status["content_type"], "application/json");
    assert!(analyzer["expiry"].as_u64().is_some_and(|seconds| (80_000..=86_400).contains(&seconds)), "{analyzer}");
    paho.kill().await.expect("a process of ours");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_knows_only_the_older_version_is_spoken_to_in_it() {
    let port = gateway_daemon::platform::broker::start(free_port(), 1 << 20).expect("a broker");
    let bench = Bench::start(&format!("mqtt: {{ url: 'mqtt://127.0.0.1:{port}' }}\n")).await;
    bench.home.says(&["does not understand MQTT 5"]).await;
    bench.home.says(&["connected to the broker"]).await;
    post(&bench).await;
    let all = |all: &Value| all["destinations"][0]["undone"] == 0 && all["destinations"][0]["ordinal"] == 1;
    bench.eventually("read", "/api/destinations", all).await;
    bench.gateway.stop().await;
}

/// One packet of MQTT: its first byte and what follows the length.
async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

/// Takes every connection of MQTT 5, and refuses each event with `quota exceeded` (0x97) as long as `refusing` says so.
async fn quota(listener: TcpListener, refusing: Arc<AtomicUsize>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        while let Some((first, body)) = packet(&mut stream).await {
            let answer = match first >> 4 {
                1 => vec![0x20, 3, 0, 0, 0],
                3 => {
                    let topic_bytes = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let topic = &body[2..2 + topic_bytes];
                    let id = &body[2 + topic_bytes..4 + topic_bytes];
                    let is_event = topic.windows(8).any(|eight| eight == b"/events/");
                    let left = refusing.load(Ordering::SeqCst);
                    let refused = is_event && left > 0;
                    if refused {
                        refusing.store(left - 1, Ordering::SeqCst);
                    }
                    vec![0x40, 4, id[0], id[1], if refused { 0x97 } else { 0 }, 0]
                }
                8 => vec![0x90, 4, body[0], body[1], 0, 1],
                12 => vec![0xd0, 0],
                14 => break,
                _ => continue,
            };
            if stream.write_all(&answer).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_puback_that_refuses_is_no_delivery() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let refusing = Arc::new(AtomicUsize::new(2));
    let broker = tokio::spawn(quota(listener, refusing.clone()));
    let bench = Bench::start(&format!("mqtt: {{ url: 'mqtt://127.0.0.1:{port}', version: 5 }}\n")).await;
    post(&bench).await;
    bench.home.says(&["connection to the broker lost", "QuotaExceeded"]).await;
    let all = |all: &Value| all["destinations"][0]["undone"] == 0 && all["destinations"][0]["ordinal"] == 1;
    let done = bench.eventually("read", "/api/destinations", all).await;
    assert_eq!(refusing.load(Ordering::SeqCst), 0, "it was refused twice before: {done}");
    assert_eq!(done["destinations"][0]["dead"], 0);
    broker.abort();
    bench.gateway.stop().await;
}
