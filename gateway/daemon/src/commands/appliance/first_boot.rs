//! `appliance first-boot`: /data as large as the card, its folders, the box's machine-id and ssh host key.
//!
//! Invariant: every step can be cut at any moment and done again; one that fails is told and does not keep the next from its work.
//! A box without /data is told on its card, where a person looks.

use super::Place;
use super::settings::source;
use crate::commands::EXIT_FAILED;
use crate::configuration;
use crate::platform::Clock;
use crate::platform::clock::SystemClock;
use crate::platform::privileged::{below, fed, system};
use crate::platform::replace::replace;
use gateway_core::appliance::first_boot::{MachineId, Printed, growth, machine_id};
use gateway_core::appliance::layout;
use gateway_core::appliance::light::Light;
use gateway_core::appliance::report::{Dated, Down, Report};
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// Where the image says which folders /data has.
const FOLDERS: &str = "/usr/lib/analyzer-gateway/data.conf";
/// Only development images have it.
const SSHD: &str = "/usr/sbin/sshd";
/// What the image's sshd_config names.
const SSH_KEY: &str = "/data/system/ssh/ssh_host_ed25519_key";
const KEPT_ID: &str = "/data/system/machine-id";
const ETC_ID: &str = "/etc/machine-id";
/// Grows a file system to the end of its device while it is mounted (systemd-growfs(8)).
const GROWFS: &str = "/usr/lib/systemd/systemd-growfs";

/// Exit status 0; 1 if a step failed, of which each says what it was on standard error.
pub fn run(place: &Place, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let root = &place.root;
    let Some(device) = device_of(root, layout::DATA) else {
        let _ = writeln!(
            err,
            "nothing is mounted at {}: the partition `data` is missing, damaged or cannot be opened. Switch the box off and on; if \
             that does not help, put in a new card with the box's system and keep the old one: it may hold results that were not \
             sent yet",
            layout::DATA
        );
        without_data(root, false, err);
        return EXIT_FAILED;
    };
    let steps: [(&str, Result<Option<String>, String>); 4] = [
        ("the size of /data", grow(root, &device)),
        ("the folders of /data", folders(root)),
        ("the machine-id", identity(root)),
        ("the ssh host key", host_key(root)),
    ];
    let mut status = 0;
    if let Err(error) = try_to_write(&below(root, layout::DATA)) {
        let _ = writeln!(err, "{} cannot be written: {error}", layout::DATA);
        without_data(root, true, err);
        status = EXIT_FAILED;
    }
    for (step, done) in steps {
        match done {
            Ok(Some(told)) => drop(writeln!(out, "{step}: {told}")),
            Ok(None) => {}
            Err(error) => {
                status = EXIT_FAILED;
                let _ = writeln!(err, "{step}: {error}");
            }
        }
    }
    status
}

/// A partition that is full takes a file away, if not a new one: that is no damage.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(".first-boot");
    match fs::write(&path, "").and_then(|()| fs::remove_file(&path)) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

/// The gateway does not start without /data: so its report and its light are left here, as it would leave them. Should it start
/// after all, systemd gives it the folder with what is in it, and it says what it knows.
fn without_data(root: &Path, is_there: bool, err: &mut dyn Write) {
    let source = source(root);
    let settings = match configuration::load(&source) {
        Ok(loaded) => configuration::judged(&source, &loaded.hash),
        Err(failure) => configuration::judged_refused(&source, &failure),
    };
    let crypttab = fs::read_to_string(below(root, "/etc/crypttab")).unwrap_or_default();
    let now = SystemClock::new().now();
    let dated = Dated::LastChange(now.wall, now.quality);
    let down = Down::without_data(is_there, &crypttab);
    let text = Report::of_down(env!("CARGO_PKG_VERSION"), dated, settings, Some(down)).text();
    let told = below(root, layout::TOLD);
    let left = DirBuilder::new().recursive(true).mode(0o750).create(&told).and_then(|()| {
        replace(&told.join(layout::TOLD_REPORT), text.as_bytes(), 0o640)?;
        replace(&told.join(layout::TOLD_LIGHT), format!("{}\n", Light::Degraded.word()).as_bytes(), 0o644)
    });
    let mut failed = left.err().map(|error| format!("{} cannot be written: {error}", layout::TOLD));
    if failed.is_none() && below(root, "/run/systemd/system").exists() {
        // The path unit begins to look only later, and what stands there already is no change to it.
        failed = system("systemctl", &["--no-block", "start", "analyzer-gateway-card.service"]).err();
    }
    failed.iter().for_each(|error| drop(writeln!(err, "{error}")));
}

/// `major:minor` of what is mounted there (proc_pid_mountinfo(5): fields 3 and 5).
fn device_of(root: &Path, mount: &str) -> Option<String> {
    let table = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mut lines = table.lines().rev().map(|line| line.split(' '));
    lines.find_map(|mut words| {
        let device = words.nth(2)?;
        (words.nth(1)? == mount).then(|| device.to_owned())
    })
}

