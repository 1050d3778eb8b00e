//! The pairing code: eight digits that let the first person in, or one who has lost the passphrase. It stands in
//! `<state_dir>/pairing-code`, for the service's group only, and nowhere else.
//!
//! Invariants: a code is good once; after ten wrong tries there is another one; while somebody can sign in there is one only if
//! it was asked for on the box, and for a quarter of an hour.

use super::aside;
use crate::platform::{Disk, Entropy};
use gateway_core::time::Mono;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The file's name in the state folder.
const NAME: &str = "pairing-code";
const NEW_NAME: &str = "pairing-code.new";
const CODES: u64 = 100_000_000;
/// Then there is another code.
const WRONG_TRIES_MAX: u32 = 10;
/// How long a code is good that was made although somebody can sign in.
pub const AGAIN_SECONDS_MAX: u64 = 900;

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    Right,
    Wrong,
    /// There is no code.
    Closed,
}

/// The code's file and what was tried.
#[derive(Default)]
pub struct Pairing {
    state: Mutex<State>,
    /// Held from the look at a code to its end, so that two cannot use one.
    pub turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    wrong: u32,
    /// Since when there is a code for somebody who has lost the passphrase.
    again_since: Option<Mono>,
}

impl Pairing {
    /// The code that is good now. While nobody can sign in (`has_people` is false) there always is one: it is made here if it
    /// is missing.
    pub async fn code(
        &self,
        (disk, entropy): (&dyn Disk, &dyn Entropy),
        state_dir: &Path,
        has_people: bool,
        now: Mono,
    ) -> io::Result<Option<String>> {
        let path = state_dir.join(NAME);
        let kept = {
            let path = path.clone();
            aside(disk, move || read(&path)).await.flatten()
        };
        match (kept, has_people) {
            (Some(code), false) => Ok(Some(code)),
            (None, false) => self.renew((disk, entropy), state_dir, None).await.map(Some),
            (None, true) => Ok(None),
            (Some(code), true) => {
                // One that was made while no gateway ran counts from the first look at it.
                let since = *self.state().again_since.get_or_insert(now);
                if now.since(since) < Duration::from_secs(AGAIN_SECONDS_MAX) {
                    return Ok(Some(code));
                }
                self.end(disk, state_dir).await?;
                Ok(None)
            }
        }
    }

    /// A new code in place of any other; `again`: somebody can sign in already, and this is when it was asked for.
    pub async fn renew(
        &self,
        (disk, entropy): (&dyn Disk, &dyn Entropy),
        state_dir: &Path,
        again: Option<Mono>,
    ) -> io::Result<String> {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let number = u64::from_le_bytes(random) % CODES;
        let code = format!("{:04}-{:04}", number / 10_000, number % 10_000);
        let (written, folder) = (code.clone(), state_dir.to_owned());
        let stopping = || io::Error::other("the gateway is stopping");
        aside(disk, move || write(&folder, &written)).await.ok_or_else(stopping)??;
        *self.state() = State { wrong: 0, again_since: again };
        Ok(code)
    }

    /// Compares in constant time. Too many wrong ones make the code another one.
    pub async fn try_code(
        &self,
        (disk, entropy): (&dyn Disk, &dyn Entropy),
        state_dir: &Path,
        (sent, good): (&str, Option<&str>),
    ) -> io::Result<Tried> {
        let Some(good) = good else { return Ok(Tried::Closed) };
        if digits(sent).as_bytes().ct_eq(digits(good).as_bytes()).into() {
            return Ok(Tried::Right);
        }
        let (wrong, again) = {
            let mut state = self.state();
            state.wrong += 1;
            (state.wrong, state.again_since)
        };
        if wrong >= WRONG_TRIES_MAX {
            self.renew((disk, entropy), state_dir, again).await?;
        }
        Ok(Tried::Wrong)
    }

    /// The code was used, or its time is over.
    pub async fn end(&self, disk: &dyn Disk, state_dir: &Path) -> io::Result<()> {
        let path = state_dir.join(NAME);
        let removed = aside(disk, move || match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        removed.await.unwrap_or(Ok(()))?;
        *self.state() = State::default();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// People type it with a dash, a blank or nothing between the groups.
fn digits(code: &str) -> String {
    code.chars().filter(|c| !matches!(c, '-' | ' ')).collect()
}

/// What stands in the file, if it is a code.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let code = text.trim();
    let is_code = code.len() == 9 && digits(code).len() == 8 && digits(code).bytes().all(|byte| byte.is_ascii_digit());
    is_code.then(|| code.to_owned())
}

/// Replaces the file in one step. Written by root, it belongs to whom the folder belongs to.
fn write(folder: &Path, code: &str) -> io::Result<()> {
    let new: PathBuf = folder.join(NEW_NAME);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
    file.write_all(format!("{code}\n").as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o640))?;
    let owner = fs::metadata(folder)?;
    if file.metadata()?.uid() != owner.uid() {
        chown(&new, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&new, folder.join(NAME))
}
