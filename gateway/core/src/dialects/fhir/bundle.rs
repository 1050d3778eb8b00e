//! One finished test as a transaction of FHIR R4: Device, Specimen, Observations and the DiagnosticReport over them.
//!
//! Each resource has an identifier of ours (a UUID derived from the event and the resource's role) and is created only where
//! no resource has it yet, so a repeated bundle changes nothing. A later version of a test has the identifiers of the first
//! and updates those resources (FHIR R4, conditional update, 3.1.0.4.3). Nothing is guessed: what the analyzer has not said in a
//! form that FHIR knows is text, or absent.

use super::curve::curves;
use crate::dialects::findings::findings;
use crate::dialects::local::{Local, Zone};
use crate::dialects::{Attempt, RenderError};
use crate::event::{Event, EventId, Id, Personal, ResultValue, Test};
use serde_json::{Map, Value, json};

/// Identifiers that are URIs (FHIR R4, section 2.24.0.5).
const URIS: &str = "urn:ietf:rfc:3986";
const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";

/// The bundle of an event about a finished test.
pub(super) fn transaction(event: &Event, test: &Test, attempt: &Attempt<'_>) -> Result<Value, RenderError> {
    let zone = Zone::named(&attempt.endpoint.time_zone)?;
    let report = Report { event, first: first_version(event, attempt.history), test, attempt, zone };
    let device = report.device();
    let specimen = report.specimen();
    let mut links = Links { device: device.link(), specimen: specimen.as_ref().map(Entry::link) };
    let mut observations: Vec<Entry> = Vec::new();
    let findings = findings(test);
    for (index, finding) in findings.iter().enumerate() {
        observations.push(report.observation(index, finding, &links));
    }
    for (channel, curve) in curves(event, attempt.history) {
        observations.push(report.curve(channel, curve, &links));
    }
    let results = observations.iter().map(Entry::link).collect();
    let diagnostic = report.diagnostic(&findings, results, links.specimen.take());
    let entries = [Some(device), specimen, Some(diagnostic)].into_iter().flatten().chain(observations);
    let written = |entry: Entry| match test.version > 1 && entry.kind != "Device" {
        true => entry.updating(),
        false => entry.written(),
    };
    Ok(json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": event.received_at,
        "entry": entries.map(written).collect::<Vec<_>>(),
    }))
}

/// The event that stated this test first; the event itself if no earlier one is known.
fn first_version(event: &Event, history: &[Event]) -> EventId {
    let states = |other: &&Event| {
        other.kind.name == event.kind.name && other.test_id() == event.test_id() && other.seq < event.seq
    };
    history.iter().find(states).map_or(event.id, |first| first.id)
}

/// A bundle that asks a server for nothing: an empty batch, marked as test data.
pub(super) fn probe(id: EventId, attempt: &Attempt<'_>) -> Value {
    json!({
        "resourceType": "Bundle",
        "meta": {"tag": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data",
        }]},
        "identifier": identifier(id),
        "type": "batch",
        "timestamp": attempt.now.wall,
    })
}

/// A resource of the bundle with the id that links to it.
struct Entry {
    id: Id,
    kind: &'static str,
    fields: Map<String, Value>,
}

impl Entry {
    /// `fields` is an object; its nulls are left out.
    fn new(id: Id, kind: &'static str, fields: Value) -> Entry {
        let Value::Object(mut fields) = fields else { unreachable!("the fields of a resource are an object") };
        fields.retain(|_, field| !field.is_null());
        fields.insert("resourceType".to_owned(), kind.into());
        fields.insert("identifier".to_owned(), json!([identifier(id)]));
        Entry { id, kind, fields }
    }

    fn link(&self) -> Value {
        json!({"reference": format!("urn:uuid:{}", self.id)})
    }

    fn written(self) -> Value {
        let urn = format!("urn:uuid:{}", self.id);
        let request = json!({"method": "POST", "url": self.kind, "ifNoneExist": format!("identifier={URIS}|{urn}")});
        json!({"fullUrl": urn, "resource": self.fields, "request": request})
    }

