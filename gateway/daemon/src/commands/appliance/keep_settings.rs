//! `appliance keep-settings`: puts settings that were pushed and confirmed onto the card, in place of those that were there.
//!
//! Invariants: what is asked for comes from the gateway's user, so it is looked at as if a stranger had written it; nothing but
//! settings that are good gets onto the card, and no file that a person has edited since is overwritten. At every moment a power
//! cut leaves the new file or the former one, or the next start writes the new one again before anybody reads it.

use super::EXIT_FAILED;
use super::card::{in_words, mount_in_words};
use super::settings::{kept, not_read_by_root, source};
use crate::configuration::{self, Source};
use crate::platform::Clock;
use crate::platform::alone::alone;
use crate::platform::clock::SystemClock;
use crate::platform::mounted::while_writable;
use crate::platform::privileged::{below, plain, say};
use crate::platform::replace::{beside, replace};
use crate::platform::told::take;
use gateway_core::appliance::layout;
use gateway_core::appliance::pushed::{
    ASKED_BYTES_MAX, AfterCut, Answer, Asked, FORMER, ID_BYTES_MAX, Refusal, SETTINGS_BYTES_MAX, UnderWay, after_cut,
    fingerprint, moved, only_on_the_card,
};
use rustix::fs::CWD;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In [`layout::SAYS`]: one of these programs at a time.
const LOCK: &str = "pushed.lock";
/// Another one is done within this.
const TURN_SECONDS_MAX: u64 = 10;
/// As many mistakes are told; the gateway has found none, so there are none but by an accident.
const MISTAKES_MAX: usize = 3;
/// For root alone: settings hold secrets.
const PRIVATE: u32 = 0o600;

/// Exit status 0 if they stand on the card or nothing was asked for, 1 if not; why stands in the answer.
pub fn run(root: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = in_turn(root).and_then(|_turn| {
        // What is asked for now is taken whatever became of the settings before.
        let finished = finish(root, out);
        answer(root, out).and(finished)
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            EXIT_FAILED
        }
    }
}

fn in_turn(root: &Path) -> Result<fs::File, String> {
    let lock = below(root, layout::SAYS).join(LOCK);
    let turn = alone(&lock, Duration::from_secs(TURN_SECONDS_MAX));
    turn.map_err(|error| format!("{}: {error}", lock.display()))?
        .ok_or_else(|| format!("another program has held {} for {TURN_SECONDS_MAX} seconds", lock.display()))
}

/// Takes what is asked for away, does it and says what became of it.
fn answer(root: &Path, out: &mut dyn Write) -> Result<(), String> {
    let name = format!("{}/{}/{}", layout::TOLD, layout::ASKED, layout::ASKED_SETTINGS);
    let bytes = match take(root, layout::ASKED_SETTINGS, ASKED_BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        taken => taken.map_err(|error| format!("{name}: {error}"))?,
    };
    let asked: Asked = serde_json::from_slice(&bytes).map_err(|_| format!("{name} cannot be read"))?;
    if asked.id.is_empty()
        || asked.id.len() > ID_BYTES_MAX
        || !asked.id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(format!("{name} has no name that could be answered"));
    }
    let done = keep(root, &asked);
    let at = SystemClock::new().now().wall;
    let told = Answer { id: asked.id, refused: done.as_ref().err().cloned(), at };
    say(root, layout::PUSHED, &told).map_err(|error| format!("{}: {error}", layout::SAYS))?;
    match done {
        Ok(()) => {
            let _ = writeln!(out, "settings that were pushed are the card's {} now", layout::SETTINGS);
            Ok(())
        }
        Err(refusal) => Err(format!("pushed settings are not kept ({}): {}", refusal.code, refusal.reason)),
    }
}

fn keep(root: &Path, asked: &Asked) -> Result<(), Refusal> {
    if !below(root, layout::IMAGE).exists() {
        return Err(Refusal::new("no_appliance", "this is no appliance: its settings file is somebody else's"));
    }
    if asked.settings.len() > SETTINGS_BYTES_MAX {
        return Err(Refusal::new("mistakes", "they are larger than 1 MiB"));
    }
    let file = file(root);
    let former = there(&file).map_err(|error| Refusal::new("not_writable", error))?;
    if former.as_deref().map(fingerprint) != asked.replaces {
        return Err(Refusal::changed());
    }
    check(root, &asked.settings)?;
    // From here on a power cut is mended by the next start.
    let under_way = UnderWay { settings: asked.settings.clone(), replaces: asked.replaces.clone() };
    note(root, &under_way)
        .map_err(|error| Refusal::new("not_writable", format!("{} cannot be written: {error}", layout::SYSTEM)))?;
    let written = write(root, &asked.settings, former.as_deref());
    // Written, and the card could not be closed again: `card` tells of that.
    let is_there = there(&file).is_ok_and(|there| there.as_deref() == Some(asked.settings.as_bytes()));
    let forgotten = forget(root).map_err(|error| format!("{}: {error}", layout::SYSTEM));
    // A note that stays does no harm: the next start finds the new ones.
    if is_there {
        return Ok(());
    }
    written.and(forgotten).map_err(|reason| Refusal::new("not_writable", reason))
}

