//! Names that people and their computers give to the settings file without meaning to.
//!
//! Invariant: a file of such a name is never read, because there may be two; it is named, so that somebody can rename it.

use std::fs;
use std::path::{Path, PathBuf};

/// As many are named; a folder of copies is not listed whole.
const NAMED_MAX: usize = 5;
/// What a file of the gateway's own on the card is called.
const OURS: [&str; 4] = ["gateway.yaml", "gateway.yaml.new", "gateway.example.yaml", "gateway.report.txt"];

/// Files in the usual folders that look as if somebody meant them to be the settings: `gateway.yaml.txt`, `gateway.yml`,
/// `gateway (1).yaml`, `Gateway.YAML`. Sorted. `read`: the file that is.
pub fn beside(usual: &[PathBuf], read: Option<&Path>) -> Vec<String> {
    let folders = usual.iter().map(PathBuf::as_path).chain(read).filter_map(Path::parent);
    let mut found: Vec<String> = folders.flat_map(|folder| lookalikes(folder, read)).collect();
    found.sort();
    found.dedup();
    found.truncate(NAMED_MAX);
    found
}

/// The first of them in the folder of a settings file that is not there.
pub fn nearly(missing: &Path) -> Option<String> {
    let name = missing.file_name()?.to_str()?;
    let folder = missing.parent().filter(|_| name == OURS[0])?;
    // A name alone is one in the present folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = lookalikes(folder, None);
    found.sort();
    found.into_iter().next()
}

fn lookalikes(folder: &Path, read: Option<&Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let plain = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    // On a FAT partition `GATEWAY.YAML` is the very file that is read.
    let same = |entry: &fs::DirEntry| {
        use std::os::unix::fs::MetadataExt;
        let place = |file: fs::Metadata| (file.dev(), file.ino());
        let read = read.and_then(|path| fs::metadata(path).ok()).map(place);
        read.is_some() && entry.metadata().ok().map(place) == read
    };
    let others = plain.filter(|entry| !same(entry));
    others.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_meant(name)).collect()
}

fn is_meant(name: &str) -> bool {
    let lower = name.to_lowercase();
    if OURS.contains(&name) || !lower.starts_with("gateway") {
        return false;
    }
    let Some((stem, ends)) = lower.split_once('.') else { return lower == "gateway" };
    let ends: Vec<&str> = ends.split('.').collect();
    let is_copy = stem.trim_start_matches("gateway").chars().all(|c| " ()-_~".contains(c) || c.is_ascii_digit());
    let is_copy = is_copy || stem.contains("copy") || stem.contains("kopie");
    is_copy && ends.iter().all(|end| ["yaml", "yml", "txt", "rtf", "doc", "docx", "yaml~"].contains(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_other_files_are_left_alone() {
        for name in [
            "gateway.yaml.txt",
            "gateway.yml",
            "gateway (1).yaml",
            "GATEWAY.YAML",
            "Gateway.yaml",
            "gateway.txt",
            "gateway",
            "gateway.yaml.yaml",
            "gateway - Copy.yaml",
            "gateway - Kopie.yaml",
            "gateway.rtf",
        ] {
            assert!(is_meant(name), "{name}");
        }
        for name in
            ["gateway.yaml", "gateway.report.txt", "gateway.example.yaml", "config.txt", "gateways.md", "gateway.pdf"]
        {
            assert!(!is_meant(name), "{name}");
        }
    }
}
