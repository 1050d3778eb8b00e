//! Our own transmissions, invented values throughout: `fixtures/analyzers/<driver>/<case>/input.*` must print
//! `expected.jsonl`, whole and in pieces. `UPDATE=1` rewrites the expectations; read the difference.
//!
//! What a person expects of each case stands in [`EXPECTED`] too, so that a careless update does not pass.

use super::support::{ACK, NAK, args, decode, profile_args};
use gateway_core::drivers::DRIVERS;
use gateway_daemon::commands::decode::{Args, run};
use std::path::{Path, PathBuf};

/// Case, and its events in order: a rejection by its code, `TEST_FINISHED` by its sample, results and comments.
const EXPECTED: &[(&str, &str)] = &[
    ("astm/small_session", "S-1001:1"),
    ("astm/one_record_a_frame", "S-1002:22+2"),
    ("astm/every_record_in_an_etb_frame", "S-1003:1"),
    ("astm/one_large_frame", "204:22"),
    ("astm/text_cut_every_240_bytes", "S-1005:2"),
    ("astm/frame_repeated_after_a_lost_ack", "S-1001:1"),
    ("astm/bad_checksum_then_good", "S-1001:1"),
    ("astm/corrupt_etb_frame_then_good", "S-1001:1"),
    ("astm/skipped_frame_number_then_good", "S-1001:1"),
    ("astm/lower_case_checksum", "S-1001:1"),
    ("astm/no_cr_lf_after_checksum", "S-1001:1"),
    ("astm/eot_and_enq_together", "S-1001:1 S-1012:1"),
    ("astm/enq_restarts_the_session", "interrupted S-1001:1"),
    ("astm/noise_around_frames", "S-1001:1"),
    ("astm/lf_in_the_text_not_in_the_sum", "S-1001:1"),
    ("astm/two_messages_in_a_session", "S-1001:1 S-1016:1"),
    ("astm/two_messages_in_a_frame", "S-1001:1 S-1016:1"),
    ("astm/latin_1", "S-1017:1"),
    ("astm/utf_8", "S-1001:1"),
    ("astm/session_that_never_ends", "interrupted"),
    ("astm/own_delimiters_and_repeated_codes", "S-1020:4+1"),
    ("astm/escapes", "A^B:2+1"),
    ("astm/control_runs", "QC-LOW:1:qc LOT-9:1:qc S-1023:1"),
    ("astm/query_for_two_samples", "QUERY:0000000901,00000902:O"),
    ("astm/values_that_are_no_numbers", "S-1025:17"),
    ("astm/damaged_records", "null:1 S-1026:1+2"),
    ("astm/message_without_l", "S-1001:1"),
    ("astm/where_the_sample_id_is", "PRAC-1:1 T20 A:1 null:1"),
    ("astm/codes_comments_and_times", "S-1029:7+2"),
    ("astm/bad_checksum_to_the_end", "interrupted S-1001:1"),
    ("astm/never_a_good_frame", "checksum"),
    ("astm/same_number_other_text", "S-1001:1 frame_number"),
    ("astm/broken_off_in_a_frame", "interrupted"),
    ("astm/not_astm_hl7", "not_astm"),
    ("astm/not_astm_wrong_speed", "not_astm"),
    ("astm/frames_without_enq", "S-1001:1"),
    ("astm/no_records_in_good_frames", "not_records"),
    ("astm/records_without_frames", "S-1001:1 S-1033:1"),
    ("test-v0/whole_run", "DEVICE_READY TEST_STARTED NEW_DATA NEW_DATA ALREADY_TESTING NEW_DATA null:3"),
    ("test-v0/crlf_and_blank_lines", "TEST_STARTED NEW_DATA null:3"),
    ("test-v0/serial_numbers", "DEVICE_READY DEVICE_READY DEVICE_READY DEVICE_READY"),
    ("test-v0/gateway_came_late", "CONTINUE_TEST NEW_DATA null:3"),
    ("test-v0/a_new_test_without_an_end", "TEST_STARTED NEW_DATA NEW_DATA TEST_STARTED NEW_DATA null:0"),
    ("test-v0/stalled", "DEVICE_READY TEST_STARTED NEW_DATA NEW_DATA ANALYZER_ALARM"),
    (
        "test-v0/lines_that_are_none",
        "bad_json not_test_v0 not_test_v0 not_test_v0 not_test_v0 not_test_v0 not_test_v0 bad_json DEVICE_READY",
    ),
    ("test-v0/last_line_without_end", "TEST_STARTED NEW_DATA ANALYZER_ALARM"),
    ("scanner/codes_and_their_ends", "SCAN:S-1001 SCAN:S-1002 SCAN:S-1003 SCAN:S-1001 SCAN:S-1004 SCAN:S-1005"),
    ("scanner/symbology_identifiers", "SCAN:S-2001 SCAN:S-2002 SCAN:S-2003 SCAN:]C1"),
    ("scanner/not_codes", "not_a_code not_a_code too_long SCAN:S-3001"),
    ("scanner/letters_beyond_ascii", "SCAN:PRÜF-1 SCAN:PRÜF-2"),
    ("poct1a/conversation_with_one_patient", "S-5001:2+3"),
    ("poct1a/controls_and_calibrations", "null:1+2:qc null:1+1 S-5001:1+1"),
    ("poct1a/between_vt_and_fs", "S-5001:1+1"),
    ("poct1a/values_between_the_tags", "null:1+4"),
    ("poct1a/values_that_are_no_numbers_and_several_services", "S-5001:6 S-5002:1 null:1"),
    ("poct1a/events_of_the_device", "ANALYZER_ALARM ANALYZER_ALARM"),
    ("poct1a/document_type_and_entities", "dtd S-5001:1+1"),
    ("poct1a/damaged_documents", "not_xml not_xml no_service not_xml not_xml S-5001:1+1"),
    ("poct1a/two_roots_together", "S-5001:1+1 null:1+1"),
    ("poct1a/utf_16", "encoding"),
    ("poct1a/latin_1_declared_as_utf_8", "S-5001:2+3"),
    ("poct1a/cut_off_and_started_again", "interrupted interrupted"),
    ("poct1a/garbage_between_documents", "not_poct1a S-5001:2+3 not_poct1a"),
    ("poct1a/patient_asked_for", "QUERY:S-5009:O"),
    ("poct1a/messages_of_the_maker", "unknown_message S-5001:2+1"),
    ("text/a_printout_that_silence_ends", "S-4001:4+1"),
    ("text/several_tests_in_a_message", "S-4101:2 C-1:1:qc no_results checksum"),
    ("text/fixed_columns", "S-4201:3 CAL-1:3 too_short"),
    ("text/a_table_with_a_result_a_column", "S-4301:2+1 S-4302:1 0:1:qc damaged_rows"),
    ("text/a_table_with_a_result_a_row", "S-4401:1 S-4402:1 no_results no_results"),
    ("text/bounds_that_are_broken", "S-4501:1 interrupted S-4503:2 no_results interrupted no_message"),
    ("exec/without_its_program", "ANALYZER_ALARM interrupted"),
    ("hl7/small_result", "S-1001:1"),
    ("hl7/two_orders_and_set_ids_that_run_on", "S-1002:2 S-1003:1"),
    ("hl7/two_patients_in_a_message", "S-1004:1 S-1005:1+1"),
    ("hl7/comments", "S-1006:2+4"),
    ("hl7/results_without_an_order", "P-1:2 S-1007:0 S-1008:1"),
    ("hl7/values_that_are_no_numbers", "S-1009:9"),
    ("hl7/own_delimiters", "S-1010:1+1"),
    ("hl7/line_ends", "S-1011:1 S-1012:1"),
    ("hl7/several_at_once_and_noise", "S-1013:1 S-1014:1"),
    ("hl7/broken_off_then_whole", "interrupted S-1015:2"),
    ("hl7/a_batch", "S-1016:1 S-1017:1"),
    ("hl7/control_runs", "3:1:qc 184:1+2:qc CONTROL-N:1+6:qc QC-LOW:1:qc"),
    ("hl7/calibrations", "CAL-1:1 K-1:1"),
    ("hl7/law", "S-1018:1 S-1018:2 S-1019:1"),
    ("hl7/a_specimen_behind_its_results", "S-1020:1 PLACER-2:1"),
    (
        "hl7/specimens_and_controls_elsewhere",
        "S-1041:1 S-1042:1 S-1043:1 S-1043:1 S-1044:1 E-1:1:qc V-1:1 S-1045:1 S-1046:1",
    ),
    ("hl7/latin_1", "S-1021:1 S-1022:1 S-1023:1"),
    ("hl7/pictures", "S-1024:3"),
    ("hl7/queries", "QUERY:S-1025:O QUERY:S-1026:O QUERY:S-1027:O QUERY::A"),
    ("hl7/refused", "unknown_type unknown_version not_hl7 broken_header no_results not_hl7"),
    ("hl7/not_hl7_astm", "not_hl7"),
    ("hl7/without_frames", "S-1028:1 S-1029:1"),
    ("hl7/never_ends", "interrupted"),
    ("test-v0/broken_off", "TEST_STARTED NEW_DATA interrupted ANALYZER_ALARM"),
];

