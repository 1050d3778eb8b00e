//! What became of each delivery: destinations, dead letters, sending again, the test button, manifests.

use super::bench::{Answer, Bench};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A receiver that answers every request with the status of the hour.
struct Receiver {
    port: u16,
    status: Arc<AtomicU16>,
    received: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start(status: u16) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (status, received) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicUsize::new(0)));
        let mut serving = JoinSet::new();
        let (answer, count) = (status.clone(), received.clone());
        serving.spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut bytes = Vec::new();
                let mut piece = [0; 4096];
                while !is_whole(&bytes) {
                    match stream.read(&mut piece).await {
                        Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                        _ => break,
                    }
                }
                count.fetch_add(usize::from(!bytes.is_empty()), Ordering::SeqCst);
                let status = answer.load(Ordering::SeqCst);
                let line = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
                let _ = stream.write_all(line.as_bytes()).await;
            }
        });
        Receiver { port, status, received, _serving: serving }
    }

    fn settings(&self) -> String {
        format!(
            "webhooks:\n  - {{ id: lims, url: 'http://127.0.0.1:{}/hook', dialect: cloudevents, posted: true }}\n",
            self.port
        )
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    bytes.len() >= end + 4 + length.unwrap_or(0)
}

async fn posted(bench: &Bench) -> String {
    let event = json!({"dialect": "session", "event": "WMS_LOADED", "session_id": "s"});
    let taken = bench.post("post", "/api/events", event).await.expect(202);
    taken["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn what_is_dead_is_listed_shown_and_sent_again() {
    let receiver = Receiver::start(422).await;
    let bench = Bench::start(&receiver.settings()).await;
    let id = posted(&bench).await;
    let list = bench.eventually("read", "/api/dead", |list| list["dead"] != json!([])).await;
    let letter = &list["dead"][0];
    assert_eq!((&letter["destination"], &letter["event"]), (&json!("webhook:lims"), &json!(id)));
    assert_eq!((&letter["reason"]["code"], &letter["name"]), (&json!("refused"), &json!("WMS_LOADED")));
    assert!(letter["reason"]["next_step"].as_str().is_some_and(|step| step.contains("redrive")));
    for (query, count) in
        [("destination=lims", 1), ("destination=mqtt", 0), ("reason=refused", 1), ("reason=timeout", 0)]
    {
        let found = bench.get(&format!("/api/dead?{query}")).await.expect(200);
        assert_eq!(found["dead"].as_array().map(Vec::len), Some(count), "{query}");
    }
    for query in ["destination=none", "reason=none", "from=none", "after=none", "limit=0"] {
        bench.get(&format!("/api/dead?{query}")).await.problem(400);
    }
    let shown = bench.get(&format!("/api/dead/lims/{id}")).await.expect(200);
    assert_eq!((&shown["letter"], &shown["attempts"][0]["status"]), (letter, &json!(422)));
    bench.get("/api/dead/lims/4711").await.problem(404);
    bench.get(&format!("/api/dead/none/{id}")).await.problem(404);
    bench.get(&format!("/api/dead/mqtt/{id}")).await.problem(404);

    receiver.status.store(200, Ordering::SeqCst);
    let redrive = async |body: Value| -> Answer { bench.post("operate", "/api/redrive", body).await };
    let would = redrive(json!({"destination": "lims", "dry_run": true})).await.expect(200);
    assert_eq!((&would["count"], &would["destinations"][0]["events"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(bench.get("/api/dead").await.expect(200), list, "a dry run changes nothing");
    let goes = redrive(json!({"ids": [id]})).await.expect(200);
    assert_eq!((&goes["dry_run"], &goes["count"]), (&json!(false), &json!(1)));
    bench.eventually("read", "/api/dead", |list| list["dead"] == json!([])).await;
    assert_eq!(redrive(json!({"reason": "refused"})).await.expect(200)["count"], 0);
    redrive(json!({})).await.problem(422);
    assert_eq!(redrive(json!({"ids": ["x"]})).await.problem(422).1, ["/ids/0"]);
    assert_eq!(redrive(json!({"destination": "none"})).await.problem(422).1, ["/destination"]);
    assert_eq!(redrive(json!({"reason": "none"})).await.problem(422).1, ["/reason"]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_receiver_gets_again_exactly_what_it_lacks() {
    let receiver = Receiver::start(200).await;
    let bench = Bench::start(&receiver.settings()).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(posted(&bench).await);
    }
    let is_done = |one: &Value| one["id"] == "webhook:lims" && one["undone"] == 0;
    let done = |list: &Value| list["destinations"].as_array().is_some_and(|all| all.iter().any(is_done));
    bench.eventually("read", "/api/destinations", done).await;
    let manifest = bench.get("/api/manifests/lims").await.expect(200)["manifests"][0]["manifest"].clone();
    assert_eq!(
        (&manifest["count"], &manifest["first_ordinal"], &manifest["last_ordinal"]),
        (&json!(3), &json!(1), &json!(3))
    );
    let before = receiver.received.load(Ordering::SeqCst);
    let path = "/api/webhooks/lims/reconcile";
    let would = bench.post("operate", path, json!({"missing": [[2, 3]], "dry_run": true})).await.expect(200);
    assert_eq!(would["count"], 2);
    let goes = bench.post("operate", path, json!({"missing": [[2, 2]]})).await.expect(200);
    assert_eq!(goes["destinations"][0]["events"][0]["id"], json!(ids[1]));
    bench.eventually("read", "/api/destinations", done).await;
    assert_eq!(receiver.received.load(Ordering::SeqCst), before + 1);
    bench.post("operate", path, json!({"missing": [[3, 2]]})).await.problem(422);
    bench.post("operate", path, json!({"missing": [[1]]})).await.problem(422);
    bench.post("operate", "/api/webhooks/none/reconcile", json!({})).await.problem(404);
    bench.get("/api/manifests/none").await.problem(404);
    bench.get("/api/manifests/lims?since=yesterday").await.problem(400);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn the_test_button_reports_each_hop() {
    let receiver = Receiver::start(200).await;
    let bench = Bench::start(&receiver.settings()).await;
    bench.post("read", "/api/webhooks/lims/test", json!({})).await.problem(403);
    let good = bench.post("operate", "/api/webhooks/lims/test", json!({})).await.expect(200);
    assert_eq!((&good["ok"], &good["status"]), (&json!(true), &json!(200)), "{good}");
    receiver.status.store(401, Ordering::SeqCst);
    let bad = bench.post("operate", "/api/webhooks/lims/test", json!({})).await.expect(200);
    assert_eq!(bad["ok"], false);
    let last = bad["hops"].as_array().and_then(|hops| hops.last()).expect("hops");
    assert!(last["next_step"].is_string(), "{bad}");
    bench.post("operate", "/api/webhooks/none/test", json!({})).await.problem(404);
    assert_eq!(bench.events().await, Vec::<Value>::new(), "a test is no event");
    bench.gateway.stop().await;
}
