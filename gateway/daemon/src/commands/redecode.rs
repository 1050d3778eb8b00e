//! `redecode`: today's decoder over stored messages; what it reads otherwise is sent as a new version.

use super::ask::{Asker, cell, table};
use axum::http::Method;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only messages received at or after that moment: 2026-11-21T20:14:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only of this analyzer
    #[arg(long, value_name = "ID")]
    analyzer: Option<String>,
    /// Say what would change, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Show the values too, which may be a person's
    #[arg(long)]
    show_data: bool,
    /// Go on behind this message, as a run that was cut off has said
    #[arg(long, value_name = "MESSAGE", default_value_t = 0)]
    after: i64,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Args { since, analyzer, dry_run, show_data, mut after, asker } = args;
    let mut whole = json!({ "dry_run": dry_run, "messages": 0, "changes": [], "left": {} });
    loop {
        let mut body = json!({ "dry_run": dry_run, "show_data": show_data, "after": after });
        for (key, value) in [("since", &since), ("analyzer", &analyzer)] {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        match asker.ask(Method::POST, "/api/redecode", Some(body)) {
            Ok(answer) => {
                add(&mut whole, &answer);
                // A gateway that stops answers at once and comes no further.
                let next = answer["next"].as_i64();
                match next {
                    Some(next) if next > after => after = next,
                    Some(next) => {
                        let _ = writeln!(err, "the gateway is stopping: go on later with --after {next}");
                        break;
                    }
                    None => break,
                }
            }
            Err(failed) => {
                let _ = writeln!(err, "{}", failed.text);
                if after > 0 {
                    let _ = writeln!(err, "messages up to {after} are done: go on with --after {after}");
                }
                return failed.status;
            }
        }
    }
    // A closed pipe leaves nobody to tell.
    let _ = if asker.json { writeln!(out, "{whole:#}") } else { show(&whole, out) };
    0
}

fn add(whole: &mut Value, answer: &Value) {
    whole["messages"] = (whole["messages"].as_u64().unwrap_or(0) + answer["messages"].as_u64().unwrap_or(0)).into();
    if let (Some(all), Some(more)) = (whole["changes"].as_array_mut(), answer["changes"].as_array()) {
        all.extend(more.iter().cloned());
    }
    for (why, count) in answer["left"].as_object().into_iter().flatten() {
        let before = whole["left"][why].as_u64().unwrap_or(0);
        whole["left"][why] = (before + count.as_u64().unwrap_or(0)).into();
    }
}

fn show(whole: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let changes = whole["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = |list: &Value| {
        let words = list.as_array().into_iter().flatten().map(cell);
        words.collect::<Vec<_>>().join(" ")
    };
    let row = |change: &Value| {
        let keys = ["message", "received_at", "analyzer", "what", "version", "test"];
        let mut row: Vec<String> = keys.iter().map(|key| cell(&change[*key])).collect();
        row.push([words(&change["codes"]), words(&change["fields"])].join(" ").trim().to_owned());
        row
    };
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    let heads = ["MESSAGE", "RECEIVED", "ANALYZER", "WHAT", "VERSION", "TEST", "DIFFERENT"];
    table(out, &heads, &rows, "everything is read as it was")?;
    for change in changes {
        for result in change["results"].as_array().into_iter().flatten() {
            let [code, before, after] = ["code", "before", "after"].map(|key| cell(&result[key]));
            writeln!(out, "{} {code}: {before} -> {after}", cell(&change["test"]))?;
        }
    }
    let verb = if whole["dry_run"] == true { "would change; nothing was stored" } else { "changed" };
    writeln!(out, "{} messages read again, {} tests {verb}", cell(&whole["messages"]), changes.len())?;
    for (why, words) in [
        ("erased", "messages are left out: a person's data was erased from them"),
        ("evicted", "finished tests are left as they are: their received bytes were given up"),
        ("unreadable", "messages are left out: the database is damaged there"),
        ("unknown_analyzer", "messages are left out: their analyzer is not in the settings any more"),
        ("not_alone", "messages are left as they are: they say nothing without the ones before them"),
    ] {
        if whole["left"][why].as_u64().is_some_and(|count| count > 0) {
            writeln!(out, "{} {words}", whole["left"][why])?;
        }
    }
    Ok(())
}
