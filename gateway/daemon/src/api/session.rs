//! The page's session: whether somebody has signed in, signing in and out, and the pairing that lets the first person in.
//!
//! Invariants: a session's token leaves the gateway only in its cookie, which no script can read; a wrong name and a wrong
//! passphrase are answered alike, after the same work.

use super::auth::{self, Client, Credential, Door};
use super::caller::{Caller, Host};
use super::extract::Json;
use super::people::{Role, check_name, check_passphrase, done, no_faults};
use super::problem::Problem;
use super::table::Route;
use super::{Api, with_json};
use crate::entrance::{self, Tried, hashed};
use crate::store::{Person, people::key};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use gateway_core::config::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A sign-in is short: whoever sends it for longer than this is hung up on.
const BODY_SECONDS_MAX: u64 = 10;

pub fn routes() -> Vec<Route> {
    let about = ("session", "Whether somebody has signed in at the page");
    let look = Route::new(Method::GET, "/api/session", None, about, get(look))
        .answer::<SessionView>(200, "The session, if there is one")
        .problems(&[421]);
    let about = ("sign_in", "Sign in at the page; the answer sets its cookie");
    let sign_in = Route::new(Method::POST, "/api/session", None, about, post(sign_in))
        .body::<SignIn>()
        .answer::<SessionView>(200, "Signed in")
        .problems(&[401, 403, 408, 421, 429]);
    let about = ("sign_out", "Sign out");
    let sign_out = Route::new(Method::DELETE, "/api/session", None, about, delete(sign_out))
        .header("x-csrf-token", CSRF)
        .empty(204, "Signed out")
        .problems(&[401, 403, 421]);
    let about = ("pair", "Use the pairing code: the first person, or one who has lost the passphrase, gets in");
    let pair = Route::new(Method::POST, "/api/session/pair", None, about, post(pair))
        .body::<Pair>()
        .answer::<SessionView>(201, "Signed in, with the role `administer`")
        .problems(&[401, 403, 408, 409, 421, 429]);
    let about = ("change_passphrase", "Give oneself another passphrase; signs one out everywhere else");
    let change = Route::new(Method::POST, "/api/session/passphrase", Some(Scope::Read), about, post(change_own))
        .header("x-csrf-token", CSRF)
        .body::<OwnPassphrase>()
        .answer::<SessionView>(200, "Changed; the answer sets a new cookie")
        .problems(&[408]);
    vec![look, sign_in, sign_out, pair, change]
}

/// What the OpenAPI document says of the header.
pub const CSRF: &str = "`csrf` of GET /api/session; needed with the page's cookie, not with a token";

