//! Which events belong to a destination, and the two cursors of one whose backlog is set apart.

use super::*;
use gateway_core::config::Qc;
use gateway_core::delivery::{LiveMove, LivePart};
use gateway_core::event::Seq;
use gateway_daemon::store::{PostedFilter, Record};
use rusqlite::{Connection, params};

fn lims() -> DestinationId {
    DestinationId("webhook:lims".into())
}

/// Five events: a result, a quality control run, one of another analyzer, and two that were posted.
async fn filled(place: &Place, filter: Filter) -> Store {
    let store = place.open().await;
    store.configure(&[(lims(), filter)]).await.unwrap();
    for (number, whose) in [(1, "hematology"), (2, "hematology"), (3, "other"), (4, "gateway"), (5, "gateway")] {
        let entry = NewEntry { analyzer: AnalyzerId(whose.into()), ..place.entry(b"", &[(number, bare())], true) };
        store.commit(entry).await.unwrap();
    }
    let facts = Connection::open(place.path()).unwrap();
    let put = "INSERT OR REPLACE INTO facts (seq, qc, posted) VALUES (?1, ?2, ?3)";
    facts.execute(put, params![2, 1, None::<String>]).unwrap();
    facts.execute(put, params![4, 0, Some("lab")]).unwrap();
    facts.execute(put, params![5, 0, Some("session")]).unwrap();
    store
}

async fn members(store: &Store) -> Vec<i64> {
    let (events, looked) = store.next_events(&lims(), Seq(0), 100).await.unwrap();
    assert_eq!(looked, Seq(5));
    let members: Vec<i64> = events.iter().map(|event| event.seq.0).collect();
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.destinations[0].undone, members.len() as u64, "counted by the same rule");
    members
}

#[test]
fn every_part_of_a_filter_must_admit_an_event() {
    run(async {
        let all = Filter::default;
        let hematology = Some(vec![AnalyzerId("hematology".into())]);
        let of = |dialects: &[&str]| PostedFilter::Of(dialects.iter().map(|dialect| (*dialect).to_owned()).collect());
        let cases = [
            (all(), vec![1, 2, 3, 4, 5]),
            (Filter { qc: Qc::Exclude, ..all() }, vec![1, 3, 4, 5]),
            (Filter { qc: Qc::Only, ..all() }, vec![2]),
            (Filter { analyzers: hematology.clone(), ..all() }, vec![1, 2]),
            (Filter { analyzers: hematology, qc: Qc::Exclude, ..all() }, vec![1]),
            (Filter { posted: of(&["lab"]), ..all() }, vec![1, 2, 3, 4]),
            (Filter { posted: of(&[]), ..all() }, vec![1, 2, 3]),
            (Filter { names: Some(vec!["TEST_FINISHED".into()]), ..all() }, vec![]),
        ];
        for (filter, expected) in cases {
            let place = Place::new();
            let store = filled(&place, filter.clone()).await;
            assert_eq!(members(&store).await, expected, "{filter:?}");
        }
    });
}

#[test]
fn a_filter_of_another_version_keeps_its_meaning() {
    run(async {
        for (written, expected) in [
            (r#"{"names":null}"#, vec![1, 2, 3, 4, 5]),
            (r#"{"names":["TEST_FINISHED"]}"#, vec![]),
            (r#"{"names":null,"qc":"only","moon_phase":"full"}"#, vec![2]),
        ] {
            let place = Place::new();
            let store = filled(&place, Filter::default()).await;
            let table = Connection::open(place.path()).unwrap();
            table.execute("UPDATE epochs SET filter = ?1", [written]).unwrap();
            assert_eq!(members(&store).await, expected, "{written}");
        }
    });
}

#[test]
fn the_live_part_moves_by_its_own_rules_and_is_merged_only_when_the_backlog_is_done() {
    run(async {
        let place = Place::new();
        let store = filled(&place, Filter::default()).await;
        let at = |cursor, ordinal| {
            let live = LivePart { split: Seq(3), cursor: Seq(cursor), ordinal };
            Record { live: Some(LiveMove::At(live)), ..Record::default() }
        };
        let back = |cursor, ordinal| Record { cursor: Some((Seq(cursor), ordinal)), ..Record::default() };
        let refused = async |record: Record, why: &str| {
            let error = store.record(&lims(), record).await.unwrap_err();
            assert!(error.is_refusal() && error.0.contains(why), "{error}");
        };
        refused(at(3, 4), "more ordinals").await;
        store.record(&lims(), at(3, 3)).await.unwrap();
        store.record(&lims(), at(4, 4)).await.unwrap();
        refused(at(3, 3), "backwards").await;
        refused(at(9, 9), "beyond the log").await;
        refused(back(4, 4), "reach into the live part").await;
        let merged = |cursor, ordinal| Record { live: Some(LiveMove::Merged), ..back(cursor, ordinal) };
        refused(merged(3, 3), "before the backlog").await;
        let undone = store.counts().await.unwrap().destinations[0].undone;
        assert_eq!(undone, 4, "three of the backlog, and the newest");
        store.record(&lims(), back(2, 2)).await.unwrap();
        let backlog = store.backlog(&lims()).await.unwrap();
        assert_eq!((backlog.cursor, backlog.live.map(|live| live.cursor)), (Seq(2), Some(Seq(4))));
        store.record(&lims(), merged(4, 4)).await.unwrap();
        let backlog = store.backlog(&lims()).await.unwrap();
        assert_eq!((backlog.cursor, backlog.ordinal, backlog.live), (Seq(4), 4, None));
    });
}
