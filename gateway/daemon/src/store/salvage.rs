//! A damaged file is read row by row into a new one; what cannot be read is named in a `GAP` event.
//!
//! Power may go in the middle: the new file is built as `<name>.salvaging`, the damaged one kept as `<name>.damaged-<n>`, and
//! the rename to `<name>.salvaged` is the moment from which the new file counts. [`finish`] completes what was cut off.
//!
//! In doubt an event is delivered again rather than never: a destination whose rows cannot all be read goes back to before
//! the first one missing, and destinations that are lost start at the log's beginning.

mod books;

use super::connect::prepared;
use super::error::{StoreError, cannot_open};
use super::files::{beside, remove};
use super::{events, graft, migrate};
use crate::platform::Clock;
use gateway_core::event::{AnalyzerId, EventKind, EventName, Gap, Id};
use gateway_core::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Looks for the next readable row behind a damaged place, in all.
const PROBES_MAX: u32 = 1_000_000;
/// After this many failed looks the steps double.
const PROBES_A_STEP: u32 = 256;
/// How far behind the last readable row is looked if the table's end is unknown.
const UNKNOWN_END: i64 = 100_000;
/// Rows in one transaction of the new file.
const ROWS_A_TRANSACTION: u64 = 5_000;
/// Missing ranges named in the event.
const RANGES_NAMED_MAX: usize = 100;

/// A stretch of keys, both ends included, in which something could not be read.
type Range = (i64, i64);

/// Sets the damaged file aside and opens what could be read of it.
pub(super) fn salvage(path: &Path, clock: &dyn Clock) -> Result<Connection, StoreError> {
    let building = beside(path, ".salvaging");
    remove(&building);
    let aside = name_aside(path);
    build(path, &building, &aside, clock)?;
    let io = |error: std::io::Error| StoreError::new(format!("cannot set {} aside: {error}", path.display()));
    for suffix in ["", "-wal"] {
        let (from, to) = (beside(path, suffix), beside(&aside, suffix));
        if from.exists() && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(io)?;
        }
    }
    File::open(&building).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&building, beside(path, ".salvaged")).map_err(io)?;
    finish(path).map_err(io)?;
    prepared(path).map_err(|error| cannot_open(path, &error))
}

