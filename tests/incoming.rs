//! Webhooks that come in: what the documents of the seeds show is taken, what a gateway renders is taken back, and whatever is
//! forged, changed or too old is refused without a word of it.

use gateway_core::dialects::{Accepted, Attempt, Endpoint, PersonalData, Received, Refusal, Request, Secret, dialect};
use gateway_core::event::*;
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "incoming/relayed.rs"]
mod relayed;

const NOW: Now = Now { mono: Mono(7), wall: Timestamp(1_780_000_000_000), quality: ClockQuality::Synchronized };
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s";
const KEY: &str = "a-shared-key-of-this-test";
const DIALECTS: [(&str, &str); 5] =
    [("test-v0", WHSEC), ("partner", KEY), ("session", KEY), ("lab", WHSEC), ("cloudevents", WHSEC)];

type Headers = Vec<(String, String)>;

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn accept(name: &str, headers: &Headers, body: &[u8], secrets: &[&str], now: Now) -> Result<Vec<Accepted>, Refusal> {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    dialect(name).expect("a dialect").accept(&Received { headers, body, secrets: &secrets, now })
}

/// The one event of a body that needs no signature.
fn taken(name: &str, body: &str) -> Accepted {
    let mut events = accept(name, &Headers::new(), body.as_bytes(), &[], NOW).expect("accepted");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn refused(name: &str, body: &str) -> Refusal {
    accept(name, &Headers::new(), body.as_bytes(), &[], NOW).expect_err("refused")
}

fn event(kind: EventKind) -> Event {
    Event {
        seq: Seq(3),
        id: Id([5; 16]),
        analyzer: AnalyzerId("pcr".to_owned()),
        received_at: NOW.wall,
        clock: NOW.quality,
        boot: Id([1; 16]),
        mono: NOW.mono,
        sequence: Some(4),
        erased: false,
        kind,
    }
}

fn posted(dialect: &str, event: &str, session: Option<&str>, payload: Value) -> EventKind {
    EventKind::posted(Posted {
        dialect: dialect.to_owned(),
        event: event.to_owned(),
        session: session.map(Personal::new),
        payload: Payload::new(payload),
    })
}

fn run(text: &str) -> EventKind {
    let device = Device {
        model: Some("PM9".to_owned()),
        sn: Some("4123456789".to_owned()),
        details: json!({"hwVersion": text, "swVersion": "S", "configuration": "C"})
            .as_object()
            .cloned()
            .unwrap_or_default(),
    };
    let data = json!({"temperatures_from": 0, "samples_from": 0, "samples": [],
                      "temperatureSamples": [{"time": "2026-01-02T03:04:05.006Z", "temp": 63.16}]});
    let test = json!({"id": Id([9; 16]), "state": "TESTING", "qc": false, "results": [], "data": data});
    EventKind::about_test(EventName::NewData, Some(device), serde_json::from_value(test).expect("a test"))
}

/// An event of each dialect with a text of any kind in it.
fn example(name: &str, text: &str) -> EventKind {
    let text = if text.is_empty() { "-" } else { text };
    match name {
        "partner" => {
            let data = json!({"dashboardUrl": "https://a.example/1", "userUrl": "https://a.example/2", "appointmentId": 7,
                              "locationId": 8, "datetime": "2020-11-16 10:00:00+00", "paymentMethod": text});
            posted(name, "appointmentCreated", None, data)
        }
        "session" => posted(name, "GENERAL_ERROR", Some(text), json!({ "details": text })),
        "lab" => posted(
            name,
            "test_registration.lml_lab_id_created",
            None,
            json!({"testregistration_id": text, "lab_id": "L-1"}),
        ),
        _ => run(text),
    }
}

fn rendered(name: &str, secret: &str, kind: EventKind) -> (Headers, Vec<u8>) {
    let endpoint = Endpoint {
        public_url: Some("https://box.example".to_owned()),
        personal_data: PersonalData::All,
        time_zone: "UTC".to_owned(),
        posted: true,
        ..Endpoint::default()
    };
    let secrets = [Secret::new(secret)];
    let attempt = Attempt {
        gateway: "clinic-7",
        endpoint: &endpoint,
        secrets: &secrets,
        now: NOW,
        signed_at: NOW.wall,
        number: 1,
        ordinal: 1,
        ordinals: &[],
        redriven: false,
        historical: false,
        history: &[],
    };
    let request = dialect(name).expect("a dialect").render(&[event(kind)], &attempt);
    let Ok(Some(Request::Http(request))) = request else { panic!("{name}: {:?}", request.err()) };
    (request.headers, request.body)
}

#[test]
fn the_documents_own_bodies_are_taken() {
    let device = r#""device":{"hwVersion":"HV3.0.2","swVersion":"SV2.2.2","deviceModel":"PM001","sn": 0000000000,"configuration":"CV1"},"#;
    for (event, state, device, more) in [
        ("DEVICE_READY", "IDLE", "", ""),
        ("ALREADY_TESTING", "BLOCKED_ALREADY_TESTING", "", ""),
        ("TEST_STARTED", "TESTING", device, ""),
        ("CONTINUE_TEST", "TESTING", device, ""),
        ("NEW_DATA", "TESTING", device, r#","unknown":{"key":[1]}"#),
        ("TEST_FINISHED", "DONE", device, ""),
    ] {
        let body = format!(
            "{{\n\"version\": 0,\n\"event\": \"{event}\",\n{device}\"test\":{{\"state\":\"{state}\",\
             \"data\":{{ \"temperatureSamples\": [], \"samples\": [] }}}}{more}}}"
        );
        let taken = taken("test-v0", &body);
        assert_eq!(taken.kind.name.as_str(), event);
        assert_eq!(taken.identity, None, "nothing in it tells {event} from the next one");
        assert_eq!(taken.kind.device.and_then(|device| device.sn).is_some(), !device.is_empty());
    }
    let sample = r#"{"eventName":"sampleUpdated","data":{"dashboardUrl":"https://dashboard.example/1","userUrl":
        "https://web.example/results/123","appointmentId":123,"locationId":123,"sampleId":123,"resultId":123,"patientId":123}}"#;
    assert_eq!(taken("partner", sample).kind.word(), "sampleUpdated");
    let created = r#"{"timestamp":1689684577,"sessionId":"ryueiwoqfh910fu3rpqruvfiu","sequence":0,"event":"MEASUREMENT_CREATED",
        "severity":"INFO","payload":{"measurementId":"f0c8ca8d-111d-4dcf-a69d-46ed39a2db06"}}"#;
    let created = taken("session", created).kind.posted.expect("posted");
    assert_eq!(created.session.as_ref().map(Personal::expose), Some("ryueiwoqfh910fu3rpqruvfiu"));
    let retest = r#"{"event":"test_registration.retest","data":{"testregistration_id":"1234-5678",
        "retest_testregistration_id":"5555-6666"}}"#;
    assert_eq!(taken("lab", retest).kind.word(), "test_registration.retest");
}

