//! The public captures, against what a person has read in them. They are not part of the project (their licences are
//! mixed): ANALYZER_CORPUS_DIR says where they are, else `../shared/corpus` beside the project is tried.

use super::support::{Decoded, args, decode, root};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of the captures. Without it the tests pass, loudly; in CI they fail if somebody said where it is.
pub fn folder() -> Option<PathBuf> {
    let told = std::env::var_os("ANALYZER_CORPUS_DIR").map(PathBuf::from);
    let folder = told.clone().unwrap_or_else(|| root().join("../shared/corpus"));
    if folder.is_dir() {
        return Some(folder);
    }
    let expected = told.is_some() && std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!expected, "ANALYZER_CORPUS_DIR names no folder: {}", folder.display());
    println!("SKIPPED: the public captures are not here ({})", folder.display());
    None
}

/// Decodes a capture whole, in pieces of 1, 7 and 32 bytes and as it was recorded; all must print the same.
fn every_way(folder: &Path, name: &str) -> Decoded {
    let file = folder.join(name);
    let whole = decode(args("astm", &file));
    let recorded = folder.join(name.replace(".astm", ".chunks.json"));
    let recorded = (recorded != file && recorded.is_file()).then(|| recorded.display().to_string());
    for chunks in ["1", "7", "32"].map(str::to_owned).into_iter().chain(recorded) {
        let again =
            decode(gateway_daemon::commands::decode::Args { chunks: Some(chunks.clone()), ..args("astm", &file) });
        assert_eq!(again.text, whole.text, "{name} in reads of {chunks}");
    }
    assert_eq!(whole.status, 0, "{name}: {}", whole.text);
    whole
}

/// The events of a capture, or nothing if the captures are not here.
fn events(name: &str) -> Option<Vec<Value>> {
    folder().map(|folder| every_way(&folder, name).lines())
}

fn records(name: &str) -> Option<Vec<Vec<String>>> {
    let file = folder()?.join(name);
    let decoded = decode(gateway_daemon::commands::decode::Args { records: true, ..args("astm", &file) });
    Some(decoded.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

pub fn results(event: &Value) -> &Vec<Value> {
    assert_eq!(event["event"], "TEST_FINISHED");
    assert_eq!(event["test"]["state"], "DONE");
    event["test"]["results"].as_array().unwrap()
}

/// `code value unit flags status at` of one result.
pub fn brief(result: &Value) -> String {
    let flags: Vec<&str> = result["flags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let word = |key: &str| result[key].as_str().unwrap_or("null").to_owned();
    format!("{}={} {} {} {} {}", word("code"), word("value"), word("unit"), flags.join("+"), word("status"), word("at"))
}

fn comments(event: &Value) -> usize {
    let of = |value: &Value| value["comments"].as_array().map_or(0, Vec::len);
    of(&event["test"]) + results(event).iter().map(of).sum::<usize>()
}

#[test]
fn afinion_2() {
    let Some(events) = events("afinion2_single_frame.astm") else { return };
    assert_eq!(events.len(), 1);
    let test = &events[0]["test"];
    assert_eq!(events[0]["device"]["model"], "Afinion 2 Analyzer");
    assert_eq!(events[0]["device"]["sn"], "AF20052397");
    assert_eq!(
        (&test["sample_id"], &test["instrument_sample_id"], &test["patient_id"]),
        (&"5".into(), &"5".into(), &"3643".into())
    );
    assert_eq!(results(&events[0]).len(), 1);
    assert_eq!(brief(&results(&events[0])[0]), "HbA1c=5.9 %  F 2024-12-06T14:06:15");
    assert_eq!(results(&events[0])[0]["number"].to_string(), "5.9");
    assert_eq!(test["finished_at"], "2024-12-06T14:06:15");
    assert_eq!(records("afinion2_single_frame.astm").unwrap()[3][10], "3643");
}

#[test]
fn cobas_c111_with_every_record_in_an_etb_frame() {
    let Some(events) = events("cobas_c111_etb_per_record.astm") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["device"]["sn"], "13147");
    assert_eq!(events[0]["test"]["sample_id"], "T20 10134GA D28");
    assert_eq!(brief(&results(&events[0])[0]), "413=40.13 g/L N F 2023-08-03T13:17:00");
    assert_eq!(results(&events[0]).len(), 1);
    let letters: String =
        records("cobas_c111_etb_per_record.astm").unwrap().iter().map(|record| record[0].clone()).collect();
    assert_eq!(letters, "HPORCML");
}

#[test]
fn dca_vantage() {
    let Some(events) = events("dca_vantage_astm.astm") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["device"]["model"], "DCA VANTAGE");
    assert_eq!(events[0]["device"]["sn"], "S067337");
    let test = &events[0]["test"];
    assert_eq!((&test["patient_id"], &test["sample_id"]), (&"BU24R554".into(), &"660".into()));
    let brief: Vec<String> = results(&events[0]).iter().map(brief).collect();
    let at = "2024-08-20T15:10:30";
    assert_eq!(
        brief,
        [format!("Alb=63.7 mg/L  F {at}"), format!("Crt=230.8 mg/dL  F {at}"), format!("Ratio=27.6 mg/g  F {at}")]
    );
    assert_eq!(results(&events[0])[0]["comments"][0], "1.000^0.0 mg/L");
    assert_eq!(comments(&events[0]), 2);
    assert_eq!(results(&events[0])[2]["comments"].as_array().map(Vec::len), Some(0));
}

#[test]
fn sysmex_xp_100() {
    let Some(events) = events("sysmex_xp100.astm") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["device"]["model"], &events[0]["device"]["sn"]), (&"XP-100".into(), &"A7869".into()));
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["instrument_sample_id"]), (&"113".into(), &"113".into()));
    assert_eq!(test["patient_id"], Value::Null);
    assert_eq!(results(&events[0]).len(), 20);
    assert_eq!(brief(&results(&events[0])[0]), "WBC=5.5 10*3/uL N  2024-07-23T17:24:52");
    assert_eq!(brief(&results(&events[0])[6]), "MCHC=41.7 g/dL H  2024-07-23T17:24:52");
    assert_eq!(results(&events[0])[0]["at_text"], "20240723172452");
    assert_eq!(test["finished_at"], "2024-07-23T17:24:52");
    assert_eq!(test["started_at"], Value::Null);
}