/// Puts a salvaged file in its place, if one waits: after [`salvage`], or after a power cut in it.
pub(super) fn finish(path: &Path) -> std::io::Result<()> {
    let salvaged = beside(path, ".salvaged");
    if !salvaged.exists() {
        return Ok(());
    }
    sync_folder(path)?;
    // The old log must be gone before the new file has the name, or SQLite would replay it into the wrong file.
    for suffix in ["-wal", "-shm"] {
        let old = beside(path, suffix);
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    sync_folder(path)?;
    fs::rename(salvaged, path)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn name_aside(path: &Path) -> PathBuf {
    let free = (1..10_000).map(|n| beside(path, &format!(".damaged-{n}"))).find(|name| !name.exists());
    free.unwrap_or_else(|| beside(path, ".damaged-0"))
}

/// What could not be read.
#[derive(Default)]
struct Losses {
    events: Vec<Range>,
    captures: u64,
    deliveries: u64,
    attempts: u64,
    registrations: u64,
    facts: u64,
    audit: u64,
    destinations: bool,
    /// Small tables that were read up to their first unreadable row.
    tables: Vec<&'static str>,
}

impl Losses {
    fn any(&self) -> bool {
        let rows = self.captures + self.deliveries + self.attempts + self.registrations + self.facts + self.audit;
        !self.events.is_empty() || rows > 0 || self.destinations || !self.tables.is_empty()
    }
}

fn build(path: &Path, building: &Path, aside: &Path, clock: &dyn Clock) -> Result<(), StoreError> {
    let to = Connection::open(building).map_err(|error| cannot_open(building, &error))?;
    to.pragma_update(None, "page_size", 4096)?;
    // Until it is complete the new file can be thrown away, so it needs no journal on disk.
    to.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    to.pragma_update(None, "synchronous", "OFF")?;
    to.pragma_update(None, "foreign_keys", "ON")?;
    migrate::migrate(&to)?;
    to.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('clean', 0)", [])?;
    let mut losses = Losses::default();
    match Source::open(path).ok().or_else(|| graft::with_new_schema(path).and_then(|copy| Source::open(&copy).ok())) {
        Some(from) => copy_all(&from, &to, &mut losses)?,
        // Not even the list of tables can be read: begin anew, from the log's start.
        None => {
            losses.destinations = true;
            losses.events.push((1, i64::MAX));
        }
    }
    graft::remove(path);
    if losses.destinations {
        to.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('cursors_lost', 1)", [])?;
    }
    if losses.any() {
        say_what_is_missing(&to, &losses, aside, clock)?;
    }
    to.close().map_err(|(_, error)| cannot_open(building, &error))
}

fn copy_all(from: &Source, to: &Connection, losses: &mut Losses) -> Result<(), StoreError> {
    losses.captures = from.copy(to, "captures", "id", None)?.lost;
    let events = from.copy(to, "events", "seq", None)?;
    losses.events = events.holes;
    let destinations = from.copy_small(to, "destinations")?;
    let epochs = from.copy_small(to, "epochs")?;
    losses.destinations = !(destinations && epochs);
    books::live_parts(from, to)?;
    let known = to
        .prepare("SELECT id FROM destinations")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    for destination in known {
        let rows = from.copy(to, "deliveries", "seq", Some(&destination))?;
        losses.deliveries += rows.lost;
        if let Some((first, _)) = rows.holes.first() {
            to.execute("DELETE FROM deliveries WHERE destination = ?1 AND seq >= ?2", params![destination, first])?;
            to.execute(
                "UPDATE destinations SET cursor = min(cursor, ?2 - 1) WHERE id = ?1",
                params![destination, first],
            )?;
            to.execute("DELETE FROM live_parts WHERE destination = ?1 AND cursor >= ?2", params![destination, first])?;
        }
    }
    books::settle_live_parts(to)?;
    books::copy(from, to, losses)?;
    losses.attempts = from.copy(to, "attempts", "id", None)?.lost;
    restore_head(from, to, losses)
}

/// No seq may be given out twice, so the new log goes on behind every seq that was ever seen.
fn restore_head(from: &Source, to: &Connection, losses: &mut Losses) -> Result<(), StoreError> {
    let read: i64 = to.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    let seen: i64 = to.query_row(
        "SELECT max(coalesce((SELECT max(cursor) FROM destinations), 0), coalesce((SELECT max(from_seq) - 1 FROM epochs), 0),
                    coalesce((SELECT max(cursor) FROM live_parts), 0), ?1, ?2)",
        params![read, from.given_out("events")],
        |row| row.get(0),
    )?;
    if seen > read && losses.events.last().is_none_or(|(_, last)| *last < seen) {
        losses.events.push((read + 1, seen));
    }
    let changed = to.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'events'", [seen])?;
    if changed == 0 && seen > 0 {
        to.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)", [seen])?;
    }
    Ok(())
}

