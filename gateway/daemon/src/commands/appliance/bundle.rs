//! Where a bundle is, what RAUC says of it, and how it comes here.
//!
//! Invariant: nothing is fetched whole that may not be installed: a look at its end tells.

use super::journal::Bench;
use crate::platform::fetch::{Fetch, Offer};
use crate::platform::privileged::{below, say, system};
use crate::platform::stick;
use gateway_core::appliance::update::{Asked, BY_ITSELF, Bundle, SUFFIX, Source, why};
use gateway_core::appliance::{UpdatePhase, layout};
use std::fs;
use std::path::PathBuf;

/// Larger than any system for a card.
const BUNDLE_BYTES_MAX: u64 = 2 << 30;
/// More than a signature and its manifest have: they stand at a bundle's end.
const END_BYTES: u64 = 128 << 10;
/// What stays free on the disk of the events.
const SPARE_BYTES: u64 = 64 << 20;

/// Why nothing was installed.
pub(super) enum Not {
    /// There is nothing to do.
    Needed(String),
    Done(String),
}

impl From<String> for Not {
    fn from(reason: String) -> Not {
        Not::Done(reason)
    }
}

/// A bundle that was found.
pub(super) enum Found {
    Here(PathBuf),
    /// The stick stays mounted for as long as this lives.
    OnStick(stick::OnStick),
    /// Only its end is here.
    There(Box<Fetch>, Offer, PathBuf),
}

impl Found {
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Found::Here(path) | Found::There(_, _, path) => path.clone(),
            Found::OnStick(found) => found.path.clone(),
        }
    }
}

/// Looks it up where it is asked for. The error says what to do.
pub(super) fn find(bench: &Bench, asked: &Asked) -> Result<Found, String> {
    match Source::read(asked.source.as_deref().unwrap_or_default())? {
        Source::Path(path) => {
            let here = below(&bench.root, &path);
            // RAUC would wait for ever for what a pipe holds.
            match fs::metadata(&here) {
                Ok(kind) if !kind.is_file() => Err(format!("{path} is no file: write the path of a bundle")),
                _ => Ok(Found::Here(here)),
            }
        }
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
pub(super) fn judge(bench: &Bench, asked: &Asked, found: &Found) -> Result<String, Not> {
    let path = found.path().display().to_string();
    let configuration = format!("--conf={}", below(&bench.root, layout::RAUC_CONFIGURATION).display());
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
pub(super) fn fetched(bench: &mut Bench, found: Found) -> Result<Found, Not> {
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
            let _ = say(&bench.root, "update", &telling);
        }
    };
    runtime()?.block_on(fetch.all(&offer, &path, &mut progress))?;
    Ok(Found::Here(path))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start: {error}"))
}
