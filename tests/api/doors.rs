//! Who gets in: tokens, scopes, the control socket, web pages, a busy port, limits, MQTT.

use super::bench::{Bench, free_port, hash};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[tokio::test]
async fn each_scope_may_do_what_it_says() {
    let bench = Bench::start("").await;
    bench.raw("GET", "/api/events", &[], b"").await.problem(401);
    bench.raw("GET", "/api/events", &[("authorization", "Bearer nobody")], b"").await.problem(401);
    bench.raw("GET", "/api/events", &[("authorization", "Basic cmVhZA==")], b"").await.problem(401);
    bench.ask("post", "GET", "/api/events", None).await.problem(403);
    bench.ask("read", "GET", "/api/events", None).await.expect(200);
    let event = json!({"dialect": "lab", "event": "none"});
    bench.post("post", "/api/events", event).await.problem(422);
    let redrive = json!({"reason": "refused", "dry_run": true});
    bench.post("read", "/api/redrive", redrive.clone()).await.problem(403);
    bench.post("operate", "/api/redrive", redrive).await.expect(200);
    bench.ask("operate", "GET", "/api/audit", None).await.problem(403);
    let audit = bench.ask("administer", "GET", "/api/audit", None).await.expect(200);
    let refused: Vec<&Value> =
        audit["entries"].as_array().expect("a list").iter().filter(|line| line["action"] == "refused").collect();
    assert_eq!(refused.len(), 3, "{audit}");
    bench.gateway.stop().await;
}

