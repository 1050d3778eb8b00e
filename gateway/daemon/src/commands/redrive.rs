//! `redrive`: sends dead events again, under their own ids and marked.

use super::EXIT_USAGE;
use super::ask::{Asker, cell, table};
use super::dead::Which;
use axum::http::Method;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Ids of events; held and waiting ones are tried at once too
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Say what would go where, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Args { ids, which, dry_run, asker } = args;
    let parts = which.parts();
    if ids.is_empty() && parts.iter().all(|(_, part)| part.is_none()) {
        let _ = writeln!(err, "say what to send again: ids, --destination, --reason, --from or --to");
        return EXIT_USAGE;
    }
    let mut body = json!({ "ids": ids, "dry_run": dry_run });
    for (key, value) in parts {
        if let Some(value) = value {
            body[key] = value.into();
        }
    }
    asker.tell((Method::POST, "/api/redrive".to_owned(), Some(body)), out, err, going)
}

/// What goes where; `reconcile` answers in the same shape.
pub fn going(answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let mut rows = Vec::new();
    for destination in answer["destinations"].as_array().into_iter().flatten() {
        for event in destination["events"].as_array().into_iter().flatten() {
            rows.push(vec![cell(&destination["destination"]), cell(&event["seq"]), cell(&event["id"])]);
        }
    }
    table(out, &["DESTINATION", "SEQ", "EVENT"], &rows, "nothing to send")?;
    let verb = if answer["dry_run"] == true { "would go again; nothing was sent" } else { "go again" };
    writeln!(out, "{} {verb}", cell(&answer["count"]))
}
