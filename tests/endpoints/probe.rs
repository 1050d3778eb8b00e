//! The test of an endpoint: each hop is reported, the first that fails is the last, and the event is marked.

use super::servers::{Authority, DEADLINE, GOOD, Peer, Server, read_request};
use gateway_core::config::{DatedSecret, Secret, Webhook};
use gateway_daemon::platform::Platform;
use gateway_daemon::platform::probe::{self, Hop, HopName, Report};
use gateway_daemon::simulated::receiver::{Options, Receiver, Verify, accept_all, in_turn, standard_webhooks, steps};
use gateway_tests::binary;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB3ZWJob29rIHRlc3RzIDE=";

fn webhook(url: &str) -> Webhook {
    let secrets = vec![DatedSecret { secret: Secret::new(SECRET), valid_until: None }];
    Webhook { secrets, timeout: Duration::from_secs(5), ..Webhook::new("lims", url, "cloudevents") }
}

async fn tried(webhook: &Webhook) -> Report {
    tokio::time::timeout(DEADLINE, probe::run(&Platform::real(), webhook, "box")).await.expect("it ends")
}

fn names(report: &Report) -> Vec<&'static str> {
    report.hops.iter().map(|hop| hop.hop.as_str()).collect()
}

/// The one hop that failed, which is the last; its sentences are there.
fn failed(report: &Report) -> &Hop {
    let (last, before) = report.hops.split_last().expect("there is a hop at least");
    assert!(!report.ok && !last.ok && before.iter().all(|hop| hop.ok), "{report:?}");
    assert!(!last.told.is_empty() && last.next_step.is_some(), "{last:?}");
    last
}

