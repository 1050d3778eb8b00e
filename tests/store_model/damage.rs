//! A torn log and damaged pages.

use super::*;
use gateway_core::config::{Config, Limits, Retention};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{Lane, Seq};
use gateway_daemon::store::{Record, Row};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

/// What can be seen of a history: the ids in the log, the cursor, the ordinal and the undone rows.
type Seen = (Vec<Id>, i64, u64, Vec<i64>, Vec<u8>);

async fn seen(store: &Store) -> Seen {
    let log = store.events_after(Seq(0), 1_000).await.unwrap().into_iter().map(|event| event.id).collect();
    let unfinished = store.unfinished(&analyzer()).await.unwrap();
    match store.backlog(&mqtt()).await {
        Ok(backlog) => {
            let rows = backlog.rows.iter().map(|row| row.seq.0).collect();
            (log, backlog.cursor.0, backlog.ordinal, rows, unfinished)
        }
        Err(_) => (log, -1, 0, Vec::new(), unfinished),
    }
}

fn held(seq: i64) -> Row {
    let state = DeliveryState::Held { attempts: 1, reason: Reason::new(ReasonCode::Certificate, "expired") };
    Row {
        seq: Seq(seq),
        ordinal: seq as u64,
        lane: Lane("a:hematology".into()),
        state,
        redriven: false,
        historical: false,
    }
}

#[test]
fn a_log_torn_anywhere_is_a_beginning_of_the_history() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let mut history = vec![seen(&store).await];
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        history.push(seen(&store).await);
        for number in 1..=6_i64 {
            let complete = number % 2 == 0;
            store.commit(place.entry(b"frame", &[(number as u64, bare())], complete)).await.unwrap();
            history.push(seen(&store).await);
            let rows = if number % 3 == 0 { vec![held(number)] } else { Vec::new() };
            store
                .record(&mqtt(), Record { rows, cursor: Some((Seq(number), number as u64)), ..Record::default() })
                .await
                .unwrap();
            history.push(seen(&store).await);
        }
        let wal = fs::read(place.folder.path().join("events.db-wal")).unwrap();
        let database = fs::read(place.path()).unwrap();
        drop(store);
        let mut reached = 0;
        for cut in cuts(wal.len()) {
            let torn = Place::new();
            fs::write(torn.path(), &database).unwrap();
            fs::write(torn.folder.path().join("events.db-wal"), &wal[..cut]).unwrap();
            let found = seen(&torn.open().await).await;
            let at = history.iter().rposition(|state| *state == found);
            let at = at.unwrap_or_else(|| panic!("cut at {cut}: {found:?} was never a state"));
            assert!(at >= reached, "cut at {cut}: a longer log gave an older state");
            reached = at;
        }
        assert_eq!(reached, history.len() - 1);
    });
}

