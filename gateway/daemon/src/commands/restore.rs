//! `restore`: a backup into a state folder, checked first; what was there is moved aside, never deleted.
//!
//! Invariant: nothing in the state folder is touched before the whole backup was read and found good, and never while a gateway
//! runs there.

use super::ask::{Asker, Failed, print_json};
use super::backup::{DATABASE, FORMAT, Listed, MANIFEST, Manifest, SCHEMA, SETTINGS};
use super::plain;
use super::screen::count;
use super::{EXIT_CONFIG, EXIT_USAGE};
use crate::configuration;
use crate::platform::Platform;
use crate::store::backup;
use data_encoding::HEXLOWER;
use gateway_core::event::Id;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A manifest is short.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;
/// Where a backup is unpacked, in the state folder.
const STAGE: &str = "restoring";
/// What may stand in a state folder that counts as empty: the lock, what a power cut left of an earlier restore, and what mkfs
/// makes.
const NOTHING: [&str; 3] = ["events.db.lock", STAGE, "lost+found"];
/// What a restored file with its secrets is called, so that the next start takes it if there is no settings file.
const LAST_GOOD: &str = "last-good.yaml";
/// What one without them is called: for a person to read.
const MASKED: &str = "settings-of-backup.yaml";

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The backup
    file: PathBuf,
    /// Read the backup through, say whether it is good, and change nothing
    #[arg(long, conflicts_with_all = ["force", "new_identity"])]
    check: bool,
    /// Move what is in the state folder aside
    #[arg(long)]
    force: bool,
    /// This is another box than the one that was backed up, and that one goes on: send nothing of its backlog, and take none of
    /// its tokens. Give this box another `gateway.id`
    #[arg(long)]
    new_identity: bool,
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 if it is restored, 1 if the backup is not good or the folder is not free, 2 without a folder, 3 if something
/// cannot be read or written.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = if args.check { checked(&args) } else { restored(&args).map(|restored| restored.told(&args)) };
    match done {
        Ok((answer, text)) => {
            // A closed pipe leaves nobody to tell.
            let _ = if args.asker.json { print_json(&answer, out) } else { writeln!(out, "{text}") };
            0
        }
        Err(failed) => failed.tell(err),
    }
}

type Done = (serde_json::Value, String);

fn checked(args: &Args) -> Result<Done, Failed> {
    // Beside the file, where there was room for it before.
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let manifest = read_through(&args.file, folder, &format!(".{STAGE}-{}", std::process::id()))?;
    let text = format!("the backup is good: {} of {}", count(manifest.events, "event"), plain(&manifest.gateway));
    Ok((json!({ "good": true, "manifest": manifest }), text))
}

fn read_through(file: &Path, folder: &Path, stage: &str) -> Result<Manifest, Failed> {
    let mut archive = Archive::open(file)?;
    let manifest = archive.manifest()?;
    let stage = Stage::new(folder, stage)?;
    archive.unpack(&manifest, &stage.0)?;
    verify(&manifest, &stage.0)?;
    Ok(manifest)
}

/// Reads a backup through that is to be restored into this folder, and changes nothing; for a moment it is unpacked there, as
/// it will be. An error with exit status 1 is the backup's, any other one the folder's.
pub fn whole(file: &Path, folder: &Path) -> Result<Manifest, Failed> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    read_through(file, there, STAGE)
}

/// `--state-dir`, or the one that the settings of `--config` name. It is never guessed.
fn folder(args: &Args) -> Result<Option<PathBuf>, Failed> {
    let home = &args.asker.home;
    match (&home.state_dir, &home.config) {
        (Some(folder), _) => Ok(Some(folder.clone())),
        (None, Some(_)) => match configuration::load(&home.source()) {
            Ok(loaded) => Ok(Some(loaded.config.gateway.state_dir)),
            Err(failure) => Err(Failed { status: EXIT_CONFIG, text: failure.to_string() }),
        },
        (None, None) => Ok(None),
    }
}

/// Restores a backup into a state folder; what is there is moved aside if `replace`. What a person should know, on a line each,
/// but for the settings: whoever calls knows what becomes of them.
pub fn into(file: &Path, source: &configuration::Source, as_another: bool, replace: bool) -> Result<String, Failed> {
    let home = super::ask::Home { config: source.file.clone(), state_dir: source.state_dir.clone() };
    let asker = Asker { home, json: false };
    let args = Args { file: file.to_owned(), check: false, force: replace, new_identity: as_another, asker };
    restored(&args).map(|restored| restored.lines().join("\n"))
}

/// What a backup says of itself; nothing is unpacked.
pub fn manifest_of(file: &Path) -> Result<Manifest, Failed> {
    Archive::open(file)?.manifest()
}

