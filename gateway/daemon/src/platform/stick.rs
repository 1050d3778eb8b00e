//! Drives that a person plugs in for a moment, mounted only while something is done with them: they may be pulled at any other
//! time.
//!
//! Invariant: nothing on a stick is run, and one that was mounted here is unmounted whatever happens.

use super::privileged::{below, system};
use std::fs;
use std::path::{Path, PathBuf};

/// Where one is mounted, in the privileged half's folder.
const PLACE: &str = "/run/analyzer-gateway-appliance/stick";

/// A stick that is mounted.
pub struct Stick {
    folder: PathBuf,
    ours: bool,
}

impl Stick {
    /// Mounts a partition such as `/dev/sda1`, to write or only to read. The error is for people.
    pub fn mount(device: &Path, to_write: bool) -> Result<Stick, String> {
        let folder = PathBuf::from(PLACE);
        fs::create_dir_all(&folder).map_err(|error| format!("{PLACE} cannot be made: {error}"))?;
        let access = if to_write { "rw,nosuid,nodev,noexec" } else { "ro,nosuid,nodev,noexec" };
        let (device, place) = (device.to_string_lossy(), folder.to_string_lossy());
        system("mount", &["-o", access, &device, &place]).map_err(|error| {
            format!("the stick cannot be read: format it as FAT32 or exFAT on any computer and try again ({error})")
        })?;
        Ok(Stick { folder, ours: true })
    }

    /// A folder that is there already stands for a stick.
    pub fn folder_instead(folder: &Path) -> Stick {
        Stick { folder: folder.to_owned(), ours: false }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        // Writes out what is still in memory; there is nobody to tell if the stick is gone by now.
        if self.ours && system("umount", &[&self.folder.to_string_lossy()]).is_err() {
            let _ = system("umount", &["-l", &self.folder.to_string_lossy()]);
        }
    }
}

/// The partitions of all USB drives, and drives without partitions; of `/sys/class/block` below this root (sysfs(5)).
pub fn partitions(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(below(root, "/sys/class/block")) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let over_usb = fs::read_link(&path).is_ok_and(|target| {
            target.components().any(|part| part.as_os_str().to_str().is_some_and(|part| part.starts_with("usb")))
        });
        let has_partitions = || {
            let inside = fs::read_dir(&path).into_iter().flatten().flatten();
            inside.into_iter().any(|inside| inside.path().join("partition").exists())
        };
        if over_usb && (path.join("partition").exists() || !has_partitions()) {
            found.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn partitions_of_usb_drives_are_found_and_the_card_is_not() {
        let root = tempfile::tempdir().unwrap();
        let class = below(root.path(), "/sys/class/block");
        fs::create_dir_all(&class).unwrap();
        let usb = "sys/devices/platform/soc/usb1/1-1/host0/block";
        for (device, name) in
            [(format!("{usb}/sda"), "sda"), (format!("{usb}/sda/sda1"), "sda1"), (format!("{usb}/sdb"), "sdb")]
        {
            fs::create_dir_all(root.path().join(&device)).unwrap();
            symlink(root.path().join(&device), class.join(name)).unwrap();
        }
        fs::write(root.path().join(usb).join("sda/sda1/partition"), "1\n").unwrap();
        let card = root.path().join("sys/devices/platform/mmc/block/mmcblk0");
        fs::create_dir_all(&card).unwrap();
        symlink(&card, class.join("mmcblk0")).unwrap();
        assert_eq!(partitions(root.path()), [PathBuf::from("/dev/sda1"), PathBuf::from("/dev/sdb")]);
    }
}
