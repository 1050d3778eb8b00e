//! `simulate`: plays an analyzer, for those who have none at hand: a model by its profile, or a capture as it was recorded,
//! at a port, with the faults of bad cables on request. At the end it says what was acknowledged.

mod part;
mod socket;

use super::{EXIT_FAILED, EXIT_USAGE};
use crate::simulated::cable::{Cable, Fault, Faults};
use part::{Part, Score, Tally};
use socket::Socket;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// How often a fault happens where nothing else is said, in thousandths.
const USUAL_RATE: u32 = 50;

/// What nobody answers is read before the line goes, and a silence that ends a message is heard.
const LINGERING: Duration = Duration::from_secs(3);

/// Play an analyzer at a port: a model by its profile, or a capture as it was recorded.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A profile (its name, or a file of your own), a driver's name, or a file with recorded bytes.
    pub what: String,
    /// Where it plays: a device, `pty` (a new pseudo-terminal), `tcp:HOST:PORT` to call, `listen:HOST:PORT` to be called.
    #[arg(long)]
    pub port: String,
    /// With `--port pty`: make this name point to the pseudo-terminal.
    #[arg(long, value_name = "PATH")]
    pub link: Option<PathBuf>,
    /// Between two messages: 500ms, 10s, 2m.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub every: Duration,
    /// So many messages, then end. Without it: until it is stopped.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Equal seeds give equal samples, values and faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Ids of the samples, used in turn; without it they are counted.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pub samples: Vec<String>,
    /// What goes wrong, and in how many of a thousand cases: `noise`, `bit-flip=20` (repeatable).
    #[arg(long, value_name = "FAULT[=N]", value_parser = fault)]
    pub fault: Vec<(Fault, u32)>,
}

fn duration(text: &str) -> Result<Duration, String> {
    gateway_core::config::duration::parse(text).ok_or_else(|| "write it as 500ms, 10s or 2m".to_owned())
}

fn fault(text: &str) -> Result<(Fault, u32), String> {
    let (word, rate) = text.split_once('=').map_or((text, None), |(word, rate)| (word, Some(rate)));
    let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.word() == word) else {
        let words: Vec<&str> = Fault::ALL.iter().map(|fault| fault.word()).collect();
        return Err(format!("write one of {}", words.join(", ")));
    };
    match rate.map_or(Ok(USUAL_RATE), str::parse) {
        Ok(rate) if rate <= 1000 => Ok((fault, rate)),
        _ => Err(format!("write {word}=N with N from 0 to 1000: so many cases of a thousand")),
    }
}

/// Runs the command; the exit status is 0 if all that could be acknowledged was, 1 if not, 2 for wrong arguments.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let set = (|| {
        let part = Part::new(&args)?;
        let socket = Socket::new(&args.port, args.link.clone(), part.line(), args.count)?;
        let pulled = args.fault.iter().any(|(fault, rate)| *fault == Fault::Unplug && *rate > 0);
        if pulled && socket.is_nameless() {
            return Err(
                "A pseudo-terminal that is pulled comes back under another name: give it one with --link".to_owned()
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok((part, socket, runtime.map_err(|error| format!("cannot start: {error}"))?))
    })();
    let (part, socket, runtime) = match set {
        Ok(set) => set,
        Err(told) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(err, "{told}");
            return EXIT_USAGE;
        }
    };
    let played = runtime.block_on(play(&args, part, socket, out));
    match played {
        Ok(score) if score.is_clean() => 0,
        Ok(_) => EXIT_FAILED,
        Err(told) => {
            let _ = writeln!(err, "{told}");
            EXIT_FAILED
        }
    }
}

/// When the process is asked to end; never, if that cannot be known.
async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

async fn play(args: &Args, part: Part, mut socket: Socket, out: &mut dyn Write) -> Result<Score, String> {
    let mut faults = Faults::default();
    args.fault.iter().for_each(|(fault, rate)| faults.set(*fault, *rate));
    let mut cable = Cable::new(faults, args.seed);
    let tally = Mutex::new(Score::default());
    // A closed standard output leaves nobody to tell.
    let _ = writeln!(out, "{}; {}", part.words(), socket.words().map_err(|error| error.0)?);
    let _ = writeln!(out, "{}", socket.waits());
    let _ = out.flush();
    let plugged = Notify::new();
    let (mut analyzer, near) = tokio::io::duplex(1 << 16);
    let ended = {
        let carrying = cable.carry(near, async || {
            let far = socket.open().await.map_err(|error| std::io::Error::other(error.0))?;
            plugged.notify_one();
            Ok(far)
        });
        let playing = async {
            // What nobody can hear is neither said nor counted.
            plugged.notified().await;
            part.play(&mut analyzer, args, &Tally(&tally)).await?;
            if tally.lock().unwrap_or_else(PoisonError::into_inner).unanswered > 0 {
                tokio::time::sleep(LINGERING).await;
            }
            drop(analyzer);
            Ok::<(), std::io::Error>(())
        };
        let both = async { tokio::try_join!(carrying, playing).map(|_| ()) };
        tokio::select! {
            ended = both => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
            () = terminated() => Ok(()),
        }
    };
    let score = *tally.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = writeln!(out, "{score}");
    let struck: Vec<String> = Fault::ALL
        .into_iter()
        .filter(|fault| faults.of(*fault) > 0)
        .map(|fault| format!("{} {}", fault.word(), cable.happened.of(fault)))
        .collect();
    if !struck.is_empty() {
        let _ = writeln!(out, "faults: {}", struck.join(", "));
    }
    ended.map_err(|error| error.to_string())?;
    Ok(score)
}
