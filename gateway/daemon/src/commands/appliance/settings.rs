//! The settings as root obeys them.
//!
//! Invariant: nothing that the gateway's user may write decides what root reads or passes on: root keeps a copy of the last good
//! settings of its own, and of the files that they name it reads only those in folders that are root's.

use crate::configuration::{self, Failure, Loaded, Running, Source, behind};
use crate::platform::privileged::below;
use gateway_core::appliance::layout;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where files may lie that go into network and broker. Beside the settings on the card; where root keeps them; as systemd hands
/// them on.
const FOLDERS: [&str; 3] = [layout::BOOT, "/etc/analyzer-gateway", "/run/credentials/analyzer-gateway.service"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Network,
    Broker,
}

/// Good settings, and what of them root does not do.
pub struct Obeyed {
    pub running: Running,
    /// Sections that stay as they were, each with the reason in a sentence.
    pub left: Vec<(Section, String)>,
}

impl Obeyed {
    pub fn leaves(&self, section: Section) -> Option<&str> {
        self.left.iter().find(|(left, _)| *left == section).map(|(_, reason)| reason.as_str())
    }
}

/// Where the settings of this box are.
pub fn source(root: &Path) -> Source {
    let mut source = Source::of_process(None, None);
    if root != Path::new("/") {
        source.usual = source.usual.iter().map(|path| below(root, &path.to_string_lossy())).collect();
        source.state_dir = Some(below(root, "/var/lib/analyzer-gateway"));
        source.environment.clear();
    }
    source
}

/// The settings of the file, or the last good ones that root has kept itself.
pub fn settings(root: &Path) -> Result<Obeyed, Failure> {
    let source = source(root);
    let running = configuration::load_for_root(&source, &kept(root))?;
    let left = strange(root, &running.loaded).map(|(section, key, path)| {
        let name = if section == Section::Network { "the network" } else { "the box's own broker" };
        let reason = format!("{name} stays as it is: `{key}` names {}, and {}", path.display(), only_there());
        (section, reason)
    });
    let left = left.collect();
    Ok(Obeyed { running, left })
}

/// Which of the files that were named when these were read root does not read, each with its section and its key.
fn strange<'a>(root: &Path, loaded: &'a Loaded) -> impl Iterator<Item = (Section, &'a str, &'a Path)> {
    let is_bridged = loaded.config.is_bridged();
    loaded.named.iter().filter_map(move |(key, path)| {
        let section = section_of(key, is_bridged)?;
        (!is_roots(root, &behind(path))).then_some((section, key.as_str(), path.as_path()))
    })
}

fn only_there() -> String {
    format!("for this the box reads only files in {} or {}: put it there", FOLDERS[0], FOLDERS[1])
}

/// The section that root carries out, if this key is of one.
fn section_of(key: &str, is_bridged: bool) -> Option<Section> {
    match key.split('.').next()? {
        "network" => Some(Section::Network),
        "broker" => Some(Section::Broker),
        "monitoring" if is_bridged => Some(Section::Broker),
        _ => None,
    }
}

/// Files of good settings that root would not read on the box below this root, in sentences.
pub fn not_read_by_root(root: &Path, loaded: &Loaded) -> Vec<String> {
    strange(root, loaded).map(|(_, key, _)| format!("{key}: {}", only_there())).collect()
}

/// Keeps them for the day on which the file is refused, unless something in them is strange.
pub fn keep(root: &Path, obeyed: &Obeyed) -> io::Result<()> {
    if obeyed.running.refused.is_some() || !obeyed.left.is_empty() {
        return Ok(());
    }
    configuration::keep_in(&kept(root), &obeyed.running.loaded)
}

/// The folder of root's own copy.
pub fn kept(root: &Path) -> PathBuf {
    let is_image = below(root, layout::IMAGE).exists();
    below(root, if is_image { layout::SYSTEM } else { layout::SYSTEM_ELSEWHERE })
}

/// By the name alone: nobody but root makes links in these folders.
fn is_roots(root: &Path, path: &Path) -> bool {
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    !goes_up && FOLDERS.iter().any(|folder| path.starts_with(below(root, folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_roots_is_in_one_of_its_folders() {
        let is_roots = |path: &str| is_roots(Path::new("/"), Path::new(path));
        assert!(is_roots("/boot/firmware/broker.pem") && is_roots("/etc/analyzer-gateway/secrets/wifi"));
        for other in ["/etc/shadow", "/etc/analyzer-gateway/../shadow", "/etc/analyzer-gateway-2/x", "broker.pem"] {
            assert!(!is_roots(other), "{other}");
        }
    }
}
