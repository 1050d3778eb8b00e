//! `appliance card`: puts the gateway's report onto the card beside the settings, and shows its light.
//!
//! Invariant: the card is written only where the report differs, and it is writable only for that moment. What cannot be written is
//! told once and tried again with the next change, never in a loop.

use super::super::EXIT_FAILED;
use crate::platform::clock::SystemClock;
use crate::platform::replace::replace;
use crate::platform::{Clock, light, mounted, privileged};
use gateway_core::appliance::light::Light;
use gateway_core::appliance::report::same;
use gateway_core::appliance::{Card, layout};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The gateway may say something new while this runs.
const ROUNDS_MAX: usize = 3;
/// Notes in `layout::SAYS`: the trigger that the light had, and that the card must be made read-only again.
const LIGHT_BEFORE: &str = "light-before";

pub fn run(root: &Path, err: &mut dyn Write) -> u8 {
    let says = privileged::below(root, layout::SAYS);
    if let Err(error) = fs::create_dir_all(&says) {
        let _ = writeln!(err, "{}: {error}", says.display());
        return EXIT_FAILED;
    }
    let mut status = 0;
    for _ in 0..ROUNDS_MAX {
        let told = told(root);
        status = 0;
        let shown = match told.0.as_deref().and_then(Light::from_word) {
            Some(light) => light::show(root, light, &says.join(LIGHT_BEFORE)),
            None => light::give_back(root, &says.join(LIGHT_BEFORE)),
        };
        if let Err(error) = shown {
            let _ = writeln!(err, "the light cannot be set: {error}");
            status = EXIT_FAILED;
        }
        if let Err(reason) = answer(root, told.1.as_deref()) {
            let _ = writeln!(err, "{reason}");
            status = EXIT_FAILED;
        }
        if told == self::told(root) {
            break;
        }
    }
    status
}

/// The light's word and the report.
fn told(root: &Path) -> (Option<String>, Option<String>) {
    (privileged::told(root, layout::TOLD_LIGHT), privileged::told(root, layout::TOLD_REPORT))
}

/// Writes the report, if there is one and it belongs there, and says how that went.
fn answer(root: &Path, report: Option<&str>) -> Result<(), String> {
    let (boot, note) =
        (privileged::below(root, layout::BOOT), privileged::below(root, layout::SAYS).join(layout::CARD_OPEN));
    // A run that was killed has left it writable; if that cannot be mended now, it is tried again below or with the next change.
    let left = mounted::close_what_was_left(&boot, &note);
    let Some(report) = report.filter(|_| is_wanted(root, &boot)) else { return left };
    let path = boot.join(layout::REPORT);
    let is_there = || fs::read(&path).is_ok_and(|bytes| same(&String::from_utf8_lossy(&bytes), report));
    let written = match is_there() {
        true => left,
        false => mounted::while_writable(&boot, &note, || {
            replace(&path, report.as_bytes(), 0o644).map_err(|error| in_words(&error))
        }),
    };
    let reason = written.err().map(|reason| mount_in_words(&reason)).unwrap_or_default();
    // What could not be closed is written all the same.
    let is_there = is_there();
    let before = privileged::said(root).card;
    let at =
        before.as_ref().filter(|before| before.written == is_there && before.reason == reason).map(|before| before.at);
    let at = at.unwrap_or_else(|| SystemClock::new().now().wall);
    let card = Card { written: is_there, reason: reason.clone(), at };
    if before.as_ref() != Some(&card) {
        privileged::say(root, "card", &card).map_err(|error| format!("card.json: {error}"))?;
    }
    if reason.is_empty() { Ok(()) } else { Err(reason) }
}

/// Always on a system image. On an ordinary Debian only where somebody has put settings beside it.
fn is_wanted(root: &Path, boot: &Path) -> bool {
    let ours = |entry: fs::DirEntry| entry.file_name().to_string_lossy().to_lowercase().starts_with("gateway");
    let settings = || fs::read_dir(boot).into_iter().flatten().flatten().any(ours);
    boot.is_dir() && (privileged::below(root, layout::IMAGE).exists() || settings())
}

/// Why a file cannot be written onto the card.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull => {
            "the card's first partition is full: delete files from it that do not belong there".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => WRITE_PROTECTED.to_owned(),
        _ if error.raw_os_error() == Some(libc::EIO) => {
            "the card gives read or write errors: replace it soon; results are on its other partition".to_owned()
        }
        _ => format!("the card's first partition cannot be written: {error}"),
    }
}

const WRITE_PROTECTED: &str = "the card cannot be written: it is write-protected, or has switched itself to read-only because it is \
                               at its end; replace it";

/// What mount(8) says of a card that takes no more writes.
pub fn mount_in_words(reason: &str) -> String {
    if reason.starts_with("mount ") && (reason.contains("write-protected") || reason.contains("read-only")) {
        return WRITE_PROTECTED.to_owned();
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_cannot_be_written_is_told_in_words() {
        let words = |code| in_words(&io::Error::from_raw_os_error(code));
        assert!(words(libc::ENOSPC).contains("full") && words(libc::EIO).contains("errors"));
        assert!(words(libc::EROFS).contains("write-protected") && words(libc::EPERM).contains("cannot be written"));
        let mount = "mount -o remount,rw /boot/firmware: mount: /boot/firmware: cannot remount /dev/mmcblk0p1 read-write, is \
                     write-protected. (exit status: 32)";
        assert_eq!(mount_in_words(mount), WRITE_PROTECTED);
        assert_eq!(mount_in_words("mount does not start: not found"), "mount does not start: not found");
    }
}
