//! A sample on its way through an analyzer that asks: ordered over every way there is, cancelled, run again.

use super::bench::{Bench, free_port};
use super::doors::over_mqtt;
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use gateway_daemon::simulated::astm::frame;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const EOT: u8 = 0x04;
const ETX: u8 = 0x03;
const LF: u8 = 0x0a;
const DEADLINE: Duration = Duration::from_secs(60);

/// An analyzer that calls, worked by hand.
struct Analyzer(TcpStream);

impl Analyzer {
    async fn call(port: u16) -> Analyzer {
        let calling = async {
            loop {
                match TcpStream::connect(("127.0.0.1", port)).await {
                    Ok(stream) => return Analyzer(stream),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, calling).await.expect("a listener")
    }

    async fn hear(&mut self) -> u8 {
        tokio::time::timeout(DEADLINE, self.0.read_u8()).await.expect("an answer").expect("an open line")
    }

    /// A session of its own.
    async fn tell(&mut self, records: &[&str]) {
        self.0.write_all(&[ENQ]).await.expect("an open line");
        assert_eq!(self.hear().await, ACK);
        for (record, number) in records.iter().zip(1..) {
            self.0.write_all(&frame(number, format!("{record}\r").as_bytes(), ETX)).await.expect("an open line");
            assert_eq!(self.hear().await, ACK);
        }
        self.0.write_all(&[EOT]).await.expect("an open line");
    }

    /// Asks for this and takes the answer: its records behind H.
    async fn ask(&mut self, for_what: &str) -> Vec<String> {
        self.tell(&["H|\\^&|||CHEM 7", &format!("Q|1|{for_what}||ALL||||||||O"), "L|1|N"]).await;
        assert_eq!(self.hear().await, ENQ);
        let mut records = Vec::new();
        loop {
            self.0.write_all(&[ACK]).await.expect("an open line");
            let mut sent = vec![self.hear().await];
            if sent == [EOT] {
                return records.split_off(1);
            }
            while sent.last() != Some(&LF) {
                sent.push(self.hear().await);
            }
            let text = String::from_utf8(sent[2..sent.len() - 5].to_vec()).expect("text");
            records.extend(text.split_terminator('\r').map(str::to_owned));
        }
    }

    async fn result(&mut self, sample: &str, code: &str, second: u8) {
        let order = format!("O|1|{sample}||^^^{code}|R");
        let result = format!("R|1|^^^{code}|5.5|mmol/L||N||F||||202611212014{second:02}");
        self.tell(&["H|\\^&|||CHEM 7", "P|1", &order, &result, "L|1|N"]).await;
    }
}

async fn with_analyzer(sections: &str) -> (Bench, Analyzer) {
    let port = free_port();
    let bench = Bench::start(&format!(
        "{sections}analyzers:\n  - {{ id: chem, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n"
    ))
    .await;
    let analyzer = Analyzer::call(port).await;
    (bench, analyzer)
}

fn order(number: u8, sample: &str, tests: &str, action: &str) -> [String; 2] {
    [format!("P|{number}"), format!("O|1|{sample}||{tests}|R||||||{action}||||||||||||||Q")]
}

const NOTHING: [&str; 1] = ["L|1|I"];

#[tokio::test]
async fn an_ordered_sample_is_told_until_it_has_its_results() {
    let (bench, mut analyzer) = with_analyzer("").await;
    assert_eq!(analyzer.ask("^TUBE-1").await, NOTHING);
    let new = json!({"id": "r-1", "sample_ids": ["TUBE-1"], "tests": [{"code": "GLU"}, {"code": "CRE"}]});
    bench.post("post", "/api/registrations", new).await.expect(201);
    let both = [&order(1, "TUBE-1", "^^^GLU\\^^^CRE", "N")[..], &["L|1|F".to_owned()]].concat();
    assert_eq!(analyzer.ask("ALL").await, both);
    let taken = |answer: &Value| answer["registration"]["orders_taken_at"].is_string();
    bench.eventually("read", "/api/registrations/r-1", taken).await;
    assert_eq!(analyzer.ask("ALL").await, NOTHING, "it has been told");
    assert_eq!(analyzer.ask("^TUBE-1").await, both, "who asks for it is told again");
    // What has a result is not ordered again.
    analyzer.result("TUBE-1", "GLU", 1).await;
    bench.eventually("read", "/api/registrations/r-1", |answer| answer["registration"]["results_at"].is_string()).await;
    let left = [&order(1, "TUBE-1", "^^^CRE", "N")[..], &["L|1|F".to_owned()]].concat();
    assert_eq!(analyzer.ask("^TUBE-1").await, left);
    analyzer.result("TUBE-1", "CRE", 2).await;
    let results = "/api/test_registration/r-1/lab_results/";
    bench.eventually("read", results, |answer| answer["results"].as_array().map(Vec::len) == Some(2)).await;
    assert_eq!(analyzer.ask("^TUBE-1").await, NOTHING);

    // Once more: a registration of its own, until that has its results.
    assert_eq!(bench.raw("POST", "/api/registrations/r-1/rerun", &[], b"").await.status, 401);
    let again = bench.ask("post", "POST", "/api/registrations/r-1/rerun", None).await.expect(200);
    assert_eq!(again["retest_of"], "r-1");
    let same = bench.ask("post", "POST", "/api/registrations/r-1/rerun", None).await.expect(200);
    assert_eq!(same["id"], again["id"], "it waits already");
    let rerun = [&order(1, "TUBE-1", "^^^GLU\\^^^CRE", "A")[..], &["L|1|F".to_owned()]].concat();
    assert_eq!(analyzer.ask("^TUBE-1").await, rerun);
    analyzer.result("TUBE-1", "GLU", 3).await;
    let path = format!("/api/registrations/{}", again["id"].as_str().expect("an id"));
    bench.eventually("read", &path, |answer| answer["registration"]["results_at"].is_string()).await;
    // Whose orders went where is in the audit log, and no log holds a sample.
    let audit = bench.ask("administer", "GET", "/api/audit?limit=500", None).await.expect(200).to_string();
    assert!(audit.contains("analyzer:chem") && audit.contains("orders"), "{audit}");
    bench.home.assert_discreet(["TUBE-1"]);
}

#[tokio::test]
async fn a_cancelled_sample_is_told_once_and_several_are_told_together() {
    let (bench, mut analyzer) = with_analyzer("").await;
    for number in 1..=3 {
        let new = json!({"id": format!("c-{number}"), "sample_ids": [format!("TUBE-{number}")],
                         "patient": {"id": "PAT-1", "family_name": "Muster"}, "tests": [{"code": "GLU"}]});
        bench.post("post", "/api/registrations", new).await.expect(201);
    }
    let unknown = bench.ask("post", "POST", "/api/registrations/none/cancel", None).await;
    unknown.problem(404);
    bench.ask("post", "POST", "/api/registrations/c-2/rerun", None).await.problem(409);
    let brief = bench.ask("post", "POST", "/api/registrations/c-2/cancel", None).await.expect(200);
    assert!(brief["cancelled_at"].is_string());
    assert!(!brief.to_string().contains("Muster"));
    let told = analyzer.ask("^TUBE-1\\^TUBE-9\\^TUBE-2").await;
    assert_eq!(told[0], "P|1|PAT-1|||Muster");
    assert_eq!(told[1], "O|1|TUBE-1||^^^GLU|R||||||N||||||||||||||Q");
    assert_eq!(told[3], "O|1|TUBE-2||^^^GLU|R||||||C||||||||||||||Q");
    assert_eq!(told[4..], ["L|1|F"]);
    bench
        .eventually("read", "/api/registrations/c-2", |answer| answer["registration"]["orders_taken_at"].is_string())
        .await;
    assert_eq!(analyzer.ask("^TUBE-2").await, NOTHING);
    // Wanted after all, and that may be cancelled too.
    let wanted = bench.ask("post", "POST", "/api/registrations/c-2/rerun", None).await.expect(200);
    assert_eq!(wanted["retest_of"], "c-2");
    let same = bench.ask("post", "POST", "/api/registrations/c-2/rerun", None).await.expect(200);
    assert_eq!(same["id"], wanted["id"], "it waits already");
    assert!(analyzer.ask("^TUBE-2").await.contains(&"O|1|TUBE-2||^^^GLU|R||||||A||||||||||||||Q".to_owned()));
    let cancel = format!("/api/registrations/{}/cancel", wanted["id"].as_str().expect("an id"));
    bench.ask("post", "POST", &cancel, None).await.expect(200);
    let other = bench.ask("post", "POST", "/api/registrations/c-2/rerun", None).await.expect(200);
    assert_ne!(other["id"], wanted["id"]);
    // A person's orders go with the person.
    bench.post("administer", "/api/erasures", json!({"sample_id": "TUBE-3"})).await;
    bench.eventually("read", "/api/registrations/c-3", |answer| answer["registration"]["erased_at"].is_string()).await;
    assert_eq!(analyzer.ask("^TUBE-3").await, NOTHING);
    bench.home.assert_discreet(["TUBE-1", "TUBE-2", "TUBE-3", "Muster"]);
}

#[tokio::test]
async fn what_is_registered_over_mqtt_answers_a_query() {
    if !mosquitto::is_installed() {
        return;
    }
    let cellar = Home::new();
    let broker = Mosquitto::start(&cellar).await;
    let (bench, mut analyzer) = with_analyzer(&format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n", broker.port)).await;
    bench.home.says(&["connected to the broker"]).await;
    let post = json!({"id": "w1", "token": "post", "method": "POST", "path": "/api/registrations",
                      "body": {"id": "m-1", "sample_ids": ["TUBE-M"], "tests": [{"code": "GLU"}]}});
    let answer = over_mqtt(&broker, "w1", &post.to_string()).await;
    assert_eq!(answer["status"], 201, "{answer}");
    let told = [&order(1, "TUBE-M", "^^^GLU", "N")[..], &["L|1|F".to_owned()]].concat();
    assert_eq!(analyzer.ask("^TUBE-M").await, told);
    let post = json!({"id": "w2", "token": "post", "method": "POST", "path": "/api/registrations/m-1/cancel"});
    assert_eq!(over_mqtt(&broker, "w2", &post.to_string()).await["status"], 200);
    assert_eq!(analyzer.ask("^TUBE-M").await[1], "O|1|TUBE-M||^^^GLU|R||||||C||||||||||||||Q");
}
