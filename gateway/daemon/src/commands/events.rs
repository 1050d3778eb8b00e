//! `events`: the log, one event a line as JSON.

use super::ask::{Asker, query};
use axum::http::Method;
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The place in the log behind which to begin
    #[arg(long, default_value_t = 0)]
    after: u32,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: u16,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let asked = query(&[("after", Some(args.after.to_string())), ("limit", Some(args.limit.to_string()))]);
    args.asker.tell((Method::GET, format!("/api/events{asked}"), None), out, err, |answer, out| {
        let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        events.iter().try_for_each(|event| writeln!(out, "{event}"))
    })
}
