//! `appliance update`: carries out what `requests/update.json` asks for. RAUC checks, writes and switches; this decides whether and
//! when, and says it.
//!
//! Invariants: nothing is installed, and the box is not started anew, while a test runs. What fails leaves the system as it is.
//! What is asked for comes from the gateway's user, so it is looked at as if a stranger had written it.

use super::bundle::{Not, fetched, find, judge};
use super::journal::Bench;
use super::{EXIT_FAILED, Place};
use crate::platform::privileged::{below, read, watched};
use gateway_core::appliance::autoboot::Slot;
use gateway_core::appliance::update::{Action, Asked, BY_ITSELF, percent, why};
use gateway_core::appliance::{UpdatePhase, layout};
use std::fs;
use std::io::Write;
use std::time::Duration;

/// Between two looks at running tests.
const LOOK_SECONDS: u64 = 5;
/// A test that runs for longer is none.
const TEST_HOURS_MAX: u64 = 12;

/// Exit status 0 if it was done or there was nothing to do, 1 if not; the reason stands in `update.json`.
pub fn run(place: &Place, err: &mut dyn Write) -> u8 {
    let path = below(&place.root, layout::TOLD).join(layout::ASKED).join(layout::ASKED_UPDATE);
    let asked = read::<Asked>(&path);
    // What cannot be read is not there for ever.
    if let Err(error) = fs::remove_file(&path) {
        let _ = writeln!(err, "{}: {error}", path.display());
        return EXIT_FAILED;
    }
    let told = match (asked, Bench::open(&place.root)) {
        (Some(asked), Ok(bench)) => carry_out(bench, &asked),
        (None, _) => Err(format!("{} cannot be read", path.display())),
        (_, Err(error)) => Err(error),
    };
    match told {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            EXIT_FAILED
        }
    }
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
    bench.journal.before = bench.health();
    bench.journal.from_slot = Some(slot.as_str().to_owned());
    bench.journal.to_slot = Some(slot.other().as_str().to_owned());
    bench.journal.given_up = None;
    bench.step(UpdatePhase::Installing, "")?;
    if !bench.is_this_box() {
        return Err(Not::Done("only the box itself has halves that can be written".to_owned()));
    }
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
    let journal = &bench.journal;
    // Only an update that went well has left a system that ran in the other half.
    let there = journal.update.phase == UpdatePhase::Good && slot.is_some() && journal.to_slot == slot;
    if !there {
        let reason = "there is no system to go back to: the other half of the card holds none that ran before this one";
        return Err(Not::Done(reason.to_owned()));
    }
    wait_for_tests(bench)?;
    let journal = &mut bench.journal;
    (journal.from_slot, journal.to_slot) = (journal.to_slot.take(), journal.from_slot.take());
    let update = &mut journal.update;
    (update.from, update.to) = (update.to.take(), update.from.take());
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
        std::thread::sleep(Duration::from_secs(LOOK_SECONDS));
    }
}
