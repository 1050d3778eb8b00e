//! Erasure: nothing of the person is left in any byte of the database's files, and everything of others is.

use super::*;
use gateway_core::config::{Config, Limits, Retention};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{Event, Lane, Payload, Personal, Posted, Query, ResultValue, Seq};
use gateway_core::registration::NewRegistration;
use gateway_daemon::store::{Asked, AttemptNote, Erased, Record, Row, Subject};
use serde_json::{Value, json};

const PATIENT: &str = "PAT-4711";
const SAMPLE: &str = "TUBE-0815";
const NAME: &str = "Erasmine-Invented";
const MAIL: &str = "erasmine@example.org";
const COMMENT: &str = "sister of the porter";

fn coded(comment: &str) -> ResultValue {
    ResultValue {
        code: "WBC".into(),
        value: Personal::new("5.5"),
        unit: "10*3/uL".into(),
        status: "F".into(),
        comments: vec![Personal::new(comment)],
        ..ResultValue::default()
    }
}

fn result(test: u64, patient: Option<&str>, sample: Option<&str>) -> EventKind {
    let mut kind = of_test(EventName::TestFinished, test, 0, 0);
    let about = kind.test.as_mut().unwrap();
    about.patient_id = patient.map(Personal::new);
    about.sample_id = sample.map(Personal::new);
    about.results = vec![coded(COMMENT)];
    kind
}

fn posted(event: &str, payload: Value) -> EventKind {
    let payload = Payload::new(payload);
    EventKind::posted(Posted { dialect: "partner".into(), event: event.into(), session: None, payload })
}

/// A message as an analyzer sends it, long enough to be stored as a patch against the one before it.
fn message(patient: &str, sample: &str) -> Vec<u8> {
    let filler: String = (0..60).map(|at| format!("R|{at}|^^^CODE{at}|{}|unit\r", at * 7)).collect();
    format!("H|\\^&\rP|1||{patient}|\rO|1|{sample}|\r{filler}L|1\r").into_bytes()
}

