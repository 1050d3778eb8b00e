//! `appliance reset`: does what a file on the card asks for before the gateway starts: forget everything, or become what the
//! farthest backup on a stick holds.
//!
//! Invariant: a file is obeyed once: it is renamed with what came of it inside, and until it is, the gateway has not started. Nothing
//! is forgotten for a restore whose backup is not there.

use super::Place;
use super::stick::backups;
use crate::commands::ask::{Asker, Home};
use crate::commands::backup::DATABASE;
use crate::commands::{EXIT_FAILED, restore, status};
use crate::configuration::{self, MANUAL, OF_NEW_CARD};
use crate::platform::mounted::while_writable;
use crate::platform::privileged::below;
use crate::platform::replace::replace;
use crate::platform::stick::{Stick, partitions};
use crate::store::backup;
use gateway_core::appliance::layout;
use gateway_core::appliance::orders::{self, BACKUPS, Kept, RESET, RESTORE, Restore};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What of the box's identity stays when everything is forgotten: which half of the card is started and how the last update went.
const OF_UPDATES: [&str; 3] = [layout::BOOT_SLOTS, layout::JOURNAL, "rauc"];
/// What the gateway's own files in its state folder are called, or begin with. Nothing else there is touched.
const OWN_NAMES: [&str; 11] = [
    "events.db",
    "last-good.yaml",
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
    let undelivered = match database.exists() {
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
    Ok("This box has forgotten everything: events, people, tokens, its identity. The settings file on the card is as it was. \
        What was on the card may still be found by those who know how: destroy a card that leaves the house."
        .to_owned())
}

/// Where this box has its events. The settings may be broken or gone.
fn state_dir(args: &Args) -> PathBuf {
    let source = args.place.source();
    let named = source
        .state_dir
        .clone()
        .or_else(|| configuration::load_for_run(&source).ok().map(|running| running.loaded.config.gateway.state_dir));
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

/// A backup on a stick that stays mounted.
struct Found {
    stick: Stick,
    kept: Kept,
    order: Restore,
}

/// The farthest backup of the first stick that has one.
fn find(args: &Args, order: Restore) -> Result<Found, String> {
    let mut why = None;
    let mut look = |stick: Stick| {
        let there = backups(&stick.folder().join(BACKUPS));
        match orders::newest(&there, order.gateway.as_deref()) {
            Ok(kept) => Some((stick, kept.clone())),
            // What a stick with backups says counts for more than that another one has none.
            Err(error) => {
                if !there.is_empty() || why.is_none() {
                    why = Some(error);
                }
                None
            }
        }
    };
    let found = match &args.stick {
        Some(folder) => look(Stick::folder_instead(folder)),
        None => partitions(&args.place.root).iter().filter_map(|device| Stick::mount(device).ok()).find_map(look),
    };
    let Some((stick, kept)) = found else {
        return Err(why.unwrap_or_else(|| format!("no stick is plugged in; then write {RESTORE} once more")));
    };
    same_name(args, &order, &kept)?;
    Ok(Found { stick, kept, order })
}

/// Settings of one box and events of another belong together only if somebody says so.
fn same_name(args: &Args, order: &Restore, kept: &Kept) -> Result<(), String> {
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
    let put = if found.order.as_another { None } else { settings_onto_card(args, &folder) };
    Ok([Some(format!("{}: {said}", found.kept.name)), put].into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

/// Whether nobody has written settings for this box yet.
fn is_of_new_card(args: &Args) -> bool {
    let own = configuration::text_of(&below(&args.place.root, layout::BOOT).join("gateway.yaml")).unwrap_or_default();
    let own = own.replace('\r', "");
    own.trim().is_empty() || own == MANUAL || own == OF_NEW_CARD
}

/// A card that has no settings of its own gets those of the backup.
fn settings_onto_card(args: &Args, state_dir: &Path) -> Option<String> {
    if !is_of_new_card(args) {
        return Some("The settings file on the card is this box's own and stays.".to_owned());
    }
    let card = below(&args.place.root, layout::BOOT).join("gateway.yaml");
    let kept = fs::read_to_string(state_dir.join("last-good.yaml")).ok()?;
    let written = on_card(&args.place, || replace(&card, kept.as_bytes(), 0o640).map_err(|error| error.to_string()));
    Some(match written {
        Ok(()) => "The settings of the backup, with their secrets, are the card's gateway.yaml now.".to_owned(),
        Err(error) => format!("The settings of the backup are in force; the card could not be given them: {error}"),
    })
}
