//! What version 2 keeps beside the log, read row by row out of a damaged file.
//!
//! What can be told from the log is made again from it: which samples lead to a registration, what an event without its facts
//! was, how far a session has counted. A file of version 1 has none of these tables, and lacks nothing.

use super::super::{facts, registrations};
use super::{Losses, Range, Source, StoreError};
use gateway_core::dialects::session_of;
use gateway_core::event::EventKind;
use gateway_core::registration::Registration;
use rusqlite::{Connection, OptionalExtension, params};

/// Live parts, before the rows that belong to them.
pub(super) fn live_parts(from: &Source, to: &Connection) -> Result<(), StoreError> {
    if from.has("live_parts") {
        // One that is lost is no loss: its destination goes on from its cursor, and what is sent twice has the same id.
        from.copy_small(to, "live_parts")?;
    }
    Ok(())
}

/// Rows beyond a cursor mean something only with the live part that they belong to.
pub(super) fn settle_live_parts(to: &Connection) -> Result<(), StoreError> {
    to.execute(
        "DELETE FROM deliveries WHERE seq > (SELECT cursor FROM destinations WHERE destinations.id = destination)
         AND destination NOT IN (SELECT destination FROM live_parts)",
        [],
    )?;
    Ok(())
}

/// Everything else, once events and destinations are there.
pub(super) fn copy(from: &Source, to: &Connection, losses: &mut Losses) -> Result<(), StoreError> {
    if !from.has("facts") {
        return Ok(());
    }
    copy_registrations(from, to, losses)?;
    copy_facts(from, to, losses)?;
    for table in ["manifests", "tokens", "erasures"] {
        if !from.copy_small(to, table)? {
            losses.tables.push(table);
        }
    }
    // Numbers that are lost are learnt again.
    if from.has("identities") {
        from.copy_small(to, "identities")?;
    }
    // Whoever is lost is added again; if nobody is left, there is a new pairing code.
    if from.has("people") && !from.copy_small(to, "people")? {
        losses.tables.push("people");
    }
    // A page of something else can look like a row.
    to.execute("DELETE FROM people WHERE passphrase NOT GLOB '$argon2id$*'", [])?;
    to.execute("DELETE FROM erasures WHERE length(id) <> 16 OR NOT json_valid(ifnull(subject, '{}'))", [])?;
    to.execute("DELETE FROM tokens WHERE length(hash) <> 64 OR hash GLOB '*[^0-9a-f]*'", [])?;
    losses.audit = from.copy(to, "audit", "id", None)?.lost;
    go_on_behind(to, "audit", from.given_out("audit"))?;
    Ok(())
}

fn copy_registrations(from: &Source, to: &Connection, losses: &mut Losses) -> Result<(), StoreError> {
    losses.registrations = from.copy(to, "registrations", "number", None)?.lost;
    let rows = to
        .prepare("SELECT number, id, body FROM registrations ORDER BY number")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<Vec<(i64, String, String)>, _>>()?;
    for (number, id, body) in rows {
        match serde_json::from_str::<Registration>(&body) {
            Ok(registration) if registration.number == number && registration.id == id => {
                registrations::save(to, &registration)?;
            }
            _ => {
                to.execute("DELETE FROM registrations WHERE number = ?1", [number])?;
                losses.registrations += 1;
            }
        }
    }
    go_on_behind(to, "registrations", from.given_out("registrations"))
}

/// No key may be given out twice.
fn go_on_behind(to: &Connection, table: &str, given_out: i64) -> Result<(), StoreError> {
    let changed =
        to.execute("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", params![table, given_out])?;
    if changed == 0 && given_out > 0 {
        to.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, given_out])?;
    }
    Ok(())
}

fn copy_facts(from: &Source, to: &Connection, losses: &mut Losses) -> Result<(), StoreError> {
    // Of events that are lost themselves there are no facts: the tables' own rule leaves them out.
    let holes = from.copy(to, "facts", "seq", None)?.holes;
    if !from.copy_small(to, "sessions")? {
        losses.tables.push("sessions");
    }
    for hole in holes {
        losses.facts += make_facts_again(to, hole)?;
    }
    to.execute(
        "INSERT INTO sessions (session, next) SELECT session, max(sequence) + 1 FROM facts
         WHERE session IS NOT NULL AND sequence IS NOT NULL GROUP BY session
         ON CONFLICT (session) DO UPDATE SET next = max(next, excluded.next)",
        [],
    )?;
    Ok(())
}

/// What the events of this stretch say of themselves. Their registrations are named in their bodies or not at all. Returns how
/// many had something to say.
fn make_facts_again(to: &Connection, (first, last): Range) -> Result<u64, StoreError> {
    let mut select = to.prepare(
        "SELECT seq, body FROM events WHERE seq BETWEEN ?1 AND ?2 AND seq NOT IN (SELECT seq FROM facts) ORDER BY seq",
    )?;
    let rows = select
        .query_map([first, last], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, String)>, _>>()?;
    let mut made = 0;
    for (seq, body) in rows {
        let Ok(kind) = serde_json::from_str::<EventKind>(&body) else { continue };
        let session = session_of(&kind);
        // The number behind the one before it, unless the one after it has that.
        let sequence: Option<i64> = to
            .query_row(
                "SELECT ifnull(max(sequence) + 1, 0) FROM facts WHERE session = ?1 AND seq < ?2
                 HAVING NOT EXISTS (SELECT 1 FROM facts AS taken WHERE taken.session = ?1
                                    AND taken.sequence = (SELECT ifnull(max(sequence) + 1, 0) FROM facts WHERE session = ?1 AND seq < ?2))",
                params![session, seq],
                |row| row.get(0),
            )
            .optional()?
            .filter(|_| session.is_some());
        let number = kind.registration.as_ref().map(|fact| fact.number).filter(|number| *number > 0);
        made += u64::from(facts::note_as(to, seq, &kind, session.as_deref(), sequence, number)?);
    }
    Ok(made)
}
