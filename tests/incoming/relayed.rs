//! What another gateway tells, and whose test it then is.

use super::*;

#[test]
fn cloudevents_come_in_binary_mode_and_in_batches_too() {
    let (_, one) = rendered("cloudevents", WHSEC, run("x"));
    let one: Value = serde_json::from_slice(&one).expect("JSON");
    let batch = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let mut other = one.clone();
    other["id"] = "another".into();
    let events = accept("cloudevents", &batch, json!([one, other]).to_string().as_bytes(), &[], NOW).expect("a batch");
    assert_eq!(events.len(), 2);
    assert_ne!(events[0].identity, events[1].identity);
    let attribute = |name: &str| one[name].as_str().expect("text").to_owned();
    let binary = headers(&[
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", &attribute("id")),
        ("ce-type", &attribute("type")),
        ("ce-source", &attribute("source")),
    ]);
    let same = accept("cloudevents", &binary, one["data"].to_string().as_bytes(), &[], NOW).expect("binary mode");
    assert_eq!(same, events[..1]);
    // An event of another program keeps its own name.
    let (all, body) = rendered("cloudevents", WHSEC, example("session", "x"));
    let events = accept("cloudevents", &all, &body, &[WHSEC], NOW).expect("posted");
    assert_eq!((events[0].kind.name, events[0].kind.word()), (EventName::Posted, "GENERAL_ERROR"));
}

