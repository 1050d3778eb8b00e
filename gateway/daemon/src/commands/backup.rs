//! `backup`: everything that a gateway knows, in one file, taken while it runs.
//!
//! Invariant: the file is there whole or not at all, only its owner may read it, and it holds no secret of the settings unless
//! asked for.

use super::ask::{Asker, Failed, print_json};
use super::screen::{count, size};
use super::{EXIT_CONFIG, plain};
use crate::configuration::{self, Loaded};
use crate::platform::Platform;
use crate::store::backup;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The names of the files in a backup, in their order.
pub const MANIFEST: &str = "manifest.json";
pub const DATABASE: &str = "events.db";
pub const SETTINGS: &str = "settings.yaml";
/// What the manifest calls itself.
pub const FORMAT: &str = "analyzer-gateway-backup";
/// The version of this layout.
pub const SCHEMA: u32 = 1;
/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The file to write, or the folder: then it is named after the gateway and the time. Without it: this folder
    #[arg(long, value_name = "FILE|DIR")]
    to: Option<PathBuf>,
    /// Keep the settings' secrets too, so that the backup alone can start a box; without this they are masked
    #[arg(long)]
    with_secrets: bool,
    #[command(flatten)]
    asker: Asker,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    pub schema: u32,
    pub gateway: String,
    /// The program that made it.
    pub version: String,
    pub made_at: gateway_core::time::Timestamp,
    /// The newest place given out in the log, and how many events there are.
    pub head: i64,
    pub events: u64,
    pub database_version: usize,
    /// Whether the settings hold their secrets.
    pub secrets: bool,
    pub files: Vec<Listed>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// Exit status 0 once it is whole and on the disk, 1 if the file is there already, 3 if something cannot be read or written.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match made(&args) {
        Ok((path, manifest)) => {
            // A closed pipe leaves nobody to tell.
            let _ = match args.asker.json {
                true => print_json(&serde_json::json!({ "file": path, "manifest": manifest }), out),
                false => told(&path, &manifest, out),
            };
            0
        }
        Err(failed) => failed.tell(err),
    }
}

fn told(path: &Path, manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    let bytes = manifest.files.iter().map(|file| file.bytes).sum();
    let events = count(manifest.events, "event");
    writeln!(out, "{}: {events} up to {}, {}", plain(&path.display().to_string()), manifest.head, size(bytes))?;
    writeln!(out, "It holds patients' data: keep it where only those who may see them can read it.")?;
    match manifest.secrets {
        true => writeln!(out, "It holds the secrets of the settings too."),
        false => writeln!(out, "The secrets of the settings are not in it: keep your settings file beside it."),
    }
}

fn made(args: &Args) -> Result<(PathBuf, Manifest), Failed> {
    let source = args.asker.home.source();
    let running = configuration::load_for_run(&source);
    let loaded = running.map_err(|failure| Failed { status: EXIT_CONFIG, text: failure.to_string() })?.loaded;
    make(&loaded, args.to.as_deref(), args.with_secrets)
}

/// Backs up the gateway with these settings: to a folder, under a name made of the gateway's and the time; or to a file; without
/// `to` in the working folder. Returns the file and what it says of itself.
pub fn make(loaded: &Loaded, to: Option<&Path>, with_secrets: bool) -> Result<(PathBuf, Manifest), Failed> {
    // For its owner only, whatever is made on the way.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let database = loaded.config.gateway.state_dir.join(DATABASE);
    if !database.try_exists().unwrap_or(true) {
        let text = format!("there is no database at {}: nothing to back up", database.display());
        return Err(Failed::unreachable(text));
    }
    let at = Platform::real().clock.now().wall;
    let moment = at.to_string().replace([':', '-'], "");
    let moment = moment.split('.').next().unwrap_or_default();
    let name = format!("analyzer-gateway-{}-{moment}Z.tar", loaded.config.gateway.id);
    let path = match to {
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(file) => file.to_owned(),
        None => PathBuf::from(name),
    };
    if path.exists() {
        return Err(Failed::new(format!("{} is there already: give another name with --to", path.display())));
    }
    room(&database, &path)?;
    let (copy, unfinished) = (Scrap(beside(&path, ".copy")), Scrap(beside(&path, ".part")));
    let copied = backup::copy(&database, &copy.0).map_err(|error| {
        Failed::unreachable(format!("the database cannot be copied to {}: {error}", copy.0.display()))
    })?;
    let settings = settings(loaded, with_secrets);
    let mut files = vec![listed(DATABASE, &copy.0).map_err(|error| cannot(&copy.0, &error))?];
    files.extend(settings.as_ref().map(|text| of_bytes(SETTINGS, text.as_bytes())));
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        schema: SCHEMA,
        gateway: loaded.config.gateway.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: at,
        head: copied.head.0,
        events: copied.events,
        database_version: copied.version,
        secrets: with_secrets && settings.is_some(),
        files,
    };
    write(&unfinished.0, &manifest, &copy.0, settings.as_deref()).map_err(|error| cannot(&unfinished.0, &error))?;
    fs::rename(&unfinished.0, &path).map_err(|error| cannot(&path, &error))?;
    Ok((path, manifest))
}

/// The settings in force as they are kept for the next start; `None` without a settings file.
fn settings(loaded: &Loaded, with_secrets: bool) -> Option<String> {
    loaded.path.as_ref()?;
    if with_secrets { Some(loaded.text.clone()) } else { configuration::without_secrets(loaded) }
}

/// The database twice: as it is copied, and in the archive.
fn room(database: &Path, path: &Path) -> Result<(), Failed> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let needed = 2 * fs::metadata(database).map_or(0, |file| file.len());
    match rustix::fs::statvfs(folder) {
        Ok(disk) if disk.f_bavail * disk.f_frsize < needed => Err(Failed::unreachable(format!(
            "{} has {} free and the backup needs {} on its way: write it to another disk with --to",
            folder.display(),
            size(disk.f_bavail * disk.f_frsize),
            size(needed)
        ))),
        Ok(_) => Ok(()),
        Err(error) => Err(cannot(folder, &error.into())),
    }
}

fn write(to: &Path, manifest: &Manifest, database: &Path, settings: Option<&str>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut archive = tar::Builder::new(file);
    let text = serde_json::to_vec_pretty(manifest)?;
    let seconds = u64::try_from(manifest.made_at.as_seconds()).unwrap_or(0);
    let header = |bytes: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(seconds);
        header
    };
    archive.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
    let database = File::open(database)?;
    archive.append_data(&mut header(database.metadata()?.len()), DATABASE, database)?;
    if let Some(settings) = settings {
        archive.append_data(&mut header(settings.len() as u64), SETTINGS, settings.as_bytes())?;
    }
    archive.into_inner()?.sync_all()
}

fn listed(name: &str, path: &Path) -> io::Result<Listed> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => {
                hash.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
    Ok(Listed { name: name.to_owned(), bytes, sha256: HEXLOWER.encode(&hash.finalize()) })
}

fn of_bytes(name: &str, bytes: &[u8]) -> Listed {
    Listed { name: name.to_owned(), bytes: bytes.len() as u64, sha256: HEXLOWER.encode(&Sha256::digest(bytes)) }
}

fn cannot(path: &Path, error: &io::Error) -> Failed {
    Failed::unreachable(format!("{} cannot be written: {error}", path.display()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A file on the way; it is gone when its work is done or has failed.
struct Scrap(PathBuf);

impl Drop for Scrap {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // Mostly there is none.
            let _ = fs::remove_file(beside(&self.0, suffix));
        }
    }
}
