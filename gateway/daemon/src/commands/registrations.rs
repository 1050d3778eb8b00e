//! `registrations`: samples expected or received.

use super::ask::{Asker, cell, query, rows, table};
use axum::http::Method;
use serde_json::json;
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// List registrations, oldest first
    List {
        /// Only those of this sample
        #[arg(long)]
        sample_id: Option<String>,
        /// The number behind which to begin
        #[arg(long, default_value_t = 0)]
        after: u32,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Register a sample; the next test with one of its ids is linked
    Add {
        /// The registration's id; the gateway makes one if it is absent
        #[arg(long)]
        id: Option<String>,
        /// What is printed on the tube; may be given several times
        #[arg(long = "sample-id")]
        sample_ids: Vec<String>,
    },
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match args.what {
        What::List { sample_id, after, limit } => {
            let parts =
                [("sample_id", sample_id), ("after", Some(after.to_string())), ("limit", Some(limit.to_string()))];
            let path = format!("/api/registrations{}", query(&parts));
            args.asker.tell((Method::GET, path, None), out, err, |answer, out| {
                let keys =
                    ["/number", "/id", "/lab_id", "/created_at", "/sample_received_at", "/results_at", "/verified_at"];
                let keys = keys.map(|key| format!("/registration{key}"));
                let rows = rows(&answer["registrations"], &keys.each_ref().map(String::as_str));
                let heads = ["NUMBER", "ID", "LAB ID", "CREATED", "RECEIVED", "RESULTS", "VERIFIED"];
                table(out, &heads, &rows, "no registrations")
            })
        }
        What::Add { id, sample_ids } => {
            let mut body = json!({ "sample_ids": sample_ids });
            if let Some(id) = id {
                body["id"] = id.into();
            }
            let asked = (Method::POST, "/api/registrations".to_owned(), Some(body));
            args.asker.tell(asked, out, err, |answer, out| {
                writeln!(out, "{} (number {})", cell(&answer["id"]), cell(&answer["number"]))
            })
        }
    }
}
