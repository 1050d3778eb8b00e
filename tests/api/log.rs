//! The log over HTTP: reading it, waiting for it, and adding events of other programs.

use super::bench::{Answer, Bench};
use serde_json::{Value, json};

fn sample_updated() -> Value {
    json!({"dialect": "partner", "event": "sampleUpdated", "payload": {
        "dashboardUrl": "https://clinic.example/results/7", "userUrl": "https://clinic.example/r/7",
        "appointmentId": 1, "locationId": 2, "sampleId": 3, "resultId": 4, "patientId": 5}})
}

fn loaded(session: &str) -> Value {
    json!({"dialect": "session", "event": "WMS_LOADED", "session_id": session})
}

#[tokio::test]
async fn what_was_posted_is_read_again() {
    let bench = Bench::start("").await;
    let taken = bench.post("post", "/api/events", sample_updated()).await.expect(202);
    let id = taken["id"].as_str().expect("an id");
    assert_eq!(taken.get("sequence"), None);
    let event = bench.get(&format!("/api/events/{id}")).await.expect(200);
    assert_eq!(event["data"]["event"], "sampleUpdated");
    assert_eq!(event["data"]["posted"]["payload"]["sampleId"], 3);
    assert_eq!(bench.get(&format!("/api/events/{}", event["seq"])).await.expect(200), event);
    let page = bench.get("/api/events").await.expect(200);
    assert_eq!((&page["events"][0], &page["next"]), (&event, &event["seq"]));
    let page = bench.get(&format!("/api/events?after={}", event["seq"])).await.expect(200);
    assert_eq!((&page["events"], &page["next"]), (&json!([]), &event["seq"]));
    bench.get("/api/events/4711").await.problem(404);
    bench.get("/api/events/no-id").await.problem(404);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_session_is_numbered_here_from_nought() {
    let bench = Bench::start("").await;
    let sequence = |answer: Answer| answer.expect(202)["sequence"].clone();
    assert_eq!(sequence(bench.post("post", "/api/events", loaded("one")).await), 0);
    assert_eq!(sequence(bench.post("post", "/api/events", loaded("one")).await), 1);
    assert_eq!(sequence(bench.post("post", "/api/events", loaded("two")).await), 0);
    let mut bare = loaded("one");
    bare["session_id"] = Value::Null;
    assert_eq!(bench.post("post", "/api/events", bare).await.problem(422).1, ["/session_id"]);
    let mut strange = sample_updated();
    strange["session_id"] = json!("one");
    assert_eq!(bench.post("post", "/api/events", strange).await.problem(422).1, ["/session_id"]);
    assert_eq!(bench.post("post", "/api/events", loaded("")).await.problem(422).1, ["/session_id"]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn what_the_catalogue_refuses_is_told_by_its_places_and_not_stored() {
    let bench = Bench::start("").await;
    let mut wrong = sample_updated();
    wrong["payload"]["sampleId"] = json!("Erika Muster");
    wrong["payload"]["extra"] = json!(1);
    let (detail, mut faults) = bench.post("post", "/api/events", wrong).await.problem(422);
    faults.sort();
    assert_eq!(faults, ["/payload/extra", "/payload/sampleId"]);
    assert!(!detail.contains("Muster"));
    assert_eq!(
        bench.post("post", "/api/events", json!({"dialect": "x", "event": "y"})).await.problem(422).1,
        ["/dialect"]
    );
    assert_eq!(
        bench.post("post", "/api/events", json!({"dialect": "lab", "event": "y"})).await.problem(422).1,
        ["/event"]
    );
    assert_eq!(bench.events().await, Vec::<Value>::new());
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_request_with_the_same_key_is_the_same_request() {
    let bench = Bench::start("").await;
    let post = async |key: &str, token: &str, body: &Value| {
        let token = format!("Bearer {token}");
        let headers =
            [("authorization", token.as_str()), ("content-type", "application/json"), ("idempotency-key", key)];
        bench.raw("POST", "/api/events", &headers, body.to_string().as_bytes()).await
    };
    let first = post("k1", "post", &loaded("s")).await.expect(202);
    assert_eq!(post("k1", "post", &loaded("s")).await.expect(202), first, "the same id and the same number");
    post("k1", "post", &loaded("other")).await.problem(422);
    assert_ne!(post("k1", "operate", &loaded("s")).await.expect(202)["id"], first["id"], "another client's key");
    assert_ne!(post("k2", "post", &loaded("s")).await.expect(202)["id"], first["id"]);
    post("", "post", &loaded("s")).await.problem(400);
    assert_eq!(bench.events().await.len(), 3);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_event() {
    let bench = Bench::start("").await;
    let (page, _) = tokio::join!(bench.get("/api/events?wait=30"), bench.post("post", "/api/events", sample_updated()));
    assert_eq!(page.expect(200)["events"].as_array().map(Vec::len), Some(1));
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_line_an_event_for_those_who_ask() {
    let bench = Bench::start("").await;
    for session in ["a", "b", "c"] {
        bench.post("post", "/api/events", loaded(session)).await.expect(202);
    }
    let headers = [("authorization", "Bearer read"), ("accept", "application/x-ndjson")];
    let answer = bench.raw("GET", "/api/events?after=1", &headers, b"").await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| line["seq"].clone()).collect::<Vec<_>>(), [2, 3]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn each_read_is_in_the_books() {
    let bench = Bench::start("").await;
    bench.post("post", "/api/events", loaded("secret-session")).await.expect(202);
    bench.get("/api/events").await.expect(200);
    bench.get("/api/events/1").await.expect(200);
    let audit = bench.ask("administer", "GET", "/api/audit", None).await;
    assert!(!audit.text().contains("secret-session"));
    let audit = audit.expect(200);
    let told: Vec<(String, String)> = audit["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| (line["client"].to_string(), line["action"].to_string()))
        .collect();
    let wanted = [("post", "post"), ("read", "read"), ("read", "read")];
    let quoted = |text: &str| format!("\"{text}\"");
    assert_eq!(told, wanted.map(|(client, action)| (quoted(client), quoted(action))));
    bench.home.assert_discreet(["secret-session"]);
    bench.gateway.stop().await;
}
