//! Corrections: found by the sample and the code, stored as the next version of the same test, and what follows from them.

use super::*;
use gateway_core::event::{Event, Personal, ResultValue, Seq, TestId};
use gateway_core::registration::NewRegistration;
use gateway_core::time::ClockQuality;
use serde_json::json;

/// A `TEST_FINISHED` of that sample; each result is code, value and status.
fn results(test: u64, sample: &str, results: &[(&str, &str, &str)]) -> EventKind {
    let mut kind = of_test(EventName::TestFinished, test, 0, 0);
    let about = kind.test.as_mut().unwrap();
    about.sample_id = Some(Personal::new(sample));
    let result = |(code, value, status): &(&str, &str, &str)| ResultValue {
        code: (*code).to_owned(),
        value: Personal::new(*value),
        status: (*status).to_owned(),
        ..ResultValue::default()
    };
    about.results = results.iter().map(result).collect();
    kind
}

async fn log(store: &Store) -> Vec<Event> {
    store.events_after(Seq(0), 1_000).await.unwrap()
}

/// Test, version and values of each finished test.
fn versions(events: &[Event]) -> Vec<(TestId, u32, String)> {
    let finished = events.iter().filter(|event| event.kind.name == EventName::TestFinished);
    let told = finished.map(|event| {
        let test = event.kind.test.as_ref().unwrap();
        let values = test.results.iter().map(|result| format!("{}={}", result.code, result.value.expose()));
        (test.id, test.version, values.collect::<Vec<_>>().join(" "))
    });
    told.collect()
}

#[test]
fn a_correction_is_the_next_version_of_the_test_that_it_corrects() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let commit = async |number: u64, kind: EventKind| {
            store.commit(place.entry(b"r", &[(number, kind)], true)).await.unwrap()
        };
        commit(1, results(500, "S-1", &[("WBC", "5.5", "F"), ("RBC", "4.5", "F")])).await;
        commit(2, results(501, "S-1", &[("GLU", "90", "F")])).await;
        commit(3, results(502, "S-2", &[("WBC", "7.7", "F")])).await;
        commit(4, results(503, "S-1", &[("WBC", "5.9", "C")])).await;
        // Sent again after a lost answer, it is known.
        assert_eq!(commit(4, results(503, "S-1", &[("WBC", "5.9", "C")])).await.repeated, 1);
        commit(5, results(504, "S-1", &[("RBC", "4.6", "C"), ("PLT", "200", "F")])).await;
        // Run again, not corrected; and corrected with nothing to correct.
        commit(6, results(505, "S-1", &[("WBC", "6.0", "F")])).await;
        commit(7, results(506, "S-3", &[("WBC", "1", "C")])).await;
        commit(8, results(507, "S-1", &[("K", "4", "C")])).await;
        let events = log(&store).await;
        let told = |test: u64, version: u32, values: &str| (id(test), version, values.to_owned());
        let expected = [
            told(500, 1, "WBC=5.5 RBC=4.5"),
            told(501, 1, "GLU=90"),
            told(502, 1, "WBC=7.7"),
            told(500, 2, "WBC=5.9 RBC=4.5"),
            told(500, 3, "WBC=5.9 RBC=4.6 PLT=200"),
            told(505, 1, "WBC=6.0"),
            told(506, 1, "WBC=1"),
            told(507, 1, "K=4"),
        ];
        assert_eq!(versions(&events), expected);
        assert_eq!(events[3].lane(), events[0].lane(), "versions keep their order");
        assert_eq!(events[3].kind.details, Some(json!({ "corrects": events[0].id })));
        assert_eq!(events[4].kind.test.as_ref().unwrap().corrected, ["RBC", "PLT"]);
        // The newest run is the one that is corrected now.
        commit(9, results(508, "S-1", &[("WBC", "6.1", "C")])).await;
        assert_eq!(versions(&log(&store).await).last(), Some(&told(505, 2, "WBC=6.1")));
    });
}

#[test]
fn a_sample_id_that_is_used_again_is_another_sample() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let mut number = 0;
        let mut commit = async |days: i64, sample: &str, patient: Option<&str>, status: &str| {
            number += 1;
            let mut kind = results(500 + number, sample, &[("WBC", "5.5", status)]);
            kind.test.as_mut().unwrap().patient_id = patient.map(Personal::new);
            let mut entry = place.entry(b"r", &[(number, kind)], true);
            entry.at.wall = entry.at.wall.shifted(days * 86_400_000);
            entry.at.quality = ClockQuality::Synchronized;
            store.commit(entry).await.unwrap();
            let (test, version, _) = versions(&log(&store).await).pop().unwrap();
            (test == id(500 + number), version)
        };
        let register = async |number: u64, sample: &str, patient: &str| {
            let new = json!({ "sample_ids": [sample], "patient": { "id": patient } });
            store.register(NewRegistration::from_json(&new).unwrap(), place.now(), id(number)).await.unwrap().unwrap();
        };
        let (own, corrected) = ((true, 1), (false, 2));
        assert_eq!(commit(0, "7", Some("P-1"), "F").await, own);
        assert_eq!(commit(1, "7", Some("P-2"), "C").await, own, "the analyzer names another patient");
        assert_eq!(commit(1, "7", Some("P-1"), "C").await, corrected);

        register(900, "8", "P-1").await;
        assert_eq!(commit(0, "8", None, "F").await, own);
        register(901, "8", "P-2").await;
        assert_eq!(commit(1, "8", None, "C").await, own, "the sample's id leads to another patient by now");
        assert_eq!(commit(1, "8", Some("P-2"), "C").await, corrected);

        assert_eq!(commit(0, "9", None, "F").await, own);
        assert_eq!(commit(40, "9", None, "C").await, own, "so late it is another day's number 9");
        assert_eq!(commit(60, "9", None, "C").await, corrected);
    });
}

