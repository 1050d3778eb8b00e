//! Webhook endpoints in every bad mood, beside a healthy one that must not wait for them.

use super::cable::{Cable, message};
use super::database::Database;
use super::home::{DEADLINE, Home};
use super::kill::wall;
use super::mosquitto::free_port;
use gateway_core::time::Timestamp;
use gateway_daemon::platform::pty::Pty;
use gateway_daemon::simulated::Pace;
use gateway_daemon::simulated::receiver::{Answer, Options, Posted, Receiver, standard_webhooks};
use gateway_daemon::simulated::test_v0::Run;
use gateway_daemon::simulated::wire::write_paced;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB3ZWJob29rIHRlc3RzIDE=";

/// An endpoint that gives this answer until it recovers.
struct Moody {
    receiver: Receiver,
    recovered: Arc<AtomicBool>,
}

impl Moody {
    async fn start(mood: Answer) -> Moody {
        let recovered = Arc::new(AtomicBool::new(false));
        let well = recovered.clone();
        let script = move |_, _: &Posted| if well.load(Ordering::Relaxed) { Answer::Accept } else { mood };
        let options = Options { verify: standard_webhooks(SECRET), script: Arc::new(script), wall: Arc::new(wall) };
        Moody { receiver: Receiver::start(options).await.expect("a port"), recovered }
    }

    fn recover(&self) {
        self.recovered.store(true, Ordering::Relaxed);
    }

    fn has(&self, sample: &str) -> bool {
        self.receiver.ledger().lock().ids_of(&format!("sample {sample}")).len() == 1
    }
}

/// Answers 200 and a body that never ends, and counts.
async fn endless(posts: Arc<AtomicU64>) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("a bound address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let posts = posts.clone();
            connections.spawn(async move {
                let mut buffer = vec![0; 65_536];
                if stream.read(&mut buffer).await.is_ok() {
                    posts.fetch_add(1, Ordering::Relaxed);
                }
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut open = stream.write_all(head).await.is_ok();
                while open {
                    open = stream.write_all(b"400\r\n").await.is_ok()
                        && stream.write_all(&[b'x'; 1024]).await.is_ok()
                        && stream.write_all(b"\r\n").await.is_ok();
                }
            });
        }
    });
    (url, tasks)
}

