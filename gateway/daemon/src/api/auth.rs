//! Who asks, and whether they may.
//!
//! Tokens stand in the settings and in the store as SHA-256 hashes and are compared in constant time. The control socket
//! needs none: its file's permissions say who may open it. A web page of somebody else can do nothing here: a browser sends
//! no token by itself, and nothing allows it to add one.

use super::Api;
use super::problem::Problem;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use gateway_core::config::Scope;
use gateway_core::time::Mono;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Refused tokens and signatures a minute; those beyond are told to wait.
const REFUSED_MAX: u32 = 30;
const REFUSED_WINDOW: Duration = Duration::from_secs(60);
/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 32;

/// The way by which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Network,
    /// The control socket, or a command that has the store for itself.
    Socket,
    Mqtt,
    /// The broker of `monitoring:`.
    Monitoring,
}

impl Door {
    pub fn word(self) -> &'static str {
        match self {
            Door::Network => "http",
            Door::Socket => "the control socket",
            Door::Mqtt => "mqtt",
            Door::Monitoring => "the monitoring broker",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// A token's id, or `socket`.
    pub id: String,
    pub scope: Scope,
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Client, Problem> {
        parts.extensions.get::<Client>().cloned().ok_or_else(no_token)
    }
}

/// The word in the settings.
pub fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Post => "post",
        Scope::Read => "read",
        Scope::Operate => "operate",
        Scope::Administer => "administer",
    }
}

/// How a token is kept: SHA-256 in hexadecimal.
pub fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lets a request through if its sender has the scope.
pub async fn authorize(
    State((api, scope)): State<(Arc<Api>, Scope)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let client = api.client(request.extensions().get::<Door>().copied(), request.headers()).await?;
    if client.scope < scope {
        let action = format!("{} {}", request.method(), request.uri().path());
        api.audit(&client.id, "refused", &action, "the scope does not allow it").await?;
        let (has, wants) = (word(client.scope), word(scope));
        let detail = format!("this token's scope is `{has}`; this needs `{wants}` (`analyzer-gateway token add`)");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    request.extensions_mut().insert(client);
    Ok(next.run(request).await)
}

impl Api {
    /// Who that is, by the door and the token.
    pub(super) async fn client(&self, door: Option<Door>, headers: &HeaderMap) -> Result<Client, Problem> {
        if door == Some(Door::Socket) {
            return Ok(Client { id: "socket".to_owned(), scope: Scope::Administer });
        }
        let Some(token) = bearer(headers) else { return Err(no_token()) };
        match self.holder(&hash(token)).await? {
            Some(client) => Ok(client),
            None => {
                let detail = "this token is not known here; it may have been removed";
                let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
                Err(self.refusals.count(self.platform.clock.now().mono, problem))
            }
        }
    }

    /// The client whose token has this hash. All are compared, whichever fits.
    async fn holder(&self, hash: &str) -> Result<Option<Client>, Problem> {
        let written = self.config.http.tokens.iter();
        let mut known: Vec<(String, String, Scope)> =
            written.map(|token| (token.id.clone(), token.hash.to_ascii_lowercase(), token.scope)).collect();
        known.extend(self.store.tokens().await?.into_iter().map(|token| (token.id, token.hash, token.scope)));
        let mut found = None;
        for (id, known, scope) in known {
            if bool::from(known.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(Client { id, scope });
            }
        }
        Ok(found)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn no_token() -> Problem {
    let detail = "send a token: `authorization: Bearer ...`; `analyzer-gateway token add` makes one";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// Counts refused tokens and signatures, so that guessing is slow and cannot fill a log.
#[derive(Default)]
pub struct Refusals(Mutex<(Mono, u32)>);

impl Refusals {
    /// The problem itself, or 429 if there are too many.
    pub fn count(&self, now: Mono, problem: Problem) -> Problem {
        match self.admits(now) {
            true => problem,
            false => Problem::slow_down("too many requests with a wrong token or signature: wait a minute", 60),
        }
    }

    /// Counts one more; `false` if there are too many.
    pub fn admits(&self, now: Mono) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(counted.0) >= REFUSED_WINDOW {
            *counted = (now, 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 <= REFUSED_MAX
    }
}
