//! `appliance reset`: does what a file on the card asks for before the gateway starts: forget everything, or become what the
//! farthest backup on a stick holds.
//!
//! Invariant: a file is obeyed once: it is renamed with what came of it inside, and until it is, the gateway has not started. Nothing
//! is forgotten for a restore whose backup was not read through and found whole.

use super::Place;
use super::stick::backups;
use crate::commands::ask::{Asker, Home};
use crate::commands::backup::{DATABASE, Manifest};
use crate::commands::{EXIT_FAILED, restore, status};
use crate::configuration::{self, MANUAL, OF_NEW_CARD};
use crate::platform::mounted::while_writable;
use crate::platform::network::pause;
use crate::platform::privileged::below;
use crate::platform::replace::replace;
use crate::platform::stick::{Stick, partitions};
use crate::store::backup;
use gateway_core::appliance::layout;
use gateway_core::appliance::orders::{self, BACKUPS, Kept, RESET, RESTORE, Restore};
use gateway_core::appliance::pushed::FORMER;
use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So long a stick with a backup is waited for.
const STICK_SECONDS_MAX: u64 = 60;
/// What of the box's identity stays when everything is forgotten: which half of the card is started and how the last update went.
const OF_UPDATES: [&str; 3] = [layout::BOOT_SLOTS, layout::JOURNAL, "rauc"];
/// What the gateway's own files in its state folder are called, or begin with. Nothing else there is touched.
const OWN_NAMES: [&str; 11] = [
    "events.db",
    "last-good.",
    "settings-of-backup.yaml",
    "before-restore-",
    "restoring",
    "sessions.json",
    "pairing-code",
    "control.sock",
    "diagnostics",
    "gate",
    "pushed",
];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder that stands for the stick
    #[arg(long, value_name = "DIR", hide = true)]
    stick: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Exit status 0 also if nothing was asked for; 1 if an order could not be carried out: the gateway starts as it was.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let [reset, restore] = [RESET, RESTORE].map(|name| order(&args.place, name));
    // Held until the end, so that it is the same stick that is looked at and restored from.
    let found = restore.as_ref().map(|(_, text)| orders::restore(text).and_then(|order| find(args, order)));
    let missing = found.as_ref().and_then(|found| found.as_ref().err());
    let mut answers = Vec::new();
    if let Some((path, text)) = &reset {
        let done = match missing {
            Some(why) => Err(format!("nothing was forgotten, because the restore beside it cannot be done: {why}")),
            None => forget(args, text),
        };
        answers.push((path, done));
    }
    if let (Some((path, _)), Some(found)) = (&restore, found) {
        answers.push((path, found.and_then(|found| become_backup(args, &found))));
    }
    let mut status = 0;
    for (path, done) in answers {
        let _ = match &done {
            Ok(said) => writeln!(out, "{said}"),
            Err(said) => writeln!(err, "{said}"),
        };
        if done.is_err() {
            status = EXIT_FAILED;
        }
        if let Err(error) = on_card(&args.place, || answered(path, &done).map_err(|error| error.to_string())) {
            let _ = writeln!(err, "{} cannot be renamed: {error}; remove it, or it is obeyed again", path.display());
            status = EXIT_FAILED;
        }
    }
    status
}

/// Does this while the card can be written.
fn on_card<T>(place: &Place, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let note = below(&place.root, layout::SAYS).join(layout::CARD_OPEN);
    while_writable(&below(&place.root, layout::BOOT), &note, work)
}

/// The order with this name and its text; also as an editor that hides endings has saved it.
fn order(place: &Place, name: &str) -> Option<(PathBuf, String)> {
    let card = below(&place.root, layout::BOOT);
    let path = [card.join(name), card.join(format!("{name}.txt"))].into_iter().find(|path| path.exists())?;
    let text = configuration::text_of(&path).unwrap_or_default();
    Some((path, text))
}

