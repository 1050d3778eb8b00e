//! `/metrics`, for Prometheus.

use super::Api;
use super::table::Route;
use crate::metrics;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gateway_core::config::{MetricsDoor, Scope};
use schemars::SchemaGenerator;
use std::sync::Arc;

/// OpenMetrics 1.0, which Prometheus asks for first.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub fn routes() -> Vec<Route> {
    let about = ("metrics", "Counters and gauges for Prometheus (OpenMetrics). No patient data");
    let all = Route::new(Method::GET, "/metrics", Some(Scope::Read), about, get(show))
        .open_if(|config| config.http.metrics == MetricsDoor::Open)
        .answer_as(200, "As of now", MEDIA_TYPE, SchemaGenerator::subschema_for::<String>);
    vec![all]
}

async fn show(State(api): State<Arc<Api>>) -> Response {
    let overview = api.board.overview(api.platform.clock.now());
    let text = metrics::text(&overview, &api.board.tally, api.store.wal_bytes());
    ([(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}
