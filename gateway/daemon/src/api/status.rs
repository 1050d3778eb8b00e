//! The gateway at a glance.

use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use gateway_core::config::Scope;
use gateway_core::overview::Overview;
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let about = ("status", "Everything at a glance: analyzers, destinations, troubles, clock, disk. No patient data");
    let status = Route::new(Method::GET, "/api/status", Some(Scope::Read), about, get(status))
        .answer::<Overview>(200, "As it is now");
    vec![status]
}

async fn status(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    Ok(axum_json(&api.board.overview(api.platform.clock.now())))
}
