//! The queue in front of the writer: grouping, isolation, dropped futures, crashes, a full disk, two daemons.

use super::*;
use gateway_core::delivery::{DeliveryState, LiveMove, LivePart, Reason, ReasonCode};
use gateway_core::event::{Lane, Seq};
use gateway_core::time::{Mono, Timestamp};
use gateway_daemon::platform::CommitMoment;
use gateway_daemon::platform::disk::BlockingDisk;
use gateway_daemon::store::{Record, Row};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Counts the transactions of the real disk adapter.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Disk for Counting {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> gateway_daemon::platform::BoxFuture<'static, ()> {
        BlockingDisk.run(work)
    }
    fn at_commit(&self, moment: CommitMoment) -> Result<(), String> {
        self.0.fetch_add(usize::from(moment == CommitMoment::Before), Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn sixty_four_tasks_share_transactions_and_all_is_stored() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (place, disk) = (Place::new(), Arc::new(Counting::default()));
        let store = place.open_on(disk.clone()).await.unwrap();
        let mut tasks = JoinSet::new();
        for task in 0..64_u64 {
            let (store, place) = (store.clone(), place.clock.clone());
            tasks.spawn(async move {
                for round in 0..10 {
                    let events = vec![(id(task * 100 + round), bare())];
                    let at = place.now();
                    let capture = vec![7; 100];
                    let entry = NewEntry { analyzer: analyzer(), at, capture, events, complete: true };
                    assert_eq!(store.commit(entry).await.unwrap().stored, 1);
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(store.counts().await.unwrap().events, 640);
        assert_eq!(store.head().borrow().0, 640);
        let transactions = disk.0.load(Ordering::Relaxed);
        assert!(transactions < 320, "{transactions} transactions for 640 commits");
    });
}

#[test]
fn a_request_that_fails_takes_no_other_with_it() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let stray = DestinationId("webhook:unknown".into());
        let beyond = Record { cursor: Some((Seq(999), 1)), ..Record::default() };
        let mqtt = mqtt();
        hold(&place, &store).await;
        let (one, other, unknown, far) = tokio::join!(
            store.commit(place.entry(b"one", &[(1, bare())], true)),
            store.commit(place.entry(b"two", &[(2, bare())], true)),
            store.record(&stray, Record::default()),
            store.record(&mqtt, beyond),
        );
        assert_eq!((one.unwrap().last, other.unwrap().last), (Seq(1), Seq(2)));
        let (unknown, far) = (unknown.unwrap_err(), far.unwrap_err());
        assert!(unknown.is_refusal() && unknown.0.contains("webhook:unknown"), "{unknown}");
        assert!(far.is_refusal() && far.0.contains("beyond the log"), "{far}");
        assert_eq!(store.capture(Seq(2)).await.unwrap().unwrap(), b"two");
    });
}

/// With a linger and two active analyzers the leader waits, so that the requests of this test meet in one transaction.
async fn hold(place: &Place, store: &Store) {
    store.set_linger(Duration::from_millis(5));
    let entry = NewEntry { analyzer: AnalyzerId("other".into()), ..place.entry(b"", &[], false) };
    store.commit(entry).await.unwrap();
}

#[test]
fn a_leader_dropped_while_it_waits_is_replaced_by_a_follower() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        hold(&place, &store).await;
        let mut leader = Box::pin(store.commit(place.entry(b"one", &[(1, bare())], true)));
        let mut follower = Box::pin(store.commit(place.entry(b"two", &[(2, bare())], true)));
        tokio::select! { biased; _ = &mut leader => panic!("it lingers"), () = tokio::task::yield_now() => {} }
        tokio::select! { biased; _ = &mut follower => panic!("the leader lingers"), () = tokio::task::yield_now() => {} }
        drop(leader);
        assert_eq!(follower.await.unwrap().last, Seq(2));
        // The commit of the dropped leader was not taken back.
        assert_eq!(store.counts().await.unwrap().events, 2);
    });
}

#[test]
fn futures_dropped_at_any_poll_hang_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let store = place.open_on(Arc::new(BlockingDisk)).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..200_u64 {
            let (store, clock) = (store.clone(), place.clock.clone());
            tasks.spawn(async move {
                let events = vec![(id(number), bare())];
                let entry = NewEntry { analyzer: analyzer(), at: clock.now(), capture: vec![], events, complete: true };
                if number % 2 == 0 {
                    let _ = tokio::time::timeout(Duration::from_micros(number * 5), store.commit(entry)).await;
                } else {
                    store.commit(entry).await.unwrap();
                }
            });
        }
        let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("nothing hangs");
        for number in (1..200).step_by(2) {
            let again = store.commit(place.entry(b"", &[(number, bare())], true)).await.unwrap();
            assert_eq!(again.repeated, 1);
        }
    });
}

