//! What the gateway leaves for the privileged half of the box: how it is, and what somebody let in asks for.
//!
//! Invariant: each file is there whole or not at all, and only this user and root read it.

use super::privileged::below;
use super::replace::replace;
use gateway_core::appliance::layout;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_lies_in_its_folder_and_without_the_box_nothing_is_made() {
        let root = tempfile::tempdir().unwrap();
        assert!(leave(root.path(), "gate.json", b"{}").is_err(), "no service manager has made the folder's parent");
        fs::create_dir_all(below(root.path(), layout::TOLD)).unwrap();
        leave(root.path(), "requests/update.json", b"{}").unwrap();
        leave(root.path(), "requests/update.json", b"[]").unwrap();
        assert_eq!(fs::read(below(root.path(), layout::TOLD).join("requests/update.json")).unwrap(), b"[]");
    }
}
