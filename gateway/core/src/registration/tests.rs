//! What a posted registration may hold, and which events follow from what.

use super::*;
use crate::event::{EventKind, Id, ResultValue, Test, TestState};
use serde_json::{Value, json};

fn words(events: &[EventKind]) -> Vec<&'static str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn read(value: Value) -> NewRegistration {
    NewRegistration::from_json(&value).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn made(value: Value) -> (Registration, Vec<EventKind>) {
    Registration::make(1, "1234-5678".to_owned(), read(value), Timestamp(1_000))
}

fn coded(code: &str, value: &str, flags: &[&str], status: &str) -> ResultValue {
    ResultValue {
        code: code.to_owned(),
        value: Personal::new(value),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        status: status.to_owned(),
        ..ResultValue::default()
    }
}

fn test(number: u8, results: Vec<ResultValue>, result: Option<Value>) -> Test {
    Test { sample_id: Some(Personal::new("S-1")), results, result, ..Test::new(Id([number; 16]), TestState::Done) }
}

fn overall(number: u8, word: &str) -> Test {
    test(number, Vec::new(), Some(json!({ "detectionResult": word })))
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_no_value_is_quoted() {
    let posted = json!({
        "id": "no blanks allowed", "colour": "secret-blue",
        "sample_ids": ["S-1", "S-1", "", 7],
        "patient": { "birth_date": "31.12.1980", "sex": "x-secret", "email": "nobody", "title": "Dr" },
        "tests": [{ "name": "no code" }, "WBC", { "code": "WBC", "a/b": 1 }],
        "partner": { "patient": "12", "user": -1 },
    });
    let faults = NewRegistration::from_json(&posted).expect_err("much is wrong");
    let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "/colour",
        "/id",
        "/partner/patient",
        "/partner/user",
        "/patient/birth_date",
        "/patient/email",
        "/patient/sex",
        "/patient/title",
        "/sample_ids/1",
        "/sample_ids/2",
        "/sample_ids/3",
        "/tests/0/code",
        "/tests/1",
        "/tests/2/a~1b",
    ];
    assert_eq!(paths, expected);
    let told = format!("{faults:?}");
    for value in ["blanks", "secret-blue", "31.12", "x-secret", "nobody", "Dr"] {
        assert!(!told.contains(value), "{told}");
    }
    assert_eq!(NewRegistration::from_json(&json!([])).expect_err("no object").len(), 1);
    assert!(Amendment::from_json(&json!({ "id": "9" })).is_err(), "an id never changes");
}

#[test]
fn nothing_has_to_be_known_to_register_a_sample() {
    assert_eq!(read(json!({})), NewRegistration::default());
    let new = read(json!({ "sample_ids": [" S-1 "], "partner": { "location": 5 }, "patient": null }));
    assert_eq!((new.sample_ids, new.partner.location, new.patient), (vec![Personal::new("S-1")], Some(5), None));
    assert!(!format!("{:?}", read(json!({ "sample_ids": ["S-1"] }))).contains("S-1"));
}

#[test]
fn a_made_id_has_the_documents_shape_and_another_turn_gives_another() {
    let ids: Vec<String> = (0..50).map(|turn| made_id(Id([7; 16]), turn)).collect();
    for id in &ids {
        let digits =
            id.bytes().enumerate().all(|(at, byte)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() });
        assert!(id.len() == 9 && digits, "{id}");
    }
    assert_eq!(ids[0], made_id(Id([7; 16]), 0));
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 50);
}

#[test]
fn a_registration_is_complete_once_and_updated_whenever_something_else_changes() {
    let (mut registration, events) = made(json!({ "sample_ids": ["S-1"] }));
    assert_eq!(words(&events), ["REGISTRATION_CREATED"]);
    let mut amend = |value: Value| {
        let amendment = Amendment::from_json(&value).expect("it is good");
        words(&registration.amend(amendment, Timestamp(2_000)).expect("it is there"))
    };
    assert_eq!(amend(json!({})), [""; 0]);
    assert_eq!(amend(json!({ "sample_ids": ["S-1"] })), [""; 0]);
    assert_eq!(amend(json!({ "patient": { "family_name": "Invented" } })), ["REGISTRATION_COMPLETED"]);
    assert_eq!(amend(json!({ "patient": { "family_name": "Another" } })), ["REGISTRATION_UPDATED"]);
    assert_eq!(amend(json!({ "tests": [{ "code": "WBC" }] })), ["REGISTRATION_UPDATED"]);
    assert!(registration.awaits_lab_id());
    let (_, events) = made(json!({ "patient": { "id": "P-7" } }));
    assert_eq!(words(&events), ["REGISTRATION_CREATED", "REGISTRATION_COMPLETED"]);
    let (mut both, _) = made(json!({}));
    let amendment = Amendment::from_json(&json!({ "patient": { "id": "P-7" }, "sample_ids": ["S-2"] })).expect("good");
    let events = both.amend(amendment, Timestamp(1)).expect("it is there");
    assert_eq!(words(&events), ["REGISTRATION_UPDATED", "REGISTRATION_COMPLETED"]);
}

