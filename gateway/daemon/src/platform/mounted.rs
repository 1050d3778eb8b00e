//! A partition that is read-only but for the moment in which something is written.
//!
//! Invariant: what was read-only is so again afterwards, also after an error, and also after a run that was killed in between: a
//! note in memory outlives it. Of several programs one at a time has it writable.

use super::alone::alone;
use super::privileged::system;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nobody has it writable for longer.
const TURN_SECONDS_MAX: u64 = 30;

/// What is mounted at a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: String,
    pub read_only: bool,
}

/// What is mounted at this very folder; `None`: nothing is, it is a folder of what is mounted above.
pub fn at(folder: &Path) -> Option<Mount> {
    let folder = fs::canonicalize(folder).ok()?;
    found(&fs::read_to_string("/proc/self/mountinfo").ok()?, &folder)
}

/// The last line of the place counts: it lies on top. (proc(5): the fifth word is the place, with blanks as octal numbers; the
/// options of the mount are the sixth; after a lone dash the kind, the source and the options of the file system.)
fn found(mountinfo: &str, folder: &Path) -> Option<Mount> {
    let mut mounts = mountinfo.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut words = mount.split(' ').skip(4);
        let place = words.next()?.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        let mut of_system = system.split(' ');
        let kind = of_system.next()?.to_owned();
        let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
        let read_only = is_ro(words.next()?) || is_ro(of_system.nth(1)?);
        (Path::new(&place) == folder).then_some(Mount { kind, read_only })
    });
    mounts.next_back()
}

/// Does this with the folder writable. `note` is a file in memory that says that the folder must be made read-only again. The
/// error of the work comes before that of the mounting.
pub fn while_writable<T>(folder: &Path, note: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    if at(folder).is_none() {
        return work();
    }
    let _turn = turn(note)?;
    let Some(mount) = at(folder) else { return work() };
    if !mount.read_only && !note.exists() {
        return work();
    }
    fs::write(note, "").map_err(|error| format!("{}: {error}", note.display()))?;
    let opened = if mount.read_only { remount(folder, "remount,rw") } else { Ok(()) };
    let done = opened.and_then(|()| work());
    let closed = close(folder, note);
    let value = done?;
    closed.map(|()| value)
}

/// Makes it read-only again if a run that was killed has left it writable.
pub fn close_what_was_left(folder: &Path, note: &Path) -> Result<(), String> {
    if !note.exists() {
        return Ok(());
    }
    let _turn = turn(note)?;
    // Meanwhile somebody else may have been done with it.
    if note.exists() { close(folder, note) } else { Ok(()) }
}

/// Waits until no other program has it writable.
fn turn(note: &Path) -> Result<fs::File, String> {
    let lock = note.with_extension("lock");
    let turn = alone(&lock, Duration::from_secs(TURN_SECONDS_MAX));
    turn.map_err(|error| format!("{}: {error}", lock.display()))?
        .ok_or_else(|| format!("another program has held {} for {TURN_SECONDS_MAX} seconds", lock.display()))
}

fn close(folder: &Path, note: &Path) -> Result<(), String> {
    if at(folder).is_some_and(|mount| !mount.read_only) {
        remount(folder, "remount,ro")?;
    }
    fs::remove_file(note).map_err(|error| format!("{}: {error}", note.display()))
}

fn remount(folder: &Path, how: &str) -> Result<(), String> {
    let folder: PathBuf = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    system("mount", &["-o", how, &folder.to_string_lossy()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_says_what_lies_on_top() {
        let list = "22 1 179:2 / / ro,noatime shared:1 - ext4 /dev/root ro\n\
                    31 22 179:1 / /boot/firmware rw,noatime shared:2 - vfat /dev/mmcblk0p1 ro,fmask=0022\n\
                    32 22 0:33 / /mnt/two\\040words rw - tmpfs tmpfs rw\n\
                    33 22 0:34 / /mnt/two\\040words ro - ext4 /dev/sda rw\n";
        let mount = |kind: &str, read_only| Some(Mount { kind: kind.to_owned(), read_only });
        assert_eq!(found(list, "/boot/firmware".as_ref()), mount("vfat", true));
        assert_eq!(found(list, "/mnt/two words".as_ref()), mount("ext4", true));
        assert_eq!(found(list, "/boot".as_ref()), None);
    }

    #[test]
    fn a_folder_where_nothing_is_mounted_is_written_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        assert_eq!(while_writable(folder.path(), &note, || Ok(7)), Ok(7));
        assert_eq!(while_writable(folder.path(), &note, || Err::<(), _>("no".to_owned())), Err("no".to_owned()));
        assert!(!note.exists());
    }

    #[test]
    fn what_was_left_open_is_closed_once_the_other_program_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        fs::write(&note, "").unwrap();
        let theirs = turn(&note).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| close_what_was_left(folder.path(), &note));
            assert!(note.exists(), "it is theirs");
            drop(theirs);
            waits.join().unwrap().unwrap();
        });
        assert!(!note.exists());
    }
}
