//! A browser's tour through the page (`judges/node/page`): pairing, a run watched live to its end, its values, a scanned
//! registration, verification, the test button, a redrive, every view in light and dark, on a phone and on a 3.5" screen.
//!
//! The pictures are in `target/page`.

use super::home::Home;
use super::mosquitto::{Mosquitto, free_port, is_installed};
use gateway_core::time::Timestamp;
use gateway_daemon::simulated::test_v0::{ROUNDS, Run};
use gateway_tests::judge::judge;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;

const START: Timestamp = Timestamp(1_795_291_200_000);
/// As Standard Webhooks writes them.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const PRIVATE: [&str; 6] =
    ["S-4711", "<script>", "four quiet words today", "seven more quiet words", "eight quite other words", SECRET];

/// What the analyzer says, line by line.
fn lines() -> Vec<String> {
    let run = Run::new(2, 3_100_000_017, 166, START, ROUNDS);
    run.lines.into_iter().map(|line| line.text).collect()
}

fn settings(broker: u16, http: u16, pcr: u16, blood: u16, receiver: u16) -> String {
    format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{broker}' }}\nhttp: {{ listen: '127.0.0.1:{http}' }}\n\
         analyzers:\n\
         \x20 - {{ id: pcr, driver: test-v0, port: {{ tcp: {{ listen: '127.0.0.1:{pcr}' }} }} }}\n\
         \x20 - {{ id: blood, driver: astm, framing: none, port: {{ tcp: {{ listen: '127.0.0.1:{blood}' }} }} }}\n\
         webhooks:\n\
         \x20 - {{ id: lims, url: 'http://127.0.0.1:{receiver}/hook', dialect: cloudevents, secret: {SECRET} }}\n"
    )
}

/// A folder in which the privileged half of a box has left what it says: an update at work and a network that fell back.
fn box_of(home: &Home) -> std::path::PathBuf {
    let at = "2026-11-21T20:14:03.120Z";
    let files = [
        ("proc/cmdline", "ro quiet analyzer-gateway.slot=B".to_owned()),
        ("usr/lib/analyzer-gateway/image.json", json!({"version": "1.4.0", "compatible": "test-board"}).to_string()),
        ("run/analyzer-gateway/light", "degraded\n".to_owned()),
        (
            "run/analyzer-gateway-appliance/network.json",
            json!({"in_force": "fallback", "reason": "nobody answers at 192.0.2.1", "addresses": ["198.51.100.7"], "at": at})
                .to_string(),
        ),
        (
            "run/analyzer-gateway-appliance/update.json",
            json!({"phase": "installing", "percent": 40, "from": "1.4.0", "to": "1.5.0", "reason": "", "at": at}).to_string(),
        ),
        ("run/analyzer-gateway-appliance/card.json", json!({"written": true, "reason": "", "at": at}).to_string()),
    ];
    let root = home.path("root");
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of our own");
        std::fs::write(path, text).expect("a folder of our own");
    }
    root
}

#[tokio::test]
async fn people_make_their_way_through_the_page() {
    let Some(packages) = judge("node/node_modules/playwright-core") else { return };
    if !is_installed() {
        return;
    }
    let home = Home::new();
    let broker = Mosquitto::start(&home).await;
    let [http, pcr, blood, receiver] = std::array::from_fn(|_| free_port());
    home.configure(&settings(broker.port, http, pcr, blood, receiver));
    let root = box_of(&home);
    let gateway = home.start_with(&["--root", &root.to_string_lossy()]);
    home.ready(&gateway).await;
    home.says(&["the API listens"]).await;
    let settings = home.settings_path();
    let told = home.command(&["pair", "--config", &settings.to_string_lossy()]).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let code = told.lines().next().expect("a pairing code");

    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shots = tests.parent().expect("tests/ lies in the project").join("target/page");
    std::fs::create_dir_all(&shots).expect("a folder for pictures");
    let done = home.path("done.json");
    let given = json!({
        "base": format!("http://127.0.0.1:{http}"), "code": code, "pcr_port": pcr, "blood_port": blood,
        "receiver_port": receiver, "root": root, "lines": lines(), "shots": shots, "done": done,
    });
    let given = home.write("given.json", given.to_string());
    let tour = tokio::process::Command::new("node")
        .arg("tour.js")
        .arg(given)
        .current_dir(tests.join("judges/node/page"))
        .env("NODE_PATH", packages.parent().expect("it lies in a folder"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .expect("node starts");
    let told = [String::from_utf8_lossy(&tour.stdout), String::from_utf8_lossy(&tour.stderr)].concat();
    assert!(tour.status.success(), "{told}\nthe gateway's log ends:\n{}", home.tail());
    println!("{told}");
    let done: Value = serde_json::from_slice(&std::fs::read(done).expect("it says what it saw")).expect("JSON");
    assert!(done["ids"].as_array().is_some_and(|ids| ids.len() > lines().len()), "{done}");
    gateway.stop().await;
    home.assert_discreet(PRIVATE);
}