#[test]
fn a_finished_test_says_that_the_sample_is_there_and_what_came_out() {
    let sample_id = Personal::new("S-1");
    let finish = |word: &str| {
        let (mut registration, _) = made(json!({ "sample_ids": ["S-1"], "partner": { "patient": 4 } }));
        let test = overall(1, word);
        let linked = registration.finish(Finished {
            test: &test,
            corrects: None,
            result: 17,
            sample_id: &sample_id,
            at: Timestamp(3_000),
        });
        (registration, linked)
    };
    let (registration, linked) = finish("NEGATIVE");
    assert_eq!(words(&linked.events), ["REGISTRATION_SAMPLE_RECEIVED", "REGISTRATION_RESULTS_COMPLETE"]);
    let fact = linked.events[1].registration.as_ref().expect("it is about one");
    assert_eq!((fact.result, fact.test, fact.patient), (Some(17), Some(Id([1; 16])), Some(4)));
    assert_eq!(registration.sample_received_at, Some(Timestamp(3_000)));
    let (_, linked) = finish("POSITIVE");
    assert_eq!(words(&linked.events)[1..], ["REGISTRATION_RESULTS_COMPLETE", "REGISTRATION_POSITIVE_ALERT"]);
    let (_, linked) = finish("INVALID");
    assert_eq!((words(&linked.events), linked.retest), (vec!["REGISTRATION_SAMPLE_RECEIVED"], true));
}

#[test]
fn a_correction_tells_only_what_is_new() {
    let sample_id = Personal::new("S-1");
    let correct = |before: &str, after: &str| {
        let (mut registration, _) = made(json!({ "sample_ids": ["S-1"] }));
        registration.receive_sample(None, Timestamp(1)).expect("it is there");
        let (first, second) = (overall(1, before), overall(1, after));
        let at = Timestamp(3_000);
        let linked = registration.finish(Finished {
            test: &second,
            corrects: Some(&first),
            result: 18,
            sample_id: &sample_id,
            at,
        });
        (
            words(&linked.events).into_iter().map(|word| word.replace("REGISTRATION_", "")).collect::<Vec<_>>(),
            linked.retest,
        )
    };
    let complete = || "RESULTS_COMPLETE".to_owned();
    assert_eq!(correct("NEGATIVE", "POSITIVE"), (vec![complete(), "POSITIVE_ALERT".to_owned()], false));
    assert_eq!(correct("POSITIVE", "POSITIVE"), (vec![complete()], false));
    assert_eq!(correct("POSITIVE", "NEGATIVE"), (vec![complete()], false));
    assert_eq!(correct("NEGATIVE", "INVALID"), (Vec::new(), true));
    assert_eq!(correct("INVALID", "INVALID"), (Vec::new(), false));
}

#[test]
fn a_retest_has_the_sample_and_the_patient_and_says_of_what() {
    let (mut first, _) = made(json!({ "sample_ids": ["S-1"], "patient": { "id": "P-7" } }));
    first.receive_sample(None, Timestamp(2_000)).expect("it is there");
    let (second, events) = first.make_retest(2, "5555-6666".to_owned(), Timestamp(9_000));
    assert_eq!(words(&events), ["REGISTRATION_CREATED", "REGISTRATION_COMPLETED", "REGISTRATION_RETEST"]);
    let told = events[2].registration.as_ref().expect("it is about one");
    assert_eq!((told.id.as_str(), told.retest.as_deref()), ("1234-5678", Some("5555-6666")));
    assert_eq!((second.retest_of.as_deref(), &second.patient), (Some("1234-5678"), &first.patient));
    assert_eq!(second.sample_received_at, Some(Timestamp(2_000)), "the tube is here already");
}

#[test]
fn only_results_can_be_verified_and_a_lab_id_stays() {
    let (mut registration, _) = made(json!({}));
    assert_eq!(registration.verify("desk", Timestamp(1)), Err(Refused::NoResults));
    let (test, sample_id) = (overall(1, "NEGATIVE"), Personal::new("S-1"));
    registration.finish(Finished {
        test: &test,
        corrects: None,
        result: 17,
        sample_id: &sample_id,
        at: Timestamp(3_000),
    });
    let event = registration.verify("desk", Timestamp(4)).expect("there are results").expect("it is news");
    let fact = event.registration.expect("it is about one");
    assert_eq!((fact.verified_by.as_deref(), fact.result), (Some("desk"), Some(17)));
    assert_eq!(registration.verify("desk", Timestamp(5)), Ok(None));
    assert!(registration.assign_lab_id("123-456").expect("it has none").is_some());
    assert_eq!(registration.assign_lab_id("123-456"), Ok(None));
    assert_eq!(registration.assign_lab_id("123-457"), Err(Refused::OtherLabId));
    registration.erase(Timestamp(6));
    assert_eq!(registration.verify("desk", Timestamp(7)), Err(Refused::Erased));
    assert!(registration.sample_ids.is_empty() && registration.lab_id.is_none());
}