#[tokio::test]
async fn the_control_socket_needs_no_token_and_is_for_the_group() {
    let bench = Bench::start("").await;
    bench.socket("GET", "/api/audit", None).await.expect(200);
    let socket = bench.home.state_dir().join("control.sock");
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    bench.gateway.stop().await;
    assert!(!socket.exists(), "a gateway that is stopped leaves no socket");
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_taken_away() {
    let bench = Bench::start("").await;
    let made = bench.post("administer", "/api/tokens", json!({"id": "portal", "scope": "read"})).await.expect(201);
    let token = made["token"].as_str().expect("a token").to_owned();
    bench.ask(&token, "GET", "/api/events", None).await.expect(200);
    let list = bench.ask("administer", "GET", "/api/tokens", None).await;
    assert!(list.text().contains("portal") && !list.text().contains(&token) && !list.text().contains(&hash(&token)));
    bench.post("administer", "/api/tokens", json!({"id": "portal", "scope": "post"})).await.problem(409);
    bench.post("administer", "/api/tokens", json!({"id": "read", "scope": "post"})).await.problem(409);
    let (_, faults) =
        bench.post("administer", "/api/tokens", json!({"id": "Portal!", "scope": "post"})).await.problem(422);
    assert_eq!(faults, ["/id"]);
    let (_, faults) = bench.post("administer", "/api/tokens", json!({"id": "a", "scope": "all"})).await.problem(422);
    assert_eq!(faults, ["/scope"]);
    let gone = bench.ask("administer", "DELETE", "/api/tokens/portal", None).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    bench.ask(&token, "GET", "/api/events", None).await.problem(401);
    bench.ask("administer", "DELETE", "/api/tokens/portal", None).await.problem(404);
    bench.ask("administer", "DELETE", "/api/tokens/read", None).await.problem(409);
    bench.home.assert_discreet([token.as_str()]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_good_token_still_works() {
    let bench = Bench::start("").await;
    let mut seen = Vec::new();
    for guess in 0..40 {
        seen.push(bench.ask(&format!("guess-{guess}"), "GET", "/api/events", None).await.status);
    }
    assert_eq!((seen.first(), seen.last()), (Some(&401), Some(&429)));
    bench.get("/api/events").await.expect(200);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn bad_requests_are_told_as_problems() {
    let bench = Bench::start("").await;
    let token = ("authorization", "Bearer administer");
    let json_type = ("content-type", "application/json");
    bench.ask("read", "GET", "/api/nothing", None).await.problem(404);
    bench.raw("GET", "/elsewhere", &[], b"").await.problem(404);
    let wrong = bench.ask("administer", "DELETE", "/api/events", None).await;
    wrong.problem(405);
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")), "{wrong:?}");
    bench.raw("POST", "/api/events", &[token], b"{}").await.problem(415);
    bench.raw("POST", "/api/events", &[token, json_type], b"{\"dialect\":").await.problem(400);
    bench.raw("POST", "/api/events", &[token, json_type], b"{} {}").await.problem(400);
    let (detail, faults) =
        bench.post("post", "/api/events", json!({"dialect": "lab", "event": "x", "sequence": 3})).await.problem(422);
    assert_eq!(faults.len(), 1, "{detail}");
    let (detail, faults) =
        bench.post("post", "/api/events", json!({"dialect": ["Muster"], "event": "x"})).await.problem(422);
    assert_eq!(faults, ["/dialect"]);
    assert!(!detail.contains("Muster"), "{detail}");
    for query in ["limit=0", "limit=x", "after=-1", "wait=999", "nonsense=1"] {
        bench.get(&format!("/api/events?{query}")).await.problem(400);
    }
    bench.get("/api/events/%ff").await.problem(400);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_a_slow_caller_holds_up_nobody() {
    let home = Home::new();
    let port = free_port();
    home.configure(&format!(
        "http: {{ listen: '127.0.0.1:{port}', body_bytes_max: 2000, tokens: [{{ id: a, scope: administer, hash: {} }}] }}\n",
        hash("administer")
    ));
    let gateway = home.start_ready().await;
    home.says(&["the API listens"]).await;
    let bench = Bench { home, gateway, port };
    let silent = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let long = json!({"dialect": "lab", "event": "x".repeat(3000)});
    bench.post("administer", "/api/events", long).await.problem(413);
    bench.ask("administer", "GET", "/api/events", None).await.expect(200);
    drop(silent);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_busy_port_is_told_and_taken_when_it_is_free() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("an address").port();
    let home = Home::new();
    home.configure(&format!("http: {{ listen: '127.0.0.1:{port}' }}\n"));
    let gateway = home.start_ready().await;
    home.says(&["is used by another program"]).await;
    let told = |home: &Home| home.notices().iter().any(|notice| notice.contains("the API is not served"));
    home.eventually("the status says so", || told(&home).then_some(())).await;
    drop(holder);
    home.says(&["the API listens"]).await;
    let bench = Bench { home, gateway, port };
    bench.raw("GET", "/api/openapi.json", &[], b"").await.expect(200);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn what_is_about_persons_stays_in_no_cache() {
    let bench = Bench::start("").await;
    let answer = bench.get("/api/events").await;
    assert_eq!(answer.header("cache-control"), Some("no-store, private"));
    assert_eq!(answer.header("access-control-allow-origin"), None, "no page of somebody else may read it");
    bench.gateway.stop().await;
}

/// Publishes a request and gives the answer to it.
pub async fn over_mqtt(broker: &Mosquitto, id: &str, payload: &str) -> Value {
    let mut options = MqttOptions::new(format!("caller-{id}"), ("127.0.0.1".to_owned(), broker.port));
    options.set_keep_alive(10);
    let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
    let topic = "analyzer-gateway/box/api";
    client.subscribe(format!("{topic}/response/{id}"), QoS::AtLeastOnce).await.expect("queued");
    let asking = async {
        loop {
            match events.poll().await.expect("a broker") {
                Event::Incoming(Incoming::SubAck(_)) => {
                    let options = rumqttc::PublishOptions::new(QoS::AtLeastOnce);
                    let queued = client.try_publish_tracked(format!("{topic}/request"), payload.to_owned(), options);
                    queued.expect("queued");
                }
                Event::Incoming(Incoming::Publish(publish)) => {
                    return serde_json::from_slice(&publish.payload).expect("JSON");
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("an answer")
}

#[tokio::test]
async fn the_same_over_mqtt_with_a_token() {
    if !mosquitto::is_installed() {
        return;
    }
    let cellar = Home::new();
    let broker = Mosquitto::start(&cellar).await;
    let bench = Bench::start(&format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n", broker.port)).await;
    bench.home.says(&["connected to the broker"]).await;
    let request = |id: &str, token: &str, path: &str| {
        json!({"id": id, "token": token, "method": "GET", "path": path}).to_string()
    };
    let answer = over_mqtt(&broker, "a1", &request("a1", "read", "/api/destinations")).await;
    assert_eq!((&answer["id"], &answer["status"]), (&json!("a1"), &json!(200)));
    assert_eq!(answer["body"]["destinations"][0]["id"], "mqtt", "{answer}");
    let answer = over_mqtt(&broker, "a2", &request("a2", "nobody", "/api/destinations")).await;
    assert_eq!((&answer["status"], &answer["body"]["status"]), (&json!(401), &json!(401)));
    let answer = over_mqtt(&broker, "a3", &request("a3", "read", "/elsewhere")).await;
    assert_eq!((&answer["status"], &answer["body"]["errors"][0]["path"]), (&json!(422), &json!("/path")));
    let post =
        json!({"id": "a4", "token": "post", "method": "POST", "path": "/api/registrations", "body": {"id": "m-1"}});
    let answer = over_mqtt(&broker, "a4", &post.to_string()).await;
    assert_eq!((&answer["status"], &answer["body"]["id"]), (&json!(201), &json!("m-1")), "{answer}");
    let answer = over_mqtt(&broker, "unreadable", "no JSON").await;
    assert_eq!(answer["status"], 400);
    bench.home.assert_discreet(["nobody"]);
    bench.gateway.stop().await;
}
