//! Many runs at once: each on its own thread with its own runtime, so that they cannot disturb each other's time.

use super::check::{self, Fault};
use super::run::{Outcome, play};
use super::scenario::Scenario;
use gateway_core::mutants::{Mutant, plant};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Lines of the trace that a failing run shows.
const LINES_SHOWN: usize = 60;

/// A run that broke promises.
pub struct Failure {
    pub seed: u64,
    pub crash_at: Option<u64>,
    pub faults: Vec<Fault>,
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let crash = self.crash_at.map_or_else(|| "no crash".to_owned(), |at| format!("a crash at effect {at}"));
        writeln!(f, "seed {}, {crash}:", self.seed)?;
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        writeln!(f, "the last lines of the trace:")?;
        let skipped = self.trace.len().saturating_sub(LINES_SHOWN);
        self.trace[skipped..].iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// What came of many runs.
#[derive(Default)]
pub struct Summary {
    pub seeds: usize,
    pub runs: usize,
    pub failures: Vec<Failure>,
    /// How often each check found something.
    pub found_by: BTreeMap<&'static str, usize>,
}

impl Summary {
    /// Ends the test if a promise was broken.
    pub fn expect_no_failure(&self) {
        let shown: Vec<String> = self.failures.iter().take(3).map(Failure::to_string).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {} runs broke promises: {:?}\n{}",
            self.failures.len(),
            self.runs,
            self.found_by,
            shown.join("\n")
        );
    }
}

/// Plays one scenario and judges it.
pub fn judge(scenario: &Scenario, crash_at: Option<u64>) -> (Outcome, Option<Failure>) {
    let outcome = play(scenario, crash_at);
    let faults = check::faults(&outcome);
    let failure = (!faults.is_empty()).then(|| Failure {
        seed: scenario.seed,
        crash_at,
        faults,
        trace: outcome.trace.iter().map(ToString::to_string).collect(),
    });
    (outcome, failure)
}

/// Plays every scenario without a crash and, if `crashing`, once for each of its effects with a crash there. With a bug
/// planted it stops at the first failure of each seed.
pub fn campaign(scenarios: &[Scenario], crashing: bool, mutant: Option<Mutant>) -> Summary {
    let next = AtomicUsize::new(0);
    let enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary { seeds: scenarios.len(), ..Summary::default() });
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(scenarios.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                plant(mutant);
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if enough.load(Ordering::Relaxed) {
                        break;
                    }
                    let found = play_all(scenario, crashing, mutant.is_some(), &summary);
                    if found && mutant.is_some() {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
                plant(None);
            });
        }
    });
    summary.into_inner().expect("no run panics while it writes its result")
}

/// One scenario with all of its crashes. Returns whether something was found.
fn play_all(scenario: &Scenario, crashing: bool, stop_at_first: bool, summary: &Mutex<Summary>) -> bool {
    let (outcome, failure) = judge(scenario, None);
    let mut found = note(summary, failure);
    let effects = if crashing { outcome.effects } else { 0 };
    drop(outcome);
    for effect in 1..=effects {
        if found && stop_at_first {
            break;
        }
        let (_, failure) = judge(scenario, Some(effect));
        found |= note(summary, failure);
    }
    found
}

fn note(summary: &Mutex<Summary>, failure: Option<Failure>) -> bool {
    let mut summary = summary.lock().expect("no run panics while it writes its result");
    summary.runs += 1;
    let Some(failure) = failure else { return false };
    let mut checks: Vec<&'static str> = failure.faults.iter().map(|fault| fault.check).collect();
    checks.dedup();
    for check in checks {
        *summary.found_by.entry(check).or_default() += 1;
    }
    if summary.failures.len() < 5 {
        summary.failures.push(failure);
    } else {
        // Counted by its checks; its trace would only fill the memory.
        summary.failures.push(Failure { trace: Vec::new(), ..failure });
    }
    true
}
