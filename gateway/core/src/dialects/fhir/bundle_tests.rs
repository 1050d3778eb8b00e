//! Bundles of FHIR as a server takes them apart, and what its answers mean.

use super::*;
use crate::delivery::Reason;
use crate::dialects::property_tests::{attempt, event};
use crate::event::{Device, Id, Personal, Test, TestState};
use proptest::prelude::*;
use serde_json::{Map, json};
use std::collections::BTreeMap;

fn finished(results: Value, result: Value) -> Event {
    let test: Test = serde_json::from_value(json!({
        "id": Id([4; 16]), "state": TestState::Done, "sample_id": "S-0001", "instrument_sample_id": null,
        "patient_id": "P-7", "qc": false, "started_at": null, "finished_at": "2026-11-21T20:13:52",
        "results": results, "result": result, "comments": [],
    }))
    .expect("a test");
    let device = Device { model: Some("XP-900".to_owned()), sn: Some("A1".to_owned()), details: Map::new() };
    let kind = EventKind::about_test(EventName::TestFinished, Some(device), test);
    probe_event(Id([1; 16]), &attempt(&Endpoint::default(), &[], &[]), kind)
}

fn bundle(event: &Event, endpoint: &Endpoint) -> Value {
    let events = [event.clone()];
    match Fhir.render(&events, &attempt(endpoint, &[], &events)) {
        Ok(Some(Request::Http(request))) => serde_json::from_slice(&request.body).expect("JSON"),
        _ => panic!("a POST"),
    }
}

/// The resources of one type.
fn all<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let entries = bundle["entry"].as_array().expect("entries").iter();
    entries.map(|entry| &entry["resource"]).filter(|resource| resource["resourceType"] == kind).collect()
}

fn two_results() -> Value {
    json!([
        {"code": "WBC", "name": "", "value": "5.50", "number": serde_json::from_str::<Value>("5.50").expect("a number"), "unit": "10*3/uL", "reference": "4 - 9",
         "flags": ["H", "!"], "status": "F", "at": null, "at_text": "", "comments": ["seen"]},
        {"code": "RBC", "name": "", "value": "<3.00", "unit": "", "reference": "", "flags": [], "status": "P",
         "at": "2026-07-21T20:13:52", "at_text": "", "comments": []},
    ])
}