#[test]
fn a_failure_before_the_commit_refuses_and_stores_nothing() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        place.disk.inject(|moment| match moment {
            CommitMoment::Before => Err("no space left on device".into()),
            CommitMoment::After => Ok(()),
        });
        let refused = store.commit(place.entry(b"one", &[(1, bare())], false)).await.unwrap_err();
        assert_eq!(refused.0, "no space left on device");
        assert!(!refused.is_refusal(), "it may fit later");
        place.disk.heal();
        assert_eq!(store.unfinished(&analyzer()).await.unwrap(), b"");
        let stored = store.commit(place.entry(b"two", &[(1, bare())], false)).await.unwrap();
        assert_eq!((stored.stored, stored.last), (1, Seq(1)));
        assert_eq!(store.unfinished(&analyzer()).await.unwrap(), b"two");
    });
}

#[test]
fn a_crash_after_the_commit_is_never_answered_and_found_after_the_restart() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        place.disk.inject(|moment| if moment == CommitMoment::After { Err("crash".into()) } else { Ok(()) });
        let commit = store.commit(place.entry(b"one", &[(1, bare())], true));
        assert!(tokio::time::timeout(Duration::from_secs(60), commit).await.is_err());
        let later = store.commit(place.entry(b"two", &[(2, bare())], true));
        assert!(tokio::time::timeout(Duration::from_secs(60), later).await.is_err());
        drop(store);
        place.disk.heal();
        let store = place.open().await;
        assert_eq!(store.commit(place.entry(b"one", &[(1, bare())], true)).await.unwrap().repeated, 1);
        assert_eq!(store.counts().await.unwrap().events, 1);
    });
}

#[test]
fn two_daemons_on_one_folder_are_refused() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let refused = place.try_open().await.err().expect("one is enough");
        assert!(refused.0.contains("another analyzer-gateway"), "{refused}");
        drop(store);
        place.open().await;
    });
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_its_path() {
    run(async {
        let mut place = Place::new();
        let file = place.folder.path().join("plain");
        std::fs::write(&file, b"").unwrap();
        let path = file.join("events.db");
        let clock = Arc::new(place.clock.clone());
        let error = Store::open(&path, clock, Arc::new(place.disk.clone())).await.err().unwrap();
        assert!(error.0.contains("plain") && error.0.contains("start again"), "{error}");
        place.disk = InlineDisk::default();
    });
}

#[test]
fn a_running_test_is_found_with_its_counts_until_it_is_finished() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        assert_eq!(store.running_test(&analyzer()).await.unwrap(), None);
        let mut start = of_test(EventName::TestStarted, 70, 0, 0);
        start.device = Some(gateway_core::event::Device { sn: Some("A1".into()), ..Default::default() });
        let events =
            [(1, start), (2, of_test(EventName::NewData, 70, 0, 3)), (3, of_test(EventName::NewData, 70, 3, 4))];
        store.commit(place.entry(b"x", &events, true)).await.unwrap();
        let running = store.running_test(&analyzer()).await.unwrap().unwrap();
        assert_eq!((running.id, running.samples, running.temperatures), (id(70), 7, 3));
        assert_eq!(running.device.unwrap().sn.as_deref(), Some("A1"));
        assert_eq!(store.test_history(id(70), Seq(2)).await.unwrap().len(), 2);
        store.commit(place.entry(b"y", &[(4, of_test(EventName::TestFinished, 70, 0, 0))], true)).await.unwrap();
        assert_eq!(store.running_test(&analyzer()).await.unwrap(), None);
    });
}

#[test]
fn when_an_analyzer_was_last_heard_outlives_the_process() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let other = AnalyzerId("other".to_owned());
        assert_eq!(store.last_heard(&analyzer()).await.unwrap(), (None, None));
        let tests = [(1, of_test(EventName::TestStarted, 70, 0, 0)), (2, of_test(EventName::TestFinished, 70, 0, 0))];
        store.commit(place.entry(b"x", &tests, true)).await.unwrap();
        let finished = place.now().wall;
        let heard = Timestamp(finished.0 + 60_000);
        let at = Now { wall: heard, ..place.now() };
        store.commit(NewEntry { at, ..place.entry(b"y", &[], false) }).await.unwrap();
        assert_eq!(store.last_heard(&analyzer()).await.unwrap(), (Some(heard), Some(finished)));
        assert_eq!(store.last_heard(&other).await.unwrap(), (None, None));
    });
}

