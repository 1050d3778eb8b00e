//! Receivers in Python: the libraries that verify signatures, FHIR's and HL7's own readers, the public model of test-v0.

use crate::judge;
use gateway_core::dialects::{Attempt, DIALECTS, HttpRequest, Request, dialect};
use gateway_core::event::{Id, Personal, Test};
use gateway_tests::cases::{Case, NOW, cases, header};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Lets a script of `judges/python` look at these cases, and fails with what it says. Each case has a `name`.
fn judged_by(script: &str, cases: &[Value]) {
    assert!(!cases.is_empty());
    let Some(python) = judge("python/bin/python") else { return };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/python");
    let mut process = Command::new(python)
        .arg("-B")
        .arg(scripts.join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let mut input = process.stdin.take().expect("it is piped");
    let sending = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = process.wait_with_output().expect("it ends");
    sending.join().expect("sent").expect("it reads everything");
    let said = String::from_utf8_lossy(&output.stdout);
    let good = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(output.status.success() && good == cases.len(), "{script}: {good} of {} are good\n{said}", cases.len());
}

fn all(name: &str) -> Vec<Case> {
    cases(dialect(name).expect("a dialect"))
}

fn named(case: &Case) -> String {
    format!("{}/{}", case.dialect.name(), case.folder.file_name().unwrap_or_default().to_string_lossy())
}

fn body(request: &HttpRequest) -> String {
    String::from_utf8(request.body.clone()).expect("text")
}

/// What a dialect sends to try out an endpoint with the settings of a case.
fn probe(case: &Case) -> Request {
    let attempt = Attempt { number: 1, ordinal: 0, ..case.attempt() };
    case.dialect.probe(Id([7; 16]), &attempt).unwrap_or_else(|error| panic!("{}: {error}", named(case)))
}

#[test]
fn two_libraries_verify_every_signature() {
    let signed = |case: &Case| {
        let request = case.http()?;
        header(&request, "webhook-signature")?;
        let headers: serde_json::Map<String, Value> =
            request.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let secrets: Vec<&str> =
            case.secrets.iter().map(|secret| secret.expose()).filter(|secret| secret.starts_with("whsec_")).collect();
        let at = NOW.wall.as_seconds();
        Some(json!({"name": named(case), "headers": headers, "body": body(&request), "secrets": secrets, "at": at}))
    };
    let cases: Vec<Value> =
        DIALECTS.iter().flat_map(|dialect| cases(*dialect)).filter_map(|case| signed(&case)).collect();
    judged_by("signatures.py", &cases);
}

#[test]
fn every_bundle_is_fhir() {
    let mut judged = Vec::new();
    for case in all("fhir") {
        let Some(request) = case.http() else { continue };
        let test = case.event().kind.test.as_ref().expect("a test");
        let visible = case.endpoint.visible(case.event());
        let sample = visible.kind.test.as_ref().and_then(|test| test.sample_id.as_ref());
        let mut counts = json!({"Device": 1, "DiagnosticReport": 1, "Specimen": usize::from(sample.is_some())});
        if test.result.is_none() {
            counts["Observation"] = test.results.len().into();
        }
        judged.push(json!({"name": named(&case), "body": body(&request), "type": "transaction", "counts": counts}));
        let Request::Http(request) = probe(&case) else { panic!("a POST") };
        let name = format!("the probe beside {}", named(&case));
        judged.push(json!({"name": name, "body": body(&request), "type": "batch", "counts": {}}));
    }
    judged_by("bundles.py", &judged);
}

#[test]
fn every_message_is_hl7() {
    let message = |request: Request| match request {
        Request::Http(request) => body(&request),
        Request::Mllp(message) => String::from_utf8(message).expect("text"),
    };
    let mut judged = Vec::new();
    for case in all("hl7") {
        let Ok(Some(request)) = case.rendered() else { continue };
        let visible = case.endpoint.visible(case.event());
        let test = visible.kind.test.as_ref().expect("a test");
        let sample = test.sample_id.as_ref().map(Personal::expose);
        judged.push(json!({
            "name": named(&case), "message": message(request), "processing": "P", "results": results(test), "sample": sample,
        }));
        let name = format!("the probe beside {}", named(&case));
        judged.push(json!({
            "name": name, "message": message(probe(&case)), "processing": "T", "results": [], "sample": null,
        }));
    }
    judged_by("messages.py", &judged);
}

/// Value, unit and reference of each result; of an amplification run what it has detected.
fn results(test: &Test) -> Vec<[String; 3]> {
    let Some(result) = &test.result else {
        let own = |text: &str| text.to_owned();
        return test.results.iter().map(|one| [own(one.value.expose()), own(&one.unit), own(&one.reference)]).collect();
    };
    let groups = result["subGroupResults"].as_array().into_iter().flatten().map(|group| &group["result"]);
    let found = std::iter::once(&result["detectionResult"]).chain(groups);
    found.map(|found| [found.as_str().unwrap_or_default().to_owned(), String::new(), String::new()]).collect()
}

#[test]
fn the_public_model_and_a_strict_receiver_take_every_test_v0_body() {
    let judged = |case: &Case| {
        let body = body(&case.http()?);
        Some(json!({"name": named(case), "event": case.event().kind.word(), "body": body}))
    };
    let judged: Vec<Value> = all("test-v0").iter().filter_map(judged).collect();
    judged_by("bodies.py", &judged);
}
