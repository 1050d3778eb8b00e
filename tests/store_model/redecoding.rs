//! Stored messages read again with another profile: what becomes a new version, what stays, and that a second run finds nothing.

use super::*;
use gateway_core::config::{Analyzer, Line, Port};
use gateway_core::drivers::{converse, driver};
use gateway_core::event::{Event, Seq};
use gateway_core::framing::astm::frame;
use gateway_core::reading::{FieldPlace, Meaning, Pattern, Reading};
use gateway_core::registration::NewRegistration;
use gateway_core::session::{Action, CommitPoint, DriverOptions, Framing, Input, Resume};
use gateway_daemon::redecode::{Reading as Read, Redecoder, Why};
use gateway_daemon::store::{Subject, Which};
use std::collections::VecDeque;

fn astm(reading: Reading) -> Analyzer {
    Analyzer {
        id: analyzer(),
        serial_number: None,
        model: None,
        driver: "astm".to_owned(),
        port: Port::TcpListen("127.0.0.1:0".to_owned()),
        line: Line::default(),
        options: DriverOptions { reading: reading.into(), ..DriverOptions::default() },
    }
}

/// What the profile did not know before.
fn knowing(code: &str, unit: &str) -> Reading {
    let meaning = Meaning { unit: unit.to_owned(), ..Meaning::default() };
    Reading { codes: [(code.to_owned(), meaning)].into(), ..Reading::default() }
}

/// A session of these messages, one record a frame.
fn session(messages: &[&[&str]]) -> Vec<u8> {
    let records = messages.concat();
    let frames = records.iter().zip((1..8).chain([0]).cycle());
    let framed = frames.flat_map(|(record, number)| frame(number, format!("{record}\r").as_bytes(), true));
    [5].into_iter().chain(framed).chain([4]).collect()
}

fn records<'a>(time: &'a str, order: &'a str, result: &'a str) -> Vec<&'a str> {
    vec![time, "P|1|P-4711", order, result, "L|1|N"]
}

/// The link's work: every commit of the session goes into the store.
async fn hear(place: &Place, store: &Store, by: &Analyzer, bytes: &[u8]) {
    let mut session = converse(driver(&by.driver).unwrap(), &by.options).unwrap();
    let mut events = store.counts().await.unwrap().captures * 100;
    let mut inputs = VecDeque::from([Input::Opened(Resume::default()), Input::Received(bytes), Input::Closed]);
    while let Some(input) = inputs.pop_front() {
        let mut actions = Vec::new();
        session.handle(place.now(), input, &mut actions);
        for action in actions {
            if let Action::Commit(commit) = action {
                let mut entry = place.entry(&commit.capture, &[], commit.complete);
                for kind in commit.events {
                    events += 1;
                    entry.events.push((kind.derived_id(&by.id).unwrap_or(id(1_000_000 + events)), kind));
                }
                store.commit(entry).await.unwrap();
                inputs.push_front(Input::Committed);
            }
        }
    }
}

/// Reads every message again and stores what changes. Version, unit and value of each changed test, and why messages were
/// left out.
async fn redecode(place: &Place, store: &Store, by: &Analyzer) -> (Vec<String>, Vec<Why>) {
    let redecoder = Redecoder { store, analyzers: std::slice::from_ref(by) };
    let (mut told, mut left) = (Vec::new(), Vec::new());
    for message in store.messages(Which::default(), 1_000).await.unwrap() {
        match redecoder.examine(&message).await.unwrap() {
            Read::Skipped(why) => left.push(why),
            Read::Read(changes) => {
                for change in &changes {
                    let values = change.after.results.iter();
                    let values =
                        values.map(|result| format!("{} {} {}", result.code, result.value.expose(), result.unit));
                    told.push(format!("{}: {}", change.after.version, values.collect::<Vec<_>>().join(", ")));
                }
                let statements: Vec<_> = changes.into_iter().map(|change| change.statement).collect();
                let count = statements.len();
                let stored = store.restate(message.id, statements.clone(), place.now(), "test").await.unwrap();
                assert_eq!(stored, count);
                let again = store.restate(message.id, statements, place.now(), "test").await.unwrap();
                assert_eq!(again, 0, "what is stored is stored once");
            }
        }
    }
    (told, left)
}

async fn finished(store: &Store) -> Vec<Event> {
    let events = store.events_after(Seq(0), 1_000).await.unwrap();
    events.into_iter().filter(|event| event.kind.name == EventName::TestFinished).collect()
}

const FIRST: &str = "H|\\^&||||||||||||20260304050607";
const SECOND: &str = "H|\\^&||||||||||||20260304060000";

