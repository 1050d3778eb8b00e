//! `appliance stick`: a stick with a folder `analyzer-gateway-backups` gets a backup, when it is plugged in and every day while it
//! stays.
//!
//! Invariant: a stick without that folder is left as it is; the last good backup is never removed for one that failed.

use super::Place;
use crate::commands::EXIT_FAILED;
use crate::commands::backup;
use crate::configuration::Source;
use crate::platform::Platform;
use crate::platform::privileged;
use crate::platform::replace::replace;
use crate::platform::stick::{Stick, partitions};
use gateway_core::appliance::Backup;
use gateway_core::appliance::orders::{self, BACKUPS, BACKUPS_KEPT_MAX, LAST_BACKUP};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

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
    let sticks: Vec<Result<Stick, String>> = match (&args.folder, &args.device) {
        (Some(folder), _) => vec![Ok(Stick::folder_instead(folder))],
        (None, Some(device)) => vec![Stick::mount(device, true)],
        (None, None) => partitions(&args.place.root).iter().map(|device| Stick::mount(device, true)).collect(),
    };
    let mut status = 0;
    for stick in sticks {
        match stick.and_then(|stick| on_stick(&args.place, &stick)) {
            Ok(said) => drop(said.map(|said| writeln!(out, "{said}"))),
            Err(said) => {
                let _ = writeln!(err, "{said}");
                status = EXIT_FAILED;
            }
        }
    }
    status
}

/// `None`: this stick is none of ours.
fn on_stick(place: &Place, stick: &Stick) -> Result<Option<String>, String> {
    let folder = stick.folder().join(BACKUPS);
    if !folder.is_dir() {
        return Ok(None);
    }
    let source = place.source();
    let now = Platform::real().clock.now().wall;
    let before = privileged::said(&place.root).backup;
    let made = backup::make(&source, Some(&folder), true);
    let (kept, said) = match &made {
        Ok((path, manifest)) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let removed = make_room(&folder, &manifest.gateway);
            let said = format!(
                "{now}: {name} is whole, with all {} events and the settings with their secrets. {removed}It holds patients' data: lock it away.",
                manifest.events
            );
            (Backup { file: Some(name), made_at: Some(now), reason: String::new(), at: now }, Ok(said))
        }
        Err(failed) => {
            let reason = format!("no backup could be made on the stick: {}", failed.text);
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

fn make_room(folder: &Path, gateway: &str) -> String {
    let removed = orders::too_old(&names(folder), gateway, BACKUPS_KEPT_MAX)
        .iter()
        .filter(|name| fs::remove_file(folder.join(name)).is_ok())
        .count();
    match removed {
        0 => String::new(),
        1 => "The oldest one made room. ".to_owned(),
        removed => format!("The {removed} oldest ones made room. "),
    }
}

/// The names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
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
