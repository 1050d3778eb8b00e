//! Who may use the API: tokens are made, listed and removed here. A token is shown once, when it is made.

use super::auth::{self, Client, TOKEN_BYTES};
use super::extract::{Json, Path};
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::store::StoredToken;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::config::Scope;
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const ID_CHARACTERS_MAX: usize = 32;

pub fn routes() -> Vec<Route> {
    let administer = Some(Scope::Administer);
    let about = ("tokens", "Every client that may use the API, without its token");
    let list = Route::new(Method::GET, "/api/tokens", administer, about, get(list)).answer::<Tokens>(200, "All");
    let about = ("add_token", "Make a token for a client");
    let add = Route::new(Method::POST, "/api/tokens", administer, about, post(add))
        .body::<NewToken>()
        .answer::<MadeToken>(201, "The token; it is shown this once")
        .problems(&[409]);
    let about = ("remove_token", "Take a client's token away");
    let remove = Route::new(Method::DELETE, "/api/tokens/{id}", administer, about, delete(remove))
        .empty(204, "It is good no more")
        .problems(&[409]);
    vec![list, add, remove]
}

/// A client to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// What the client is called in the audit log.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    id: String,
    scope: Scope,
}

#[derive(Serialize, JsonSchema)]
struct MadeToken {
    id: String,
    scope: Scope,
    /// Send it with each request: `authorization: Bearer ...`.
    token: String,
}

#[derive(Serialize, JsonSchema)]
struct Tokens {
    tokens: Vec<Known>,
}

#[derive(Serialize, JsonSchema)]
struct Known {
    id: String,
    scope: Scope,
    /// Null: it stands in the settings.
    #[schemars(with = "Option<String>")]
    added_at: Option<Timestamp>,
}

async fn list(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let written = api.config.http.tokens.iter();
    let mut tokens: Vec<Known> =
        written.map(|token| Known { id: token.id.clone(), scope: token.scope, added_at: None }).collect();
    let stored = api.store.tokens().await?;
    tokens.extend(stored.into_iter().map(|token| Known {
        id: token.id,
        scope: token.scope,
        added_at: Some(token.added_at),
    }));
    Ok(axum_json(&Tokens { tokens }))
}

async fn add(State(api): State<Arc<Api>>, client: Client, Json(new): Json<NewToken>) -> Result<Response, Problem> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = new.id.len() <= ID_CHARACTERS_MAX && !new.id.starts_with('-') && new.id.bytes().all(is_inner);
    if new.id.is_empty() || !fits {
        return Err(Problem::fault("/id", "must be small letters, digits and `-`, at most 32, not beginning with `-`"));
    }
    let taken = || Problem::conflict("there is a client of this id already: remove it first, or take another id");
    // A client of this id would be told apart by nobody.
    if new.id == "socket" || api.config.http.tokens.iter().any(|token| token.id == new.id) {
        return Err(taken());
    }
    let mut random = [0; TOKEN_BYTES];
    api.platform.entropy.fill(&mut random);
    let token = format!("agw_{}", URL_SAFE_NO_PAD.encode(random));
    let added_at = api.platform.clock.now().wall;
    let stored = StoredToken { id: new.id.clone(), hash: auth::hash(&token), scope: new.scope, added_at };
    if !api.store.add_token(stored).await? {
        return Err(taken());
    }
    api.audit(&client.id, "add_token", &format!("token/{} {}", new.id, auth::word(new.scope)), "ok").await?;
    Ok(with_json(StatusCode::CREATED, &MadeToken { id: new.id, scope: new.scope, token }))
}

async fn remove(State(api): State<Arc<Api>>, client: Client, Path(id): Path<String>) -> Result<Response, Problem> {
    if api.config.http.tokens.iter().any(|token| token.id == id) {
        return Err(Problem::conflict("this token stands in the settings (http.tokens): remove it there"));
    }
    if !api.store.remove_token(&id).await? {
        return Err(Problem::unknown("token"));
    }
    api.front.entrance.ended();
    api.audit(&client.id, "remove_token", &format!("token/{id}"), "ok").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