#[test]
fn pentra_xlr_in_28_frames() {
    let Some(events) = events("pentra_xlr_28_frames.astm") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["test"]["sample_id"], "S1234");
    assert_eq!(results(&events[0]).len(), 21);
    assert_eq!(comments(&events[0]), 3);
    assert_eq!(brief(&results(&events[0])[0]), "WBC=8.5 1  W 2022-07-27T12:15:50");
    let basophils = &results(&events[0])[9];
    assert_eq!(brief(basophils), "BAS#=----- 1 HH X 2022-07-27T12:15:50");
    assert!(basophils.get("number").is_none());
    assert_eq!(records("pentra_xlr_28_frames.astm").unwrap()[1][5], "Sample^Anna");
}

#[test]
fn genexpert_with_its_own_delimiters() {
    let Some(events) = events("genexpert_delims.astm") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["test"]["sample_id"], "PR25A137");
    assert_eq!(events[0]["device"]["sn"], Value::Null);
    let results = results(&events[0]);
    assert_eq!(results.len(), 84);
    assert_eq!(comments(&events[0]), 3);
    assert_eq!(results[0]["code"], "^MTB-RIF^^Xpert^Xpert MTB-RIF Ultra^4^MTB");
    assert_eq!((&results[0]["value"], &results[0]["status"]), (&"NOT DETECTED^".into(), &"F".into()));
    assert_eq!((&results[2]["code"], &results[2]["value"]), (&"^MTB-RIF^^Xpert^^^rpoB1^Ct".into(), &"^0.0".into()));
    assert_eq!(events[0]["test"]["started_at"], "2025-05-14T12:16:38");
    assert_eq!(events[0]["test"]["finished_at"], "2025-05-14T13:21:03");
}

#[test]
fn cobas_e411_cut_in_the_middle_of_a_field() {
    let Some(events) = events("cobas_e411_multiframe.astm") else { return };
    assert_eq!(events.len(), 1);
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["instrument_sample_id"]), (&"000002327".into(), &"159".into()));
    let results = results(&events[0]);
    let codes: Vec<&str> = results.iter().filter_map(|result| result["code"].as_str()).collect();
    assert_eq!(codes, ["8/1/not", "7/1/not", "6/1/not", "5/1/not", "4/1/not", "3/1/not", "1/1/not"]);
    assert_eq!(results[2]["value"], "132.1");
    assert_eq!(results[3]["value"], "-1^0.282");
    assert!(results[3].get("number").is_none());
    assert_eq!((&results[5]["value"], &results[5]["flags"][0]), (&"<3.00".into(), &"LL".into()));
    assert_eq!(comments(&events[0]), 1);
    assert_eq!(results[5]["comments"][0], "27");
    assert_eq!(test["finished_at"], "2019-01-10T16:30:45");
}

