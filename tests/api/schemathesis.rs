//! Schemathesis judges the API by its own OpenAPI document: no 5xx, no undocumented status, media type or shape.

use super::bench::Bench;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What it may take as a whole; it has a bound of its own far below.
const DEADLINE: Duration = Duration::from_secs(240);
/// What every answer is held to.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method";

/// The judge that `tests/run` installs. Where there is none, what it judges is skipped aloud; under CI that is a failure.
fn judge() -> Option<PathBuf> {
    let judges = std::env::var_os("ANALYZER_JUDGES").map(PathBuf::from);
    let judge = judges.map(|judges| judges.join("python/bin/schemathesis")).filter(|judge| judge.is_file());
    if judge.is_none() {
        eprintln!("SKIPPED: Schemathesis is not installed; the API is not judged by its document");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "Schemathesis is needed in CI");
    }
    judge
}

#[tokio::test]
async fn schemathesis_finds_no_undocumented_answer() {
    let Some(judge) = judge() else { return };
    let bench = Bench::start(
        "webhooks:\n  - { id: lims, url: 'http://127.0.0.1:9/', dialect: cloudevents, posted: true }\n\
         sources:\n  - { id: pcr, dialect: test-v0, origins: ['https://pcr.example'] }\n",
    )
    .await;
    // Something to find.
    bench.post("post", "/api/registrations", json!({"id": "1234-5678", "sample_ids": ["T-1"]})).await.expect(201);
    let event = json!({"dialect": "session", "event": "WMS_LOADED", "session_id": "s"});
    bench.post("post", "/api/events", event).await.expect(202);
    let document = bench.raw("GET", "/api/openapi.json", &[], b"").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let mut command = Command::new(judge);
    command
        .args(["run", &format!("http://127.0.0.1:{}/api/openapi.json", bench.port)])
        // The address of the document's `servers` is the clinic's, not this machine's.
        .args(["--url", &format!("http://127.0.0.1:{}", bench.port)])
        .args(["--header", "Authorization: Bearer administer"])
        // It has no end; `onlookers` judges it.
        .args(["--exclude-path", "/api/stream"])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--mode", "all"])
        .args([
            "--max-examples",
            "25",
            "--seed",
            "1",
            "--request-timeout",
            "40",
            "--max-failures",
            "20",
            "--max-time",
            "75",
        ])
        .args(["--no-color", "--generation-database", "none"])
        .current_dir(bench.home.path(""))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let judged = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").expect("it starts");
    let told = String::from_utf8_lossy(&judged.stdout).into_owned() + &String::from_utf8_lossy(&judged.stderr);
    let start = told.char_indices().rev().nth(12_000).map_or(0, |(index, _)| index);
    assert!(judged.status.success(), "{}", &told[start..]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn the_document_names_every_route_and_its_problems() {
    let bench = Bench::start("").await;
    let document = bench.raw("GET", "/api/openapi.json", &[], b"").await.expect(200);
    assert_eq!(document["servers"][0]["url"], "https://gateway.clinic.example");
    let paths = document["paths"].as_object().expect("paths");
    for path in ["/api/test_registration/{id}/", "/api/test_registration/{id}/lab_results/", "/in/{source}"] {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut ids: Vec<&str> = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            ids.push(operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name")));
            assert!(operation["summary"].is_string(), "{method} {path}");
            let answers = operation["responses"].as_object().expect("answers");
            // Anybody may ask whether somebody has signed in.
            let is_open = path.starts_with("/in/") || (path == "/api/session" && method == "get");
            assert_eq!(answers.contains_key("401"), !is_open || method == "post", "{method} {path}");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path}");
            let bodies = ["post", "patch"].contains(&method.as_str()) && operation["requestBody"] != Value::Null;
            assert!(!bodies || answers.contains_key("413"), "{method} {path}");
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "a name twice");
    bench.gateway.stop().await;
}
