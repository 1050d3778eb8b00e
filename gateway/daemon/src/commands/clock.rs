//! `clock`: how far the box's time can be trusted, who sets it, what was corrected so far, and what to do.

use super::EXIT_FAILED;
use super::ask::{Asker, By, Failed, cell, print_json, query};
use super::plain;
use super::screen::span;
use super::status;
use crate::platform::time_source;
use axum::http::Method;
use gateway_core::overview::Overview;
use gateway_core::time::ClockQuality;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;

/// Corrections that are shown, the newest.
const SHOWN_MAX: usize = 10;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 if a time source keeps the clock, 1 if none does.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match told(&args.asker) {
        Ok((answer, good)) => {
            // A closed pipe leaves nobody to tell.
            let _ = if args.asker.json { print_json(&answer, out) } else { show(&answer, out) };
            if good { 0 } else { EXIT_FAILED }
        }
        Err(failed) => failed.tell(err),
    }
}

fn told(asker: &Asker) -> Result<(Value, bool), Failed> {
    let (overview, _, by) = status::asked(asker)?;
    let corrections = corrections(asker)?;
    let sources = time_source::sources(Path::new("/"));
    let answer = json!({
        "running": by == By::Gateway,
        "at": overview.at,
        "quality": overview.clock,
        "boot": overview.boot,
        "uptime_seconds": overview.machine.uptime_seconds,
        "sources": sources.iter().map(|source| source.told()).collect::<Vec<_>>(),
        "battery_clock": time_source::has_battery_clock(Path::new("/")),
        "corrections": corrections,
        "next_step": next_step(&overview, sources.is_empty()),
    });
    Ok((answer, overview.clock == ClockQuality::Synchronized))
}

/// What `CLOCK_CORRECTED` says in the log, oldest first.
fn corrections(asker: &Asker) -> Result<Vec<Value>, Failed> {
    let (mut after, mut found) = (0, Vec::new());
    loop {
        let parts = [
            ("after", Some(after.to_string())),
            ("limit", Some("500".to_owned())),
            ("event", Some("CLOCK_CORRECTED".to_owned())),
        ];
        let page = asker.ask(Method::GET, &format!("/api/events{}", query(&parts)), None)?;
        for event in page["events"].as_array().into_iter().flatten() {
            let (data, seq) = (&event["data"], &event["seq"]);
            let details = &data["details"];
            found.push(json!({
                "seq": seq, "at": data["received_at"], "boot": details["boot"], "offset_ms": details["offset_ms"],
                "events": details["events"],
            }));
        }
        let next = page["next"].as_i64().unwrap_or(after);
        if next == after {
            return Ok(found);
        }
        after = next;
    }
}

fn next_step(overview: &Overview, no_source: bool) -> &'static str {
    match (overview.clock, no_source) {
        (ClockQuality::Synchronized, _) => "Nothing: a time source keeps the clock.",
        (_, true) => "Install and start a time service: systemctl enable --now systemd-timesyncd, or chrony.",
        (ClockQuality::Unset, false) => {
            "Give the box a time server that it can reach: until then certificates and signatures cannot be judged."
        }
        (_, false) => {
            "See that the box reaches its time server (UDP port 123). Events are stored meanwhile, and their times are mended \
             once the clock is set."
        }
    }
}

fn show(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let line = |head: &str, text: &str, out: &mut dyn Write| writeln!(out, "{head:<12} {}", plain(text));
    let quality = match answer["quality"].as_str() {
        Some("synchronized") => "synchronized: a time source keeps it",
        Some("unset") => "unset: nobody has set it since the boot, and its reading is plainly wrong",
        Some("unsynchronized") => "unsynchronized: plausible, but confirmed by nobody",
        _ => "not known",
    };
    line("reads", &cell(&answer["at"]), out)?;
    line("quality", quality, out)?;
    let sources: Vec<String> = answer["sources"].as_array().into_iter().flatten().map(cell).collect();
    line("time source", &if sources.is_empty() { "none".to_owned() } else { sources.join(", ") }, out)?;
    let battery =
        if answer["battery_clock"] == true { "yes" } else { "no: after a power cut it does not know the time" };
    line("battery", battery, out)?;
    let uptime = answer["uptime_seconds"].as_u64().map_or_else(|| "-".to_owned(), span);
    line("boot", &format!("{}, up for {uptime}", cell(&answer["boot"])), out)?;
    let corrections = answer["corrections"].as_array().map(Vec::as_slice).unwrap_or_default();
    if corrections.is_empty() {
        line("corrections", "none in the log", out)?;
    }
    for one in corrections.iter().rev().take(SHOWN_MAX) {
        let seconds = one["offset_ms"].as_i64().unwrap_or(0) as f64 / 1000.0;
        let events = cell(&one["events"]);
        line("corrected", &format!("{}: {seconds:+.1} s at most, {events} events", cell(&one["at"])), out)?;
    }
    line("what to do", &cell(&answer["next_step"]), out)
}
