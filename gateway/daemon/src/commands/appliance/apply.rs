//! `appliance apply`: network, time and the box's own broker as the settings ask, before the network is set up and whenever the
//! settings have changed.
//!
//! Invariant: what was good before stays in force where the settings cannot be used, and but for root's own copy of good
//! settings nothing outside of /run is written.

use super::super::EXIT_FAILED;
use super::settings::{Obeyed, Section, keep, settings};
use crate::configuration;
use crate::platform::clock::{SystemClock, SystemEntropy};
use crate::platform::network::{look, set_hostname};
use crate::platform::privileged::{below, said, say, system};
use crate::platform::replace::replace;
use crate::platform::{Clock, Entropy};
use data_encoding::HEXLOWER;
use gateway_core::appliance::generated::{Generated, OURS, Part, Readers, Renderer, part_of, steps};
use gateway_core::appliance::network::{Plan, files};
use gateway_core::appliance::{self, Network as Said, NetworkSource, broker, layout};
use gateway_core::config::{Config, OwnBroker, Secret};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// More than a certificate or a key has.
const COPIED_BYTES_MAX: u64 = 256 << 10;
/// In [`layout::SAYS`]: there is something to be looked at by `network-watch`.
const WATCHED: &str = "network-watch";
/// In [`layout::SAYS`]: of which network settings it is known whether they work.
const TRIED: &str = "network-tried";
/// The group that may read the gateway's own password at the box's broker.
const GATEWAY: &str = "analyzer-gateway";

pub fn run(root: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut failed = Vec::new();
    match settings(root) {
        Ok(obeyed) => {
            if let Some(failure) = &obeyed.running.refused {
                let _ = writeln!(err, "{failure}\nthe last good settings are in force");
            }
            failed = put(root, &obeyed, out);
            tell_left(root, &failed, err);
            if let Err(error) = keep(root, &obeyed) {
                let _ = writeln!(err, "the last good settings cannot be kept: {error}");
            }
        }
        // The gateway tells on the card what is wrong; here nothing is touched.
        Err(failure) => drop(writeln!(err, "{failure}\nnetwork and broker stay as they are")),
    }
    // Somebody may have switched it off: then it is not started, and reads the settings only if it runs.
    let verb = if is_enabled(root, "analyzer-gateway.service") { "reload-or-restart" } else { "try-reload-or-restart" };
    let gateway = words(&format!("systemctl --no-block {verb} analyzer-gateway.service"));
    failed.extend(carry_out(root, &gateway, out).err());
    failed.iter().for_each(|error| drop(writeln!(err, "{error}")));
    if failed.is_empty() { 0 } else { EXIT_FAILED }
}

/// For the report on the card and the page: what is not in force.
fn tell_left(root: &Path, failed: &[String], err: &mut dyn Write) {
    let before = said(root).obeyed.filter(|before| before.left == failed);
    let at = before.map_or_else(|| SystemClock::new().now().wall, |before| before.at);
    if let Err(error) = say(root, "obeyed", &appliance::Obeyed { left: failed.to_vec(), at }) {
        let _ = writeln!(err, "{} cannot be written: {error}", layout::SAYS);
    }
}

