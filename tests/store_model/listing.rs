//! Tests and results as they are listed: in order, each once, page by page, and by way of an index however many there are.

use super::*;
use gateway_core::event::Seq;
use gateway_core::time::Timestamp;
use gateway_daemon::store::{WhichResults, WhichTests};
use rusqlite::Connection;

/// Finished tests in the file, of three analyzers in turn; the very first one is still running.
const TESTS: i64 = 100_000;

/// A file as years have left it, written past the store to be quick.
fn old_file(place: &Place) {
    let raw = Connection::open(place.path()).unwrap();
    raw.pragma_update(None, "synchronous", "OFF").unwrap();
    let body = serde_json::to_string(&of_test(EventName::TestFinished, 0, 0, 0)).unwrap();
    raw.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
         INSERT INTO events (seq, id, analyzer, name, received_at, clock, boot, mono, test_id, state, has_device, body)
         SELECT n, CAST(printf('e%015d', n) AS BLOB), 'a' || (n % 3), iif(n = 1, 'NEW_DATA', 'TEST_FINISHED'), n * 1000,
                'synchronized', zeroblob(16), n, CAST(printf('t%015d', n) AS BLOB), iif(n = 1, 'TESTING', 'DONE'), 0, ?2
         FROM numbers",
        rusqlite::params![TESTS, body],
    )
    .unwrap();
}

async fn listed(store: &Store, which: &WhichTests, limit: usize) -> (Vec<i64>, usize) {
    let (mut which, mut found, mut pages) = (which.clone(), Vec::new(), 0);
    loop {
        let (tests, next) = store.tests(which.clone(), limit).await.unwrap();
        assert!(tests.len() <= limit);
        found.extend(tests.iter().map(|test| test.newest.seq.0));
        pages += 1;
        match next {
            Some(next) => which.before = Some(next),
            None => return (found, pages),
        }
    }
}

async fn exported(store: &Store, which: &WhichResults) -> Vec<i64> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (results, to) = store.exported_results(which.clone(), after).await.unwrap();
        found.extend(results.iter().map(|event| event.seq.0));
        match to {
            Some(to) => after = Some(to),
            None => return found,
        }
    }
}

#[test]
fn a_hundred_thousand_tests_are_listed_and_exported_page_by_page() {
    run(async {
        let place = Place::new();
        place.open().await.close().await.unwrap();
        old_file(&place);
        let store = place.open().await;
        let (tests, next) = store.tests(WhichTests::default(), 50).await.unwrap();
        let seqs: Vec<i64> = tests.iter().map(|test| test.newest.seq.0).collect();
        assert_eq!(seqs, (TESTS - 49..=TESTS).rev().collect::<Vec<_>>());
        assert_eq!(next, Some(Seq(TESTS - 49)));
        // What is rare is found too, by pages that may be empty.
        let running = WhichTests { state: Some("TESTING"), ..WhichTests::default() };
        let (found, pages) = listed(&store, &running, 10).await;
        assert_eq!((found, pages), (vec![1], 2));
        let one =
            WhichTests { analyzer: Some(AnalyzerId("a2".into())), before: Some(Seq(12)), ..WhichTests::default() };
        assert_eq!(listed(&store, &one, 2).await.0, [11, 8, 5, 2]);

        let all = exported(&store, &WhichResults::default()).await;
        assert_eq!(all, (2..=TESTS).collect::<Vec<_>>());
        let some = WhichResults {
            analyzer: Some(AnalyzerId("a0".into())),
            since: Some(Timestamp(90_000_000)),
            until: Some(Timestamp(90_009_000)),
            ..WhichResults::default()
        };
        assert_eq!(exported(&store, &some).await, [90_000, 90_003, 90_006]);
        store.close().await.unwrap();

        let raw = Connection::open(place.path()).unwrap();
        let plan = |sql: &str| -> String {
            let mut select = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = select.query_map([], |row| row.get::<_, String>(3)).unwrap();
            steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
        };
        for (sql, index) in [
            (
                "SELECT seq, test_id FROM events WHERE test_id IS NOT NULL AND analyzer = 'a1' AND seq < 9 ORDER BY seq DESC",
                "USING INDEX tests_by_analyzer (analyzer=? AND seq<?)",
            ),
            (
                "SELECT analyzer FROM events WHERE test_id IS NOT NULL AND analyzer > 'a' ORDER BY analyzer LIMIT 1",
                "USING COVERING INDEX tests_by_analyzer (analyzer>?)",
            ),
            (
                "SELECT seq, analyzer FROM events WHERE name = 'TEST_FINISHED' AND (received_at, seq) > (1, 2)
                 AND received_at < 9 ORDER BY received_at, seq",
                "USING INDEX results_by_age",
            ),
        ] {
            let plan = plan(sql);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
        }
    });
}

#[test]
fn a_test_is_listed_once_at_its_newest_event_and_exported_in_its_newest_version() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let commit = async |number: u64, kind: EventKind| {
            store.commit(place.entry(b"r", &[(number, kind)], true)).await.unwrap()
        };
        commit(1, of_test(EventName::TestStarted, 500, 0, 0)).await;
        commit(2, bare()).await;
        commit(3, of_test(EventName::NewData, 500, 0, 2)).await;
        commit(4, of_test(EventName::TestFinished, 501, 0, 0)).await;
        commit(5, of_test(EventName::NewData, 500, 2, 2)).await;
        let mut again = of_test(EventName::TestFinished, 501, 0, 0);
        again.test.as_mut().unwrap().version = 2;
        commit(6, again).await;
        let mut control = of_test(EventName::TestFinished, 502, 0, 0);
        control.test.as_mut().unwrap().qc = true;
        commit(7, control).await;
        let told = |tests: Vec<gateway_daemon::store::ListedTest>| -> Vec<(i64, bool)> {
            tests.iter().map(|test| (test.newest.seq.0, test.has_curve)).collect()
        };
        let (tests, next) = store.tests(WhichTests::default(), 10).await.unwrap();
        assert_eq!((told(tests), next), (vec![(7, false), (6, false), (5, true)], None));
        let qc = |qc: bool| WhichTests { qc: Some(qc), ..WhichTests::default() };
        assert_eq!(listed(&store, &qc(true), 10).await.0, [7]);
        assert_eq!(listed(&store, &qc(false), 1).await.0, [6, 5]);
        assert_eq!(exported(&store, &WhichResults::default()).await, [6, 7]);
        let all = WhichResults { all_versions: true, qc: Some(false), ..WhichResults::default() };
        assert_eq!(exported(&store, &all).await, [4, 6]);
        assert_eq!(store.gaps_between(analyzer(), Seq(1), Seq(9)).await.unwrap(), []);
        assert_eq!(store.registration_of(Seq(7)).await.unwrap(), None);
    });
}
