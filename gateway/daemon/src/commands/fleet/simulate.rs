//! `fleet simulate`: a fleet at a broker, and what goes wrong with it, line by line from standard input.

use super::{At, EXIT_UNREACHABLE, duration, interrupted};
use crate::commands::{EXIT_FAILED, EXIT_USAGE};
use crate::platform::Clock;
use crate::platform::clock::SystemClock;
use crate::simulated::fleet::{Fault, Plan, Players};
use std::io::Write;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Between two lines about how many are connected.
const NOTE_SECONDS: u64 = 1;
/// Files that are open beside the gateways' connections.
const FILES_BESIDE: u64 = 64;

/// Commands that wait.
const COMMANDS_MAX: usize = 16;

const HELP: &str = "write kill N, silence N, dead N COUNT, clock N SECONDS, twin N, stop N, heal N or quit";

/// Commands are read from standard input, one a line; N is a gateway's number, from 1: `kill N` (the connection breaks),
/// `silence N` (it hangs), `dead N COUNT` (dead letters), `clock N SECONDS` (ahead, or behind with a minus), `twin N` (a
/// second box with its id), `stop N` (in order), `heal N`, `quit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
    /// How many gateways
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    gateways: u32,
    /// Between two reports of each
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = duration)]
    interval: Duration,
    /// After one and a half times so many seconds without a word the broker calls a gateway lost
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    keep_alive_seconds: u16,
    /// How many connect in one second, at most
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    connects_per_second_max: u32,
    /// Equal seeds report at equal times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Exit status 0 after `quit` or an interruption, 2 for wrong arguments, 3 if nobody could ever connect.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let checked = args.at.broker().and_then(|at| match at.options("fleet-simulate") {
        Ok(_) => Ok(at),
        Err(reason) => Err(reason.to_string()),
    });
    let at = match checked {
        Ok(at) => at,
        Err(told) => {
            let _ = writeln!(err, "{told}");
            return EXIT_USAGE;
        }
    };
    if let Err(told) = allow_files(u64::from(args.gateways) + FILES_BESIDE) {
        let _ = writeln!(err, "{told}");
        return EXIT_FAILED;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return EXIT_FAILED };
    let plan = Plan {
        at,
        prefix: args.at.prefix,
        gateways: args.gateways as usize,
        interval: args.interval,
        keep_alive_seconds: args.keep_alive_seconds,
        connects_per_second_max: args.connects_per_second_max,
        seed: args.seed,
    };
    runtime.block_on(play(plan, out, err))
}

/// A connection is a file, and a process starts with fewer than a fleet needs.
fn allow_files(files: u64) -> Result<(), String> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    limit.current = Some(limit.maximum.map_or(files, |maximum| files.min(maximum)));
    let raised = setrlimit(Resource::Nofile, limit).is_ok() && limit.current >= Some(files);
    raised.then_some(()).ok_or_else(|| format!("{files} connections need as many files: raise `ulimit -n`"))
}

async fn play(plan: Plan, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let gateways = plan.gateways;
    let clock = SystemClock::new();
    let started = clock.now().mono;
    let mut players = Players::new(plan, SystemClock::new());
    let mut commands = commands();
    let mut reading = true;
    let (mut best, mut told) = (0, usize::MAX);
    let mut note = tokio::time::interval(Duration::from_secs(NOTE_SECONDS));
    note.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = interrupted();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = players.turn() => {}
            line = commands.recv(), if reading => match line {
                Some(line) if line.trim() == "quit" => break,
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match fault(&line).filter(|(number, fault)| players.strike(*number, *fault)) {
                    Some(_) => say(out, &format!("{} done at {}", line.trim(), clock.now().wall)),
                    None => drop(writeln!(err, "{HELP}; N is from 1 to {gateways}")),
                },
                None => reading = false,
            },
            _ = note.tick() => {
                let connected = players.connected();
                best = best.max(connected);
                if connected != told {
                    told = connected;
                    say(out, &format!("{connected} of {gateways} gateways are connected"));
                }
            }
        }
    }
    let seconds = clock.now().mono.since(started).as_secs_f64();
    let acknowledged = players.acknowledged();
    say(out, &format!("{acknowledged} messages acknowledged in {seconds:.1} s"));
    if best.max(players.connected()) == 0 {
        let _ = writeln!(err, "nobody could connect to the broker");
        return EXIT_UNREACHABLE;
    }
    0
}

/// Standard input, line by line, read by a thread of its own: waiting for it cannot be cut off.
fn commands() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A closed standard output leaves nobody to tell.
fn say(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn fault(line: &str) -> Option<(usize, Fault)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = words.get(1)?.parse().ok()?;
    let fault = match (words.first().copied()?, words.get(2)) {
        ("kill", None) => Fault::Kill,
        ("silence", None) => Fault::Silence,
        ("dead", Some(count)) => Fault::Dead(count.parse().ok()?),
        ("clock", Some(seconds)) => Fault::Clock(seconds.parse().ok()?),
        ("twin", None) => Fault::Twin,
        ("stop", None) => Fault::Stop,
        ("heal", None) => Fault::Heal,
        _ => return None,
    };
    Some((number, fault))
}
