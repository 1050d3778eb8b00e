//! The table `people`: who may sign in at the page, with the hashes of their passphrases.
//!
//! Invariant: once there is somebody who may administer, there always is.

use super::Store;
use super::error::StoreError;
use gateway_core::config::Scope;
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::Duration;

/// Somebody who may sign in.
#[derive(Clone, PartialEq)]
pub struct Person {
    pub name: String,
    /// `Read`, `Operate` or `Administer`.
    pub role: Scope,
    /// The hash, a PHC string.
    pub passphrase: String,
    pub added_at: Timestamp,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Done,
    Unknown,
    /// Refused: nobody could administer any more.
    LastAdministrator,
}

/// By what a person is found: a name in small letters.
pub fn key(name: &str) -> String {
    name.to_lowercase()
}

impl Store {
    /// Everybody, by name.
    pub async fn people(&self) -> Result<Vec<Person>, StoreError> {
        self.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT name, role, passphrase, added_at FROM people ORDER BY key")?;
            let rows = select.query_map([], person)?;
            Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Whether anybody may sign in.
    pub async fn has_people(&self) -> Result<bool, StoreError> {
        self.read(|connection| Ok(connection.query_row("SELECT EXISTS (SELECT 1 FROM people)", [], |row| row.get(0))?))
            .await
    }

    /// The person of this name, however it is capitalised.
    pub async fn person(&self, name: &str) -> Result<Option<Person>, StoreError> {
        let key = key(name);
        self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT name, role, passphrase, added_at FROM people WHERE key = ?1")?
                .query_row([key], person)
                .optional()?;
            Ok(found.flatten())
        })
        .await
    }

    /// Adds a person; `false` if there is one of this name, or if there are `people_max`.
    pub async fn add_person(&self, person: Person, people_max: usize) -> Result<bool, StoreError> {
        let work = move |writer: &mut super::hand::Writer| {
            let added = writer
                .connection
                .prepare_cached(
                    "INSERT INTO people (key, name, role, passphrase, added_at) SELECT ?1, ?2, ?3, ?4, ?5
                     WHERE (SELECT count(*) FROM people) < ?6 ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    key(&person.name),
                    person.name,
                    word(person.role),
                    person.passphrase,
                    person.added_at.0,
                    i64::try_from(people_max).unwrap_or(i64::MAX)
                ])?;
            Ok(added > 0)
        };
        self.shared.write(Duration::ZERO, work).await
    }

    /// Adds a person, or gives the one of this name a new passphrase and this role.
    pub async fn put_person(&self, person: Person) -> Result<(), StoreError> {
        let work = move |writer: &mut super::hand::Writer| {
            writer
                .connection
                .prepare_cached(
                    "INSERT INTO people (key, name, role, passphrase, added_at) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (key) DO UPDATE SET role = excluded.role, passphrase = excluded.passphrase",
                )?
                .execute(params![
                    key(&person.name),
                    person.name,
                    word(person.role),
                    person.passphrase,
                    person.added_at.0
                ])?;
            Ok(())
        };
        self.shared.write(Duration::ZERO, work).await
    }

    /// Gives a person another role, another passphrase (its hash), or both.
    pub async fn change_person(
        &self,
        name: &str,
        role: Option<Scope>,
        passphrase: Option<String>,
    ) -> Result<Changed, StoreError> {
        let key = key(name);
        let work = move |writer: &mut super::hand::Writer| {
            let loses = role.is_some_and(|role| role < Scope::Administer);
            if loses && is_last_administrator(&writer.connection, &key)? {
                return Ok(Changed::LastAdministrator);
            }
            let changed = writer
                .connection
                .prepare_cached(
                    "UPDATE people SET role = ifnull(?2, role), passphrase = ifnull(?3, passphrase) WHERE key = ?1",
                )?
                .execute(params![key, role.map(word), passphrase])?;
            Ok(if changed > 0 { Changed::Done } else { Changed::Unknown })
        };
        self.shared.write(Duration::ZERO, work).await
    }

    /// Takes a person's way in away.
    pub async fn remove_person(&self, name: &str) -> Result<Changed, StoreError> {
        let key = key(name);
        let work = move |writer: &mut super::hand::Writer| {
            if is_last_administrator(&writer.connection, &key)? {
                return Ok(Changed::LastAdministrator);
            }
            let removed = writer.connection.prepare_cached("DELETE FROM people WHERE key = ?1")?.execute([&key])?;
            Ok(if removed > 0 { Changed::Done } else { Changed::Unknown })
        };
        self.shared.write(Duration::ZERO, work).await
    }
}

fn is_last_administrator(connection: &Connection, key: &str) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM people WHERE key = ?1 AND role = 'administer')
                AND NOT EXISTS (SELECT 1 FROM people WHERE key <> ?1 AND role = 'administer')",
        )?
        .query_row([key], |row| row.get(0))?)
}

/// A role that this version does not know gives nothing: the person is left out.
fn person(row: &Row<'_>) -> Result<Option<Person>, rusqlite::Error> {
    let role = scope(&row.get::<_, String>(1)?);
    let (name, passphrase, added_at) = (row.get(0)?, row.get(2)?, Timestamp(row.get(3)?));
    Ok(role.map(|role| Person { name, role, passphrase, added_at }))
}

const ROLES: [(Scope, &str); 3] =
    [(Scope::Read, "view"), (Scope::Operate, "operate"), (Scope::Administer, "administer")];

fn word(role: Scope) -> &'static str {
    ROLES.iter().find(|(known, _)| *known == role).map_or("view", |(_, word)| word)
}

fn scope(word: &str) -> Option<Scope> {
    ROLES.iter().find(|(_, known)| *known == word).map(|(role, _)| *role)
}
