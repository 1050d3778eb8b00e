//! `analyzers`: each with its state and since when, or one of them with everything that is known of it.

use super::ask::{Asker, By, print_json};
use super::screen::{age, age_or_dash};
use super::{EXIT_FAILED, plain, status};
use gateway_core::overview::DeviceState;
use gateway_core::overview::{AnalyzerOverview, Overview};
use std::io::{self, Write};

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Show only this one, with everything that is known of it
    analyzer: Option<String>,
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 if each shown is well, 1 if one is lost or in trouble, is not in the settings, or no gateway runs.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (mut overview, json, by) = match status::asked(&args.asker) {
        Ok(asked) => asked,
        Err(failed) => return failed.tell(err),
    };
    if let Some(id) = &args.analyzer {
        overview.analyzers.retain(|one| one.id == *id);
        if overview.analyzers.is_empty() {
            let _ = writeln!(err, "there is no analyzer `{}` in the settings", plain(id));
            return EXIT_FAILED;
        }
    }
    // A closed pipe leaves nobody to tell.
    let _ = match (args.asker.json, &args.analyzer) {
        (true, wanted) => {
            let mut list = json["analyzers"].as_array().cloned().unwrap_or_default();
            list.retain(|one| wanted.as_ref().is_none_or(|id| one["id"] == **id));
            print_json(&serde_json::json!({ "running": by == By::Gateway, "analyzers": list }), out)
        }
        (false, Some(_)) => overview.analyzers.iter().try_for_each(|one| show(one, &overview, out)),
        (false, None) => status::analyzers(&overview, by, out),
    };
    if by == By::Store {
        let _ = writeln!(err, "the gateway is not running, so nobody knows what its ports do");
    }
    let well = |one: &AnalyzerOverview| !matches!(one.state, DeviceState::Lost | DeviceState::Alert);
    if by == By::Gateway && overview.analyzers.iter().all(well) { 0 } else { EXIT_FAILED }
}

fn show(one: &AnalyzerOverview, overview: &Overview, out: &mut dyn Write) -> io::Result<()> {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let lines = [
        ("analyzer", one.id.clone()),
        ("state", format!("{}, {}", one.state.as_str(), age(one.since, overview.at))),
        ("reason", if one.reason.is_empty() { "-".to_owned() } else { one.reason.clone() }),
        ("test", one.test_state.as_str().to_owned()),
        ("model", dash(&one.model)),
        ("serial number", dash(&one.serial_number)),
        ("port", one.port.clone()),
        ("last heard", age_or_dash(one.last_event_at, overview.at)),
        ("last test", age_or_dash(one.last_test_at, overview.at)),
        ("events", format!("{} since the start, {} of them not understood", one.events, one.rejected)),
    ];
    lines.iter().try_for_each(|(head, text)| writeln!(out, "{head:<14} {}", plain(text)))
}
