//! What holds for every dialect, by tables rather than by cases: signatures, probes, and what a catalogue lets in.

use crate::expect;
use gateway_core::dialects::{Attempt, DIALECTS, Dialect, Endpoint, Request, Secret};
use gateway_core::event::{EventName, Id};
use gateway_tests::cases::{NOW, Settings, cases, folder, header, written};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// It is a good secret in every dialect: one of Standard Webhooks, and a key or MAC secret like any other.
pub const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// An endpoint with what a dialect may need.
pub fn endpoint(dialect: &dyn Dialect) -> Endpoint {
    let template = json!({"body": "{\"sample\": {{ event.test.sample_id | tojson }}}"});
    let settings = json!({"public_url": "https://gateway.clinic.example", "template": template});
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    settings.endpoint(dialect)
}

/// The request that tries out an endpoint of this dialect with these secrets, and nothing else in its settings.
pub fn probe(dialect: &dyn Dialect, secrets: &[Secret]) -> Result<Request, String> {
    let attempt = Attempt {
        gateway: "clinic-7",
        endpoint: &endpoint(dialect),
        secrets,
        now: NOW,
        signed_at: NOW.wall,
        number: 1,
        ordinal: 0,
        ordinals: &[],
        redriven: false,
        historical: false,
        history: &[],
    };
    dialect.probe(Id([7; 16]), &attempt).map_err(|error| error.problem)
}

#[test]
fn every_dialect_has_a_probe_that_is_marked() {
    let mut wrong = Vec::new();
    for dialect in DIALECTS.iter().copied() {
        let now = match probe(dialect, &[Secret::new(SECRET)]) {
            Ok(Request::Http(request)) => {
                assert_eq!(header(&request, "x-gateway-test"), Some("true"), "{}", dialect.name());
                written(&request)
            }
            Ok(Request::Mllp(message)) => message,
            Err(problem) => format!("held: {problem}\n").into_bytes(),
        };
        expect(&folder(dialect).join("probe.http"), &now, &mut wrong);
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn as_many_signatures_as_secrets() {
    for dialect in DIALECTS.iter().copied().filter(|dialect| !dialect.takes_one_secret()) {
        for count in 0..=2 {
            let Ok(Request::Http(request)) = probe(dialect, &vec![Secret::new(SECRET); count]) else { continue };
            let signatures = header(&request, "webhook-signature").map_or(0, |value| value.split(' ').count());
            assert_eq!(signatures, count, "{}", dialect.name());
        }
    }
}

#[test]
fn what_a_dialect_must_have_is_asked_for() {
    for dialect in DIALECTS.iter().copied() {
        assert_eq!(dialect.check_secret(Some(SECRET)), Ok(()), "{}", dialect.name());
        assert_eq!(dialect.check_secret(None).is_err(), dialect.takes_one_secret(), "{}", dialect.name());
        assert!(dialect.check_secret(Some("")).is_err(), "{}", dialect.name());
        let keys = |endpoint: &Endpoint| -> Vec<_> {
            dialect.check_endpoint(endpoint).into_iter().map(|fault| fault.key).collect()
        };
        let bare = keys(&Endpoint::default());
        assert_eq!(bare.contains(&"http.public_url"), dialect.name() == "lab", "{}", dialect.name());
        let audience = |audience: &str| Endpoint { audience: Some(audience.to_owned()), ..endpoint(dialect) };
        if dialect.name() == "partner" {
            assert_eq!(keys(&audience("labs")), [""; 0]);
            assert_eq!(keys(&audience("laboratories")), ["audience"]);
        }
    }
}

#[test]
fn a_catalogue_takes_what_its_cases_send_and_nothing_else() {
    for case in DIALECTS.iter().flat_map(|dialect| cases(*dialect)) {
        let Some(posted) = &case.event().kind.posted else { continue };
        if !matches!(case.rendered(), Ok(Some(_))) || posted.dialect != case.dialect.name() {
            continue;
        }
        let entry = case.dialect.entry(&posted.event).expect("it was rendered");
        let payload = posted.payload.expose();
        assert_eq!(entry.check(Some(payload), "/payload"), [], "{}", case.folder.display());
        let mut more = if payload.is_object() { payload.clone() } else { json!({}) };
        more["sequence_of_mine"] = json!(1);
        assert_eq!(entry.check(Some(&more), "/payload").len(), 1, "{}", case.folder.display());
        for key in entry.payload.iter().filter(|key| key.required) {
            let mut less = payload.clone();
            less.as_object_mut().expect("an object").remove(key.name);
            let paths: Vec<String> = entry.check(Some(&less), "").into_iter().map(|fault| fault.path).collect();
            assert_eq!(paths, [format!("/{}", key.name)], "{}", case.folder.display());
        }
    }
}

#[test]
fn a_catalogue_names_each_event_once_and_each_word_of_ours() {
    for dialect in DIALECTS {
        let names: BTreeSet<&str> = dialect.catalogue().iter().map(|entry| entry.event).collect();
        assert_eq!(names.len(), dialect.catalogue().len(), "{}", dialect.name());
        let words = EventName::ALL.iter().filter_map(|name| dialect.word(*name));
        for word in words.filter(|_| !names.is_empty()) {
            assert!(names.contains(word), "{}: {word}", dialect.name());
        }
        for entry in dialect.catalogue() {
            assert!(dialect.speaks(entry.event));
            assert!(entry.payload.is_empty() || entry.schema()["properties"].is_object(), "{}", entry.event);
        }
        assert!(!dialect.speaks("NOTHING_LIKE_IT"));
    }
}

/// The names and severities that other programs rely on, counted in the receivers' documents.
#[test]
fn the_catalogues_hold_every_event_of_the_documents() {
    let count = |name: &str, severity: Option<&str>| {
        let catalogue = gateway_core::dialects::dialect(name).expect("a dialect").catalogue();
        catalogue.iter().filter(|entry| severity.is_none_or(|word| entry.severity.as_str() == word)).count()
    };
    assert_eq!([count("test-v0", None), count("partner", None), count("lab", None)], [6, 14, 5]);
    assert_eq!([Some("INFO"), Some("WARN"), Some("ERROR")].map(|severity| count("session", severity)), [13, 2, 7]);
}

#[test]
fn no_probe_can_be_taken_for_a_result() {
    for dialect in DIALECTS.iter().copied() {
        let Ok(Request::Http(request)) = probe(dialect, &[Secret::new(SECRET)]) else { continue };
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { continue };
        let words = ["TEST_FINISHED", "RESULTS_RECEIVED", "lab_results.complete", "sampleUpdated"];
        for key in ["event", "eventName", "type"] {
            let word = body[key].as_str().unwrap_or_default();
            assert!(!words.iter().any(|result| word.ends_with(result)), "{}: {word}", dialect.name());
        }
    }
}
