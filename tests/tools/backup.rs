//! A backup taken while the gateway stores, and what it becomes on another box.

use super::box_::{Box, Said, free_port};
use super::home::Home;
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Written into the settings, and nowhere else.
const SECRET: &str = "a-secret-for-the-backup-test";
/// Acknowledged tests before the backup begins.
const BEFORE: usize = 3;

fn samples(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).expect("a database");
    let sql = "SELECT body ->> '$.test.sample_id' FROM events WHERE name = 'TEST_FINISHED' ORDER BY seq";
    let mut select = connection.prepare(sql).expect("a statement");
    select.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("texts")
}

fn number(database: &Path, sql: &str) -> i64 {
    let connection = Connection::open(database).expect("a database");
    connection.query_row(sql, [], |row| row.get(0)).expect("a number")
}

fn settings() -> String {
    let port = free_port();
    format!(
        "http: {{ listen: '127.0.0.1:{port}' }}\nsources:\n  - {{ id: other, dialect: session, secret: {SECRET} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_under_load_is_in_it_and_can_be_restored() {
    let the_box = Box::new(&settings());
    let (gateway, mut cable) = the_box.start().await;
    let (acknowledged, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, ended) = (Arc::clone(&acknowledged), Arc::clone(&stop));
    let talker = tokio::spawn(async move {
        while !ended.load(Ordering::Relaxed) {
            let next = count.load(Ordering::Relaxed) + 1;
            Box::tell(&mut cable, &format!("LOAD-{next:04}")).await;
            count.store(next, Ordering::Relaxed);
        }
    });
    let some = || (acknowledged.load(Ordering::Relaxed) >= BEFORE).then_some(());
    the_box.home.eventually("some tests", some).await;
    let before = acknowledged.load(Ordering::Relaxed);
    let file = the_box.home.path("box.tar");
    let said = the_box.say(&["backup", "--json", "--to", &file.to_string_lossy()]).await.expect(0).json();
    stop.store(true, Ordering::Relaxed);
    talker.await.expect("it talks on");
    assert_eq!(said["manifest"]["gateway"], "box");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let holds = |path: &Path, word: &str| {
        let bytes = std::fs::read(path).expect("a file");
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    assert!(holds(&file, "***") && !holds(&file, SECRET), "the settings are there without their secret");
    let names = std::fs::read_dir(file.parent().expect("a folder")).expect("a folder").flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.starts_with("box.tar.")), "{names:?}");
    the_box.say(&["backup", "--to", &file.to_string_lossy()]).await.expect(1);
    let with = the_box.home.path("with.tar");
    the_box.say(&["backup", "--with-secrets", "--to", &with.to_string_lossy()]).await.expect(0);
    assert!(holds(&with, SECRET));

    refused(&the_box, &file).await;
    let state = restored(&the_box, &file, before).await;
    gateway.stop().await;
    goes_on(&the_box, &state).await;
}

async fn into(the_box: &Box, file: &Path, folder: &Path) -> Said {
    let (file, folder) = (file.to_string_lossy(), folder.to_string_lossy());
    the_box.say_bare(&["restore", &file, "--state-dir", &folder, "--force"]).await
}

/// Nothing is touched where it must not be.
async fn refused(the_box: &Box, file: &Path) {
    let full = the_box.home.path("full");
    std::fs::create_dir(&full).expect("a folder of our own");
    std::fs::write(full.join("events.db"), "somebody's").expect("a folder of our own");
    let running = the_box.home.state_dir();
    let said = into(the_box, file, &running).await.expect(1);
    assert!(said.err.contains("another analyzer-gateway"), "{}", said.err);
    the_box.say_bare(&["restore", &file.to_string_lossy()]).await.expect(2);
    the_box.say_bare(&["restore", "nowhere.tar", "--state-dir", "elsewhere"]).await.expect(3);
    let bytes = std::fs::read(file).expect("a file");
    let middle = bytes.len() / 2;
    let mut other = bytes.clone();
    other[middle] ^= 0x55;
    for (name, bytes) in [("changed", &other[..]), ("short", &bytes[..middle]), ("foreign", &b"no archive at all"[..])]
    {
        let damaged = the_box.home.write(name, bytes);
        let said = into(the_box, &damaged, &full).await.expect(1);
        assert!(said.err.contains("no good backup"), "{name}: {}", said.err);
        the_box.say_bare(&["restore", &damaged.to_string_lossy(), "--check"]).await.expect(1);
    }
    assert_eq!(std::fs::read(full.join("events.db")).expect("a file"), b"somebody's");
    let names: Vec<_> = std::fs::read_dir(&full).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(names.iter().all(|name| name == "events.db" || name == "events.db.lock"), "{names:?}");
    the_box.say_bare(&["restore", &file.to_string_lossy(), "--check"]).await.expect(0).holds(&["good"]);
}

