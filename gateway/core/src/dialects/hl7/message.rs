//! ORU^R01 of HL7 2.5.1: one finished test with its results.
//!
//! The message depends on the event and the endpoint's settings alone: every attempt sends the same bytes, so MSH-7 is the
//! time at which the event was received. Codes are the analyzer's own, with LOINC beside them only where the settings say.

use crate::dialects::findings::findings;
use crate::dialects::local::{Local, Zone};
use crate::dialects::{Endpoint, RenderError};
use crate::event::{Device, Event, EventId, Id, Personal, ResultValue, Test};
use crate::hl7::{Segment, escaped};
use jiff::Zoned;

/// MSH-11 (table 0103).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processing {
    /// `P`
    Production,
    /// `T`: training, which is no result.
    Test,
}

/// MSH-10 of an event: 20 characters, the most that 2.5.1 allows; the same on every attempt.
pub(super) fn control_id(event: EventId) -> String {
    let Id(bytes) = Id::derived(&[b"MSH-10", &event.0]);
    bytes[..10].iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The message of an event about a finished test.
pub(super) fn oru(event: &Event, test: &Test, gateway: &str, endpoint: &Endpoint) -> Result<String, RenderError> {
    let zone = Zone::named(&endpoint.time_zone)?;
    let received = moment(&zone.at(event.received_at));
    let findings = findings(test);
    let mut message = String::new();
    header(event.id, gateway, endpoint, &received, Processing::Production).write(&mut message);
    if let Some(patient) = &test.patient_id {
        Segment::new("PID").raw(1, "1").text(3, patient.expose()).write(&mut message);
    }
    order(test, &findings, &zone, &received).write(&mut message);
    notes(&test.comments, &mut message);
    for (index, finding) in findings.iter().enumerate() {
        let corrected = test.corrected.contains(&finding.code);
        let segment = result(index + 1, finding, event.kind.device.as_ref(), endpoint, &zone);
        let segment = if corrected { segment.raw(11, "C") } else { segment };
        segment.write(&mut message);
        notes(&finding.comments, &mut message);
    }
    specimen(test).write(&mut message);
    Ok(message)
}

/// A message without any result, marked as training: an order that was cancelled.
pub(super) fn probe(id: EventId, gateway: &str, endpoint: &Endpoint, now: &Zoned) -> String {
    let mut message = String::new();
    header(id, gateway, endpoint, &moment(now), Processing::Test).write(&mut message);
    let order = Segment::new("OBR").raw(1, "1").text(3, "WEBHOOK-TEST");
    order.components(4, &["WEBHOOK-TEST", "Connection test", "L"]).raw(25, "X").write(&mut message);
    message
}

fn header(id: EventId, gateway: &str, endpoint: &Endpoint, time: &str, processing: Processing) -> Segment {
    Segment::new("MSH")
        .raw(1, "|")
        .raw(2, "^~\\&")
        .text(3, "analyzer-gateway")
        .text(4, gateway)
        .text(5, endpoint.receiving_application.as_deref().unwrap_or_default())
        .text(6, endpoint.receiving_facility.as_deref().unwrap_or_default())
        .raw(7, time)
        .raw(9, "ORU^R01^ORU_R01")
        .raw(10, control_id(id))
        .raw(11, if processing == Processing::Test { "T" } else { "P" })
        .raw(12, "2.5.1")
        .raw(18, "UNICODE UTF-8")
}

/// OBR-3, the filler's number, is the sample's id where it may be known, else the test's.
fn order(test: &Test, findings: &[ResultValue], zone: &Zone, received: &str) -> Segment {
    let number = test.sample_id.as_ref().map_or_else(|| test.id.to_string(), |sample| sample.expose().to_owned());
    Segment::new("OBR")
        .raw(1, "1")
        .text(3, &number)
        .components(4, &["", "Laboratory report"])
        .raw(7, time(test.finished_at.as_deref(), zone))
        .raw(22, received)
        .raw(24, "LAB")
        .raw(25, if test.version > 1 { "C" } else { order_status(findings) })
}

/// OBR-25 (table 0123) of a first version, which sums up OBX-11; any later one is `C`.
fn order_status(findings: &[ResultValue]) -> &'static str {
    let statuses: Vec<&str> = findings.iter().map(result_status).collect();
    match () {
        () if statuses.contains(&"C") => "C",
        () if statuses.iter().all(|status| *status == "F") => "F",
        () if statuses.iter().all(|status| *status == "X") => "X",
        () if statuses.contains(&"P") => "P",
        () if statuses.contains(&"F") => "A",
        () => "R",
    }
}

/// OBX-11 (table 0085): the analyzer's, and `R` (entered, not verified) where it says none of that table.
fn result_status(finding: &ResultValue) -> &str {
    match finding.status.as_str() {
        status @ ("C" | "D" | "F" | "I" | "N" | "O" | "P" | "S" | "U" | "W" | "X") => status,
        _ => "R",
    }
}

fn result(number: usize, finding: &ResultValue, device: Option<&Device>, endpoint: &Endpoint, zone: &Zone) -> Segment {
    let (code, name) = (finding.code.as_str(), finding.name.as_str());
    let value = finding.value.expose();
    let flags: Vec<String> = finding.flags.iter().map(|flag| escaped(flag)).collect();
    let segment = Segment::new("OBX")
        .raw(1, number.to_string())
        .raw(2, if is_numeric(value) { "NM" } else { "ST" })
        .text(5, value)
        .text(6, &finding.unit)
        .text(7, &finding.reference)
        .raw(8, flags.join("~"))
        .raw(11, result_status(finding))
        .raw(14, time(finding.at.as_deref(), zone));
    let segment = match endpoint.loinc.get(code).or(finding.loinc.as_ref()) {
        Some(loinc) => segment.components(3, &[loinc, "", "LN", code, name, "L"]),
        None => segment.components(3, &[code, name, "L"]),
    };
    match device {
        Some(device) => {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            segment.components(18, &[&text(&device.sn), &text(&device.model)])
        }
        None => segment,
    }
}

/// NM (section 2.A.47): a sign, digits, one point; nothing else.
fn is_numeric(value: &str) -> bool {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let decimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    decimal(whole) && decimal(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// SPM: the role tells quality control and calibration from a patient's sample (table 0369); what kind of sample it is nobody has said.
fn specimen(test: &Test) -> Segment {
    let role = match test {
        Test { calibration: true, .. } => ["C", "Calibrator", "HL70369"],
        Test { qc: true, .. } => ["Q", "Control specimen", "HL70369"],
        _ => ["P", "Patient", "HL70369"],
    };
    let sample = test.sample_id.as_ref().map(Personal::expose).unwrap_or_default();
    Segment::new("SPM")
        .raw(1, "1")
        .components(2, &["", sample])
        .components(4, &["UNK", "Unknown", "NULLFL"])
        .components(11, &role)
}

fn notes(comments: &[Personal], message: &mut String) {
    for (index, comment) in comments.iter().enumerate() {
        Segment::new("NTE").raw(1, (index + 1).to_string()).raw(2, "L").text(3, comment.expose()).write(message);
    }
}

/// TS with the clinic's offset: `20261121211403+0100`; a day without a time as `20261121`; empty if there is none.
fn time(text: Option<&str>, zone: &Zone) -> String {
    match text.and_then(|text| zone.read(text)) {
        Some(Local::Moment(zoned)) => moment(&zoned),
        Some(Local::Day(day)) => day.strftime("%Y%m%d").to_string(),
        None => String::new(),
    }
}

fn moment(zoned: &Zoned) -> String {
    zoned.strftime("%Y%m%d%H%M%S%z").to_string()
}
