//! Whatever an event holds, no dialect panics, and what it writes is well formed.

use super::*;
use crate::event::{Device, Payload, Personal, Posted, Query, RegistrationFact, RunDelta, Test, TestState};
use crate::time::{ClockQuality, Mono};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Text of all sorts: wild, with delimiters, with times and numbers, empty.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[|^&~\\\\\r\n\t \"{}<>üµ🚀\u{0}\u{85}a-z]{0,12}",
        "-?[0-9]{1,12}(\\.[0-9]{0,6})?",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-5][0-9])?",
        Just(String::new()),
    ]
}

fn personal() -> impl Strategy<Value = Option<Personal>> {
    proptest::option::of(text().prop_map(Personal::new))
}

fn number() -> impl Strategy<Value = Option<serde_json::Number>> {
    let texts = prop_oneof!["-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?", "[1-9](\\.[0-9])?[eE][+-]?[0-9]{1,4}"];
    proptest::option::of(texts.prop_map(|text| serde_json::from_str(&text).expect("a JSON number")))
}

prop_compose! {
    fn result()(
        (code, name, value, unit, reference) in (text(), text(), text(), text(), text()),
        number in number(),
        flags in proptest::collection::vec(prop_oneof![text(), Just("HH".to_owned())], 0..3),
        status in prop_oneof![Just("F".to_owned()), Just("C".to_owned()), text()],
        at in proptest::option::of(text()),
        comments in proptest::collection::vec(text(), 0..3),
    ) -> Value {
        json!({
            "code": code, "name": name, "value": value, "number": number, "unit": unit, "reference": reference,
            "flags": flags, "status": status, "at": at, "at_text": "", "comments": comments,
        })
    }
}

fn run_result() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        text().prop_map(|text| Some(text.into())),
        (text(), text(), text()).prop_map(|(overall, name, group)| Some(json!({
            "detectionResult": overall, "subGroupResults": [{"name": name, "result": group}, 7, {"name": 1}],
        }))),
    ]
}

fn samples() -> impl Strategy<Value = Vec<Value>> {
    let sample = (any::<u64>(), 0..3u64, any::<f64>(), any::<i32>()).prop_map(|(round, channel, time, reading)| {
        json!({"startingChannel": channel, "currentDataIndex": round % 50, "samplingTime": time, "firstChannelResult": reading})
    });
    proptest::collection::vec(prop_oneof![4 => sample, 1 => Just(json!([1]))], 0..8)
}

prop_compose! {
    fn test()(
        (sample_id, instrument_sample_id, patient_id) in (personal(), personal(), personal()),
        (qc, calibration, version) in (any::<bool>(), any::<bool>(), 1_u32..4),
        (started_at, finished_at) in (proptest::option::of(text()), proptest::option::of(text())),
        results in proptest::collection::vec(result(), 0..4),
        comments in proptest::collection::vec(text().prop_map(Personal::new), 0..2),
        samples in proptest::option::of(samples()),
        result in run_result(),
    ) -> Test {
        let results = results.into_iter().map(|result| serde_json::from_value(result).expect("a result")).collect();
        let data = samples.map(|samples| RunDelta { samples, ..RunDelta::default() });
        Test {
            sample_id, instrument_sample_id, patient_id, qc, started_at, finished_at, results, comments, data, result,
            calibration, version, ..Test::new(Id([4; 16]), TestState::Done)
        }
    }
}

prop_compose! {
    /// Any name with any parts, whether they belong to it or not.
    pub(super) fn event()(
        name in proptest::sample::select(EventName::ALL),
        is_finished in any::<bool>(),
        test in proptest::option::weighted(0.8, test()),
        (model, sn) in (proptest::option::of(text()), proptest::option::of(text())),
        query in proptest::option::of(personal()),
        registration in proptest::option::of((text(), any::<i64>(), personal())),
        posted in proptest::option::of((0..DIALECTS.len(), text(), personal())),
        at in any::<i64>(),
        sequence in proptest::option::of(any::<u64>()),
    ) -> Event {
        let name = if is_finished { EventName::TestFinished } else { name };
        let mut kind = EventKind::bare(name);
        kind.test = test;
        kind.device = Some(Device { model, sn, ..Device::default() });
        kind.query = query.map(|id| Query { sample_ids: id.into_iter().collect(), status: String::new() });
        kind.registration = registration.map(|(id, number, sample_id)| {
            RegistrationFact { id, number, sample_id, ..RegistrationFact::default() }
        });
        if name == EventName::Posted {
            kind.posted = posted.map(|(dialect, key, session)| {
                let dialect = DIALECTS[dialect];
                let event = dialect.catalogue().first().map_or("UNKNOWN", |entry| entry.event).to_owned();
                let payload = Payload::new(json!({key: "value"}));
                Posted { dialect: dialect.name().to_owned(), event, session, payload }
            });
        }
        Event {
            seq: Seq(7), id: Id([1; 16]), analyzer: AnalyzerId("analyzer".to_owned()), received_at: Timestamp(at),
            clock: ClockQuality::Synchronized, boot: Id([2; 16]), mono: Mono(0), sequence, erased: false, kind,
        }
    }
}

/// An attempt with these settings.
pub(super) fn attempt<'a>(endpoint: &'a Endpoint, secrets: &'a [Secret], history: &'a [Event]) -> Attempt<'a> {
    Attempt {
        gateway: "clinic-7",
        endpoint,
        secrets,
        now: Now::default(),
        signed_at: Timestamp(0),
        number: 1,
        ordinal: 1,
        ordinals: &[],
        redriven: false,
        historical: false,
        history,
    }
}

