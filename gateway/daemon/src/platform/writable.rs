//! A partition that is read-only but for the moment in which something is written to it.
//!
//! Invariant: one that was read-only before is read-only again afterwards, whatever happened; others are left alone.

use super::privileged::system;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// While this lives, the partition that holds a file can be written.
pub struct Writable {
    remounted: Option<PathBuf>,
}

impl Writable {
    /// Makes the partition that holds this path writable if it is mounted read-only. The error says why it stays so.
    pub fn of(path: &Path) -> io::Result<Writable> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let folder = fs::canonicalize(path.parent().unwrap_or(Path::new("/")))?;
        let Some((place, read_only)) = mount_of(&mounts, &folder) else { return Ok(Writable { remounted: None }) };
        if !read_only {
            return Ok(Writable { remounted: None });
        }
        system("mount", &["-o", "remount,rw", &place.to_string_lossy()]).map_err(io::Error::other)?;
        Ok(Writable { remounted: Some(place) })
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        if let Some(place) = &self.remounted
            && let Err(error) = system("mount", &["-o", "remount,ro", &place.to_string_lossy()])
        {
            tracing::warn!(%error, "a partition stays writable until the next start");
        }
    }
}

/// The last mount whose place is above the folder, and whether it is read-only (proc(5): device, place, type, options).
fn mount_of(mounts: &str, folder: &Path) -> Option<(PathBuf, bool)> {
    let lines = mounts.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let place = PathBuf::from(words.get(1)?.replace("\\040", " "));
        Some((place, words.get(3)?.split(',').any(|option| option == "ro")))
    });
    // Of two mounts in one place the later one is seen.
    lines
        .filter(|(place, _)| folder.starts_with(place))
        .enumerate()
        .max_by_key(|(at, (place, _))| (place.as_os_str().len(), *at))
        .map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_newest_mount_counts() {
        let mounts = "/dev/a / ext4 ro,noatime 0 0\nautofs /boot/firmware autofs rw 0 0\n/dev/b /boot/firmware vfat ro,umask=0027 0 0\n/dev/c /data ext4 rw 0 0\n";
        assert_eq!(mount_of(mounts, Path::new("/boot/firmware")), Some((PathBuf::from("/boot/firmware"), true)));
        assert_eq!(mount_of(mounts, Path::new("/data/x")), Some((PathBuf::from("/data"), false)));
        assert_eq!(mount_of(mounts, Path::new("/etc")), Some((PathBuf::from("/"), true)));
    }

    #[test]
    fn a_folder_that_can_be_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let writable = Writable::of(&folder.path().join("report.txt")).unwrap();
        assert_eq!(writable.remounted, None);
    }
}
