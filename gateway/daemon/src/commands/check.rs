//! `analyzer-gateway check [FILE]`: every mistake of the settings at once, and what is good and should be known all the same.

use super::EXIT_CONFIG;
use super::appliance::settings::not_read_by_root;
use crate::configuration::{self, Source};
use gateway_core::config::{Broker, Config};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Looks through the settings, with the environment laid over them, and says everything that is wrong.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The settings file. Without it: the one that `run` would take.
    pub file: Option<PathBuf>,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    run_from(&Source::of_process(args.file, None), out, err)
}

/// The same, with the environment and the usual places given. Exit status 78 if there is a mistake, or no such file.
pub fn run_from(source: &Source, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match configuration::load(source) {
        Ok(loaded) => {
            let file = match &loaded.path {
                Some(path) => path.display().to_string(),
                None => format!("no settings file ({}), the defaults hold", looked_for(source)),
            };
            let _ = writeln!(out, "{file}: good: {}", summary(&loaded.config));
            if loaded.path.is_none() {
                let _ = writeln!(out, "To look through a file that lies elsewhere: analyzer-gateway check FILE");
            }
            for warning in loaded.warnings().into_iter().chain(not_read_by_root(Path::new("/"), &loaded)) {
                let _ = writeln!(out, "warning: {warning}");
            }
            0
        }
        Err(failure) => {
            let _ = writeln!(err, "{failure}");
            if !failure.is_missing() {
                let count = failure.mistakes.len();
                let _ = writeln!(err, "{count} {}", if count == 1 { "mistake" } else { "mistakes" });
            }
            EXIT_CONFIG
        }
    }
}

fn looked_for(source: &Source) -> String {
    let usual: Vec<String> = source.usual.iter().map(|path| path.display().to_string()).collect();
    format!("looked for {}", usual.join(" and "))
}

/// `2 analyzers, 1 webhook, embedded MQTT broker`
fn summary(config: &Config) -> String {
    let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let broker = match &config.mqtt.broker {
        Broker::Embedded => "embedded MQTT broker".to_owned(),
        Broker::Mosquitto => "the box's own MQTT broker".to_owned(),
        Broker::Url { host, port, .. } => format!("MQTT broker {host}:{port}"),
    };
    let hint = if config.analyzers.is_empty() { " (no analyzer: nothing will be read)" } else { "" };
    let (analyzers, webhooks) = (config.analyzers.len(), config.webhooks.len());
    format!("{}, {}, {broker}{hint}", count(analyzers, "analyzer"), count(webhooks, "webhook"))
}
