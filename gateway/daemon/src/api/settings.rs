//! Other settings: the file read again, pushed ones tried and kept, endpoints paused and resumed.
//!
//! Invariant: what is wrong with settings is told as `check` tells it, and quotes no secret.

use super::auth::{Client, Door};
use super::extract::{Json, Path};
use super::problem::{MistakeView, Problem};
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::supervision::{By, Granted, Refused, TRIAL_SECONDS, TRIAL_SECONDS_MAX, TRIAL_SECONDS_MIN, Wish};
use axum::Extension;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use gateway_core::config::Scope;
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

pub fn routes() -> Vec<Route> {
    let (operate, administer) = (Some(Scope::Operate), Some(Scope::Administer));
    let about = ("pause", "Send nothing to an endpoint until it is resumed; everything is kept");
    let pause = Route::new(Method::POST, "/api/webhooks/{id}/pause", operate, about, post(pause))
        .answer::<Pause>(200, "How it stands now");
    let about = ("resume", "Send to an endpoint again that was paused");
    let resume = Route::new(Method::POST, "/api/webhooks/{id}/resume", operate, about, post(resume))
        .answer::<Pause>(200, "How it stands now")
        .problems(&[409]);
    let about = ("reload", "Read the settings file again, as SIGHUP does");
    let reload = Route::new(Method::POST, "/api/reload", administer, about, post(reload))
        .answer::<Settings>(202, "The file is good and is put in force")
        .problems(&[409, 422]);
    let about = (
        "push_config",
        "Try other settings. Unless they are confirmed in time, the former ones come back by themselves",
    );
    let push = Route::new(Method::POST, "/api/config", administer, about, post(push))
        .body::<Push>()
        .answer::<Settings>(202, "They are good and are put in force until `confirm_by`")
        .problems(&[409]);
    let about = ("confirm_config", "Keep the settings that are tried: they are written into the settings file");
    let confirm = Route::new(Method::POST, "/api/config/confirm", administer, about, post(confirm))
        .body::<Confirm>()
        .answer::<Settings>(200, "They are kept")
        .problems(&[409]);
    vec![pause, resume, reload, push, confirm]
}

/// Whether an endpoint is paused.
#[derive(Serialize, JsonSchema)]
struct Pause {
    /// The endpoint's id in the settings.
    webhook: String,
    paused: bool,
    /// Since when a person has paused it.
    #[schemars(with = "Option<String>")]
    since: Option<Timestamp>,
}

async fn pause(State(api): State<Arc<Api>>, client: Client, Path(id): Path<String>) -> Result<Response, Problem> {
    set_paused(&api, &client, &id, Some(api.platform.clock.now().wall)).await
}

async fn resume(State(api): State<Arc<Api>>, client: Client, Path(id): Path<String>) -> Result<Response, Problem> {
    if api.webhook(&id)?.paused {
        let detail = "it is paused in the settings, which stand above this: take `paused: true` away there";
        return Err(Problem::conflict(detail));
    }
    set_paused(&api, &client, &id, None).await
}

async fn set_paused(api: &Api, client: &Client, id: &str, since: Option<Timestamp>) -> Result<Response, Problem> {
    let webhook = api.webhook(id)?;
    let action = if since.is_some() { "pause" } else { "resume" };
    let changed = api.store.set_paused(&webhook.id, since).await?;
    let outcome = if changed { "ok" } else { "it was so already" };
    api.audit(&client.id, action, &format!("webhook/{}", webhook.id), outcome).await?;
    if changed {
        api.supervisor.pause_changed();
    }
    let since = api.store.paused().await?.get(&webhook.id).copied();
    let paused = webhook.paused || since.is_some();
    Ok(axum_json(&Pause { webhook: webhook.id.clone(), paused, since }))
}

/// Settings, by their hash.
#[derive(Serialize, JsonSchema)]
struct Settings {
    /// SHA-256 of these settings, as the status shows it of those in force.
    hash: String,
    /// Until when they must be confirmed; null: they need not be.
    #[schemars(with = "Option<String>")]
    confirm_by: Option<Timestamp>,
    /// The settings file.
    file: Option<String>,
}

impl From<Granted> for Settings {
    fn from(granted: Granted) -> Settings {
        Settings { hash: granted.hash, confirm_by: granted.confirm_by, file: granted.file }
    }
}

/// Other settings to try.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Push {
    /// The whole settings file. `"***"` stands for the secret that is in force in that place.
    yaml: String,
    /// How long they are tried.
    #[serde(default = "trial_seconds")]
    #[schemars(range(min = 60, max = 3600))]
    confirm_within_seconds: u64,
}

fn trial_seconds() -> u64 {
    TRIAL_SECONDS
}

/// The settings that are tried are good.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Confirm {
    /// The `hash` that the push was answered with; without it: whatever is tried.
    #[serde(default)]
    hash: Option<String>,
}

async fn reload(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let answer = api.supervisor.ask(Wish::Reload).await;
    note(&api, &client, "reload", StatusCode::ACCEPTED, answer).await
}

async fn push(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    client: Client,
    Json(asked): Json<Push>,
) -> Result<Response, Problem> {
    let seconds = asked.confirm_within_seconds;
    if !(TRIAL_SECONDS_MIN..=TRIAL_SECONDS_MAX).contains(&seconds) {
        let problem = format!("must be {TRIAL_SECONDS_MIN} to {TRIAL_SECONDS_MAX}");
        return Err(Problem::fault("/confirm_within_seconds", problem));
    }
    let by = By { client: client.id.clone(), door: door.word() };
    let wish = Wish::Push { yaml: asked.yaml, trial: Duration::from_secs(seconds), by };
    let answer = api.supervisor.ask(wish).await;
    note(&api, &client, "push_config", StatusCode::ACCEPTED, answer).await
}

async fn confirm(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    client: Client,
    Json(asked): Json<Confirm>,
) -> Result<Response, Problem> {
    let by = By { client: client.id.clone(), door: door.word() };
    let wish = Wish::Confirm { hash: asked.hash, served: api.config.hash.clone(), by };
    let answer = api.supervisor.ask(wish).await;
    note(&api, &client, "confirm_config", StatusCode::OK, answer).await
}

/// Into the audit log, and the answer.
async fn note(
    api: &Api,
    client: &Client,
    action: &str,
    status: StatusCode,
    answer: Result<Granted, Refused>,
) -> Result<Response, Problem> {
    match answer {
        Ok(granted) => {
            api.audit(&client.id, action, &format!("config/{}", granted.hash), "ok").await?;
            Ok(with_json(status, &Settings::from(granted)))
        }
        Err(refused) => {
            let problem = Problem::from(refused);
            api.audit(&client.id, action, "config", &problem.outcome()).await?;
            Err(problem)
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Mistakes(failure) => {
                let detail = match failure.mistakes.len() {
                    1 => "these settings have a mistake; nothing has changed".to_owned(),
                    count => format!("these settings have {count} mistakes; nothing has changed"),
                };
                let mistakes = failure.mistakes.iter().map(MistakeView::from).collect();
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).coded("mistakes").with_mistakes(mistakes)
            }
            Refused::Now { code, detail } => Problem::conflict(detail).coded(code),
        }
    }
}
