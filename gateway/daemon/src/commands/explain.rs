//! `explain`: the whole life of an event on one screen: bytes, frames, what was read, the commit, each attempt.

use super::EXIT_FAILED;
use super::ask::{Asker, cell, part, print_json, query, table};
use super::captures::hex_lines;
use super::plain;
use super::screen::{Paint, Tone, span};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{self, Write};

/// Bytes of one frame that are shown; `--json` has them all.
const PART_BYTES_MAX: usize = 256;
/// Frames that are shown.
const PARTS_MAX: usize = 40;
/// Records that are shown.
const RECORDS_MAX: usize = 60;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The event's id or how it begins, its place in the log, or its test's id
    event: String,
    /// Show what is about persons too: the bytes as they were, results, receivers' answers; the audit log says who looked
    #[arg(long)]
    personal: bool,
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 if it was delivered or is on its way, 1 if it needs a person somewhere or is not there.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let personal = args.personal.then(|| "true".to_owned());
    let path = format!("/api/events/{}/life{}", part(&args.event), query(&[("personal", personal)]));
    let life = match args.asker.ask(Method::GET, &path, None) {
        Ok(life) => life,
        Err(failed) => return failed.tell(err),
    };
    // A closed pipe leaves nobody to tell.
    let _ = if args.asker.json { print_json(&life, out) } else { show(&life, Paint::of_terminal(), out) };
    let stuck = |fate: &Value| matches!(fate["state"].as_str(), Some("held" | "dead"));
    if life["deliveries"].as_array().is_some_and(|fates| fates.iter().any(stuck)) { EXIT_FAILED } else { 0 }
}

fn show(life: &Value, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let event = &life["event"];
    let text = |key: &str| plain(&cell(&event[key]));
    writeln!(out, "{} {}", paint.put(Tone::Head, &cell(&event["name"])), text("id"))?;
    line("analyzer", &cell(&event["analyzer"]), out)?;
    if let Some(test) = event["test"].as_object() {
        let results = cell(&test["results"]);
        line("test", &format!("{} {}, {results} results", cell(&test["id"]), cell(&test["state"])), out)?;
    }
    if let Some(reason) = event["reason"].as_str() {
        line("reason", reason, out)?;
    }
    if event["erased"] == true {
        line("erased", "a person's data was taken out of it", out)?;
    }
    writeln!(out)?;
    message(&life["message"], life["personal"] == true, paint, out)?;
    writeln!(out)?;
    commit(event, paint, out)?;
    if life["personal"] == true {
        line("data", &event["data"].to_string(), out)?;
    }
    writeln!(out)?;
    deliveries(&life["deliveries"], paint, out)
}

fn line(head: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {head:<10} {}", plain(text))
}

fn message(message: &Value, personal: bool, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let head = paint.put(Tone::Head, "Received");
    if message.is_null() {
        return writeln!(out, "{head}  no bytes: the gateway states it itself, or its bytes were given up");
    }
    let chunks = message["chunks"].as_array().map_or(0, Vec::len);
    let driver = message["driver"].as_str().unwrap_or("no longer in the settings");
    let repeat = if message["repeated"] == true { "; a repeat" } else { "" };
    let id = cell(&message["id"]);
    writeln!(
        out,
        "{head}  message {id}: {} bytes, {chunks} commits, driver {}{repeat}",
        cell(&message["bytes"]),
        plain(driver)
    )?;
    match message["state"].as_str() {
        Some("whole") if !personal => {
            writeln!(out, "  letters are shown as x and digits as 9; --personal shows them")?;
        }
        Some("erased") => return writeln!(out, "  a person's data was erased, and these bytes with it"),
        Some("unreadable") => return writeln!(out, "  the database is damaged where these bytes were"),
        _ => {}
    }
    let bytes = STANDARD.decode(message["content"].as_str().unwrap_or_default()).unwrap_or_default();
    let parts = message["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    for part in parts.iter().take(PARTS_MAX) {
        frame(part, &bytes, paint, out)?;
    }
    if let Some(more) = parts.len().checked_sub(PARTS_MAX).filter(|more| *more > 0) {
        writeln!(out, "  and {more} more; --json has them all")?;
    }
    writeln!(out)?;
    read(message, personal, paint, out)
}