#[test]
fn what_is_read_otherwise_becomes_a_version_once() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let before = astm(Reading::default());
        let (first, second) =
            (records(FIRST, "O|1|S-1", "R|1|^^^WBC|5.5|||N||F"), records(SECOND, "O|1|S-2", "R|1|^^^RBC|4.5|||N||F"));
        // The second message of a session begins with neither ENQ nor frame 1.
        hear(&place, &store, &before, &session(&[&first, &second])).await;
        let by_message = Analyzer {
            options: DriverOptions { commit: CommitPoint::Message, ..before.options.clone() },
            ..before.clone()
        };
        let third = records("H|\\^&||||||||||||20260304070000", "O|1|S-3", "R|1|^^^WBC|7.7|||N||F");
        hear(&place, &store, &by_message, &session(&[&third[..4]])).await;
        hear(&place, &store, &before, &session(&[&first])).await;
        assert_eq!(finished(&store).await.len(), 3);
        assert_eq!(redecode(&place, &store, &before).await, (vec![], vec![Why::Repeat]));

        let now = astm(knowing("WBC", "10*3/uL"));
        let changed = vec!["2: WBC 5.5 10*3/uL".to_owned(), "2: WBC 7.7 10*3/uL".to_owned()];
        assert_eq!(redecode(&place, &store, &now).await, (changed, vec![Why::Repeat]));
        let events = finished(&store).await;
        let test = |at: usize| events[at].kind.test.as_ref().unwrap();
        assert_eq!((test(3).id, test(4).id), (test(0).id, test(2).id));
        assert_eq!(test(3).corrected, ["WBC"]);
        assert_eq!(events[3].kind.details.as_ref().unwrap()["corrects"], events[0].id.to_string());
        assert_eq!(store.capture(events[3].seq).await.unwrap(), store.capture(events[0].seq).await.unwrap());
        assert_eq!(redecode(&place, &store, &now).await.0, [""; 0], "a second run changes nothing");
        // Another insight is another version; back to the first reading as well.
        let qc = Reading { qc: Some(Pattern::new("^S-1$").unwrap()), ..knowing("WBC", "10*3/uL") };
        assert_eq!(redecode(&place, &store, &astm(qc)).await.0, ["3: WBC 5.5 10*3/uL"]);
        assert_eq!(redecode(&place, &store, &before).await.0, ["4: WBC 5.5 ", "3: WBC 7.7 "]);
        assert_eq!(redecode(&place, &store, &before).await.0, [""; 0]);
    });
}

#[test]
fn a_corrected_test_is_put_together_from_all_of_its_messages() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let before = astm(Reading::default());
        let first = [FIRST, "P|1|P-4711", "O|1|S-1", "R|1|^^^WBC|5.5|||N||F", "R|2|^^^RBC|4.5|||N||F", "L|1|N"];
        hear(&place, &store, &before, &session(&[&first])).await;
        let correction = records(SECOND, "O|1|S-1", "R|1|^^^WBC|5.9|||N||C");
        hear(&place, &store, &before, &session(&[&correction])).await;
        assert_eq!(redecode(&place, &store, &before).await.0, [""; 0]);
        let now = astm(knowing("RBC", "10*6/uL"));
        assert_eq!(redecode(&place, &store, &now).await.0, ["3: WBC 5.9 , RBC 4.5 10*6/uL"]);
        assert_eq!(redecode(&place, &store, &now).await.0, [""; 0]);
        let test = finished(&store).await.pop().unwrap().kind.test.unwrap();
        assert_eq!(test.corrected, ["RBC"]);
        let now = astm(knowing("WBC", "10*3/uL"));
        assert_eq!(redecode(&place, &store, &now).await.0, ["4: WBC 5.9 10*3/uL, RBC 4.5 "]);
    });
}

#[test]
fn what_was_refused_and_can_be_read_now_is_told_as_new() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let mut wrong = astm(Reading::default());
        wrong.options.framing = Framing::None;
        let message = records(FIRST, "O|1|S-1", "R|1|^^^WBC|5.5|||N||F");
        hear(&place, &store, &wrong, &session(&[&message])).await;
        let events = store.events_after(Seq(0), 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.kind.name).collect::<Vec<_>>(), [EventName::MessageRejected]);
        // Broken off, and so not readable by any decoder.
        let right = astm(Reading::default());
        let cut = session(&[&message]);
        hear(&place, &store, &right, &cut[..cut.len() - 12]).await;
        assert_eq!(redecode(&place, &store, &right).await.0, ["1: WBC 5.5 "]);
        let found = finished(&store).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind.details.as_ref().unwrap()["rejection"], events[0].id.to_string());
        assert_eq!(redecode(&place, &store, &right).await.0, [""; 0]);
        let now = astm(knowing("WBC", "10*3/uL"));
        assert_eq!(redecode(&place, &store, &now).await.0, ["2: WBC 5.5 10*3/uL"]);
        assert_eq!(redecode(&place, &store, &now).await.0, [""; 0]);
    });
}

