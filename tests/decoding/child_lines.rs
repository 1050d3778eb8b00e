//! The driver `exec`: what a child process may say, what becomes of what it says wrongly, and what its end costs.

use super::support::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway_core::event::{EventName, Personal};
use gateway_core::registration::OrderedTest;
use gateway_core::session::{DriverOptions, Input, Resume};
use gateway_core::worklist::{OrderAction, Question, WorkOrder};
use serde_json::{Value, json};
use std::time::Duration;

/// A session whose child is this test's author.
fn by_hand(options: &DriverOptions, unfinished: &[u8]) -> Bench {
    let mut bench = Bench::open("exec", options, Resume { unfinished, running: None });
    bench.child = None;
    // The played one has answered already.
    bench
}

fn say(bench: &mut Bench, line: &Value) {
    bench.give(Input::Told(format!("{line}\n").as_bytes()));
}

/// The lines that the child was told since the last look.
fn told(bench: &mut Bench) -> Vec<Value> {
    let lines = bench.steps.iter().filter_map(|step| match step {
        Step::Told(line) => Some(serde_json::from_slice(line).unwrap()),
        _ => None,
    });
    let lines = lines.collect();
    bench.steps.retain(|step| !matches!(step, Step::Told(_)));
    lines
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn finished(sample: &str) -> Value {
    json!({ "event": "TEST_FINISHED", "device": { "model": "M", "sn": "1" }, "analyzer": "x", "clock": "unset",
            "received_at": "2026-11-21T20:14:03.120Z",
            "test": { "sample_id": format!(" {sample} "), "finished_at": "2026-11-21T20:14:03", "qc": true,
                      "results": [{ "code": "GLU", "value": " 5.50", "unit": "mmol/L", "at": "yesterday" }] } })
}

#[test]
fn a_commit_is_stored_before_it_is_answered() {
    let mut bench = by_hand(&DriverOptions::default(), b"");
    told(&mut bench);
    bench.receive(b"one two");
    let received = told(&mut bench);
    assert_eq!(received, [json!({ "received": base64(b"one two"), "at": 1_700_000_000_000_i64 })]);
    say(&mut bench, &json!({ "commit": { "bytes": 4, "events": [finished("S-1")] } }));
    let commit = bench.stored()[0].clone();
    assert_eq!((commit.capture.as_slice(), commit.complete), (&b"one "[..], true));
    let test = commit.events[0].test.clone().unwrap();
    assert_eq!(test.sample_id, Some(Personal::new("S-1")));
    assert_eq!(test.finished_at.as_deref(), Some("2026-11-21T20:14:03"));
    assert_eq!(test.results[0].number.as_ref().unwrap().to_string(), "5.50");
    assert_eq!((test.results[0].value.expose(), &test.results[0].at), ("5.50", &None));
    assert!(test.qc && commit.events[0].identity.is_none());
    assert_eq!(told(&mut bench), [json!({ "committed": true })]);
    say(&mut bench, &json!({ "send": base64(b"\x06") }));
    assert_eq!(bench.steps.last(), Some(&Step::Sent(vec![ACK])));
    bench.disk = Disk::Fails;
    say(&mut bench, &json!({ "commit": { "events": [finished("S-2")] } }));
    assert_eq!(told(&mut bench)[0]["committed"], false);
    bench.disk = Disk::Good;
    say(&mut bench, &json!({ "commit": { "events": [finished("S-2")] } }));
    assert_eq!(bench.stored()[1].capture, b"two", "what was not stored is there still");
}

#[test]
fn a_message_that_comes_again_is_the_same_by_the_id_that_the_child_gives() {
    let mut bench = by_hand(&DriverOptions::default(), b"");
    for (id, capture) in [("7", "a"), ("7", "b"), ("8", "a")] {
        bench.receive(b"noise");
        let commit = json!({ "message_id": id, "capture": base64(capture.as_bytes()), "events": [finished("S-1")] });
        say(&mut bench, &json!({ "commit": commit }));
    }
    let captures: Vec<_> = bench.stored().iter().map(|commit| commit.capture.clone()).collect();
    assert_eq!(captures, [b"a", b"b", b"a"]);
    let identities: Vec<_> = bench.events().iter().map(|event| event.identity).collect();
    let tests: Vec<_> = bench.events().iter().map(|event| event.test.as_ref().unwrap().id).collect();
    assert!(identities[0] == identities[1] && identities[0].is_some() && identities[0] != identities[2]);
    assert!(tests[0] == tests[1] && tests[0] != tests[2]);
}

#[test]
fn what_means_nothing_is_rejected_without_a_word_of_it_and_the_child_goes_on() {
    let mut bench = by_hand(&DriverOptions::default(), b"");
    told(&mut bench);
    bench.receive(b"kept");
    let wrong = [
        json!({ "log": "Jane Doe" }),
        json!({ "send": "Jane Doe!" }),
        json!({ "commit": { "events": [{ "event": "TEST_FINISHED", "test": { "name": "Jane Doe" } }] } }),
        json!({ "commit": { "events": [{ "event": "POSTED" }] } }),
        json!({ "commit": { "events": [{ "event": "ANALYZER_ALARM", "alarm": { "code": "Jane Doe" } }] } }),
        json!({ "commit": { "events": [{ "event": "QUERY_RECEIVED", "test": {} }] } }),
        json!({ "ready": false }),
        json!(["Jane Doe"]),
        json!({ "ignore": "Jane Doe" }),
    ];
    for line in &wrong {
        say(&mut bench, line);
        bench.wait(Duration::from_secs(601));
    }
    assert_eq!(bench.names(), vec!["bad_line"; wrong.len()]);
    let said = format!("{:?}", bench.stored());
    assert!(!said.contains("Doe"), "{said}");
    let refused = told(&mut bench).iter().filter(|line| line["committed"] == false && line["why"].is_string()).count();
    assert_eq!(refused, 4, "who waits for an answer gets one");
    say(&mut bench, &json!({ "commit": { "events": [] } }));
    assert_eq!(bench.stored().last().unwrap().capture, b"kept");
    // A flood of them is counted, not stored.
    let before = bench.stored().len();
    (0..1000).for_each(|_| say(&mut bench, &json!(1)));
    assert_eq!(bench.stored().len(), before + 1);
    bench.wait(Duration::from_secs(601));
    say(&mut bench, &json!(1));
    let rejection = bench.events().last().unwrap().rejection.clone().unwrap();
    assert!(rejection.reason.starts_with("1000 lines"), "{}", rejection.reason);
}

#[test]
fn a_child_that_ends_costs_nothing() {
    let mut bench = by_hand(&DriverOptions::default(), b"");
    bench.receive(b"first frame");
    say(&mut bench, &json!({ "commit": { "complete": false } }));
    bench.receive(b", half a fr");
    told(&mut bench);
    bench.give(Input::ChildEnded);
    let opened = told(&mut bench).remove(0);
    assert_eq!(opened["opened"]["unfinished"], base64(b"first frame, half a fr"));
    assert_eq!(opened["opened"]["stored"], 11);
    bench.receive(b"ame");
    assert!(told(&mut bench).is_empty(), "nothing is told before it is ready");
    say(&mut bench, &json!({ "send": base64(b"stale") }));
    say(&mut bench, &json!({ "ready": true }));
    assert_eq!(told(&mut bench)[0]["received"], base64(b"ame"));
    say(&mut bench, &json!({ "commit": { "events": [finished("S-1")] } }));
    assert!(!bench.steps.iter().any(|step| matches!(step, Step::Sent(_))), "stale");
    let last = bench.stored().pop().unwrap().clone();
    assert_eq!((last.capture.as_slice(), last.complete), (&b", half a frame"[..], true));
    bench.finish();
    bench.give(Input::ChildEnded);
    assert_eq!(bench.names(), ["TEST_FINISHED"], "nothing was left over");
}

#[test]
fn bytes_over_which_children_end_are_set_apart() {
    let mut bench = by_hand(&DriverOptions::default(), b"poi");
    bench.receive(b"son");
    (0..9).for_each(|_| bench.give(Input::ChildEnded));
    assert!(bench.stored().is_empty(), "none of the last eight was ever ready");
    for _ in 0..2 {
        say(&mut bench, &json!({ "ready": true }));
        bench.give(Input::ChildEnded);
    }
    assert_eq!(bench.names(), ["program_ended"]);
    assert_eq!(bench.stored()[0].capture, b"son");
    let last = told(&mut bench).pop().unwrap();
    assert_eq!(last["opened"]["unfinished"], "");
}

#[test]
fn a_child_is_woken_asks_and_is_answered() {
    let mut bench = by_hand(&DriverOptions::default(), b"");
    told(&mut bench);
    say(&mut bench, &json!({ "deadline_ms": 1500 }));
    bench.wait(Duration::from_millis(1499));
    assert!(told(&mut bench).is_empty());
    bench.wait(Duration::from_millis(1));
    assert_eq!(told(&mut bench), [json!({ "deadline": true })]);
    bench.orders = vec![WorkOrder {
        sample_id: Personal::new("S-1"),
        patient: None,
        tests: vec![OrderedTest { code: "GLU".to_owned(), name: String::new() }],
        action: OrderAction::Rerun,
    }];
    say(&mut bench, &json!({ "ask": { "samples": ["S-1"] } }));
    assert!(bench.steps.contains(&Step::Asked(Question::Samples(vec![Personal::new("S-1")]))));
    let order = json!({ "sample_id": "S-1", "tests": [{ "code": "GLU", "name": "" }], "action": "rerun" });
    assert_eq!(told(&mut bench), [json!({ "orders": [order] })]);
    say(&mut bench, &json!({ "ask": { "all": true } }));
    assert!(bench.steps.contains(&Step::Asked(Question::All)));
}

#[test]
fn what_no_child_takes_is_bounded_and_stated() {
    let options = DriverOptions { message_bytes_max: 1000, ..DriverOptions::default() };
    let mut bench = by_hand(&options, b"");
    for _ in 0..100 {
        bench.receive(&[b'x'; 100]);
    }
    assert_eq!(bench.names(), ["GAP"], "one of nine");
    assert_eq!(bench.stored()[0].capture.len(), 1100);
    bench.finish();
    let names = bench.names();
    assert_eq!(names, ["GAP", "ANALYZER_ALARM", "interrupted", "GAP"]);
    let gap = bench.events().last().unwrap().gap.clone().unwrap();
    assert!(gap.reason.starts_with("8800 received bytes"), "{}", gap.reason);
    assert!(bench.events().iter().all(|event| event.name != EventName::TestFinished));
}

#[test]
fn a_child_may_finish_when_the_port_is_gone() {
    let mut bench = by_hand(&DriverOptions::default(), b"");
    bench.receive(b"by silence");
    told(&mut bench);
    bench.give(Input::Closed);
    assert_eq!(told(&mut bench), [json!({ "closed": true })]);
    assert!(bench.stored().is_empty());
    say(&mut bench, &json!({ "commit": { "events": [finished("S-1")] } }));
    bench.give(Input::ChildEnded);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}