fn frame(part: &Value, bytes: &[u8], paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let number = |key: &str| part[key].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let (at, length) = (number("at"), number("bytes"));
    let name = match (part["kind"].as_str(), part["number"].as_u64()) {
        (Some("frame"), Some(number)) => format!("frame {number}"),
        (Some("enquiry"), _) => "ENQ, a session begins".to_owned(),
        (Some("end_of_transmission"), _) => "EOT, the session ends".to_owned(),
        (kind, _) => kind.unwrap_or("bytes").replace('_', " "),
    };
    let verdict = match part["verdict"].as_str() {
        Some("good") if part["kind"] == "frame" => paint.put(Tone::Good, "the checksum is right"),
        Some("good") => paint.put(Tone::Good, "whole"),
        Some("checksum") => paint.put(Tone::Bad, "the checksum is wrong or missing"),
        Some("unnumbered") => paint.put(Tone::Bad, "its number is no digit from 0 to 7"),
        Some("too_long") => paint.put(Tone::Bad, "too long"),
        Some("cut") => paint.put(Tone::Bad, "its end never came"),
        _ => String::new(),
    };
    writeln!(out, "  {}", format!("{name}, {length} bytes  {verdict}").trim_end())?;
    let raw = bytes.get(at..(at + length).min(bytes.len())).unwrap_or_default();
    hex_lines(&raw[..raw.len().min(PART_BYTES_MAX)], at, out)?;
    match raw.len().checked_sub(PART_BYTES_MAX).filter(|more| *more > 0) {
        Some(more) => writeln!(out, "        and {more} more bytes; --json has them all"),
        None => Ok(()),
    }
}

fn read(message: &Value, personal: bool, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let records = message["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let head = paint.put(Tone::Head, "Read");
    if personal {
        writeln!(out, "{head}      {} records", records.len())?;
        for record in records.iter().take(RECORDS_MAX) {
            writeln!(out, "  {}", plain(&cell(&record["text"])))?;
        }
    } else {
        let kinds: Vec<String> = records.iter().map(|record| cell(&record["kind"])).take(RECORDS_MAX).collect();
        writeln!(out, "{head}      {} records: {}", records.len(), plain(&kinds.join(" ")))?;
    }
    for event in message["events"].as_array().into_iter().flatten() {
        let text = format!("{} {} {}", cell(&event["seq"]), cell(&event["name"]), cell(&event["id"]));
        writeln!(out, "  -> {}", plain(&text))?;
    }
    Ok(())
}

fn commit(event: &Value, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let seconds = event["mono_ns"].as_u64().unwrap_or(0) as f64 / 1e9;
    writeln!(out, "{}    as number {} of the log", paint.put(Tone::Head, "Stored"), cell(&event["seq"]))?;
    line("at", &format!("{} (clock {})", cell(&event["received_at"]), cell(&event["clock"])), out)?;
    line("boot", &format!("{}, {seconds:.3} s after its beginning", cell(&event["boot"])), out)?;
    match event["sequence"].as_u64() {
        Some(sequence) => line("session", &format!("number {sequence} in its session"), out),
        None => Ok(()),
    }
}

fn deliveries(fates: &Value, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let fates = fates.as_array().map(Vec::as_slice).unwrap_or_default();
    if fates.is_empty() {
        return writeln!(out, "{}  to no destination: none of the settings wants it", paint.put(Tone::Head, "Sent"));
    }
    for fate in fates {
        let state = cell(&fate["state"]);
        let tone = match state.as_str() {
            "delivered" => Tone::Good,
            "held" | "dead" => Tone::Bad,
            _ => Tone::Warning,
        };
        let next = match fate["due_in_seconds"].as_u64() {
            Some(0) => ", next attempt now".to_owned(),
            Some(seconds) => format!(", next attempt in {}", span(seconds)),
            None => String::new(),
        };
        let redriven = if fate["redriven"] == true { ", sent again by a person" } else { "" };
        let destination = plain(&cell(&fate["destination"]));
        let head = paint.put(Tone::Head, "To");
        writeln!(out, "{head} {destination}: {}{next}{redriven}", paint.put(tone, &state))?;
        if let Some(detail) = fate["reason"]["detail"].as_str() {
            line("why", detail, out)?;
            line("what to do", &cell(&fate["reason"]["next_step"]), out)?;
        }
        let row = |one: &Value| {
            let why = match one["reason"].is_null() {
                true => "delivered".to_owned(),
                false => cell(&one["reason"]["code"]),
            };
            let keys = ["number", "at", "duration_ms", "status"].map(|key| cell(&one[key]));
            keys.into_iter().chain([why, one["answer"].as_str().unwrap_or_default().to_owned()]).collect()
        };
        let rows: Vec<Vec<String>> = fate["tried"].as_array().into_iter().flatten().map(row).collect();
        if !rows.is_empty() {
            table(out, &["  ATTEMPT", "AT", "MS", "STATUS", "OUTCOME", "ANSWER"], &indented(rows), "")?;
        }
    }
    Ok(())
}

fn indented(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    for first in rows.iter_mut().filter_map(|row| row.first_mut()) {
        first.insert_str(0, "  ");
    }
    rows
}