    /// In the place of the resource that has this identifier; made if there is none.
    fn updating(self) -> Value {
        let urn = format!("urn:uuid:{}", self.id);
        let request = json!({"method": "PUT", "url": format!("{}?identifier={URIS}|{urn}", self.kind)});
        json!({"fullUrl": urn, "resource": self.fields, "request": request})
    }
}

struct Links {
    device: Value,
    specimen: Option<Value>,
}

struct Report<'a> {
    event: &'a Event,
    first: EventId,
    test: &'a Test,
    attempt: &'a Attempt<'a>,
    zone: Zone,
}

impl Report<'_> {
    fn id(&self, role: &str) -> Id {
        Id::derived(&[&self.first.0, role.as_bytes()])
    }

    /// The same for every test of the device. Its serial number is part of what it is.
    fn device(&self) -> Entry {
        let device = self.event.kind.device.clone().unwrap_or_default();
        let (model, sn) = (device.model.unwrap_or_default(), device.sn.unwrap_or_default());
        let analyzer = &self.event.analyzer.0;
        let parts = ["device", self.attempt.gateway, analyzer, &model, &sn].map(str::as_bytes);
        let mut names = vec![json!({"name": analyzer, "type": "user-friendly-name"})];
        names.extend(text(&model).map(|model| json!({"name": model, "type": "model-name"})));
        Entry::new(Id::derived(&parts), "Device", json!({"serialNumber": text(&sn), "deviceName": names}))
    }

    fn specimen(&self) -> Option<Entry> {
        let sample = self.test.sample_id.as_ref().and_then(|sample| text(sample.expose()))?;
        let fields = json!({"meta": self.meta(), "accessionIdentifier": {"value": sample}, "subject": self.subject()});
        Some(Entry::new(self.id("specimen"), "Specimen", fields))
    }

    fn diagnostic(&self, findings: &[ResultValue], results: Vec<Value>, specimen: Option<Value>) -> Entry {
        let laboratory = "http://terminology.hl7.org/CodeSystem/v2-0074";
        let fields = json!({
            "meta": self.meta(),
            "status": if self.test.version > 1 { "corrected" } else { summed_up(findings) },
            "category": [{"coding": [{"system": laboratory, "code": "LAB", "display": "Laboratory"}]}],
            "code": {"text": "Laboratory report"},
            "subject": self.subject(),
            "effectiveDateTime": self.time(self.test.finished_at.as_deref()),
            "issued": self.event.received_at,
            "specimen": specimen.map(|specimen| [specimen]),
            "result": results,
            "conclusion": text(&self.test.comments.iter().map(Personal::expose).collect::<Vec<_>>().join("\n")),
        });
        Entry::new(self.id("report"), "DiagnosticReport", fields)
    }

    fn observation(&self, index: usize, finding: &ResultValue, links: &Links) -> Entry {
        let (code, value) = (finding.code.as_str(), text(finding.value.expose()));
        let loinc = self.attempt.endpoint.loinc.get(code).or(finding.loinc.as_ref());
        let loinc = loinc.map(|loinc| json!([{"system": "http://loinc.org", "code": loinc}]));
        let notes: Vec<Value> = finding.comments.iter().filter_map(|note| text(note.expose())).map(note).collect();
        let mut fields = json!({
            "status": if self.test.corrected.contains(&finding.code) { "corrected" } else { status(&finding.status) },
            "code": without_nulls(json!({"coding": loinc, "text": text(code).or(text(&finding.name)).or(Some("result".to_owned()))})),
            "effectiveDateTime": self.time(finding.at.as_deref().or(self.test.finished_at.as_deref())),
            "interpretation": some(finding.flags.iter().filter_map(|flag| interpretation(flag)).collect()),
            "referenceRange": text(&finding.reference).map(|range| json!([{"text": range}])),
            "note": some(notes),
        });
        let (key, value) = match (&finding.number, value) {
            (Some(number), _) => {
                ("valueQuantity", without_nulls(json!({"value": number, "unit": text(&finding.unit)})))
            }
            (None, Some(value)) => ("valueString", value.into()),
            (None, None) => ("dataAbsentReason", absent()),
        };
        fields[key] = value;
        self.observed(&format!("observation {index}"), fields, links)
    }

    fn curve(&self, channel: u64, curve: Value, links: &Links) -> Entry {
        let fields = json!({
            "status": "final",
            "code": {"text": format!("Amplification curve, channel {channel}")},
            "effectiveDateTime": self.time(self.test.finished_at.as_deref()),
            "valueSampledData": curve,
        });
        self.observed(&format!("curve {channel}"), fields, links)
    }

    /// What every observation has.
    fn observed(&self, role: &str, mut fields: Value, links: &Links) -> Entry {
        let category = "http://terminology.hl7.org/CodeSystem/observation-category";
        fields["category"] = json!([{"coding": [{"system": category, "code": "laboratory"}]}]);
        fields["meta"] = self.meta();
        fields["subject"] = self.subject();
        fields["issued"] = json!(self.event.received_at);
        fields["device"] = links.device.clone();
        fields["specimen"] = json!(links.specimen);
        Entry::new(self.id(role), "Observation", fields)
    }

    /// A logical reference: which patient this is the receiver knows, we know the id only.
    fn subject(&self) -> Value {
        let patient = self.test.patient_id.as_ref().and_then(|patient| text(patient.expose()));
        patient.map_or(Value::Null, |patient| json!({"type": "Patient", "identifier": {"value": patient}}))
    }

    /// Quality control and calibration are no patient's: the specimen's role of table 0369 marks them.
    fn meta(&self) -> Value {
        let role = "http://terminology.hl7.org/CodeSystem/v2-0369";
        let (code, display) = match self.test {
            Test { calibration: true, .. } => ("C", "Calibrator"),
            Test { qc: true, .. } => ("Q", "Control specimen"),
            _ => return Value::Null,
        };
        json!({"tag": [{"system": role, "code": code, "display": display}]})
    }

    /// With the clinic's offset; null if there is none or it cannot be read.
    fn time(&self, local: Option<&str>) -> Value {
        match local.and_then(|local| self.zone.read(local)) {
            Some(Local::Moment(moment)) => moment.strftime("%FT%T%:z").to_string().into(),
            Some(Local::Day(day)) => day.to_string().into(),
            None => Value::Null,
        }
    }
}

