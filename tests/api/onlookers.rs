//! Those who look on live, the settings as they are shown, and callers that are a burden: too large, too slow, too many.

use super::bench::{Bench, free_port};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Nothing that is waited for here takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// An open stream of server-sent events.
struct Looking {
    status: u16,
    lines: BufReader<TcpStream>,
}

/// One of them.
#[derive(Debug)]
struct Told {
    name: String,
    id: Option<i64>,
    data: Value,
}

impl Looking {
    async fn at(bench: &Bench, path: &str, headers: &[(&str, &str)]) -> Looking {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, bench.port)).await.expect("the API listens");
        let mut lines = BufReader::new(stream);
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        lines.write_all(format!("{head}\r\n").as_bytes()).await.expect("it listens");
        let mut looking = Looking { status: 0, lines };
        let first = looking.line().await.expect("an answer");
        looking.status = first.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        while looking.line().await.is_some_and(|line| !line.is_empty()) {}
        looking
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.lines.read_line(&mut line)).await.expect("in time").ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message; `None` at the end. Lengths of chunks stand on lines of their own.
    async fn next(&mut self) -> Option<Told> {
        let mut told = Told { name: String::new(), id: None, data: Value::Null };
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("event", name)) => told.name = name.to_owned(),
                Some(("id", id)) => told.id = id.parse().ok(),
                Some(("data", data)) => told.data = serde_json::from_str(data).expect("JSON"),
                _ if line.is_empty() && !told.name.is_empty() => return Some(told),
                _ => {}
            }
        }
    }

    async fn next_event(&mut self) -> Told {
        loop {
            let told = self.next().await.expect("it goes on");
            if told.name == "event" {
                return told;
            }
        }
    }
}

async fn happens(bench: &Bench, id: &str) {
    bench.post("post", "/api/registrations", json!({"id": id, "sample_ids": ["S-CANARY"]})).await.expect(201);
}

const READ: (&str, &str) = ("authorization", "Bearer read");

#[tokio::test]
async fn whoever_looks_on_hears_what_happens_and_goes_on_where_it_was() {
    let bench = Bench::start("").await;
    bench.raw("GET", "/api/stream", &[], b"").await.problem(401);
    bench.raw("GET", "/api/stream", &[("authorization", "Bearer post")], b"").await.problem(403);
    bench.raw("GET", "/api/stream", &[READ, ("last-event-id", "yesterday")], b"").await.problem(400);
    let mut looking = Looking::at(&bench, "/api/stream", &[READ]).await;
    assert_eq!(looking.status, 200);
    let first = looking.next().await.expect("an overview");
    assert_eq!(
        (first.name.as_str(), &first.data["gateway"]),
        ("overview", &bench.get("/api/status").await.json()["gateway"])
    );
    happens(&bench, "r-1").await;
    let told = looking.next_event().await;
    assert_eq!(told.id, told.data["seq"].as_i64());
    assert_eq!((&told.data["test"], &told.data["run"]), (&Value::Null, &Value::Null));
    let keys: Vec<&String> = told.data.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["analyzer", "event", "received_at", "run", "seq", "test"], "and nobody's data");
    drop(looking);
    happens(&bench, "r-2").await;
    happens(&bench, "r-3").await;
    let names: Vec<Value> = bench.events().await.iter().map(|event| event["seq"].clone()).collect();
    let seen = told.id.expect("a place").to_string();
    let mut again = Looking::at(&bench, "/api/stream", &[READ, ("last-event-id", seen.as_str())]).await;
    let missed: Vec<Value> = names.into_iter().filter(|seq| seq.as_i64() > told.id).collect();
    assert!(!missed.is_empty());
    for seq in missed {
        assert_eq!(again.next_event().await.data["seq"], seq);
    }
    let mut all = Looking::at(&bench, "/api/stream?after=0", &[READ]).await;
    assert_eq!(all.next_event().await.data["seq"], 1);
    // The gateway's stop is the end, in order.
    bench.gateway.stop().await;
    while all.next().await.is_some() {}
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_began_it_and_there_is_room_for_sixteen() {
    let bench = Bench::start("").await;
    let made = bench.post("administer", "/api/tokens", json!({"id": "display", "scope": "read"})).await.expect(201);
    let token = format!("Bearer {}", made["token"].as_str().expect("a token"));
    let mut looking = Vec::new();
    for _ in 0..16 {
        let mut one = Looking::at(&bench, "/api/stream", &[("authorization", token.as_str())]).await;
        assert_eq!(one.status, 200);
        one.next().await.expect("an overview");
        looking.push(one);
    }
    let full = bench.raw("GET", "/api/stream", &[READ], b"").await;
    full.problem(503);
    assert!(full.header("retry-after").is_some());
    assert_eq!(bench.ask("administer", "DELETE", "/api/tokens/display", None).await.status, 204);
    for mut one in looking {
        while one.next().await.is_some() {}
    }
    let mut next = Looking::at(&bench, "/api/stream", &[READ]).await;
    assert_eq!(next.status, 200);
    next.next().await.expect("an overview");
    bench.gateway.stop().await;
}