#[test]
fn nothing_is_guessed() {
    let loinc = BTreeMap::from([("WBC".to_owned(), "6690-2".to_owned())]);
    let endpoint = Endpoint { time_zone: "Europe/Berlin".to_owned(), loinc, ..Endpoint::default() };
    let bundle = bundle(&finished(two_results(), Value::Null), &endpoint);
    let observations = all(&bundle, "Observation");
    let [wbc, rbc] = observations[..] else { panic!("{bundle}") };
    assert_eq!(wbc["code"], json!({"coding": [{"system": "http://loinc.org", "code": "6690-2"}], "text": "WBC"}));
    assert_eq!(rbc["code"], json!({"text": "RBC"}));
    assert_eq!(wbc["valueQuantity"].to_string(), r#"{"unit":"10*3/uL","value":5.50}"#);
    assert_eq!((&rbc["valueString"], &rbc["valueQuantity"]), (&json!("<3.00"), &Value::Null));
    assert_eq!(wbc["interpretation"][0]["coding"][0]["code"], "H");
    assert_eq!(wbc["interpretation"][1], json!({"text": "!"}));
    assert_eq!((&wbc["status"], &rbc["status"]), (&json!("final"), &json!("preliminary")));
    assert_eq!(wbc["effectiveDateTime"], "2026-11-21T20:13:52+01:00");
    assert_eq!(rbc["effectiveDateTime"], "2026-07-21T20:13:52+02:00");
    assert_eq!(all(&bundle, "DiagnosticReport")[0]["status"], "partial");
    assert_eq!(wbc["subject"], json!({"type": "Patient", "identifier": {"value": "P-7"}}));
}

#[test]
fn every_link_leads_into_the_bundle_and_every_entry_is_created_once() {
    let bundle = bundle(&finished(two_results(), Value::Null), &Endpoint::default());
    let entries = bundle["entry"].as_array().expect("entries");
    let urls: Vec<&str> = entries.iter().filter_map(|entry| entry["fullUrl"].as_str()).collect();
    assert_eq!(urls.iter().collect::<BTreeSet<_>>().len(), entries.len());
    for entry in entries {
        let url = entry["fullUrl"].as_str().expect("a url");
        assert_eq!(entry["request"]["ifNoneExist"], format!("identifier=urn:ietf:rfc:3986|{url}"));
        assert_eq!(entry["resource"]["identifier"][0]["value"], url);
    }
    let text = bundle.to_string();
    let links: Vec<&str> = text.split("\"reference\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.len() >= 7 && links.iter().all(|link| urls.contains(link)), "{links:?}");
}

#[test]
fn without_personal_data_there_is_no_subject_and_no_specimen() {
    let endpoint = Endpoint { personal_data: crate::dialects::PersonalData::None, ..Endpoint::default() };
    let text = bundle(&finished(two_results(), Value::Null), &endpoint).to_string();
    assert!(!text.contains("P-7") && !text.contains("S-0001") && !text.contains("seen"), "{text}");
}

#[test]
fn an_amplification_run_gives_its_results_and_its_curves() {
    let result = json!({"detectionResult": "POSITIVE", "subGroupResults": [{"name": "IC", "result": "POSITIVE"}]});
    let mut event = finished(json!([]), result);
    let sample = |round: u64, channel: u64| {
        json!({"startingChannel": channel, "currentDataIndex": round, "samplingTime": 301 + 601 * round,
               "firstChannelResult": 64 * (round + 1)})
    };
    let samples = (0..3).flat_map(|round| (0..2).map(move |channel| sample(round, channel))).collect();
    event.kind.test.as_mut().expect("a test").data = Some(crate::event::RunDelta { samples, ..Default::default() });
    let bundle = bundle(&event, &Endpoint::default());
    let observations = all(&bundle, "Observation");
    let texts: Vec<&str> = observations.iter().filter_map(|one| one["code"]["text"].as_str()).collect();
    let curves = ["Amplification curve, channel 0", "Amplification curve, channel 1"];
    assert_eq!(texts, [&["detectionResult", "IC"][..], &curves].concat());
    assert_eq!(observations[0]["valueString"], "POSITIVE");
    assert_eq!(observations[2]["valueSampledData"]["data"], "64 128 192");
    assert_eq!(observations[2]["valueSampledData"]["period"], 60_100);
}

#[test]
fn quality_control_is_marked() {
    let mut event = finished(two_results(), Value::Null);
    event.kind.test.as_mut().expect("a test").qc = true;
    let bundle = bundle(&event, &Endpoint::default());
    for kind in ["DiagnosticReport", "Observation", "Specimen"] {
        assert!(all(&bundle, kind).iter().all(|resource| resource["meta"]["tag"][0]["code"] == "Q"), "{kind}");
    }
}

#[test]
fn of_an_operation_outcome_only_the_codes_are_told() {
    let body = json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "required", "diagnostics": "Karoline Musterfrau lacks a name"},
        {"severity": "error", "code": "Musterfrau"},
    ]});
    let judged = |status| {
        let response = Response { status, body: body.to_string().into_bytes(), ..Response::default() };
        Fhir.judge(&[], &response, &Endpoint::default(), Now::default())
    };
    for status in [400, 409, 412, 422, 500, 404] {
        let (Outcome::Rejected { reason } | Outcome::Retryable { reason, .. } | Outcome::Held { reason }) =
            judged(status)
        else {
            panic!("{status}")
        };
        let Reason { detail, .. } = reason;
        assert!(detail.contains("required") && !detail.contains("Musterfrau"), "{detail}");
    }
    assert!(matches!(judged(409), Outcome::Retryable { .. }) && matches!(judged(422), Outcome::Rejected { .. }));
    assert!(judged(200) == Outcome::Delivered && judged(201) == Outcome::Delivered);
}

/// FHIR's JSON knows neither null nor an empty list, object or text.
fn is_valued(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => {
            !text.trim().is_empty() && !text.contains(|c: char| c.is_control() && !"\r\n\t".contains(c))
        }
        Value::Array(items) => !items.is_empty() && items.iter().all(is_valued),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_valued),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

proptest! {
    #[test]
    fn a_bundle_holds_nothing_empty(event in event(), patient in ".*") {
        let mut events = [event];
        events[0].kind.test.iter_mut().for_each(|test| test.patient_id = Some(Personal::new(patient.clone())));
        let endpoint = Endpoint::default();
        if let Ok(Some(Request::Http(request))) = Fhir.render(&events, &attempt(&endpoint, &[], &events)) {
            let bundle: Value = serde_json::from_slice(&request.body).expect("JSON");
            prop_assert!(is_valued(&bundle), "{bundle}");
        }
    }
}
