//! Drives that a person plugs in for a moment, mounted only while something is done with them: they may be pulled at any other
//! time.
//!
//! Invariant: nothing on a stick is run, and one that was mounted here is unmounted whatever happens. Of several programs one at a
//! time has a stick: the kernel mounts none read-only for one that is writable for another.

use super::alone::alone;
use super::privileged::{below, system};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where they are mounted, each at a place of its own, in the privileged half's folder.
const PLACE: &str = "/run/analyzer-gateway-appliance/sticks";
/// So long a program waits for another one to be done with a stick.
const TURN_SECONDS_MAX: u64 = 600;
/// What sticks are formatted with. No other driver of the kernel reads what somebody brings.
const KINDS: &str = "vfat,exfat,ext4";
/// Names of a folder that are looked at.
const NAMES_MAX: usize = 10_000;
/// Where the box itself is mounted: what holds that is no stick.
const OWN: [&str; 3] = ["/", "/boot/firmware", "/data"];

/// A stick that is mounted.
pub struct Stick {
    folder: PathBuf,
    ours: bool,
    _turn: Option<fs::File>,
}

impl Stick {
    /// Mounts a partition such as `/dev/sda1` to look at it. The error is for people.
    pub fn mount(device: &Path) -> Result<Stick, String> {
        let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let turn = turn(&Path::new(PLACE).join(format!("{name}.lock")))?;
        let folder = Path::new(PLACE).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let stick = Stick { folder, ours: true, _turn: Some(turn) };
        let (device, place) = (device.to_string_lossy(), stick.folder.to_string_lossy());
        system("mount", &["-t", KINDS, "-o", "ro,nosuid,nodev,noexec", &device, &place]).map_err(|error| {
            tracing::info!(error, "a stick is not mounted");
            let _ = fs::remove_dir(&stick.folder);
            "the stick cannot be read: plug it in again, and try it on a computer. Only if nothing is on it that you need, \
             format it as FAT32 or exFAT"
                .to_owned()
        })?;
        Ok(stick)
    }

    /// A folder that is there already stands for a stick.
    pub fn folder_instead(folder: &Path) -> Stick {
        Stick { folder: folder.to_owned(), ours: false, _turn: None }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on it can be written: only after it was seen that its owner wants that.
    pub fn make_writable(&self) -> Result<(), String> {
        if !self.ours {
            return Ok(());
        }
        let done = system("mount", &["-o", "remount,rw", &self.folder.to_string_lossy()]);
        done.map(drop).map_err(|_| "the stick cannot be written: is it locked, or damaged? Try another one".to_owned())
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        // Writes out what is still in memory; there is nobody to tell if the stick is gone by now.
        let place = self.folder.to_string_lossy();
        if system("umount", &[&place]).is_err() {
            let _ = system("umount", &["-l", &place]);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Waits until no other program has the stick.
fn turn(lock: &Path) -> Result<fs::File, String> {
    let turn = alone(lock, Duration::from_secs(TURN_SECONDS_MAX));
    turn.map_err(|error| format!("{}: {error}", lock.display()))?.ok_or_else(|| {
        "a backup or an update has been at work on the stick for ten minutes: ask again later".to_owned()
    })
}

/// A file on a stick. The stick stays mounted until this is dropped.
pub struct OnStick {
    pub path: PathBuf,
    _stick: Option<Stick>,
}

/// The partitions of all sticks, and sticks without partitions: `/sys/class/block` below this root links each to its place in the
/// tree of devices, in which a stick is below `usb`.
pub fn partitions(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below(root, "/sys/class/block")).into_iter().flatten().flatten();
    let on_usb = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.iter().any(|part| part.to_string_lossy().starts_with("usb")))
    });
    let mut names: Vec<String> = on_usb.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    // A disk that has partitions holds no file system itself.
    let divided = |name: &String| names.iter().any(|other| other != name && other.starts_with(name.as_str()));
    let mounts = fs::read_to_string(below(root, "/proc/mounts")).unwrap_or_default();
    let own: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, rest)| rest.split(' ').next().is_some_and(|place| OWN.contains(&place)))
        .filter_map(|(device, _)| Some(device.strip_prefix("/dev/")?.trim_end_matches(|c: char| c.is_ascii_digit())))
        .filter(|disk| !disk.is_empty())
        .collect();
    let is_own = |name: &String| own.iter().any(|disk| name.starts_with(disk));
    names.iter().filter(|name| !divided(name) && !is_own(name)).map(|name| Path::new("/dev").join(name)).collect()
}

/// The newest file with this ending in the first folder of any stick. The error says what to do.
pub fn find(root: &Path, ending: &str) -> Result<OnStick, String> {
    let sticks = partitions(root);
    if sticks.is_empty() {
        return Err("no stick is plugged in: plug one in that holds the bundle".to_owned());
    }
    let mounts = fs::read_to_string(below(root, "/proc/mounts")).unwrap_or_default();
    let mut unread = None;
    for device in &sticks {
        let there = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            (words.next() == device.to_str())
                .then(|| words.next())?
                .map(|place| below(root, &place.replace("\\040", " ")))
        });
        let (place, stick) = match there {
            Some(place) => (place, None),
            None => match Stick::mount(device) {
                Ok(stick) => (stick.folder.clone(), Some(stick)),
                Err(error) => {
                    unread = Some(error);
                    continue;
                }
            },
        };
        if let Some(path) = newest(&place, ending) {
            return Ok(OnStick { path, _stick: stick });
        }
    }
    Err(match unread {
        Some(error) => error,
        None => format!("no file that ends in {ending} is on the stick, outside of its folders: copy it there"),
    })
}

fn newest(folder: &Path, ending: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten().take(NAMES_MAX);
    let ours = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Macs leave files beside those that they copy, named alike with `._` before.
        name.ends_with(ending) && !name.starts_with("._") && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    ours.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok()).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn with_stick(mounts: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let block = root.path().join("sys/class/block");
        fs::create_dir_all(&block).unwrap();
        let usb = "../../devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host2/block";
        symlink(format!("{usb}/sdb"), block.join("sdb")).unwrap();
        symlink(format!("{usb}/sdb/sdb1"), block.join("sdb1")).unwrap();
        symlink("../../devices/platform/mmc/block/mmcblk0/mmcblk0p1", block.join("mmcblk0p1")).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/mounts"), mounts).unwrap();
        root
    }

    #[test]
    fn a_bundle_is_found_on_a_stick_that_is_mounted() {
        let root = with_stick("/dev/sdb1 /media/my\\040stick vfat ro 0 0\n");
        assert_eq!(partitions(root.path()), [PathBuf::from("/dev/sdb1")]);
        let folder = root.path().join("media/my stick");
        fs::create_dir_all(folder.join("folder.raucb")).unwrap();
        for name in ["._box.raucb", "notes.txt"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let none = find(root.path(), ".raucb").err().unwrap();
        assert!(none.contains("no file that ends in .raucb"), "{none}");
        fs::write(folder.join("box.raucb"), "x").unwrap();
        assert_eq!(find(root.path(), ".raucb").ok().unwrap().path, folder.join("box.raucb"));
    }

    #[test]
    fn the_disk_that_the_box_runs_from_is_no_stick() {
        let root = with_stick("/dev/sdb2 / ext4 ro 0 0\n");
        assert!(partitions(root.path()).is_empty());
    }

    #[test]
    fn without_a_stick_it_says_so() {
        let root = tempfile::tempdir().unwrap();
        assert!(find(root.path(), ".raucb").err().unwrap().starts_with("no stick is plugged in"));
    }
}
