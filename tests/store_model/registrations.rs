//! Samples expected and received: what follows from a registration, a scan, a result, and that it is one transaction.

use super::*;
use gateway_core::event::{Event, Personal, RegistrationFact, Seq};
use gateway_core::registration::{Amendment, NewRegistration, Refused, Registration};
use gateway_core::time::Timestamp;
use gateway_daemon::platform::CommitMoment;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

fn new(value: Value) -> NewRegistration {
    NewRegistration::from_json(&value).unwrap()
}

async fn register(place: &Place, store: &Store, cause: u64, value: Value) -> Registration {
    store.register(new(value), place.now(), id(cause)).await.unwrap().unwrap()
}

/// A `TEST_FINISHED` of a sample with an overall result.
fn result(test: u64, sample: &str, word: &str) -> EventKind {
    let mut kind = of_test(EventName::TestFinished, test, 0, 0);
    let about = kind.test.as_mut().unwrap();
    about.sample_id = Some(Personal::new(sample));
    about.result = Some(json!({ "detectionResult": word }));
    kind
}

fn scan(sample: &str) -> EventKind {
    let fact = RegistrationFact { sample_id: Some(Personal::new(sample)), ..RegistrationFact::default() };
    EventKind::about_registration(EventName::SampleScanned, fact)
}

async fn log(store: &Store) -> Vec<Event> {
    store.events_after(Seq(0), 1_000).await.unwrap()
}

fn words(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.word().trim_start_matches("REGISTRATION_")).collect()
}

#[test]
fn from_label_to_verified_result() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let made = register(&place, &store, 1, json!({ "sample_ids": ["S-1"] })).await;
        assert_eq!((made.number, made.id.len()), (1, 9));
        let amendment = Amendment::from_json(&json!({ "patient": { "family_name": "Invented" } })).unwrap();
        let changed = store.amend(&made.id, amendment, place.now(), id(2)).await.unwrap().unwrap();
        assert!(changed.completed_at.is_some());
        assert_eq!(store.awaiting_lab_id(10).await.unwrap(), [changed.number].into());
        store.assign_lab_id(&made.id, "123-456", place.now(), id(3)).await.unwrap().unwrap();
        assert!(store.awaiting_lab_id(10).await.unwrap().is_empty());
        store.sample_received(&made.id, Timestamp(5), place.now(), id(4)).await.unwrap().unwrap();
        let refused = store.verify(&made.id, "desk", place.now(), id(5)).await.unwrap();
        assert_eq!(refused, Err(Refused::NoResults));
        let committed = store.commit(place.entry(b"r", &[(50, result(500, "S-1", "POSITIVE"))], true)).await.unwrap();
        let verified = store.verify(&made.id, "desk", place.now(), id(6)).await.unwrap().unwrap();
        assert_eq!((verified.result, verified.verified_by.as_deref()), (Some(committed.last.0), Some("desk")));
        let events = log(&store).await;
        let expected = [
            "CREATED",
            "COMPLETED",
            "LAB_ID_ASSIGNED",
            "SAMPLE_RECEIVED",
            "TEST_FINISHED",
            "RESULTS_COMPLETE",
            "POSITIVE_ALERT",
            "RESULT_VERIFIED",
        ];
        assert_eq!(words(&events), expected);
        let alert = events[6].kind.registration.as_ref().unwrap();
        assert_eq!((alert.result, alert.test, alert.number), (Some(5), Some(id(500)), 1));
        assert!(events[6].lane() == events[0].lane(), "the events of a registration keep their order");
        let results = store.results_of(&made.id).await.unwrap();
        assert_eq!(results.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [5]);
        assert_eq!(store.registration("none").await.unwrap(), None);
        let unknown = store.verify("none", "desk", place.now(), id(7)).await.unwrap();
        assert_eq!(unknown, Err(Refused::Unknown));
    });
}

