//! A plant's host application beside the gateway: it reads what comes with other people's code (npm's sparkplug-payload) and
//! holds it against the rules of the Sparkplug specification 3.0.0 that a host depends on.

use super::cable::{Cable, message, private};
use super::home::{DEADLINE, Home};
use super::mosquitto::{self, Mosquitto};
use super::outside::{configure, line};
use gateway_tests::judge::judge;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

/// One message as it came.
#[derive(Clone)]
struct Came {
    topic: String,
    payload: Vec<u8>,
    retained: bool,
    qos: QoS,
}

/// Who listens to the plant's edge nodes, and is one of their hosts.
struct Host {
    client: AsyncClient,
    came: Arc<Mutex<Vec<Came>>>,
    _tasks: JoinSet<()>,
}

impl Host {
    async fn at(port: u16) -> Host {
        let (client, mut events) =
            AsyncClient::builder(MqttOptions::new("host", ("127.0.0.1", port))).capacity(16).build();
        client.subscribe("spBv1.0/#", QoS::AtLeastOnce).await.expect("a running loop");
        let came = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, keeps) = (JoinSet::new(), came.clone());
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        tasks.spawn(async move {
            let mut ready = Some(ready);
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::SubAck(_))) => {
                        let _ = ready.take().map(|ready| ready.send(()));
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        let (payload, retained) = (publish.payload.to_vec(), publish.retain);
                        let one = Came { topic, payload, retained, qos: publish.qos };
                        keeps.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        subscribed.await.expect("it subscribes");
        Host { client, came, _tasks: tasks }
    }

    /// What the edge nodes have said.
    fn came(&self) -> Vec<Came> {
        let all = self.came.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.into_iter().filter(|one| !one.topic.contains("/STATE/") && !one.topic.contains("/NCMD/")).collect()
    }

    /// Waits for one more message of this kind than `seen`, which it counts up.
    async fn waits_for(&self, home: &Home, kind: &str, seen: usize) {
        let part = format!("/{kind}/");
        let count = || self.came().iter().filter(|one| one.topic.contains(&part)).count();
        home.eventually(&format!("{kind} number {}", seen + 1), || (count() > seen).then_some(())).await;
    }

    async fn says(&self, topic: &str, payload: Vec<u8>, retained: bool) {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retained);
        self.client.publish(topic, payload, options).await.expect("a running loop");
    }

    async fn is(&self, online: bool, timestamp: u64) {
        let state = json!({ "online": online, "timestamp": timestamp }).to_string();
        self.says("spBv1.0/STATE/scada-1", state.into_bytes(), true).await;
    }
}