/// By the driver's name, or by the profile beside the input.
fn case_args(driver: &str, file: &Path) -> Args {
    let profile = file.with_file_name("profile.yaml");
    match profile.is_file() {
        true => profile_args(&profile.display().to_string(), file),
        false => args(driver, file),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/analyzers")
}

fn input(case: &Path) -> PathBuf {
    let candidates = ["input.astm", "input.bin"].map(|name| case.join(name));
    candidates.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{} has no input", case.display()))
}

/// One event in a word or two.
fn brief(line: &serde_json::Value) -> String {
    if let Some(code) = line["rejection"]["code"].as_str() {
        return code.to_owned();
    }
    if let Some(ids) = line["query"]["sample_ids"].as_array() {
        let ids: Vec<&str> = ids.iter().filter_map(|id| id.as_str()).collect();
        return format!("QUERY:{}:{}", ids.join(","), line["query"]["status"].as_str().unwrap());
    }
    if line["event"] == "SAMPLE_SCANNED" {
        return format!("SCAN:{}", line["registration"]["sample_id"].as_str().unwrap());
    }
    if line["event"] != "TEST_FINISHED" {
        return line["event"].as_str().unwrap().to_owned();
    }
    let test = &line["test"];
    let comments = |value: &serde_json::Value| value["comments"].as_array().map_or(0, Vec::len);
    let results = test["results"].as_array().unwrap();
    let spoken = comments(test) + results.iter().map(comments).sum::<usize>();
    let sample = test["sample_id"].as_str().unwrap_or("null");
    let spoken = if spoken > 0 { format!("+{spoken}") } else { String::new() };
    format!("{sample}:{}{spoken}{}", results.len(), if test["qc"] == true { ":qc" } else { "" })
}

#[test]
fn every_case_prints_what_is_expected() {
    for (case, expected) in EXPECTED {
        let (driver, _) = case.split_once('/').unwrap();
        let file = input(&folder().join(case));
        let whole = decode(case_args(driver, &file));
        let lines = whole.lines();
        assert_eq!(lines.iter().map(brief).collect::<Vec<_>>().join(" "), *expected, "{case}");
        let rejected = lines.iter().any(|line| line["event"] == "MESSAGE_REJECTED");
        assert_eq!(whole.status, u8::from(rejected), "{case}");
        for chunks in ["1", "7", "32"] {
            let pieces = decode(Args { chunks: Some(chunks.to_owned()), ..case_args(driver, &file) });
            assert_eq!(pieces.text, whole.text, "{case} in reads of {chunks}");
        }
        let wanted = file.with_file_name("expected.jsonl");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&wanted, &whole.text).unwrap();
        }
        let wanted = std::fs::read_to_string(&wanted).unwrap_or_default();
        assert_eq!(whole.text, wanted, "{case}: UPDATE=1 rewrites expected.jsonl");
    }
}