/// Puts all of it in force; what could not be done is told, and the rest is done.
fn put(root: &Path, obeyed: &Obeyed, out: &mut dyn Write) -> Vec<String> {
    let config = &obeyed.running.loaded.config;
    let renderer = renderer(root);
    let mut failed: Vec<String> = obeyed.left.iter().map(|(_, reason)| reason.clone()).collect();
    let mut left: Vec<Section> = obeyed.left.iter().map(|(section, _)| *section).collect();
    let network = config.network.as_ref().filter(|_| !left.contains(&Section::Network));
    // The name of an ordinary Debian is its administrator's, unless the settings speak of the network.
    let names = network.is_some() || (config.network.is_none() && below(root, layout::IMAGE).exists());
    if let Some(name) = config.machine_name().filter(|_| names && root == Path::new("/")) {
        failed.extend(set_hostname(name).err().map(|error| format!("the name {name} cannot be set: {error}")));
    }
    let in_force = said(root).network.map(|said| said.in_force);
    let tried = tried(config, renderer);
    let is_known = fs::read_to_string(below(root, layout::SAYS).join(TRIED)).is_ok_and(|text| text == tried);
    let plan = match in_force {
        Some(NetworkSource::Fallback) if is_known => Plan::Fallback,
        _ => Plan::Settings,
    };
    let mut wanted = network.map(|network| files(network, renderer, plan)).unwrap_or_default();
    if left.contains(&Section::Broker) {
        // The reason is told already.
    } else if let Some(own) = &config.broker {
        match broker_files(root, config, own) {
            Ok(files) => wanted.extend(files),
            Err(error) => {
                failed.push(format!("the box's own broker stays as it is: {error}"));
                left.push(Section::Broker);
            }
        }
    } else {
        let _ = fs::remove_file(below(root, layout::OWN_BROKER_PASSWORD));
    }
    failed.extend(write_all(root, &wanted, renderer, &left, out));
    if !left.contains(&Section::Network) && (!is_known || in_force.is_none()) {
        let is_ours = network.is_some_and(|network| network.ethernet.is_some() || network.wifi.is_some());
        let source = if is_ours { NetworkSource::Trying } else { NetworkSource::System };
        let told = tell(root, config, renderer, source, String::new())
            .and_then(|()| replace(&below(root, layout::SAYS).join(TRIED), tried.as_bytes(), 0o644))
            .and_then(|()| replace(&below(root, layout::SAYS).join(WATCHED), b"", 0o644));
        failed.extend(told.err().map(|error| format!("{} cannot be written: {error}", layout::SAYS)));
        let watch = words("systemctl --no-block restart analyzer-gateway-network.service");
        failed.extend(carry_out(root, &watch, out).err());
    }
    failed
}

/// The network's files alone; what `network-watch` decides.
pub fn put_network(root: &Path, config: &Config, plan: Plan, out: &mut dyn Write) -> Vec<String> {
    let renderer = renderer(root);
    let wanted = config.network.as_ref().map(|network| files(network, renderer, plan)).unwrap_or_default();
    write_all(root, &wanted, renderer, &[Section::Broker], out)
}

/// Says whose network settings are in force.
pub fn tell(
    root: &Path,
    config: &Config,
    renderer: Renderer,
    source: NetworkSource,
    reason: String,
) -> std::io::Result<()> {
    let seen = look(root, config.network.as_ref().filter(|_| false), renderer);
    let addresses = seen.links.iter().flat_map(|link| &link.addresses).map(ToString::to_string).collect();
    let said = Said { in_force: source, reason, addresses, at: SystemClock::new().now().wall };
    say(root, "network", &said)
}

/// Whether there is nothing left to be looked at.
pub fn settle(root: &Path) {
    let _ = fs::remove_file(below(root, layout::SAYS).join(WATCHED));
}

/// NetworkManager where it is switched on, as on Raspberry Pi OS; else systemd-networkd.
pub fn renderer(root: &Path) -> Renderer {
    if is_enabled(root, "NetworkManager.service") { Renderer::NetworkManager } else { Renderer::Networkd }
}

fn is_enabled(root: &Path, unit: &str) -> bool {
    system("systemctl", &[&format!("--root={}", root.display()), "is-enabled", unit]).is_ok()
}

/// What the network settings are, as a hash.
fn tried(config: &Config, renderer: Renderer) -> String {
    let files = config.network.as_ref().map(|network| files(network, renderer, Plan::Settings)).unwrap_or_default();
    let network = files.iter().filter(|file| file.part != Part::Time);
    let hash = network.fold(Sha256::new(), |hash, file| hash.chain_update(&file.path).chain_update(file.text.expose()));
    HEXLOWER.encode(&hash.finalize())
}

fn broker_files(root: &Path, config: &Config, own: &OwnBroker) -> Result<Vec<Generated>, String> {
    let password = own_password(root).map_err(|error| format!("{}: {error}", layout::OWN_BROKER_PASSWORD))?;
    let mut files = broker::files(config, own, &password);
    for copied in broker::copied(config, own) {
        let mut text = String::new();
        let opened = fs::File::open(configuration::behind(&copied.from))
            .and_then(|file| file.take(COPIED_BYTES_MAX).read_to_string(&mut text));
        opened.map_err(|error| format!("{} cannot be read: {error}", copied.from.display()))?;
        files.push(Generated {
            path: format!("{}/{}", layout::OWN_BROKER, copied.name),
            text: Secret::new(text),
            readers: Readers::User(broker::USER),
            part: Part::Broker,
        });
    }
    Ok(files)
}

