//! The last settings that were good, kept in the state folder, so that a bad file never leaves the box deaf.
//!
//! It is whole in itself: the environment is already laid over it and the secrets' files are read into it, because they may
//! be what has gone missing. So only the owner may read it.

use super::{Failure, Loaded, Machine, Source, profiles, yaml};
use crate::platform::replace::replace;
use gateway_core::config::{self, Node, Outside, Pem, Unfit, Value};
use gateway_core::time::Timestamp;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file's name in the state folder.
pub const NAME: &str = "last-good.yaml";
/// The last good settings of the program's version before, which may not understand those of this one.
const BEFORE: &str = "last-good.before.yaml";
/// The version that has written [`NAME`].
const WRITTEN_BY: &str = "last-good.version";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const HEAD: &str =
    "# The last good settings, written by the gateway. It holds secrets. Changes here are overwritten.\n";
/// What stands there instead where they have become somebody's own file.
const HEAD_OF_OWN: &str = "# The settings of this box as its backup had them, with their secrets. Change them here.\n";

/// The kept text as a settings file that people change.
pub fn as_own(kept: &str) -> String {
    format!("{HEAD_OF_OWN}{}", kept.strip_prefix(HEAD).unwrap_or(kept))
}

/// Stores these settings as the last good ones. They replace the older ones in one step: after a power cut either the one
/// or the other is there. Settings that came from no file are not kept: they need none.
pub fn keep_last_good(loaded: &Loaded) -> io::Result<()> {
    if loaded.path.is_none() {
        return Ok(());
    }
    keep_in(&loaded.config.gateway.state_dir, loaded)
}

/// The same in another folder.
pub fn keep_in(folder: &Path, loaded: &Loaded) -> io::Result<()> {
    let target = folder.join(NAME);
    if fs::read_to_string(&target).is_ok_and(|text| text == loaded.text) {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    let by = folder.join(WRITTEN_BY);
    if !fs::read_to_string(&by).is_ok_and(|version| version.trim() == VERSION) {
        if let Ok(former) = fs::read(&target) {
            replace(&folder.join(BEFORE), &former, 0o600)?;
        }
        replace(&by, VERSION.as_bytes(), 0o600)?;
    }
    replace(&target, loaded.text.as_bytes(), 0o600)
}

/// Keys that name a file, and the key that holds what is in it.
pub(super) const IN_FILES: [(&str, &str); 6] = [
    ("secret_file", "secret"),
    ("password_file", "password"),
    ("standard_webhooks_file", "standard_webhooks"),
    ("lab_id_token_file", "lab_id_token"),
    ("otlp_token_file", "otlp_token"),
    ("body_file", "body"),
];

/// The text to keep: the merged tree, with secrets and templates in place of the names of their files.
pub fn text(tree: &Node, machine: &Machine) -> String {
    let mut tree = tree.clone();
    inline(&mut tree);
    inline_profiles(&mut tree, machine);
    format!("{HEAD}{}", tree.to_yaml())
}

fn inline(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(inline),
        Value::Group(entries) => {
            for entry in entries {
                match IN_FILES.iter().find(|(key, _)| *key == entry.key) {
                    Some((_, key)) => inline_file(&mut entry.key, &mut entry.node, key),
                    None => inline(&mut entry.node),
                }
            }
        }
        Value::Nothing | Value::Text(_) => {}
    }
}

/// A profile of the user's own stands in the settings themselves; one that the gateway brings along is always there.
fn inline_profiles(tree: &mut Node, machine: &Machine) {
    let Value::Group(entries) = &mut tree.value else { return };
    let analyzers = entries.iter_mut().filter(|entry| entry.key == "analyzers").map(|entry| &mut entry.node.value);
    let items = analyzers.filter_map(|value| if let Value::List(items) = value { Some(items) } else { None }).flatten();
    for item in items {
        let Value::Group(keys) = &mut item.value else { continue };
        for key in keys.iter_mut().filter(|key| key.key == "profile") {
            let own = key.node.as_text().and_then(|name| profiles::own_profile(name, machine.profiles.as_deref()));
            if let Some(Ok(tree)) = own.map(|written| written.tree) {
                key.node = tree;
            }
        }
    }
}

fn inline_file(written: &mut String, node: &mut Node, key: &str) {
    let Some(Ok(text)) = node.as_text().map(|path| Machine::default().read(Path::new(path))) else { return };
    node.value = Value::Text(if key == "body" { text } else { text.trim().to_owned() });
    *written = key.to_owned();
}

/// Reads the last good settings of the first of these folders that has some. After an update was taken back they may be of the
/// newer version, with keys that this one does not know: then those hold that were good before it.
pub fn load(folders: &[PathBuf], source: &Source) -> Option<Result<Loaded, Failure>> {
    let path = folders.iter().map(|folder| folder.join(NAME)).find(|path| path.is_file())?;
    Some(load_one(&path, source).or_else(|failure| load_one(&path.with_file_name(BEFORE), source).map_err(|_| failure)))
}

fn load_one(path: &Path, source: &Source) -> Result<Loaded, Failure> {
    let failure = |mistakes| Failure { path: Some(path.to_owned()), mistakes };
    let text = super::file::text(path).map_err(|mistake| failure(vec![mistake]))?;
    let (mut tree, mistakes) = yaml::parse(&text).map_err(failure)?;
    if !mistakes.is_empty() {
        return Err(failure(mistakes));
    }
    // It is kept where it was found, whatever name the folder had when it was written.
    let _ = config::overlay(&mut tree, &super::state_dir_argument(source));
    let config = config::read(&tree, &Lenient).map_err(failure)?;
    Ok(Loaded { named: super::files_named_in(&tree), ..Loaded::new(config, Some(path.to_owned()), text) })
}

/// Certificates that have gone missing are the connection's trouble: the box must start.
struct Lenient;

impl Outside for Lenient {
    fn read(&self, path: &Path) -> Result<String, String> {
        Machine::default().read(path)
    }

    fn file(&self, _: &Path) -> Result<(), Unfit> {
        Ok(())
    }

    fn pem(&self, _: &Path, _: Pem) -> Result<(), Unfit> {
        Ok(())
    }

    fn is_pair(&self, _: &Path, _: &Path) -> bool {
        true
    }

    fn time_zones(&self) -> Vec<String> {
        Machine::default().time_zones()
    }

    fn profile(&self, name: &str) -> Option<config::WrittenProfile> {
        Machine::default().profile(name)
    }

    fn profiles(&self) -> Vec<String> {
        Machine::default().profiles()
    }

    fn now(&self) -> Option<Timestamp> {
        None
    }
}

/// The settings in force as they may be shown: the last good ones without their secrets, if they are those of this hash.
pub fn shown(folder: &Path, hash: &str) -> Option<String> {
    let text = super::file::text(&folder.join(NAME)).ok()?;
    if super::hash_of(&text) != hash {
        return None;
    }
    without_secrets(&text)
}

/// These settings with every secret masked.
pub fn without_secrets(text: &str) -> Option<String> {
    let (tree, _) = yaml::parse(text).ok()?;
    Some(config::masked(&tree).to_yaml())
}
