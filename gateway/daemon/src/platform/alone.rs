//! Locks between the short programs of the privileged half: one of them at a time does a thing.
//!
//! Invariant: a lock ends with its program, however that ends, and only root can hold one.

use super::network::pause;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Between two tries.
const TRY_MILLIS: u64 = 100;

/// Takes this lock, which lasts as long as what is returned. `None`: somebody else has held it for all this time.
pub fn alone(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Whoever may open it may lock it.
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let step = Duration::from_millis(TRY_MILLIS);
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if waited < patience => {
                pause(step);
                waited += step;
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/lock");
        let mine = alone(&path, Duration::ZERO).unwrap();
        assert!(mine.is_some() && alone(&path, Duration::ZERO).unwrap().is_none());
        drop(mine);
        assert!(alone(&path, Duration::ZERO).unwrap().is_some());
    }
}