#[test]
fn the_same_request_again_does_nothing_and_a_taken_id_is_refused() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let first = register(&place, &store, 1, json!({ "id": "tube-7" })).await;
        assert_eq!(register(&place, &store, 1, json!({ "id": "tube-7" })).await, first);
        let taken = store.register(new(json!({ "id": "tube-7" })), place.now(), id(2)).await.unwrap();
        assert_eq!(taken, Err(Refused::Taken));
        assert_eq!(log(&store).await.len(), 1);
        for cause in 10..40 {
            register(&place, &store, cause, json!({ "sample_ids": ["shared"] })).await;
        }
        let page = store.registrations(20, 5, None).await.unwrap();
        assert_eq!(page.iter().map(|found| found.number).collect::<Vec<_>>(), [21, 22, 23, 24, 25]);
        assert_eq!(store.registrations(0, 100, Some("shared")).await.unwrap().len(), 30);
        assert!(store.registrations(0, 100, Some("tube-7")).await.unwrap().is_empty());
    });
}

#[test]
fn a_scanned_sample_is_known_afterwards() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.commit(place.entry(b"S-9\n", &[(1, scan("S-9"))], true)).await.unwrap();
        store.commit(place.entry(b"S-9\n", &[(2, scan("S-9"))], true)).await.unwrap();
        let events = log(&store).await;
        assert_eq!(words(&events), ["SAMPLE_SCANNED", "CREATED", "SAMPLE_RECEIVED", "SAMPLE_SCANNED"]);
        let found = store.registrations(0, 10, Some("S-9")).await.unwrap();
        let [made] = found.as_slice() else { panic!("one registration") };
        assert!(made.sample_received_at.is_some());
        for event in &events {
            let fact = event.kind.registration.as_ref().unwrap();
            assert_eq!((&fact.id, fact.number), (&made.id, made.number));
        }
        store.commit(place.entry(b"r", &[(3, result(500, "S-9", "NEGATIVE"))], true)).await.unwrap();
        assert_eq!(words(&log(&store).await)[4..], ["TEST_FINISHED", "RESULTS_COMPLETE"]);
    });
}

#[test]
fn an_invalid_run_and_a_repeated_one_are_retests() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let first = register(&place, &store, 1, json!({ "sample_ids": ["S-1"], "patient": { "id": "P-7" } })).await;
        let finish = async |number: u64, word: &str| {
            let kind = result(number + 500, "S-1", word);
            store.commit(place.entry(b"r", &[(number, kind)], true)).await.unwrap();
        };
        finish(10, "INVALID").await;
        let expected = ["CREATED", "COMPLETED", "TEST_FINISHED", "SAMPLE_RECEIVED", "CREATED", "COMPLETED", "RETEST"];
        assert_eq!(words(&log(&store).await), expected);
        finish(11, "NEGATIVE").await;
        assert_eq!(words(&log(&store).await)[7..], ["TEST_FINISHED", "RESULTS_COMPLETE"]);
        finish(12, "NEGATIVE").await;
        let expected = ["TEST_FINISHED", "CREATED", "COMPLETED", "RETEST", "RESULTS_COMPLETE"];
        assert_eq!(words(&log(&store).await)[9..], expected);
        let all = store.registrations(0, 10, Some("S-1")).await.unwrap();
        let retests: Vec<_> = all.iter().map(|found| found.retest_of.clone()).collect();
        assert_eq!(retests, [None, Some(first.id.clone()), Some(all[1].id.clone())]);
        for (registration, test) in all.iter().zip([510, 511, 512]) {
            let results = store.results_of(&registration.id).await.unwrap();
            assert_eq!(results.iter().map(Event::test_id).collect::<Vec<_>>(), [Some(id(test))]);
        }
        // An analyzer that lost our answer sends it again: nothing follows twice.
        let before = log(&store).await.len();
        finish(12, "NEGATIVE").await;
        assert_eq!(log(&store).await.len(), before);
    });
}

#[test]
fn quality_control_and_unknown_samples_are_nobodys() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        register(&place, &store, 1, json!({ "sample_ids": ["S-1"] })).await;
        let mut qc = result(500, "S-1", "POSITIVE");
        qc.test.as_mut().unwrap().qc = true;
        store.commit(place.entry(b"r", &[(2, qc), (3, result(501, "S-2", "POSITIVE"))], true)).await.unwrap();
        assert_eq!(words(&log(&store).await), ["CREATED", "TEST_FINISHED", "TEST_FINISHED"]);
    });
}

