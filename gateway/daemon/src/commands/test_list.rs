//! `tests`: the tests of all analyzers, the newest first.

use super::ask::{Asker, cell, print_json, query, table};
use super::plain;
use axum::http::Method;
use serde_json::Value;
use std::io::{self, Write};

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only of this analyzer
    #[arg(long, value_name = "ID")]
    analyzer: Option<String>,
    /// Only in this state: TESTING, DONE ...
    #[arg(long)]
    state: Option<String>,
    /// Only quality control runs (true), or none of them (false)
    #[arg(long, value_name = "BOOL")]
    qc: Option<bool>,
    /// The `next` of the list before
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// How many at most
    #[arg(long, default_value_t = 20)]
    limit: u16,
    /// Show the samples' ids; the audit log says in any case who has asked
    #[arg(long)]
    personal: bool,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let parts = [
        ("analyzer", args.analyzer),
        ("state", args.state),
        ("qc", args.qc.map(|qc| qc.to_string())),
        ("before", args.before.map(|before| before.to_string())),
        ("limit", Some(args.limit.to_string())),
    ];
    let path = format!("/api/tests{}", query(&parts));
    match args.asker.ask(Method::GET, &path, None) {
        Ok(answer) => {
            // A closed pipe leaves nobody to tell.
            let _ = if args.asker.json { print_json(&answer, out) } else { show(&answer, args.personal, out) };
            0
        }
        Err(failed) => failed.tell(err),
    }
}

fn show(answer: &Value, personal: bool, out: &mut dyn Write) -> io::Result<()> {
    let row = |test: &Value| {
        let what = match (test["qc"] == true, test["calibration"] == true, test["erased"] == true) {
            (_, _, true) => "erased",
            (true, ..) => "QC",
            (_, true, _) => "calibration",
            _ => "",
        };
        let mut row: Vec<String> =
            ["id", "analyzer", "state", "received_at", "results", "flagged"].map(|key| cell(&test[key])).to_vec();
        row.push(what.to_owned());
        if personal {
            row.extend([cell(&test["sample_id"]), cell(&test["summary"])]);
        }
        row
    };
    let rows: Vec<Vec<String>> = answer["tests"].as_array().into_iter().flatten().map(row).collect();
    let mut heads = vec!["TEST", "ANALYZER", "STATE", "RECEIVED", "RESULTS", "FLAGGED", "KIND"];
    if personal {
        heads.extend(["SAMPLE", "SUMMARY"]);
    }
    table(out, &heads, &rows, "no tests")?;
    match answer["next"].as_u64() {
        Some(next) => writeln!(out, "there may be more: --before {}", plain(&next.to_string())),
        None => Ok(()),
    }
}