async fn restored(the_box: &Box, file: &Path, before: usize) -> PathBuf {
    let state = the_box.home.path("full");
    let (file, folder) = (file.to_string_lossy(), state.to_string_lossy());
    let said = the_box.say_bare(&["restore", &file, "--state-dir", &folder]).await.expect(1);
    assert!(said.err.contains("--force"), "{}", said.err);
    let said =
        the_box.say_bare(&["restore", &file, "--state-dir", &folder, "--force", "--json"]).await.expect(0).json();
    let aside = PathBuf::from(said["aside"].as_str().expect("a folder"));
    assert_eq!(std::fs::read(aside.join("events.db")).expect("what was there"), b"somebody's");
    let there = samples(&state.join("events.db"));
    let wanted: Vec<String> = (1..=there.len()).map(|count| format!("LOAD-{count:04}")).collect();
    assert_eq!(there, wanted, "no hole and nothing twice");
    assert!(there.len() >= before, "{} of {before} acknowledged ones", there.len());
    state
}

/// A gateway goes on with it: nothing is given out twice, and the log says what is missing.
async fn goes_on(the_box: &Box, state: &Path) {
    let database = state.join("events.db");
    let newest = number(&database, "SELECT max(seq) FROM events WHERE name = 'TEST_FINISHED'");
    let gaps = "SELECT count(*) FROM events WHERE name = 'GAP' AND body LIKE '%restored from a backup%'";
    assert_eq!(number(&database, gaps), 1);
    std::fs::remove_dir_all(the_box.home.state_dir()).expect("a folder of our own");
    std::fs::rename(state, the_box.home.state_dir()).expect("a folder of our own");
    let (gateway, mut cable) = the_box.start().await;
    let tests = the_box.finished().await.len();
    Box::tell(&mut cable, "AFTER-0001").await;
    the_box.stored(tests + 1).await;
    gateway.stop().await;
    let database = the_box.home.state_dir().join("events.db");
    let later = number(&database, "SELECT max(seq) FROM events WHERE name = 'TEST_FINISHED'");
    assert!(later > newest + 1_000_000, "{later} follows {newest}");
    assert_eq!(samples(&database).last().map(String::as_str), Some("AFTER-0001"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_box_sends_nothing_of_the_one_that_was_backed_up() {
    let the_box = Box::new("");
    let (gateway, mut cable) = the_box.start().await;
    Box::tell(&mut cable, "FIRST-0001").await;
    the_box.stored(1).await;
    the_box.say(&["token", "add", "portal", "--scope", "read"]).await.expect(0);
    gateway.stop().await;
    let file = the_box.home.path("down.tar");
    the_box.say(&["backup", "--with-secrets", "--to", &file.to_string_lossy()]).await.expect(0);

    let other = Home::new();
    let state = other.path("state");
    let arguments = ["restore", &file.to_string_lossy(), "--state-dir", &state.to_string_lossy(), "--new-identity"];
    the_box.say_bare(&arguments).await.expect(0).holds(&["gateway.id"]);
    let database = state.join("events.db");
    assert_eq!(samples(&database), ["FIRST-0001"]);
    for table in ["destinations", "deliveries", "epochs", "attempts", "tokens"] {
        assert_eq!(number(&database, &format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    let mode = std::fs::metadata(state.join("settings-of-backup.yaml")).expect("the settings").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    assert!(!state.join("last-good.yaml").exists(), "it must not run on the first one's settings");
}
