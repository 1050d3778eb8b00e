//! Updates of the box's system: how far one is, and asking for one.
//!
//! Invariant: nothing is updated here. What is asked for is handed to the privileged half, which looks at it again.

use super::auth::Client;
use super::extract::Json;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::updates;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use gateway_core::appliance::update::{Action, Asked, Source};
use gateway_core::appliance::{Image, Update};
use gateway_core::config::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let about = ("update", "How far an update of the box's system is, or how the last one ended");
    let look = Route::new(Method::GET, "/api/update", Some(Scope::Read), about, get(look))
        .answer::<Updating>(200, "As it is now");
    let about = ("startUpdate", "Look for an update, install one, or go back to the system that ran before");
    let ask = Route::new(Method::POST, "/api/update", Some(Scope::Administer), about, axum::routing::post(ask))
        .body::<Wanted>()
        .answer::<Updating>(202, "It was handed on; `GET /api/update` says how it goes")
        .problems(&[409, 422]);
    vec![look, ask]
}

/// Updates of this box.
#[derive(Serialize, JsonSchema)]
struct Updating {
    /// The system that runs; null: this is no appliance, and its system is not updated by the gateway.
    image: Option<Image>,
    /// Null: there was none.
    update: Option<Update>,
    /// Where the settings say that newer bundles are.
    url: Option<String>,
}

/// What is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    action: Action,
    /// An address (https://), a whole path that ends in .raucb, or `usb`. Default: `update.url` of the settings, else `usb`.
    #[serde(default)]
    source: Option<String>,
    /// Whether a version older than the one that runs is wanted.
    #[serde(default)]
    older: bool,
}

async fn look(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    Ok(axum_json(&updating(&api).await))
}

async fn updating(api: &Api) -> Updating {
    let appliance = api.platform.machine.appliance().await;
    // An address may hold a password behind its host.
    let url = api.config.update.url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let url = url.and_then(|url| Some(format!("{}://{}", url.scheme(), url.host_str()?)));
    Updating { image: appliance.image, update: appliance.update, url }
}

async fn ask(State(api): State<Arc<Api>>, client: Client, Json(wanted): Json<Wanted>) -> Result<Response, Problem> {
    let answer = handed(&api, &client, wanted).await;
    let outcome = answer.as_ref().map_or_else(Problem::outcome, |_| "ok".to_owned());
    api.audit(&client.id, "update", "system", &outcome).await?;
    answer
}

async fn handed(api: &Api, client: &Client, wanted: Wanted) -> Result<Response, Problem> {
    let now = updating(api).await;
    if now.image.is_none() {
        let detail = "this is no appliance: the gateway is a package of an ordinary system here, which its own package manager \
                      updates (apt)";
        return Err(Problem::conflict(detail).coded("no_appliance"));
    }
    if now.update.as_ref().is_some_and(|update| update.phase.is_going_on()) {
        let detail = "an update is going on: wait for its end (`analyzer-gateway update status`)";
        return Err(Problem::conflict(detail).coded("update_going_on"));
    }
    let source = match wanted.action {
        Action::Rollback => None,
        _ => Some(wanted.source.or_else(|| api.config.update.url.clone()).unwrap_or_else(|| "usb".to_owned())),
    };
    if let Some(Err(problem)) = source.as_deref().map(Source::read) {
        return Err(Problem::fault("/source", problem));
    }
    let proxy = api.config.proxy().map(|proxy| proxy.expose().to_owned());
    let asked = Asked { action: wanted.action, source, older: wanted.older, proxy, by: client.id.clone() };
    let handed = updates::ask(&api.platform, &asked).await;
    handed.map_err(|told| Problem::come_again(StatusCode::SERVICE_UNAVAILABLE, told, 5))?;
    Ok(with_json(StatusCode::ACCEPTED, &now))
}