#[test]
fn what_is_erased_while_it_is_read_stays_erased() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let before = astm(Reading::default());
        hear(&place, &store, &before, &session(&[&records(FIRST, "O|1|S-1", "R|1|^^^WBC|5.5|||N||F")])).await;
        let now = astm(knowing("WBC", "10*3/uL"));
        let redecoder = Redecoder { store: &store, analyzers: std::slice::from_ref(&now) };
        let message = store.messages(Which::default(), 1).await.unwrap().pop().unwrap();
        let Read::Read(changes) = redecoder.examine(&message).await.unwrap() else { panic!("it is read") };
        let statements: Vec<_> = changes.into_iter().map(|change| change.statement).collect();
        assert_eq!(statements.len(), 1);
        store.erase(Subject::Sample("S-1".to_owned()), place.now(), id(9), "test").await.unwrap();
        assert_eq!(store.restate(message.id, statements, place.now(), "test").await.unwrap(), 0);
        assert_eq!(finished(&store).await.len(), 1);
    });
}

#[test]
fn what_another_analyzer_has_said_at_a_port_stays_its_own() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let other = AnalyzerId("other".to_owned());
        let before = astm(Reading::default());
        let mut session_of = converse(driver("astm").unwrap(), &before.options).unwrap();
        let bytes = session(&[&records(FIRST, "O|1|S-1", "R|1|^^^WBC|5.5|||N||F")]);
        let mut inputs = VecDeque::from([Input::Opened(Resume::default()), Input::Received(&bytes)]);
        while let Some(input) = inputs.pop_front() {
            let mut actions = Vec::new();
            session_of.handle(place.now(), input, &mut actions);
            for action in actions {
                if let Action::Commit(commit) = action {
                    let mut entry = place.entry(&commit.capture, &[], commit.complete);
                    entry.analyzer = other.clone();
                    entry.events =
                        commit.events.into_iter().map(|kind| (kind.derived_id(&other).unwrap(), kind)).collect();
                    store.commit_heard_at(analyzer(), entry).await.unwrap();
                    inputs.push_front(Input::Committed);
                }
            }
        }
        assert_eq!(redecode(&place, &store, &astm(knowing("WBC", "10*3/uL"))).await.0, ["2: WBC 5.5 10*3/uL"]);
        let found = finished(&store).await;
        assert_eq!(found.iter().map(|event| &event.analyzer).collect::<Vec<_>>(), [&other, &other]);
        assert_eq!(found[0].test_id(), found[1].test_id());
    });
}

#[test]
fn a_test_that_is_read_as_another_sample_s_leads_to_that_one() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let register = async |number: u64, sample: &str| {
            let new = NewRegistration::from_json(&serde_json::json!({ "sample_ids": [sample] })).unwrap();
            store.register(new, place.now(), id(number)).await.unwrap().unwrap()
        };
        let (first, second) = (register(1, "S-1").await, register(2, "R-9").await);
        let before = astm(Reading::default());
        hear(&place, &store, &before, &session(&[&records(FIRST, "O|1|S-1|R-9", "R|1|^^^WBC|5.5|||N||F")])).await;
        let now = astm(Reading { sample_id: vec![FieldPlace::parse("O.4").unwrap()], ..Reading::default() });
        assert_eq!(redecode(&place, &store, &now).await.0, ["2: WBC 5.5 "]);
        let count = async |of: &str| store.results_of(of).await.unwrap().len();
        assert_eq!((count(&first.id).await, count(&second.id).await), (1, 1));
    });
}

#[test]
fn what_is_gone_is_left_as_it_is_and_counted() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let before = astm(Reading::default());
        let message = records(FIRST, "O|1|S-1", "R|1|^^^WBC|5.5|||N||F");
        hear(&place, &store, &before, &session(&[&message])).await;
        let mut stranger = before.clone();
        stranger.id = AnalyzerId("another".to_owned());
        assert_eq!(redecode(&place, &store, &stranger).await, (vec![], vec![Why::UnknownAnalyzer]));
        // Today's decoder reads nothing in it: it is not taken back.
        let other = Analyzer { driver: "test-v0".to_owned(), ..before.clone() };
        assert_eq!(redecode(&place, &store, &other).await, (vec![], vec![Why::NotAlone]));
        store.erase(Subject::Sample("S-1".to_owned()), place.now(), id(9), "test").await.unwrap();
        let now = astm(knowing("WBC", "10*3/uL"));
        assert_eq!(redecode(&place, &store, &now).await, (vec![], vec![Why::Erased]));
        assert_eq!(store.tests_without_bytes(Which::default()).await.unwrap(), 0);
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        raw.execute("DELETE FROM captures", []).unwrap();
        drop(raw);
        assert_eq!(redecode(&place, &store, &now).await, (vec![], vec![]));
        assert_eq!(store.tests_without_bytes(Which::default()).await.unwrap(), 1);
    });
}
