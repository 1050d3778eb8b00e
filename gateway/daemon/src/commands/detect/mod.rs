//! `detect`: listens at a port, says which protocol it hears and at which line setting, and prints the YAML for it.
//!
//! Invariant: no frame and no message is ever acknowledged, so every analyzer keeps its results. Without `--answer` not a
//! byte is sent. With it an ENQ gets one byte back: `busy` says NAK, and the sender asks again after some seconds; `read`
//! says ACK, so that the analyzer sends its first frame, which names it, and then hears nothing more (LIS01-A2: it waits
//! 15 s, ends, and sends the whole message again later). An analyzer that shows that as a transmission error keeps its
//! result and sends it again when somebody asks it to.

mod listen;
mod told;

use super::place;
use crate::platform::Platform;
use crate::platform::holder::gateway_at;
use gateway_core::config::Port;
use gateway_core::detect::Known;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Recognised.
const FOUND: u8 = 0;
/// Nothing came, or nothing that could be understood.
const NOTHING: u8 = 1;

/// Listen at a port, find out which analyzer speaks there, and print its settings.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The port: a device such as /dev/ttyUSB0, `tcp:HOST:PORT` to call, `listen:HOST:PORT` to be called.
    pub port: String,
    /// How long to listen at most.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Listen at this speed only (repeatable).
    #[arg(long, value_name = "BAUD")]
    pub baud: Vec<u32>,
    /// Answer an ENQ with one byte, and nothing else ever: `busy` says NAK, so that the analyzer asks again; `read` says ACK,
    /// so that it sends its first frame, which is not acknowledged: it keeps its results.
    #[arg(long, value_name = "busy|read", num_args = 0..=1, default_missing_value = "busy")]
    pub answer: Option<Answer>,
    /// Show the received bytes as they are, with what may be of patients.
    #[arg(long)]
    pub show_data: bool,
    /// The folder of profiles of your own.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// What an ENQ is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Answer {
    Busy,
    Read,
}

/// Runs the command; the exit status is 0 if an analyzer was recognised, 1 if not, 2 if the port cannot be listened at.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match detect(&args, out, err) {
        Ok(status) => status,
        Err(told) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(err, "{told}");
            super::EXIT_USAGE
        }
    }
}

fn detect(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, String> {
    let port = place::port(&args.port)?;
    if let Port::Path(path) = &port {
        refuse_if_used(path)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let listener = listen::Listener {
        port: port.clone(),
        settings: listen::settings(&port, &args.baud),
        answer: args.answer,
        patience: Duration::from_secs(args.seconds),
        platform: Platform::real(),
    };
    let heard = runtime.block_on(listener.listen(err)).map_err(|error| error.0)?;
    let known = known(args.folder.as_deref());
    let text = match &heard {
        Some(heard) => told::report(heard, &port, args.answer, &known, args.show_data),
        None => told::nothing(&port, args.answer),
    };
    out.write_all(text.as_bytes()).map_err(|error| format!("the output cannot be written: {error}"))?;
    Ok(if heard.is_some_and(|heard| heard.finding.is_some()) { FOUND } else { NOTHING })
}

fn refuse_if_used(path: &Path) -> Result<(), String> {
    match gateway_at(path) {
        Some(process) => Err(format!(
            "The gateway that runs (process {process}) has {} open. Stop it first: systemctl stop analyzer-gateway",
            path.display()
        )),
        None => Ok(()),
    }
}

/// Every profile that can be read.
fn known(folder: Option<&Path>) -> Vec<Known> {
    let own = || folder.map(Path::to_owned);
    let names = crate::configuration::profile_names(own());
    let read = |name: String| crate::configuration::profile(&name, own()).ok().map(|profile| Known { name, profile });
    names.into_iter().filter_map(read).collect()
}
