//! The gateway in a simulated clinic: determinism first, then a crash at every effect, then long runs with every fault, then
//! planted bugs, each of which must be caught.
//!
//! `SIM_SEED=n` plays one seed and prints its trace (with `SIM_EFFECT=n` with a crash there); `SIM_SEEDS=n` plays more seeds.

use gateway_core::mutants;
use gateway_tests::simulation::campaign::{Summary, campaign, judge};
use gateway_tests::simulation::run::play;
use gateway_tests::simulation::scenario::Scenario;
use std::time::{Duration, Instant};

/// Seeds whose every effect is crashed at.
const CRASHED_SEEDS: u64 = 20;
const LONG_SEEDS: u64 = 12;
/// Seeds with which a planted bug may be found.
const MUTANT_SEEDS: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds(usual: u64) -> std::ops::Range<u64> {
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(usual),
    }
}

/// Real time: the only thing here that is measured and not simulated.
#[allow(clippy::disallowed_methods)]
fn timed(work: impl FnOnce() -> Summary) -> (Summary, Duration) {
    let started = Instant::now();
    let summary = work();
    (summary, started.elapsed())
}

fn report(name: &str, summary: &Summary, took: Duration) {
    println!("{name}: {} seeds, {} runs in {:.1} s", summary.seeds, summary.runs, took.as_secs_f64());
}

#[test]
fn the_same_seed_twice_gives_the_same_trace_and_another_seed_another() {
    let mut traces = Vec::new();
    for seed in seeds(4) {
        for scenario in [Scenario::short(seed), Scenario::long(seed)] {
            let effects = play(&scenario, None).effects;
            for crash_at in [None, Some(effects / 2)] {
                let [one, two] = [play(&scenario, crash_at), play(&scenario, crash_at)].map(|outcome| outcome.trace);
                let differing = one.iter().zip(&two).find(|(one, two)| one != two);
                assert_eq!(differing, None, "seed {seed}, crash {crash_at:?}");
                assert_eq!(one.len(), two.len(), "seed {seed}, crash {crash_at:?}");
                traces.push(one);
            }
        }
    }
    let whole = traces.len();
    traces.sort_by_key(|trace| format!("{trace:?}"));
    traces.dedup();
    assert_eq!(traces.len(), whole, "different runs have different traces");
}

#[test]
fn a_crash_at_every_effect_breaks_no_promise() {
    if let Some(seed) = number("SIM_SEED") {
        let (outcome, failure) = judge(&Scenario::short(seed), number("SIM_EFFECT"));
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!("{} effects", outcome.effects);
        if let Some(failure) = failure {
            panic!("{failure}");
        }
        if number("SIM_EFFECT").is_some() {
            return;
        }
    }
    let scenarios: Vec<Scenario> = seeds(CRASHED_SEEDS).map(Scenario::short).collect();
    let (summary, took) = timed(|| campaign(&scenarios, true, None));
    report("crash at every effect", &summary, took);
    summary.expect_no_failure();
}

#[test]
fn hours_with_every_fault_break_no_promise() {
    let mut scenarios: Vec<Scenario> = seeds(LONG_SEEDS).map(Scenario::long).collect();
    scenarios.extend(seeds(2).map(Scenario::week));
    let (summary, took) = timed(|| campaign(&scenarios, false, None));
    report("long runs", &summary, took);
    summary.expect_no_failure();
}

#[test]
fn every_planted_bug_is_caught() {
    let scenarios: Vec<Scenario> = seeds(MUTANT_SEEDS).map(Scenario::short).collect();
    let mut survivors = Vec::new();
    for mutant in mutants::ALL {
        let (summary, took) = timed(|| campaign(&scenarios, true, Some(*mutant)));
        let checks: Vec<&str> = summary.found_by.keys().copied().collect();
        println!("{mutant:?}: {} runs, {:.1} s, caught by {}", summary.runs, took.as_secs_f64(), checks.join(", "));
        if summary.failures.is_empty() {
            survivors.push(*mutant);
        }
    }
    assert!(survivors.is_empty(), "nobody noticed {survivors:?}");
}