fn say_what_is_missing(to: &Connection, losses: &Losses, aside: &Path, clock: &dyn Clock) -> Result<(), StoreError> {
    let time = |sql: &str, seq: i64| -> Option<Timestamp> {
        to.query_row(sql, [seq], |row| row.get(0)).optional().ok().flatten().map(Timestamp)
    };
    let (first, last) = (losses.events.first().copied(), losses.events.last().copied());
    let before = "SELECT received_at FROM events WHERE seq < ?1 ORDER BY seq DESC LIMIT 1";
    let behind = "SELECT received_at FROM events WHERE seq > ?1 ORDER BY seq LIMIT 1";
    let gap = Gap {
        reason: "The database was damaged. What could be read of it has been kept.".to_owned(),
        from: first.and_then(|(first, _)| time(before, first)),
        to: last.and_then(|(_, last)| time(behind, last)),
    };
    let named: Vec<&Range> = losses.events.iter().take(RANGES_NAMED_MAX).collect();
    let details = json!({
        "missing": named,
        "ranges": losses.events.len(),
        "captures": losses.captures,
        "deliveries": losses.deliveries,
        "attempts": losses.attempts,
        "registrations": losses.registrations,
        "facts": losses.facts,
        "audit": losses.audit,
        "tables": losses.tables,
        "destinations": losses.destinations,
        "kept_as": aside.file_name().map(|name| name.to_string_lossy()),
    });
    let (now, boot) = (clock.now(), clock.boot());
    let id = Id::derived(&[b"salvage", &boot.0, &now.mono.0.to_be_bytes(), &now.wall.0.to_be_bytes()]);
    let kind = EventKind { gap: Some(gap), details: Some(details), ..EventKind::bare(EventName::Gap) };
    events::insert(to, id, &AnalyzerId(events::GATEWAY.to_owned()), now, boot, None, &kind)?;
    Ok(())
}

/// The damaged file.
struct Source(Connection);

/// What [`Source::copy`] could not copy: stretches of keys that cannot be read, and how many rows that is at most.
struct Copied {
    holes: Vec<Range>,
    lost: u64,
    /// Where copying goes on.
    next: i64,
    /// No key lies behind it.
    last_key: i64,
}

impl Source {
    fn open(path: &Path) -> Result<Source, rusqlite::Error> {
        let connection = Connection::open(path)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(Source(connection))
    }

    /// Whether its list of tables names this one.
    fn has(&self, table: &str) -> bool {
        let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        self.0.prepare(sql).and_then(|mut select| select.exists([table])).unwrap_or(false)
    }

    /// The highest key that the table's counter remembers; 0 if that cannot be read.
    fn given_out(&self, table: &str) -> i64 {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
        self.0.query_row(sql, [table], |row| row.get(0)).unwrap_or(0)
    }

    fn columns(&self, to: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
        let names = |connection: &Connection| -> Result<Vec<String>, rusqlite::Error> {
            let mut select = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
            select.query_map([table], |row| row.get(0))?.collect()
        };
        let theirs = names(&self.0).unwrap_or_default();
        Ok(names(to)?.into_iter().filter(|name| theirs.contains(name)).collect())
    }

