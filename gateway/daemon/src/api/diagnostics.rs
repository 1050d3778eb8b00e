//! The diagnostic bundle: what would be in it, and the file itself.

use super::auth::Client;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::diagnostics::{self, Bundle, Manifest, Sources};
use crate::platform::disk::aside;
use crate::platform::drive;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use gateway_core::config::Scope;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

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
    let about =
        ("keepDiagnostics", "The same, kept on the box in place of an older one, for those who cannot take a file now");
    let kept = Route::new(Method::POST, "/api/diagnostics/kept", Some(Scope::Operate), about, post(keep))
        .answer::<Kept>(201, "Where it is")
        .problems(&[507]);
    vec![preview, whole, kept]
}

/// A bundle on the box.
#[derive(Serialize, JsonSchema)]
struct Kept {
    /// Its whole path.
    file: String,
    bytes: usize,
}

async fn preview(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    Ok(axum_json(&collect(&api).await?.manifest))
}

async fn whole(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let bundle = collect(&api).await?;
    let disposition = format!("attachment; filename=\"{}\"", bundle.manifest.name);
    noted(&api, &client, "ok").await;
    let archive = packed(&api, move || bundle.pack()).await?.map_err(|_| cannot())?;
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store, private".to_owned()),
    ];
    Ok((headers, archive).into_response())
}

async fn keep(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let bundle = collect(&api).await?;
    noted(&api, &client, "kept on the box").await;
    let folder = api.config.gateway.state_dir.join("diagnostics");
    let name = bundle.manifest.name.clone();
    let work = move || {
        let archive = bundle.pack().map_err(|error| error.to_string())?;
        Ok((drive::keep_only(&folder, &name, &archive)?, archive.len()))
    };
    let written: Result<(PathBuf, usize), String> = packed(&api, work).await?;
    let (file, bytes) = written.map_err(|told| Problem::new(StatusCode::INSUFFICIENT_STORAGE, told))?;
    Ok(with_json(StatusCode::CREATED, &Kept { file: file.display().to_string(), bytes }))
}

/// A bundle holds nobody's data, and it is needed most when the store takes nothing more: then the log has it.
async fn noted(api: &Arc<Api>, client: &Client, outcome: &'static str) {
    if let Err(problem) = api.audit(&client.id, "collect", "diagnostics", outcome).await {
        tracing::warn!(
            status = problem.status().as_u16(),
            "a diagnostic bundle was made; the audit log does not take it"
        );
    }
}

/// Compressing and writing keep a small processor busy: not on a thread that serves others.
async fn packed<T: Send + 'static>(api: &Api, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    aside(&*api.platform.disk, work).await.ok_or_else(cannot)
}

fn cannot() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the bundle cannot be made just now; ask again")
}

async fn collect(api: &Api) -> Result<Bundle, Problem> {
    let Api { config, platform, store, board, .. } = api;
    Ok(diagnostics::collect(&Sources { config, platform, store, board }).await?)
}
