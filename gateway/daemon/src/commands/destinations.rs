//! `destinations`: how far each broker and endpoint has come; forgets one that is no longer in the settings.

use super::ask::{Asker, part, rows, table};
use axum::http::Method;
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
    /// List them with what waits, what is given up, and what stands in the way
    List,
    /// Forget one that is no longer in the settings, with everything that waits for it
    Drop {
        /// Its id, or an endpoint's id
        id: String,
    },
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match args.what {
        What::List => {
            let asked = (Method::GET, "/api/destinations".to_owned(), None);
            args.asker.tell(asked, out, err, |answer, out| {
                let keys = ["/id", "/state", "/undone", "/held", "/dead", "/reason/detail"];
                let heads = ["DESTINATION", "STATE", "UNDONE", "HELD", "DEAD", "REASON"];
                table(out, &heads, &rows(&answer["destinations"], &keys), "no destinations")
            })
        }
        What::Drop { id } => {
            let asked = (Method::DELETE, format!("/api/destinations/{}", part(&id)), None);
            args.asker.tell(asked, out, err, |_, out| writeln!(out, "{id} is forgotten, with its backlog"))
        }
    }
}
