//! Results as a table: one row a value, for spreadsheets and for programs that read CSV.
//!
//! Invariant: a cell never makes a spreadsheet calculate. What would be taken for a formula stands behind an apostrophe.

mod cells;

pub use cells::line;

use crate::event::{Event, Personal, ResultValue, Test};

/// The columns, in order. New ones are added at the end.
pub const COLUMNS: [&str; 30] = [
    "result_id",
    "event",
    "test_id",
    "version",
    "gateway",
    "analyzer",
    "model",
    "serial_number",
    "received_at",
    "clock",
    "started_at",
    "finished_at",
    "sample_id",
    "instrument_sample_id",
    "patient_id",
    "qc",
    "calibration",
    "erased",
    "code",
    "name",
    "loinc",
    "run",
    "value",
    "unit",
    "reference",
    "flags",
    "status",
    "measured_at",
    "comments",
    "corrected",
];

/// The first row.
pub fn head() -> String {
    line(&COLUMNS.map(str::to_owned))
}

/// A finished test as rows, one a value; a test without any has one row. Nothing if the event is about no test.
pub fn rows(gateway: &str, event: &Event) -> String {
    let Some(test) = &event.kind.test else { return String::new() };
    let about = about(gateway, event, test);
    let nothing = ResultValue::default();
    let values = if test.results.is_empty() { std::slice::from_ref(&nothing) } else { &test.results };
    let row = |value: &ResultValue| {
        let mut cells = about.clone();
        cells.extend(value_of(value, test));
        line(&cells)
    };
    values.iter().map(row).collect()
}

fn about(gateway: &str, event: &Event, test: &Test) -> Vec<String> {
    let device = event.kind.device.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let personal = |text: &Option<Personal>| text.as_ref().map(|text| text.expose().to_owned()).unwrap_or_default();
    vec![
        event.seq.0.to_string(),
        event.id.to_string(),
        test.id.to_string(),
        test.version.to_string(),
        gateway.to_owned(),
        event.analyzer.0.clone(),
        text(device.and_then(|device| device.model.as_ref())),
        text(device.and_then(|device| device.sn.as_ref())),
        event.received_at.to_string(),
        event.clock.as_str().to_owned(),
        text(test.started_at.as_ref()),
        text(test.finished_at.as_ref()),
        personal(&test.sample_id),
        personal(&test.instrument_sample_id),
        personal(&test.patient_id),
        test.qc.to_string(),
        test.calibration.to_string(),
        event.erased.to_string(),
    ]
}

fn value_of(value: &ResultValue, test: &Test) -> Vec<String> {
    let comments: Vec<&str> = value.comments.iter().map(Personal::expose).collect();
    let shown = match &value.omitted {
        Some(omitted) => format!("({}, {} bytes)", omitted.media_type, omitted.bytes),
        None => value.value.expose().to_owned(),
    };
    vec![
        value.code.clone(),
        value.name.clone(),
        value.loinc.clone().unwrap_or_default(),
        value.run.clone().unwrap_or_default(),
        shown,
        value.unit.clone(),
        value.reference.clone(),
        value.flags.join(" "),
        value.status.clone(),
        value.at.clone().unwrap_or_default(),
        comments.join("\n"),
        test.corrected.contains(&value.code).to_string(),
    ]
}

#[cfg(test)]
mod tests;
