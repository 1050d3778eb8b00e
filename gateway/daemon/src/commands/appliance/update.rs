//! `appliance update`: carries out what `requests/update.json` asks for. RAUC checks, writes and switches; this decides whether and
//! when, and says it.
//!
//! Invariants: nothing is installed, and the box is not started anew, while a test runs. What fails leaves the system as it is.
//! What is asked for comes from the gateway's user, so it is looked at as if a stranger had written it.

use super::bundle::{Not, fetched, find, judge};
use super::journal::{Bench, alone};
use super::{EXIT_FAILED, Place};
use crate::platform::network::pause;
use crate::platform::privileged::watched;
use crate::platform::told::{ASKED_BYTES_MAX, take};
use gateway_core::appliance::autoboot::Slot;
use gateway_core::appliance::update::{Action, Asked, BY_ITSELF, percent, why};
use gateway_core::appliance::{UpdatePhase, layout};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Between two looks at running tests.
const LOOK_SECONDS: u64 = 5;
/// A test that runs for longer is none.
const TEST_HOURS_MAX: u64 = 12;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only write down that an update that was stopped is at its end
    #[arg(long, hide = true)]
    settle: bool,
}

/// Exit status 0 if it was done or there was nothing to do, 1 if not; the reason stands in `update.json`, but where another
/// program is at work there.
pub fn run(args: &Args, err: &mut dyn Write) -> u8 {
    let root = &args.place.root;
    match if args.settle { settle(root) } else { asked(root).and_then(|asked| begin(root, &asked)) } {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            EXIT_FAILED
        }
    }
}

/// What is asked for; it is not there any more then, whatever it was.
fn asked(root: &Path) -> Result<Asked, String> {
    let name = format!("{}/{}/{}", layout::TOLD, layout::ASKED, layout::ASKED_UPDATE);
    let bytes = take(root, layout::ASKED_UPDATE, ASKED_BYTES_MAX).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|_| format!("{name} cannot be read"))
}

/// Refused where the gate is at work, or will be at the next start: the journal is its own then.
fn begin(root: &Path, asked: &Asked) -> Result<(), String> {
    let refused = || match asked.by == BY_ITSELF {
        true => Ok(()),
        false => Err("the system that runs has not proved itself yet: wait for that, then ask again".to_owned()),
    };
    let Some(_alone) = alone(root)? else { return refused() };
    let bench = Bench::open(root)?;
    if !bench.journal.is_settled(bench.image.slot.as_deref()) {
        return refused();
    }
    carry_out(bench, asked)
}

/// After the service has ended, however it did: no update goes on that nobody carries out.
fn settle(root: &Path) -> Result<(), String> {
    let Some(_alone) = alone(root)? else { return Ok(()) };
    let mut bench = Bench::open(root)?;
    if !bench.journal.update.phase.is_going_on() || !bench.journal.is_settled(bench.image.slot.as_deref()) {
        return Ok(());
    }
    bench.step(UpdatePhase::Failed, "the update was stopped in the middle: install it again")
}

fn carry_out(mut bench: Bench, asked: &Asked) -> Result<(), String> {
    let before = bench.journal.clone();
    let done = match asked.action {
        Action::Rollback => go_back(&mut bench),
        Action::Check => check(&mut bench, asked),
        Action::Install => install(&mut bench, asked),
    };
    match done {
        Ok(()) => Ok(()),
        // How the last update ended stays told, whatever the box looks for in the night.
        Err(Not::Needed(_)) if asked.by == BY_ITSELF => {
            bench.journal = before;
            bench.keep()
        }
        Err(Not::Done(reason)) if asked.by == BY_ITSELF && asked.action == Action::Check => {
            bench.journal = before;
            bench.keep()?;
            Err(reason)
        }
        Err(Not::Needed(reason)) => bench.step(UpdatePhase::None, &reason),
        Err(Not::Done(reason)) => {
            bench.step(UpdatePhase::Failed, &reason)?;
            Err(reason)
        }
    }
}

