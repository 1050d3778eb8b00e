//! `manifest`: proof of what an endpoint was sent, a row a day.

use super::ask::{Asker, part, query, rows, table};
use axum::http::Method;
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The endpoint's id
    endpoint: String,
    /// The first day, in UTC: 2026-11-21
    #[arg(long, value_name = "DAY")]
    since: Option<String>,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let path = format!("/api/manifests/{}{}", part(&args.endpoint), query(&[("since", args.since)]));
    args.asker.tell((Method::GET, path, None), out, err, |answer, out| {
        let keys =
            ["day", "closed", "count", "first_ordinal", "last_ordinal", "hash"].map(|key| format!("/manifest/{key}"));
        let rows = rows(&answer["manifests"], &keys.each_ref().map(String::as_str));
        table(out, &["DAY", "CLOSED", "COUNT", "FIRST", "LAST", "HASH"], &rows, "no manifests yet")
    })
}
