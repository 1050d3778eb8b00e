//! The last settings that were good, kept in the state folder, so that a bad file never leaves the box deaf.
//!
//! It is whole in itself: the environment is already laid over it and the secrets' files are read into it, because they may
//! be what has gone missing. So only the owner may read it.

use super::{Failure, Loaded, Source, yaml};
use gateway_core::config::{self, Config, Node, Outside, Secret, Value};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file's name in the state folder.
pub const NAME: &str = "last-good.yaml";
const NEW_NAME: &str = "last-good.yaml.new";
const HEAD: &str =
    "# The last good settings, written by the gateway. It holds secrets. Changes here are overwritten.\n";

/// Stores these settings as the last good ones. They replace the older ones in one step: after a power cut either the one
/// or the other is there. Settings that came from no file are not kept: they need none.
pub fn keep_last_good(loaded: &Loaded) -> io::Result<()> {
    if loaded.path.is_none() {
        return Ok(());
    }
    let folder = &loaded.config.gateway.state_dir;
    let target = folder.join(NAME);
    if fs::read_to_string(&target).is_ok_and(|text| text == loaded.text) {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    let new = folder.join(NEW_NAME);
    // Made anew, so that the mode holds even if an older one was left behind.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(loaded.text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &target)?;
    fs::File::open(folder)?.sync_all()
}

/// The text to keep: the merged tree, with the secrets in place of the names of their files.
pub fn text(tree: &Node, config: &Config) -> String {
    let mut tree = tree.clone();
    if let Some(mqtt) = tree.get_mut("mqtt") {
        inline(mqtt, "password_file", "password", config.mqtt.password.as_ref());
    }
    if let Some(Value::List(webhooks)) = tree.get_mut("webhooks").map(|node| &mut node.value) {
        for (node, webhook) in webhooks.iter_mut().zip(&config.webhooks) {
            inline(node, "secret_file", "secret", webhook.secrets.first().map(|dated| &dated.secret));
        }
    }
    format!("{HEAD}{}", tree.to_yaml())
}

fn inline(group: &mut Node, key_file: &str, key: &str, secret: Option<&Secret>) {
    let (Value::Group(entries), Some(secret)) = (&mut group.value, secret) else { return };
    for entry in entries.iter_mut().filter(|entry| entry.key == key_file) {
        entry.key = key.to_owned();
        entry.node.value = Value::Text(secret.expose().to_owned());
    }
}

/// Reads the last good settings of the first of these folders that has some.
pub fn load(folders: &[PathBuf], source: &Source) -> Option<Result<Loaded, Failure>> {
    let path = folders.iter().map(|folder| folder.join(NAME)).find(|path| path.is_file())?;
    Some(load_one(&path, source))
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
    Ok(Loaded::new(config, Some(path.to_owned()), text))
}

/// Certificates that have gone missing are the connection's trouble: the box must start.
struct Lenient;

impl Outside for Lenient {
    fn read(&self, path: &Path) -> Result<String, String> {
        super::Machine.read(path)
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn time_zones(&self) -> Vec<String> {
        super::Machine.time_zones()
    }
}
