//! The state folder: its rights, its disk, its lock, its database.

use super::{Finding, Patient};
use crate::commands::screen::{count, size};
use crate::platform::reach;
use crate::store::backup;
use gateway_core::config::Config;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Less is soon full: a card's controller and SQLite need some room to work.
const FREE_BYTES_WARN: u64 = 500_000_000;
const FREE_BYTES_MIN: u64 = 50_000_000;
/// Of a hundred inodes.
const FREE_INODES_PERCENT_MIN: u64 = 2;

fn lock_of(config: &Config) -> PathBuf {
    config.gateway.state_dir.join("events.db.lock")
}

/// Whether a gateway holds the state folder. A lock that nobody may look at counts as none.
pub fn is_held(config: &Config) -> bool {
    reach::is_locked(&lock_of(config)).unwrap_or(false)
}

pub fn look(patient: &Patient) -> Vec<Finding> {
    let folder = &patient.config.gateway.state_dir;
    let mut findings = rights(folder);
    findings.extend(disk(folder));
    findings.push(lock(patient));
    findings.push(database(folder));
    findings
}

fn rights(folder: &Path) -> Vec<Finding> {
    let (check, subject) = ("state_folder", folder.display().to_string());
    let file = match std::fs::metadata(folder) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let next = "Start the gateway once, or create it and give it to the service's user.";
            return vec![Finding::fail(check, subject, "there is no such folder", next)];
        }
        Err(error) => {
            let next = "Run doctor as root, or as the service's user.";
            return vec![Finding::fail(check, subject, format!("cannot be looked at: {error}"), next)];
        }
    };
    let mut findings = Vec::new();
    let (mode, owner) = (file.permissions().mode() & 0o7777, file.uid());
    if !file.is_dir() {
        let next = "Move the file away, or write another gateway.state_dir.";
        return vec![Finding::fail(check, subject, "is a file, not a folder", next)];
    }
    if mode & 0o007 != 0 {
        let evidence = format!("everybody on this box may look into it (mode {mode:o}); it holds patients' data");
        findings.push(Finding::warn(check, subject.clone(), evidence, format!("chmod 750 {subject}")));
    }
    if mode & 0o700 != 0o700 {
        let evidence = format!("its own user may not write into it (mode {mode:o})");
        findings.push(Finding::fail(check, subject.clone(), evidence, format!("chmod 750 {subject}")));
    } else if !reach::may(folder, true) {
        let evidence = format!("you may not write into it; it belongs to user {owner}");
        let next = "If you are not the service's user, run doctor with sudo; else give the folder back: \
                    chown -R analyzer-gateway: on it.";
        findings.push(Finding::fail(check, subject.clone(), evidence, next));
    }
    let strangers = strangers(folder, owner);
    if !strangers.is_empty() {
        let evidence =
            format!("{} in it belong to another user than the folder: {}", strangers.len(), strangers.join(", "));
        findings.push(Finding::fail(check, subject.clone(), evidence, format!("chown -R analyzer-gateway: {subject}")));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, subject, format!("belongs to user {owner}, mode {mode:o}")));
    }
    findings
}

/// Files that somebody else made here: mostly root, with a command typed in a hurry.
fn strangers(folder: &Path, owner: u32) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let others = entries.filter(|entry| entry.metadata().is_ok_and(|file| file.uid() != owner));
    let names = others.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name != "lost+found").collect()
}

fn disk(folder: &Path) -> Vec<Finding> {
    let subject = folder.display().to_string();
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return vec![Finding::skipped("disk", subject, "its file system cannot be asked")];
    };
    let mut findings = Vec::new();
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        let next =
            "The card may be worn out or its switch be set: `dmesg` says why. Replace the card, then restore a backup.";
        findings.push(Finding::fail("disk", subject.clone(), "is mounted read-only: nothing can be stored", next));
    }
    let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    let evidence = format!("{} free of {}", size(free), size(total));
    let next = "Free some space, lower retention or limits.store_bytes_max, or take a larger card.";
    findings.push(match free {
        0..FREE_BYTES_MIN => Finding::fail("disk", subject.clone(), evidence, next),
        FREE_BYTES_MIN..FREE_BYTES_WARN => Finding::warn("disk", subject.clone(), evidence, next),
        _ => Finding::ok("disk", subject.clone(), evidence),
    });
    // Some file systems have no bound of them.
    if disk.f_files > 0 && disk.f_favail * 100 / disk.f_files < FREE_INODES_PERCENT_MIN {
        let evidence = format!("only {} inodes are free: no file can be made soon", disk.f_favail);
        let next = "Find the folder with the many small files (du --inodes) and empty it.";
        findings.push(Finding::fail("disk", subject, evidence, next));
    }
    findings
}

fn lock(patient: &Patient) -> Finding {
    let path = lock_of(&patient.config);
    let subject = path.display().to_string();
    match reach::is_locked(&path) {
        Ok(true) => Finding::ok("lock", subject, "a gateway holds it"),
        Ok(false) => {
            let next =
                "Start it: systemctl start analyzer-gateway; if it ends at once: journalctl -u analyzer-gateway.";
            Finding::warn("lock", subject, "no gateway holds it: none is running here", next)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let next = "Start it: systemctl start analyzer-gateway.";
            Finding::warn("lock", subject, "no gateway has run here yet", next)
        }
        Err(error) => Finding::skipped("lock", subject, format!("cannot be looked at: {error}; use sudo")),
    }
}

fn database(folder: &Path) -> Finding {
    let path = folder.join("events.db");
    let subject = path.display().to_string();
    if !path.try_exists().unwrap_or(false) {
        return Finding::skipped("database", subject, "there is none that you may look at");
    }
    match backup::check(&path) {
        Ok(found) => Finding::ok("database", subject, format!("reads through: {}", count(found.events, "event"))),
        Err(error) => {
            let next = "Take a backup of the whole folder, then restart the gateway: it sets a damaged database aside and goes \
                        on with what can be read. Then replace the card.";
            Finding::fail("database", subject, error.to_string(), next)
        }
    }
}
