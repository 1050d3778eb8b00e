//! Who may use the page, and the pairing code for those on the box.
//!
//! Invariant: whoever loses a role or gets another passphrase is signed out at once.

use super::auth::Client;
use super::extract::{Json, Path};
use super::problem::Problem;
use super::session::{CSRF, no_file};
use super::table::Route;
use super::{Api, axum_json, with_json};
use crate::entrance::AGAIN_SECONDS_MAX;
use crate::store::{Changed, Person, people::key};
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use gateway_core::config::Scope;
use gateway_core::dialects::catalogue::Fault;
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PEOPLE_MAX: usize = 64;
const NAME_CHARACTERS_MAX: usize = 32;
/// Length counts for more than signs and digits (NIST SP 800-63B, section 3.1.1), and the guesses are slowed down.
const PASSPHRASE_CHARACTERS_MIN: usize = 10;
const PASSPHRASE_CHARACTERS_MAX: usize = 128;

pub fn routes() -> Vec<Route> {
    let administer = Some(Scope::Administer);
    let about = ("people", "Everybody who may use the page");
    let list = Route::new(Method::GET, "/api/people", administer, about, get(list)).answer::<People>(200, "All");
    let about = ("add_person", "Let somebody use the page");
    let add = Route::new(Method::POST, "/api/people", administer, about, post(add))
        .header("x-csrf-token", CSRF)
        .body::<NewPerson>()
        .answer::<PersonView>(201, "Added")
        .problems(&[409]);
    let about = ("change_person", "Give somebody another role or another passphrase; ends their sessions");
    let change = Route::new(Method::POST, "/api/people/{name}", administer, about, post(change))
        .header("x-csrf-token", CSRF)
        .body::<Change>()
        .answer::<PersonView>(200, "As it is now")
        .problems(&[409]);
    let about = ("remove_person", "Let somebody use the page no more; ends their sessions");
    let remove = Route::new(Method::DELETE, "/api/people/{name}", administer, about, delete(remove))
        .header("x-csrf-token", CSRF)
        .empty(204, "Removed")
        .problems(&[409]);
    let about = ("pairing", "The pairing code, while one is good");
    let code = Route::new(Method::GET, "/api/pairing", administer, about, get(code)).answer::<Code>(200, "The code");
    let about =
        ("pair_again", "Make a new pairing code: for somebody who has lost the passphrase it is good for 15 minutes");
    let again = Route::new(Method::POST, "/api/pairing", administer, about, post(again))
        .header("x-csrf-token", CSRF)
        .answer::<Code>(201, "The code");
    vec![list, add, change, remove, code, again]
}

/// What somebody may do at the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// As the scope `read`.
    View,
    Operate,
    Administer,
}

impl Role {
    pub fn of(scope: Scope) -> Role {
        match scope {
            Scope::Post | Scope::Read => Role::View,
            Scope::Operate => Role::Operate,
            Scope::Administer => Role::Administer,
        }
    }

    fn scope(self) -> Scope {
        match self {
            Role::View => Scope::Read,
            Role::Operate => Scope::Operate,
            Role::Administer => Scope::Administer,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Role::View => "view",
            Role::Operate => "operate",
            Role::Administer => "administer",
        }
    }
}

/// Somebody to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    /// What the person is called in the audit log.
    #[schemars(length(min = 1, max = 32))]
    name: String,
    role: Role,
    #[schemars(length(min = 10, max = 128))]
    passphrase: String,
}

/// What shall be another one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    #[schemars(length(min = 10, max = 128))]
    passphrase: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct People {
    people: Vec<PersonView>,
}

#[derive(Serialize, JsonSchema)]
struct PersonView {
    name: String,
    role: Role,
    #[schemars(with = "String")]
    added_at: Timestamp,
}

impl PersonView {
    fn of(person: Person) -> PersonView {
        PersonView { role: Role::of(person.role), name: person.name, added_at: person.added_at }
    }
}

/// The pairing code.
#[derive(Serialize, JsonSchema)]
struct Code {
    /// `1234-5678`; null: there is none, because somebody can sign in.
    code: Option<String>,
    /// Where the page is; null: it is not served.
    page: Option<String>,
    /// How long the code is good, in seconds; null: until it is used.
    seconds: Option<u64>,
}

async fn list(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let people = api.store.people().await?.into_iter().map(PersonView::of).collect();
    Ok(axum_json(&People { people }))
}

async fn add(State(api): State<Arc<Api>>, client: Client, Json(new): Json<NewPerson>) -> Result<Response, Problem> {
    let name = new.name.trim().to_owned();
    no_faults([check_name(&name), check_passphrase(&name, &new.passphrase)])?;
    let people = api.store.people().await?;
    if people.iter().any(|person| key(&person.name) == key(&name)) {
        return Err(taken());
    }
    if people.len() >= PEOPLE_MAX {
        return Err(Problem::conflict(format!("there are {PEOPLE_MAX} people already: remove one first")));
    }
    let passphrase = api.hashed_passphrase(new.passphrase).await?;
    let added_at = api.platform.clock.now().wall;
    let person = Person { name: name.clone(), role: new.role.scope(), passphrase, added_at };
    if !api.store.add_person(person.clone(), PEOPLE_MAX).await? {
        return Err(taken());
    }
    api.audit(&client.id, "add_person", &format!("person/{name} {}", new.role.word()), "ok").await?;
    Ok(with_json(StatusCode::CREATED, &PersonView::of(person)))
}

