//! `simulate` and `detect`, as somebody without an analyzer and somebody without a manual use them.

use super::home::{DEADLINE, Home};
use super::mosquitto::free_port;
use gateway_daemon::platform::pty::Pty;
use serde_json::Value;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;

/// A printout as some blood gas analyzer might send it; every value is invented.
const PRINTOUT: &str = "Blood Gas Report\r\n12:58   20 Jan 2026\r\nSample No.   9004\r\n  pH          7.412\r\n  \
                        pCO2         38.1   mmHg\r\n  K+           4.10   mmol/L\r\n---------------\r\n";

async fn run(home: &Home, arguments: &[&str]) -> Output {
    let running = tokio::time::timeout(DEADLINE, home.command(arguments).output()).await;
    running.expect("it ends").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Plays at a pseudo-terminal of that name in the home, and goes on until it is dropped.
async fn play(home: &Home, what: &str, name: &str, every: &str) -> Child {
    let link = home.path(name).display().to_string();
    let mut command = home.command(&["simulate", what, "--port", "pty", "--link", &link, "--every", every]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("it says where it plays");
    let first = first.expect("a pipe").unwrap_or_default();
    assert!(first.contains(&link), "{first}");
    child
}

async fn events(home: &Home) -> Vec<Value> {
    let settings = home.settings_path().display().to_string();
    let told = run(home, &["events", "--config", &settings, "--limit", "500"]).await;
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    text(&told.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_analyzer_of_each_protocol_is_read_by_the_gateway() {
    let home = Home::new();
    let parts = [
        ("sysmex-xp-100", "profile: sysmex-xp-100"),
        ("hl7", "driver: hl7"),
        ("poct1a", "driver: poct1a"),
        ("test-v0", "driver: test-v0"),
        ("scanner", "driver: scanner"),
    ];
    let mut settings = format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n", free_port());
    let mut playing = Vec::new();
    for (what, driver) in parts {
        // A run of test-v0 is told in that time: many lines.
        let every = if what == "test-v0" { "30s" } else { "2s" };
        playing.push(play(&home, what, what, every).await);
        settings
            .push_str(&format!("  - {{ id: {what}, {driver}, port: {{ path: {} }} }}\n", home.path(what).display()));
    }
    home.configure(&settings);
    let gateway = home.start_ready().await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let events = events(&home).await;
        let heard = |what: &str| {
            let about_the_port = ["ANALYZER_CONNECTED", "ANALYZER_DISCONNECTED", "MESSAGE_REJECTED"];
            let own = events.iter().map(|event| &event["data"]).filter(|data| data["analyzer"] == what);
            own.into_iter().any(|data| data["event"].as_str().is_some_and(|name| !about_the_port.contains(&name)))
        };
        let missing: Vec<&str> = parts.iter().map(|(what, _)| *what).filter(|what| !heard(what)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "nothing of {missing:?}\n{}", home.tail());
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    drop(playing);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_cable_loses_nothing_that_was_acknowledged() {
    let home = Home::new();
    let port = free_port();
    let broker = format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n", free_port());
    home.configure(&format!(
        "{broker}analyzers:\n  - {{ id: cells, profile: sysmex-xp-100, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n"
    ));
    let gateway = home.start_ready().await;
    let place = format!("tcp:127.0.0.1:{port}");
    let faults = ["--fault", "noise=300", "--fault", "bit-flip=40", "--fault", "slow=100"];
    let arguments = ["simulate", "sysmex-xp-100", "--port", &place, "--count", "3", "--every", "1s", "--samples"];
    let told = run(&home, &[&arguments[..], &["BAD-1,BAD-2,BAD-3"], &faults].concat()).await;
    let said = text(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{said}{}", text(&told.stderr));
    assert!(said.contains("said 3, acknowledged 3"), "{said}");
    let events = events(&home).await;
    for sample in ["BAD-1", "BAD-2", "BAD-3"] {
        let finished = events.iter().filter(|event| event["data"]["test"]["sample_id"] == sample).count();
        assert_eq!(finished, 1, "{sample}");
    }
    home.assert_discreet(["BAD-1", "BAD-2", "BAD-3"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detect_finds_each_protocol_and_prints_settings_that_pass_the_check() {
    let home = Home::new();
    let printout = home.write("printout.txt", PRINTOUT).display().to_string();
    for (what, answer, words) in [
        ("sysmex-xp-100", true, "profile: sysmex-xp-100"),
        ("hl7", false, "driver: hl7"),
        ("poct1a", false, "POCT1-A"),
        ("test-v0", false, "driver: test-v0"),
        ("scanner", false, "driver: scanner"),
        (printout.as_str(), false, "plain text, as for a printer"),
    ] {
        let playing = play(&home, what, "unknown", "3s").await;
        let port = home.path("unknown").display().to_string();
        let mut arguments = vec!["detect", &port, "--seconds", "45"];
        arguments.extend(answer.then_some(["--answer", "read"]).into_iter().flatten());
        let told = run(&home, &arguments).await;
        let said = text(&told.stdout);
        assert_eq!(told.status.code(), Some(0), "{what}: {said}{}", text(&told.stderr));
        assert!(said.contains(words), "{what}: {said}");
        for private in ["SIM-0001", "SIM-0002", "9004", "7.412"] {
            assert!(!said.contains(private), "{what} shows {private}: {said}");
        }
        let state = home.state_dir().display().to_string();
        let settings = home.write("found.yaml", format!("gateway: {{ id: box, state_dir: {state} }}\n{said}"));
        let checked = run(&home, &["check", &settings.display().to_string()]).await;
        assert_eq!(checked.status.code(), Some(0), "{what}: {said}{}{}", text(&checked.stdout), text(&checked.stderr));
        drop(playing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detect_says_what_it_does_not_find_and_leaves_a_used_port_alone() {
    let home = Home::new();
    let pty = Pty::open().expect("a pseudo-terminal");
    let port = pty.path().display().to_string();
    let told = run(&home, &["detect", &port, "--seconds", "1"]).await;
    assert_eq!(told.status.code(), Some(1), "{}", text(&told.stderr));
    assert!(text(&told.stdout).contains("Not a byte was heard"), "{}", text(&told.stdout));
    let place = format!("listen:127.0.0.1:{}", free_port());
    for wrong in ["ttyUSB0", "tcp:nowhere", "/nowhere/at/all"] {
        assert_eq!(run(&home, &["detect", wrong, "--seconds", "1"]).await.status.code(), Some(2), "{wrong}");
    }
    assert_eq!(run(&home, &["detect", &place, "--seconds", "1"]).await.status.code(), Some(1));
    let broker = format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n", free_port());
    home.configure(&format!("{broker}analyzers:\n  - {{ id: cells, driver: astm, port: {{ path: {port} }} }}\n"));
    let gateway = home.start_ready().await;
    home.says(&["port open"]).await;
    let told = run(&home, &["detect", &port, "--seconds", "1"]).await;
    assert_eq!(told.status.code(), Some(2), "{}", text(&told.stdout));
    let why = text(&told.stderr);
    assert!(why.contains("The gateway that runs") || why.contains("in use"), "{why}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_at_another_setting_are_told_with_that_setting() {
    let home = Home::new();
    let mut pty = Pty::open().expect("a pseudo-terminal");
    let broker = format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n", free_port());
    let port = pty.path().display();
    home.configure(&format!("{broker}analyzers:\n  - {{ id: cells, driver: astm, port: {{ path: {port} }} }}\n"));
    let gateway = home.start_ready().await;
    home.says(&["port open"]).await;
    let even = |byte: &u8| byte | if byte.count_ones() % 2 == 1 { 0x80 } else { 0 };
    let text = b"H|\\^&|||XQ-7^1.0|||||||P|LIS2-A2|20260112093000\rP|1\rO|1|4711\rR|1|^^^K|4.1|mmol/L\rL|1|N\r";
    pty.write_all(&text.iter().map(even).collect::<Vec<u8>>()).await.expect("an open terminal");
    home.says(&["message rejected", "these look like 7E1 at 9600"]).await;
    gateway.stop().await;
}