/// `factory-reset.txt` becomes `factory-reset.done.txt` or `factory-reset.refused.txt`.
fn answered(order: &Path, done: &Result<String, String>) -> io::Result<()> {
    let name = order.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.split('.').next().unwrap_or_default();
    let word = if done.is_ok() { "done" } else { "refused" };
    let (Ok(said) | Err(said)) = done;
    let text = format!("{}\r\n", said.replace('\n', "\r\n"));
    replace(&order.with_file_name(format!("{stem}.{word}.txt")), text.as_bytes(), 0o644)?;
    if order.is_dir() {
        fs::remove_dir(order)?
    } else {
        fs::remove_file(order)?
    }
    fs::File::open(order.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn forget(args: &Args, text: &str) -> Result<String, String> {
    let source = args.place.source();
    let running = configuration::load_for_root(&source, &super::settings::kept(&args.place.root)).ok();
    let config = running.as_ref().map(|running| &running.loaded.config);
    let folder = state_dir(args);
    let database = folder.join(DATABASE);
    let home = Home { config: source.file.clone(), state_dir: source.state_dir.clone() };
    let had_events = database.exists();
    let undelivered = match had_events {
        false => Some(0),
        true => status::asked(&Asker { home, json: false }).ok().map(|(overview, _, _)| {
            overview.destinations.iter().map(|destination| destination.waiting).max().unwrap_or(0)
        }),
    };
    orders::may_reset(text, config.map(|config| config.gateway.id.as_str()), undelivered)?;
    let _lock = if folder.is_dir() { Some(backup::hold(&database).map_err(|error| error.to_string())?) } else { None };
    let ours = |name: &str| OWN_NAMES.iter().any(|own| name.starts_with(own));
    remove(&folder, &ours).map_err(|error| format!("{} cannot be emptied: {error}", folder.display()))?;
    // Its folders stay: the system has some of them open, and mounted elsewhere.
    let system = below(&args.place.root, layout::SYSTEM);
    let ours = |name: &str| !OF_UPDATES.contains(&name);
    empty(&system, &ours).map_err(|error| format!("{} cannot be emptied: {error}", system.display()))?;
    let former = below(&args.place.root, layout::BOOT).join(FORMER);
    if former.exists() {
        on_card(&args.place, || fs::remove_file(&former).map_err(|error| format!("{}: {error}", former.display())))?;
    }
    let forgotten = match had_events {
        true => "This box has forgotten everything: events, people, tokens, its identity.".to_owned(),
        false => format!(
            "There was no database in {}: nothing was there, so no event was forgotten. If this box has its events in another \
             folder (gateway.state_dir), they are still there. Its identity is forgotten.",
            folder.display()
        ),
    };
    Ok(format!(
        "{forgotten} The settings file on the card is as it was. What was on the card may still be found by those who know \
         how: destroy a card that leaves the house."
    ))
}

/// Where this box has its events. The settings may be broken or gone.
fn state_dir(args: &Args) -> PathBuf {
    let source = args.place.source();
    let running = || configuration::load_for_root(&source, &super::settings::kept(&args.place.root)).ok();
    let named = source.state_dir.clone().or_else(|| running().map(|running| running.loaded.config.gateway.state_dir));
    named.unwrap_or_else(|| PathBuf::from("/var/lib/analyzer-gateway"))
}

/// Removes what has such a name, with all that is in it.
fn remove(folder: &Path, ours: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let Some(entries) = entries(folder)? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            _ if !ours(&entry.file_name().to_string_lossy()) => {}
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    fs::File::open(folder)?.sync_all()
}

/// Removes the files with such a name here and whatever is in the folders with such a name; the folders stay.
fn empty(folder: &Path, ours: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let Some(entries) = entries(folder)? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            _ if !ours(&entry.file_name().to_string_lossy()) => {}
            true => empty(&entry.path(), &|_| true)?,
            false => fs::remove_file(entry.path())?,
        }
    }
    fs::File::open(folder)?.sync_all()
}

fn entries(folder: &Path) -> io::Result<Option<fs::ReadDir>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        entries => entries.map(Some),
    }
}

/// A whole backup on a stick that stays mounted.
struct Found {
    stick: Stick,
    kept: Kept,
    order: Restore,
    /// Those that reach farther and cannot be used.
    damaged: Vec<String>,
}

/// The farthest whole backup of the first stick that has one.
fn find(args: &Args, order: Restore) -> Result<Found, String> {
    let mut why = None;
    let is_read = Cell::new(false);
    let mut look = |stick: Stick| {
        let folder = stick.folder().join(BACKUPS);
        let there = backups(&folder);
        let chosen = match orders::newest(&there, order.gateway.as_deref()) {
            Ok(kept) => {
                is_read.set(true);
                farthest_whole(args, &folder, &there, &kept.gateway)
            }
            Err(error) => Err(error),
        };
        match chosen {
            Ok((kept, manifest, damaged)) => Some((stick, kept, manifest, damaged)),
            // What a stick with backups says counts for more than that another one has none.
            Err(error) => {
                if !there.is_empty() || why.is_none() {
                    why = Some(error);
                }
                None
            }
        }
    };
    let mut unread = None;
    let found = match &args.stick {
        Some(folder) => look(Stick::folder_instead(folder)),
        None => {
            // A stick that was in when the power came is found by the kernel some seconds after this has begun.
            let mut patience = if args.place.root == Path::new("/") { STICK_SECONDS_MAX } else { 0 };
            loop {
                let mounted = |device: &PathBuf| Stick::mount(device).map_err(|error| unread = Some(error)).ok();
                let found = partitions(&args.place.root).iter().filter_map(mounted).find_map(&mut look);
                // What was read through once is not whole a second later.
                if found.is_some() || patience == 0 || is_read.get() {
                    break found;
                }
                patience -= 1;
                pause(Duration::from_secs(1));
            }
        }
    };
    let Some((stick, kept, manifest, damaged)) = found else {
        return Err(why
            .or(unread)
            .unwrap_or_else(|| format!("no stick is plugged in; then write {RESTORE} once more")));
    };
    belongs(args, &order, &manifest)?;
    Ok(Found { stick, kept, order, damaged })
}