fn restored(args: &Args) -> Result<Restored, Failed> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    let Some(folder) = folder(args)? else {
        let text = "say where to: --state-dir FOLDER, such as /var/lib/analyzer-gateway, or --config FILE".to_owned();
        return Err(Failed { status: EXIT_USAGE, text });
    };
    let mut archive = Archive::open(&args.file)?;
    let manifest = archive.manifest()?;
    let made = !folder.exists();
    // Makes the folder if there is none, and holds it against a gateway that starts meanwhile.
    let _lock = backup::hold(&folder.join(DATABASE)).map_err(|error| Failed::new(error.to_string()))?;
    let there = entries(&folder)?;
    if !there.is_empty() && !args.force {
        let text =
            format!("{} is not empty: name another folder, or move what is in it aside with --force", folder.display());
        return Err(Failed::new(text));
    }
    let stage = Stage::new(&folder, STAGE)?;
    archive.unpack(&manifest, &stage.0)?;
    verify(&manifest, &stage.0)?;
    settle(&manifest, &stage.0, args.new_identity)?;
    let aside = move_aside(&folder, &there)?;
    // Another box does not run on the first one's settings, not even while its own have a mistake.
    let settings = if manifest.secrets && !args.new_identity { LAST_GOOD } else { MASKED };
    let owner = fs::metadata(&folder).map_err(|error| cannot(&folder, &error))?;
    for (name, to) in [(SETTINGS, settings), (DATABASE, DATABASE)] {
        let (from, to) = (stage.0.join(name), folder.join(to));
        if from.exists() {
            // The service's user reads what root restores.
            let _ = std::os::unix::fs::chown(&from, Some(owner.uid()), Some(owner.gid()));
            fs::rename(&from, &to).map_err(|error| cannot(&to, &error))?;
        }
    }
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|error| cannot(&folder, &error))?;
    Ok(Restored { manifest, folder, aside, made })
}

/// What came of it.
struct Restored {
    manifest: Manifest,
    folder: PathBuf,
    aside: Option<PathBuf>,
    /// The folder was not there.
    made: bool,
}

impl Restored {
    fn lines(&self) -> Vec<String> {
        let (manifest, folder) = (&self.manifest, self.folder.display());
        let events = count(manifest.events, "event");
        let mut lines =
            vec![format!("restored {events} of {} as of {} into {folder}", plain(&manifest.gateway), manifest.made_at)];
        if let Some(aside) = &self.aside {
            let aside = aside.display();
            lines.push(format!("What was there is in {aside}; it holds patients' data: delete it when all is well."));
        }
        if self.made {
            lines.push(format!("Give the folder to the service's user: chown -R analyzer-gateway: {folder}"));
        }
        lines
    }

    fn told(self, args: &Args) -> Done {
        let mut lines = self.lines();
        let of_settings = match (self.manifest.secrets, args.new_identity) {
            (_, true) => "Give this box another gateway.id before it starts.",
            (true, false) => "Its settings are there too; a settings file on the card goes before them.",
            (false, false) => "Put your settings file in its place before you start the gateway.",
        };
        lines.push(of_settings.to_owned());
        let Restored { manifest, folder, aside, .. } = self;
        let answer =
            json!({ "manifest": manifest, "state_dir": folder, "aside": aside, "new_identity": args.new_identity });
        (answer, lines.join("\n"))
    }
}

/// The database reads through, and is not of a later program than this one.
fn verify(manifest: &Manifest, folder: &Path) -> Result<(), Failed> {
    let found = backup::check(&folder.join(DATABASE));
    let found = found.map_err(|error| Failed::new(format!("the backup's database is not good: {error}")))?;
    if (found.head.0, found.events) != (manifest.head, manifest.events) {
        return Err(Failed::new("the backup's database is another one than its manifest says: take another backup"));
    }
    Ok(())
}

fn settle(manifest: &Manifest, folder: &Path, as_another: bool) -> Result<(), Failed> {
    let platform = Platform::real();
    let now = platform.clock.now();
    let mut random = [0; 10];
    platform.entropy.fill(&mut random);
    let id = Id::timed(now.wall, random);
    let path = folder.join(DATABASE);
    backup::settle(&path, manifest.made_at, as_another, now, platform.clock.boot(), id)
        .map_err(|error| Failed::unreachable(format!("the restored database cannot be prepared: {error}")))
}

/// What makes the folder not empty.
fn entries(folder: &Path) -> Result<Vec<String>, Failed> {
    let listed = fs::read_dir(folder).map_err(|error| cannot(folder, &error))?;
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !NOTHING.contains(&name.as_str())).collect();
    names.sort();
    Ok(names)
}