fn identifier(id: Id) -> Value {
    json!({"system": URIS, "value": format!("urn:uuid:{id}")})
}

fn note(text: String) -> Value {
    json!({"text": text})
}

fn absent() -> Value {
    json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}]})
}

/// FHIR knows no empty list.
fn some(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { items.into() }
}

fn without_nulls(mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.retain(|_, field| !field.is_null());
    }
    object
}

/// A `string` of FHIR: not blank, and of the control characters only line ends and tabs; `None`: nothing is left.
fn text(text: &str) -> Option<String> {
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let text: String = text.chars().map(|c| if is_bad(c) { ' ' } else { c }).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The interpretation codes that are exactly the analyzer's; any other flag stays text.
fn interpretation(flag: &str) -> Option<Value> {
    match flag {
        "H" | "L" | "N" | "HH" | "LL" | "A" => Some(json!({"coding": [{"system": INTERPRETATION, "code": flag}]})),
        flag => text(flag).map(note),
    }
}

/// `Observation.status` from a result status of table 0085, which ASTM shares: `R` is entered and not verified.
fn status(status: &str) -> &'static str {
    match status {
        "F" => "final",
        "P" | "R" => "preliminary",
        "C" => "corrected",
        "I" => "registered",
        "X" => "cancelled",
        _ => "unknown",
    }
}

/// `DiagnosticReport.status`: that of the results if all have the same, else what it says of the whole.
fn summed_up(findings: &[ResultValue]) -> &'static str {
    let statuses: Vec<&str> = findings.iter().map(|finding| status(&finding.status)).collect();
    match statuses.first() {
        Some(first) if statuses.iter().all(|status| status == first) => first,
        _ if statuses.contains(&"unknown") => "unknown",
        _ if statuses.iter().all(|status| matches!(*status, "final" | "corrected")) => "corrected",
        _ => "partial",
    }
}
