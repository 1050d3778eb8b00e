//! The public captures that speak HL7, each by its profile, against what a person has read in them.

use super::captures::{brief, folder, results};
use super::support::{args, decode};
use gateway_daemon::commands::decode::Args;
use serde_json::Value;

/// Decodes a capture by its profile, whole and in pieces of 1, 7 and 32 bytes, which must print the same.
fn events(profile: &str, name: &str) -> Option<Vec<Value>> {
    let file = folder()?.join(name);
    let by_profile = || Args { driver: None, profile: Some(profile.to_owned()), ..args("hl7", &file) };
    let whole = decode(by_profile());
    for chunks in ["1", "7", "32"] {
        let again = decode(Args { chunks: Some(chunks.to_owned()), ..by_profile() });
        assert_eq!(again.text, whole.text, "{name} in reads of {chunks}");
    }
    assert_eq!(whole.status, 0, "{name}: {}", whole.text);
    Some(whole.lines())
}

fn comments(value: &Value) -> Vec<&str> {
    value["comments"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn clinitek_status_with_a_patient() {
    let Some(events) = events("siemens-clinitek-status-plus", "clinitek_status_patient.mllp") else { return };
    assert_eq!(events.len(), 1);
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["patient_id"]), (&"143".into(), &"010820187".into()));
    assert_eq!((&test["qc"], &events[0]["device"]["model"]), (&false.into(), &"Clinitek Status".into()));
    assert_eq!(test["finished_at"], "2018-12-05T22:37:00");
    let results = results(&events[0]);
    let values: Vec<&str> = results.iter().filter_map(|result| result["value"].as_str()).collect();
    let negative = "Negative";
    assert_eq!(
        values,
        [
            negative, negative, negative, "<=1.005", negative, "6.0", negative, "3.2", negative, negative, "Yellow",
            "Clear"
        ]
    );
    assert_eq!(brief(&results[7]), "URO=3.2 umol/L  F 2018-12-05T22:37:00");
    assert_eq!(results[5]["number"].to_string(), "6.0");
    assert!(results[3].get("number").is_none());
    assert_eq!(
        (&results[0]["loinc"], &results[0]["name"]),
        (&"25428-4".into(), &"Glucose in urine by test strip".into())
    );
}

#[test]
fn clinitek_status_control_run() {
    let Some(events) = events("siemens-clinitek-status-plus", "clinitek_status_qc.mllp") else { return };
    assert_eq!(events.len(), 1);
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["patient_id"], &test["qc"]), (&"184".into(), &Value::Null, &true.into()));
    let results = results(&events[0]);
    assert_eq!(results.len(), 10);
    assert!(results.iter().all(|result| comments(result) == ["QCRResult:P"]));
    assert_eq!(comments(test).len(), 6);
    assert!(comments(test).contains(&"QCLot:NO170078N"));
    assert_eq!(brief(&results[3]), "SG=1.015   F 2018-12-20T10:57:00");
}

#[test]
fn mindray_bc_5380_with_pictures() {
    let Some(events) = events("mindray-bc-5380", "bc5380_images.mllp") else { return };
    assert_eq!(events.len(), 2, "an event for each order");
    for event in &events {
        assert_eq!((&event["test"]["sample_id"], &event["test"]["qc"]), (&"20071207011".into(), &false.into()));
        assert_eq!((&event["test"]["patient_id"], &event["device"]["model"]), (&"7393670".into(), &"BC-5380".into()));
    }
    let (counted, by_hand) = (results(&events[0]), results(&events[1]));
    assert_eq!((counted.len(), by_hand.len()), (11, 1));
    let all = || counted.iter().chain(by_hand);
    let numbers = all().filter(|result| result.get("number").is_some());
    assert_eq!(numbers.count(), 6);
    assert_eq!(all().filter(|result| result["value"] == "").count(), 1);
    assert_eq!(brief(&counted[2]), "30525-0=18 yr  F null");
    assert_eq!(brief(&counted[3]), "6690-2=9.81 10*9/L N F null");
    assert_eq!(brief(&counted[4]), "704-7= 10*9/L  F null");
    assert_eq!(brief(&counted[5]), "718-7=65 g/L L F null");
    assert_eq!(brief(&counted[6]), "777-3=212 10*9/L N F null");
    assert_eq!(brief(&counted[8]), "15001=7   F null");
    assert_eq!(brief(&by_hand[0]), "747-6=0.0 %  F null");
    assert_eq!((&counted[3]["name"], &counted[3]["loinc"]), (&"WBC".into(), &"6690-2".into()));
    for picture in &counted[9..] {
        let value = picture["value"].as_str().expect("a text");
        assert!(value.starts_with("^Image^BMP^Base64^Qk") && value.len() > 30_000);
    }
}

#[test]
fn law_with_a_second_run() {
    let Some(events) = events("generic-ihe-law", "law_oul_r22.mllp") else { return };
    assert_eq!(events.len(), 2);
    for event in &events {
        assert_eq!((&event["test"]["sample_id"], &event["test"]["qc"]), (&"SID-7788".into(), &false.into()));
        assert_eq!((&event["device"]["model"], &event["device"]["sn"]), (&"ANALYZER1".into(), &"SN99".into()));
    }
    let (sodium, potassium) = (results(&events[0]), results(&events[1]));
    assert_eq!(sodium.len() + potassium.len(), 3);
    assert_eq!(brief(&sodium[0]), "2951-2=139 mmol/L N F 2026-01-31T10:12:00");
    assert_eq!(brief(&potassium[0]), "2823-3=5.9 mmol/L H F 2026-01-31T10:12:30");
    assert_eq!(brief(&potassium[1]), "2823-3=5.8 mmol/L H C 2026-01-31T10:18:30");
    assert_eq!((&potassium[0]["run"], &potassium[1]["run"]), (&"1".into(), &"2".into()));
}
