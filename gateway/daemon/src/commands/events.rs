//! `events`: the log, one event a line as JSON.

use super::EXIT_FAILED;
use super::ask::{Asker, By, Failed, harmless, query};
use axum::http::Method;
use serde_json::{Value, json};
use std::io::Write;

/// How long the gateway waits for something new before it says that there is nothing.
const WAIT_SECONDS: u64 = 25;
/// What one request gives at most.
const PAGE_EVENTS_MAX: usize = 500;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The place in the log behind which to begin. Without it: the beginning, with --follow the end
    #[arg(long)]
    after: Option<u32>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: u16,
    /// Only of this analyzer
    #[arg(long, value_name = "ID")]
    analyzer: Option<String>,
    /// Only of this name: TEST_FINISHED, MESSAGE_REJECTED ...
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only received at or after that moment: 2026-11-21T20:14:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Go on with what comes, until Ctrl-C; one event a line also with --json
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0, also if there are none; 1 if something new is waited for and no gateway runs.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match read(&args, out) {
        Ok(()) => 0,
        Err(failed) => failed.tell(err),
    }
}

fn read(args: &Args, out: &mut dyn Write) -> Result<(), Failed> {
    let left_max = if args.follow { usize::MAX } else { args.limit.into() };
    let (mut after, mut left, mut wait) = (begin(args)?, left_max, 0);
    // Who wants what comes is not shown what was, unless he names a place or a moment.
    let mut is_past = args.follow && args.after.is_none() && args.since.is_none();
    let mut all: Vec<Value> = Vec::new();
    loop {
        let parts = [
            ("after", Some(after.to_string())),
            // What the gateway does not take it says itself.
            ("limit", Some(left.min(PAGE_EVENTS_MAX).to_string())),
            ("wait", (wait > 0).then(|| wait.to_string())),
            ("analyzer", args.analyzer.clone()),
            ("event", args.name.clone()),
            ("since", args.since.clone()),
        ];
        let path = format!("/api/events{}", query(&parts));
        let (mut page, by) = args.asker.ask_whom(Method::GET, &path, None)?;
        let events = match page["events"].take() {
            Value::Array(events) => events,
            _ => Vec::new(),
        };
        left = left.saturating_sub(events.len());
        let events = if is_past { Vec::new() } else { events };
        if args.asker.json && !args.follow {
            all.extend(events);
        } else {
            for event in &events {
                // A closed pipe leaves nobody to tell.
                if writeln!(out, "{}", harmless(&event.to_string())).and_then(|()| out.flush()).is_err() {
                    return Ok(());
                }
            }
        }
        let next = page["next"].as_i64().unwrap_or(after);
        let at_end = next == after;
        is_past = is_past && !at_end;
        after = next;
        match (at_end, args.follow, by) {
            (_, false, _) if at_end || left == 0 => break,
            (true, true, By::Store) => {
                let text = "the gateway is not running: nothing new comes".to_owned();
                return Err(Failed { status: EXIT_FAILED, text });
            }
            (at_end, _, _) => wait = if at_end { WAIT_SECONDS } else { 0 },
        }
    }
    if args.asker.json {
        let whole = json!({ "events": all, "next": after });
        let _ = super::ask::print_json(&whole, out);
    }
    Ok(())
}

/// Where the first request begins. The end of the log as it was last looked at is near the end as it is.
fn begin(args: &Args) -> Result<i64, Failed> {
    match (args.after, &args.since) {
        (Some(after), _) => Ok(after.into()),
        (None, None) if args.follow => {
            let status = args.asker.ask(Method::GET, "/api/status", None)?;
            Ok(status["store"]["head"].as_i64().unwrap_or(0))
        }
        (None, _) => Ok(0),
    }
}