#[test]
fn every_case_is_listed_and_every_driver_has_cases() {
    for driver in DRIVERS {
        let cases = std::fs::read_dir(folder().join(driver.name())).expect("every driver has a folder of fixtures");
        for case in cases {
            let name = format!("{}/{}", driver.name(), case.unwrap().file_name().to_str().unwrap());
            assert!(EXPECTED.iter().any(|(listed, _)| *listed == name), "{name} is not in EXPECTED");
        }
    }
}

#[test]
fn a_wrong_command_line_is_a_sentence_and_status_2() {
    let file = input(&folder().join("astm/small_session"));
    let near = decode(args("asm", &file));
    assert_eq!((near.status, near.notes.trim()), (2, "There is no driver \"asm\". Did you mean \"astm\"?"));
    let missing = decode(args("astm", Path::new("no/such/file")));
    assert_eq!(missing.status, 2);
    assert!(missing.notes.contains("no/such/file cannot be read"));
    let chunks = decode(Args { chunks: Some("0".to_owned()), ..args("astm", &file) });
    assert_eq!(chunks.status, 2);
    let framing = decode(Args { framing: Some("some".to_owned()), ..args("astm", &file) });
    assert_eq!(framing.status, 2);
    assert!(near.text.is_empty() && missing.text.is_empty() && chunks.text.is_empty());
}