/// The farthest backup of this gateway that reads through, what it says of itself, and the names of those that reach farther and
/// are damaged.
fn farthest_whole(
    args: &Args,
    folder: &Path,
    there: &[Kept],
    gateway: &str,
) -> Result<(Kept, Manifest, Vec<String>), String> {
    let into = state_dir(args);
    let (mut left, mut damaged, mut first) = (there.to_vec(), Vec::new(), None);
    while let Ok(kept) = orders::newest(&left, Some(gateway)).cloned() {
        match restore::whole(&folder.join(&kept.name), &into) {
            Ok(manifest) => return Ok((kept, manifest, damaged)),
            Err(failed) if failed.status == EXIT_FAILED => {
                first.get_or_insert(failed.text);
                left.retain(|other| other.name != kept.name);
                damaged.push(kept.name);
            }
            Err(failed) => return Err(format!("{} cannot be looked through: {}", kept.name, failed.text)),
        }
    }
    Err(format!(
        "every backup of {gateway} on this stick is damaged ({}): it was pulled too early, or is worn out. Plug in another stick \
         with a backup of {gateway} and write {RESTORE} once more. If there is none, keep this stick and the old card: somebody \
         may still read what is on them. For the technician: {}",
        damaged.join(", "),
        first.unwrap_or_default()
    ))
}

/// Settings of one box and events of another belong together only if somebody says so.
fn belongs(args: &Args, order: &Restore, kept: &Manifest) -> Result<(), String> {
    let own = (!is_of_new_card(args)).then(|| configuration::load(&args.place.source()).ok()).flatten();
    let own = own.map(|loaded| loaded.config.gateway.id);
    match (order.as_another, own) {
        (false, Some(own)) if own != kept.gateway => Err(format!(
            "gateway.yaml on the card calls this box {own}, and the backup is of {}: write that name into it, or remove the \
             file (then the backup's settings are taken), or write new into {RESTORE}",
            kept.gateway
        )),
        (true, Some(own)) if own == kept.gateway => Err(format!(
            "gateway.yaml on the card calls this box {own} like the one that goes on: give this one another gateway.id"
        )),
        (true, None) => Err(format!(
            "this box needs settings of its own before it can stand beside {}: write gateway.yaml with another gateway.id",
            kept.gateway
        )),
        (false, None) if !kept.secrets => Err(format!(
            "the backup of {0} holds no secrets, so it cannot bring its settings: write the old gateway.yaml, with gateway.id: \
             {0}, onto the card, then {RESTORE} once more. Nothing was changed",
            kept.gateway
        )),
        _ => Ok(()),
    }
}

fn become_backup(args: &Args, found: &Found) -> Result<String, String> {
    let file = found.stick.folder().join(BACKUPS).join(&found.kept.name);
    let folder = state_dir(args);
    let source = configuration::Source { state_dir: Some(folder.clone()), ..args.place.source() };
    // A box that was switched on without its stick has noted that, and nothing else.
    let unused = backup::check(&folder.join(DATABASE)).is_ok_and(|own| own.heard == 0);
    let said = restore::into(&file, &source, found.order.as_another, unused).map_err(|failed| match unused {
        false if folder.join(DATABASE).exists() => format!(
            "this box has events of its own. To give them up for the backup, put a {RESET} there too, beside {RESTORE}"
        ),
        _ => failed.text,
    })?;
    let mut lines = vec![format!("{}: {said}", found.kept.name)];
    if !found.damaged.is_empty() {
        lines.push(format!(
            "Newer on the stick, but damaged: {}. So this older backup was taken; what the box received after it is not here.",
            found.damaged.join(", ")
        ));
    }
    lines.extend(settings_onto_card(args, &folder));
    Ok(lines.join("\n"))
}

/// Whether nobody has written settings for this box yet.
fn is_of_new_card(args: &Args) -> bool {
    let own = configuration::text_of(&below(&args.place.root, layout::BOOT).join(layout::SETTINGS)).unwrap_or_default();
    let own = own.replace('\r', "");
    own.trim().is_empty() || own == MANUAL || own == OF_NEW_CARD
}

/// A card that has no settings of its own gets those of the backup.
fn settings_onto_card(args: &Args, state_dir: &Path) -> Option<String> {
    if !is_of_new_card(args) {
        return Some("The settings file on the card is this box's own and stays.".to_owned());
    }
    let card = below(&args.place.root, layout::BOOT).join(layout::SETTINGS);
    let own = configuration::as_own(&fs::read_to_string(state_dir.join("last-good.yaml")).ok()?);
    let written = on_card(&args.place, || replace(&card, own.as_bytes(), 0o640).map_err(|error| error.to_string()));
    Some(match written {
        Ok(()) => "The settings of the backup, with their secrets, are the card's gateway.yaml now.".to_owned(),
        Err(error) => format!("The settings of the backup are in force; the card could not be given them: {error}"),
    })
}
