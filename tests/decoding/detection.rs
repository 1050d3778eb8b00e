//! Which protocol bytes are: every fixture is recognised as what its driver reads, every public capture as what its
//! MANIFEST says, whole and with its beginning missing.

use super::captures::folder;
use super::support::root;
use gateway_core::detect::{Protocol, RECOGNISED, detect};
use gateway_core::drivers::DRIVERS;
use std::fs;
use std::path::Path;

/// Fixtures that are another protocol than their driver's, or none, on purpose.
const STRANGERS: &[(&str, Option<Protocol>)] = &[
    ("astm/not_astm_hl7", Some(Protocol::Hl7)),
    ("astm/not_astm_wrong_speed", None),
    ("astm/no_records_in_good_frames", Some(Protocol::E1381)),
    ("hl7/not_hl7_astm", Some(Protocol::E1381)),
    ("poct1a/utf_16", None),
    ("test-v0/lines_that_are_none", None),
    ("scanner/not_codes", None),
    ("scanner/letters_beyond_ascii", None),
];

fn best(bytes: &[u8]) -> Option<Protocol> {
    let first = detect(bytes).into_iter().next()?;
    (first.score >= RECOGNISED).then_some(first.protocol)
}

fn input(case: &Path) -> Vec<u8> {
    let mut files = fs::read_dir(case).unwrap().flatten().map(|entry| entry.path());
    fs::read(files.find(|path| path.file_stem().is_some_and(|stem| stem == "input")).unwrap()).unwrap()
}

#[test]
fn every_fixture_is_recognised_as_what_its_driver_reads() {
    let mut wrong = Vec::new();
    for driver in DRIVERS {
        let cases = root().join("tests/fixtures/analyzers").join(driver.name());
        for case in fs::read_dir(cases).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let name = format!("{}/{}", driver.name(), case.file_name().unwrap().to_str().unwrap());
            let found = best(&input(&case));
            let stranger = STRANGERS.iter().find(|(stranger, _)| *stranger == name);
            // A stranger that nothing is expected of may be taken for anything: it is for the driver to refuse it.
            let right = match stranger {
                Some((_, expected)) => expected.is_none() || found == *expected,
                // Text has no mark of its own: it may be too little to say.
                None if driver.name() == "text" => found.is_none_or(|found| found.driver() == "text"),
                None => found.map(Protocol::driver) == Some(driver.name()),
            };
            // Children speak for themselves: what they read is nobody's protocol.
            if !right && driver.name() != "exec" {
                wrong.push(format!("{name}: {:?}", detect(&input(&case))));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The protocol of a line of the MANIFEST.
fn of_manifest(words: &str) -> Option<Protocol> {
    let table = [
        ("ASTM E1381", Protocol::E1381),
        ("E1394 records only", Protocol::Records),
        ("E1394 records in SOH", Protocol::SohEnvelope),
        ("HL7", Protocol::Hl7),
        ("POCT1-A (device", Protocol::Poct1a),
        ("POCT1-A both", Protocol::Poct1a),
        ("plain text printout", Protocol::Printout),
        ("TSV", Protocol::Table),
        ("CSV", Protocol::Table),
        ("proprietary serial: ENQ STX RS", Protocol::StxEnvelope),
        ("proprietary CR lines", Protocol::TokenLines),
    ];
    table.iter().find(|(begins, _)| words.starts_with(begins)).map(|(_, protocol)| *protocol)
}

#[test]
fn every_public_capture_is_recognised_as_what_its_manifest_says() {
    let Some(folder) = folder() else { return };
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut seen = 0;
    for line in manifest.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (file, words) = (cells[0], cells[2]);
        // A protocol without a line here is a capture that nobody has looked at.
        let expected = of_manifest(words).unwrap_or_else(|| panic!("{file}: {words}"));
        let bytes = fs::read(folder.join(file)).unwrap();
        assert_eq!(best(&bytes), Some(expected), "{file}: {:?}", detect(&bytes));
        // Whoever plugs in listens from the middle of a message on: then it is the same protocol, or none.
        let later = best(&bytes[bytes.len() / 5..]);
        let driver = later.map(Protocol::driver);
        assert!(later.is_none() || driver == Some(expected.driver()), "{file}, begun late: {later:?}");
        seen += 1;
    }
    assert!(seen > 20, "{seen} captures");
}

#[test]
fn the_sender_is_named_as_far_as_it_names_itself() {
    let case = root().join("tests/fixtures/analyzers/astm/small_session");
    let findings = detect(&input(&case));
    assert!(findings[0].device.model.is_some(), "{findings:?}");
    assert!(findings[0].evidence.iter().any(|evidence| evidence.contains("with the right sum")), "{findings:?}");
}