/// As `check` does it. Where events are stored does not move: other programs of root's look there. Nor does what decides whether the
/// box can be reached: it would be put in force only after the confirmation.
fn check(root: &Path, settings: &str) -> Result<(), Refusal> {
    let source = Source { state_dir: None, ..source(root) };
    let loaded = configuration::check_text(&source, &file(root), settings).map_err(|mut failure| {
        failure.mistakes.truncate(MISTAKES_MAX);
        Refusal::new("mistakes", failure.to_string())
    })?;
    if let Some(strange) = not_read_by_root(root, &loaded).into_iter().next() {
        return Err(Refusal::new("mistakes", strange));
    }
    let now = configuration::load_for_root(&source, &kept(root)).ok().map(|now| now.loaded.config);
    if let Some(section) = moved(now.as_ref(), &loaded.config) {
        return Err(Refusal::new("mistakes", only_on_the_card(section)));
    }
    let state_dir = now.map(|now| now.gateway.state_dir).unwrap_or_default();
    if !state_dir.as_os_str().is_empty() && loaded.config.gateway.state_dir != state_dir {
        return Err(Refusal::new("mistakes", "`gateway.state_dir` cannot be pushed: leave it as it is"));
    }
    Ok(())
}

fn file(root: &Path) -> PathBuf {
    below(root, layout::BOOT).join(layout::SETTINGS)
}

/// What stands on the card; `None`: there is none. The error is a sentence.
fn there(file: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be looked at: {error}", file.display())),
        Ok(_) => plain(CWD, file, SETTINGS_BYTES_MAX as u64)
            .map(Some)
            .ok_or_else(|| format!("{} is no plain file of a fair size: remove it", file.display())),
    }
}

/// Does this while the card can be written. The error is a sentence.
fn on_card(root: &Path, work: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    let note = below(root, layout::SAYS).join(layout::CARD_OPEN);
    while_writable(&below(root, layout::BOOT), &note, || work().map_err(|error| in_words(&error)))
        .map_err(|reason| mount_in_words(&reason))
}

/// Puts them onto the card, and the former ones beside them.
fn write(root: &Path, settings: &str, former: Option<&[u8]>) -> Result<(), String> {
    let boot = below(root, layout::BOOT);
    on_card(root, || {
        former.map_or(Ok(()), |former| replace(&boot.join(FORMER), former, 0o640))?;
        replace(&boot.join(layout::SETTINGS), settings.as_bytes(), 0o640)
    })
}

/// Takes away the halves of files that a power cut has left on the card.
fn sweep(root: &Path) -> Result<(), String> {
    let boot = below(root, layout::BOOT);
    let halves = [FORMER, layout::SETTINGS].map(|name| beside(&boot.join(name)));
    let halves: Vec<PathBuf> = halves.into_iter().flatten().filter(|half| half.exists()).collect();
    if halves.is_empty() {
        return Ok(());
    }
    on_card(root, || halves.iter().try_for_each(fs::remove_file))
}

fn note(root: &Path, under_way: &UnderWay) -> io::Result<()> {
    let folder = below(root, layout::SYSTEM);
    fs::create_dir_all(&folder)?;
    replace(&folder.join(layout::SETTINGS_UNDER_WAY), &serde_json::to_vec(under_way)?, PRIVATE)
}

fn forget(root: &Path) -> io::Result<()> {
    let folder = below(root, layout::SYSTEM);
    fs::remove_file(folder.join(layout::SETTINGS_UNDER_WAY))?;
    fs::File::open(folder)?.sync_all()
}

/// Ends what a power cut has interrupted.
fn finish(root: &Path, out: &mut dyn Write) -> Result<(), String> {
    let path = below(root, layout::SYSTEM).join(layout::SETTINGS_UNDER_WAY);
    let Some(bytes) = plain(CWD, &path, ASKED_BYTES_MAX) else { return Ok(()) };
    let file = file(root);
    if let Ok(under_way) = serde_json::from_slice::<UnderWay>(&bytes) {
        let there = there(&file).unwrap_or(None);
        // What a FAT has lost reads as zeros.
        let is_text = configuration::text_of(&file).is_some_and(|text| !text.contains('\0'));
        let found = after_cut(&under_way, there.as_deref(), is_text);
        let told = match found {
            AfterCut::New => "the power failed when settings were written: the new ones are on the card",
            AfterCut::Former => "the power failed when settings were written: the former ones are on the card",
            AfterCut::Edited => "somebody has edited the settings since the power failed: they stay",
            AfterCut::Torn => {
                // What somebody may have written stays beside them.
                let theirs = there.as_deref().filter(|bytes| bytes.iter().any(|byte| *byte != 0));
                write(root, &under_way.settings, theirs)?;
                "the power failed when settings were written: the new ones were written again"
            }
        };
        let _ = writeln!(out, "{told}");
    }
    sweep(root)?;
    forget(root).map_err(|error| format!("{}: {error}", path.display()))
}