/// Every byte that the database's files hold.
fn raw(place: &Place) -> Vec<u8> {
    let mut bytes = std::fs::read(place.path()).unwrap();
    for suffix in ["-wal", "-journal"] {
        bytes.extend(std::fs::read(place.folder.path().join(format!("events.db{suffix}"))).unwrap_or_default());
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn erase(place: &Place, store: &Store, subject: Subject) -> Erased {
    store.erase(subject, place.now(), id(7_777), "desk").await.unwrap()
}

async fn event(store: &Store, number: u64) -> Event {
    store.event_by_id(id(number)).await.unwrap().unwrap()
}

/// A patient with a registration, a test and its repeat, a query and a rejected message; and somebody else.
async fn history(place: &Place, store: &Store) -> String {
    store.configure(&[(mqtt(), everything())]).await.unwrap();
    let new = json!({
        "sample_ids": [SAMPLE], "partner": { "user": 12, "patient": 34 },
        "patient": { "id": PATIENT, "family_name": NAME, "email": MAIL },
    });
    let new = NewRegistration::from_json(&new).unwrap();
    let registration = store.register(new, place.now(), id(1)).await.unwrap().unwrap();
    let commit = async |capture: &[u8], number: u64, kind: EventKind| {
        store.commit(place.entry(capture, &[(number, kind)], true)).await.unwrap();
    };
    commit(&message("OTHER-1", "TUBE-1"), 10, result(500, Some("OTHER-1"), Some("TUBE-1"))).await;
    let mut started = of_test(EventName::TestStarted, 501, 0, 0);
    started.test.as_mut().unwrap().comments = vec![Personal::new(COMMENT)];
    commit(b"started", 11, started).await;
    commit(&message(PATIENT, SAMPLE), 12, result(501, Some(PATIENT), Some(SAMPLE))).await;
    commit(&message("OTHER-2", "TUBE-2"), 13, result(502, Some("OTHER-2"), Some("TUBE-2"))).await;
    // The same message again, of which nothing is stored but its bytes.
    commit(&message(PATIENT, SAMPLE), 12, result(501, Some(PATIENT), Some(SAMPLE))).await;
    commit(&message("OTHER-2", "TUBE-3"), 14, result(503, Some("OTHER-2"), Some("TUBE-3"))).await;
    let sample_ids = vec![Personal::new(SAMPLE), Personal::new("TUBE-9")];
    let query = Query { sample_ids, status: "O".into() };
    commit(b"Q", 15, EventKind { query: Some(query), ..EventKind::bare(EventName::QueryReceived) }).await;
    let garbage = format!("P|1||{PATIENT}|{NAME}");
    commit(garbage.as_bytes(), 16, EventKind::rejected("checksum", "A checksum is wrong.", garbage.len())).await;
    commit(b"", 17, posted("dataShareAccepted", json!({ "userId": 12, "userEmail": MAIL, "patientId": 99 }))).await;
    commit(b"", 18, posted("dataShareAccepted", json!({ "userId": 13, "userEmail": "b@example.org" }))).await;
    registration.id
}

#[test]
fn no_byte_of_the_person_is_left_in_the_files() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let registration = history(&place, &store).await;
        let finished = event(&store, 12).await.seq;
        let reason = Reason::new(ReasonCode::Refused, "422");
        let answer = format!("{NAME} is not known here");
        let note = AttemptNote {
            seq: finished,
            number: 1,
            at: place.now().wall,
            duration_ms: 5,
            status: Some(422),
            reason: Some(reason),
            answer,
            ordinal: None,
        };
        let attempts = vec![note];
        store.record(&mqtt(), Record { attempts, ..Record::default() }).await.unwrap();
        for text in [PATIENT, SAMPLE, NAME, MAIL, COMMENT] {
            assert!(holds(&raw(&place), text), "{text} is there to begin with");
        }
        let before = store.erasures();
        let erased = erase(&place, &store, Subject::Patient(PATIENT.into())).await;
        assert!(erased.wiped && erased.set_aside.is_empty());
        assert_eq!((erased.registrations.clone(), erased.tests.clone()), (vec![registration.clone()], vec![id(501)]));
        assert!(store.erasures() > before);
        let bytes = raw(&place);
        for text in [PATIENT, SAMPLE, NAME, MAIL] {
            assert!(!holds(&bytes, text), "{text} is still in the files");
        }
        // Results stay without a person, and say so; what others said stays as it was.
        let about = event(&store, 12).await;
        assert!(about.erased && about.data_json().contains(r#""erased":true"#));
        let test = about.kind.test.unwrap();
        assert_eq!((test.sample_id, test.patient_id, test.results[0].value.expose()), (None, None, "5.5"));
        assert!(event(&store, 11).await.kind.test.unwrap().comments.is_empty(), "an earlier event of the same test");
        let other = event(&store, 13).await;
        assert!(!other.erased && other.kind.test.unwrap().patient_id.is_some());
        assert_eq!(event(&store, 15).await.kind.query.unwrap().sample_ids, [Personal::new("TUBE-9")]);
        let payload = event(&store, 18).await.kind.posted.unwrap().payload;
        assert_eq!(payload.expose()["userEmail"], "b@example.org");
        let left = store.registration(&registration).await.unwrap().unwrap();
        assert!(left.erased_at.is_some() && left.patient.is_none());
        assert!(store.registrations(0, 10, Some(SAMPLE)).await.unwrap().is_empty());
        let told = event(&store, 7_777).await;
        assert_eq!((told.kind.name, &told.kind.details.unwrap()["tests"]), (EventName::DataErased, &json!([id(501)])));
        let audit = store.audit_entries(0, 10).await.unwrap();
        assert_eq!((audit[0].1.client.as_str(), audit[0].1.object.as_str()), ("desk", "patient"));
        store.close().await.unwrap();
        drop(place.open().await);
    });
}

#[test]
fn what_was_patched_against_erased_bytes_can_still_be_read() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        history(&place, &store).await;
        let patched = |raw: &rusqlite::Connection| -> i64 {
            raw.query_row("SELECT count(*) FROM captures WHERE base IS NOT NULL", [], |row| row.get(0)).unwrap()
        };
        assert!(patched(&rusqlite::Connection::open(place.path()).unwrap()) > 1, "they are patches to begin with");
        erase(&place, &store, Subject::Sample(SAMPLE.into())).await;
        for (number, patient, sample) in
            [(10, "OTHER-1", "TUBE-1"), (13, "OTHER-2", "TUBE-2"), (14, "OTHER-2", "TUBE-3")]
        {
            let seq = event(&store, number).await.seq;
            assert_eq!(store.capture(seq).await.unwrap().unwrap(), message(patient, sample));
        }
        let seq = event(&store, 12).await.seq;
        assert_eq!(store.capture(seq).await.unwrap(), None);
        // The next message finds no base in memory that is gone from the disk.
        store.commit(place.entry(&message("OTHER-3", "TUBE-4"), &[(19, bare())], true)).await.unwrap();
        let seq = event(&store, 19).await.seq;
        assert_eq!(store.capture(seq).await.unwrap().unwrap(), message("OTHER-3", "TUBE-4"));
    });
}

