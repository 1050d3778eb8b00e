//! What observations and device events state: CONTRACT's rules for ids, codes and values. Each SVC is one test.

use super::super::values::decimal;
use super::clock::local;
use super::tree::{Element, Refused};
use crate::event::*;
use crate::reading::{FieldPlace, Reading, is_loinc};
use crate::time::Now;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What is known around a document.
pub(super) struct Around<'a> {
    pub device: Option<&'a Device>,
    pub reading: &'a Reading,
    pub now: Now,
}

impl Around<'_> {
    fn serial(&self) -> &str {
        self.device.and_then(|device| device.sn.as_deref()).unwrap_or_default()
    }
}

/// The tests of an OBS.R01 or OBS.R02, one `TEST_FINISHED` each.
pub(super) fn observations(root: &Element, around: &Around<'_>) -> Result<Vec<EventKind>, Refused> {
    let mut seen = BTreeSet::new();
    let mut facts = Vec::new();
    for (ordinal, service) in root.all("SVC").enumerate() {
        let is_patient = !root.name.starts_with("OBS.R02");
        let named = named(&root.name, service, around);
        // A sequence number that is the same in several services of one message counts nothing.
        let named = named.filter(|named| seen.insert(*named));
        let digest = digest(&[root.name.as_bytes(), around.serial().as_bytes()], Some(service));
        let identity = tells_runs_apart(service.says("SVC.observation_dttm")).then_some(Identity(digest));
        let id = match (named, identity) {
            (Some(named), _) => Id::derived(&[&named]),
            (None, Some(identity)) => Id::derived(&[&identity.0]),
            (None, None) => {
                let (wall, mono) = (around.now.wall.0.to_be_bytes(), around.now.mono.0.to_be_bytes());
                Id::derived(&[&digest, &ordinal.to_be_bytes(), &wall, &mono])
            }
        };
        let test = test(id, service, is_patient, around.reading);
        let fact = EventKind::about_test(EventName::TestFinished, around.device.cloned(), test);
        facts.push(EventKind { identity, ..fact });
    }
    if facts.is_empty() {
        let reason = "an observation without any SVC says nothing about a test";
        return Err(Refused::new("no_service", reason));
    }
    Ok(facts)
}

/// The events of an EVS.R01 that a person should look at: `W` (warning) and `C` (critical). `N` is in the capture alone.
pub(super) fn device_events(root: &Element, around: &Around<'_>) -> Vec<EventKind> {
    let mut facts = Vec::new();
    for event in root.all("EVT") {
        let (code, word) = match event.says("EVT.severity_cd") {
            "C" => ("device_critical", "critical"),
            "W" => ("device_warning", "a warning"),
            _ => continue,
        };
        let reason = format!("the analyzer reports an event of its own, {word}: look at its display");
        let at = local(event.says("EVT.event_dttm")).map(|at| at.to_string());
        let words = event.says("EVT.description");
        // A number may be somebody's id, and an alarm is no place for one.
        let words = (longest_number(words) < 4 && words.len() <= 200).then_some(words);
        let digest = digest(&[b"event", around.serial().as_bytes()], Some(event));
        let identity = tells_runs_apart(event.says("EVT.event_dttm")).then_some(Identity(digest));
        let details = Some(json!({ "at": at, "description": words }));
        let alarm = EventKind::alarm(code, reason);
        facts.push(EventKind { device: around.device.cloned(), details, identity, ..alarm });
    }
    facts
}

fn longest_number(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0)
}

/// Whether a time can tell a repetition from a second run: one down to the second, and not what a clock shows that was
/// never set.
fn tells_runs_apart(stamp: &str) -> bool {
    stamp.trim().len() >= 19 && local(stamp).is_some_and(|at| at.time() != jiff::civil::Time::midnight())
}

/// What names a run on its device for good: when it was, and its sequence number there. An edited result keeps it.
fn named(kind: &str, service: &Element, around: &Around<'_>) -> Option<[u8; 32]> {
    let (stamp, number) = (service.says("SVC.observation_dttm"), service.says("SVC.sequence_nbr"));
    let parts = [kind, around.serial(), stamp, number].map(str::as_bytes);
    (tells_runs_apart(stamp) && !number.is_empty()).then(|| digest(&parts, None))
}

/// A fingerprint that a repetition shares: of everything but SVC.reason_cd, which says `RES` when an analyzer resends.
fn digest(parts: &[&[u8]], element: Option<&Element>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        add(&mut hash, part);
    }
    if let Some(element) = element {
        fingerprint(&mut hash, element);
    }
    hash.finalize().into()
}

fn fingerprint(hash: &mut Sha256, element: &Element) {
    for part in [&element.name, &element.value, &element.unit, &element.display, &element.text] {
        add(hash, part.trim().as_bytes());
    }
    let children = || element.children.iter().filter(|child| child.name != "SVC.reason_cd");
    hash.update((children().count() as u64).to_be_bytes());
    children().for_each(|child| fingerprint(hash, child));
}

fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn test(id: TestId, service: &Element, is_patient: bool, reading: &Reading) -> Test {
    let stamp = service.says("SVC.observation_dttm");
    let at = local(stamp).map(|at| at.to_string());
    let control = service.child("CTC");
    let calibration = !is_patient && matches!(service.says("SVC.role_cd"), "CAL" | "CVR");
    let sample_id = placed(service, &reading.sample_id).or_else(|| first_of(service, &SAMPLE_ID)).map(Personal::new);
    let patient_id = placed(service, &reading.patient_id).or_else(|| first_of(service, &["PT.patient_id"]));
    let mut observations = Vec::new();
    collect(service, &mut observations);
    let results = observations.into_iter().map(|observation| result(observation, at.as_deref(), stamp)).collect();
    Test {
        sample_id,
        patient_id: patient_id.filter(|_| control.is_none()).map(Personal::new),
        qc: marked_as_control(service, reading)
            || !calibration && (!is_patient || matches!(service.says("SVC.role_cd"), "LQC" | "EQC")),
        calibration,
        // The device says only that it was edited, not how often.
        version: if service.says("SVC.reason_cd") == "EDT" { 2 } else { 1 },
        finished_at: at.clone(),
        results,
        comments: comments(service, control),
        ..Test::new(id, TestState::Done)
    }
}

