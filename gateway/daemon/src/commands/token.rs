//! `token`: who may use the API. Nothing has a default password; the first token is made here.

use super::ask::{Asker, cell, part, rows, table};
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
    /// Make a token for a client and print it, this once
    Add {
        /// What the client is called in the audit log: small letters, digits and `-`
        name: String,
        /// What it may do; each may do what those before it may
        #[arg(long, value_parser = ["post", "read", "operate", "administer"])]
        scope: String,
    },
    /// List the clients
    List,
    /// Take a client's token away
    Remove {
        /// What the client is called
        name: String,
    },
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match args.what {
        What::Add { name, scope } => {
            let body = json!({ "id": name, "scope": scope });
            let asked = (Method::POST, "/api/tokens".to_owned(), Some(body));
            args.asker.tell(asked, out, err, |answer, out| {
                writeln!(out, "{}", cell(&answer["token"]))?;
                writeln!(out, "Keep it: it is not shown again. Send it with each request as")?;
                writeln!(out, "authorization: Bearer {}", cell(&answer["token"]))
            })
        }
        What::List => args.asker.tell((Method::GET, "/api/tokens".to_owned(), None), out, err, |answer, out| {
            let rows = rows(&answer["tokens"], &["/id", "/scope", "/added_at"]);
            table(out, &["CLIENT", "SCOPE", "ADDED"], &rows, "no tokens: `token add` makes one")
        }),
        What::Remove { name } => {
            let asked = (Method::DELETE, format!("/api/tokens/{}", part(&name)), None);
            args.asker.tell(asked, out, err, |_, out| writeln!(out, "the token of {name} is good no more"))
        }
    }
}