/// Around the borders of the header and of every frame, and often inside: a frame of which one byte is missing is as good as
/// absent, its checksum covers all of it.
fn cuts(length: usize) -> Vec<usize> {
    let borders = (0..).map(|frame| 32 + frame * 4_120).take_while(|border| *border <= length);
    let mut cuts: Vec<usize> = borders.flat_map(|border| [border - 1, border, border + 1, border + 24]).collect();
    cuts.extend((0..length).step_by(307));
    cuts.push(length);
    cuts.retain(|cut| *cut <= length);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// A history of 300 events, stopped without a clean mark, all of it in the file.
async fn make_history(place: &Place) {
    let store = place.open().await;
    store.configure(&[(mqtt(), everything())]).await.unwrap();
    for number in 1..=60_u64 {
        let events: Vec<_> =
            (0..5).map(|part| (number * 5 + part - 4, of_test(EventName::NewData, number, 0, 4))).collect();
        let capture: Vec<u8> = (0..300_u64).map(|at| (at * number) as u8).collect();
        store.commit(place.entry(&capture, &events, true)).await.unwrap();
    }
    let rows = (100..=140).map(held).collect();
    store.record(&mqtt(), Record { rows, cursor: Some((Seq(200), 200)), ..Record::default() }).await.unwrap();
    drop(store);
    let raw = Connection::open(place.path()).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn damaged_files(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("damaged") && !name.ends_with("-wal")).count()
}

#[test]
fn whatever_page_is_damaged_the_rest_goes_on() {
    run(async {
        let place = Place::new();
        make_history(&place).await;
        let whole = fs::read(place.path()).unwrap();
        let mut losses = 0;
        for page in 0..whole.len() / 4_096 {
            let broken = Place::new();
            let mut bytes = whole.clone();
            bytes[page * 4_096..(page + 1) * 4_096]
                .iter_mut()
                .enumerate()
                .for_each(|(at, byte)| *byte = (at * 7) as u8 | 0x80);
            fs::write(broken.path(), &bytes).unwrap();
            let store = broken.try_open().await.unwrap_or_else(|error| panic!("page {page}: {error}"));
            losses += usize::from(check_salvaged(&broken, &store, page).await);
            drop(store);
            // The new file is whole: the next start finds nothing to do.
            let files = damaged_files(broken.folder.path());
            drop(broken.open().await);
            assert_eq!(damaged_files(broken.folder.path()), files);
        }
        assert!(losses > 10, "only {losses} pages held events");
    });
}

/// Returns whether something was missing.
async fn check_salvaged(broken: &Place, store: &Store, page: usize) -> bool {
    let events = store.events_after(Seq(0), 1_000).await.unwrap();
    let gap = events.iter().find(|event| event.kind.name == EventName::Gap);
    let kept: Vec<_> = events.iter().filter(|event| event.kind.name == EventName::NewData).collect();
    for event in &kept {
        assert_eq!(event.id, id(event.seq.0 as u64), "page {page}");
    }
    let missing = 300 - kept.len();
    if missing > 0 {
        let gap = gap.unwrap_or_else(|| panic!("page {page}: {missing} events are gone without a word"));
        assert_eq!(damaged_files(broken.folder.path()), 1);
        let ranges = gap.kind.details.as_ref().unwrap()["missing"].as_array().unwrap();
        let named = |seq: i64| {
            ranges.iter().any(|range| range[0].as_i64().unwrap() <= seq && seq <= range[1].as_i64().unwrap())
        };
        for seq in 1..=300 {
            assert!(named(seq) || kept.iter().any(|event| event.seq.0 == seq), "page {page}: event {seq} is not named");
        }
    }
    store.configure(&[(mqtt(), everything())]).await.unwrap();
    let committed = store.commit(broken.entry(b"new", &[(9_999, bare())], true)).await.unwrap();
    assert!(committed.last.0 > 300, "page {page}: a seq was given out twice");
    let backlog = store.backlog(&mqtt()).await.unwrap();
    // Undone before the damage: undone afterwards, as a row or because the cursor went back to before it.
    for event in kept.iter().filter(|event| (100..=140).contains(&event.seq.0) || event.seq.0 > 200) {
        let waits = event.seq > backlog.cursor || backlog.rows.iter().any(|row| row.seq == event.seq);
        assert!(waits, "page {page}: event {:?} would never be delivered", event.seq);
    }
    missing > 0
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    run(async {
        let place = Place::new();
        fs::write(place.path(), vec![0x55; 20_000]).unwrap();
        let store = place.open().await;
        assert_eq!(damaged_files(place.folder.path()), 1);
        assert_eq!(store.events_after(Seq(0), 10).await.unwrap()[0].kind.name, EventName::Gap);
    });
}

#[test]
fn a_salvage_cut_off_at_its_end_is_completed_by_the_next_start() {
    run(async {
        let place = Place::new();
        make_history(&place).await;
        let (good, salvaged) = (place.path(), place.folder.path().join("events.db.salvaged"));
        fs::rename(&good, &salvaged).unwrap();
        fs::write(&good, vec![0x55; 20_000]).unwrap();
        fs::write(place.folder.path().join("events.db-wal"), b"of the damaged file").unwrap();
        assert_eq!(place.open().await.counts().await.unwrap().events, 300);
        assert!(!salvaged.exists());
    });
}

#[test]
fn a_file_of_a_newer_version_is_used_and_left_as_it_is() {
    run(async {
        let place = Place::new();
        make_history(&place).await;
        let raw = Connection::open(place.path()).unwrap();
        raw.execute_batch("ALTER TABLE events ADD COLUMN colour TEXT; PRAGMA user_version = 99").unwrap();
        raw.execute("UPDATE events SET body = '{\"event\":\"FROM_THE_FUTURE\"}' WHERE seq = 7", []).unwrap();
        drop(raw);
        let store = place.open().await;
        store.commit(place.entry(b"x", &[(9_999, bare())], true)).await.unwrap();
        let strange = store.event(Seq(7)).await.unwrap().unwrap();
        assert_eq!(gateway_daemon::store::unsendable(&strange, &[]).unwrap().code, ReasonCode::CannotRender);
        drop(store);
        let raw = Connection::open(place.path()).unwrap();
        let version: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    });
}

#[test]
fn an_unfinished_message_that_cannot_be_read_is_given_up_and_said() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let line = |count: usize| -> Vec<u8> { (0..count).flat_map(|at| format!("part {at} ").into_bytes()).collect() };
        store.commit(place.entry(&line(100), &[(1, bare())], true)).await.unwrap();
        for count in [150, 200] {
            store.commit(place.entry(&line(count), &[], false)).await.unwrap();
        }
        let raw = Connection::open(place.path()).unwrap();
        let spoilt = raw.execute("UPDATE captures SET content = x'0103' WHERE id = 2 AND base = 1", []).unwrap();
        assert_eq!(spoilt, 1, "it is a patch");
        let unreadable = store.unfinished(&analyzer()).await.unwrap_err();
        assert!(!unreadable.is_refusal(), "{unreadable}");
        for _ in 0..2 {
            store.abandon_unfinished(&analyzer(), place.now(), id(500)).await.unwrap();
        }
        assert_eq!(store.unfinished(&analyzer()).await.unwrap(), b"");
        let events = store.events_after(Seq(1), 10).await.unwrap();
        let [gap] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((gap.id, &gap.analyzer, gap.kind.name), (id(500), &analyzer(), EventName::Gap));
        assert!(gap.kind.gap.as_ref().unwrap().reason.contains("never became complete"));
        // What comes next is stored and read as ever, and the sweep does not stumble over what cannot be read.
        store.commit(place.entry(&line(210), &[(2, bare())], true)).await.unwrap();
        store.record(&mqtt(), Record { cursor: Some((Seq(1), 1)), ..Record::default() }).await.unwrap();
        place.clock.pass(std::time::Duration::from_secs(86_400 * 31));
        let kept = Retention { attempts_kept_days: 1, captures_kept_days: 30, events_kept_days: 0 };
        let limits = Limits { store_bytes_max: None, ..Config::default().limits };
        assert_eq!(store.sweep(&limits, &kept, place.now(), id(600), || true).await.unwrap().captures, 1);
        assert_eq!(store.capture(Seq(3)).await.unwrap().unwrap(), line(210));
        assert!(store.capture(Seq(2)).await.is_err());
    });
}

