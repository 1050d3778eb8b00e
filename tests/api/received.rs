//! Messages as they were received, and reading them again: who may, and what is refused. What they do with messages is
//! told in `store_model` and `process`.

use super::bench::Bench;
use serde_json::{Value, json};

#[tokio::test]
async fn received_bytes_are_for_those_who_operate() {
    let bench = Bench::start("").await;
    let none = bench.get("/api/captures").await.expect(200);
    assert_eq!(none, json!({ "captures": [], "next": 0 }));
    bench.get("/api/captures?limit=0").await.problem(400);
    bench.get("/api/captures?since=yesterday").await.problem(400);
    bench.get("/api/captures/1").await.problem(403);
    for unknown in ["1", "0", "-1", "none"] {
        bench.ask("operate", "GET", &format!("/api/captures/{unknown}"), None).await.problem(404);
    }
    bench.ask("operate", "GET", "/api/captures/1?scrub_key=short", None).await.problem(400);
    bench.post("read", "/api/redecode", json!({})).await.problem(403);
    let (_, faults) = bench.post("operate", "/api/redecode", json!({ "since": "yesterday" })).await.problem(422);
    assert_eq!(faults, ["/since"]);
    bench.post("operate", "/api/redecode", json!({ "colour": 1 })).await.problem(422);
    let done = bench.post("operate", "/api/redecode", json!({ "analyzer": "none", "dry_run": true })).await.expect(200);
    assert_eq!((&done["messages"], &done["changes"], &done["next"]), (&json!(0), &json!([]), &Value::Null));
    bench.gateway.stop().await;
}