#[test]
fn what_is_wrong_with_a_body_is_told_by_its_place_and_never_by_its_value() {
    for (name, body, status, word) in [
        ("test-v0", r#"{"event":"s3cret","test":{"state":"IDLE"}}"#, 422, "event"),
        ("test-v0", r#"{"event":s3cret}"#, 400, "byte 9"),
        ("partner", r#"{"eventName":"s3cret","data":{}}"#, 422, "no event of this name"),
        ("partner", r#"{"eventName":"sampleUpdated","data":{"sampleId":"s3cret"}}"#, 422, "/data/sampleId"),
        ("partner", r#"{"eventName":"dataDeletionRequest","data":{"userId":1,}}"#, 400, "column"),
        ("partner", r#"["s3cret"]"#, 422, "object"),
        ("session", r#"{"timestamp":1,"sessionId":"s","sequence":-1,"event":"WMS_LOADED"}"#, 422, "/sequence"),
        ("session", r#"{"timestamp":1,"sessionId":"","sequence":1,"event":"WMS_LOADED"}"#, 422, "/sessionId"),
        ("session", r#"{"sessionId":"s","sequence":1,"event":"WMS_LOADED"}"#, 422, "/timestamp"),
        (
            "session",
            r#"{"timestamp":1,"sessionId":"s","sequence":1,"event":"LOW_SNR","payload":{"details":5}}"#,
            422,
            "/payload/details",
        ),
        ("lab", r#"{"event":"lab_results.complete","data":{"testregistration_id":"1"}}"#, 422, "/data/url"),
        ("cloudevents", r#"{"id":"1"}"#, 422, "content-type"),
        ("cloudevents", "s3cret", 400, "column"),
    ] {
        let refusal = refused(name, body);
        assert_eq!(refusal.status, status, "{name}: {refusal}");
        assert!(refusal.problem.contains(word) && !refusal.problem.contains("s3cret"), "{name}: {refusal}");
    }
    let structured = headers(&[("content-type", "application/cloudevents+json; charset=utf-8")]);
    for (body, word) in [
        (r#"{"specversion":"0.3"}"#, "/specversion"),
        (r#"{"specversion":"1.0","type":"com.s3cret","id":"1","source":"/a"}"#, "/type"),
        (
            r#"{"specversion":"1.0","type":"analyzer-gateway.GAP","id":"1","source":"/a","data":{"event":"s3cret"}}"#,
            "/data",
        ),
    ] {
        let refusal = accept("cloudevents", &structured, body.as_bytes(), &[], NOW).expect_err("refused");
        assert!(refusal.problem.contains(word) && !refusal.problem.contains("s3cret"), "{refusal}");
    }
}

#[test]
fn a_request_without_what_proves_its_sender_is_refused() {
    for (name, secret) in DIALECTS {
        let (all, body) = rendered(name, secret, example(name, "x"));
        assert!(accept(name, &all, &body, &[secret], NOW).is_ok(), "{name}");
        let bare: Headers = all.iter().filter(|(name, _)| name == "content-type").cloned().collect();
        let refusal = accept(name, &bare, &body, &[secret], NOW).expect_err("no proof");
        assert_eq!(refusal.status, 401, "{name}");
        let other = if secret == KEY { "another-key" } else { "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" };
        assert_eq!(accept(name, &all, &body, &[other], NOW).expect_err("another secret").status, 401, "{name}");
        assert!(accept(name, &all, &body, &[other, secret], NOW).is_ok(), "{name}: any of the secrets will do");
    }
}

#[test]
fn one_changed_byte_anywhere_is_refused() {
    for (name, secret) in DIALECTS {
        let (all, body) = rendered(name, secret, example(name, "x"));
        let signs_body = name != "partner";
        for place in (0..body.len()).filter(|_| signs_body) {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = body.clone();
                changed[place] ^= flip;
                let refusal = accept(name, &all, &changed, &[secret], NOW).expect_err("a changed body");
                assert_eq!(refusal.status, 401, "{name}: byte {place}");
            }
        }
        let proof = ["x-api-key", "x-wms-content-mac", "webhook-signature", "webhook-id", "webhook-timestamp"];
        for (index, (header, value)) in all.iter().enumerate().filter(|(_, (name, _))| proof.contains(&name.as_str())) {
            for place in 0..value.len() {
                let mut changed = all.clone();
                let mut bytes = value.clone().into_bytes();
                bytes[place] ^= 0x01;
                changed[index].1 = String::from_utf8(bytes).expect("ASCII");
                // The last character of base64 may hold bits that mean nothing; the padding means nothing at all.
                let meaningless = header == "webhook-signature" && place + 2 >= value.len();
                let answer = accept(name, &changed, &body, &[secret], NOW);
                assert!(meaningless || answer.is_err_and(|refusal| refusal.status == 401), "{name}: {header} {place}");
            }
        }
    }
}

#[test]
fn a_replay_is_too_old_and_a_repeat_is_the_same_event() {
    for (name, secret) in DIALECTS {
        let (all, body) = rendered(name, secret, example(name, "x"));
        let first = accept(name, &all, &body, &[secret], NOW).expect("accepted");
        assert!(first[0].identity.is_some() && first[0].kind.identity == first[0].identity, "{name}");
        assert_eq!(accept(name, &all, &body, &[secret], NOW).as_ref(), Ok(&first), "{name}");
        let later = Now { wall: NOW.wall.shifted(301_000), ..NOW };
        if secret == WHSEC {
            let refusal = accept(name, &all, &body, &[secret], later).expect_err("too old");
            assert_eq!(refusal.status, 401);
            assert!(refusal.problem.contains("300 s"), "{refusal}");
            // A box that does not know the time cannot tell; the identity still does.
            let unset = Now { quality: ClockQuality::Unset, ..later };
            assert_eq!(accept(name, &all, &body, &[secret], unset).as_ref(), Ok(&first), "{name}");
        }
    }
    let at = |sequence: u64| {
        let body = format!(r#"{{"timestamp":1,"sessionId":"s","sequence":{sequence},"event":"WMS_LOADED"}}"#);
        taken("session", &body).identity
    };
    assert!(at(0) == at(0) && at(0) != at(1));
    let updated = r#"{"eventName":"sampleUpdated","data":{"sampleId":1}}"#;
    assert_eq!(taken("partner", updated).identity, None, "a sample may be updated twice in the same words");
    let request =
        r#"{"eventName":"dataDeletionRequest","data":{"userId":1,"userEmail":"a@b.example","userPhoneNumber":"+390"}}"#;
    assert_eq!(taken("partner", request).identity, None, "who came back may ask again");
    let numbered = headers(&[("x-gateway-event-id", "0190f4a2")]);
    let events = accept("partner", &numbered, updated.as_bytes(), &[], NOW).expect("accepted");
    assert!(events[0].identity.is_some());
}

/// What Node's `createHmac('sha256', KEY).update(body.toString(), 'ascii')` prints for this body.
#[test]
fn the_mac_of_the_documents_own_code_is_taken_beside_that_of_the_bytes() {
    let body = r#"{"timestamp":1,"sessionId":"für","sequence":0,"event":"WMS_LOADED"}"#;
    for mac in [
        "hmac-sha256=f5bae7ee8f3eb12e7ee07fc4aff9ecb99ee5ef4fa1c647bf613cd58a64170091",
        "hmac-sha256=f889104ad828e4e5eccbfffd84a44b8eaa3dc53dcf033618d5964c5e99914234",
    ] {
        let headers = headers(&[("x-wms-content-mac", mac)]);
        assert!(accept("session", &headers, body.as_bytes(), &[KEY], NOW).is_ok(), "{mac}");
    }
}

#[test]
fn no_letter_can_be_swapped_for_one_with_the_same_low_byte() {
    let (all, body) = rendered("session", KEY, example("session", "a"));
    let body = String::from_utf8(body).expect("UTF-8");
    for (letter, other) in [("a", "\u{161}"), ("0", "\u{130}"), ("\"", "\u{122}")] {
        let swapped = body.replace(letter, other);
        assert_ne!(swapped, body);
        let refusal = accept("session", &all, swapped.as_bytes(), &[KEY], NOW).expect_err("a swapped letter");
        assert_eq!(refusal.status, 401);
    }
}

#[test]
fn of_another_gateway_only_facts_of_tests_and_analyzers_are_taken() {
    let structured = headers(&[("content-type", "application/cloudevents+json")]);
    let send = |data: Value, secrets: &[&str]| {
        let event =
            json!({"specversion": "1.0", "type": "analyzer-gateway.X", "id": "1", "source": "/a", "data": data});
        accept("cloudevents", &structured, event.to_string().as_bytes(), secrets, NOW)
    };
    assert!(send(json!({"event": "ANALYZER_CONNECTED"}), &[]).is_ok());
    for name in ["DATA_ERASED", "CLOCK_CORRECTED", "DATA_EVICTED", "REGISTRATION_CREATED", "WEBHOOK_TEST", "POSTED"] {
        let refusal = send(json!({ "event": name }), &[]).expect_err(name);
        assert_eq!((refusal.status, refusal.problem.contains("/data/event")), (422, true), "{name}: {refusal}");
    }
    let posted = json!({"dialect": "partner", "event": "sampleUpdated", "payload": {"sampleId": 1}});
    let refusal = send(json!({"event": "sampleUpdated", "posted": posted}), &[]).expect_err("no secrets");
    assert!(refusal.problem.contains("secrets"), "{refusal}");
    // With a signature it has to be an event that the catalogue knows.
    let mut kind = posted_of("sampleUpdated", json!({"sampleId": "s3cret"}));
    for _ in 0..2 {
        let (all, body) = rendered("cloudevents", WHSEC, kind);
        let refusal = accept("cloudevents", &all, &body, &[WHSEC], NOW).expect_err("unknown to the catalogue");
        assert!(refusal.status == 422 && !refusal.problem.contains("s3cret"), "{refusal}");
        kind = posted_of("s3cret", json!({}));
    }
}

fn posted_of(event: &str, payload: Value) -> EventKind {
    posted("partner", event, None, payload)
}

#[test]
fn a_probe_is_verified_and_holds_no_event() {
    for (name, secret) in DIALECTS {
        let endpoint = Endpoint { public_url: Some("https://box.example".to_owned()), ..Endpoint::default() };
        let secrets = [Secret::new(secret)];
        let attempt = Attempt {
            gateway: "clinic-7",
            endpoint: &endpoint,
            secrets: &secrets,
            now: NOW,
            signed_at: NOW.wall,
            number: 1,
            ordinal: 0,
            ordinals: &[],
            redriven: false,
            historical: false,
            history: &[],
        };
        let probe = dialect(name).expect("a dialect").probe(Id([3; 16]), &attempt).expect("a probe");
        let Request::Http(probe) = probe else { panic!("{name}") };
        assert_eq!(accept(name, &probe.headers, &probe.body, &[secret], NOW), Ok(Vec::new()), "{name}");
        assert!(accept(name, &Headers::new(), &probe.body, &[secret], NOW).is_err(), "{name}");
        let (mut all, body) = rendered(name, secret, example(name, "x"));
        all.push(("x-gateway-test".to_owned(), "true".to_owned()));
        assert_eq!(accept(name, &all, &body, &[secret], NOW).map(|taken| taken.len()), Ok(1), "{name}: no probe");
    }
}
