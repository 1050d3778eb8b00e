//! Tests and results, fetched by those who were told of them in a thin event (seed 004).
//!
//! Invariant: every answer here is about a person: it is audited and stays in no cache; an ETag saves sending it twice.

use super::auth::Client;
use super::curves::Told;
use super::extract::Path;
use super::problem::Problem;
use super::table::Route;
use super::{Api, unless_known};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;
use gateway_core::config::Scope;
use gateway_core::curve::Span;
use gateway_core::dialects::run_so_far;
use gateway_core::event::{Device, Event, EventName, Id, Test};
use gateway_core::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

const IF_NONE_MATCH: &str = "The ETag of an earlier answer: 304 if nothing has changed";

pub fn routes() -> Vec<Route> {
    let read = Some(Scope::Read);
    let about = ("test", "One test: a run on an analyzer, as far as it has come");
    let test = Route::new(Method::GET, "/api/tests/{id}", read, about, get(test))
        .header("if-none-match", IF_NONE_MATCH)
        .answer::<TestView>(200, "The test")
        .empty(304, "As it was");
    let about = ("result", "One result by its integer id, or by the id of its TEST_FINISHED event");
    let result = Route::new(Method::GET, "/api/results/{id}", read, about, get(result))
        .header("if-none-match", IF_NONE_MATCH)
        .answer::<ResultView>(200, "The result")
        .empty(304, "As it was");
    vec![test, result]
}

/// The results of one finished test.
#[derive(Serialize, JsonSchema)]
pub struct ResultView {
    /// The integer id: its place in the log.
    id: i64,
    /// The id of its event.
    event: String,
    url: String,
    test_url: String,
    analyzer: String,
    #[schemars(with = "String")]
    received_at: Timestamp,
    #[schemars(schema_with = "device_schema")]
    device: Option<Device>,
    #[schemars(schema_with = "test_schema")]
    test: Test,
    /// The person's data was erased.
    erased: bool,
}

/// A test as far as it has come.
#[derive(Serialize, JsonSchema)]
struct TestView {
    id: String,
    url: String,
    analyzer: String,
    /// The newest state of it.
    #[schemars(schema_with = "test_schema")]
    test: Test,
    #[schemars(schema_with = "device_schema")]
    device: Option<Device>,
    /// The newest event that all this holds.
    seq: i64,
    /// Of an amplification run: every sample so far.
    data: Option<Run>,
    /// The channels that have told samples.
    channels: Vec<u32>,
    /// Which of them is the internal control, where that is known.
    control_channel: Option<u32>,
    /// Stretches of the run in which samples are missing or the link was lost, on the analyzer's clock.
    gaps: Vec<Missing>,
    /// The URLs of its results.
    results: Vec<String>,
    #[schemars(with = "String")]
    updated_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Run {
    #[schemars(with = "Vec<Value>")]
    temperature_samples: Vec<Value>,
    #[schemars(with = "Vec<Value>")]
    samples: Vec<Value>,
}

/// A stretch of a run.
#[derive(Serialize, JsonSchema)]
struct Missing {
    from_seconds: f64,
    to_seconds: f64,
}

fn device_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "null"], "required": ["model", "sn"] })
}

fn test_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["id", "state", "sample_id", "patient_id", "qc", "results"],
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "state": { "type": "string" },
            "sample_id": { "type": ["string", "null"] },
            "patient_id": { "type": ["string", "null"] },
            "qc": { "type": "boolean" },
            "results": { "type": "array", "items": {
                "type": "object",
                "required": ["code", "value", "unit", "flags", "status"],
            } },
        },
    })
}

impl Api {
    /// `None`: the event is not about a test.
    pub fn result_view(&self, event: &Event) -> Option<ResultView> {
        let test = event.kind.test.clone()?;
        Some(ResultView {
            id: event.seq.0,
            event: event.id.to_string(),
            url: self.url(&format!("/api/results/{}", event.seq.0)),
            test_url: self.url(&format!("/api/tests/{}", test.id)),
            analyzer: event.analyzer.0.clone(),
            received_at: event.received_at,
            device: event.kind.device.clone(),
            test,
            erased: event.erased,
        })
    }
}

async fn result(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let unknown = || Problem::unknown("result");
    let event = api.event(&id).await.map_err(|problem| if problem.status() == 404 { unknown() } else { problem })?;
    let is_result = event.kind.name == EventName::TestFinished;
    let view = api.result_view(&event).filter(|_| is_result).ok_or_else(unknown)?;
    api.audit(&client.id, "read", &format!("result/{}", event.seq.0), "ok").await?;
    Ok(unless_known(&headers, &view))
}

async fn test(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let unknown = || Problem::unknown("test");
    let id: Id = id.parse().map_err(|_| unknown())?;
    let Told { history, curve } = api.told_of(id).await?;
    let newest = history.last().ok_or_else(unknown)?;
    let mut test = newest.kind.test.clone().ok_or_else(unknown)?;
    let data = curve.is_some().then(|| {
        let (temperatures, samples) = run_so_far(newest, &history);
        Run {
            temperature_samples: temperatures.into_values().cloned().collect(),
            samples: samples.into_values().cloned().collect(),
        }
    });
    let curve = curve.unwrap_or_default();
    let missing = |span: &Span| Missing { from_seconds: span.from_seconds, to_seconds: span.to_seconds };
    // What is new in one event says nothing beside the whole.
    test.data = None;
    let finished = history.iter().filter(|event| event.kind.name == EventName::TestFinished);
    let view = TestView {
        id: id.to_string(),
        url: api.url(&format!("/api/tests/{id}")),
        analyzer: newest.analyzer.0.clone(),
        device: history.iter().rev().find_map(|event| event.kind.device.clone()),
        seq: newest.seq.0,
        data,
        channels: curve.channels.keys().copied().collect(),
        control_channel: curve.control,
        gaps: curve.gaps.iter().map(missing).collect(),
        results: finished.map(|event| api.url(&format!("/api/results/{}", event.seq.0))).collect(),
        updated_at: newest.received_at,
        test,
    };
    let object = format!("test/{id}");
    api.audit_look(&client, (&object, 0), &object).await?;
    Ok(unless_known(&headers, &view))
}
