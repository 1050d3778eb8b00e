//! Updates of the box's system: how far one is, and asking for one.
//!
//! Invariant: nothing is updated here. What is asked for is handed to the privileged half, which looks at it again.

use super::auth::Client;
use super::extract::Json;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::updates::{self, Unasked};
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use gateway_core::appliance::update::{Action, Asked, BY_ITSELF, Source};
use gateway_core::appliance::{Image, Update};
use gateway_core::config::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// As far back as it is looked for who asked for an update.
const AUDIT_ENTRIES_LOOKED_AT: usize = 200;

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
    /// An address (https:// or http://), a whole path that ends in .raucb, or `usb`. Default: `update.url` of the settings, else `usb`.
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

/// Who was the last to ask for one that was handed on; `None`: nobody of late.
async fn asked_by(api: &Api) -> Result<Option<String>, Problem> {
    let newest = api.store.newest_audit_entries(i64::MAX, AUDIT_ENTRIES_LOOKED_AT).await?;
    let asked =
        newest.into_iter().map(|(_, entry)| entry).filter(|entry| entry.action == "update" && entry.outcome == "ok");
    Ok(asked.max_by_key(|entry| entry.at).map(|entry| entry.client))
}

async fn handed(api: &Api, client: &Client, wanted: Wanted) -> Result<Response, Problem> {
    let now = updating(api).await;
    if now.image.is_none() {
        let detail = "this is no appliance: the gateway is a package of an ordinary system here, which its own package manager \
                      updates (apt)";
        return Err(Problem::conflict(detail).coded("no_appliance"));
    }
    if let Some(update) = now.update.as_ref().filter(|update| update.phase.is_going_on()) {
        let phase =
            serde_json::to_value(update.phase).ok().and_then(|word| word.as_str().map(|word| word.replace('_', " ")));
        let to = update.to.as_ref().map(|version| format!(" to {version}")).unwrap_or_default();
        let by = asked_by(api).await?.map(|by| if by == BY_ITSELF { by } else { format!("asked for by {by}") });
        let by = by.map(|by| format!(", {by}")).unwrap_or_default();
        let detail = format!(
            "an update{to} is going on ({}{by}): wait for its end (`analyzer-gateway update status`)",
            phase.unwrap_or_default()
        );
        return Err(Problem::conflict(detail).coded("update_going_on"));
    }
    let source = match wanted.action {
        Action::Rollback => None,
        _ => Some(wanted.source.or_else(|| api.config.update.url.clone()).unwrap_or_else(|| "usb".to_owned())),
    };
    if let Some(Err(problem)) = source.as_deref().map(Source::read) {
        return Err(Problem::told("/source", &problem));
    }
    let proxy = api.config.proxy().map(|proxy| proxy.expose().to_owned());
    let asked = Asked { action: wanted.action, source, older: wanted.older, proxy, by: client.id.clone() };
    let handed = updates::ask(&api.platform, &asked).await;
    handed.map_err(|unasked| match unasked {
        Unasked::Waits(_) => Problem::conflict(unasked.sentence()).coded("update_going_on"),
        Unasked::Failed(told) => Problem::come_again(StatusCode::SERVICE_UNAVAILABLE, told, 5),
    })?;
    Ok(with_json(StatusCode::ACCEPTED, &now))
}