#[test]
fn cumulative_lines_cost_little_and_come_back_to_the_byte() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let line = |count: usize| -> Vec<u8> {
            let samples: Vec<String> =
                (0..count).map(|at| format!("{{\"time\":{at},\"v\":{}}}", at * 37 % 1000)).collect();
            format!("{{\"event\":\"NEW_DATA\",\"samples\":[{}]}}", samples.join(",")).into_bytes()
        };
        let mut received = 0;
        for count in 1..150 {
            let bytes = line(count * 10);
            received += bytes.len();
            store.commit(place.entry(&bytes, &[(count as u64, bare())], true)).await.unwrap();
        }
        for count in 1..150 {
            assert_eq!(store.capture(Seq(count as i64)).await.unwrap().unwrap(), line(count * 10));
        }
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        let stored: isize = raw.query_row("SELECT sum(length(content)) FROM captures", [], |row| row.get(0)).unwrap();
        assert!(stored.unsigned_abs() * 10 < received, "{stored} bytes stored for {received}");
        let deepest: i64 = raw.query_row("SELECT max(depth) FROM captures", [], |row| row.get(0)).unwrap();
        assert!(deepest < 64);
    });
}

#[test]
fn a_waiting_row_keeps_its_time_in_this_boot_and_what_was_left_in_another() {
    run(async {
        let mut place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        store.commit(place.entry(b"x", &[(1, bare())], true)).await.unwrap();
        let due = place.now().mono.after(Duration::from_secs(30));
        let reason = Reason::new(ReasonCode::Timeout, "no answer in 30 s");
        let state = DeliveryState::Waiting { attempts: 2, due, reason };
        let row = Row { seq: Seq(1), ordinal: 1, lane: Lane("a:x".into()), state, redriven: false, historical: false };
        let record = Record { rows: vec![row.clone()], cursor: Some((Seq(1), 1)), ..Record::default() };
        store.record(&mqtt(), record).await.unwrap();
        drop(store);
        let store = place.open().await;
        assert_eq!(store.backlog(&mqtt()).await.unwrap().rows, [row]);
        drop(store);
        place.clock = FixedClock::new(2);
        place.clock.set(Now { mono: Mono(5), ..place.now() });
        let rows = place.open().await.backlog(&mqtt()).await.unwrap().rows;
        let DeliveryState::Waiting { due, .. } = rows[0].state else { panic!("{rows:?}") };
        assert_eq!(due, Mono(5).after(Duration::from_secs(30)));
    });
}

#[test]
fn a_record_that_breaks_the_books_is_refused() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        store.commit(place.entry(b"", &[(1, bare()), (2, bare())], true)).await.unwrap();
        let to = |seq, ordinal| Record { cursor: Some((Seq(seq), ordinal)), ..Record::default() };
        assert!(store.record(&mqtt(), to(1, 2)).await.unwrap_err().0.contains("more ordinals"));
        store.record(&mqtt(), to(2, 2)).await.unwrap();
        assert!(store.record(&mqtt(), to(1, 1)).await.unwrap_err().0.contains("backwards"));
        let state = DeliveryState::Queued { attempts: 0 };
        let mut row =
            Row { seq: Seq(1), ordinal: 1, lane: Lane("a:x".into()), state, redriven: false, historical: false };
        let late = Record { rows: vec![row.clone()], ..Record::default() };
        let late = store.record(&mqtt(), late).await.unwrap_err();
        assert!(late.is_refusal() && late.0.contains("done already"), "{late}");
        row.redriven = true;
        store.record(&mqtt(), Record { rows: vec![row], ..Record::default() }).await.unwrap();
        assert_eq!(store.backlog(&mqtt()).await.unwrap().rows.len(), 1);
    });
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_keeps_what_was_answered() {
    const CHILD: &str = "STORE_MODEL_FULL_DISK";
    if let Some(folder) = std::env::var_os(CHILD) {
        return fill(PathBuf::from(folder));
    }
    for (blocks, answers_min) in [(600, 0), (777, 0), (2_048, 10)] {
        fill_in_a_child(CHILD, blocks, answers_min);
    }
}

/// In the child no file may grow beyond so many blocks of 512 bytes, and the signal about it is ignored: writes fail instead.
fn fill_in_a_child(variable: &str, blocks: u32, answers_min: usize) {
    let place = Place::new();
    let test = "commits::a_full_disk_refuses_what_does_not_fit_and_keeps_what_was_answered";
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --exact {test} --nocapture");
    let child = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(variable, place.folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let answered = std::fs::read_to_string(place.folder.path().join("answered")).unwrap();
    run(async {
        let store = place.open().await;
        for number in answered.lines() {
            let number = number.parse().unwrap();
            assert_eq!(store.commit(place.entry(b"", &[(number, bare())], true)).await.unwrap().repeated, 1);
        }
        assert!(answered.lines().count() >= answers_min);
    });
}

#[test]
fn the_planted_bug_moves_the_cursor_without_its_rows() {
    use gateway_core::mutants::{Mutant, plant};
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        store.commit(place.entry(b"", &[(1, bare())], true)).await.unwrap();
        let state = DeliveryState::Queued { attempts: 0 };
        let row = Row { seq: Seq(1), ordinal: 1, lane: Lane("a:x".into()), state, redriven: false, historical: false };
        plant(Some(Mutant::CursorWithoutRows));
        let record = Record { rows: vec![row], cursor: Some((Seq(1), 1)), ..Record::default() };
        store.record(&mqtt(), record).await.unwrap();
        plant(None);
        let backlog = store.backlog(&mqtt()).await.unwrap();
        assert_eq!((backlog.cursor, backlog.rows.len()), (Seq(1), 0));
    });
}