#[test]
fn coded_results_are_positive_or_invalid_by_their_words() {
    let of = |results: Vec<ResultValue>| {
        let verdict = verdict(&test(1, results, None));
        (verdict.positive, verdict.invalid)
    };
    assert_eq!(of(vec![coded("FluA", "positive^", &[], "F"), coded("FluB", "NEGATIVE^", &[], "F")]), (true, false));
    assert_eq!(of(vec![coded("HIV", "1.2", &["POS"], "F")]), (true, false));
    assert_eq!(of(vec![coded("IC", "POSITIVE", &[], "F"), coded("FluA", "NOT DETECTED", &[], "F")]), (false, false));
    assert_eq!(of(vec![coded("FluA", "INVALID", &[], "F"), coded("FluB", "DETECTED", &[], "F")]), (true, true));
    assert_eq!(of(vec![coded("WBC", "", &[], "X"), coded("RBC", "", &[], "X")]), (false, true));
    assert_eq!(of(vec![coded("WBC", "", &[], "X"), coded("RBC", "4.5", &["N"], "F")]), (false, false));
    assert_eq!(of(Vec::new()), (false, false));
}

#[test]
fn a_run_is_repeated_if_it_brings_what_is_known() {
    let blood = test(1, vec![coded("WBC", "5.5", &[], "F")], None);
    let again = test(2, vec![coded("RBC", "4", &[], "F"), coded("WBC", "5.6", &[], "F")], None);
    assert!(is_repeat(std::slice::from_ref(&blood), &again));
    let other_order = test(2, vec![coded("GLU", "90", &[], "F")], None);
    assert!(!is_repeat(std::slice::from_ref(&blood), &other_order), "another order of the same tube");
    let corrected = test(2, vec![coded("WBC", "5.7", &[], "C")], None);
    assert!(!is_repeat(std::slice::from_ref(&blood), &corrected));
    let preliminary = test(1, vec![coded("WBC", "5", &[], "P")], None);
    assert!(!is_repeat(&[preliminary], &test(2, vec![coded("WBC", "5.5", &[], "F")], None)));
    assert!(is_repeat(&[overall(1, "INVALID")], &overall(2, "NEGATIVE")));
    assert!(!is_repeat(&[overall(1, "INVALID")], &overall(1, "NEGATIVE")), "the same test");
}

#[test]
fn an_analyzer_is_told_what_is_still_to_be_done() {
    use crate::worklist::OrderAction::{Cancel, New, Rerun};
    let (fresh, _) = made(json!({ "sample_ids": ["S-1"], "tests": [{ "code": "GLU" }, { "code": "CRE" }] }));
    let told = |registration: &Registration, known: &[&str]| {
        let (action, tests) = registration.ordered(|code| known.contains(&code))?;
        Some((action, tests.into_iter().map(|test| test.code).collect::<Vec<_>>().join(" ")))
    };
    let both = |action| Some((action, "GLU CRE".to_owned()));
    assert_eq!(told(&fresh, &[]), both(New));
    assert!(fresh.awaits_analyzer());
    assert_eq!(fresh.can_be_rerun(), Err(Refused::NotRunYet));
    let mut taken = fresh.clone();
    taken.take_orders(Timestamp(2_000));
    assert!(!taken.awaits_analyzer());
    assert_eq!(told(&taken, &[]), both(New), "who asks for it is told again");

    let mut finished = taken.clone();
    finished.results_at = Some(Timestamp(3_000));
    assert_eq!(told(&finished, &["GLU"]), Some((New, "CRE".to_owned())));
    assert_eq!(told(&finished, &["GLU", "CRE"]), None);
    assert_eq!(told(&finished, &["WBC"]), None, "a panel under other codes");
    assert_eq!(finished.cancel(Timestamp(4_000)), Err(Refused::HasResults));
    let (again, _) = finished.make_retest(2, "8765-4321".to_owned(), Timestamp(5_000));
    assert_eq!(told(&again, &[]), both(Rerun));

    let mut cancelled = taken.clone();
    let event = cancelled.cancel(Timestamp(4_000)).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(words(&event.into_iter().collect::<Vec<_>>()), ["REGISTRATION_UPDATED"]);
    assert_eq!(told(&cancelled, &[]), both(Cancel));
    cancelled.take_orders(Timestamp(5_000));
    assert_eq!(told(&cancelled, &[]), None);
    assert_eq!(cancelled.cancel(Timestamp(6_000)), Ok(None));
    assert_eq!(cancelled.can_be_rerun(), Ok(()), "it is wanted after all");
    let (wanted, _) = cancelled.make_retest(2, "8765-4321".to_owned(), Timestamp(7_000));
    assert_eq!((told(&wanted, &[]), wanted.awaits_analyzer()), (both(Rerun), true));

    let mut erased = fresh.clone();
    erased.erase(Timestamp(6_000));
    assert_eq!((told(&erased, &[]), erased.awaits_analyzer()), (None, false));
    let (bare, _) = made(json!({ "sample_ids": ["S-1"] }));
    assert_eq!(told(&bare, &[]), None);
}
