//! Sticks that somebody plugs in: looked through for a file, and mounted for as long as that takes.
//!
//! Invariant: a stick is only read; nothing on it is run, no device file on it opens, and what was mounted is unmounted again.

use super::privileged::{below, system};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a stick is mounted meanwhile.
const PLACE: &str = "/run/analyzer-gateway-appliance/stick";
/// Names of a folder that are looked at.
const NAMES_MAX: usize = 10_000;

/// A file on a stick. The stick stays mounted until this is dropped.
pub struct OnStick {
    pub path: PathBuf,
    mounted: Option<PathBuf>,
}

impl Drop for OnStick {
    fn drop(&mut self) {
        if let Some(place) = &self.mounted {
            unmount(place);
        }
    }
}

/// The partitions of sticks: `/sys/class/block` links each to its place in the tree of devices, in which a stick is below `usb`.
pub fn partitions(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(below(root, "/sys/class/block")).into_iter().flatten().flatten();
    let on_usb = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.iter().any(|part| part.to_string_lossy().starts_with("usb")))
    });
    let mut names: Vec<String> = on_usb.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    // A disk that has partitions holds no file system itself.
    let divided = |name: &String| names.iter().any(|other| other != name && other.starts_with(name.as_str()));
    names.iter().filter(|name| !divided(name)).cloned().collect()
}

/// The newest file with this ending in the first folder of any stick. The error says what to do.
pub fn find(root: &Path, ending: &str) -> Result<OnStick, String> {
    let sticks = partitions(root);
    if sticks.is_empty() {
        return Err("no stick is plugged in: plug one in that holds the bundle".to_owned());
    }
    let mounts = fs::read_to_string(below(root, "/proc/mounts")).unwrap_or_default();
    let mut unread = None;
    for name in &sticks {
        let device = format!("/dev/{name}");
        let there = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(&device))
                .then(|| words.next())?
                .map(|place| below(root, &place.replace("\\040", " ")))
        });
        let (place, mounted) = match there {
            Some(place) => (place, None),
            None => match mount(root, &device) {
                Ok(place) => (place.clone(), Some(place)),
                Err(error) => {
                    unread = Some(error);
                    continue;
                }
            },
        };
        match newest(&place, ending) {
            Some(path) => return Ok(OnStick { path, mounted }),
            None => mounted.iter().for_each(|place| unmount(place)),
        }
    }
    Err(match unread {
        Some(error) => {
            format!("the stick cannot be read: format it as FAT32 or exFAT and copy the bundle again ({error})")
        }
        None => format!("no file that ends in {ending} is on the stick, outside of its folders: copy it there"),
    })
}

fn mount(root: &Path, device: &str) -> Result<PathBuf, String> {
    let place = below(root, PLACE);
    fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let at = place.display().to_string();
    let kinds = ["vfat", "exfat", "ext4"];
    let mut first = None;
    for kind in kinds {
        match system("mount", &["-t", kind, "-o", "ro,nosuid,nodev,noexec", device, &at]) {
            Ok(_) => return Ok(place),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_default())
}

fn unmount(place: &Path) {
    if let Err(error) = system("umount", &[&place.display().to_string()]) {
        tracing::warn!(error, "the stick stays mounted, read-only");
    }
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
        assert_eq!(partitions(root.path()), ["sdb1"]);
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
    fn without_a_stick_it_says_so() {
        let root = tempfile::tempdir().unwrap();
        assert!(find(root.path(), ".raucb").err().unwrap().starts_with("no stick is plugged in"));
    }
}
