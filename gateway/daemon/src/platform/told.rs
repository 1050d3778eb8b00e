//! What the gateway leaves for the privileged half of the box: how it is, and what somebody let in asks for.
//!
//! Invariant: each file is there whole or not at all, and only this user and root read it.

use super::privileged::{below, plain};
use super::replace::replace;
use gateway_core::appliance::layout;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// More than anything that is asked for has, but for settings.
pub const ASKED_BYTES_MAX: u64 = 64 << 10;

/// Writes `name` below [`layout::TOLD`]. The error is a sentence.
pub fn leave(root: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = below(root, layout::TOLD).join(name);
    let folder = path.parent().unwrap_or(root);
    // The folder of what is asked is the gateway's own; the one above it is made by the service manager.
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(format!("cannot make {}: {error}", folder.display()));
        }
        _ => {}
    }
    replace(&path, bytes, 0o600).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Asks for something: the same, unless somebody has asked already and nobody has taken that yet; then it is given back.
pub fn ask(root: &Path, name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    // Two who ask at once use the same name on the way.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = below(root, layout::TOLD).join(layout::ASKED).join(name);
    let mine = format!("{}/{name}.mine", layout::ASKED);
    leave(root, &mine, bytes)?;
    let mine = below(root, layout::TOLD).join(mine);
    match renameat_with(CWD, &mine, CWD, &path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(None),
        Err(error) => {
            let _ = fs::remove_file(mine);
            if error != Errno::EXIST {
                return Err(format!("cannot write {}: {}", path.display(), io::Error::from(error)));
            }
            Ok(Some(plain(CWD, &path, ASKED_BYTES_MAX).unwrap_or_default()))
        }
    }
}

/// Whether a request, `name` in [`layout::ASKED`], could be taken back: nobody had taken it yet.
pub fn withdraw(root: &Path, name: &str) -> bool {
    fs::remove_file(below(root, layout::TOLD).join(layout::ASKED).join(name)).is_ok()
}

/// Takes what is asked for, `name` in [`layout::ASKED`], away and returns it; nothing if it is no plain file. The folder is the
/// gateway's, which root must not trust: whatever lies there is gone afterwards, and no link leads elsewhere. Errors: it is still there.
pub fn take(root: &Path, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let path = below(root, layout::TOLD).join(layout::ASKED);
    let folder = match openat(CWD, &path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(folder) => folder,
        // The folder above is root's own: it is the link that goes.
        Err(Errno::LOOP | Errno::NOTDIR) => return fs::remove_file(path).map(|()| Vec::new()),
        Err(error) => return Err(error.into()),
    };
    // What is torn or too long is no request; it goes as well.
    let bytes = plain(&folder, Path::new(name), bytes_max).unwrap_or_default();
    match unlinkat(&folder, name, AtFlags::empty()) {
        // By way of the folder that is open: another one under its name is not looked at.
        Err(Errno::ISDIR) => fs::remove_dir_all(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?,
        removed => removed?,
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_request_lies_in_its_folder_and_without_the_box_nothing_is_made() {
        let root = tempfile::tempdir().unwrap();
        assert!(leave(root.path(), "gate.json", b"{}").is_err(), "no service manager has made the folder's parent");
        fs::create_dir_all(below(root.path(), layout::TOLD)).unwrap();
        leave(root.path(), "requests/update.json", b"{}").unwrap();
        leave(root.path(), "requests/update.json", b"[]").unwrap();
        assert_eq!(fs::read(below(root.path(), layout::TOLD).join("requests/update.json")).unwrap(), b"[]");
        assert_eq!(take(root.path(), "update.json", ASKED_BYTES_MAX).unwrap(), b"[]");
        assert_eq!(take(root.path(), "update.json", ASKED_BYTES_MAX).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(ask(root.path(), "update.json", b"first"), Ok(None));
        assert_eq!(ask(root.path(), "update.json", b"second"), Ok(Some(b"first".to_vec())));
        assert_eq!(take(root.path(), "update.json", ASKED_BYTES_MAX).unwrap(), b"first");
        assert_eq!(ask(root.path(), "update.json", b"second"), Ok(None));
        assert_eq!(fs::read_dir(below(root.path(), layout::TOLD).join(layout::ASKED)).unwrap().count(), 1);
    }

    #[test]
    fn whatever_lies_where_a_request_should_goes_away_and_nothing_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let (told, other) = (below(root.path(), layout::TOLD), root.path().join("etc"));
        let (requests, request) = (told.join("requests"), told.join("requests/update.json"));
        fs::create_dir_all(&requests).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("update.json"), "theirs").unwrap();
        let gone = || {
            assert_eq!(
                take(root.path(), "update.json", ASKED_BYTES_MAX).ok().filter(|_| !request.exists()),
                Some(Vec::new())
            )
        };
        fs::create_dir_all(request.join("folder")).unwrap();
        symlink(&other, request.join("link")).unwrap();
        gone();
        symlink(other.join("update.json"), &request).unwrap();
        gone();
        rustix::fs::mknodat(CWD, &request, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        gone();
        fs::remove_dir(&requests).unwrap();
        symlink(&other, &requests).unwrap();
        gone();
        assert!(fs::symlink_metadata(&requests).is_err(), "the link that stood for the folder");
        assert_eq!(fs::read(other.join("update.json")).unwrap(), b"theirs");
    }
}