fn check(bench: &mut Bench, asked: &Asked) -> Result<(), Not> {
    bench.step(UpdatePhase::Checking, "")?;
    let found = find(bench, asked)?;
    let version = judge(bench, asked, &found)?;
    bench.journal.update.to = Some(version.clone());
    let reason = format!("version {version} can be installed: `analyzer-gateway update install`");
    Ok(bench.step(UpdatePhase::None, &reason)?)
}

fn install(bench: &mut Bench, asked: &Asked) -> Result<(), Not> {
    let slot = bench.image.slot.as_deref().and_then(Slot::read);
    let slot =
        slot.ok_or_else(|| "this system was not started from a half of a card: write a whole image".to_owned())?;
    bench.step(UpdatePhase::Checking, "")?;
    let found = find(bench, asked)?;
    let version = judge(bench, asked, &found)?;
    bench.journal.update.from = Some(bench.image.version.clone());
    bench.journal.update.to = Some(version);
    let found = fetched(bench, found)?;
    wait_for_tests(bench)?;
    if !bench.is_this_box() {
        return Err(Not::Done("only the box itself has halves that can be written".to_owned()));
    }
    bench.journal.before = bench.health();
    // It is written over now.
    bench.journal.previous = None;
    bench.journal.from_slot = Some(slot.as_str().to_owned());
    bench.journal.to_slot = Some(slot.other().as_str().to_owned());
    bench.journal.given_up = None;
    bench.step(UpdatePhase::Installing, "")?;
    let mut shown = None;
    let path = found.path().display().to_string();
    let installed = watched("rauc", &["install", &path], |line| {
        let now = percent(line);
        if now.is_some() && now != shown {
            shown = now;
            bench.journal.update.percent = now;
            let _ = bench.tell();
        }
    });
    installed.map_err(|words| why(&words))?;
    start_anew(bench)
}

/// Once no test runs.
fn start_anew(bench: &mut Bench) -> Result<(), Not> {
    wait_for_tests(bench)?;
    bench.step(UpdatePhase::Restarting, "")?;
    Ok(bench.restart()?)
}

fn go_back(bench: &mut Bench) -> Result<(), Not> {
    let slot = bench.image.slot.clone();
    // Only an update that went well has left a system that ran in the other half.
    let previous = bench.journal.back(slot.as_deref()).ok_or_else(|| {
        "there is no system to go back to: the other half of the card holds none that ran before this one".to_owned()
    })?;
    wait_for_tests(bench)?;
    let journal = &mut bench.journal;
    (journal.from_slot, journal.to_slot) = (slot, Some(previous.slot));
    (journal.update.from, journal.update.to) = (Some(bench.image.version.clone()), Some(previous.version));
    journal.given_up = None;
    bench.journal.before = bench.health();
    bench.step(UpdatePhase::Restarting, "")?;
    bench.rauc(&["status", "mark-active", "other"]).map_err(|words| why(&words))?;
    Ok(bench.restart()?)
}

fn wait_for_tests(bench: &mut Bench) -> Result<(), Not> {
    let until = bench.mono().after(Duration::from_secs(TEST_HOURS_MAX * 3600));
    loop {
        // A gateway that does not run tests nothing.
        let health = bench.health();
        let testing = health.as_ref().map(|health| health.testing().join(", ")).filter(|names| !names.is_empty());
        let Some(names) = testing else { return Ok(()) };
        let reason = format!("a test runs on {names}: the update goes on at its end");
        if bench.mono() >= until {
            let reason =
                format!("a test ran on {names} for {TEST_HOURS_MAX} hours: look at the analyzer, then update again");
            return Err(Not::Done(reason));
        }
        if bench.journal.update.reason != reason {
            bench.step(UpdatePhase::WaitingForTest, &reason)?;
        }
        pause(Duration::from_secs(LOOK_SECONDS));
    }
}
