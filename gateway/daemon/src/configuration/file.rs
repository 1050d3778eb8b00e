//! Where the settings file is, and its text.

use super::Source;
use crate::platform::plain;
use gateway_core::appliance::pushed::SETTINGS_BYTES_MAX;
use gateway_core::config::{Mistake, Place};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Names the file, after `--config`.
pub const VARIABLE: &str = "ANALYZER_GATEWAY_CONFIG";

const SAVE_AS: &str = "open it in Notepad and save it again: `Save as`, encoding `UTF-8`";

/// The file to read: the one that was named, which then must exist, or the first of the usual ones that does.
pub fn find(source: &Source) -> Option<PathBuf> {
    let named = source.environment.iter().find(|(name, value)| name == VARIABLE && !value.is_empty());
    let named = source.file.clone().or_else(|| named.map(|(_, value)| PathBuf::from(value)));
    // A file that is there but cannot be reached is not skipped: its error is better than another file's settings.
    named.or_else(|| source.usual.iter().find(|path| path.symlink_metadata().is_ok()).cloned())
}

/// Where a file lies that systemd hands to the service (`LoadCredential=secrets:` of its unit): while no gateway runs, root reads
/// it in the folder that it comes from. Any other path stays what it is.
pub fn behind(path: &Path) -> PathBuf {
    let handed = path.to_str().and_then(|path| path.strip_prefix("/run/credentials/analyzer-gateway.service/secrets_"));
    match handed.filter(|name| !name.contains('/') && !path.exists()) {
        Some(name) => Path::new("/etc/analyzer-gateway/secrets").join(name),
        None => path.to_owned(),
    }
}

/// The text of the file, or what is wrong with it as a file.
pub fn text(path: &Path) -> Result<String, Mistake> {
    let wrong = |problem: &str, suggestion: &str| Mistake::new(Place::Whole, "", problem, suggestion);
    let cannot = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            let suggestion = match super::beside::nearly(path) {
                Some(name) => {
                    format!("rename `{name}` to `{}`", path.file_name().unwrap_or_default().to_string_lossy())
                }
                None => "check its name, or leave out `--config` and its variable".to_owned(),
            };
            wrong("there is no such file", &suggestion)
        }
        ErrorKind::PermissionDenied => wrong(
            "the gateway may not read this file",
            "give its group the right to: `chgrp analyzer-gateway` and `chmod 640`",
        ),
        ErrorKind::IsADirectory => {
            wrong("is a folder, not a file", "write the name of the file in it, such as `gateway.yaml`")
        }
        ErrorKind::InvalidInput => wrong("is not a plain file", "write the name of a plain file"),
        _ => wrong(&format!("cannot be read: {error}"), "check the disk or the SD card"),
    };
    let mut bytes = Vec::new();
    let file = plain::open(path).map_err(|error| cannot(&error))?;
    file.take(SETTINGS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    if bytes.len() > SETTINGS_BYTES_MAX {
        return Err(wrong("is larger than 1 MiB, so it is not a settings file", "write the name of the settings file"));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("is empty", "write your settings, or copy them from a backup"));
    }
    if let Some(mistake) = other_kind(&bytes) {
        return Err(mistake);
    }
    if let Some(units) = utf16(&bytes) {
        let text: Result<String, _> = char::decode_utf16(units).collect();
        return text.map_err(|_| wrong("is damaged: it begins as UTF-16 text and does not go on so", SAVE_AS));
    }
    // The mark that Notepad puts in front is no part of it, be it of settings or of a password.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&good[start..]).chars().count() + 1;
        let suggestion = "save it as UTF-8 (in the editor's `save as`), or type this letter again";
        Mistake::new(Place::At { line, column }, "", "is not UTF-8 text from here on", suggestion)
    })
}

/// What Notepad calls `Unicode`: the bytes after a mark that tells their order.
fn utf16(bytes: &[u8]) -> Option<Vec<u16>> {
    let order: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    // Half a unit at the end is no text.
    let half = (bytes.len() % 2 == 1).then_some(0xd800);
    Some(bytes[2..].chunks_exact(2).map(|pair| order([pair[0], pair[1]])).chain(half).collect())
}

/// Files that other programs make when somebody types settings into them.
fn other_kind(bytes: &[u8]) -> Option<Mistake> {
    let start = &bytes[..bytes.len().min(64)];
    let start = start.trim_ascii_start().to_ascii_lowercase();
    let every_second = |first: usize| bytes.iter().skip(first).step_by(2).all(|byte| *byte == 0);
    let (problem, suggestion) = match () {
        () if start.starts_with(b"{\\rtf") => (
            "is a document of a word processor (RTF), not plain text",
            "write it with Notepad, or save it as plain text",
        ),
        () if start.starts_with(b"pk\x03\x04") || start.starts_with(b"\xd0\xcf\x11\xe0") => (
            "is a document of a word processor or a ZIP archive, not plain text",
            "write it with Notepad, or save it as plain text",
        ),
        () if start.starts_with(b"<!doctype") || start.starts_with(b"<html") => {
            ("is a web page, not plain text", "save the settings themselves, not the page that shows them")
        }
        () if bytes.len() >= 4 && bytes.iter().any(|byte| *byte != 0) && (every_second(0) || every_second(1)) => {
            ("is UTF-16 text without the mark that says so", SAVE_AS)
        }
        () => return None,
    };
    Some(Mistake::new(Place::Whole, "", problem, suggestion))
}
