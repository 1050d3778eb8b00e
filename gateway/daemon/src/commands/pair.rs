//! `pair`: the code that lets the first person in at the page, or one who has lost the passphrase.

use super::EXIT_FAILED;
use super::ask::{Asker, cell};
use axum::http::Method;
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Make a new code although somebody can sign in already: for a lost passphrase, good for 15 minutes
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let method = if args.again { Method::POST } else { Method::GET };
    let answer = match args.asker.ask(method, "/api/pairing", None) {
        Ok(answer) => answer,
        Err(failed) => {
            let _ = writeln!(err, "{}", failed.text);
            return failed.status;
        }
    };
    // A closed pipe leaves nobody to tell.
    if args.asker.json {
        let _ = writeln!(out, "{answer:#}");
    } else if answer["code"].is_string() {
        let _ = writeln!(out, "{}", cell(&answer["code"]));
        let _ = match answer["page"].as_str() {
            Some(page) => writeln!(out, "Open {page} and enter it there. It is good once."),
            None => writeln!(out, "The page is not served: see http.listen and http.page in the settings."),
        };
    }
    if answer["code"].is_null() && answer["page"].is_null() {
        let _ = writeln!(err, "the page is not served: see http.listen and http.page in the settings");
        return EXIT_FAILED;
    }
    if answer["code"].is_null() {
        let _ = writeln!(
            err,
            "somebody can sign in already; `analyzer-gateway pair --again` makes a code for a lost passphrase"
        );
        return EXIT_FAILED;
    }
    0
}
