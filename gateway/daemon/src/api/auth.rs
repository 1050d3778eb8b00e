//! Who asks, and whether they may: programs with a token, people with the page's cookie.
//!
//! Tokens stand in the settings and in the store as SHA-256 hashes and are compared in constant time. The control socket
//! needs none: its file's permissions say who may open it. A web page of somebody else can do nothing here: a browser sends
//! no token by itself, and nothing allows it to add one; the page's cookie stays at home (`SameSite`), counts only under the
//! gateway's own names, and changes nothing without a header that only the page knows.

use super::Api;
use super::people::Role;
use super::problem::Problem;
use crate::entrance::{TokenHash, hashed, is_csrf};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use data_encoding::HEXLOWER;
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

/// The page's cookie.
pub const COOKIE: &str = "analyzer_gateway_session";
const CSRF_HEADER: &str = "x-csrf-token";

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
    /// A token's id, `socket`, or `page:` and a person's name.
    pub id: String,
    pub scope: Scope,
}

/// By what a client was let in: asked again where something goes on for longer than an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Socket,
    /// The hash of a token.
    Token(String),
    Session(TokenHash),
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
    HEXLOWER.encode(&Sha256::digest(token))
}

/// Lets a request through if its sender has the scope.
pub async fn authorize(
    State((api, scope)): State<(Arc<Api>, Scope)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let door = request.extensions().get::<Door>().copied();
    let (client, credential) = api.client(door, &request.method().clone(), request.headers()).await?;
    if client.scope < scope {
        let action = format!("{} {}", request.method(), request.uri().path());
        api.audit(&client.id, "refused", &action, "the scope does not allow it").await?;
        let (has, wants) = (word(client.scope), word(scope));
        let detail = match credential {
            Credential::Session(_) => {
                let (has, wants) = (Role::of(client.scope).word(), Role::of(scope).word());
                format!("your role is `{has}`; this needs `{wants}`: ask somebody who may administer")
            }
            _ => format!("this token's scope is `{has}`; this needs `{wants}` (`analyzer-gateway token add`)"),
        };
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(credential);
    Ok(next.run(request).await)
}

impl Api {
    /// Who that is, by the door and the token or the session.
    pub(super) async fn client(
        &self,
        door: Option<Door>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(Client, Credential), Problem> {
        if door == Some(Door::Socket) {
            return Ok((Client { id: "socket".to_owned(), scope: Scope::Administer }, Credential::Socket));
        }
        if let Some(token) = bearer(headers) {
            let hash = hash(token);
            if let Some(client) = self.holder(&hash).await? {
                return Ok((client, Credential::Token(hash)));
            }
            let detail = "this token is not known here; it may have been removed";
            let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
            return Err(self.refusals.count(self.platform.clock.now().mono, problem));
        }
        let cookie = cookie(headers).filter(|_| door == Some(Door::Network)).ok_or_else(no_token)?;
        self.check_host(headers)?;
        let credential = Credential::Session(hashed(cookie));
        let client = self
            .still(&credential)
            .await?
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "the session is over: sign in again"))?;
        if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
            check_csrf(cookie, headers)?;
        }
        Ok((client, credential))
    }

    /// The client that was let in by this, if it would be let in again.
    pub async fn still(&self, credential: &Credential) -> Result<Option<Client>, Problem> {
        match credential {
            Credential::Socket => Ok(Some(Client { id: "socket".to_owned(), scope: Scope::Administer })),
            Credential::Token(hash) => self.holder(hash).await,
            Credential::Session(token) => {
                let session = self.front.entrance.session(self.mono(), token);
                Ok(session.map(|session| Client { id: page_client(&session.name), scope: session.role }))
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

/// The token of the page's cookie.
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value)
}

/// Whether the request comes from the page itself: another page can make a browser send the cookie, but not this header.
pub fn check_csrf(cookie: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match is_csrf(cookie, sent) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the header `x-csrf-token` is missing or wrong: send `csrf` of GET /api/session",
        )),
    }
}

/// Before a person's name in the audit log; no token's id holds a colon.
const PAGE: &str = "page:";

/// What a person is called in the audit log.
pub fn page_client(name: &str) -> String {
    format!("{PAGE}{name}")
}

/// Whether that is a person at the page.
pub fn is_page(client: &str) -> bool {
    client.starts_with(PAGE)
}

fn no_token() -> Problem {
    let detail =
        "sign in at the page, or send a token: `authorization: Bearer ...`; `analyzer-gateway token add` makes one";
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
