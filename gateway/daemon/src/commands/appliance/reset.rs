//! `appliance reset`: does what a file on the card asks for before the gateway starts: forget everything, or become what the
//! newest backup on a stick holds.
//!
//! Invariant: a file is obeyed once: it is renamed with what came of it inside, and until it is, the gateway has not started.

use super::Place;
use super::stick::names;
use crate::commands::ask::{Asker, Home};
use crate::commands::{EXIT_FAILED, restore, status};
use crate::configuration::{self, MANUAL};
use crate::platform::mounted::while_writable;
use crate::platform::privileged::below;
use crate::platform::replace::replace;
use crate::platform::stick::{Stick, partitions};
use gateway_core::appliance::layout;
use gateway_core::appliance::orders::{self, BACKUPS, RESET, RESTORE};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Nobody writes more into such a file.
const ORDER_BYTES_MAX: u64 = 4096;
/// What stays when everything is forgotten: what mkfs makes, and which half of the card is started.
const NOT_OURS: [&str; 2] = ["lost+found", layout::BOOT_SLOTS];

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
    let mut status = 0;
    let work: [(&str, Work); 2] = [(RESET, forget), (RESTORE, become_backup)];
    for (name, work) in work {
        let order = below(&args.place.root, layout::BOOT).join(name);
        let Some(text) = read(&order) else { continue };
        let done = work(args, &text);
        let _ = match &done {
            Ok(said) => writeln!(out, "{said}"),
            Err(said) => writeln!(err, "{said}"),
        };
        if done.is_err() {
            status = EXIT_FAILED;
        }
        if let Err(error) = on_card(&args.place, || answered(&order, &done).map_err(|error| error.to_string())) {
            let _ = writeln!(err, "{} cannot be renamed: {error}; remove it, or it is obeyed again", order.display());
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

type Work = fn(&Args, &str) -> Result<String, String>;

fn read(order: &Path) -> Option<String> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(order).ok()?.take(ORDER_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `factory-reset.txt` becomes `factory-reset.done.txt` or `factory-reset.refused.txt`.
fn answered(order: &Path, done: &Result<String, String>) -> io::Result<()> {
    let stem = order.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let word = if done.is_ok() { "done" } else { "refused" };
    let (Ok(said) | Err(said)) = done;
    replace(
        &order.with_file_name(format!("{stem}.{word}.txt")),
        format!("{}\r\n", said.replace('\n', "\r\n")).as_bytes(),
        0o644,
    )?;
    fs::remove_file(order)?;
    fs::File::open(order.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn forget(args: &Args, text: &str) -> Result<String, String> {
    let source = args.place.source();
    let running = configuration::load_for_run(&source).ok();
    let config = running.as_ref().map(|running| &running.loaded.config);
    let folder = match (&source.state_dir, config) {
        (Some(folder), _) => folder.clone(),
        (None, Some(config)) => config.gateway.state_dir.clone(),
        (None, None) => PathBuf::from("/var/lib/analyzer-gateway"),
    };
    let home = Home { config: source.file.clone(), state_dir: source.state_dir.clone() };
    let undelivered = match folder.join(crate::commands::backup::DATABASE).exists() {
        false => Some(0),
        true => status::asked(&Asker { home, json: false }).ok().map(|(overview, _, _)| {
            overview.destinations.iter().map(|destination| destination.waiting).max().unwrap_or(0)
        }),
    };
    orders::may_reset(text, config.map(|config| config.gateway.id.as_str()), undelivered)?;
    for folder in [folder, below(&args.place.root, layout::SYSTEM)] {
        empty(&folder).map_err(|error| format!("{} cannot be emptied: {error}", folder.display()))?;
    }
    Ok("This box has forgotten everything: events, people, tokens, its identity. The settings file on the card is as it was. \
        What was on the card may still be found by those who know how: destroy a card that leaves the house."
        .to_owned())
}

fn empty(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    fs::File::open(folder)?.sync_all()
}

fn become_backup(args: &Args, text: &str) -> Result<String, String> {
    let order = orders::restore(text)?;
    let sticks = match &args.stick {
        Some(folder) => vec![Stick::folder_instead(folder)],
        // One after the other: they are mounted in one place.
        None => {
            partitions(&args.place.root).iter().filter_map(|device| Stick::mount(device, false).ok()).take(1).collect()
        }
    };
    let folder = sticks.iter().map(|stick| stick.folder().join(BACKUPS)).find(|folder| folder.is_dir());
    let listed = folder.as_deref().map(names).unwrap_or_default();
    let name = orders::newest(&listed, order.gateway.as_deref())?;
    let file = folder.unwrap_or_default().join(name);
    let mut source = args.place.source();
    source.state_dir.get_or_insert_with(|| PathBuf::from("/var/lib/analyzer-gateway"));
    let said = restore::into_empty(&file, &source, order.as_another).map_err(|failed| {
        format!("{}\nTo give up what this box has of its own, put a {RESET} there too.", failed.text)
    })?;
    let put = if order.as_another { None } else { settings_onto_card(args, source.state_dir.as_deref()) };
    Ok([Some(format!("{name}: {said}")), put].into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

/// A card that has no settings of its own gets those of the backup.
fn settings_onto_card(args: &Args, state_dir: Option<&Path>) -> Option<String> {
    let card = below(&args.place.root, layout::BOOT).join("gateway.yaml");
    let own = fs::read_to_string(&card).unwrap_or_default();
    if !own.trim().is_empty() && own.replace('\r', "") != MANUAL {
        return Some("The settings file on the card is this box's own and stays.".to_owned());
    }
    let kept = fs::read_to_string(state_dir?.join("last-good.yaml")).ok()?;
    let written = on_card(&args.place, || replace(&card, kept.as_bytes(), 0o640).map_err(|error| error.to_string()));
    Some(match written {
        Ok(()) => "The settings of the backup, with their secrets, are the card's gateway.yaml now.".to_owned(),
        Err(error) => format!("The settings of the backup are in force; the card could not be given them: {error}"),
    })
}
