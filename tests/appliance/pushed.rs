//! `appliance keep-settings` against a folder that stands for the box: pushed settings get onto the card whole or not at all, whoever
//! is killed when, and nothing else gets there, whatever the gateway's user leaves where a request should be.

use super::{skipped, system};
use gateway_core::appliance::layout;
use gateway_core::appliance::pushed::{FORMER, UnderWay, fingerprint};
use gateway_tests::binary;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OLD: &str = "# the old ones\r\nversion: 1\r\ngateway: { id: clinic-7 }\r\n";
const NEW: &str = "# the new ones\nversion: 1\ngateway: { id: clinic-7 }\nretention: { events_kept_days: 77 }\n";

struct Card {
    root: tempfile::TempDir,
}

impl Card {
    fn new() -> Card {
        let card = Card { root: tempfile::tempdir().unwrap() };
        for folder in ["run/analyzer-gateway/requests", "boot/firmware", "data/system", "usr/lib/analyzer-gateway"] {
            fs::create_dir_all(card.path(folder)).unwrap();
        }
        card.write("usr/lib/analyzer-gateway/image.json", r#"{"version":"1.2.0","compatible":"vm"}"#);
        card.write("boot/firmware/gateway.yaml", OLD);
        card
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn settings(&self) -> Option<String> {
        self.read("boot/firmware/gateway.yaml")
    }

    /// Asks for these in place of those.
    fn ask(&self, settings: &str, replaces: Option<&str>) {
        let replaces = replaces.map(|text| fingerprint(text.as_bytes()));
        let asked = json!({"id": "a1", "settings": settings, "replaces": replaces, "by": "fleet"});
        self.write("run/analyzer-gateway/requests/settings.json", asked.to_string());
    }

    /// With these words before it: a program that runs it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = match words.split_first() {
            None => Command::new(binary()),
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary());
                command
            }
        };
        command.args(["appliance", "keep-settings", "--root"]).arg(self.root.path());
        command
    }

    fn run(&self) -> Output {
        self.command(&[]).output().unwrap()
    }

    /// The word why it was refused; `None`: it was done.
    fn refused(&self) -> Option<String> {
        let answer = self.read("run/analyzer-gateway-appliance/pushed.json").expect("an answer");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["id"], "a1");
        answer["refused"]["code"].as_str().map(str::to_owned)
    }

    fn is_cleared(&self) -> bool {
        !self.path("run/analyzer-gateway/requests/settings.json").exists()
            && !self.path("data/system/settings-under-way.json").exists()
    }
}

#[test]
fn what_is_asked_for_stands_on_the_card_and_the_former_settings_beside_it() {
    let card = Card::new();
    card.ask(NEW, Some(OLD));
    assert!(card.run().status.success());
    assert_eq!((card.settings().as_deref(), card.refused()), (Some(NEW), None));
    assert_eq!(card.read(&format!("boot/firmware/{FORMER}")).as_deref(), Some(OLD));
    assert!(card.is_cleared() && fs::read_dir(card.path("boot/firmware")).unwrap().count() == 2);
    // A card that never had any, and a start at which nobody asks.
    let card = Card::new();
    fs::remove_file(card.path("boot/firmware/gateway.yaml")).unwrap();
    card.ask(NEW, None);
    assert!(card.run().status.success());
    assert!(card.run().status.success());
    assert_eq!((card.settings().as_deref(), card.refused()), (Some(NEW), None));
}

#[test]
fn nothing_but_good_settings_get_onto_the_card() {
    let long = format!("{NEW}#{}", "x".repeat(1 << 20));
    let elsewhere = NEW.replace("clinic-7", "clinic-7, state_dir: /root");
    let wrong = NEW.replace("events_kept_days", "events_kept_days_");
    for (settings, replaces, code) in [
        (NEW, Some("others"), "file_changed"),
        (NEW, None, "file_changed"),
        (wrong.as_str(), Some(OLD), "mistakes"),
        ("", Some(OLD), "mistakes"),
        ("a: [", Some(OLD), "mistakes"),
        (long.as_str(), Some(OLD), "mistakes"),
        (elsewhere.as_str(), Some(OLD), "mistakes"),
    ] {
        let card = Card::new();
        card.ask(settings, replaces);
        assert_eq!(card.run().status.code(), Some(1), "{code}");
        assert_eq!((card.settings().as_deref(), card.refused().as_deref()), (Some(OLD), Some(code)));
        assert!(card.is_cleared());
    }
    // Where the gateway is a package, the settings are the administrator's.
    let card = Card::new();
    fs::remove_file(card.path("usr/lib/analyzer-gateway/image.json")).unwrap();
    card.ask(NEW, Some(OLD));
    card.run();
    assert_eq!((card.settings().as_deref(), card.refused().as_deref()), (Some(OLD), Some("no_appliance")));
}

#[test]
fn what_is_no_request_is_taken_away_and_does_nothing() {
    let request = "run/analyzer-gateway/requests/settings.json";
    type Planted = fn(&Card, &Path);
    let planted: [Planted; 4] = [
        |_, at| fs::write(at, "{\"id\": \"a1\", \"settings\": \"vers").unwrap(),
        |_, at| fs::write(at, vec![b' '; (4 << 20) + 1]).unwrap(),
        |card, at| {
            card.ask(NEW, Some(OLD));
            fs::rename(at, card.path("elsewhere")).unwrap();
            symlink(card.path("elsewhere"), at).unwrap();
        },
        |_, at| fs::write(at, json!({"id": "../x", "settings": NEW, "replaces": null, "by": ""}).to_string()).unwrap(),
    ];
    for plant in planted {
        let card = Card::new();
        plant(&card, &card.path(request));
        assert_eq!(card.run().status.code(), Some(1));
        assert_eq!(card.settings().as_deref(), Some(OLD));
        assert!(card.is_cleared());
        assert!(
            fs::read_dir(card.path("run/analyzer-gateway-appliance"))
                .unwrap()
                .all(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with(".lock") })
        );
    }
}