fn endpoints() -> Vec<Endpoint> {
    let body = "{{ event | tojson }}";
    let plain = Endpoint {
        template: Some(Template::compile(body, &[]).expect("a template")),
        loinc: [("wbc".to_owned(), "6690-2".to_owned())].into(),
        signatures: vec![
            Signature::StandardWebhooks(Secret::new(format!("whsec_{}", "A".repeat(44)))),
            Signature::Mac { header: "x-mac".to_owned(), secret: Secret::new("key") },
        ],
        posted: true,
        ..Endpoint::default()
    };
    let anonymous = Endpoint {
        time_zone: "Europe/Berlin".to_owned(),
        personal_data: PersonalData::None,
        mode: Mode::Binary,
        mllp: true,
        ..plain.clone()
    };
    vec![plain, anonymous]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_event_makes_a_dialect_panic(event in event()) {
        let events = [event];
        for (endpoint, dialect) in endpoints().iter().flat_map(|endpoint| DIALECTS.iter().map(move |d| (endpoint, d))) {
            let secrets = [Secret::new("a-key")];
            let secrets = if dialect.takes_one_secret() { &secrets[..] } else { &[] };
            let Ok(Some(request)) = dialect.render(&events, &attempt(endpoint, secrets, &events)) else { continue };
            let Request::Http(HttpRequest { headers, body }) = request else { continue };
            let mut names: Vec<&String> = headers.iter().map(|(name, _)| name).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), headers.len(), "a header stands twice in {}", dialect.name());
            for (name, value) in &headers {
                prop_assert!(value.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{name} of {}", dialect.name());
            }
            if headers[0].1.contains("json") {
                prop_assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{}: not JSON", dialect.name());
            }
        }
    }

    #[test]
    fn without_personal_data_no_id_and_no_comment_leaves(event in event()) {
        let mut event = event;
        let secret = Personal::new("Karoline-Musterfrau");
        if let Some(test) = &mut event.kind.test {
            (test.sample_id, test.patient_id) = (Some(secret.clone()), Some(secret.clone()));
            test.instrument_sample_id = Some(secret.clone());
            test.comments = vec![secret.clone()];
            for result in &mut test.results {
                result.comments = vec![secret.clone()];
            }
        }
        event.kind.partial = event.kind.test.iter().cloned().collect();
        event.kind.query = Some(Query { sample_ids: vec![secret.clone()], status: String::new() });
        if let Some(registration) = &mut event.kind.registration {
            registration.sample_id = Some(secret.clone());
        }
        if let Some(posted) = &mut event.kind.posted {
            posted.session = Some(secret.clone());
            posted.payload = Payload::new(json!({"anything": secret.expose()}));
        }
        let endpoint = endpoints().remove(1);
        let data = endpoint.visible(&event).data_json();
        prop_assert!(!data.contains(secret.expose()));
        for name in ["cloudevents", "fhir", "hl7", "template"] {
            let events = [event.clone()];
            let dialect = dialect(name).expect("a dialect");
            let body = match dialect.render(&events, &attempt(&endpoint, &[], &events)) {
                Ok(Some(Request::Http(request))) => request.body,
                Ok(Some(Request::Mllp(message))) => message,
                _ => continue,
            };
            prop_assert!(!String::from_utf8_lossy(&body).contains(secret.expose()), "{name}");
        }
    }
}

#[test]
fn signatures_of_an_endpoint_stand_beside_those_of_its_dialect_and_none_twice() {
    let secret = |byte: &str| Secret::new(format!("whsec_{}", byte.repeat(44)));
    let seed = Secret::new(format!("whsk_{}A", "C".repeat(42)));
    let endpoint = Endpoint {
        signatures: vec![
            Signature::StandardWebhooks(secret("A")),
            Signature::StandardWebhooks(seed.clone()),
            Signature::Mac { header: "x-mac".to_owned(), secret: Secret::new("Jefe") },
            Signature::Mac { header: "x-mac".to_owned(), secret: Secret::new("another") },
        ],
        ..Endpoint::default()
    };
    let secrets = [secret("B"), secret("A")];
    let event = probe_event(Id([1; 16]), &attempt(&endpoint, &secrets, &[]), EventKind::bare(EventName::Gap));
    let of = |standard, secrets: &[Secret]| match post(
        &event,
        &attempt(&endpoint, secrets, &[]),
        "text/plain",
        standard,
        b"what do ya want for nothing?".to_vec(),
    ) {
        Ok(Request::Http(request)) => request,
        _ => panic!("a POST"),
    };
    let header = |request: &HttpRequest, name: &str| {
        request.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let request = of(Some(event.id), &secrets);
    let signatures = &header(&request, "webhook-signature")[0];
    assert_eq!(
        signatures.split(' ').map(|one| one.split(',').next().unwrap_or_default()).collect::<Vec<_>>(),
        ["v1", "v1", "v1a"]
    );
    // RFC 4231 section 4.3.
    let mac = "hmac-sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(header(&request, "x-mac"), [mac]);
    // A dialect that is not signed this way: its own secrets sign nothing.
    let request = of(None, &[Secret::new("an api key")]);
    assert_eq!(header(&request, "webhook-signature")[0].split(' ').count(), 2);
    let headers = (event.id.to_string(), "0".to_owned(), header(&request, "webhook-signature").remove(0));
    for secret in [secret("A"), seed] {
        let headers = (headers.0.as_str(), headers.1.as_str(), headers.2.as_str());
        assert_eq!(standard_webhooks::verify(&secret, headers, &request.body, 0, 0), Ok(()));
    }
}
