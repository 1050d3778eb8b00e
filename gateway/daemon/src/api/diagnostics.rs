//! The diagnostic bundle: what would be in it, and the file itself.

use super::auth::Client;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::diagnostics::{self, Bundle, Manifest, Sources};
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use gateway_core::config::Scope;
use schemars::{Schema, SchemaGenerator};
use std::sync::Arc;
use tokio::sync::oneshot;

pub fn routes() -> Vec<Route> {
    let about = ("diagnosticsPreview", "What a diagnostic bundle would hold, and what it leaves out and why");
    let preview = Route::new(Method::POST, "/api/diagnostics/preview", Some(Scope::Operate), about, post(preview))
        .answer::<Manifest>(200, "The manifest");
    let about = ("diagnostics", "A diagnostic bundle for support: no secret, nothing about a person");
    let binary: fn(&mut SchemaGenerator) -> Schema =
        |_| schemars::json_schema!({ "type": "string", "format": "binary" });
    let whole = Route::new(Method::POST, "/api/diagnostics", Some(Scope::Operate), about, post(whole)).answer_as(
        200,
        "A compressed archive (tar.gz) with manifest.json first",
        "application/gzip",
        binary,
    );
    vec![preview, whole]
}

async fn preview(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    Ok(axum_json(&collect(&api).await?.manifest))
}

async fn whole(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let bundle = collect(&api).await?;
    let disposition = format!("attachment; filename=\"{}\"", bundle.manifest.name);
    api.audit(&client.id, "collect", "diagnostics", "ok").await?;
    let (packed, packing) = oneshot::channel();
    // Compressing keeps a small processor busy: not on a thread that serves others.
    let work = move || {
        // Nobody waits any more: nothing is lost.
        let _ = packed.send(bundle.pack());
    };
    api.platform.disk.run(Box::new(work)).await;
    let archive = packing.await.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the bundle cannot be packed just now; ask again")
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store, private".to_owned()),
    ];
    Ok((headers, archive).into_response())
}

async fn collect(api: &Api) -> Result<Bundle, Problem> {
    let Api { config, platform, store, board, .. } = api;
    Ok(diagnostics::collect(&Sources { config, platform, store, board }).await?)
}
