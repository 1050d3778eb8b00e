//! `profiles`: the models of analyzers that the gateway knows, and what a profile says.

use crate::configuration::{profile, profile_names};
use gateway_core::config::{Caller, Parity, Profile, Tried};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::ask::table;

/// List the models of analyzers that the gateway knows, or show one.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Show this one, and what to write into the settings.
    pub name: Option<String>,
    /// The folder of profiles of your own; beside the settings file it is called `profiles`.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let written = match &args.name {
        Some(name) => profile(name, args.folder.clone()).map(|known| out.write_all(shown(name, &known).as_bytes())),
        None => Ok(listing(args.folder.as_deref(), out)),
    };
    match written {
        // A closed standard output leaves nobody to tell.
        Ok(_) => 0,
        Err(told) => {
            let _ = writeln!(err, "{told}\n`analyzer-gateway profiles` lists what there is.");
            super::EXIT_USAGE
        }
    }
}

/// By its name, or as a file of the user's own.
pub fn named_profile(name: &str) -> Result<Profile, String> {
    let path = Path::new(name);
    match (path.parent(), path.file_stem().and_then(|stem| stem.to_str())) {
        (Some(folder), Some(stem)) if path.extension().is_some_and(|extension| extension == "yaml") => {
            profile(stem, Some(folder.to_owned()))
        }
        _ => profile(name, None),
    }
    .map_err(|told| format!("{told}\n`analyzer-gateway profiles` lists what there is."))
}

fn listing(own: Option<&Path>, out: &mut dyn Write) -> std::io::Result<()> {
    let mut rows = Vec::new();
    for name in profile_names(own.map(Path::to_owned)) {
        rows.push(match profile(&name, own.map(Path::to_owned)) {
            Ok(known) => {
                vec![name, format!("{} {}", known.maker, known.model), known.driver, tried(known.tried).to_owned()]
            }
            Err(_) => vec![name, "cannot be read: show it to see why".to_owned(), String::new(), String::new()],
        });
    }
    table(out, &["PROFILE", "ANALYZER", "DRIVER", "TRIED ON"], &rows, "there are no profiles")
}

fn tried(tried: Tried) -> &'static str {
    match tried {
        Tried::RealBytes => "real bytes",
        Tried::Sources => "nothing yet, written from its sources",
    }
}

fn shown(name: &str, known: &Profile) -> String {
    let line = &known.line;
    let parity = match line.parity {
        Parity::None => 'N',
        Parity::Even => 'E',
        Parity::Odd => 'O',
    };
    let mut text = format!(
        "{} {}, driver {}, {} baud {}{parity}{}, tried on {}\n",
        known.maker,
        known.model,
        known.driver,
        line.baud,
        line.data_bits,
        line.stop_bits,
        tried(known.tried),
    );
    for sentence in &known.setup {
        text.push_str(&format!("  on the analyzer: {sentence}\n"));
    }
    for source in &known.sources {
        text.push_str(&format!("  source: {source}\n"));
    }
    let port = match known.tcp {
        None => "{ path: /dev/ttyUSB0 }  # `analyzer-gateway devices` shows what is plugged in",
        Some(Caller::Analyzer) => "{ tcp: { listen: 0.0.0.0:5600 } }  # the analyzer calls this box at this port",
        Some(Caller::Gateway) => "{ tcp: { connect: 192.168.1.20:5600 } }  # where the analyzer waits to be called",
    };
    text + &format!("analyzers:\n  - id: analyzer-1\n    profile: {name}\n    port: {port}\n")
}
