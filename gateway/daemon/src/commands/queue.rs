//! `queue`: what waits at each destination, lane by lane: why, and when it is tried next.

use super::EXIT_FAILED;
use super::ask::{Asker, cell, print_json, query, table};
use super::plain;
use super::screen::span;
use axum::http::Method;
use serde_json::Value;
use std::io::{self, Write};

/// Events of one lane that are shown; the rest are counted.
const LANE_ROWS_MAX: usize = 5;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only at this destination: `mqtt` or an endpoint's id
    destination: Option<String>,
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 if nothing waits for a person, 1 if something is held or dead, or there is no such destination.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let path = format!("/api/queue{}", query(&[("destination", args.destination)]));
    let answer = match args.asker.ask(Method::GET, &path, None) {
        Ok(answer) => answer,
        Err(failed) => return failed.tell(err),
    };
    // A closed pipe leaves nobody to tell.
    let _ = if args.asker.json { print_json(&answer, out) } else { show(&answer, out) };
    let destinations = answer["destinations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let stuck = |one: &Value| one["held"] != 0 || one["dead"] != 0;
    if destinations.iter().any(stuck) { EXIT_FAILED } else { 0 }
}

fn show(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let destinations = answer["destinations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if destinations.is_empty() {
        return writeln!(out, "no destinations");
    }
    for (index, one) in destinations.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        show_one(one, out)?;
    }
    Ok(())
}

fn show_one(one: &Value, out: &mut dyn Write) -> io::Result<()> {
    let number = |key: &str| one[key].as_u64().unwrap_or(0);
    let name = plain(&cell(&one["destination"]));
    writeln!(out, "{name}: {} waiting, {} of them held, {} dead", number("undone"), number("held"), number("dead"))?;
    if let Some(detail) = one["reason"]["detail"].as_str() {
        writeln!(out, "  {}", plain(detail))?;
        writeln!(out, "  -> {}", plain(&cell(&one["reason"]["next_step"])))?;
    }
    let mut rows = Vec::new();
    for lane in one["lanes"].as_array().into_iter().flatten() {
        let events = lane["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.extend(events.iter().take(LANE_ROWS_MAX).map(|event| row(lane, event)));
        if let Some(more) = events.len().checked_sub(LANE_ROWS_MAX).filter(|more| *more > 0) {
            rows.push(vec![cell(&lane["lane"]), String::new(), format!("and {more} more")]);
        }
    }
    if !rows.is_empty() {
        table(out, &["LANE", "SEQ", "EVENT", "STATE", "ATTEMPTS", "NEXT", "WHY"], &rows, "")?;
    }
    match number("beyond") {
        0 => Ok(()),
        beyond => writeln!(out, "{beyond} more stand in the log behind these"),
    }
}

fn row(lane: &Value, event: &Value) -> Vec<String> {
    let next = match (event["state"].as_str(), event["due_in_seconds"].as_u64()) {
        (_, Some(0)) => "now".to_owned(),
        (_, Some(seconds)) => format!("in {}", span(seconds)),
        (Some("held"), None) => "when somebody acts".to_owned(),
        _ => "in its turn".to_owned(),
    };
    let why = event["reason"]["detail"].as_str().unwrap_or_default().to_owned();
    let cells = [&lane["lane"], &event["seq"], &event["name"], &event["state"], &event["attempts"]];
    cells.map(cell).into_iter().chain([next, why]).collect()
}
