//! Captures without anybody in them: every fixture of every driver that can be scrubbed loses its ids and names and keeps its
//! results.

use super::support::{args, decode};
use gateway_core::drivers::{DRIVERS, driver};
use gateway_core::scrub::Pseudonyms;
use gateway_core::session::{DriverOptions, Framing};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Drivers of which captures can be given away.
const SCRUBBED: &[&str] = &["astm", "hl7", "poct1a", "scanner", "test-v0"];

fn cases(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/analyzers").join(name);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn input(case: &Path) -> PathBuf {
    let candidates = ["input.astm", "input.bin", "input.txt", "input.jsonl"].map(|name| case.join(name));
    candidates.into_iter().find(|file| file.is_file()).unwrap()
}

/// Who stands in an event: ids of samples and patients, but for those of control material, and what was said of them.
fn people(line: &Value, found: &mut BTreeSet<String>) {
    let test = &line["test"];
    if test["qc"] != true {
        let ids = [&test["sample_id"], &test["instrument_sample_id"], &test["patient_id"]];
        found.extend(ids.iter().filter_map(|id| id.as_str()).map(str::to_owned));
    }
    let results = test["results"].as_array().into_iter().flatten();
    let comments = results.chain([test]).flat_map(|part| part["comments"].as_array().into_iter().flatten());
    found.extend(comments.filter_map(|comment| comment.as_str()).map(str::to_owned));
    found.extend(
        line["query"]["sample_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
    );
    found.extend(line["registration"]["sample_id"].as_str().map(str::to_owned));
}

/// What a decoder is tried with: everything of the results but comments.
fn results(line: &Value) -> Value {
    let of_test = line["test"]["results"].as_array().cloned().unwrap_or_default();
    let bare = of_test.into_iter().map(|mut result| {
        result.as_object_mut().unwrap().remove("comments");
        result
    });
    let counted = line["partial"].as_array().map_or(0, Vec::len);
    serde_json::json!([line["event"], line["rejection"]["code"], bare.collect::<Vec<_>>(), line["test"]["qc"], counted])
}

#[test]
fn ids_and_names_are_gone_and_results_stay() {
    let names = Pseudonyms::new([7; 32]);
    let scratch = tempfile::tempdir().unwrap();
    for name in SCRUBBED {
        for case in cases(name) {
            let file = input(&case);
            let bytes = std::fs::read(&file).unwrap();
            let clean = driver(name).unwrap().scrub(&DriverOptions::default(), &bytes, &names).unwrap();
            assert_eq!(clean.len(), bytes.len(), "{}", case.display());
            let copy = scratch.path().join("clean.bin");
            std::fs::write(&copy, &clean).unwrap();
            let (before, after) = (decode(args(name, &file)).lines(), decode(args(name, &copy)).lines());
            let told = |lines: &[Value]| lines.iter().map(results).collect::<Vec<_>>();
            assert_eq!(told(&before), told(&after), "{}", case.display());
            let mut found = BTreeSet::new();
            before.iter().for_each(|line| people(line, &mut found));
            let text = String::from_utf8_lossy(&clean).into_owned();
            for person in found.iter().filter(|person| person.chars().filter(|c| c.is_alphanumeric()).count() > 3) {
                assert!(!text.contains(person.as_str()), "{person} in {}", case.display());
            }
        }
    }
}

#[test]
fn a_driver_of_which_nothing_is_understood_refuses() {
    let names = Pseudonyms::new([7; 32]);
    for driver in DRIVERS.iter().filter(|driver| !SCRUBBED.contains(&driver.name())) {
        let refused = driver.scrub(&DriverOptions::default(), b"Ann", &names);
        assert!(refused.is_err(), "{} scrubs: name it in SCRUBBED", driver.name());
    }
}

proptest! {
    /// Whatever the bytes are, as many come out, and of a good message's people none.
    #[test]
    fn any_bytes_keep_their_length(bytes in proptest::collection::vec(any::<u8>(), 0..300), unframed in any::<bool>()) {
        let framing = if unframed { Framing::None } else { Framing::E1381 };
        let options = DriverOptions { framing, ..DriverOptions::default() };
        let names = Pseudonyms::new([7; 32]);
        for name in SCRUBBED {
            let clean = driver(name).unwrap().scrub(&options, &bytes, &names).unwrap();
            prop_assert_eq!(clean.len(), bytes.len());
        }
        prop_assert_eq!(gateway_core::scrub::hl7(&bytes, &options.reading, &names).len(), bytes.len());
        prop_assert_eq!(gateway_core::scrub::poct1a(&bytes, &names).len(), bytes.len());
        prop_assert_eq!(gateway_core::scrub::text(&bytes, &[], &names).len(), bytes.len());
    }

    /// The same in records that are nearly good, and with tags.
    #[test]
    fn nearly_good_text_keeps_its_length(
        parts in proptest::collection::vec(
            proptest::sample::select(vec!["H|\\^&", "P|1|", "O|1|S-1", "\r", "\x02", "\x031A", "<PT.a V='", "'/>", "&", ";", "MSH|^~\\&", "PID|1|x"]),
            0..30,
        ),
    ) {
        let bytes = parts.concat().into_bytes();
        let names = Pseudonyms::new([7; 32]);
        let options = DriverOptions::default();
        prop_assert_eq!(driver("astm").unwrap().scrub(&options, &bytes, &names).unwrap().len(), bytes.len());
        prop_assert_eq!(gateway_core::scrub::hl7(&bytes, &options.reading, &names).len(), bytes.len());
        prop_assert_eq!(gateway_core::scrub::poct1a(&bytes, &names).len(), bytes.len());
    }
}
