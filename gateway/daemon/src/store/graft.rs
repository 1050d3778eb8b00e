//! A damaged list of tables is replaced by the one of a new file.
//!
//! SQLite keeps the list in the file's first page and a few more; without it no row can be found, although all rows may be
//! whole. A new file's tables are created in one go, so they begin at the same pages in every file of the version with which
//! it began, and the list of a new file fits any other. A file that began with an older version has its later tables
//! elsewhere: then the list of that version is taken, and what the later tables held is lost. If a list should not fit after
//! all, the rows read with it break the rules of their tables and are left out.

use super::files::{self, beside};
use super::migrate;
use rusqlite::Connection;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const PAGE_BYTES: usize = 4_096;

fn copy_of(path: &Path) -> PathBuf {
    beside(path, ".salvaging-copy")
}

fn fresh_of(path: &Path) -> PathBuf {
    beside(path, ".salvaging-new")
}

/// Removes what [`with_new_schema`] has made.
pub(super) fn remove(path: &Path) {
    files::remove(&copy_of(path));
    files::remove(&fresh_of(path));
}

/// A copy of the damaged file with the list of tables of a new one; `None` if that cannot be made.
pub(super) fn with_new_schema(path: &Path) -> Option<PathBuf> {
    remove(path);
    let copy = copy_of(path);
    let (fresh, roots) = list_that_fits(path)?;
    for suffix in ["", "-wal"] {
        let from = beside(path, suffix);
        if from.exists() {
            fs::copy(from, beside(&copy, suffix)).ok()?;
        }
    }
    let mut file = File::options().write(true).open(&copy).ok()?;
    let pages = u32::try_from(file.metadata().ok()?.len() / PAGE_BYTES as u64).ok()?;
    for (index, page) in fresh.chunks_exact(PAGE_BYTES).enumerate() {
        if index > 0 && roots.contains(&(index as i64 + 1)) {
            continue;
        }
        let mut page = page.to_vec();
        if index == 0 {
            adapt_header(&mut page, pages);
        }
        file.seek(SeekFrom::Start((index * PAGE_BYTES) as u64)).ok()?;
        file.write_all(&page).ok()?;
    }
    Some(copy)
}

/// The pages of a new file of the newest version of which most tables begin where this one has the beginning of a table, and
/// those beginnings.
fn list_that_fits(path: &Path) -> Option<(Vec<u8>, HashSet<i64>)> {
    let damaged = fs::read(path).ok()?;
    // A page's first byte says what it holds (SQLite file format, section 1.6): 2 and 10 an index, 5 and 13 a table.
    let class = |file: &[u8], page: i64| {
        let at = usize::try_from(page - 1).ok()? * PAGE_BYTES;
        Some(matches!(file.get(at)?, 2 | 10)).filter(|_| matches!(file[at], 2 | 5 | 10 | 13))
    };
    for version in (1..=migrate::NEWEST).rev() {
        let (fresh, roots) = new_file(&fresh_of(path), version).ok()?;
        let fitting = roots.iter().filter(|page| class(&fresh, **page) == class(&damaged, **page)).count();
        if version == 1 || fitting * 10 >= roots.len() * 9 {
            return Some((fresh, roots));
        }
    }
    None
}

/// The header's fields (SQLite file format, section 1.3): WAL mode, the file's true length, no list of free pages.
fn adapt_header(page: &mut [u8], pages: u32) {
    page[18..20].copy_from_slice(&[2, 2]);
    page[28..32].copy_from_slice(&pages.to_be_bytes());
    page[32..40].fill(0);
}

fn new_file(path: &Path, version: usize) -> Result<(Vec<u8>, HashSet<i64>), Box<dyn std::error::Error>> {
    files::remove(path);
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    migrate::migrate_to(&connection, version)?;
    let roots = connection
        .prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    drop(connection);
    Ok((fs::read(path)?, roots))
}
