//! Replaces a file so that after a power cut either the old or the new one is there, whole.
//!
//! Invariant: nobody ever sees half of a file, and an error leaves the old one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes a new file beside the old one, forces it to the disk and renames it. `mode`: the permissions of the new file, whatever
/// the process's mask is (a FAT file system knows none and takes any).
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = free(path)?;
    let written = write(&new, bytes, mode).and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// Whether [`replace`] could be done now: a new file is made beside it, and taken away again.
pub fn can_be_replaced(path: &Path) -> io::Result<()> {
    let new = free(path)?;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    fs::remove_file(&new)
}

/// What the new file is called until it takes the old one's place. After a power cut it may be there.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.to_owned();
    name.push(".new");
    Ok(path.with_file_name(name))
}

/// The same, and it is not there: made anew, it has its own mode.
fn free(path: &Path) -> io::Result<PathBuf> {
    let new = beside(path)?;
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(new),
    }
}

fn write(new: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
    let _ = file.set_permissions(fs::Permissions::from_mode(mode));
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_file_is_whole_and_has_its_mode_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.txt");
        fs::write(folder.path().join("report.txt.new"), "left behind by a power cut").unwrap();
        replace(&path, b"first", 0o644).unwrap();
        replace(&path, b"second", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        assert!(replace(&path, b"new", 0o644).is_err());
        assert!(path.join("inside").is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