#[test]
fn a_registration_is_erased_with_its_retests_and_their_tests() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let registration = history(&place, &store).await;
        store.commit(place.entry(b"", &[(20, result(504, None, Some(SAMPLE)))], true)).await.unwrap();
        let erased = erase(&place, &store, Subject::Registration(registration.clone())).await;
        assert_eq!(erased.registrations.len(), 2, "the second run of the sample made a retest");
        assert_eq!(erased.tests.len(), 2);
        assert!(!holds(&raw(&place), SAMPLE) && !holds(&raw(&place), NAME));
        let again = store.erase(Subject::Registration(registration), place.now(), id(7_778), "desk").await.unwrap();
        assert_eq!((again.events, again.captures), (0, 0), "{again:?}");
    });
}

#[test]
fn a_user_is_found_by_id_mail_or_telephone_and_the_request_stays_until_everybody_has_it() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let registration = history(&place, &store).await;
        let request = json!({ "userId": 12, "userEmail": MAIL, "userPhoneNumber": "+39000000000" });
        store
            .commit(place.entry(
                request.to_string().as_bytes(),
                &[(30, posted("dataDeletionRequest", request.clone()))],
                true,
            ))
            .await
            .unwrap();
        let subject = Subject::User { id: None, email: Some(MAIL.to_uppercase()), phone: None };
        let erased = erase(&place, &store, subject).await;
        assert_eq!(erased.registrations, [registration]);
        let shared = event(&store, 17).await.kind.posted.unwrap().payload;
        assert_eq!((&shared.expose()["userEmail"], &shared.expose()["patientId"]), (&Value::Null, &json!(99)));
        let payload = async || event(&store, 30).await.kind.posted.unwrap().payload;
        assert_eq!(payload().await.expose(), &request, "others must still be told");
        let limits = Limits { store_bytes_max: None, ..Config::default().limits };
        let kept = Retention { attempts_kept_days: 14, captures_kept_days: 30, events_kept_days: 90 };
        store.sweep(&limits, &kept, place.now(), id(9_000), || true).await.unwrap();
        assert_eq!(payload().await.expose(), &request, "it is not delivered yet");
        let head = store.head().borrow();
        let cursor = Some((head, head.0 as u64));
        let seq = event(&store, 30).await.seq;
        let state = DeliveryState::Dead { attempts: 1, reason: Reason::new(ReasonCode::Refused, "422") };
        let row = Row {
            seq,
            ordinal: seq.0 as u64,
            lane: Lane("p:partner".into()),
            state,
            redriven: false,
            historical: false,
        };
        store.record(&mqtt(), Record { rows: vec![row], cursor, ..Record::default() }).await.unwrap();
        store.sweep(&limits, &kept, place.now(), id(9_001), || true).await.unwrap();
        assert_eq!(payload().await, Payload::default());
        assert!(!holds(&raw(&place), MAIL), "the bytes of the request are gone too, and the WAL is emptied");
        // Heard everywhere already, a request goes with the next erasure of that person.
        store.commit(place.entry(b"", &[(31, posted("dataDeletionRequest", request.clone()))], true)).await.unwrap();
        let head = store.head().borrow();
        let cursor = Some((head, head.0 as u64));
        store.record(&mqtt(), Record { cursor, ..Record::default() }).await.unwrap();
        let subject = Subject::User { id: None, email: None, phone: Some("+39000000000".into()) };
        store.erase(subject, place.now(), id(7_779), "desk").await.unwrap();
        drop(store);
        let store = place.open().await;
        store.close().await.unwrap();
        assert!(!holds(&raw(&place), MAIL));
    });
}