#[test]
fn a_file_that_began_with_version_1_goes_on_and_is_salvaged_with_its_own_list_of_tables() {
    run(async {
        let place = Place::new();
        let raw = Connection::open(place.path()).unwrap();
        raw.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL").unwrap();
        raw.execute_batch(include_str!("../../gateway/daemon/src/store/schema.sql")).unwrap();
        raw.execute_batch("PRAGMA user_version = 1").unwrap();
        for number in 1..=300_u64 {
            raw.execute(
                "INSERT INTO events (id, analyzer, name, received_at, clock, boot, mono, has_device, body)
                 VALUES (?1, 'hematology', 'DEVICE_READY', 1000, 'synchronized', ?1, 0, 0, '{\"event\":\"DEVICE_READY\"}')",
                [id(number).0],
            )
            .unwrap();
        }
        drop(raw);
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let registered = store.register(Default::default(), place.now(), id(900)).await.unwrap();
        assert_eq!(registered.unwrap().number, 1);
        drop(store);
        let raw = Connection::open(place.path()).unwrap();
        raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(raw);
        let mut bytes = fs::read(place.path()).unwrap();
        bytes[..4_096].fill(0x55);
        fs::write(place.path(), bytes).unwrap();
        let store = place.open().await;
        assert_eq!(damaged_files(place.folder.path()), 1);
        let events = store.events_after(Seq(0), 1_000).await.unwrap();
        let kept = events.iter().filter(|event| event.kind.name == EventName::DeviceReady && event.seq.0 <= 300);
        assert_eq!(kept.map(|event| event.id).collect::<Vec<_>>(), (1..=300).map(id).collect::<Vec<_>>());
        store.register(Default::default(), place.now(), id(901)).await.unwrap().unwrap();
    });
}
