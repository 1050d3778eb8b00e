//! Files for a person to take away: onto a drive that is plugged in, or into a folder.
//!
//! Invariant: a file is there whole or not at all, only its owner reads it, and the disk is not filled up by it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What stays free beside the file.
const SPARE_BYTES: u64 = 1 << 20;
/// Where systems mount what a person plugs in.
const MOUNTED_BELOW: [&str; 3] = ["/media/", "/run/media/", "/mnt/usb"];

/// The drives that are plugged in and mounted.
pub fn removable() -> Vec<PathBuf> {
    mounted(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

/// The second word of a line is the place; blanks in it are written as octal numbers (proc(5), `getmntent`).
fn mounted(mounts: &str) -> Vec<PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let places = places.map(|place| place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"));
    places.filter(|place| MOUNTED_BELOW.iter().any(|below| place.starts_with(below))).map(PathBuf::from).collect()
}

/// Writes the file. The error says what a person can do.
pub fn save(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let disk = rustix::fs::statvfs(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    save_with(folder, name, bytes, disk.f_bavail * disk.f_frsize, |path| {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    })
}

/// The same in a folder of the gateway's own, where what an earlier one has left goes first.
pub fn keep_only(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let prepare = || {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        for entry in fs::read_dir(folder)?.flatten() {
            fs::remove_file(entry.path())?;
        }
        Ok(())
    };
    prepare().map_err(|error: io::Error| format!("{}: {error}", folder.display()))?;
    save(folder, name, bytes)
}

fn save_with(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    free_bytes: u64,
    open: impl Fn(&Path) -> io::Result<fs::File>,
) -> Result<PathBuf, String> {
    let wanted = bytes.len() as u64 + SPARE_BYTES;
    if free_bytes < wanted {
        return Err(format!(
            "{} has {free_bytes} bytes free and {wanted} are needed: remove something there, or name another folder",
            folder.display()
        ));
    }
    let (part, whole) = (folder.join(format!(".{name}.part")), folder.join(name));
    if whole.exists() {
        return Err(format!("{} exists already: remove it, or name another folder", whole.display()));
    }
    let written = open(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, &whole)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        let why = match error.kind() {
            io::ErrorKind::StorageFull => "the disk is full: remove something there, or name another folder".to_owned(),
            io::ErrorKind::PermissionDenied => "you may not write there: use sudo, or name another folder".to_owned(),
            io::ErrorKind::AlreadyExists => {
                "another one is being written there, or was broken off: remove it".to_owned()
            }
            _ => error.to_string(),
        };
        format!("{}: {why}; nothing was left behind", folder.display())
    })?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("drive-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of our own");
        folder
    }

    #[test]
    fn a_file_is_for_its_owner_and_never_replaces_another() {
        let folder = folder("whole");
        let path = save(&folder, "bundle.tar.gz", b"bytes").expect("there is room");
        assert_eq!(fs::read(&path).expect("it is there"), b"bytes");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert!(save(&folder, "bundle.tar.gz", b"other").is_err_and(|told| told.contains("exists already")));
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "nothing else is left");
        let newer = keep_only(&folder, "newer.tar.gz", b"newer").expect("there is room");
        assert_eq!(fs::read(&newer).expect("it is there"), b"newer");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "the older one is gone");
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn a_disk_that_fills_up_meanwhile_is_left_as_it_was() {
        let folder = folder("full");
        // A file that takes no byte: the kernel says that no space is left.
        let full = |path: &Path| {
            fs::write(path, b"")?;
            fs::OpenOptions::new().write(true).open("/dev/full")
        };
        let told = save_with(&folder, "bundle.tar.gz", b"bytes", u64::MAX, full).expect_err("it is full");
        assert!(told.contains("the disk is full") && told.contains("nothing was left behind"), "{told}");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
        let told = save_with(&folder, "bundle.tar.gz", b"bytes", 1000, |_| unreachable!("it is not even tried"));
        assert!(told.is_err_and(|told| told.contains("1000 bytes free")));
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn a_drive_is_found_where_systems_mount_it() {
        let mounts = "/dev/mmcblk0p2 / ext4 rw 0 0\n/dev/sda1 /media/pi/MY\\040STICK vfat rw 0 0\n\
                      /dev/sdb1 /run/media/lab/A exfat rw 0 0\n/dev/sdc1 /srv/media/x ext4 rw 0 0\n";
        let found = mounted(mounts);
        assert_eq!(found, [PathBuf::from("/media/pi/MY STICK"), PathBuf::from("/run/media/lab/A")]);
    }
}
