//! `/metrics` of a running gateway: who may read it, what it counts, and that promtool's parser takes it.

use super::bench::{Bench, free_port};
use super::cable::{Cable, message, private};
use super::names::{everything, families};
use std::io::Write;
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_counted_and_nobody_is_named() {
    let port = free_port();
    let bench = Bench::start(&format!(
        "analyzers:\n  - {{ id: cells, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n\
         webhooks:\n  - {{ id: lims, url: 'http://127.0.0.1:9/hook', secret: whsec_c2VjcmV0IG9mIHRoZSBtZXRyaWNzIHRlc3Q= }}\n"
    ))
    .await;
    bench.raw("GET", "/metrics", &[], b"").await.problem(401);
    bench.ask("post", "GET", "/metrics", None).await.problem(403);
    let mut cable = Cable::call(&bench.home, port).await;
    cable.tell(&message("METRIC-0001", 3)).await;
    // A whole session in which nothing is a record.
    cable.ask().await;
    cable.frame(1, b"this is no record\r", 0x03).await;
    cable.say(&[0x04]).await;
    let counted = [
        "analyzer_gateway_events_total{analyzer=\"cells\",name=\"TEST_FINISHED\"} 1",
        "analyzer_gateway_events_total{analyzer=\"cells\",name=\"MESSAGE_REJECTED\"} 1",
        "analyzer_gateway_delivery_attempts_total{destination=\"webhook:lims\",outcome=\"connection_refused\"}",
        "analyzer_gateway_commits_total{outcome=\"stored\"}",
        "analyzer_gateway_destination_waiting_events{destination=\"webhook:lims\"}",
        "analyzer_gateway_build_info{version=\"",
        "analyzer_gateway_analyzer_state{analyzer=\"cells\",state=\"",
        "analyzer_gateway_store_wal_bytes ",
    ];
    let deadline = tokio::time::Instant::now() + super::home::DEADLINE;
    let text = loop {
        let answer = bench.get("/metrics").await;
        assert_eq!(answer.status, 200);
        let media_type = answer.header("content-type").unwrap_or_default().to_owned();
        assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"), "{media_type}");
        let missing: Vec<&str> = counted.into_iter().filter(|line| !answer.text().contains(line)).collect();
        if missing.is_empty() {
            break answer.text();
        }
        assert!(tokio::time::Instant::now() < deadline, "in vain: {missing:?}\n{}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    for word in private("METRIC-0001") {
        assert!(!text.contains(&word), "{word}");
    }
    let documented = families(&everything());
    for (name, told) in families(&text) {
        assert_eq!(documented.get(&name), Some(&told), "{name} is not documented so");
    }
    assert!(text.lines().count() < 300, "{text}");
    judged(&text);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_may_let_anybody_read_the_numbers_and_nothing_else() {
    let home = super::home::Home::new();
    let port = free_port();
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:9' }}\nhttp: {{ listen: '127.0.0.1:{port}', metrics: open }}\n"
    ));
    let gateway = home.start_ready().await;
    home.says(&["the API listens"]).await;
    let bench = Bench { home, gateway, port };
    assert_eq!(bench.raw("GET", "/metrics", &[], b"").await.status, 200);
    bench.raw("POST", "/metrics", &[], b"").await.problem(405);
    bench.raw("GET", "/api/status", &[], b"").await.problem(401);
    bench.gateway.stop().await;
}

/// Prometheus's own parser. It reads the older format, which has no `# EOF`, no type `info` and no type `unknown`.
fn judged(text: &str) {
    let older = text.replace("# EOF\n", "").replace(" info\n", " gauge\n").replace(" unknown\n", " untyped\n");
    let checking =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut checking) = checking else {
        eprintln!("SKIPPED: promtool is not installed (tests/run does it); nobody else reads the metrics");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "promtool is needed in CI");
        return;
    };
    checking.stdin.take().expect("a pipe").write_all(older.as_bytes()).expect("it reads");
    let told = checking.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    // It also advises on names (status 3); what it cannot read is told with the line.
    assert!(!said.contains("text format parsing error"), "{said}");
}