/// Where POCT1-A has the sample's id: the order's, else the specimen's.
const SAMPLE_ID: [&str; 2] = ["ORD.order_id", "SPC.specimen_id"];

fn placed<'a>(service: &'a Element, places: &[FieldPlace]) -> Option<&'a str> {
    places.iter().find_map(|place| service.find(&place.record))
}

/// Whether one of the fields that a profile names says so.
fn marked_as_control(service: &Element, reading: &Reading) -> bool {
    let says = |place: &FieldPlace| service.find(&place.record).unwrap_or_default();
    reading.qc_fields.iter().any(|(place, pattern)| pattern.regex().is_match(says(place)))
}

fn first_of<'a>(service: &'a Element, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| service.find(name))
}

/// The OBS of a service, wherever a maker has put them.
fn collect<'a>(element: &'a Element, found: &mut Vec<&'a Element>) {
    for child in &element.children {
        if child.name == "OBS" { found.push(child) } else { collect(child, found) }
    }
}

/// What stands around the results: the control material, reagents with their lots, notes.
fn comments(service: &Element, control: Option<&Element>) -> Vec<Personal> {
    let mut comments = Vec::new();
    if let Some(control) = control {
        let level = control.child("CTC.level_cd");
        let level =
            level.map_or("", |level| Some(level.said()).filter(|said| !said.is_empty()).unwrap_or(&level.display));
        comments.push(lot("Control", control, "CTC", level));
    }
    comments.extend(service.all("RGT").map(|reagent| lot("Reagent", reagent, "RGT", "")));
    if service.says("SVC.status_cd") == "OVR" {
        comments.push("run under an override".to_owned());
    }
    let persons = service.children.iter().filter(|child| matches!(child.name.as_str(), "PT" | "CTC"));
    comments.extend(std::iter::once(service).chain(persons).flat_map(notes));
    comments.into_iter().map(Personal::new).collect()
}

/// `Reagent NAME, lot LOT, expires DATE`, what is known of it.
fn lot(what: &str, element: &Element, prefix: &str, level: &str) -> String {
    let name = element.says(&format!("{prefix}.name"));
    let mut words = if name.is_empty() { what.to_owned() } else { format!("{what} {name}") };
    let expires = element.says(&format!("{prefix}.expiration_date"));
    let expires = expires.get(..10).filter(|_| local(expires).is_some()).unwrap_or(expires);
    for (word, text) in [("lot", element.says(&format!("{prefix}.lot_number"))), ("level", level), ("expires", expires)]
    {
        if !text.is_empty() {
            words.push_str(&format!(", {word} {text}"));
        }
    }
    words
}

/// The notes of an element: what stands in `V`, and behind a colon what a maker writes between the tags.
fn notes(element: &Element) -> Vec<String> {
    let texts = element.all("NTE").flat_map(|note| note.all("NTE.text"));
    let whole = |text: &Element| match (text.value.trim(), text.text.trim()) {
        (value, "") => value.to_owned(),
        ("", between) => between.to_owned(),
        (value, between) => format!("{value}: {between}"),
    };
    texts.map(whole).filter(|text| !text.is_empty()).collect()
}

fn result(observation: &Element, at: Option<&str>, stamp: &str) -> ResultValue {
    let none = Element::default();
    let part = |name: &str| observation.child(name).unwrap_or(&none);
    let id = part("OBS.observation_id");
    let code = id.said().to_owned();
    let (measured, in_words) = (part("OBS.value"), part("OBS.qualitative_value"));
    let value = [measured.said(), in_words.said(), in_words.display.trim()];
    let value = value.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let own = part("OBS.observation_dttm").said();
    let (at, at_text) = match local(own) {
        Some(own_at) => (Some(own_at.to_string()), own),
        None => (at.map(str::to_owned), stamp),
    };
    let calculated = match part("OBS.method_cd").said() {
        "C" => Some("calculated"),
        "I" => Some("entered by hand"),
        _ => None,
    };
    let comments = calculated.map(str::to_owned).into_iter().chain(notes(observation));
    ResultValue {
        name: id.display.trim().to_owned(),
        loinc: (id.system == "LN" && is_loinc(&code)).then(|| code.clone()),
        code,
        value: Personal::new(value),
        number: decimal(value),
        unit: measured.unit.trim().to_owned(),
        reference: part("OBS.normal_lo-hi_limit").said().to_owned(),
        flags: [part("OBS.interpretation_cd").said()]
            .into_iter()
            .filter(|flag| !flag.is_empty())
            .map(str::to_owned)
            .collect(),
        status: status(part("OBS.status_cd").said()).to_owned(),
        at,
        at_text: at_text.to_owned(),
        comments: comments.map(Personal::new).collect(),
        ..ResultValue::default()
    }
}

/// In the words that the other protocols share (HL7 table 0085, LIS2-A2 R.9): accepted is final, discarded has no result.
fn status(code: &str) -> &str {
    match code {
        "A" => "F",
        "D" => "X",
        other => other,
    }
}