/// The script that reads and writes payloads.
struct Judge {
    _child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Judge {
    /// `None` if Node's packages are not installed.
    fn start() -> Option<Judge> {
        let packages = judge("node/node_modules/sparkplug-payload")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/node/plant.js");
        let mut command = Command::new("node");
        command.arg(script).env("NODE_PATH", packages.parent().expect("in a folder"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node starts");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Some(Judge { _child: child, to, from: BufReader::new(from).lines() })
    }

    async fn answers(&mut self, line: &str) -> String {
        self.to.write_all(format!("{line}\n").as_bytes()).await.expect("it listens");
        let answer = tokio::time::timeout(DEADLINE, self.from.next_line()).await.expect("it answers in time");
        answer.expect("text").expect("a line")
    }

    async fn reads(&mut self, payload: &[u8]) -> Value {
        let line = self.answers(&base64(payload)).await;
        serde_json::from_str(&line).expect("JSON")
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn metric<'a>(payload: &'a Value, name: &str) -> Option<&'a Value> {
    payload["metrics"].as_array()?.iter().find(|metric| metric["name"] == name)
}

fn bd_seq(payload: &Value) -> u64 {
    metric(payload, "bdSeq").and_then(|metric| metric["value"].as_u64()).expect("a bdSeq")
}

/// What a host knows of a node, from what it has heard.
#[derive(Default)]
struct Known {
    /// That of the birth; `None`: it is dead.
    bd_seq: Option<u64>,
    seq: u64,
    /// Those of the births since the node's.
    /// Whose metric each alias is: a device that comes back keeps its own.
    aliases: BTreeMap<u64, (Option<String>, String)>,
    devices: BTreeSet<String>,
    kinds: Vec<String>,
}

impl Known {
    /// Judges the next message; panics where a rule is broken.
    fn hears(&mut self, came: &Came, payload: &Value) {
        let parts: Vec<&str> = came.topic.split('/').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("spBv1.0", "Lab", "box"), "{}", came.topic);
        let (kind, device) = (parts[2], parts.get(4).map(|device| (*device).to_owned()));
        assert_eq!(device.is_some(), kind.starts_with('D'), "{}", came.topic);
        assert!(!came.retained, "{kind}: never retained");
        assert!(payload["timestamp"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{kind}: {payload}");
        self.kinds.push(kind.to_owned());
        if kind == "NDEATH" {
            assert!(payload.get("seq").is_none(), "the death has no number: {payload}");
            assert_eq!(payload["metrics"].as_array().map(Vec::len), Some(1), "{payload}");
            assert_eq!(Some(bd_seq(payload)), self.bd_seq, "the death of the birth before");
            *self = Known { kinds: std::mem::take(&mut self.kinds), ..Known::default() };
            return;
        }
        assert_eq!(came.qos, QoS::AtMostOnce, "{kind}");
        let seq = payload["seq"].as_u64().expect("a number");
        if kind == "NBIRTH" {
            assert_eq!(seq, 0, "a birth begins the numbers");
            let now = bd_seq(payload);
            assert!(self.bd_seq.is_none_or(|before| before == now), "a rebirth has the number of the connection");
            let rebirth = metric(payload, "Node Control/Rebirth").expect("every birth has it");
            assert_eq!((&rebirth["value"], &rebirth["type"]), (&json!(false), &json!("Boolean")));
            assert!(rebirth.get("alias").is_none(), "{rebirth}");
            *self = Known { bd_seq: Some(now), kinds: std::mem::take(&mut self.kinds), ..Known::default() };
        } else {
            assert!(self.bd_seq.is_some(), "{kind} before the birth");
            assert_eq!(seq, (self.seq + 1) % 256, "{kind}: a hole in the numbers");
        }
        self.seq = seq;
        let whose = device.clone();
        match (kind, device) {
            ("DBIRTH", Some(device)) => assert!(self.devices.insert(device), "born twice"),
            ("DDEATH", Some(device)) => assert!(self.devices.remove(&device), "not born"),
            ("DDATA", Some(device)) => assert!(self.devices.contains(&device), "not born"),
            ("NBIRTH" | "NDATA", None) => {}
            (other, device) => panic!("{other} {device:?}"),
        }
        for metric in payload["metrics"].as_array().into_iter().flatten() {
            assert!(metric["timestamp"].is_u64() && metric["type"].is_string(), "{kind}: {metric}");
            let (name, alias) = (metric["name"].as_str(), metric["alias"].as_u64());
            match kind {
                "NBIRTH" | "DBIRTH" if matches!(name, Some("bdSeq" | "Node Control/Rebirth")) => {}
                "NBIRTH" | "DBIRTH" => {
                    let of = (whose.clone(), name.expect("a birth names its metrics").to_owned());
                    let known = self.aliases.entry(alias.expect("an alias")).or_insert_with(|| of.clone());
                    assert_eq!(*known, of, "{kind}: an alias of two metrics");
                }
                _ => {
                    assert!(name.is_none() && self.aliases.contains_key(&alias.expect("an alias")), "{kind}: {metric}")
                }
            }
        }
    }
}

fn settings(broker: &Mosquitto, version: &str) -> String {
    format!(
        "http: {{ listen: off }}\nmonitoring: {{ interval_seconds: 5 }}\nsparkplug: {{ url: '{}', version: '{version}', \
         group_id: Lab, primary_host: scada-1 }}\n{}",
        broker.url(),
        line()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_follows_the_box_through_births_data_rebirths_and_deaths() {
    if !mosquitto::is_installed() {
        return;
    }
    let Some(mut judge) = Judge::start() else { return };
    let (home, plant) = (Home::new(), Home::new());
    let broker = Mosquitto::start(&plant).await;
    let host = Host::at(broker.port).await;
    configure(&home, &settings(&broker, "auto"));
    let mut cable = Cable::plug(&home, "line");
    let gateway = home.start_ready().await;

    // Nobody is told anything before the host is there, and what it said long ago is no longer true.
    home.says(&["connected to the plant's broker"]).await;
    host.is(true, 20).await;
    host.waits_for(&home, "DBIRTH", 0).await;
    host.is(false, 10).await;
    cable.tell(&message("PLANT-7731", 2)).await;
    host.waits_for(&home, "DDATA", 0).await;
    drop(cable);
    host.waits_for(&home, "DDEATH", 0).await;
    let mut cable = Cable::plug(&home, "line");
    host.waits_for(&home, "DBIRTH", 1).await;

    let command = judge.answers("rebirth").await;
    use base64::Engine;
    let command = base64::engine::general_purpose::STANDARD.decode(command).expect("base64");
    host.says("spBv1.0/Lab/NCMD/box", b"no payload".to_vec(), false).await;
    host.says("spBv1.0/Lab/NCMD/box", command, false).await;
    host.waits_for(&home, "DBIRTH", 2).await;

    // The node goes with its host and comes with it.
    host.is(false, 21).await;
    host.waits_for(&home, "NDEATH", 0).await;
    host.is(true, 22).await;
    host.waits_for(&home, "DBIRTH", 3).await;

    // Killed: the broker says the death. The next life speaks the older MQTT and goes in order.
    gateway.kill().await;
    host.waits_for(&home, "NDEATH", 1).await;
    configure(&home, &settings(&broker, "3.1.1"));
    let gateway = home.start_ready().await;
    host.waits_for(&home, "DBIRTH", 4).await;
    cable.tell(&message("PLANT-7732", 2)).await;
    host.waits_for(&home, "DDATA", 1).await;
    gateway.stop().await;
    host.waits_for(&home, "NDEATH", 2).await;

    let mut known = Known::default();
    let mut births = Vec::new();
    for came in host.came() {
        let payload = judge.reads(&came.payload).await;
        known.hears(&came, &payload);
        if came.topic.contains("/NBIRTH/") {
            births.push(bd_seq(&payload));
        }
        let text = payload.to_string();
        for word in private("PLANT-7731").iter().chain(&private("PLANT-7732")) {
            assert!(!text.contains(word) && !came.topic.contains(word), "{word} in {text}");
        }
    }
    assert_eq!(births, [0, 0, 1, 0], "a rebirth, a new connection, a new life");
    assert_eq!(known.bd_seq, None, "the last word is a death: {:?}", known.kinds);
    assert_eq!(known.kinds.first().map(String::as_str), Some("NBIRTH"));
    assert!(known.kinds.iter().any(|kind| kind == "NDATA"), "{:?}", known.kinds);
}
