//! `appliance update`: carries out what `requests/update.json` asks for. RAUC checks, writes and switches; this decides whether and
//! when, and says it.
//!
//! Invariants: nothing is installed, and the box is not started anew, while a test runs. What fails leaves the system as it is.
//! What is asked for comes from the gateway's user, so it is looked at as if a stranger had written it.

use super::journal::Bench;
use super::{EXIT_FAILED, Place};
use crate::platform::fetch::Fetch;
use crate::platform::privileged::{below, read, system, watched};
use crate::platform::stick;
use gateway_core::appliance::autoboot::Slot;
use gateway_core::appliance::update::{Action, Asked, Bundle, SUFFIX, Source, percent, why};
use gateway_core::appliance::{UpdatePhase, layout};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Larger than any system for a card.
const BUNDLE_BYTES_MAX: u64 = 2 << 30;
/// More than a signature and its manifest have: they stand at a bundle's end.
const END_BYTES: u64 = 128 << 10;
/// What stays free on the disk of the events.
const SPARE_BYTES: u64 = 64 << 20;
/// Between two looks at running tests.
const LOOK_SECONDS: u64 = 5;
/// A test that runs for longer is none.
const TEST_HOURS_MAX: u64 = 12;
/// Who asks where nobody does.
const BY_ITSELF: &str = "by itself";
const CONFIGURATION: &str = "/etc/rauc/system.conf";

/// Why nothing was installed.
enum Not {
    /// There is nothing to do.
    Needed(String),
    Done(String),
}

impl From<String> for Not {
    fn from(reason: String) -> Not {
        Not::Done(reason)
    }
}

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

/// A bundle that was found.
enum Found {
    Here(PathBuf),
    OnStick(stick::OnStick),
    /// Only its end is here.
    There(Box<Fetch>, crate::platform::fetch::Offer, PathBuf),
}

impl Found {
    fn path(&self) -> &Path {
        match self {
            Found::Here(path) | Found::There(_, _, path) => path,
            Found::OnStick(found) => &found.path,
        }
    }
}

fn find(bench: &Bench, asked: &Asked) -> Result<Found, String> {
    match Source::read(asked.source.as_deref().unwrap_or_default())? {
        Source::Path(path) => Ok(Found::Here(below(&bench.root, &path))),
        Source::Usb => stick::find(&bench.root, SUFFIX).map(Found::OnStick),
        Source::Url(url) => {
            let fetch = Fetch::new(&url, asked.proxy.as_deref(), BUNDLE_BYTES_MAX)?;
            let folder = below(&bench.root, layout::DOWNLOADS);
            fs::create_dir_all(&folder).map_err(|error| why(&format!("{}: {error}", folder.display())))?;
            let path = folder.join("end.raucb");
            let offer = runtime()?.block_on(async {
                let offer = fetch.offer().await?;
                if offer.in_parts {
                    fetch.end_of(&offer, END_BYTES, &path).await?;
                }
                Ok::<_, String>(offer)
            })?;
            let found = Found::There(Box::new(fetch), offer, path);
            match &found {
                // A server that gives no parts gives all.
                Found::There(_, offer, _) if !offer.in_parts => fetched_silently(bench, found),
                _ => Ok(found),
            }
        }
    }
}

/// Which version it is, if it may be installed here.
fn judge(bench: &Bench, asked: &Asked, found: &Found) -> Result<String, Not> {
    let path = found.path().display().to_string();
    let configuration = format!("--conf={}", below(&bench.root, CONFIGURATION).display());
    let told = system("rauc", &[&configuration, "info", "--output-format=json", &path]);
    let bundle = Bundle::read(&told.map_err(|words| why(&words))?)?;
    let version = bundle.version.clone().unwrap_or_default();
    let refusal = bundle.refusal(&bench.image, asked.older);
    let by_itself = asked.by == BY_ITSELF;
    match refusal {
        None if by_itself && bench.journal.bad.as_ref() == Some(&version) => {
            Err(Not::Needed(format!("version {version} did not prove itself here before: install it by hand")))
        }
        None => Ok(version),
        Some(reason) if bundle.compatible == bench.image.compatible && !version.is_empty() => Err(Not::Needed(reason)),
        Some(reason) => Err(Not::Done(reason)),
    }
}

/// All of it, here.
fn fetched(bench: &mut Bench, found: Found) -> Result<Found, Not> {
    if let Found::There(..) = found {
        bench.step(UpdatePhase::Fetching, "")?;
    }
    let found = fetched_silently(bench, found)?;
    Ok(found)
}

fn fetched_silently(bench: &Bench, found: Found) -> Result<Found, String> {
    let Found::There(fetch, offer, end) = found else { return Ok(found) };
    let folder = below(&bench.root, layout::DOWNLOADS);
    let path = folder.join("bundle.raucb");
    let had = fs::metadata(&path).map_or(0, |data| data.len());
    let disk = rustix::fs::statvfs(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (free, wanted) = (disk.f_bavail * disk.f_frsize, offer.bytes.saturating_sub(had) + SPARE_BYTES);
    if free < wanted {
        let (free, wanted) = (free >> 20, wanted >> 20);
        let reason = "bring the update on a stick, or free space (retention, limits.store_bytes_max)";
        return Err(format!("/data has {free} MiB free and the update needs {wanted}: {reason}"));
    }
    let _ = fs::remove_file(end);
    let mut telling = bench.journal.update.clone();
    let mut progress = |percent: u8| {
        if telling.phase == UpdatePhase::Fetching && telling.percent != Some(percent) {
            telling.percent = Some(percent);
            let _ = crate::platform::privileged::say(&bench.root, "update", &telling);
        }
    };
    runtime()?.block_on(fetch.all(&offer, &path, &mut progress))?;
    Ok(Found::Here(path))
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

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start: {error}"))
}
