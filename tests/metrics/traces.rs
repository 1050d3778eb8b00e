//! Traces: a collector in this process is given the commit of each event and the attempts to deliver it; one that is away holds
//! up nothing.

use super::bench::free_port;
use super::cable::{Cable, message, private};
use super::home::Home;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use gateway_daemon::platform::serve::HyperServer;
use gateway_daemon::platform::{HttpServer, Serving};
use gateway_daemon::pulse::stop_channel;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

type Taken = Arc<Mutex<Vec<(String, String)>>>;

/// Takes what is posted, with the token that came with it.
fn collector(port: u16, taken: Taken) -> JoinSet<()> {
    async fn take(State(taken): State<Taken>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(&body).into_owned();
        taken.lock().unwrap_or_else(PoisonError::into_inner).push((token, body));
        StatusCode::OK
    }
    let router: Router = Router::new().route("/v1/traces", post(take)).with_state(taken);
    let mut serving = JoinSet::new();
    let at = Serving::Tcp(format!("127.0.0.1:{port}"));
    serving.spawn(async move {
        // It serves as long as this is held.
        let (_stopper, stop) = stop_channel();
        HyperServer.serve(&at, router, stop).await.expect("it serves");
    });
    serving
}

fn spans(taken: &Taken) -> Vec<Value> {
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let requests = taken.iter().map(|(_, body)| serde_json::from_str::<Value>(body).expect("JSON"));
    requests
        .flat_map(|request| request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().expect("spans"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_comes_late_is_told_what_happened_before() {
    let home = Home::new();
    let (port, line) = (free_port(), free_port());
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:9' }}\nhttp: {{ listen: off }}\n\
         telemetry: {{ otlp_url: 'http://127.0.0.1:{port}/v1/traces', otlp_token: collector-token }}\n\
         analyzers:\n  - {{ id: cells, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{line}' }} }} }}\n\
         webhooks:\n  - {{ id: lims, url: 'http://127.0.0.1:9/hook', secret: whsec_c2VjcmV0IG9mIHRoZSBtZXRyaWNzIHRlc3Q= }}\n"
    ));
    let gateway = home.start_ready().await;
    let mut cable = Cable::call(&home, line).await;
    cable.tell(&message("TRACE-0001", 2)).await;
    home.says(&["traces cannot be handed over"]).await;
    let taken = Taken::default();
    let _serving = collector(port, taken.clone());
    let attribute = |span: &Value, key: &str| {
        let all = span["attributes"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|one| one["key"] == key);
        found.and_then(|one| one["value"]["stringValue"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    let finished = |span: &&Value| span["name"] == "commit" && attribute(span, "event.name") == "TEST_FINISHED";
    let told = home
        .eventually("the commit and an attempt", || {
            let spans = spans(&taken);
            let commit = spans.iter().find(finished)?.clone();
            let attempt =
                spans.iter().find(|span| span["name"] == "deliver" && span["traceId"] == commit["traceId"])?;
            Some((commit, attempt.clone()))
        })
        .await;
    let (commit, attempt) = told;
    assert_eq!(attempt["parentSpanId"], commit["spanId"]);
    assert_eq!(attribute(&attempt, "outcome"), "connection_refused");
    assert_eq!(attribute(&attempt, "destination"), "webhook:lims");
    assert_eq!(attribute(&commit, "event.id").replace('-', ""), commit["traceId"].as_str().expect("an id"));
    let nanoseconds = |span: &Value, key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok());
    let (began, ended) = (nanoseconds(&commit, "startTimeUnixNano"), nanoseconds(&commit, "endTimeUnixNano"));
    assert!(began.is_some() && began <= ended, "{commit}");
    let all = taken.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (token, body) in all {
        assert_eq!(token, "Bearer collector-token");
        for word in private("TRACE-0001") {
            assert!(!body.contains(&word), "{word}");
        }
    }
    home.assert_discreet(["collector-token"]);
    gateway.stop().await;
}
