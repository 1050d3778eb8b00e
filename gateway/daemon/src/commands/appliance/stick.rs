//! `appliance stick`: a stick with a folder `analyzer-gateway-backups` gets a backup, when it is plugged in and every day while it
//! stays.
//!
//! Invariant: a stick without that folder is left as it is; the last good backup is never removed for one that failed.

use super::Place;
use super::settings::kept;
use crate::commands::EXIT_FAILED;
use crate::commands::backup::{self, Manifest};
use crate::commands::restore::manifest_of;
use crate::configuration::{self, Source};
use crate::platform::Platform;
use crate::platform::privileged;
use crate::platform::replace::replace;
use crate::platform::stick::{Stick, partitions};
use gateway_core::appliance::Backup;
use gateway_core::appliance::orders::{self, BACKUPS, BACKUPS_KEPT_MAX, Kept, LAST_BACKUP, RESTORE};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files of such a folder that are looked at.
const BACKUPS_LOOKED_AT_MAX: usize = 1000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The partition, such as /dev/sda1; without it every stick that is plugged in
    device: Option<PathBuf>,
    /// A folder that stands for the stick
    #[arg(long, value_name = "DIR", hide = true)]
    folder: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Exit status 0 if every stick that asks for a backup has one, also if none asks; 1 if one has none now.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let devices = match (&args.folder, &args.device) {
        (Some(folder), _) => return told(on_stick(&args.place, &Stick::folder_instead(folder)), out, err),
        (None, Some(device)) => vec![device.clone()],
        (None, None) => partitions(&args.place.root),
    };
    let each = devices.iter().map(|device| {
        let done = Stick::mount(device).and_then(|stick| on_stick(&args.place, &stick));
        told(done, out, err)
    });
    each.max().unwrap_or(0)
}

fn told(done: Result<Option<String>, String>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    // A closed pipe leaves nobody to tell.
    let _ = match &done {
        Ok(Some(said)) => writeln!(out, "{said}"),
        Ok(None) => Ok(()),
        Err(said) => writeln!(err, "{said}"),
    };
    if done.is_ok() { 0 } else { EXIT_FAILED }
}

/// `None`: this stick is none of ours.
fn on_stick(place: &Place, stick: &Stick) -> Result<Option<String>, String> {
    let folder = stick.folder().join(BACKUPS);
    if !folder.is_dir() {
        return Ok(None);
    }
    let now = Platform::real().clock.now().wall;
    let before = privileged::said(&place.root).backup;
    let made = stick.make_writable().and_then(|()| make(place, &folder));
    let (kept, said) = match made {
        Ok((name, manifest)) => {
            let removed = make_room(&folder, &manifest.gateway, &name);
            let said = format!(
                "{now}: {name} is whole, with all {} events and the settings with their secrets. {removed}It holds patients' data: lock it away.",
                manifest.events
            );
            (Backup { file: Some(name), made_at: Some(now), reason: String::new(), at: now }, Ok(said))
        }
        Err(why) => {
            let reason = format!("no backup could be made on the stick: {why}");
            let earlier = before.unwrap_or(Backup { file: None, made_at: None, reason: String::new(), at: now });
            let said = format!("{now}: {reason}. Backups that were there are as they were.");
            (Backup { reason, at: now, ..earlier }, Err(said))
        }
    };
    let (Ok(text) | Err(text)) = &said;
    // A stick that takes no more is told about on the box itself.
    let _ = replace(&folder.join(LAST_BACKUP), format!("{text}\r\n").as_bytes(), 0o600);
    if let Err(error) = privileged::keep(&place.root, "backup", &kept) {
        return Err(format!("{text} The box cannot keep that in mind: {error}"));
    }
    said.map(Some)
}

/// Makes one, unless those that are there reach farther: then this is a new card under the old name.
fn make(place: &Place, folder: &Path) -> Result<(String, Manifest), String> {
    let there = backups(folder);
    // Root's own copy of the last good settings, and no link in place of the database: the state folder is another user's.
    let running = configuration::load_for_root(&place.source(), &kept(&place.root));
    let loaded = running.map_err(|failure| failure.to_string())?.loaded;
    let database = loaded.config.gateway.state_dir.join(backup::DATABASE);
    if fs::symlink_metadata(&database).is_ok_and(|there| !there.is_file()) {
        return Err(format!("{} is no plain file: somebody has changed the gateway's folder", database.display()));
    }
    let (path, manifest) = backup::make(&loaded, Some(folder), true).map_err(|failed| failed.text)?;
    if orders::is_behind(&there, &manifest.gateway, manifest.head) {
        let _ = fs::remove_file(&path);
        return Err(format!(
            "the stick has backups of {} that reach farther than this box: if this is a new card, put a {RESTORE} on it; if \
             not, give the two boxes different names",
            manifest.gateway
        ));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, manifest))
}

fn make_room(folder: &Path, gateway: &str, made: &str) -> String {
    let there = backups(folder);
    let old = orders::too_old(&there, gateway, BACKUPS_KEPT_MAX);
    let removed = old.iter().filter(|name| **name != made && fs::remove_file(folder.join(name)).is_ok()).count();
    match removed {
        0 => String::new(),
        1 => "The oldest one made room. ".to_owned(),
        removed => format!("The {removed} oldest ones made room. "),
    }
}

/// The backups in this folder whose manifest can be read.
pub fn backups(folder: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(BACKUPS_LOOKED_AT_MAX);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.ends_with(".tar"));
    let known = names.filter_map(|name| {
        let manifest = manifest_of(&folder.join(&name)).ok()?;
        Some(Kept { name, gateway: manifest.gateway, head: manifest.head })
    });
    known.collect()
}

impl Place {
    /// Where the gateway of this box has its settings and its state.
    pub fn source(&self) -> Source {
        let mut source = Source::of_process(None, None);
        if self.root != Path::new("/") {
            source.usual =
                source.usual.iter().map(|path| privileged::below(&self.root, &path.to_string_lossy())).collect();
            source.state_dir = Some(privileged::below(&self.root, "/var/lib/analyzer-gateway"));
        }
        source
    }
}