#[test]
fn an_erasure_that_is_cut_off_is_finished_after_the_next_start() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        history(&place, &store).await;
        let whole = erase(&place, &store, Subject::Patient(PATIENT.into())).await.events;
        for commits in 0..8 {
            let place = Place::new();
            let store = place.open().await;
            history(&place, &store).await;
            let mut left = commits * 2;
            place.disk.inject(move |_| {
                left -= 1;
                if left < 0 { Err("the card is gone".into()) } else { Ok(()) }
            });
            let subject = Subject::Patient(PATIENT.into());
            let first = store.erase(subject.clone(), place.now(), id(7_777), "desk").await;
            place.disk.heal();
            drop(store);
            let store = place.open().await;
            if first.is_err() && commits == 0 {
                // Not even the request was on disk.
                assert!(store.finish_erasure(id(7_777)).await.is_err());
                store.erase(subject, place.now(), id(7_777), "desk").await.unwrap();
            }
            store.finish_erasures().await.unwrap();
            let told = event(&store, 7_777).await.kind.details.unwrap();
            assert_eq!(
                (&told["events"], &told["tests"]),
                (&json!(whole), &json!([id(501)])),
                "after {commits} commits"
            );
            let again = store.finish_erasure(id(7_777)).await.unwrap();
            assert_eq!((again.events, again.tests), (whole, vec![id(501)]), "what was done is known");
            for text in [PATIENT, SAMPLE, NAME] {
                assert!(!holds(&raw(&place), text), "{text} is left after {commits} commits");
            }
        }
    });
}

#[test]
fn an_undone_event_is_still_delivered_and_nobody_is_erased_by_an_empty_word() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        history(&place, &store).await;
        let nobody = erase(&place, &store, Subject::Patient("  ".into())).await;
        assert_eq!((nobody.events, nobody.captures, nobody.registrations.len()), (0, 0, 0));
        assert_eq!(store.event_by_id(id(7_777)).await.unwrap(), None);
        let seq = event(&store, 12).await.seq;
        let state = DeliveryState::Held { attempts: 1, reason: Reason::new(ReasonCode::Certificate, "expired") };
        let row =
            Row { seq, ordinal: seq.0 as u64, lane: Lane("t:1".into()), state, redriven: false, historical: false };
        let cursor = Some((seq, seq.0 as u64));
        store.record(&mqtt(), Record { rows: vec![row], cursor, ..Record::default() }).await.unwrap();
        let subject = Subject::Patient(PATIENT.into());
        store.erase(subject, place.now(), id(7_778), "desk").await.unwrap();
        let backlog = store.backlog(&mqtt()).await.unwrap();
        assert_eq!(backlog.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [seq]);
        let sent = store.event(seq).await.unwrap().unwrap();
        assert!(sent.erased && !sent.data_json().contains(SAMPLE));
        let (beyond, _) = store.next_events(&mqtt(), Seq(seq.0), 100).await.unwrap();
        assert!(beyond.iter().all(|event| !event.data_json().contains(PATIENT)));
    });
}