#[test]
fn control_and_calibration_runs_are_corrected_among_themselves_and_belong_to_nobody() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let new = NewRegistration::from_json(&json!({ "sample_ids": ["S-1"] })).unwrap();
        store.register(new, place.now(), id(1)).await.unwrap().unwrap();
        let with = |mut kind: EventKind, qc: bool, calibration: bool| {
            let test = kind.test.as_mut().unwrap();
            (test.qc, test.calibration) = (qc, calibration);
            kind
        };
        let positive = |test: u64, status: &str| results(test, "S-1", &[("HIV", "POSITIVE", status)]);
        let kinds = [
            (10, with(positive(500, "F"), true, false)),
            (11, with(positive(501, "F"), false, true)),
            (12, with(positive(502, "C"), false, true)),
            (13, positive(503, "C")),
        ];
        store.commit(place.entry(b"r", &kinds, true)).await.unwrap();
        let events = log(&store).await;
        let told: Vec<_> = versions(&events).into_iter().map(|(test, version, _)| (test, version)).collect();
        assert_eq!(told, [(id(500), 1), (id(501), 1), (id(501), 2), (id(503), 1)]);
        let words: Vec<&str> = events.iter().map(|event| event.kind.word()).collect();
        let of_patient =
            ["REGISTRATION_SAMPLE_RECEIVED", "REGISTRATION_RESULTS_COMPLETE", "REGISTRATION_POSITIVE_ALERT"];
        assert_eq!(words[1..5], ["TEST_FINISHED"; 4]);
        assert_eq!(words[5..], of_patient);
    });
}

#[test]
fn a_registration_is_told_of_a_correction_once_and_alarmed_only_if_it_turned_positive() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let new = || NewRegistration::from_json(&json!({ "sample_ids": ["S-1"] })).unwrap();
        let first = store.register(new(), place.now(), id(1)).await.unwrap().unwrap();
        let words = async |number: u64, value: &str, status: &str| {
            let before = log(&store).await.len();
            let kind = results(number + 500, "S-1", &[("HIV", value, status)]);
            store.commit(place.entry(b"r", &[(number, kind)], true)).await.unwrap();
            let events = log(&store).await;
            let word = |event: &Event| event.kind.word().trim_start_matches("REGISTRATION_").to_owned();
            events[before..].iter().map(word).collect::<Vec<_>>()
        };
        assert_eq!(words(10, "NEGATIVE", "F").await, ["TEST_FINISHED", "SAMPLE_RECEIVED", "RESULTS_COMPLETE"]);
        // Another registration of the same tube: the correction still belongs to the first.
        store.register(new(), place.now(), id(2)).await.unwrap().unwrap();
        assert_eq!(words(11, "POSITIVE", "C").await, ["TEST_FINISHED", "RESULTS_COMPLETE", "POSITIVE_ALERT"]);
        assert_eq!(words(12, "POSITIVE", "C").await, ["TEST_FINISHED", "RESULTS_COMPLETE"]);
        assert_eq!(words(13, "NEGATIVE", "C").await, ["TEST_FINISHED", "RESULTS_COMPLETE"]);
        let results = store.results_of(&first.id).await.unwrap();
        assert_eq!(versions(&results).iter().map(|(_, version, _)| *version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_file_of_version_2_finds_its_samples_and_a_salvaged_one_too() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.commit(place.entry(b"r", &[(1, results(500, "S-1", &[("WBC", "5.5", "F")]))], true)).await.unwrap();
        store.close().await.unwrap();
        // As the version before has left it; a body that is no JSON must not keep anybody out.
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        raw.execute_batch(
            "DROP INDEX finished_by_sample; DROP TABLE identities; DROP TABLE people; PRAGMA user_version = 2",
        )
        .unwrap();
        raw.execute("UPDATE events SET body = 'no json' WHERE name = 'NONE'", []).unwrap();
        drop(raw);
        let store = place.open().await;
        store.commit(place.entry(b"r", &[(2, results(501, "S-1", &[("WBC", "5.9", "C")]))], true)).await.unwrap();
        assert_eq!(versions(&log(&store).await).last().map(|(test, version, _)| (*test, *version)), Some((id(500), 2)));
        drop(store);
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        let plan: String = raw
            .query_row(
                "EXPLAIN QUERY PLAN SELECT seq FROM events WHERE name = 'TEST_FINISHED' AND analyzer = 'a'
                 AND CASE WHEN json_valid(body) THEN body ->> '$.test.sample_id' END = 'S' ORDER BY seq DESC LIMIT 1",
                [],
                |row| row.get(3),
            )
            .unwrap();
        assert!(plan.contains("finished_by_sample"), "{plan}");
    });
}
