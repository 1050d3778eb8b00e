//! `results`: what the analyzers have found, for a spreadsheet or a program. All of it is patient data; the read is audited.

use super::ask::{Asker, Failed, cell, query, table};
use serde_json::Value;
use std::io::{self, Write};

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only of this analyzer
    #[arg(long, value_name = "ID")]
    analyzer: Option<String>,
    /// Only received at or after that moment: 2026-11-21T20:14:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only received before that moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How they are written; --json is the same as ndjson
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns for a person
    Table,
    /// Comma-separated values with a head line (RFC 4180)
    Csv,
    /// One JSON object a line
    Ndjson,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let asked = query(&[("since", args.since), ("until", args.until), ("analyzer", args.analyzer)]);
    let format = if args.asker.json { Format::Ndjson } else { args.format };
    match format {
        Format::Csv => args.asker.copy(&format!("/api/results.csv{asked}"), out, err),
        Format::Ndjson => args.asker.copy(&format!("/api/results.ndjson{asked}"), out, err),
        Format::Table => {
            let mut lines = Vec::new();
            match args.asker.copy(&format!("/api/results.ndjson{asked}"), &mut lines, err) {
                0 => show(&lines, out).map_or_else(|failed| failed.tell(err), |()| 0),
                status => status,
            }
        }
    }
}

fn show(lines: &[u8], out: &mut dyn Write) -> Result<(), Failed> {
    let read = |line: &[u8]| serde_json::from_slice::<Value>(line);
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Result<Vec<Value>, _> = lines.map(read).collect();
    let lines = lines.map_err(|_| Failed::unreachable("the gateway's answer is not one JSON object a line"))?;
    // A closed pipe leaves nobody to tell.
    let _ = columns(&lines, out);
    Ok(())
}

fn columns(lines: &[Value], out: &mut dyn Write) -> io::Result<()> {
    let keys = ["/received_at", "/analyzer", "/test/sample_id"];
    let mut rows = Vec::new();
    for line in lines {
        let head = keys.map(|key| cell(line.pointer(key).unwrap_or(&Value::Null)));
        for result in line["test"]["results"].as_array().into_iter().flatten() {
            let values = ["code", "value", "unit", "flags"].map(|key| flat(&result[key]));
            rows.push(head.iter().cloned().chain(values).collect());
        }
    }
    table(out, &["RECEIVED", "ANALYZER", "SAMPLE", "CODE", "VALUE", "UNIT", "FLAGS"], &rows, "no results")
}

/// A list as words.
fn flat(value: &Value) -> String {
    match value.as_array() {
        Some(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        None => cell(value),
    }
}