#[test]
fn a_start_mends_what_a_power_cut_has_left() {
    let under_way = UnderWay { settings: NEW.to_owned(), replaces: Some(fingerprint(OLD.as_bytes())) };
    let edited = OLD.replace("clinic-7", "clinic-8");
    // What a FAT may show after a cut: either file, none, an empty one, one of other bytes; or a person was there.
    for (left, mended) in [
        (Some(OLD.as_bytes()), OLD),
        (Some(NEW.as_bytes()), NEW),
        (None, NEW),
        (Some(&b""[..]), NEW),
        (Some(&[0; 512][..]), NEW),
        (Some(edited.as_bytes()), edited.as_str()),
    ] {
        let card = Card::new();
        card.write("data/system/settings-under-way.json", serde_json::to_vec(&under_way).unwrap());
        card.write("boot/firmware/gateway.yaml.new", "half of");
        card.write("boot/firmware/gateway.before.yaml.new", "half of");
        match left {
            Some(bytes) => card.write("boot/firmware/gateway.yaml", bytes),
            None => fs::remove_file(card.path("boot/firmware/gateway.yaml")).unwrap(),
        }
        let output = card.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(card.settings().as_deref(), Some(mended));
        assert!(card.is_cleared());
        let names = fs::read_dir(card.path("boot/firmware")).unwrap().flatten().map(|entry| entry.file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".new")), "halves of files stay");
    }
}

#[test]
fn killed_before_any_step_it_leaves_the_new_or_the_former_settings() {
    let Some(strace) = system("strace") else { return };
    let strace = strace.to_string_lossy();
    let (mut kills, mut kept) = (0, 0);
    // The calls that change what is on a disk, before the first, the second, ... of each.
    for call in ["mkdir", "write", "fsync", "rename", "unlink", "unlinkat"] {
        for count in 1.. {
            let card = Card::new();
            card.ask(NEW, Some(OLD));
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={count}"));
            let words = [&*strace, "-qq", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let output = card.command(&words).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if said.contains("Operation not permitted") {
                return skipped(&format!("nobody may be traced here: {said}"));
            }
            let found = card.settings();
            assert!(found.as_deref() == Some(OLD) || found.as_deref() == Some(NEW), "{call} {count}: {found:?}");
            if output.status.success() {
                break;
            }
            // The next start, and the request if it was not taken yet.
            assert!(card.run().status.success(), "{call} {count}");
            let after = card.settings();
            assert!(after.as_deref() == Some(OLD) || after.as_deref() == Some(NEW), "{call} {count}: {after:?}");
            assert!(card.is_cleared(), "{call} {count}");
            kept += usize::from(after.as_deref() == Some(NEW));
            kills += 1;
        }
    }
    assert!(kills > 12 && kept > 5, "{kills} kills, {kept} of them with the new settings");
}

#[test]
fn the_card_is_closed_again() {
    let card = Card::new();
    card.ask(NEW, Some(OLD));
    let script = format!(
        "/bin/mount -t tmpfs -o size=16k none '{boot}' || exit 99\n\
         cp '{root}/old' '{boot}/gateway.yaml'; /bin/mount -o remount,ro '{boot}'\n\
         '{binary}' appliance keep-settings --root '{root}'\n\
         grep -q ' {boot} ro,' /proc/self/mountinfo && echo closed; cat '{boot}/gateway.yaml'\n",
        boot = card.path("boot/firmware").display(),
        root = card.root.path().display(),
        binary = binary().display(),
    );
    card.write("old", OLD);
    let output =
        Command::new("unshare").args(["--map-root-user", "--mount", "/bin/sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(99) || said.starts_with("unshare") {
        return skipped(&format!("nobody may mount a small disk here: {said}"));
    }
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.ends_with(&format!("closed\n{NEW}")), "{out}{said}");
}

/// What stands in the units is what the programs expect.
#[test]
fn the_units_watch_the_request_and_run_after_a_cut() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name);
        fs::read_to_string(path).unwrap()
    };
    let request = format!("{}/{}/{}", layout::TOLD, layout::ASKED, layout::ASKED_SETTINGS);
    let path = read("analyzer-gateway-keep-settings.path");
    assert!(path.lines().any(|line| line == format!("PathExists={request}")), "{path}");
    let service = read("analyzer-gateway-keep-settings.service");
    for line in [
        format!("ConditionPathExists=|{request}"),
        format!("ConditionPathExists=|{}/{}", layout::SYSTEM, layout::SETTINGS_UNDER_WAY),
        format!("ConditionPathExists={}", layout::IMAGE),
        format!("ReadWritePaths=-{} -{} -{}", layout::BOOT, layout::SYSTEM, layout::TOLD),
        "Before=analyzer-gateway.service analyzer-gateway-settings.service".to_owned(),
    ] {
        assert!(service.lines().any(|one| one == line), "{line}");
    }
}
