//! The numbers of a session: dense, in the order of the log, and never given out twice.

use super::*;
use gateway_core::config::{Limits, Retention};
use gateway_core::event::{Payload, Personal, Posted, Seq};
use gateway_daemon::platform::CommitMoment;
use gateway_daemon::platform::disk::BlockingDisk;
use gateway_daemon::store::Record;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;

fn of_session(session: &str) -> EventKind {
    EventKind::posted(Posted {
        dialect: "session".into(),
        event: "WMS_LOADED".into(),
        session: Some(Personal::new(session)),
        payload: Payload::default(),
    })
}

/// The sequences of each session, in the order of the log.
async fn sequences(store: &Store) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in store.events_after(Seq(0), 10_000).await.unwrap() {
        let Some(posted) = &event.kind.posted else { continue };
        let session = posted.session.as_ref().unwrap().expose().to_owned();
        found.entry(session).or_default().push(event.sequence.unwrap());
    }
    found
}

#[test]
fn a_repeat_takes_no_number_and_a_restart_goes_on() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let commit = async |store: &Store, number: u64, session: &str| {
            store.commit(place.entry(b"", &[(number, of_session(session))], true)).await.unwrap().sequence
        };
        assert_eq!(commit(&store, 1, "a").await, Some(0));
        assert_eq!(commit(&store, 2, "b").await, Some(0));
        assert_eq!(commit(&store, 3, "a").await, Some(1));
        assert_eq!(commit(&store, 1, "a").await, Some(0), "the number of the one that is known");
        assert_eq!(store.commit(place.entry(b"", &[(9, bare())], true)).await.unwrap().sequence, None);
        store.close().await.unwrap();
        let store = place.open().await;
        assert_eq!(commit(&store, 4, "a").await, Some(2));
        assert_eq!(store.event_by_id(id(4)).await.unwrap().unwrap().sequence, Some(2));
        assert_eq!(store.event_by_id(id(77)).await.unwrap(), None);
    });
}

#[test]
fn many_at_once_and_their_repeats_leave_no_hole() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let store = place.open_on(Arc::new(BlockingDisk)).await.unwrap();
        let mut tasks = JoinSet::new();
        for task in 0..16_u64 {
            let (store, clock) = (store.clone(), place.clock.clone());
            tasks.spawn(async move {
                for round in 0..10 {
                    for _ in 0..2 {
                        let session = format!("session-{}", (task + round) % 3);
                        let events = vec![(id(task * 100 + round), of_session(&session))];
                        let (at, capture) = (clock.now(), Vec::new());
                        let entry = NewEntry { analyzer: analyzer(), at, capture, events, complete: true };
                        store.commit(entry).await.unwrap();
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let found = sequences(&store).await;
        assert_eq!(found.values().map(Vec::len).sum::<usize>(), 160);
        for (session, numbers) in found {
            assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{session}: {numbers:?}");
        }
    });
}

#[test]
fn a_commit_that_fails_takes_no_number() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let commit = async |number: u64| store.commit(place.entry(b"", &[(number, of_session("a"))], true)).await;
        commit(1).await.unwrap();
        place.disk.inject(|moment| match moment {
            CommitMoment::Before => Err("the card is gone".into()),
            CommitMoment::After => Ok(()),
        });
        commit(2).await.unwrap_err();
        place.disk.heal();
        assert_eq!(commit(3).await.unwrap().sequence, Some(1));
        assert_eq!(sequences(&store).await["a"], [0, 1]);
    });
}

#[test]
fn a_living_session_counts_on_when_its_events_are_gone_by_age() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let commit = async |number: u64| {
            store.commit(place.entry(b"", &[(number, of_session("a"))], true)).await.unwrap().sequence
        };
        let kept = Retention { attempts_kept_days: 1, captures_kept_days: 1, events_kept_days: 1 };
        let limits = Limits { store_bytes_max: None, ..gateway_core::config::Config::default().limits };
        let sweep = async |days: u32| {
            place.clock.pass(Duration::from_secs(86_400) * days);
            let head = store.head().borrow();
            let cursor = Some((head, head.0 as u64));
            store.record(&mqtt(), Record { cursor, ..Record::default() }).await.unwrap();
            store.sweep(&limits, &kept, place.now(), id(9_000), || true).await.unwrap().events
        };
        assert_eq!(commit(1).await, Some(0));
        assert_eq!(sweep(20).await, 1);
        assert_eq!(commit(2).await, Some(1), "its events are gone, its count is not");
        assert_eq!(sweep(29).await, 1);
        assert_eq!(commit(3).await, Some(2));
        assert_eq!(sweep(31).await, 1);
        assert_eq!(commit(4).await, Some(0), "silent for a month: nobody waits for the next number any more");
    });
}

#[test]
fn quality_control_and_posted_events_are_told_apart_by_filters() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let only_qc = Filter { qc: gateway_core::config::Qc::Only, ..everything() };
        store.configure(&[(mqtt(), only_qc)]).await.unwrap();
        let mut qc = of_test(EventName::TestFinished, 1, 0, 0);
        qc.test.as_mut().unwrap().qc = true;
        let events = [(1, qc), (2, of_test(EventName::TestFinished, 2, 0, 0)), (3, of_session("a"))];
        store.commit(place.entry(b"", &events, true)).await.unwrap();
        let (members, _) = store.next_events(&mqtt(), Seq(0), 10).await.unwrap();
        assert_eq!(members.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1]);
    });
}
