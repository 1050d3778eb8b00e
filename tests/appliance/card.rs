//! `appliance card` against a folder that stands for the box: the report lands beside the settings only where it differs, what is
//! read-only stays so whoever is killed when, and what cannot be written is told.

use gateway_tests::binary;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FIRST: &str = "ANALYZER GATEWAY: REPORT\r\nLast change:    2026-11-21 20:14 UTC\r\nSETTINGS: IN FORCE\r\n";
const SECOND: &str = "ANALYZER GATEWAY: REPORT\r\nLast change:    2026-11-21 20:20 UTC\r\nSETTINGS: REFUSED\r\n";

/// A box: what the gateway has told, the card's first partition and its light.
struct Box {
    root: tempfile::TempDir,
}

impl Box {
    fn new() -> Box {
        let made = Box { root: tempfile::tempdir().unwrap() };
        for folder in ["run/analyzer-gateway", "boot/firmware", "sys/class/leds/ACT"] {
            fs::create_dir_all(made.path(folder)).unwrap();
        }
        made.write("boot/firmware/gateway.yaml", "version: 1\n");
        made.write("sys/class/leds/ACT/trigger", "none [mmc0] timer heartbeat pattern\n");
        made.write("sys/class/leds/ACT/max_brightness", "1\n");
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn tell(&self, report: &str) {
        self.write("run/analyzer-gateway/report.txt", report);
    }

    fn report(&self) -> String {
        self.read("boot/firmware/gateway.report.txt")
    }

    fn card(&self) -> Value {
        serde_json::from_str(&self.read("run/analyzer-gateway-appliance/card.json")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.args(["appliance", "card", "--root"]).arg(self.root.path());
        command
    }

    fn run(&self) -> Output {
        self.command().output().unwrap()
    }

    /// With this shell script in place of mount(8), and the card's partition as a file system of its own that begins read-only.
    /// `None`: this machine lets nobody mount anything.
    fn run_mounted(&self, mount: &str, after: &str) -> Option<String> {
        let (programs, boot) = (self.path("programs"), self.path("boot/firmware"));
        fs::create_dir_all(&programs).unwrap();
        let program = programs.join("mount");
        fs::write(&program, format!("#!/bin/sh\n{mount}\nexec /bin/mount \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let script = format!(
            "/bin/mount -t tmpfs -o size=16k,ro none '{boot}' || exit 99\n\
             run() {{ PATH=\"{programs}:$PATH\" '{binary}' appliance card --root '{root}'; }}\n\
             state() {{ grep -q ' {boot} ro,' /proc/self/mountinfo && echo closed || echo open; }}\n\
             open() {{ /bin/mount -o remount,rw '{boot}'; }}\nclose() {{ /bin/mount -o remount,ro '{boot}'; }}\n\
             open; : >'{boot}/gateway.yaml'; close\n{after}",
            boot = boot.display(),
            programs = programs.display(),
            binary = binary().display(),
            root = self.root.path().display()
        );
        let unshare = Command::new("unshare").args(["--map-root-user", "--mount", "/bin/sh", "-c", &script]).output();
        let output = unshare.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(99) || said.starts_with("unshare") {
            eprintln!("SKIPPED: this machine lets nobody mount a small disk: {said}");
            return None;
        }
        Some(String::from_utf8_lossy(&output.stdout).into_owned() + &said)
    }
}

#[test]
fn the_report_lands_beside_the_settings_and_only_where_it_differs() {
    let made = Box::new();
    made.tell(FIRST);
    assert!(made.run().status.success());
    assert_eq!(made.report(), FIRST);
    assert_eq!(made.card()["written"], true);
    let (file, at) =
        (fs::metadata(made.path("boot/firmware/gateway.report.txt")).unwrap().ino(), made.card()["at"].clone());
    // The same but for its date, as after a start: the card is left alone.
    made.tell(&FIRST.replace("20:14", "21:59"));
    assert!(made.run().status.success());
    assert_eq!(made.report(), FIRST);
    assert_eq!(fs::metadata(made.path("boot/firmware/gateway.report.txt")).unwrap().ino(), file);
    made.tell(SECOND);
    assert!(made.run().status.success());
    assert_eq!((made.report().as_str(), &made.card()["at"]), (SECOND, &at));
    let there = fs::read_dir(made.path("boot/firmware")).unwrap().count();
    assert_eq!(there, 2, "settings and report, nothing else");
}

#[test]
fn an_ordinary_machine_without_settings_on_its_boot_partition_is_left_alone() {
    let made = Box::new();
    fs::remove_file(made.path("boot/firmware/gateway.yaml")).unwrap();
    made.tell(FIRST);
    assert!(made.run().status.success());
    assert_eq!((made.report().as_str(), made.card()), ("", Value::Null));
    // Somebody meant to put some there; and a system image always answers.
    made.write("boot/firmware/Gateway.yaml.txt", "version: 1\n");
    assert!(made.run().status.success());
    assert_eq!(made.report(), FIRST);
}

#[test]
fn what_root_must_not_follow_is_not_read() {
    let made = Box::new();
    made.write("secret", "for root alone");
    symlink(made.path("secret"), made.path("run/analyzer-gateway/report.txt")).unwrap();
    assert!(made.run().status.success());
    assert_eq!(made.report(), "");
}

#[test]
fn the_light_follows_the_word_and_is_given_back() {
    let made = Box::new();
    let led = |name: &str| made.read(&format!("sys/class/leds/ACT/{name}"));
    made.write("run/analyzer-gateway/light", "config_error\n");
    assert!(made.run().status.success());
    let three = "1 200 1 0 0 200 0 0 1 200 1 0 0 200 0 0 1 200 1 0 0 1800 0 0";
    assert_eq!((led("trigger").as_str(), led("pattern").as_str()), ("pattern", three));
    // A word of a newer gateway is as none; so is a gateway that was stopped.
    fs::remove_file(made.path("run/analyzer-gateway/light")).unwrap();
    assert!(made.run().status.success());
    assert_eq!(led("trigger"), "mmc0");
}

#[test]
fn the_card_is_writable_only_for_the_moment() {
    let made = Box::new();
    made.tell(FIRST);
    let boot = made.path("boot/firmware").display().to_string();
    let Some(said) = made.run_mounted("", &format!("run; state; cat '{boot}/gateway.report.txt'")) else { return };
    assert_eq!(said, format!("closed\n{FIRST}"));
    // One that the system keeps writable stays so.
    let made = Box::new();
    made.tell(FIRST);
    let said = made.run_mounted("", "open; run; state").unwrap();
    assert_eq!(said, "open\n");
}

#[test]
fn whoever_is_killed_when_the_card_has_a_whole_report_and_is_closed_again() {
    for (killed_at, after_it) in [("remount,rw", "open\nnone"), ("remount,ro", "open\nSECOND")] {
        let made = Box::new();
        made.tell(FIRST);
        let boot = made.path("boot/firmware").display().to_string();
        let kill = format!(
            "if [ \"$2\" = {killed_at} ] && [ -e '{0}/armed' ]; then rm '{0}/armed'; \
             [ {killed_at} = remount,rw ] && /bin/mount \"$@\"; kill -9 $PPID; exit 1; fi",
            made.root.path().display()
        );
        made.write("second", SECOND);
        let root = made.root.path().display().to_string();
        let shown = format!(
            "grep -q REFUSED '{boot}/gateway.report.txt' && echo SECOND || {{ grep -q FORCE '{boot}/gateway.report.txt' && echo none; }}"
        );
        let after = format!(
            "run; cp '{root}/second' '{root}/run/analyzer-gateway/report.txt'; : >'{root}/armed'\n\
             run 2>/dev/null; state; {shown}\nrun; state; {shown}; ls '{boot}'"
        );
        let Some(said) = made.run_mounted(&kill, &after) else { return };
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("Killed")).collect();
        let expected = format!("{after_it}\nclosed\nSECOND\ngateway.report.txt\ngateway.yaml");
        assert_eq!(lines.join("\n"), expected, "killed at {killed_at}");
    }
}

#[test]
fn a_card_that_takes_no_writes_is_told_and_its_old_report_stays() {
    // Full: the old report stays whole.
    let made = Box::new();
    made.tell(FIRST);
    let boot = made.path("boot/firmware").display().to_string();
    made.write("second", &SECOND.repeat(60));
    let root = made.root.path().display().to_string();
    let full = format!(
        "run; open; dd if=/dev/zero of='{boot}/film' bs=1k count=99 2>/dev/null; close\n\
         cp '{root}/second' '{root}/run/analyzer-gateway/report.txt'\nrun; state; cat '{boot}/gateway.report.txt'"
    );
    let Some(said) = made.run_mounted("", &full) else { return };
    assert!(said.starts_with(&format!("closed\n{FIRST}")) && said.contains("partition is full"), "{said}");
    assert_eq!(made.card()["written"], false);
    assert!(made.card()["reason"].as_str().unwrap().contains("delete files"), "{}", made.card());

    // Write-protected, as mount(8) says it.
    let made = Box::new();
    made.tell(FIRST);
    let protected = "[ \"$2\" = remount,rw ] && { echo \"mount: cannot remount /dev/x read-write, is write-protected.\" >&2; exit 32; }";
    let said = made.run_mounted(protected, "run; state").unwrap();
    assert!(said.starts_with("closed\n") && said.contains("write-protected"), "{said}");
    let card = made.card();
    assert!(card["reason"].as_str().unwrap().contains("replace it"), "{card}");
    // The gateway makes a trouble of it.
    let shown = Command::new(binary()).args(["appliance", "show", "--root"]).arg(made.root.path()).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&shown.stdout).unwrap()["card"], card);
}

/// What stands in the units is what the program expects.
#[test]
fn the_units_watch_the_files_that_the_gateway_leaves() {
    use gateway_core::appliance::layout;
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name);
        fs::read_to_string(path).unwrap()
    };
    let watched = read("analyzer-gateway-card.path");
    for file in [layout::TOLD_REPORT, layout::TOLD_LIGHT] {
        assert!(watched.lines().any(|line| line == format!("PathChanged={}/{file}", layout::TOLD)), "{watched}");
    }
    let service = read("analyzer-gateway-card.service");
    for line in [
        format!("ReadWritePaths=-{}", layout::BOOT),
        format!("RuntimeDirectory={}", layout::SAYS.trim_start_matches("/run/")),
        "ExecStart=/usr/bin/analyzer-gateway appliance card".to_owned(),
    ] {
        assert!(service.lines().any(|one| one == line), "{line}");
    }
}
