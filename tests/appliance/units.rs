//! The units, as systemd itself reads them, and what they promise.

use super::system;
use gateway_tests::binary;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Of the gateway's own service, in tenths (systemd-analyze(1), `security --threshold`).
const EXPOSURE_MAX: &str = "15";

fn systemd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// Every unit of ours with its text.
fn units() -> Vec<(String, String)> {
    let kinds = ["service", "path", "timer", "socket", "target", "mount"];
    let files = fs::read_dir(systemd()).unwrap().map(|entry| entry.unwrap().path());
    let units = files.filter(|path| path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known)));
    let mut units: Vec<_> = units
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    units.sort();
    assert!(units.len() >= 2, "{units:?}");
    units
}

/// The values of a key, as they are written.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn systemd_understands_every_unit() {
    let Some(analyze) = system("systemd-analyze") else { return };
    // These programs are not installed where this runs; everything else is as it is shipped.
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, text) in units() {
        let path = folder.path().join(&name);
        let there = binary().to_string_lossy().into_owned();
        let text = text.replace("/usr/bin/analyzer-gateway", &there).replace("/usr/sbin/wpa_supplicant", &there);
        fs::write(&path, text).unwrap();
        paths.push(path);
    }
    let output = Command::new(analyze).args(["verify", "--man=no"]).args(&paths).env("LC_ALL", "C").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Units of others that ours are ordered after are read too, and may have faults of their own.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("analyzer-gateway")).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn the_gateway_may_do_hardly_anything() {
    let Some(analyze) = system("systemd-analyze") else { return };
    let output = Command::new(analyze)
        .args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE_MAX])
        .arg(systemd().join("analyzer-gateway.service"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", said.lines().rev().find(|line| line.contains("exposure")).unwrap());
}

#[test]
fn every_command_of_a_unit_is_one_that_the_program_has() {
    for (name, unit) in units() {
        let keys = ["ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecCondition"];
        let commands: Vec<&str> = keys.iter().flat_map(|key| values(&unit, key)).collect();
        assert!(!name.ends_with(".service") || !commands.is_empty(), "{name} starts nothing");
        for command in commands {
            let command = command.trim_start_matches(['-', '@', ':', '+', '!']);
            let Some(rest) = command.strip_prefix("/usr/bin/analyzer-gateway ") else { continue };
            let words: Vec<&str> = rest.split(' ').take_while(|word| !word.starts_with(['-', '$', '/'])).collect();
            let help = Command::new(binary()).args(&words).arg("--help").output().unwrap();
            let usage = String::from_utf8_lossy(&help.stdout).into_owned();
            let named = format!("Usage: analyzer-gateway {}", words.join(" "));
            assert!(help.status.success() && usage.contains(&named), "{name}: {command}\n{usage}");
        }
    }
}

#[test]
fn no_unit_waits_for_the_network_or_the_time() {
    for (name, unit) in units() {
        for line in unit.lines().filter(|line| !line.starts_with('#')) {
            assert!(!line.contains("network-online") && !line.contains("time-sync"), "{name}: {line}");
        }
    }
}

#[test]
fn every_unit_says_what_it_is_and_what_it_may() {
    for (name, unit) in units() {
        assert!(unit.starts_with("# "), "{name} begins with what it does");
        assert_eq!(values(&unit, "Description").len(), 1, "{name}");
        if name.ends_with(".service") {
            for key in ["NoNewPrivileges", "CapabilityBoundingSet", "SystemCallFilter", "RestrictAddressFamilies"] {
                assert!(!values(&unit, key).is_empty(), "{name} lacks {key}");
            }
        }
    }
}

#[test]
fn the_gateway_is_started_again_but_for_mistakes_that_stay() {
    let (_, unit) = units().into_iter().find(|(name, _)| name == "analyzer-gateway.service").unwrap();
    let one = |key: &str| values(&unit, key).concat();
    assert_eq!(one("Restart"), "always");
    assert_eq!(one("StartLimitIntervalSec"), "0");
    // The statuses of commands/mod.rs that starting again does not change, and EX_USAGE of sysexits.h.
    assert_eq!(one("RestartPreventExitStatus"), "2 64 78");
    assert_eq!(one("Type"), "notify");
    assert!(one("ExecReload").contains("-HUP"));
    assert_eq!(
        (one("RuntimeDirectory").as_str(), one("RuntimeDirectoryPreserve").as_str()),
        ("analyzer-gateway", "yes")
    );
}

#[test]
fn udev_understands_the_rules() {
    let Some(udevadm) = system("udevadm") else { return };
    if !rustix::process::geteuid().is_root() {
        return super::skipped("root is needed to show udev a folder of rules");
    }
    // In a mount namespace of its own the folder takes the place of /etc/udev/rules.d; a planted mistake must be found.
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(systemd().join("udev")).unwrap().map(|entry| entry.unwrap()) {
        if entry.path().extension().is_some_and(|kind| kind == "rules") {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let told = || {
        let script = "mkdir -p /etc/udev/rules.d && mount --bind \"$1\" /etc/udev/rules.d && exec \"$2\" test /sys/class/tty/tty";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path()).arg(&udevadm);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("60-analyzer-gateway.rules"), "it was read: {said}");
        let line = |line: &&str| line.starts_with("/etc/udev/rules.d/") && line.contains(".rules:");
        said.lines().filter(line).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(), Vec::<String>::new());
    fs::write(folder.path().join("98-planted.rules"), "NONSENSE==\"x\"\n").unwrap();
    assert!(told().concat().contains("98-planted.rules:1"));
}

#[test]
fn the_user_and_the_folders_are_made() {
    let Some(sysusers) = system("systemd-sysusers") else { return };
    let Some(tmpfiles) = system("systemd-tmpfiles") else { return };
    if !rustix::process::geteuid().is_root() {
        return super::skipped("root is needed to make users and folders");
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/analyzer-gateway")).unwrap();
    fs::write(root.path().join("etc/analyzer-gateway/gateway.yaml"), "version: 1\n").unwrap();
    for (program, file) in [(sysusers, "sysusers.conf"), (tmpfiles, "tmpfiles.conf")] {
        let mut command = Command::new(program);
        command.arg(format!("--root={}", root.path().display()));
        if file == "tmpfiles.conf" {
            command.arg("--create");
        }
        // From standard input, so that its place does not matter.
        let output = command.arg("-").stdin(fs::File::open(systemd().join(file)).unwrap()).output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = passwd.lines().find(|line| line.starts_with("analyzer-gateway:")).unwrap();
    let gid: u32 = user.split(':').nth(3).unwrap().parse().unwrap();
    let groups = fs::read_to_string(root.path().join("etc/group")).unwrap();
    for group in ["dialout", "input"] {
        assert!(groups.lines().any(|line| line.starts_with(group) && line.ends_with("analyzer-gateway")), "{groups}");
    }
    use std::os::unix::fs::MetadataExt;
    let mode_of = |path: &str| {
        let found = fs::metadata(root.path().join(path)).unwrap();
        (found.mode() & 0o777, found.gid())
    };
    assert_eq!(mode_of("etc/analyzer-gateway/secrets"), (0o700, 0));
    assert_eq!(mode_of("etc/analyzer-gateway/gateway.yaml"), (0o640, gid));
    assert_eq!(mode_of("run/analyzer-gateway-appliance"), (0o755, 0));
}

#[test]
fn scripts_are_written_with_care() {
    let Some(shellcheck) = system("shellcheck") else { return };
    let project = systemd().join("..");
    let mut scripts = vec![project.join("tests/run")];
    let mut folders = ["systemd", "tests/system", "yocto"].map(|folder| project.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if entry.is_symlink() {
                continue;
            } else if entry.is_dir() {
                folders.push(entry);
            } else if fs::read(&entry).unwrap().split(|byte| *byte == b'\n').next().is_some_and(is_shell) {
                scripts.push(entry);
            }
        }
    }
    assert!(scripts.len() >= 5, "{scripts:?}");
    let output = Command::new(shellcheck).arg("--severity=warning").args(&scripts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for script in scripts {
        let text = fs::read_to_string(&script).unwrap();
        // The small shell of the box knows no pipefail, and its scripts have no pipes.
        let careful = ["\nset -euo pipefail\n", "\nset -eu\n", "\nexec "].iter().any(|words| text.contains(words));
        assert!(careful, "{} goes on after an error", script.display());
    }
}

fn is_shell(first_line: &[u8]) -> bool {
    first_line.starts_with(b"#!") && first_line.ends_with(b"sh")
}