async fn answer_with_date(mut peer: Peer, shift_s: i64) -> io::Result<()> {
    read_request(&mut peer).await?;
    let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(shift_s);
    let date = moment.strftime("%a, %d %b %Y %H:%M:%S GMT");
    peer.write_all(format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn every_hop_to_a_good_endpoint_is_reported() {
    let ours = Authority::new("Clinic CA");
    let tls = ours.server(&ours.good("localhost"), None);
    let server = Server::start(Some(tls), |mut peer, notes| async move {
        if let Some(request) = read_request(&mut peer).await? {
            notes.hear(request);
            peer.write_all(GOOD).await?;
        }
        Ok(())
    })
    .await;
    let mut webhook = webhook(&format!("https://localhost:{}/hook", server.port));
    webhook.ca_file = Some(ours.file());
    let report = tried(&webhook).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(names(&report), ["dns", "tcp", "tls", "answer", "authentication", "verdict"]);
    let told: Vec<&str> = report.hops.iter().map(|hop| hop.told.as_str()).collect();
    assert!(told[0].starts_with("localhost is ") && told[0].contains("127.0.0.1"), "{told:?}");
    assert!(told[1].contains(&format!(":{}", server.port)), "{told:?}");
    assert!(told[2].starts_with("TLS 1.3, certificate issued by CN=Clinic CA, ") && told[2].ends_with(" days left"));
    assert_eq!((report.status, report.answer.as_deref()), (Some(200), Some("ok")));
    let heard = &server.heard()[0];
    for part in ["x-gateway-test: true\r\n", "x-gateway-ordinal: 0\r\n", "webhook-signature: v1,", "WEBHOOK_TEST"] {
        assert!(heard.contains(part), "{part} is missing in {heard}");
    }
    assert!(heard.contains(&report.event_id));
}

#[tokio::test]
async fn a_certificate_near_its_end_is_a_warning() {
    let ours = Authority::new("Clinic CA");
    let soon = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date() + jiff::SignedDuration::from_hours(96);
    let soon = (i32::from(soon.year()), soon.month() as u8, soon.day() as u8);
    let server = Server::answering(Some(ours.server(&ours.sign("localhost", (2020, 1, 1), soon), None)), GOOD).await;
    let mut webhook = webhook(&format!("https://localhost:{}/hook", server.port));
    webhook.ca_file = Some(ours.file());
    let report = tried(&webhook).await;
    let tls = report.hops.iter().find(|hop| hop.hop == HopName::Tls).expect("it is encrypted");
    assert!(report.ok && tls.ok && tls.told.contains(" 3 days left"), "{tls:?}");
    assert!(tls.next_step.as_ref().is_some_and(|step| step.contains("renew")), "{tls:?}");
}

#[tokio::test]
async fn the_clocks_are_compared() {
    for (shift_s, word) in [(0, None), (3600, Some("ahead of")), (-3600, Some("behind"))] {
        let server = Server::start(None, move |peer, _| answer_with_date(peer, shift_s)).await;
        let report = tried(&webhook(&format!("http://127.0.0.1:{}/", server.port))).await;
        let clock = report.hops.iter().find(|hop| hop.hop == HopName::Clock).expect("there is a Date header");
        assert!(report.ok && clock.ok, "another clock alone does not make an endpoint bad: {report:?}");
        assert_eq!(clock.next_step.is_some(), word.is_some(), "{clock:?}");
        assert!(word.is_none_or(|word| clock.told.contains(word)), "{clock:?}");
    }
}

#[tokio::test]
async fn each_bad_hop_is_the_last_one_with_what_to_do() {
    let ours = Authority::new("Clinic CA");
    let expired = ours.sign("localhost", (2020, 1, 1), (2024, 2, 29));
    let expired = Server::answering(Some(ours.server(&expired, None)), GOOD).await;
    let silent =
        Server::start(None, |mut peer, _| async move { peer.read_to_end(&mut Vec::new()).await.map(drop) }).await;
    let answering = async |answer| Server::answering(None, answer).await;
    let strange = answering(b"HTTP/1.1 401 No\r\ncontent-length: 14\r\n\r\nwrong key, sir").await;
    let broken = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
    let moved = answering(b"HTTP/1.1 301 Away\r\nlocation: https://other.example/\r\ncontent-length: 0\r\n\r\n").await;
    let closed = answering(GOOD).await;
    let closed_port = closed.port;
    drop(closed);

    let http = |port: u16| webhook(&format!("http://127.0.0.1:{port}/hook"));
    let mut unreadable = webhook("https://localhost:9/hook");
    unreadable.ca_file = Some("/nowhere/ca.pem".into());
    let mut proxied = webhook("https://localhost:9/hook");
    proxied.proxy = Some(Secret::new(format!("http://127.0.0.1:{}", broken.port)));
    let mut old = webhook(&format!("https://localhost:{}/hook", expired.port));
    old.ca_file = Some(ours.file());
    let hasty = Webhook { timeout: Duration::from_millis(300), ..http(silent.port) };
    let cases = [
        (webhook("https://no-such-host.invalid/hook"), HopName::Dns, ""),
        (unreadable, HopName::Settings, "/nowhere/ca.pem"),
        (http(closed_port), HopName::Tcp, "nobody listens"),
        (proxied, HopName::Proxy, "the proxy answers HTTP 500"),
        (old, HopName::Tls, "expired on 2024-02-29"),
        (hasty, HopName::Answer, "no answer within 0.3 s"),
        (http(strange.port), HopName::Authentication, "401"),
        (http(broken.port), HopName::Verdict, "500"),
        (http(moved.port), HopName::Verdict, "other.example"),
    ];
    for (webhook, hop, word) in cases {
        let report = tried(&webhook).await;
        let failed = failed(&report);
        assert_eq!(failed.hop, hop, "{report:?}");
        assert!(failed.told.contains(word), "{failed:?}");
    }
    assert_eq!(tried(&http(strange.port)).await.answer.as_deref(), Some("wrong key, sir"));
}

#[tokio::test]
async fn a_dialect_that_is_not_there_is_a_fault_of_the_settings() {
    let report = tried(&Webhook { dialect: "klingon".to_owned(), ..webhook("http://127.0.0.1:9/") }).await;
    assert_eq!(failed(&report).hop, HopName::Settings);
}

/// HL7 over its own wire and over HTTP: the verdict is in the message that comes back.
#[tokio::test]
async fn an_hl7_endpoint_is_judged_by_its_acknowledgement() {
    let verify: Verify = Arc::new(|_, _| Ok(()));
    let script = in_turn(steps("200,400,200,400").expect("steps"));
    let options = Options { verify, script, wall: Arc::new(|| gateway_core::time::Timestamp(0)) };
    let receiver = Receiver::start(options).await.expect("a port");
    for mllp in [true, false] {
        let url = if mllp { format!("mllp://{}", receiver.address()) } else { receiver.url() };
        let mut webhook = Webhook { dialect: "hl7".to_owned(), secrets: Vec::new(), ..webhook(&url) };
        webhook.endpoint.mllp = mllp;
        let good = tried(&webhook).await;
        assert!(good.ok, "{good:?}");
        assert_eq!(names(&good), ["dns", "tcp", "answer", "authentication", "verdict"]);
        let refused = tried(&webhook).await;
        assert_eq!(failed(&refused).hop, HopName::Verdict, "{refused:?}");
        assert!(refused.answer.is_some_and(|answer| answer.contains("MSA|AR|")));
    }
}

async fn command(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["webhook", "test"]).args(arguments).env_clear().current_dir(folder).kill_on_drop(true);
    tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").expect("it runs")
}

#[tokio::test]
async fn the_command_prints_the_report_and_ends_with_its_status() {
    let wall = || gateway_core::time::Timestamp(jiff::Timestamp::now().as_millisecond());
    let options = Options { verify: standard_webhooks(SECRET), script: accept_all(), wall: Arc::new(wall) };
    let receiver = Receiver::start(options).await.expect("a port");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let other = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzIDAwMg==";
    let settings = format!(
        "webhooks:\n  - {{ id: good, url: '{url}', secret: {SECRET} }}\n  - {{ id: bad, url: '{url}', secret: {other} }}\n",
        url = receiver.url()
    );
    std::fs::write(folder.path().join("gateway.yaml"), settings).expect("a folder of our own");
    let told = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let good = command(folder.path(), &["good", "--config", "gateway.yaml"]).await;
    assert_eq!(good.status.code(), Some(0), "{}{}", told(&good), String::from_utf8_lossy(&good.stderr));
    assert!(told(&good).contains("this endpoint takes events"), "{}", told(&good));

    let bad = command(folder.path(), &["bad", "--config", "gateway.yaml", "--json"]).await;
    assert_eq!(bad.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    assert_eq!((&report["ok"], &report["status"]), (&Value::from(false), &Value::from(401)), "{report}");
    assert_eq!(report["hops"].as_array().and_then(|hops| hops.last()).expect("hops")["hop"], "authentication");
    let bad = command(folder.path(), &["bad", "--config", "gateway.yaml"]).await;
    assert!(told(&bad).contains("FAIL  authentication") && told(&bad).contains("-> "), "{}", told(&bad));
    assert!(!(told(&bad) + &told(&good)).contains("whsec_"), "no secret is printed");

    let unknown = command(folder.path(), &["nobody", "--config", "gateway.yaml"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("good, bad"));
    std::fs::write(folder.path().join("wrong.yaml"), "webhooks: 7\n").expect("a folder of our own");
    assert_eq!(command(folder.path(), &["good", "--config", "wrong.yaml"]).await.status.code(), Some(78));
}
