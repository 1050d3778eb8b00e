//! Settings from afar, on the box itself: tried, confirmed, and then on the card; and the power goes at each step of writing them.

use super::analyzer::Analyzer;
use super::card::Card;
use super::machine::{self, HTTP_PORT, Machine};
use super::receiving::{arrived, receiver, webhook};
use gateway_core::appliance::pushed::FORMER;
use gateway_daemon::simulated::receiver::Receiver;
use gateway_tests::http::{Answer, exchange};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

const SETTINGS: &str = "gateway.yaml";
/// Between two questions to a guest that is busy.
const LOOK: Duration = Duration::from_secs(1);
/// Files that are there for a moment while settings are written, in their order: whoever sees one has the power go.
const MOMENTS: [&str; 3] = [
    "/data/system/settings-under-way.json",
    "/boot/firmware/gateway.before.yaml.new",
    "/boot/firmware/gateway.yaml.new",
];

/// With so many analyzers; `days` tells one from the other.
fn settings(receiver: &Receiver, analyzers: usize, days: usize) -> String {
    let analyzers = (0..analyzers).map(|number| {
        format!(
            "  - {{ id: analyzer-{number}, driver: astm, port: {{ usb: \"0403:6001\", serial: ANALYZER{number} }} }}\n"
        )
    });
    format!(
        "# keep {days} days\nversion: 1\nretention: {{ events_kept_days: {days} }}\ngateway: {{ id: box }}\nhttp: {{ listen: '0.0.0.0:{HTTP_PORT}', allow_plain: true }}\n{}\
         analyzers:\n{}",
        webhook(receiver),
        analyzers.collect::<String>()
    )
}

/// A client of the page from outside, with a token.
struct Operator {
    port: u16,
    token: String,
}

impl Operator {
    async fn ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Answer> {
        let token = format!("Bearer {}", self.token);
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let body = if method == "GET" { String::new() } else { body.to_string() };
        exchange(stream, method, path, &headers, body.as_bytes()).await
    }

    /// Asks until somebody answers: the port is closed while the guest starts and while other settings are put in force.
    async fn answer(&self, method: &str, path: &str, body: &Value) -> Answer {
        let deadline = Instant::now() + machine::DEADLINE;
        loop {
            match self.ask(method, path, body).await {
                Ok(answer) => return answer,
                Err(error) => assert!(Instant::now() < deadline, "{path}: {error}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Has these settings tried, and waits until they are in force; their hash.
    async fn push(&self, settings: &str) -> Value {
        let pushed = json!({"yaml": settings, "confirm_within_seconds": 600});
        let hash = self.answer("POST", "/api/config", &pushed).await.expect(202)["hash"].clone();
        let deadline = Instant::now() + machine::DEADLINE;
        while self.answer("GET", "/api/config", &Value::Null).await.expect(200)["hash"] != hash {
            assert!(Instant::now() < deadline, "pushed settings are not put in force");
            tokio::time::sleep(LOOK).await;
        }
        hash
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_from_afar_get_onto_the_card_and_a_power_cut_leaves_the_former_or_the_new_ones_whole() {
    let Some(folder) = machine::folder("pushing") else { return };
    let card = Card::write(&folder);
    let receiver = receiver().await;
    let first = settings(&receiver, 1, 100);
    card.save(SETTINGS, &first);
    let mut machine = Machine::start(&folder, &card, 1).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 1);
    analyzer.call().await;
    let mut keys = Vec::new();
    keys.push(analyzer.tell_one().await);
    let (done, said) = machine.shell.run("analyzer-gateway token add --scope administer judge --json").await;
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{done}: {said}"));
    let token = said["token"].as_str().expect("a token").to_owned();
    let operator = Operator { port: machine.http, token };

    // What would cut the way in is refused, and nothing is tried.
    let moved = format!("{first}network: {{ hostname: elsewhere }}\n");
    let refused = operator.answer("POST", "/api/config", &json!({"yaml": moved})).await;
    assert!(refused.status >= 400 && refused.text().contains("on the card"), "{}", refused.text());

    // An analyzer more: it is heard while the settings are tried, and the card has them once they are confirmed.
    let second = settings(&receiver, 2, 200);
    let hash = operator.push(&second).await;
    let mut other = Analyzer::new(machine.line(1).await, 101);
    other.call().await;
    keys.push(other.tell_one().await);
    assert_eq!(card.read(SETTINGS).as_deref(), Some(first.as_str()));
    let asked = Instant::now();
    operator.answer("POST", "/api/config/confirm", &json!({"hash": hash})).await.expect(200);
    println!("confirmed settings were on the card after {:.1} s", asked.elapsed().as_secs_f64());
    assert_eq!((card.read(SETTINGS).as_ref(), card.read(FORMER).as_ref()), (Some(&second), Some(&first)));
    let (_, how) = machine.shell.run("grep ' /boot/firmware ' /proc/mounts").await;
    assert!(how.contains(" ro,"), "{how}");

    // The power goes when that file is seen; the start after it has the former settings or the new ones, and says which.
    let mut there = second;
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        let new = settings(&receiver, 2, 300 + number);
        let hash = operator.push(&new).await;
        let before = machine.boot_id().await;
        let trap = format!("(until [ -e {moment} ]; do :; done; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 & true");
        machine.shell.run(&trap).await;
        let confirm = json!({"hash": hash});
        tokio::select! {
            // Asked again after the cut, the new start may answer before it is seen.
            answer = operator.answer("POST", "/api/config/confirm", &confirm) => {
                assert_ne!(answer.status, 200, "nothing was cut: {}", answer.text());
                machine.starts_anew(&before).await;
            }
            () = machine.starts_anew(&before) => {}
        }
        // A restart ends the trial.
        operator.answer("POST", "/api/config/confirm", &json!({})).await.expect(409);
        analyzer.call().await;
        keys.push(analyzer.tell_one().await);
        let now = card.read(SETTINGS).expect("settings");
        assert!(now == new || now == there, "{moment}: {now}");
        println!("cut at {moment}: the {} settings", if now == new { "new" } else { "former" });
        let (_, left) =
            machine.shell.run("ls /data/system/settings-under-way.json /boot/firmware/*.new 2>/dev/null").await;
        assert_eq!(left, "", "{moment}");
        there = now;
    }
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;
    let (_, failed) = machine.shell.run("systemctl --failed --no-legend --plain").await;
    assert_eq!(failed, "", "{}", machine.console());
    machine.shut_down().await;
    assert!(card.boot_is_sound() && card.read("gateway.report.txt").is_some_and(|report| report.contains("IN FORCE")));
}
