//! `update`: updates of the box's system, for people.

use super::ask::{Asker, cell};
use super::plain;
use axum::http::Method;
use serde_json::{Value, json};
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The system that runs, how far an update is, and how the last one ended
    Status,
    /// Look whether there is a newer version; installs nothing
    Check(From),
    /// Install a version, start it, and keep it if it proves itself within ten minutes
    Install(Install),
    /// Go back to the system that ran before
    Rollback,
}

#[derive(Debug, clap::Args)]
struct From {
    /// `usb` (a stick), an address, or the whole path of a bundle. Without it: `update.url` of the settings, else a stick
    #[arg(value_name = "SOURCE")]
    source: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Install {
    #[command(flatten)]
    from: From,
    /// Also a version that is older than the one that runs
    #[arg(long)]
    older: bool,
}

/// Exit status 0 if it was handed on (`status`: could be told), 1 if it is refused, 3 if nobody answers.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let path = "/api/update".to_owned();
    let wanted = match args.what {
        What::Status => None,
        What::Check(from) => Some(json!({ "action": "check", "source": from.source })),
        What::Install(install) => {
            Some(json!({ "action": "install", "source": install.from.source, "older": install.older }))
        }
        What::Rollback => Some(json!({ "action": "rollback" })),
    };
    match wanted {
        None => args.asker.tell((Method::GET, path, None), out, err, show),
        Some(wanted) => args.asker.tell((Method::POST, path, Some(wanted)), out, err, |_, out| {
            writeln!(out, "It was handed on. `analyzer-gateway update status` says how it goes.")
        }),
    }
}

fn show(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let image = &answer["image"];
    if image.is_null() {
        return writeln!(out, "This is no appliance: its system's own package manager updates the gateway.");
    }
    let slot = image["slot"].as_str().map(|slot| format!(", from half {slot} of the card")).unwrap_or_default();
    let (version, compatible) = (cell(&image["version"]), cell(&image["compatible"]));
    writeln!(out, "system     {} for {}{}", plain(&version), plain(&compatible), plain(&slot))?;
    let update = &answer["update"];
    let phase = match update["phase"].as_str() {
        None | Some("none") => "there was none",
        Some("fetching") => "is being fetched",
        Some("checking") => "is being looked at",
        Some("waiting_for_test") => "waits until no analyzer is at work",
        Some("installing") => "is being installed",
        Some("restarting") => "the box starts anew",
        Some("proving") => "the new system must show that it works",
        Some("good") => "the new system works and stays",
        Some("rolled_back") => "the new system did not prove itself; the old one is back",
        _ => "failed; nothing was changed",
    };
    let percent = update["percent"].as_u64().map(|percent| format!(", {percent} %")).unwrap_or_default();
    writeln!(out, "update     {phase}{percent}")?;
    for (head, value) in [("from", &update["from"]), ("to", &update["to"]), ("at", &update["at"])] {
        if let Some(text) = value.as_str() {
            writeln!(out, "{head:<10} {}", plain(text))?;
        }
    }
    match update["reason"].as_str() {
        Some(reason) if !reason.is_empty() => writeln!(out, "           {}", plain(reason)),
        _ => Ok(()),
    }
}
