//! Files that somebody else has named, and that are only read if they are plain files.
//!
//! Invariant: a pipe or a device in a file's place keeps nobody waiting.

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsFd;
use std::path::Path;

/// Opens a file to be read, through links. [`ErrorKind::IsADirectory`] for a folder, [`ErrorKind::InvalidInput`] for whatever
/// else is no plain file.
pub fn open(path: &Path) -> Result<File> {
    opened(CWD, path, OFlags::empty())
}

/// The same for a name that must not be a link. `folder`: where a relative path begins.
pub fn open_itself(folder: impl AsFd, path: &Path) -> Result<File> {
    opened(folder, path, OFlags::NOFOLLOW)
}

fn opened(folder: impl AsFd, path: &Path, flags: OFlags) -> Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(folder, path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(file),
        (_, true) => Err(Error::from(ErrorKind::IsADirectory)),
        _ => Err(Error::from(ErrorKind::InvalidInput)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_plain_files_open_and_a_pipe_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        symlink(at("file"), at("link")).unwrap();
        rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let kind = |name: &str| open(&at(name)).map(drop).map_err(|error| error.kind());
        assert_eq!(kind("file"), Ok(()));
        assert_eq!(kind("link"), Ok(()));
        assert_eq!(kind("pipe"), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(""), Err(ErrorKind::IsADirectory));
        assert_eq!(kind("none"), Err(ErrorKind::NotFound));
        assert!(open_itself(CWD, &at("file")).is_ok() && open_itself(CWD, &at("link")).is_err());
    }
}