#[test]
fn a_file_that_says_nothing_is_one_rejection_and_one_of_noise_alone_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    let noise: Vec<u8> = [vec![0; 90], vec![0xff; 90], vec![ACK, NAK, b'\r']].concat();
    for (driver, bytes, status) in [
        ("astm", &b""[..], 0),
        ("astm", b"\x05\x04", 0),
        ("astm", b"\r\n \r\n\n", 0),
        ("astm", &noise, 0),
        ("astm", b"hello\r\n", 1),
        ("astm", b"\x05\x02\x04", 1),
        ("astm", b"\x05\x021H|\\^&\r\x03E5\r\n\x04", 0),
        ("hl7", b"", 0),
        ("hl7", b"\r\n\n", 0),
        ("hl7", b"hello\r\n", 1),
        ("hl7", b"\x0b\x1c\r", 1),
        ("test-v0", b"", 0),
        ("test-v0", b"\r\n\n", 0),
        ("test-v0", b"\0\n", 1),
        ("scanner", b"\r\n \n", 0),
        ("scanner", b"\x1d\r", 1),
        ("poct1a", b"<HEL.R01/>", 0),
        ("poct1a", b"<", 1),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let decoded = decode(args(driver, &file));
        assert_eq!(decoded.status, status, "{bytes:?} {}", decoded.text);
        assert_eq!(decoded.lines().len(), usize::from(status), "{}", decoded.text);
        assert_eq!(decoded.notes.contains("is empty"), bytes.is_empty());
    }
}

/// An output that fails in one way.
struct Failing(std::io::ErrorKind);

impl std::io::Write for Failing {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn an_output_that_fails_is_status_2_unless_its_reader_has_gone() {
    let file = input(&folder().join("astm/small_session"));
    for (kind, status) in [(std::io::ErrorKind::BrokenPipe, 0), (std::io::ErrorKind::StorageFull, 2)] {
        let mut notes = Vec::new();
        assert_eq!(run(args("astm", &file), &mut Failing(kind), &mut notes), status);
        assert_eq!(String::from_utf8(notes).unwrap().contains("cannot be written"), status == 2);
    }
}