/// One event of every kind that a gateway tells of an analyzer, with every key in it.
fn of_each_kind(text: &str) -> Vec<EventKind> {
    let result = json!({"code": "WBC", "name": text, "value": "5.50", "number": 5.5, "unit": "10*3/uL", "reference": "4-10",
                        "flags": ["H"], "status": "F", "at": "2026-01-02T03:04:05", "at_text": "20260102030405",
                        "comments": [text]});
    let result = result.to_string().replace(r#""number":5.5"#, r#""number":5.50"#);
    let result: ResultValue = serde_json::from_str(&result).expect("a result");
    let test = |name| {
        let mut kind = run(text);
        let test = kind.test.as_mut().expect("a test");
        (test.sample_id, test.patient_id) = (Some(Personal::new(text)), Some(Personal::new("PAT-1")));
        test.instrument_sample_id = Some(Personal::new("7"));
        (test.started_at, test.finished_at) = (Some("2026-01-02T03:04:05".into()), Some("2026-01-02T04:04:05".into()));
        (test.results, test.comments, test.qc) = (vec![result.clone()], vec![Personal::new(text)], true);
        EventKind { name, ..kind }
    };
    let tests =
        [EventName::TestStarted, EventName::ContinueTest, EventName::NewData, EventName::TestFinished].map(test);
    let partial = tests.iter().filter_map(|kind| kind.test.clone()).collect();
    let query = Query { sample_ids: vec![Personal::new(text)], status: "O".to_owned() };
    let gap = Gap { reason: text.to_owned(), from: None, to: Some(NOW.wall) };
    let details = Some(json!({"state": "IDLE", "more": text}));
    let more = [
        EventKind { query: Some(query), ..EventKind::bare(EventName::QueryReceived) },
        EventKind { partial, ..EventKind::rejected("checksum", text, 12) },
        EventKind { gap: Some(gap), ..EventKind::bare(EventName::Gap) },
        EventKind::alarm("stalled", text),
        EventKind { details: details.clone(), ..EventKind::bare(EventName::AnalyzerConnected) },
        EventKind { details, device: run(text).device, ..EventKind::bare(EventName::DeviceReady) },
    ];
    tests.into_iter().chain(more).collect()
}

#[test]
fn what_says_nothing_is_refused_with_the_key_that_is_missing() {
    let structured = headers(&[("content-type", "application/cloudevents+json")]);
    for (data, key) in [
        (json!({"event": "TEST_FINISHED"}), "/data/test is missing"),
        (
            json!({"event": "TEST_FINISHED", "test": {"id": Id([9; 16]), "qc": false, "results": []}}),
            "`state` is missing",
        ),
        (json!({"event": "QUERY_RECEIVED", "device": null}), "/data/query is missing"),
    ] {
        let name = data["event"].as_str().expect("a name");
        let body = json!({"specversion": "1.0", "type": format!("analyzer-gateway.{name}"), "id": "1", "source": "/a/b",
                          "data": data});
        let refusal = accept("cloudevents", &structured, body.to_string().as_bytes(), &[], NOW).expect_err("refused");
        assert_eq!(refusal.status, 422);
        assert!(refusal.problem.contains(key), "{refusal}");
    }
}

#[test]
fn a_test_stays_one_test_of_its_source() {
    let one = run("x");
    let (a, b) = (one.clone().with_tests_of("a"), one.clone().with_tests_of("b"));
    let id = |kind: &EventKind| kind.test.as_ref().map(|test| test.id);
    assert_eq!(id(&a), id(&one.clone().with_tests_of("a")));
    assert!(id(&a) != id(&b) && id(&a) != id(&one));
    let details = Some(json!({"test": id(&one).expect("a test").to_string()}));
    let gap = EventKind { details, ..EventKind::bare(EventName::Gap) }.with_tests_of("a");
    assert_eq!(gap.details.expect("details")["test"], json!(id(&a).expect("a test")));
}

/// The parts of an event that a dialect carries: `test-v0` gives no ids.
fn carried(name: &str, kind: &EventKind) -> Value {
    let mut value = serde_json::to_value(kind).expect("JSON");
    if name == "test-v0" {
        value["test"]["id"] = Value::Null;
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_is_taken_back(text in "\\PC{1,40}") {
        for (name, secret) in DIALECTS {
            let kind = example(name, &text);
            let (all, body) = rendered(name, secret, kind.clone());
            let events = accept(name, &all, &body, &[secret], NOW);
            prop_assert!(events.is_ok(), "{}: {:?}", name, events);
            let events = events.expect("accepted");
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(carried(name, &events[0].kind), carried(name, &kind));
        }
    }

    #[test]
    fn every_kind_of_event_comes_back_whole_from_another_gateway(text in "\\PC{1,40}") {
        for kind in of_each_kind(&text) {
            let (all, body) = rendered("cloudevents", WHSEC, kind.clone());
            let events = accept("cloudevents", &all, &body, &[WHSEC], NOW);
            prop_assert!(events.is_ok(), "{}: {:?}", kind.name, events);
            let taken = events.expect("accepted").remove(0).kind;
            prop_assert_eq!(serde_json::to_string(&taken).expect("JSON"), serde_json::to_string(&kind).expect("JSON"));
        }
    }

    #[test]
    fn nothing_panics_and_no_value_is_told(
        body in prop::collection::vec(any::<u8>(), 0..300),
        value in "\\PC{0,80}",
        signed in any::<bool>(),
    ) {
        let names = ["x-api-key", "x-wms-content-mac", "webhook-id", "webhook-timestamp", "webhook-signature", "ce-id"];
        let mut all: Headers = names.iter().map(|name| ((*name).to_owned(), value.clone())).collect();
        all.push(("content-type".to_owned(), "application/cloudevents+json".to_owned()));
        for (name, secret) in DIALECTS {
            let secrets: &[&str] = if signed { &[secret] } else { &[] };
            if let Err(refusal) = accept(name, &all, &body, secrets, NOW) {
                prop_assert!([400, 401, 422].contains(&refusal.status), "{}", refusal);
                prop_assert!(!refusal.problem.contains(secret));
            }
        }
    }

    #[test]
    fn damaged_bodies_are_refused_or_read_and_never_panic(
        place in any::<usize>(),
        remove in 0..20_usize,
        noise in "[{}\\[\\]\":,0-9a-z\\\\]{0,6}",
    ) {
        for (name, secret) in DIALECTS {
            let (all, body) = rendered(name, secret, example(name, "s3cret"));
            let place = place % body.len();
            let rest = &body[(place + remove).min(body.len())..];
            let damaged = [&body[..place], noise.as_bytes(), rest].concat();
            if let Err(refusal) = accept(name, &all, &damaged, &[], NOW) {
                prop_assert!(!refusal.problem.contains("s3cret"), "{}: {}", name, refusal);
            }
        }
    }
}