#[test]
fn cobas_e411_in_107_reads() {
    let Some(events) = events("cobas_e411_trickle.astm") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["test"]["sample_id"], "000009680");
    assert_eq!(brief(&results(&events[0])[0]), "1/1/not=223.1 pg/ml N F null");
    assert_eq!(results(&events[0]).len(), 1);
}

#[test]
fn queries_of_one_and_of_two_samples() {
    let Some(one) = events("cobas_e411_query.astm") else { return };
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["event"], "QUERY_RECEIVED");
    assert_eq!(one[0]["query"]["sample_ids"], serde_json::json!(["0000000387"]));
    assert_eq!(one[0]["query"]["status"], "A");
    let two = events("em200_query_two_tubes.astm").unwrap();
    assert_eq!(two.len(), 1);
    assert_eq!(two[0]["query"]["sample_ids"], serde_json::json!(["0000000406", "00001001"]));
    assert_eq!(two[0]["query"]["status"], "O");
}

#[test]
fn em_200_in_two_sessions() {
    let Some(events) = events("em200_two_sessions.astm") else { return };
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["test"]["sample_id"], "Test Smith");
    assert_eq!(events[1]["test"]["sample_id"], "Test Smith1");
    assert_eq!(brief(&results(&events[0])[0]), "GLU=115.5 mg/dl H F 2018-11-20T15:04:33");
    assert_eq!(brief(&results(&events[1])[0]), "CRE=0.75 mg/dl N F 2018-11-20T15:04:51");
    assert_eq!(comments(&events[0]) + comments(&events[1]), 2);
    assert_eq!(events[0]["device"], Value::Null);
}

#[test]
fn galileo_echo_without_frames() {
    let Some(folder) = folder() else { return };
    let decoded = every_way(&folder, "galileo_echo_records.e1394");
    assert!(decoded.notes.contains("without frames"));
    let events = decoded.lines();
    assert_eq!(events.len(), 2);
    for (event, count, last) in [(&events[0], 9, "B Pos"), (&events[1], 5, "Pos")] {
        assert_eq!(event["test"]["sample_id"], "0651439A");
        assert_eq!(event["test"]["patient_id"], "1171984");
        assert_eq!(results(event).len(), count);
        assert_eq!(results(event)[count - 1]["value"], last);
    }
    assert_eq!(results(&events[0])[2]["value"], "3+^3+^45");
}

#[test]
fn ortho_vision_in_utf_8_with_a_bare_l() {
    let Some(events) = events("ortho_vision_utf8.e1394") else { return };
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["device"]["model"], &events[0]["device"]["sn"]), (&"OCD".into(), &Value::Null));
    let test = &events[0]["test"];
    assert_eq!((&test["sample_id"], &test["patient_id"]), (&"SID999".into(), &"PID77677".into()));
    let brief: Vec<String> = results(&events[0]).iter().map(brief).collect();
    assert_eq!(brief, ["ABO=A   F 2019-07-12T12:23:32", "Rh=NEG   F 2019-07-12T12:23:32"]);
    let name = &records("ortho_vision_utf8.e1394").unwrap()[1][5];
    assert_eq!(name, "\u{160}\u{106}\u{17d}\u{110}^Bobby^B");
}

#[test]
fn captures_of_other_protocols_are_rejected_with_a_reason_and_never_misread() {
    let Some(folder) = folder() else { return };
    for (name, word) in [
        ("abl9_soh_eot.bin", "SOH"),
        ("bc5380_images.mllp", "HL7"),
        ("clinitek_status_patient.mllp", "HL7"),
        ("law_oul_r22.mllp", "HL7"),
        ("dca_vantage_poct1a_device.xml", "XML"),
        ("emerald22al_short.txt", "plain text"),
        ("siemens_348_bloodgas_print.txt", "plain text"),
        ("wondfo_finecare.csv", "plain text"),
        ("mini_vidas_raw.bin", "checksum"),
    ] {
        let decoded = decode(args("astm", &folder.join(name)));
        let events = decoded.lines();
        assert_eq!((decoded.status, events.len()), (1, 1), "{name}: {}", decoded.text);
        let reason = events[0]["rejection"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{name}: {reason}");
    }
}