/// Who has signed in.
#[derive(Serialize, JsonSchema)]
struct SessionView {
    state: SessionState,
    name: Option<String>,
    role: Option<Role>,
    /// Send it as the header `x-csrf-token` with every request that changes something.
    csrf: Option<String>,
    /// With `unpaired`: somebody is known here, and the code is for one who has lost the passphrase.
    again: bool,
    gateway: String,
    version: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SessionState {
    /// A pairing code is waited for: nobody can sign in yet, or somebody on the box has asked for a code again.
    Unpaired,
    SignedOut,
    SignedIn,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    name: String,
    passphrase: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pair {
    /// As `analyzer-gateway pair` prints it: `1234-5678`.
    code: String,
    /// What the person is called from now on.
    #[schemars(length(min = 1, max = 32))]
    name: String,
    #[schemars(length(min = 10, max = 128))]
    passphrase: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OwnPassphrase {
    /// The passphrase of now.
    current: String,
    #[schemars(length(min = 10, max = 128))]
    passphrase: String,
}

async fn look(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    _: Host,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = match auth::cookie(&headers).filter(|_| door == Door::Network) {
        Some(token) => match api.front.entrance.session(api.mono(), &hashed(token)) {
            Some(session) => api.signed_in(&session.name, session.role, token),
            None => api.signed_out().await?,
        },
        None => api.signed_out().await?,
    };
    Ok(with_json(StatusCode::OK, &view))
}

async fn sign_in(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    _: Host,
    caller: Caller,
    headers: HeaderMap,
    request: Timely<SignIn>,
) -> Result<Response, Problem> {
    only_a_browser(door)?;
    let Timely(SignIn { name, passphrase }) = request;
    let (name, entrance) = (name.trim().to_owned(), &api.front.entrance);
    entrance.attempts().admit(api.mono(), caller.address, &key(&name)).map_err(wait)?;
    let person = api.store.person(&name).await?;
    let kept = person.as_ref().map_or_else(entrance::stand_in, |person| person.passphrase.clone());
    let checked = entrance.in_turn(&*api.platform.disk, move || entrance::check(&passphrase, &kept)).await;
    let Some(person) = person.filter(|_| checked == Some(true)) else {
        if checked.is_none() {
            return Err(busy());
        }
        // A passphrase may have been typed into the name's field: names that nobody has are written down nowhere.
        if api.noted.admits(api.mono()) {
            api.audit("page", "sign_in", "session", "refused: 401").await?;
        }
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "the name or the passphrase is wrong"));
    };
    entrance.attempts().succeed(caller.address, &key(&name));
    api.audit(&auth::page_client(&person.name), "sign_in", "session", "ok").await?;
    api.begin(StatusCode::OK, &person, &headers, caller).await
}

async fn sign_out(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    _: Host,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(token) = auth::cookie(&headers).filter(|_| door == Door::Network)
        && let Some(session) = api.front.entrance.session(api.mono(), &hashed(token))
    {
        auth::check_csrf(token, &headers)?;
        api.front.entrance.close(&hashed(token));
        api.keep_sessions().await;
        api.audit(&auth::page_client(&session.name), "sign_out", "session", "ok").await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, set_cookie("", 0, caller.is_https));
    Ok(response)
}

/// Who has signed in may not need anybody else for this; a session that was left open is not enough.
async fn change_own(
    State(api): State<Arc<Api>>,
    client: Client,
    Extension(credential): Extension<Credential>,
    caller: Caller,
    headers: HeaderMap,
    request: Timely<OwnPassphrase>,
) -> Result<Response, Problem> {
    let Timely(OwnPassphrase { current, passphrase }) = request;
    let entrance = &api.front.entrance;
    let session = match &credential {
        Credential::Session(token) => entrance.session(api.mono(), token),
        Credential::Socket | Credential::Token(_) => None,
    };
    let session = session.ok_or_else(|| {
        let detail =
            "only who has signed in at the page has a passphrase; `POST /api/people/NAME` gives somebody another one";
        Problem::new(StatusCode::FORBIDDEN, detail)
    })?;
    entrance.attempts().admit(api.mono(), caller.address, &key(&session.name)).map_err(wait)?;
    let person = api.store.person(&session.name).await?.ok_or_else(|| Problem::unknown("person"))?;
    let kept = person.passphrase.clone();
    let checked = entrance.in_turn(&*api.platform.disk, move || entrance::check(&current, &kept)).await;
    if !checked.ok_or_else(busy)? {
        if api.noted.admits(api.mono()) {
            api.audit(&client.id, "change_passphrase", "session", "refused: 422").await?;
        }
        return Err(Problem::fault("/current", "is wrong"));
    }
    entrance.attempts().succeed(caller.address, &key(&session.name));
    no_faults([check_passphrase(&person.name, &passphrase), None])?;
    let hashed = api.hashed_passphrase(passphrase).await?;
    done(api.store.change_person(&person.name, None, Some(hashed)).await?)?;
    entrance.close_all_of(&person.name);
    api.audit(&client.id, "change_passphrase", &format!("person/{}", person.name), "ok").await?;
    api.begin(StatusCode::OK, &person, &headers, caller).await
}

async fn pair(
    State(api): State<Arc<Api>>,
    Extension(door): Extension<Door>,
    _: Host,
    caller: Caller,
    headers: HeaderMap,
    request: Timely<Pair>,
) -> Result<Response, Problem> {
    only_a_browser(door)?;
    let Timely(Pair { code, name, passphrase }) = request;
    let name = name.trim().to_owned();
    let faults = [check_name(&name), check_passphrase(&name, &passphrase)];
    no_faults(faults)?;
    let (entrance, state_dir) = (&api.front.entrance, &api.config.gateway.state_dir);
    let pairing = &entrance.pairing;
    let _turn = pairing.turn.lock().await;
    let good = api.pairing_code().await?;
    let closed =
        "somebody can sign in here already; `analyzer-gateway pair --again`, typed on the box, makes a new code";
    if good.is_none() {
        return Err(Problem::conflict(closed));
    }
    entrance.attempts().admit(api.mono(), caller.address, "").map_err(wait)?;
    let ports = (&*api.platform.disk, &*api.platform.entropy);
    match pairing.try_code(ports, state_dir, (&code, good.as_deref())).await.map_err(no_file)? {
        Tried::Right => {}
        Tried::Closed => return Err(Problem::conflict(closed)),
        Tried::Wrong => {
            if api.noted.admits(api.mono()) {
                api.audit("page", "pair", "session", "refused: 401").await?;
            }
            let detail = "the pairing code is wrong; `analyzer-gateway pair`, typed on the box, prints it";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        }
    }
    let passphrase = api.hashed_passphrase(passphrase).await?;
    let added_at = api.platform.clock.now().wall;
    let person = Person { name: name.clone(), role: Scope::Administer, passphrase, added_at };
    api.store.put_person(person.clone()).await?;
    pairing.end(&*api.platform.disk, state_dir).await.map_err(no_file)?;
    // Whoever had signed in with the lost passphrase is out.
    entrance.close_all_of(&name);
    entrance.attempts().succeed(caller.address, "");
    api.audit(&auth::page_client(&name), "pair", &format!("person/{name}"), "ok").await?;
    api.begin(StatusCode::CREATED, &person, &headers, caller).await
}

impl Api {
    fn signed_in(&self, name: &str, role: Scope, token: &str) -> SessionView {
        SessionView {
            state: SessionState::SignedIn,
            name: Some(name.to_owned()),
            role: Some(Role::of(role)),
            csrf: Some(entrance::csrf(token)),
            again: false,
            gateway: self.config.gateway.id.clone(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    async fn signed_out(&self) -> Result<SessionView, Problem> {
        let state = match self.pairing_code().await? {
            Some(_) => SessionState::Unpaired,
            None => SessionState::SignedOut,
        };
        let again = state == SessionState::Unpaired && !self.store.people().await?.is_empty();
        let (gateway, version) = (self.config.gateway.id.clone(), env!("CARGO_PKG_VERSION"));
        Ok(SessionView { state, name: None, role: None, csrf: None, again, gateway, version })
    }

    /// Takes up the sessions of before a restart.
    pub(super) async fn restore_sessions(&self) {
        // A store that does not answer signs everybody out.
        let people = self.store.people().await.unwrap_or_default();
        let people: Vec<(String, Scope)> = people.into_iter().map(|person| (person.name, person.role)).collect();
        let (disk, boot) = (&*self.platform.disk, self.platform.clock.boot().to_string());
        let (entrance, state_dir) = (&self.front.entrance, &self.config.gateway.state_dir);
        entrance.restore(disk, state_dir, &boot, &people, self.mono()).await;
    }

    /// Writes down who has signed in.
    pub(super) async fn keep_sessions(&self) {
        let boot = self.platform.clock.boot().to_string();
        self.front.entrance.keep(&*self.platform.disk, &self.config.gateway.state_dir, &boot).await;
    }

    /// A new session with its cookie; one that the browser had before ends.
    async fn begin(
        &self,
        status: StatusCode,
        person: &Person,
        headers: &HeaderMap,
        caller: Caller,
    ) -> Result<Response, Problem> {
        let entrance = &self.front.entrance;
        if let Some(earlier) = auth::cookie(headers) {
            entrance.close(&hashed(earlier));
        }
        let token = entrance.open(self.mono(), &*self.platform.entropy, &person.name, person.role);
        self.keep_sessions().await;
        let mut response = with_json(status, &self.signed_in(&person.name, person.role, &token));
        let cookie = set_cookie(&token, entrance::SESSION_SECONDS_MAX, caller.is_https);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    /// The pairing code that is good now, if one is; where no page is served there is none.
    pub async fn pairing_code(&self) -> Result<Option<String>, Problem> {
        if !self.config.http.page {
            return Ok(None);
        }
        let has_people = self.store.has_people().await?;
        let ports = (&*self.platform.disk, &*self.platform.entropy);
        let state_dir = &self.config.gateway.state_dir;
        let code = self.front.entrance.pairing.code(ports, state_dir, has_people, self.mono()).await;
        code.map_err(no_file)
    }

    /// What is kept of a passphrase.
    pub async fn hashed_passphrase(&self, passphrase: String) -> Result<String, Problem> {
        let mut salt = [0; 16];
        self.platform.entropy.fill(&mut salt);
        let hashing = self.front.entrance.in_turn(&*self.platform.disk, move || entrance::hash(&passphrase, salt));
        hashing.await.flatten().ok_or_else(busy)
    }
}

/// Cookies are a browser's: over MQTT and the control socket there is nobody to keep one.
fn only_a_browser(door: Door) -> Result<(), Problem> {
    match door {
        Door::Network => Ok(()),
        Door::Socket | Door::Mqtt | Door::Monitoring => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "sign in over HTTP; here a token or the socket's file says who asks",
        )),
    }
}

fn set_cookie(token: &str, seconds: u64, is_https: bool) -> HeaderValue {
    let secure = if is_https { "; Secure" } else { "" };
    let text = format!("{}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", auth::COOKIE);
    HeaderValue::from_str(&text).expect("a token has only letters, digits, dashes and underscores")
}

fn wait(seconds: u32) -> Problem {
    Problem::slow_down(format!("too many wrong tries: wait {seconds} seconds"), seconds)
}

fn busy() -> Problem {
    Problem::slow_down("others are signing in just now: try again in a few seconds", 3)
}

pub fn no_file(error: std::io::Error) -> Problem {
    tracing::error!(%error, "the pairing code cannot be kept in the state folder");
    let detail = "the pairing code cannot be kept: see that the disk is not full and that the state folder is writable";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// A body of JSON that comes in time.
struct Timely<T>(T);

impl<T: serde::de::DeserializeOwned> axum::extract::FromRequest<Arc<Api>> for Timely<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, api: &Arc<Api>) -> Result<Timely<T>, Problem> {
        let clock = &api.platform.clock;
        let due = clock.now().mono.after(Duration::from_secs(BODY_SECONDS_MAX));
        tokio::select! {
            biased;
            read = Json::<T>::from_request(request, api) => read.map(|Json(body)| Timely(body)),
            () = clock.sleep_until(due) => {
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time: send it at once"))
            }
        }
    }
}