/// Moves the end of the partition to the card's, then that of the file system to the partition's.
fn grow(root: &Path, device: &str) -> Result<Option<String>, String> {
    let Some((disk, number)) = partition_of(root, device) else {
        return Ok(None);
    };
    let name = disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(disk.join("size")).unwrap_or_default();
    // In units of 512 bytes, whatever the disk's sectors are (Documentation/ABI/stable/sysfs-block).
    let sectors: u64 = text.trim().parse().map_err(|_| format!("the size of {name} cannot be read"))?;
    let node = root.join("dev").join(&name);
    let path = node.to_string_lossy().into_owned();
    let printed: Printed = serde_json::from_str(&system("sfdisk", &["--json", &path])?)
        .map_err(|error| format!("sfdisk's table of {name} is not understood: {error}"))?;
    let numbers = growth(&printed.table, number, sectors.saturating_mul(512))?;
    for number in &numbers {
        // The kernel is told by partx: it would not read the table of a disk anew from which it runs.
        let number = number.to_string();
        fed("sfdisk", &["--quiet", "--no-reread", "--no-tell-kernel", "-N", &number, &path], ", +\n")?;
    }
    let is_device = fs::metadata(&node).is_ok_and(|node| node.file_type().is_block_device());
    if is_device {
        // Even if the table had been written: the power may have gone before the kernel knew.
        system("partx", &["--update", "--nr", &number.to_string(), &path])?;
        system(GROWFS, &[&below(root, layout::DATA).to_string_lossy()])?;
    }
    Ok((!numbers.is_empty()).then(|| format!("partition {number} of {name} reaches the end of the card now")))
}

/// Makes the folders that are missing, each with its owner. The image lists them.
fn folders(root: &Path) -> Result<Option<String>, String> {
    let list = below(root, FOLDERS);
    if !list.exists() {
        return Err(format!("{FOLDERS} is missing in this image"));
    }
    let at = format!("--root={}", root.display());
    system("systemd-tmpfiles", &[&at, "--create", &list.to_string_lossy()])?;
    Ok(None)
}

/// Lays the box's own machine-id over the one that systemd has made for this boot, or keeps that one.
fn identity(root: &Path) -> Result<Option<String>, String> {
    let (kept, etc) = (below(root, KEPT_ID), below(root, ETC_ID));
    let text = |path: &Path| fs::read_to_string(path).ok();
    let id = match machine_id(text(&kept).as_deref(), text(&etc).as_deref())? {
        MachineId::Settled => return Ok(None),
        MachineId::Keep(id) => {
            let written = replace(&kept, format!("{id}\n").as_bytes(), 0o444);
            written.map_err(|error| format!("{KEPT_ID} cannot be written: {error}"))?;
            return Ok(Some(format!("this box is {id} from now on")));
        }
        MachineId::Use(id) => id,
    };
    // A copy, so that /data can be unmounted at the end.
    let copy = below(root, layout::SAYS).join("machine-id");
    let told = |error: std::io::Error| format!("{} cannot be written: {error}", copy.display());
    fs::create_dir_all(below(root, layout::SAYS)).map_err(told)?;
    replace(&copy, format!("{id}\n").as_bytes(), 0o444).map_err(told)?;
    system("mount", &["--bind", &copy.to_string_lossy(), &etc.to_string_lossy()])?;
    if below(root, "/run/systemd/system").exists() {
        // It asked for the id when it began, and names the folder of its files by it. What it heard so far it keeps.
        system("systemctl", &["restart", "systemd-journald.service"])?;
    }
    Ok(Some(format!("this box is {id}")))
}

/// Makes the key where there is an sshd. The public half is written first: where the private one stands, both do.
fn host_key(root: &Path) -> Result<Option<String>, String> {
    let key = below(root, SSH_KEY);
    if !below(root, SSHD).exists() || key.exists() {
        return Ok(None);
    }
    let name = |end: &str| key.with_file_name(format!("ssh_host_ed25519_key{end}"));
    let (new, new_public) = (name(".making"), name(".making.pub"));
    // Left behind by a power cut.
    let _ = (fs::remove_file(&new), fs::remove_file(&new_public));
    system("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "analyzer-gateway", "-f", &new.to_string_lossy()])?;
    let moved = fs::read(&new_public)
        .and_then(|public| replace(&name(".pub"), &public, 0o644))
        .and_then(|()| replace(&key, &fs::read(&new)?, 0o600));
    let _ = (fs::remove_file(&new), fs::remove_file(&new_public));
    moved.map_err(|error| format!("{SSH_KEY} cannot be written: {error}"))?;
    Ok(Some("made".to_owned()))
}

/// The folder of the disk below /sys, and the number of the partition on it; nothing for a device that is no partition. What is
/// laid over one (an encrypted device) counts as that one.
fn partition_of(root: &Path, device: &str) -> Option<(PathBuf, u32)> {
    let mut folder = fs::canonicalize(root.join("sys/dev/block").join(device)).ok()?;
    if let Ok(mut under) = fs::read_dir(folder.join("slaves"))
        && let Some(first) = under.next()
    {
        folder = fs::canonicalize(first.ok()?.path()).ok()?;
    }
    let number = fs::read_to_string(folder.join("partition")).ok()?.trim().parse().ok()?;
    Some((folder.parent()?.to_owned(), number))
}
