//! The settings as they are in force, without their secrets, and the verdict on the file on the card.
//!
//! Invariant: no secret is shown to anybody (`gateway_core::config::masked`), and no setting to those who may not administer.

use super::auth::Client;
use super::problem::{MistakeView, Problem};
use super::table::Route;
use super::{Api, axum_json};
use crate::configuration::{self, Source};
use crate::platform::disk::aside;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use gateway_core::config::Scope;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let about = ("config", "The settings in force without their secrets (administer), and the verdict on their file");
    let config = Route::new(Method::GET, "/api/config", Some(Scope::Read), about, get(config))
        .answer::<ConfigView>(200, "The settings");
    vec![config]
}

#[derive(Serialize, JsonSchema)]
struct ConfigView {
    /// SHA-256 of the settings in force; empty: they came from no file.
    hash: String,
    /// As YAML, with `***` for every secret. Null: the defaults hold, pushed settings are on trial, or the client may not
    /// administer.
    in_force: Option<String>,
    file: FileView,
}

#[derive(Serialize, JsonSchema)]
struct FileView {
    /// Null: there is none.
    path: Option<String>,
    verdict: Verdict,
    mistakes: Vec<MistakeView>,
}

/// What would become of the file if it were read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It is what the gateway runs on.
    InForce,
    /// It has mistakes; the gateway stays with the last good settings.
    Refused,
    /// There is no file.
    Missing,
    /// It is good and was not read yet: `systemctl reload analyzer-gateway`.
    Changed,
}

async fn config(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let may_see = client.scope >= Scope::Administer;
    let (hash, state_dir) = (api.config.hash.clone(), api.config.gateway.state_dir.clone());
    let source = api.front.settings.clone().unwrap_or_else(|| Arc::new(Source::of_process(None, None)));
    let looked = aside(&*api.platform.disk, move || {
        let in_force = if may_see { configuration::shown(&state_dir, &hash) } else { None };
        ConfigView { in_force, file: verdict(&source, &hash), hash }
    });
    let view = looked.await.ok_or_else(|| Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "stopping"))?;
    if may_see {
        api.audit(&client.id, "read", "config", "ok").await?;
    }
    Ok(axum_json(&view))
}

fn verdict(source: &Source, hash: &str) -> FileView {
    let (path, verdict, mistakes) = match configuration::load(source) {
        Ok(loaded) => {
            let verdict = match (&loaded.path, loaded.hash == hash) {
                (None, _) => Verdict::Missing,
                (Some(_), true) => Verdict::InForce,
                (Some(_), false) => Verdict::Changed,
            };
            (loaded.path, verdict, Vec::new())
        }
        Err(failure) => {
            let mistakes = failure.mistakes.iter().map(MistakeView::from).collect();
            (failure.path, Verdict::Refused, mistakes)
        }
    };
    FileView { path: path.map(|path| path.display().to_string()), verdict, mistakes }
}