#[test]
fn a_result_and_what_follows_are_there_together_or_not_at_all() {
    run(async {
        for point in 0..4 {
            let place = Place::new();
            let store = place.open().await;
            register(&place, &store, 1, json!({ "sample_ids": ["S-1"] })).await;
            // The crash comes at the `point`-th moment of a commit from here on.
            let (moments, crashed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (counted, marked) = (Arc::clone(&moments), Arc::clone(&crashed));
            place.disk.inject(move |moment| {
                if counted.fetch_add(1, Ordering::Relaxed) == point {
                    marked.store(1 + usize::from(moment == CommitMoment::After), Ordering::Relaxed);
                    return Err("the power is gone".into());
                }
                Ok(())
            });
            for number in 2..4 {
                let entry = place.entry(b"r", &[(number, result(number, "S-1", "INVALID"))], true);
                let committing = store.commit(entry);
                // A crash after the commit is never answered.
                tokio::select! { biased; _ = committing => {}, () = tokio::task::yield_now() => {} }
                if crashed.load(Ordering::Relaxed) > 0 {
                    break;
                }
            }
            drop(store);
            place.disk.heal();
            let store = place.open().await;
            let events = log(&store).await;
            let count = |word: &str| words(&events).iter().filter(|found| **found == word).count();
            let registrations = store.registrations(0, 10, None).await.unwrap();
            assert_eq!(count("RETEST"), count("TEST_FINISHED"), "crash at {point}: {:?}", words(&events));
            assert_eq!(registrations.len(), 1 + count("RETEST"), "crash at {point}");
            assert_eq!(count("SAMPLE_RECEIVED"), count("TEST_FINISHED").min(1), "crash at {point}");
            let (when, at) = (crashed.load(Ordering::Relaxed), point / 2);
            assert!(when > 0, "the crash at {point} never came");
            assert_eq!(count("TEST_FINISHED"), at + usize::from(when == 2), "crash at {point}");
        }
    });
}

#[test]
fn registrations_and_numbers_survive_a_damaged_file_row_by_row() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        for number in 1..=60_u64 {
            let sample = format!("S-{number}");
            register(&place, &store, number, json!({ "sample_ids": [sample], "tests": [{ "code": "x".repeat(100) }] }))
                .await;
            let mut kind = result(number + 500, &sample, "NEGATIVE");
            kind.test.as_mut().unwrap().qc = number % 7 == 0;
            store.commit(place.entry(b"r", &[(number + 1_000, kind)], true)).await.unwrap();
        }
        let whole = log(&store).await;
        drop(store);
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(raw);
        let bytes = std::fs::read(place.path()).unwrap();
        let mut registrations_lost = 0;
        for page in 0..bytes.len() / 4_096 {
            let broken = Place::new();
            let mut damaged = bytes.clone();
            let spoilt = damaged[page * 4_096..(page + 1) * 4_096].iter_mut().enumerate();
            spoilt.for_each(|(at, byte)| *byte = (at * 7) as u8 | 0x80);
            std::fs::write(broken.path(), &damaged).unwrap();
            let store = broken.open().await;
            let kept = store.registrations(0, 100, None).await.unwrap();
            let (events, missing) = (log(&store).await, 60 - kept.len());
            registrations_lost += usize::from(missing > 0);
            let gap = events.iter().find(|event| event.kind.name == EventName::Gap);
            assert!(missing == 0 || gap.is_some(), "page {page}: {missing} registrations are gone without a word");
            for found in &kept {
                let sample = format!("S-{}", found.number);
                assert_eq!(found.sample_ids, [Personal::new(sample.as_str())], "page {page}");
                let by_sample = store.registrations(0, 10, Some(&sample)).await.unwrap();
                assert_eq!(by_sample, std::slice::from_ref(found), "page {page}");
            }
            for event in events.iter().filter(|event| event.kind.name == EventName::TestFinished) {
                let before = &whole[event.seq.0 as usize - 1];
                assert_eq!((event.sequence, event.id), (before.sequence, before.id), "page {page}");
            }
            let next = register(&broken, &store, 9_999, json!({})).await;
            assert_eq!(next.number, 61, "page {page}: a number was given out twice");
        }
        assert!((1..=20).contains(&registrations_lost), "{registrations_lost} pages held registrations");
    });
}