const STATUS: fn(u16) -> Answer = |status| Answer::Refuse { status, retry_after_seconds: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_endpoint_waits_for_no_other_and_the_others_get_everything_once_they_are_well() {
    let mut home = Home::new();
    home.set("ANALYZER_GATEWAY_LOG", "debug");
    let mut cable = Cable::plug(&home, "line");
    let healthy = Moody::start(Answer::Accept).await;
    let moods = [
        ("broken", STATUS(500), "server_error"),
        ("busy", Answer::Refuse { status: 429, retry_after_seconds: Some(2) }, "too_many_requests"),
        ("unknown", STATUS(404), "not_found"),
        ("moved", STATUS(301), "redirected"),
        ("refusing", STATUS(401), "unauthorized"),
        ("hanging", Answer::Hang(Duration::from_secs(600)), "timeout"),
    ];
    let posts = Arc::new(AtomicU64::new(0));
    let (endless_url, _endless) = endless(posts.clone()).await;
    let mut endpoints = Vec::new();
    let mut hooks = String::new();
    let mut hook = |id: &str, url: &str, more: &str| {
        hooks += &format!(
            "  - {{ id: {id}, url: '{url}', {more}, retry: [0s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, \
             1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s] }}\n"
        );
    };
    let secret_file = home.write("secret", format!("{SECRET}\n"));
    hook("healthy", &healthy.receiver.url(), &format!("secret_file: {}", secret_file.display()));
    for (id, mood, _) in moods {
        let endpoint = Moody::start(mood).await;
        hook(id, &endpoint.receiver.url(), &format!("secret: {SECRET}, timeout: 1s"));
        endpoints.push(endpoint);
    }
    let mut closed = Moody::start(Answer::Accept).await;
    closed.receiver.switch(false).await.expect("off");
    hook("closed", &closed.receiver.url(), &format!("secret: {SECRET}"));
    hook("endless", &endless_url, &format!("secret: {SECRET}, timeout: 5s"));
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: line, driver: astm, port: {{ path: {} }} }}\nwebhooks:\n{hooks}",
        free_port(),
        home.path("line").display(),
    ));
    let gateway = home.start_ready().await;

    // One event after the other: few lanes fail, so no breaker opens but where the fault is the endpoint's by its nature.
    for sample in ["HOOK-0001", "HOOK-0002"] {
        cable.tell(&message(sample, 2)).await;
        home.eventually(sample, || healthy.has(sample).then_some(())).await;
    }
    assert!(endpoints.iter().all(|endpoint| endpoint.receiver.counts().events == 0));
    for (id, _, code) in moods.iter().chain(&[("closed", STATUS(0), "connection_refused")]) {
        home.says(&["WARN", &format!("destination={id} "), code, "not delivered, kept"]).await;
    }
    // The endless one has said 200, and that is what counts.
    let database = Database::open(&home.state_dir());
    home.eventually("the endless one", || (database.undone("webhook:endless") == 0).then_some(())).await;
    assert_eq!(posts.load(Ordering::Relaxed), healthy.receiver.counts().requests);
    assert!(database.undone("webhook:healthy") == 0 && database.undone("webhook:hanging") > 0);

    for endpoint in &endpoints {
        endpoint.recover();
    }
    closed.receiver.switch(true).await.expect("on");
    // Faults of configuration are probed after 30 s, or at once when somebody starts the gateway again.
    endpoints.push(closed);
    let all = |sample: &str| endpoints.iter().all(|endpoint| endpoint.has(sample));
    home.eventually("everything everywhere", || (all("HOOK-0001") && all("HOOK-0002")).then_some(())).await;
    let events = database.events().len() as u64;
    for endpoint in &endpoints {
        home.eventually("the last answers", || (endpoint.receiver.counts().events == events).then_some(())).await;
        let counts = endpoint.receiver.counts();
        assert_eq!((counts.wrong_signatures, counts.holes, counts.differing), (0, 0, 0), "{counts:?}");
    }
    gateway.stop().await;
    home.assert_discreet(["HOOK-0001", "HOOK-0002", SECRET, SECRET.trim_start_matches("whsec_")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_starts_again_goes_on_with_what_every_endpoint_still_needs() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let held = Moody::start(STATUS(404)).await;
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: line, driver: astm, port: {{ path: {} }} }}\nwebhooks:\n  \
         - {{ id: held, url: '{}', secret: {SECRET}, events: [TEST_FINISHED] }}\n",
        free_port(),
        home.path("line").display(),
        held.receiver.url(),
    ));
    let gateway = home.start_ready().await;
    for number in 0..30 {
        cable.tell(&message(&format!("AGAIN-{number:03}"), 1)).await;
    }
    home.says(&["WARN", "destination=held ", "not_found"]).await;
    let database = Database::open(&home.state_dir());
    gateway.stop().await;
    let gateway = home.start_ready().await;
    home.eventually("a probe at once", || (home.lines(&["destination=held ", "not_found"]).len() > 1).then_some(()))
        .await;
    held.recover();
    gateway.kill().await;
    let gateway = home.start_ready().await;
    home.eventually("everything", || (0..30).all(|n| held.has(&format!("AGAIN-{n:03}"))).then_some(())).await;
    home.eventually("the cursor", || (database.undone_of("webhook:held", "TEST_FINISHED") == 0).then_some(())).await;
    let counts = held.receiver.counts();
    assert_eq!((counts.events, counts.holes, counts.differing), (30, 0, 0));
    let lines = home.lines(&["destination=held "]).len();
    assert!(lines <= 20, "a wrong address is said, not shouted: {lines} lines");
    gateway.stop().await;
}

