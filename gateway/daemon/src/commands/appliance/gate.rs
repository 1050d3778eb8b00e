//! `appliance gate`: runs at each start of an image. A system that has proved itself is marked good at once, so that three power
//! cuts in a row do not start the other one; a new one only when the gateway works as it did before, and else the old one comes back.
//!
//! Invariant: while a system has not proved itself every end of this program that is not "good" leads back to the old one: by
//! its own hand, by the unit's `FailureAction=reboot` and the boot counters if it cannot even run.

use super::journal::{Bench, alone};
use super::{EXIT_FAILED, Place};
use crate::platform::network::pause;
use crate::platform::privileged::{answers, below, system};
use gateway_core::appliance::gate::{Gate, PATIENCE, Verdict};
use gateway_core::appliance::update::{AtBoot, Previous, at_boot};
use gateway_core::appliance::{UpdatePhase, layout};
use std::fs;
use std::io::Write;
use std::time::Duration;

/// Between two looks.
const LOOK_SECONDS: u64 = 3;
const GATEWAY: &str = "analyzer-gateway.service";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// How long a new system has to show that it works, in seconds
    #[arg(long, value_name = "N", default_value_t = PATIENCE.as_secs(), hide = true)]
    patience_seconds: u64,
}

/// Exit status 1 only where a system that has not proved itself cannot be judged.
pub fn run(args: &Args, err: &mut dyn Write) -> u8 {
    let _alone = match alone(&args.place.root) {
        // An update only goes on in a system that has proved itself.
        Ok(None) => {
            let _ = writeln!(err, "an update goes on: this system is good already");
            return 0;
        }
        Ok(alone) => alone,
        // Whether this system works does not hang on a lock.
        Err(error) => {
            let _ = writeln!(err, "{error}");
            None
        }
    };
    let mut bench = match Bench::open(&args.place.root) {
        Ok(bench) => bench,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            return EXIT_FAILED;
        }
    };
    // Without it nobody knows whether this system is new: then it is not called good, and the boot counters go on counting.
    if !below(&bench.root, layout::SYSTEM).is_dir() {
        let _ = writeln!(err, "{} is not there: this system is not marked good; look at the card", layout::SYSTEM);
        return 0;
    }
    // RAUC does not make it.
    let _ = fs::create_dir_all(below(&bench.root, layout::SYSTEM).join("rauc"));
    let found = at_boot(&bench.journal, bench.image.slot.as_deref());
    let is_new = matches!(found, AtBoot::Prove | AtBoot::GiveUp(_));
    let done = match found {
        AtBoot::Usual => usual(&mut bench),
        AtBoot::Prove => prove(&mut bench, Duration::from_secs(args.patience_seconds)),
        AtBoot::GiveUp(reason) => give_up(&mut bench, &reason),
        AtBoot::Fallback(reason) => fallback(&mut bench, &reason),
        AtBoot::Interrupted(reason) => bench.step(UpdatePhase::Failed, &reason).and_then(|()| usual(&mut bench)),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            if is_new { EXIT_FAILED } else { 0 }
        }
    }
}

fn usual(bench: &mut Bench) -> Result<(), String> {
    let slot = bench.image.slot.clone();
    // Marked even if the disk takes nothing more.
    let marked = bench.rauc(&["status", "mark-good"]);
    if bench.journal.proved != slot {
        bench.journal.proved = slot;
        bench.keep()?;
    }
    bench.tell()?;
    marked
}

fn prove(bench: &mut Bench, patience: Duration) -> Result<(), String> {
    bench.step(UpdatePhase::Proving, "")?;
    let mut gate = Gate::new(bench.journal.before.clone(), bench.mono(), patience);
    loop {
        let health = bench.health();
        let page = health.as_ref().and_then(|health| health.listen.as_deref()).map_or(Ok(()), answers);
        match gate.look(bench.mono(), health.as_ref(), page, restarts(bench)) {
            Verdict::Good => return good(bench),
            Verdict::Bad(reason) => return give_up(bench, &reason),
            Verdict::Wait(reason) if reason != bench.journal.update.reason => {
                bench.journal.update.reason = reason;
                bench.tell()?;
            }
            Verdict::Wait(_) => {}
        }
        pause(Duration::from_secs(LOOK_SECONDS));
    }
}

/// How often the service manager had to start the gateway again.
fn restarts(bench: &Bench) -> u32 {
    if !bench.is_this_box() {
        return 0;
    }
    let told = system("systemctl", &["show", "--property=NRestarts", "--value", GATEWAY]);
    told.ok().and_then(|told| told.trim().parse().ok()).unwrap_or(0)
}

/// Marked first: written first, a power cut between the two would leave a system that calls itself good and is not started.
fn good(bench: &mut Bench) -> Result<(), String> {
    bench.rauc(&["status", "mark-good"])?;
    bench.rauc(&["status", "mark-active", "booted"])?;
    bench.journal.proved.clone_from(&bench.image.slot);
    bench.journal.bad = None;
    bench.journal.before = None;
    let (slot, version) = (bench.journal.from_slot.clone(), bench.journal.update.from.clone());
    bench.journal.previous = slot.zip(version).map(|(slot, version)| Previous { slot, version });
    bench.step(UpdatePhase::Good, "")?;
    // It is not needed any more; what cannot be removed is written over by the next one.
    let _ = fs::remove_dir_all(below(&bench.root, layout::DOWNLOADS));
    Ok(())
}

/// Decided and written down; then the old system is started.
fn give_up(bench: &mut Bench, reason: &str) -> Result<(), String> {
    bench.journal.given_up = Some(reason.to_owned());
    // On a disk that takes nothing the old system comes back all the same, and says less.
    let kept = bench.keep();
    let marked = bench.rauc(&["status", "mark-bad", "booted"]);
    let marked = marked.and(bench.rauc(&["status", "mark-active", "other"]));
    bench.restart().and(kept).and(marked)
}

fn fallback(bench: &mut Bench, reason: &str) -> Result<(), String> {
    let update = &bench.journal.update;
    let words = match (&bench.journal.given_up, &update.to) {
        (Some(reason), Some(to)) => format!("version {to} did not prove itself: {reason}"),
        _ => reason.to_owned(),
    };
    let reason = format!("{words}; version {} runs", bench.image.version);
    bench.journal.bad = update.to.clone();
    bench.journal.given_up = None;
    // What is in the other half does not work.
    bench.journal.previous = None;
    bench.journal.proved.clone_from(&bench.image.slot);
    bench.step(UpdatePhase::RolledBack, &reason)?;
    bench.rauc(&["status", "mark-good"])?;
    bench.rauc(&["status", "mark-active", "booted"])
}
