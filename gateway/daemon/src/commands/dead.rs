//! `dead`: what was given up, why, and what to do about it.

use super::ask::{Asker, cell, part, query, rows, table};
use axum::http::Method;
use serde_json::Value;
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
    /// List the dead letters
    List {
        #[command(flatten)]
        which: Which,
        /// The `next` of the list before
        #[arg(long)]
        after: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Show one of them with its attempts
    Show {
        /// `mqtt` or an endpoint's id
        destination: String,
        /// The event's id, or its place in the log
        event: String,
    },
}

/// Which dead letters: what `dead list` and `redrive` choose by.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// Only at this destination: `mqtt` or an endpoint's id
    #[arg(long)]
    destination: Option<String>,
    /// Only what died of this reason: `refused`, `attempts_exhausted` ...
    #[arg(long)]
    reason: Option<String>,
    /// Only events received at or after that moment: 2026-11-21T20:00:00Z
    #[arg(long)]
    from: Option<String>,
    /// Only events received before that moment
    #[arg(long)]
    to: Option<String>,
}

impl Which {
    /// Each part by its name in the API; `None`: it was not said.
    pub fn parts(self) -> [(&'static str, Option<String>); 4] {
        [("destination", self.destination), ("reason", self.reason), ("from", self.from), ("to", self.to)]
    }
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match args.what {
        What::List { which, after, limit } => {
            let mut parts = which.parts().to_vec();
            parts.extend([("after", after), ("limit", Some(limit.to_string()))]);
            let asked = query(&parts);
            args.asker.tell((Method::GET, format!("/api/dead{asked}"), None), out, err, list)
        }
        What::Show { destination, event } => {
            let path = format!("/api/dead/{}/{}", part(&destination), part(&event));
            args.asker.tell((Method::GET, path, None), out, err, show)
        }
    }
}

fn list(answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let keys = ["/destination", "/event", "/name", "/received_at", "/attempts", "/reason/code"];
    let heads = ["DESTINATION", "EVENT", "NAME", "RECEIVED", "ATTEMPTS", "REASON"];
    table(out, &heads, &rows(&answer["dead"], &keys), "no dead letters")?;
    let mut steps: Vec<(&str, &str)> = Vec::new();
    for letter in answer["dead"].as_array().into_iter().flatten() {
        let told = |key: &str| letter["reason"][key].as_str().unwrap_or_default();
        if !steps.contains(&(told("code"), told("next_step"))) {
            steps.push((told("code"), told("next_step")));
        }
    }
    for (code, step) in steps {
        writeln!(out, "{code}: {step}")?;
    }
    match answer["next"].as_str() {
        Some(next) => writeln!(out, "there may be more: --after {next}"),
        None => Ok(()),
    }
}

fn show(answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let letter = &answer["letter"];
    for key in ["destination", "event", "name", "analyzer", "received_at", "ordinal", "dead_at", "redriven"] {
        writeln!(out, "{:<12} {}", key.replace('_', " "), cell(&letter[key]))?;
    }
    for (head, key) in [("reason", "code"), ("", "detail"), ("next step", "next_step")] {
        writeln!(out, "{head:<12} {}", cell(&letter["reason"][key]))?;
    }
    let keys = ["/number", "/at", "/duration_ms", "/status", "/reason/code", "/answer"];
    let heads = ["ATTEMPT", "AT", "MS", "STATUS", "REASON", "ANSWER"];
    table(out, &heads, &rows(&answer["attempts"], &keys), "its attempts are not kept any more")
}