/// Inside the folder: it may be a mounted volume.
fn move_aside(folder: &Path, names: &[String]) -> Result<Option<PathBuf>, Failed> {
    if names.is_empty() {
        return Ok(None);
    }
    let moment = Platform::real().clock.now().wall.as_seconds();
    let aside = folder.join(format!("before-restore-{moment}"));
    fs::DirBuilder::new().mode(0o750).create(&aside).map_err(|error| cannot(&aside, &error))?;
    for name in names.iter().filter(|name| !name.starts_with("before-restore-")) {
        let from = folder.join(name);
        fs::rename(&from, aside.join(name)).map_err(|error| cannot(&from, &error))?;
    }
    Ok(Some(aside))
}

fn cannot(path: &Path, error: &io::Error) -> Failed {
    Failed::unreachable(format!("{} cannot be written: {error}", path.display()))
}

/// A folder that is gone when its work is done or has failed.
struct Stage(PathBuf);

impl Stage {
    fn new(folder: &Path, name: &str) -> Result<Stage, Failed> {
        let path = folder.join(name);
        // What a power cut left of an earlier one.
        let _ = fs::remove_dir_all(&path);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| cannot(&path, &error))?;
        Ok(Stage(path))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A backup's file, read once from its beginning to its end.
struct Archive {
    path: PathBuf,
    file: File,
}

impl Archive {
    fn open(path: &Path) -> Result<Archive, Failed> {
        let file = File::open(path);
        let file = file.map_err(|error| Failed::unreachable(format!("{} cannot be read: {error}", path.display())))?;
        Ok(Archive { path: path.to_owned(), file })
    }

    fn not_good(&self, why: &str) -> Failed {
        Failed::new(format!("{} is no good backup: {why}", self.path.display()))
    }

    /// The first file in it.
    fn manifest(&mut self) -> Result<Manifest, Failed> {
        let file = self.file.try_clone();
        let file = file.map_err(|error| Failed::unreachable(format!("{}: {error}", self.path.display())))?;
        let mut archive = tar::Archive::new(file);
        let first = archive.entries().ok().and_then(|mut entries| entries.next());
        let Some(Ok(first)) = first else { return Err(self.not_good("it is not an archive")) };
        let named = first.path().is_ok_and(|path| path.as_ref() == Path::new(MANIFEST));
        let mut text = Vec::new();
        let read = first.take(MANIFEST_BYTES_MAX).read_to_end(&mut text);
        let manifest = serde_json::from_slice::<Manifest>(&text).ok().filter(|_| named && read.is_ok());
        let manifest = manifest.ok_or_else(|| self.not_good("it does not begin with a manifest"))?;
        if manifest.format != FORMAT || manifest.schema > SCHEMA {
            return Err(self.not_good("it was made by a later program: restore it with that one"));
        }
        Ok(manifest)
    }

    /// Each file that the manifest lists, its length and its SHA-256 compared; others are left out.
    fn unpack(&mut self, manifest: &Manifest, to: &Path) -> Result<(), Failed> {
        io::Seek::rewind(&mut self.file).map_err(|error| self.not_good(&error.to_string()))?;
        let file = self.file.try_clone().map_err(|error| self.not_good(&error.to_string()))?;
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries().map_err(|error| self.not_good(&error.to_string()))?;
        let mut missing: Vec<&Listed> =
            manifest.files.iter().filter(|file| [DATABASE, SETTINGS].contains(&file.name.as_str())).collect();
        for entry in entries {
            let mut entry = entry.map_err(|error| self.not_good(&error.to_string()))?;
            let name = entry.path().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
            let Some(at) = missing.iter().position(|listed| listed.name == name) else { continue };
            let listed = missing.swap_remove(at);
            let target = to.join(&listed.name);
            let copied = self.copy(&mut entry, &target)?;
            if copied != (listed.bytes, listed.sha256.clone()) {
                return Err(
                    self.not_good(&format!("{} is not what the manifest says (its SHA-256 differs)", listed.name))
                );
            }
        }
        match missing.first() {
            Some(listed) => Err(self.not_good(&format!("{} is missing", listed.name))),
            None if !to.join(DATABASE).exists() => Err(self.not_good("it holds no database")),
            None => Ok(()),
        }
    }
    /// Returns how many bytes, and their SHA-256 in hexadecimal.
    fn copy(&self, from: &mut impl Read, to: &Path) -> Result<(u64, String), Failed> {
        let unwritten = |error: io::Error| cannot(to, &error);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(unwritten)?;
        let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 64 * 1024]);
        loop {
            let read = from.read(&mut piece).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.not_good("it ends too early"),
                _ => self.not_good(&format!("it cannot be read: {error}")),
            })?;
            if read == 0 {
                file.sync_all().map_err(unwritten)?;
                return Ok((bytes, HEXLOWER.encode(&hash.finalize())));
            }
            hash.update(&piece[..read]);
            file.write_all(&piece[..read]).map_err(unwritten)?;
            bytes += read as u64;
        }
    }
}