/// The gateway's own password at the box's broker: the one of this boot, or a new one.
fn own_password(root: &Path) -> std::io::Result<Secret> {
    let path = below(root, layout::OWN_BROKER_PASSWORD);
    if let Some(text) = fs::read_to_string(&path).ok().filter(|text| text.len() >= 64) {
        return Ok(Secret::new(text.trim()));
    }
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes);
    let password = HEXLOWER.encode(&bytes);
    fs::create_dir_all(below(root, layout::SAYS))?;
    replace(&path, password.as_bytes(), 0o640)?;
    give(root, &path, (None, GATEWAY))?;
    Ok(Secret::new(password))
}

/// Writes what differs, removes what is of ours and not wanted, and tells the programs concerned.
fn write_all(
    root: &Path,
    wanted: &[Generated],
    renderer: Renderer,
    left: &[Section],
    out: &mut dyn Write,
) -> Vec<String> {
    let (mut failed, mut changed) = (Vec::new(), BTreeSet::new());
    for file in wanted {
        match write(root, file) {
            Ok(true) => drop(changed.insert(file.part.clone())),
            Ok(false) => {}
            Err(error) => failed.push(format!("{} cannot be written: {error}", file.path)),
        }
    }
    let others = OURS.iter().filter(|(folder, _)| {
        !left.contains(if *folder == layout::OWN_BROKER { &Section::Broker } else { &Section::Network })
    });
    for (folder, start) in others {
        let entries = fs::read_dir(below(root, folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| name.starts_with(start)) {
            let path = format!("{folder}/{name}");
            if !wanted.iter().any(|file| file.path == path) && fs::remove_file(below(root, &path)).is_ok() {
                changed.insert(part_of(&path));
            }
        }
    }
    for part in changed {
        let of_part = wanted.iter().filter(|file| file.part == part);
        let left: Vec<&str> = of_part.filter_map(|file| file.path.rsplit('/').next()).collect();
        for step in steps(&part, renderer, &left) {
            failed.extend(carry_out(root, &step, out).err());
        }
    }
    failed
}

/// Whether it was not there like this before.
fn write(root: &Path, file: &Generated) -> std::io::Result<bool> {
    let path = below(root, &file.path);
    if fs::read(&path).is_ok_and(|bytes| bytes == file.text.expose().as_bytes()) {
        return Ok(false);
    }
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        // NetworkManager takes no profile from a folder that others may write to.
        fs::set_permissions(
            folder,
            fs::Permissions::from_mode(if matches!(file.readers, Readers::User(_)) { 0o750 } else { 0o755 }),
        )?;
    }
    match file.readers {
        Readers::All => replace(&path, file.text.expose().as_bytes(), 0o644)?,
        Readers::Nobody => replace(&path, file.text.expose().as_bytes(), 0o600)?,
        // Its own, and not to be changed by it.
        Readers::User(user) => {
            replace(&path, file.text.expose().as_bytes(), 0o440)?;
            give(root, folder, (None, user))?;
            give(root, &path, (Some(user), user))?;
        }
    }
    Ok(true)
}

/// Gives something to a user, or leaves it root's, and to a group, by their names in the system below this root. One without users
/// leaves all as it is.
fn give(root: &Path, path: &Path, (user, group): (Option<&str>, &str)) -> std::io::Result<()> {
    if !below(root, "/etc/passwd").exists() {
        return Ok(());
    }
    let id = |file: &str, name: &str| {
        let text = fs::read_to_string(below(root, file))?;
        let line = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|words| words[0] == name);
        let id = line.and_then(|words| words.get(2)?.parse::<u32>().ok());
        id.ok_or_else(|| std::io::Error::new(ErrorKind::NotFound, format!("{file} has no {name}")))
    };
    let owner = user.map(|user| id("/etc/passwd", user)).transpose()?;
    std::os::unix::fs::chown(path, owner, Some(id("/etc/group", group)?))
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Runs one step; below another root it is only told. A program that does not run yet reads its files when it starts.
fn carry_out(root: &Path, step: &[String], out: &mut dyn Write) -> Result<(), String> {
    let Some((program, arguments)) = step.split_first() else { return Ok(()) };
    if root != Path::new("/") {
        let _ = writeln!(out, "{}", step.join(" "));
        return Ok(());
    }
    let service = match program.as_str() {
        "networkctl" => Some("systemd-networkd.service"),
        "nmcli" => Some("NetworkManager.service"),
        _ => None,
    };
    if service.is_some_and(|service| system("systemctl", &["is-active", "--quiet", service]).is_err()) {
        return Ok(());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    system(program, &arguments).map(drop)
}
