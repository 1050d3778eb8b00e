//! The public captures of analyzers that write plain text, by the profiles of their models, against what a person has read in
//! them; and the ABL9, whose records stand between SOH and EOT.

use super::captures::folder;
use super::support::{decode, profile_args};
use gateway_daemon::commands::decode::Args;
use serde_json::Value;

/// The tests of a capture, by a profile: whole, in pieces and as it was recorded. Nothing if the captures are not here.
fn tests(profile: &str, name: &str) -> Option<Vec<Value>> {
    let folder = folder()?;
    let file = folder.join(name);
    let whole = decode(profile_args(profile, &file));
    assert_eq!(whole.status, 0, "{name}: {}{}", whole.text, whole.notes);
    let recorded = file.with_extension("chunks.json");
    let recorded = recorded.is_file().then(|| recorded.display().to_string());
    for chunks in ["1", "7", "32"].map(str::to_owned).into_iter().chain(recorded) {
        let again = decode(Args { chunks: Some(chunks.clone()), ..profile_args(profile, &file) });
        assert_eq!(again.text, whole.text, "{name} in reads of {chunks}");
    }
    let events = whole.lines();
    assert!(events.iter().all(|event| event["event"] == "TEST_FINISHED"), "{}", whole.text);
    Some(events)
}

/// `code=value unit flags` of each result.
fn brief(event: &Value) -> Vec<String> {
    let result = |result: &Value| {
        let word = |key: &str| result[key].as_str().unwrap().to_owned();
        let flags: Vec<&str> = result["flags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        format!("{}={} {} {}", word("code"), word("value"), word("unit"), flags.join("+")).trim().to_owned()
    };
    event["test"]["results"].as_array().unwrap().iter().map(result).collect()
}

#[test]
fn siemens_348_prints_blood_gases() {
    let Some(events) = tests("siemens-rapidlab-348", "siemens_348_bloodgas_print.txt") else { return };
    assert_eq!(events.len(), 1);
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["patient_id"]), (&"1386".into(), &"000008233".into()));
    assert_eq!(test["finished_at"], "2019-11-20T12:58:00");
    let expected = [
        "pH=7.973  H",
        "pCO2=8.9 mmHg L",
        "pO2=145.4 mmHg H",
        "Na+=134 mmol/L",
        "K+=3.38 mmol/L L",
        "Cl-=94 mmol/L L",
        "HCO3act=20.1 mmol/L",
        "HCO3std=33.3 mmol/L",
        "BE(ecf)=4.6 mmol/L",
        "BE(B)=9.5 mmol/L",
        "ctCO2=20.4 mmol/L",
        "AnGap=22.6 mmol/L",
        "O2SAT=99.6 %",
    ];
    assert_eq!(brief(&events[0]), expected);
    let results = test["results"].as_array().unwrap();
    assert_eq!((&results[0]["reference"], &results[3]["reference"]), (&"7.350 - 7.450".into(), &"".into()));
    assert_eq!(results[0]["at_text"], "12:58 20 Nov 2019");
}

#[test]
fn mini_vidas_with_its_sum() {
    let Some(events) = tests("biomerieux-mini-vidas", "mini_vidas_raw.bin") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["test"]["sample_id"], "Z1G021SCR");
    assert_eq!(brief(&events[0]), ["HBCT=0.05  Positif"]);
    let result = &events[0]["test"]["results"][0];
    assert_eq!((&result["name"], &result["at"]), (&"Anti-HBc Total II".into(), &"2024-10-25T18:35:00".into()));
    let bytes = std::fs::read(folder().unwrap().join("mini_vidas_raw.bin")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged");
    let damaged: Vec<u8> = bytes.iter().map(|byte| if *byte == b'5' { b'6' } else { *byte }).collect();
    std::fs::write(&file, damaged).unwrap();
    let refused = decode(profile_args("biomerieux-mini-vidas", &file)).lines();
    assert_eq!((refused.len(), &refused[0]["rejection"]["code"]), (1, &"checksum".into()));
}

#[test]
fn humacount_exports_a_table() {
    let Some(events) = tests("human-humacount-30ts", "human30_export.tsv") else { return };
    let told = |event: &Value| format!("{} {}", event["test"]["sample_id"].as_str().unwrap(), event["test"]["qc"]);
    let told: Vec<String> = events.iter().map(told).collect();
    let expected = [
        "AUTO_00003 false",
        "AUTO_00000 false",
        "AUTO_00002 false",
        "0 true",
        "0 true",
        "AUTO_00004 false",
        "AUTO_00004 false",
    ];
    assert_eq!(told, expected);
    assert_eq!(events[0]["test"]["finished_at"], "2021-09-17T13:30:00");
    assert_eq!(brief(&events[0]).len(), 22);
    assert_eq!(brief(&events[0])[..2], ["WBC=4.28 10^9/l L", "LYM=2.49 10^9/l"]);
    assert_eq!(events[1]["test"]["comments"][0], "lLE");
    // An empty cell is no result.
    assert_eq!(brief(&events[3]), ["WBC=0.18 10^9/l", "RBC=0.01 10^12/l", "HGB=0.0 g/dl", "PLT=18 10^9/l"]);
}

#[test]
fn finecare_exports_a_table_under_a_banner() {
    let Some(events) = tests("wondfo-finecare-fs-205", "wondfo_finecare.csv") else { return };
    let told: Vec<String> = events.iter().map(|event| brief(event).join(",")).collect();
    assert_eq!(told, ["TSH=3.45 mIU/L", "TSH=<2 mIU/L", "TSH=0.57 mIU/L"]);
    for (event, last) in events.iter().zip(["101", "102", "103"]) {
        assert_eq!(event["test"]["sample_id"], format!("DEV01265000000000{last}"));
        assert_eq!(event["device"]["sn"], "SN-FC205-E2E");
    }
    assert_eq!(events[1]["test"]["finished_at"], "2026-03-15T09:22:45");
    assert!(events[1]["test"]["results"][0].get("number").is_none());
    assert_eq!(events[0]["test"]["results"][0]["reference"], "0.3-4.2");
}

#[test]
fn emerald_in_lines_with_a_crc() {
    let Some(events) = tests("abbott-cell-dyn-emerald-22", "emerald22al_short.txt") else { return };
    assert_eq!(events.len(), 1);
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["patient_id"]), (&"2600009".into(), &"P00000123".into()));
    let results = brief(&events[0]);
    assert_eq!(results.len(), 22);
    assert_eq!(results[0], "WBC=6.9  *");
    assert!(results.contains(&"MCH=34.0  H".to_owned()) && results.contains(&"PCT=0.177  L".to_owned()), "{results:?}");
    assert_eq!(test["results"][0]["reference"], "3.7 - 10.1");
    assert_eq!(test["finished_at"], "2024-02-19T10:14:49");
    assert_eq!(events[0]["device"]["sn"], "250207-000451");
}

#[test]
fn abl9_between_soh_and_eot() {
    let Some(events) = tests("radiometer-abl9", "abl9_soh_eot.bin") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["test"]["sample_id"], "0012345678");
    assert_eq!(brief(&events[0]), ["pH=7.412  N", "pCO2=38.1 mmHg N", "Na+=139 mmol/L N"]);
}
