//! `doctor`: looks at everything that a support engineer would look at, and says for each finding what to do.
//!
//! Invariant: it changes nothing. It opens no port that a gateway holds, sends no event, and whatever cannot be looked at is said
//! to be skipped, with why.

mod appliance;
mod files;
mod network;
mod ports;
mod settings;
mod system;

use super::ask::{Asker, print_json};
use super::screen::{Paint, Tone, count};
use super::{EXIT_FAILED, plain};
use crate::configuration::{self, Source};
use gateway_core::config::Config;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Leave out what needs the network: names, connections, certificates of receivers
    #[arg(long)]
    offline: bool,
    /// Look under this folder instead of / for what belongs to the system
    #[arg(long, default_value = "/", hide = true)]
    root: PathBuf,
    #[command(flatten)]
    asker: Asker,
}

/// How one look went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
    Skipped,
}

/// What one look has found.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    /// What was looked at: a word for programs.
    check: &'static str,
    /// Which one of several: an analyzer, a destination, a file.
    subject: String,
    verdict: Verdict,
    /// What was seen, in a sentence.
    evidence: String,
    /// Where there is something to do.
    next_step: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, subject: impl Into<String>, evidence: impl Into<String>) -> Finding {
        let (subject, evidence) = (subject.into(), evidence.into());
        Finding { check, subject, verdict: Verdict::Ok, evidence, next_step: None }
    }

    fn skipped(check: &'static str, subject: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Skipped, ..Finding::ok(check, subject, why) }
    }

    fn warn(
        check: &'static str,
        subject: impl Into<String>,
        evidence: impl Into<String>,
        next: impl Into<String>,
    ) -> Finding {
        Finding { verdict: Verdict::Warn, next_step: Some(next.into()), ..Finding::ok(check, subject, evidence) }
    }

    fn fail(
        check: &'static str,
        subject: impl Into<String>,
        evidence: impl Into<String>,
        next: impl Into<String>,
    ) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::warn(check, subject, evidence, next) }
    }
}

/// What every look may need.
struct Patient {
    source: Source,
    /// The settings in force, or the defaults where there are none.
    config: Config,
    root: PathBuf,
    offline: bool,
    /// Whether a gateway holds the state folder.
    running: bool,
}

/// Exit status 0 if nothing needs a person, 1 if something does.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let source = args.asker.home.source();
    let (config, mut findings) = settings::look(&source);
    let running = files::is_held(&config);
    let patient = Patient { source, config, root: args.root, offline: args.offline, running };
    findings.extend(settings::secrets(&patient));
    findings.extend(files::look(&patient));
    findings.extend(ports::look(&patient));
    findings.extend(appliance::look(&patient));
    match super::ask::runtime() {
        Ok(runtime) => {
            findings.extend(runtime.block_on(system::look(&patient)));
            findings.extend(runtime.block_on(network::look(&patient)));
        }
        Err(failed) => return failed.tell(err),
    }
    // A closed pipe leaves nobody to tell.
    let _ = if args.asker.json { json(&findings, out) } else { show(&findings, Paint::of_terminal(), out) };
    let well = findings.iter().all(|finding| matches!(finding.verdict, Verdict::Ok | Verdict::Skipped));
    if well { 0 } else { EXIT_FAILED }
}

fn json(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let number = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    print_json(
        &serde_json::json!({
            "ok": number(Verdict::Ok), "warn": number(Verdict::Warn), "fail": number(Verdict::Fail),
            "skipped": number(Verdict::Skipped), "checks": findings,
        }),
        out,
    )
}

fn show(findings: &[Finding], paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let (tone, word) = match finding.verdict {
            Verdict::Ok => (Tone::Good, "ok     "),
            Verdict::Warn => (Tone::Warning, "warn   "),
            Verdict::Fail => (Tone::Bad, "FAIL   "),
            Verdict::Skipped => (Tone::Quiet, "skipped"),
        };
        let subject = if finding.subject.is_empty() { String::new() } else { format!("{}: ", finding.subject) };
        let text = plain(&format!("{subject}{}", finding.evidence));
        writeln!(out, "{} {:<14} {text}", paint.put(tone, word), finding.check)?;
        if let Some(next_step) = &finding.next_step {
            writeln!(out, "        -> {}", plain(next_step))?;
        }
    }
    let number = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (fail, warn) = (number(Verdict::Fail), number(Verdict::Warn));
    let verdict = match (fail, warn) {
        (0, 0) => paint.put(Tone::Good, "nothing is wrong"),
        (0, warn) => paint.put(Tone::Warning, &count(warn, "warning")),
        (fail, warn) => paint.put(Tone::Bad, &format!("{}, {}", count(fail, "fault"), count(warn, "warning"))),
    };
    writeln!(out, "{verdict}; {} left out", number(Verdict::Skipped))
}

/// The settings in force; the defaults if there are none.
fn in_force(source: &Source) -> Result<configuration::Running, configuration::Failure> {
    configuration::load_for_run(source)
}