/// What the document of version 0 allows, and nothing else: a receiver answers 422 to any other key.
fn is_strict(body: &Value) -> Result<(), String> {
    fn keys(value: &Value, needed: &[&str], allowed: &[&str]) -> Result<(), String> {
        let object = value.as_object().ok_or_else(|| format!("no object: {value}"))?;
        let unknown = object.keys().find(|key| !needed.contains(&key.as_str()) && !allowed.contains(&key.as_str()));
        let missing = needed.iter().find(|key| !object.contains_key(**key));
        match (unknown, missing) {
            (Some(key), _) => Err(format!("unknown key {key}")),
            (_, Some(key)) => Err(format!("missing key {key}")),
            _ => Ok(()),
        }
    }
    keys(body, &["version", "event", "device", "test"], &[])?;
    keys(&body["device"], &["hwVersion", "swVersion", "deviceModel", "sn", "configuration"], &[])?;
    let result: &[&str] =
        if body["event"] == "TEST_FINISHED" { &["state", "data", "result"] } else { &["state", "data"] };
    keys(&body["test"], result, &[])?;
    keys(&body["test"]["data"], &["temperatureSamples", "samples"], &[])?;
    body["device"]["sn"].as_u64().map(drop).ok_or_else(|| "sn is a number".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_test_webhook_gets_strict_bodies_with_all_data_so_far() {
    let home = Home::new();
    let mut pty = Pty::open().expect("a pseudo-terminal");
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = bodies.clone();
    // It refuses one event as out of place (as a known receiver does); that one is dead and the lane goes on.
    let script = move |_, posted: &Posted| {
        let body: Value = serde_json::from_slice(&posted.body).unwrap_or_default();
        if let Err(problem) = is_strict(&body) {
            eprintln!("strict receiver: {problem}");
            return STATUS(422);
        }
        if body["event"] == "TEST_STARTED" {
            return STATUS(400);
        }
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        Answer::Accept
    };
    let options = Options { verify: standard_webhooks(SECRET), script: Arc::new(script), wall: Arc::new(wall) };
    let receiver = Receiver::start(options).await.expect("a port");
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: amplifier, driver: test-v0, port: {{ path: {} }} }}\nwebhooks:\n  \
         - {{ id: old, url: '{}', dialect: test-v0, secret: {SECRET} }}\n",
        free_port(),
        pty.path().display(),
        receiver.url(),
    ));
    let gateway = home.start_ready().await;
    home.says(&["port open"]).await;
    let run = Run::new(5, 4_100_000_017, 3, Timestamp(1_795_291_200_000), 36);
    for line in &run.lines {
        let text = format!("{}\n", line.text);
        let writing = write_paced(&mut pty, text.as_bytes(), Pace::AT_ONCE);
        tokio::time::timeout(DEADLINE, writing).await.expect("the gateway reads").expect("an open terminal");
    }
    let expected: Vec<Value> = run.lines.iter().map(|line| serde_json::from_str(&line.text).expect("JSON")).collect();
    let expected: Vec<Value> = expected.into_iter().filter(|line| line["event"] != "TEST_STARTED").collect();
    let got = || bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    home.eventually("all lines", || (got().len() >= expected.len()).then_some(())).await;
    // Readiness is of the analyzer's lane and not of the test's, so only the test's own order is promised.
    let of_test = |list: &[Value]| -> Vec<Value> {
        list.iter().filter(|body| body["event"] != "DEVICE_READY").cloned().collect()
    };
    for (got, expected) in of_test(&got()).iter().zip(of_test(&expected)) {
        assert_eq!(got["event"], expected["event"]);
        assert_eq!(*got, expected, "a body with all data so far, every number as it was received");
    }
    assert_eq!(got().len(), expected.len());
    let counts = receiver.counts();
    assert_eq!((counts.wrong_signatures, counts.differing), (0, 0), "{counts:?}");
    let database = Database::open(&home.state_dir());
    home.eventually("the dead letter", || (database.dead("webhook:old") == ["refused"]).then_some(())).await;
    home.says(&["ERROR", "destination=old ", "refused", "dead letter"]).await;
    gateway.stop().await;
    home.assert_discreet([SECRET]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_filter_holds_from_then_on_and_secrets_can_be_replaced() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let new_secret = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzIDAwMg==";
    let [old, new] = [SECRET, new_secret].map(standard_webhooks);
    // A receiver in the middle of a change: it knows only one of the two secrets, and either must do.
    let knows_new = Arc::new(AtomicBool::new(false));
    let which = knows_new.clone();
    let verify = move |posted: &Posted, now| {
        if which.load(Ordering::Relaxed) { new(posted, now) } else { old(posted, now) }
    };
    let options = Options { verify: Arc::new(verify), script: Arc::new(|_, _| Answer::Accept), wall: Arc::new(wall) };
    let receiver = Receiver::start(options).await.expect("a port");
    let settings = |events: &str, secrets: &str| {
        home.configure(&format!(
            "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: line, driver: astm, port: {{ path: {} }} }}\nwebhooks:\n  \
             - {{ id: lims, url: '{}', events: {events}, {secrets} }}\n",
            free_port(),
            home.path("line").display(),
            receiver.url(),
        ));
    };
    let has = |sample: &str| receiver.ledger().lock().ids_of(&format!("sample {sample}")).len() == 1;
    settings("[QUERY_RECEIVED]", &format!("secret: {SECRET}"));
    let gateway = home.start_ready().await;
    cable.tell(&message("EPOCH-001", 1)).await;
    let database = Database::open(&home.state_dir());
    home.eventually("stored", || (database.count("TEST_FINISHED") == 1).then_some(())).await;
    settings("[TEST_FINISHED]", &format!("secrets: [{new_secret}, {SECRET}]"));
    gateway.signal(Signal::HUP);
    home.says(&["new settings in force"]).await;
    cable.tell(&message("EPOCH-002", 1)).await;
    home.eventually("EPOCH-002", || has("EPOCH-002").then_some(())).await;
    knows_new.store(true, Ordering::Relaxed);
    cable.tell(&message("EPOCH-003", 1)).await;
    home.eventually("EPOCH-003", || has("EPOCH-003").then_some(())).await;
    assert!(!has("EPOCH-001"), "which events go to a destination is fixed when they are stored");
    let counts = receiver.counts();
    assert_eq!((counts.wrong_signatures, counts.events, counts.holes), (0, 2, 0), "{counts:?}");
    gateway.stop().await;
    home.assert_discreet([SECRET, new_secret]);
}