#[tokio::test]
async fn the_settings_are_shown_without_secrets_with_the_verdict_on_their_file() {
    let bench = Bench::start(
        "webhooks:\n  - { id: lims, url: 'http://127.0.0.1:9/hook?key=CANARY', secret: 'whsec_Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0E=', headers: { x-key: CANARY } }\n",
    )
    .await;
    let file = bench.home.settings_path();
    let good = std::fs::read_to_string(&file).expect("settings");
    let view = bench.ask("administer", "GET", "/api/config", None).await;
    assert!(!view.text().contains("CANARY") && !view.text().contains("whsec_"), "{}", view.text());
    let view = view.expect(200);
    assert_eq!(view["file"]["verdict"], "in_force");
    assert_eq!(view["file"]["path"], file.display().to_string());
    let shown = view["in_force"].as_str().expect("settings");
    for part in ["\"lims\"", "http://127.0.0.1:9/***", "\"secret\": \"***\"", "\"x-key\": \"***\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let reader = bench.get("/api/config").await.expect(200);
    assert_eq!((&reader["in_force"], &reader["hash"]), (&Value::Null, &view["hash"]));
    let verdict = async |text: &str| {
        std::fs::write(&file, text).expect("settings");
        bench.get("/api/config").await.expect(200)["file"].clone()
    };
    assert_eq!(verdict(&format!("{good}limits: {{ ahead_events_max: 64 }}\n")).await["verdict"], "changed");
    let refused = verdict(&format!("{good}limitz: {{}}\n")).await;
    assert_eq!(refused["verdict"], "refused");
    let mistake = &refused["mistakes"][0];
    assert_eq!((mistake["line"].as_u64(), &mistake["path"]), (Some(good.lines().count() as u64 + 1), &json!("limitz")));
    std::fs::remove_file(&file).expect("settings");
    assert_eq!(bench.get("/api/config").await.expect(200)["file"]["verdict"], "refused");
    bench.home.assert_discreet(["CANARY"]);
    bench.gateway.stop().await;
}

async fn connect_from(last: u8, port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("an address of this machine");
    timeout(DEADLINE, socket.connect(SocketAddr::from(([127, 0, 0, 1], port)))).await.ok()?.ok()
}

/// A gigabyte is refused at its beginning, a head without end too, and a thousand who say nothing keep nobody out.
#[tokio::test]
async fn the_large_the_slow_and_the_many_hold_up_nobody() {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limits.maximum, ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("within the hard limit");
    let bench = Bench::start("").await;
    let mut large = connect_from(2, bench.port).await.expect("it listens");
    let head = "POST /api/session HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n";
    large.write_all(head.as_bytes()).await.expect("it listens");
    let mut sent = 0_usize;
    let block = vec![b' '; 1 << 16];
    // It hangs up, or takes no more.
    while sent < 64 << 20 && matches!(timeout(Duration::from_secs(2), large.write_all(&block)).await, Ok(Ok(()))) {
        sent += block.len();
    }
    assert!(sent < 64 << 20, "it took {sent} bytes");
    let mut bomb = connect_from(2, bench.port).await.expect("it listens");
    let line = format!("x-filler: {}\r\n", "a".repeat(1000));
    let _ = bomb.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n").await;
    for _ in 0..1000 {
        if bomb.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, bomb.read_to_end(&mut answer)).await.expect("it is refused");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    // A passphrase letter by letter: it is answered without being waited for for ever, and others are meanwhile.
    let mut slow = connect_from(2, bench.port).await.expect("it listens");
    let head = "POST /api/session HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.expect("it listens");
    let mut silent = Vec::new();
    for number in 0..1000_u32 {
        let last = u8::try_from(3 + number % 200).expect("small");
        silent.extend(connect_from(last, bench.port).await);
        if number % 250 == 0 {
            bench.get("/api/status").await.expect(200);
        }
    }
    assert_eq!(silent.len(), 1000);
    bench.get("/api/status").await.expect(200);
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, slow.read_to_end(&mut answer)).await.expect("it is not waited for for ever");
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    drop(silent);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn without_the_page_there_is_the_api_alone() {
    let home = super::home::Home::new();
    let port = free_port();
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:9' }}\nhttp: {{ listen: '127.0.0.1:{port}', page: false }}\n"
    ));
    let gateway = home.start_ready().await;
    home.says(&["the API listens"]).await;
    let bench = Bench { home, gateway, port };
    bench.raw("GET", "/", &[], b"").await.problem(404);
    bench.raw("GET", "/api/openapi.json", &[], b"").await.expect(200);
    assert!(!bench.home.state_dir().join("pairing-code").exists(), "nobody is waited for");
    bench.gateway.stop().await;
}
