//! The table `tokens`: clients that `token add` has made. Those of the settings are not here.

use super::error::StoreError;
use super::{Store, StoredToken};
use gateway_core::config::Scope;
use gateway_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::time::Duration;

impl Store {
    /// Every client made by `token add`.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        self.read(all).await
    }

    /// Adds a client; `false` if there is one of this id or with this token.
    pub async fn add_token(&self, token: StoredToken) -> Result<bool, StoreError> {
        self.shared.write(Duration::ZERO, move |writer| add(&writer.connection, &token)).await
    }

    /// Removes a client; `false` if there was none.
    pub async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let work = move |writer: &mut super::hand::Writer| {
            Ok(writer.connection.prepare_cached("DELETE FROM tokens WHERE id = ?1")?.execute([&id])? > 0)
        };
        self.shared.write(Duration::ZERO, work).await
    }
}

fn add(connection: &Connection, token: &StoredToken) -> Result<bool, StoreError> {
    let added = connection
        .prepare_cached(
            "INSERT INTO tokens (id, hash, scope, added_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![token.id, token.hash, word(token.scope), token.added_at.0])?;
    Ok(added > 0)
}

/// A scope that this version does not know gives nothing: the client is left out.
pub(super) fn all(connection: &Connection) -> Result<Vec<StoredToken>, StoreError> {
    let mut select = connection.prepare_cached("SELECT id, hash, scope, added_at FROM tokens ORDER BY id")?;
    let rows = select.query_map([], |row| {
        let scope = scope(&row.get::<_, String>(2)?);
        let (id, hash, added_at) = (row.get(0)?, row.get(1)?, Timestamp(row.get(3)?));
        Ok(scope.map(|scope| StoredToken { id, hash, scope, added_at }))
    })?;
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

const SCOPES: [(Scope, &str); 4] =
    [(Scope::Post, "post"), (Scope::Read, "read"), (Scope::Operate, "operate"), (Scope::Administer, "administer")];

fn word(scope: Scope) -> &'static str {
    SCOPES.iter().find(|(known, _)| *known == scope).map_or("post", |(_, word)| word)
}

fn scope(word: &str) -> Option<Scope> {
    SCOPES.iter().find(|(_, known)| *known == word).map(|(scope, _)| *scope)
}