#[test]
fn a_stored_request_is_obeyed_after_a_restart_and_one_that_nobody_confirmed_stays() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let registration = history(&place, &store).await;
        let theirs = json!({ "userId": 12, "userEmail": MAIL, "userPhoneNumber": "+39000000000" });
        let others = json!({ "userId": 13, "userEmail": "b@example.org", "userPhoneNumber": "+39000000001" });
        let subject = Subject::User { id: Some(12), email: Some(MAIL.into()), phone: None };
        let asked = Asked { id: id(7_777), subject, client: "source:booking".into() };
        let request = || place.entry(b"", &[(30, posted("dataDeletionRequest", theirs.clone()))], true);
        assert_eq!(store.commit_and_ask(request(), asked.clone()).await.unwrap().stored, 1);
        assert_eq!(store.commit_and_ask(request(), asked).await.unwrap().repeated, 1);
        store.commit(place.entry(b"", &[(31, posted("dataDeletionRequest", others.clone()))], true)).await.unwrap();
        let head = store.head().borrow();
        let cursor = Some((head, head.0 as u64));
        store.record(&mqtt(), Record { cursor, ..Record::default() }).await.unwrap();
        let limits = Limits { store_bytes_max: None, ..Config::default().limits };
        let kept = Retention { attempts_kept_days: 14, captures_kept_days: 30, events_kept_days: 90 };
        store.sweep(&limits, &kept, place.now(), id(9_000), || true).await.unwrap();
        let payload = async |store: &Store, number| event(store, number).await.kind.posted.unwrap().payload;
        assert_eq!(payload(&store, 30).await.expose(), &theirs, "everybody has it, but it is not done here");
        drop(store);
        let store = place.open().await;
        store.finish_erasures().await.unwrap();
        assert!(store.registration(&registration).await.unwrap().unwrap().erased_at.is_some());
        let audit = store.audit_entries(0, 10).await.unwrap();
        let lines: Vec<(&str, &str)> = audit.iter().map(|(_, line)| (&*line.client, &*line.action)).collect();
        assert_eq!(lines, [("source:booking", "erase")]);
        let head = store.head().borrow();
        let cursor = Some((head, head.0 as u64));
        store.record(&mqtt(), Record { cursor, ..Record::default() }).await.unwrap();
        store.sweep(&limits, &kept, place.now(), id(9_001), || true).await.unwrap();
        assert_eq!(payload(&store, 30).await, Payload::default());
        assert_eq!(payload(&store, 31).await.expose(), &others);
        let bytes = raw(&place);
        assert!([PATIENT, SAMPLE, NAME, MAIL].iter().all(|text| !holds(&bytes, text)));
    });
}

#[test]
fn a_shared_sample_id_never_leads_to_another_patients_data() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        for (number, (name, patient, samples)) in (1_u64..).zip([
            ("CA", "PA", json!(["SH-1"])),
            ("CB", "PB", json!(["SH-1", "SH-2"])),
            ("CC", "PA", json!(["SH-3"])),
        ]) {
            let new = json!({ "id": name, "sample_ids": samples, "patient": { "id": patient } });
            let new = NewRegistration::from_json(&new).unwrap();
            store.register(new, place.now(), id(number)).await.unwrap().unwrap();
        }
        for (number, patient, sample) in [(10, Some("PB"), "SH-2"), (11, Some("PX"), "SH-3"), (12, Some("PA"), "SH-3")]
        {
            let kind = result(500 + number, patient, Some(sample));
            store.commit(place.entry(b"", &[(number, kind)], true)).await.unwrap();
        }
        let erased = erase(&place, &store, Subject::Patient("PA".into())).await;
        // The third is the retest that the second run of SH-3 has made.
        assert_eq!(erased.registrations[..2], ["CA", "CC"]);
        assert!(erased.registrations.len() == 3 && !erased.registrations.iter().any(|id| id == "CB"));
        assert!(store.registration("CB").await.unwrap().unwrap().patient.is_some());
        assert!(event(&store, 10).await.kind.test.unwrap().patient_id.is_some());
        assert!(event(&store, 12).await.kind.test.unwrap().patient_id.is_none());
        // Asked for by itself, the sample means whoever has it.
        let erased = store.erase(Subject::Sample("SH-2".into()), place.now(), id(7_778), "desk").await.unwrap();
        assert_eq!(erased.registrations, ["CB"]);
    });
}
