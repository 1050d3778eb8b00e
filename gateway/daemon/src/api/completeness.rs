//! Proof that an endpoint has everything: manifests, and sending again exactly what it lacks.

use super::auth::Client;
use super::deliveries::{Going, NAMED_MAX, Redriven, read_ids, redriven};
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::store::{DestinationId, Missing};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::{get, post};
use gateway_core::config::Scope;
use gateway_core::dialects::dialect;
use gateway_core::event::Event;
use gateway_core::manifest::Manifest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let (read, operate) = (Some(Scope::Read), Some(Scope::Operate));
    let about = ("manifests", "What an endpoint was sent, a row a day, chained and signed");
    let manifests = Route::new(Method::GET, "/api/manifests/{webhook}", read, about, get(manifests))
        .query::<Since>()
        .answer::<Manifests>(200, "Oldest first; today's is not closed");
    let about = ("reconcile", "Send again exactly what a receiver lacks, each event once");
    let reconcile = Route::new(Method::POST, "/api/webhooks/{id}/reconcile", operate, about, post(reconcile))
        .body::<Reconcile>()
        .answer::<Redriven>(200, "What goes, or would go with `dry_run`");
    vec![manifests, reconcile]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Since {
    /// The first day, in UTC: `2026-11-21`.
    since: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Manifests {
    manifests: Vec<Signed>,
}

/// A manifest with its signature: over the manifest's JSON as it stands here, without blanks.
#[derive(Serialize, JsonSchema)]
struct Signed {
    manifest: Manifest,
    /// Headers as they would stand beside it: Standard Webhooks' where the endpoint's secret is `whsec_...`, else
    /// `x-gateway-signature: hmac-sha256=...`; empty where the endpoint has no secret.
    signature: BTreeMap<String, String>,
}

async fn manifests(
    State(api): State<Arc<Api>>,
    Path(webhook): Path<String>,
    Query(query): Query<Since>,
) -> Result<Response, Problem> {
    let webhook = api.webhook(&webhook)?;
    if query.since.as_ref().is_some_and(|day| day.len() != 10 || day.parse::<jiff::civil::Date>().is_err()) {
        return Err(Problem::bad_request("since must be a day such as 2026-11-21"));
    }
    let (now, destination) = (api.platform.clock.now(), DestinationId::webhook(&webhook.id));
    if let Some(dialect) = dialect(&webhook.dialect) {
        let endpoint = webhook.endpoint.clone();
        let has_form = move |event: &Event| dialect.has_form(event, &endpoint);
        api.store.count_manifests(&destination, now, has_form).await?;
    }
    let manifests = api.store.manifests(&destination, query.since.as_deref()).await?;
    let secrets = webhook.secrets_at(now);
    let signed = manifests.into_iter().map(|manifest| Signed {
        signature: manifest.sign(&secrets, now.wall.as_seconds()).into_iter().collect(),
        manifest,
    });
    Ok(axum_json(&Manifests { manifests: signed.collect() }))
}

/// What a receiver lacks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reconcile {
    /// Ranges of ordinals (`x-gateway-ordinal`), both ends included.
    #[serde(default)]
    #[schemars(length(max = 10000))]
    missing: Vec<(u64, u64)>,
    /// Ids of events (`x-gateway-event-id`).
    #[serde(default)]
    #[schemars(length(max = 10000))]
    ids: Vec<String>,
    /// Say what would go, and send nothing.
    #[serde(default)]
    dry_run: bool,
}

async fn reconcile(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(id): Path<String>,
    Json(asked): Json<Reconcile>,
) -> Result<Response, Problem> {
    let webhook = api.webhook(&id)?;
    if asked.missing.len() > NAMED_MAX {
        return Err(Problem::fault("/missing", format!("at most {NAMED_MAX} ranges at once")));
    }
    if let Some(index) = asked.missing.iter().position(|(from, to)| from > to) {
        return Err(Problem::fault(&format!("/missing/{index}"), "the first ordinal is behind the last"));
    }
    let destination = DestinationId::webhook(&webhook.id);
    let missing = Missing { ordinals: asked.missing, ids: read_ids(&asked.ids)? };
    let events = api.store.resend(&destination, &missing, asked.dry_run).await?;
    if !asked.dry_run {
        let object = format!("{}: {} events", destination.0, events.len());
        api.audit(&client.id, "reconcile", &object, "ok").await?;
    }
    Ok(axum_json(&redriven(asked.dry_run, vec![Going::new(&destination, events)])))
}