async fn change(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(name): Path<String>,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let Change { role, passphrase } = change;
    if role.is_none() && passphrase.is_none() {
        return Err(Problem::fault("", "has neither `role` nor `passphrase`"));
    }
    no_faults([passphrase.as_ref().and_then(|passphrase| check_passphrase(&name, passphrase)), None])?;
    if api.store.person(&name).await?.is_none() {
        return Err(Problem::unknown("person"));
    }
    let what: Vec<&str> = role.map(Role::word).into_iter().chain(passphrase.as_ref().map(|_| "passphrase")).collect();
    let passphrase = match passphrase {
        Some(passphrase) => Some(api.hashed_passphrase(passphrase).await?),
        None => None,
    };
    done(api.store.change_person(&name, role.map(Role::scope), passphrase).await?)?;
    api.front.entrance.close_all_of(&name);
    api.keep_sessions().await;
    let person = api.store.person(&name).await?.ok_or_else(|| Problem::unknown("person"))?;
    api.audit(&client.id, "change_person", &format!("person/{} {}", person.name, what.join(" ")), "ok").await?;
    Ok(axum_json(&PersonView::of(person)))
}

async fn remove(State(api): State<Arc<Api>>, client: Client, Path(name): Path<String>) -> Result<Response, Problem> {
    let Some(person) = api.store.person(&name).await? else { return Err(Problem::unknown("person")) };
    done(api.store.remove_person(&name).await?)?;
    api.front.entrance.close_all_of(&name);
    api.keep_sessions().await;
    api.audit(&client.id, "remove_person", &format!("person/{}", person.name), "ok").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn code(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let code = api.pairing_code().await?;
    let seconds = match code.is_some() && api.store.has_people().await? {
        true => Some(AGAIN_SECONDS_MAX),
        false => None,
    };
    api.audit(&client.id, "read", "pairing", "ok").await?;
    Ok(axum_json(&Code { code, page: api.page_address(), seconds }))
}

async fn again(State(api): State<Arc<Api>>, client: Client) -> Result<Response, Problem> {
    let again = api.store.has_people().await?.then(|| api.mono());
    let ports = (&*api.platform.disk, &*api.platform.entropy);
    let pairing = &api.front.entrance.pairing;
    let _turn = pairing.turn.lock().await;
    let code = pairing.renew(ports, &api.config.gateway.state_dir, again).await.map_err(no_file)?;
    api.audit(&client.id, "pair_again", "pairing", "ok").await?;
    let seconds = again.map(|_| AGAIN_SECONDS_MAX);
    Ok(with_json(StatusCode::CREATED, &Code { code: Some(code), page: api.page_address(), seconds }))
}

impl Api {
    fn page_address(&self) -> Option<String> {
        let http = &self.config.http;
        let listen = http.listen.as_ref().filter(|_| http.page)?;
        Some(http.public_url.clone().unwrap_or_else(|| format!("http://{listen}")) + "/")
    }
}

fn taken() -> Problem {
    Problem::conflict("there is somebody of this name already: take another name, or change that one")
}

pub fn done(changed: Changed) -> Result<(), Problem> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Unknown => Err(Problem::unknown("person")),
        Changed::LastAdministrator => {
            Err(Problem::conflict("nobody else may administer: give that role to somebody else first"))
        }
    }
}

/// All faults at once.
pub fn no_faults(faults: [Option<Fault>; 2]) -> Result<(), Problem> {
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::faults(faults)) }
}

/// What is wrong with a name, if anything is.
pub fn check_name(name: &str) -> Option<Fault> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_' | '\'');
    let is_good = !name.is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX && name.chars().all(fits);
    let problem = format!("must be 1 to {NAME_CHARACTERS_MAX} letters, digits, blanks, `.`, `-`, `_` or `'`");
    (!is_good).then(|| Fault { path: "/name".to_owned(), problem })
}

/// What is wrong with a passphrase, if anything is.
pub fn check_passphrase(name: &str, passphrase: &str) -> Option<Fault> {
    let length = passphrase.chars().count();
    let problem = if !(PASSPHRASE_CHARACTERS_MIN..=PASSPHRASE_CHARACTERS_MAX).contains(&length) {
        format!(
            "must have {PASSPHRASE_CHARACTERS_MIN} to {PASSPHRASE_CHARACTERS_MAX} characters; several words are good"
        )
    } else if key(passphrase) == key(name) || passphrase.chars().all(|c| passphrase.starts_with(c)) {
        "is too easy to guess: take several words".to_owned()
    } else {
        return None;
    };
    Some(Fault { path: "/passphrase".to_owned(), problem })
}