/// The child's part: commits in groups until the disk takes no more.
fn fill(folder: PathBuf) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let answered = runtime.block_on(async {
        let clock = FixedClock::new(1);
        let path = folder.join("events.db");
        let store = Store::open(&path, Arc::new(clock.clone()), Arc::new(BlockingDisk)).await.unwrap();
        let (mut answered, mut refused) = (Vec::new(), 0);
        for round in 0..40_u64 {
            let mut tasks = JoinSet::new();
            for task in 0..8 {
                let (store, at, number) = (store.clone(), clock.now(), round * 8 + task);
                let capture: Vec<u8> =
                    (0..9_000_u64).map(|at| (((at * 31 + number * 7919) * 2_654_435_761) >> 11) as u8).collect();
                let events = vec![(id(number), bare())];
                let entry = NewEntry { analyzer: analyzer(), at, capture, events, complete: true };
                tasks.spawn(async move { (number, store.commit(entry).await) });
            }
            while let Some(done) = tasks.join_next().await {
                match done.unwrap() {
                    (number, Ok(_)) => answered.push(number.to_string()),
                    (_, Err(_)) => refused += 1,
                }
            }
        }
        assert!(refused > 0, "the disk was never full");
        answered
    });
    std::fs::write(folder.join("answered"), answered.join("\n")).unwrap();
}

/// A clock that moves on by 700 ms whenever it is looked at: a store on a very slow card.
struct SlowClock(FixedClock);

impl Clock for SlowClock {
    fn now(&self) -> Now {
        self.0.pass(Duration::from_millis(700));
        self.0.now()
    }

    fn boot(&self) -> Id {
        self.0.boot()
    }

    fn sleep_until(&self, due: Mono) -> gateway_daemon::platform::BoxFuture<'static, ()> {
        self.0.sleep_until(due)
    }
}

#[test]
fn a_long_statement_is_cut_off_and_many_short_ones_are_not() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let many: Vec<_> = (0..6_000).map(|number| (number, bare())).collect();
        store.commit(place.entry(b"", &many, true)).await.unwrap();
        drop(store);
        let clock = Arc::new(SlowClock(place.clock.clone()));
        let store = Store::open(&place.path(), clock, Arc::new(place.disk.clone())).await.unwrap();
        // A worker's view: thousands of statements, each of them short, in half an hour of this clock.
        let (events, _) = store.next_events(&mqtt(), Seq(0), 4_000).await.unwrap();
        assert_eq!(events.len(), 4_000);
        let cut_off = store.events_after(Seq(0), 6_000).await.unwrap_err();
        assert!(cut_off.0.contains("interrupted"), "{cut_off}");
        assert_eq!(store.events_after(Seq(0), 100).await.unwrap().len(), 100);
    });
}

#[test]
fn a_version_without_live_parts_may_pass_the_split() {
    run(async {
        // Where that version has left the one cursor, and what is to be read afterwards.
        for (reached, expected) in [(2, (2, true)), (3, (3, true)), (4, (5, false)), (6, (6, false))] {
            let place = Place::new();
            let store = place.open().await;
            store.configure(&[(mqtt(), everything())]).await.unwrap();
            let events: Vec<_> = (1..=6).map(|number| (number, bare())).collect();
            store.commit(place.entry(b"x", &events, true)).await.unwrap();
            let live = LivePart { split: Seq(3), cursor: Seq(5), ordinal: 5 };
            let record = Record { live: Some(LiveMove::At(live)), ..Record::default() };
            store.record(&mqtt(), record).await.unwrap();
            store.close().await.unwrap();
            let raw = rusqlite::Connection::open(place.path()).unwrap();
            raw.execute("UPDATE destinations SET cursor = ?1, ordinal = ?1", [reached]).unwrap();
            drop(raw);
            let store = place.open().await;
            let backlog = store.backlog(&mqtt()).await.unwrap();
            assert_eq!((backlog.cursor.0, backlog.live.is_some()), expected);
            assert_eq!(backlog.ordinal, backlog.cursor.0.unsigned_abs());
        }
    });
}