    /// A table of a few rows, up to the first one that cannot be read. Returns whether that was all.
    fn copy_small(&self, to: &Connection, table: &str) -> Result<bool, StoreError> {
        let columns = self.columns(to, table)?;
        let select = format!("SELECT {} FROM {table}", columns.join(", "));
        let insert = insert_into(table, &columns);
        let Ok(mut statement) = self.0.prepare(&select) else { return Ok(false) };
        let mut rows = statement.query([])?;
        let mut complete = true;
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let kept =
                        values(row, 0, columns.len()).map(|values| to.execute(&insert, params_from_iter(values)));
                    complete &= matches!(kept, Ok(Ok(_)));
                    refuse_full_disk(kept)?;
                }
                Ok(None) => return Ok(complete),
                Err(_) => return Ok(false),
            }
        }
    }

    /// A table with an integer key, of one destination or whole.
    fn copy(&self, to: &Connection, table: &str, key: &str, of: Option<&str>) -> Result<Copied, StoreError> {
        let columns = self.columns(to, table)?;
        let (insert, count) = (insert_into(table, &columns), columns.len());
        let scope = if of.is_some() { "destination = ?2" } else { "?2 IS NULL" };
        let mut list = vec![key.to_owned()];
        list.extend(columns);
        let list = list.join(", ");
        let select = format!("SELECT {list} FROM {table} NOT INDEXED WHERE {scope} AND {key} >= ?1 ORDER BY {key}");
        let given_out = self.given_out(table);
        let end = self.0.query_row(&format!("SELECT max({key}) FROM {table}"), [], |row| row.get::<_, Option<i64>>(0));
        let mut copied = Copied { holes: Vec::new(), lost: 0, next: i64::MIN, last_key: i64::MAX };
        if given_out > 0 {
            copied.last_key = given_out;
        }
        to.execute_batch("BEGIN")?;
        while !self.copy_on(to, &select, &insert, count, of, &mut copied)? {
            let from = copied.next.max(1);
            let end = match &end {
                Ok(end) => end.unwrap_or(0).max(given_out),
                Err(_) => given_out.max(from.saturating_add(UNKNOWN_END)),
            };
            let found = self.next_readable(&format!("{select} LIMIT 1"), count, of, from, end);
            copied.hole(from, found.map_or(end.max(from), |found| found - 1));
            match found {
                Some(found) => copied.next = found,
                None => break,
            }
        }
        to.execute_batch("COMMIT")?;
        Ok(copied)
    }

    /// Copies rows from `copied.next` on; `false` if it ends at something that cannot be read.
    fn copy_on(
        &self,
        to: &Connection,
        select: &str,
        insert: &str,
        count: usize,
        of: Option<&str>,
        copied: &mut Copied,
    ) -> Result<bool, StoreError> {
        let Ok(mut statement) = self.0.prepare(select) else { return Ok(false) };
        let mut insert = to.prepare_cached(insert)?;
        let mut rows = statement.query(params![copied.next, of])?;
        let mut written: u64 = 0;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            };
            let Ok(at) = row.get::<_, i64>(0) else { continue };
            if at < copied.next || at > copied.last_key {
                // A key that was never given out, or one out of order: the page holds something else.
                copied.lost += 1;
                continue;
            }
            copied.next = at.saturating_add(1);
            let kept = values(row, 1, count).map(|values| insert.execute(params_from_iter(values)));
            if !matches!(kept, Ok(Ok(_))) {
                refuse_full_disk(kept)?;
                copied.hole(at, at);
            }
            written += 1;
            if written.is_multiple_of(ROWS_A_TRANSACTION) {
                to.execute_batch("COMMIT; BEGIN")?;
            }
        }
    }

    /// The first key at or behind `from` whose row can be read whole.
    fn next_readable(&self, sql: &str, columns: usize, of: Option<&str>, from: i64, end: i64) -> Option<i64> {
        let mut statement = self.0.prepare(sql).ok()?;
        let (mut at, mut step, mut failures) = (from, 1, 0);
        while at <= end && failures < PROBES_MAX {
            match statement.query_row(params![at, of], |row| values(row, 1, columns).and_then(|_| row.get::<_, i64>(0)))
            {
                Ok(found) if step == 1 => return Some(found),
                Ok(_) => (at, step) = (at - step + 1, 1),
                Err(rusqlite::Error::QueryReturnedNoRows) => return None,
                Err(_) => {
                    failures += 1;
                    if failures % PROBES_A_STEP == 0 {
                        step *= 2;
                    }
                    at += step;
                }
            }
        }
        None
    }
}

impl Copied {
    fn hole(&mut self, from: i64, to: i64) {
        self.lost += u64::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(0);
        match self.holes.last_mut() {
            Some((_, last)) if *last >= from - 1 => *last = to,
            _ => self.holes.push((from, to)),
        }
    }
}

fn insert_into(table: &str, columns: &[String]) -> String {
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), places.join(", "))
}

fn values(row: &rusqlite::Row<'_>, skipped: usize, count: usize) -> Result<Vec<Value>, rusqlite::Error> {
    (skipped..skipped + count).map(|column| row.get(column)).collect()
}

/// A row that breaks a rule of its table is damage; a disk that takes no more is not.
fn refuse_full_disk(kept: Result<Result<usize, rusqlite::Error>, rusqlite::Error>) -> Result<(), StoreError> {
    use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
    match kept {
        Ok(Err(error)) if matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure)) => {
            Err(StoreError::new(
                "cannot salvage the damaged database: the disk is full. Free some space, then start again.",
            ))
        }
        _ => Ok(()),
    }
}
