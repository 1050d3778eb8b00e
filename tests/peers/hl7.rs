//! HL7: the client of `hl7` (python-hl7) and the messages and parser of `hl7apy`.

use super::database::Database;
use super::home::{DEADLINE, Gateway, Home};
use gateway_tests::judge::judge;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// What one peer has been told: its own names of its messages, and what its parser has read in the answers.
async fn said(python: &Path, arguments: &[&str]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/hl7_sender.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(script).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// A free port of this machine.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A gateway with one analyzer on that port.
async fn start(home: &Home, port: &str) -> (Gateway, Database) {
    let broker = free_port();
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{broker}' }}\nhttp: {{ listen: off }}\nanalyzers:\n  \
         - {{ id: peer, driver: hl7, port: {port} }}\n",
    ));
    let gateway = home.start_ready().await;
    (gateway, Database::open(&home.state_dir()))
}

/// `name code` of each answer.
fn codes(said: &[Value]) -> Vec<String> {
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    said.iter().map(|line| format!("{} {}", word(line, "name"), word(line, "code"))).collect()
}

/// What is stored of an analyzer, without what is said about its port: a finished test by its sample and values, a
/// rejection by its code.
fn stored(database: &Database) -> Vec<String> {
    let facts = database.events().into_iter().filter(|event| !event.name.starts_with("ANALYZER_"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    facts
        .map(|event| match event.name.as_str() {
            "MESSAGE_REJECTED" => text(&event.body["rejection"]["code"]),
            "QUERY_RECEIVED" => format!("? {}", text(&event.body["query"]["sample_ids"][0])),
            _ => {
                let results = event.body["test"]["results"].as_array().cloned().unwrap_or_default();
                let values: Vec<String> = results.iter().map(|result| text(&result["value"])).collect();
                format!("{} {}", text(&event.body["test"]["sample_id"]), values.join(","))
            }
        })
        .collect()
}

const PYTHON_HL7: [&str; 4] = ["result AA", "again AA", "unknown AR", "broken AR"];
const PYTHON_HL7_STORED: [&str; 3] = ["PEER-0001 5.5,neg", "unknown_type", "not_hl7"];

fn python() -> Option<PathBuf> {
    judge("python/bin/python")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_python_hl7_over_tcp() {
    let Some(python) = python() else { return };
    let home = Home::new();
    let port = free_port();
    let (gateway, database) = start(&home, &format!("{{ tcp: {{ listen: '127.0.0.1:{port}' }} }}")).await;
    let said = said(&python, &["python-hl7", "tcp", &port.to_string()]).await;
    assert_eq!(codes(&said), PYTHON_HL7);
    assert_eq!(stored(&database), PYTHON_HL7_STORED, "the repeated message is stored once");
    gateway.stop().await;
    home.assert_discreet(["PEER-0001", "PEER-PATIENT"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_python_hl7_on_a_serial_line() {
    let Some(python) = python() else { return };
    let home = Home::new();
    let line = home.path("line").display().to_string();
    let (gateway, database) = start(&home, &format!("{{ path: {line} }}")).await;
    let log = home.path("log").display().to_string();
    let said = said(&python, &["python-hl7", "line", &line, &log]).await;
    assert_eq!(codes(&said), PYTHON_HL7);
    assert_eq!(stored(&database), PYTHON_HL7_STORED);
    gateway.stop().await;
    home.assert_discreet(["PEER-0001", "PEER-PATIENT"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hl7apy_reads_every_answer_by_the_standard() {
    let Some(python) = python() else { return };
    let home = Home::new();
    let port = free_port();
    let (gateway, database) = start(&home, &format!("{{ tcp: {{ listen: '127.0.0.1:{port}' }} }}")).await;
    let said = said(&python, &["hl7apy", "tcp", &port.to_string()]).await;
    let expected = [
        "ORU^R01 2.3.1 AA",
        "ORU^R01 2.4 AA",
        "ORU^R01 2.5.1 AA",
        "OUL^R22 CA",
        "OUL^R22 AA",
        "ADT^A01 AR",
        "QBP^Q11 AA",
        "OML^O33 order",
        "QRY^Q02 AA",
        "ORM^O01 AR",
    ];
    assert_eq!(codes(&said), expected);
    let kept =
        ["PEER-1 1.1", "PEER-2 1.1", "PEER-3 1.1", "PEER-4 139", "unknown_type", "? PEER-5", "? PEER-6", "? PEER-7"];
    home.eventually("everything stored", || (stored(&database) == kept).then_some(())).await;
    gateway.stop().await;
}
