//! Updates, as far as they can be judged without starting a machine: bundles by RAUC itself, fetched from a server that breaks off;
//! what the next start makes of an update that was cut off at any step; which half of a card starts, by the firmware's rules and
//! by U-Boot's script.

#[path = "update/moments.rs"]
mod moments;

use gateway_tests::binary;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const IMAGE: &str = "systemd/image/rauc";

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder that stands for a box, with the system 1.0.0 in half A.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { root: tempfile::tempdir().unwrap() };
        bench.write("usr/lib/analyzer-gateway/image.json", r#"{"version":"1.0.0","compatible":"analyzer-gateway-vm"}"#);
        bench.starts("A");
        fs::create_dir_all(bench.path("data/system")).unwrap();
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn starts(&self, slot: &str) {
        self.write("proc/cmdline", format!("ro analyzer-gateway.slot={slot}\n"));
    }

    fn appliance(&self, words: &[&str]) -> Output {
        let root = self.root.path().to_str().unwrap();
        Command::new(binary()).arg("appliance").args(words).args(["--root", root]).output().unwrap()
    }

    /// Asks for an update, and says how it ended.
    fn asks(&self, request: &Value) -> Value {
        self.write("run/analyzer-gateway/requests/update.json", request.to_string());
        self.appliance(&["update"]);
        assert!(!self.path("run/analyzer-gateway/requests/update.json").exists(), "a request is carried out once");
        self.told()
    }

    fn told(&self) -> Value {
        json_of(&self.path("run/analyzer-gateway-appliance/update.json"))
    }

    fn journal(&self) -> Value {
        json_of(&self.path("data/system/update.json"))
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn openssl_key(folder: &Path, name: &str) {
    let files = [format!("{name}.key"), format!("{name}.pem")];
    let made = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=invented",
            "-keyout",
            &files[0],
        ])
        .args(["-out", &files[1]])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A bundle signed by this key.
fn bundle(folder: &Path, key: &str, compatible: &str, version: &str) -> PathBuf {
    let content = folder.join(format!("{key}-{compatible}-{version}"));
    fs::create_dir_all(&content).unwrap();
    // What no packer makes small.
    let mut state = 0x9e37_79b9_u32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    let bytes: Vec<u8> = (0..1_500_000).map(|_| noise()).collect();
    fs::write(content.join("rootfs.ext4"), bytes).unwrap();
    let manifest = format!(
        "[update]\ncompatible={compatible}\nversion={version}\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.ext4\n"
    );
    fs::write(content.join("manifest.raucm"), manifest).unwrap();
    let path = content.with_extension("raucb");
    let made = Command::new("rauc")
        .arg(format!("--cert={}", folder.join(format!("{key}.pem")).display()))
        .arg(format!("--key={}", folder.join(format!("{key}.key")).display()))
        .arg("bundle")
        .args([&content, &path])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}

/// A box that trusts the key `ours` in this folder.
fn trusting(keys: &Path) -> Bench {
    let bench = Bench::new();
    let configuration = fs::read_to_string(project().join(IMAGE).join("system-grub.conf")).unwrap();
    let status = bench.path("data/system/rauc").display().to_string();
    bench.write("etc/rauc/system.conf", configuration.replace("/data/system/rauc", &status));
    bench.write("etc/rauc/keyring.pem", fs::read(keys.join("ours.pem")).unwrap());
    bench
}

fn is_there(program: &str) -> bool {
    super::system(program).is_some()
}

#[test]
fn a_bundle_that_must_not_be_installed_is_refused_with_a_sentence_and_a_good_one_is_named() {
    if !is_there("rauc") || !is_there("mksquashfs") {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    ["ours", "theirs"].iter().for_each(|name| openssl_key(keys.path(), name));
    let bench = trusting(keys.path());
    let copy = |from: &Path, name: &str, bytes: usize| {
        let whole = fs::read(from).unwrap();
        bench.write(&format!("data/{name}"), &whole[..bytes.min(whole.len())]);
    };
    let good = bundle(keys.path(), "ours", "analyzer-gateway-vm", "1.1.0");
    copy(&good, "good.raucb", usize::MAX);
    copy(&good, "torn.raucb", 700_000);
    copy(&good, "empty.raucb", 0);
    copy(&bundle(keys.path(), "theirs", "analyzer-gateway-vm", "1.1.0"), "theirs.raucb", usize::MAX);
    copy(&bundle(keys.path(), "ours", "other-board", "1.1.0"), "other.raucb", usize::MAX);
    copy(&bundle(keys.path(), "ours", "analyzer-gateway-vm", "0.9.0"), "older.raucb", usize::MAX);
    copy(&bundle(keys.path(), "ours", "analyzer-gateway-vm", "1.0.0"), "same.raucb", usize::MAX);
    for (name, phase, sentence) in [
        ("good", "none", "version 1.1.0 can be installed"),
        ("torn", "failed", "is torn or is none at all"),
        ("empty", "failed", "is torn or is none at all"),
        ("theirs", "failed", "signed by somebody whom this box does not trust"),
        ("other", "failed", "for other hardware (other-board)"),
        ("missing", "failed", "there is no such bundle"),
        ("older", "none", "older than 1.0.0"),
        ("same", "none", "is the one that runs"),
    ] {
        let told = bench.asks(&json!({ "action": "check", "source": format!("/data/{name}.raucb"), "by": "me" }));
        let reason = told["reason"].as_str().unwrap();
        assert!(told["phase"] == phase && reason.contains(sentence), "{name}: {told}");
    }
    // Nobody is troubled at night by what is nothing new, and how the last update ended stays told.
    let told = bench.asks(&json!({ "action": "check", "source": "/data/theirs.raucb", "by": "me" }));
    for name in ["same", "older", "missing"] {
        let source = format!("/data/{name}.raucb");
        let after = bench.asks(&json!({ "action": "check", "source": source, "by": "by itself" }));
        assert_eq!(after, told, "{name}");
    }
}

#[test]
fn what_is_no_request_changes_nothing() {
    let bench = Bench::new();
    bench.write("run/analyzer-gateway/requests/update.json", "{\"action\":\"insta");
    let output = bench.appliance(&["update"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!bench.path("data/system/update.json").exists());
    let told = bench.asks(&json!({ "action": "install", "source": "/etc/shadow", "by": "me" }));
    assert!(told["phase"] == "failed" && told["reason"].as_str().unwrap().contains("ends in .raucb"), "{told}");
    let told = bench.asks(&json!({ "action": "rollback", "by": "me" }));
    assert!(told["reason"].as_str().unwrap().contains("no system to go back to"), "{told}");
}

/// Serves this file, in parts if it is asked to, and closes each of the first connections after so many bytes.
fn server(bytes: Vec<u8>, breaks: usize, after: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/box.raucb", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    std::thread::spawn(move || {
        let mut broken = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut from_to = None;
            for line in BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
            {
                if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                    let (from, to) = range.split_once('-').unwrap();
                    from_to = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap_or(bytes.len() - 1)));
                }
            }
            let (from, to) = from_to.unwrap_or((0, bytes.len() - 1));
            let status = if from_to.is_some() { "206 Partial Content" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{to}/{}\r\netag: \"one\"\r\nconnection: close\r\n\r\n",
                to + 1 - from,
                bytes.len()
            );
            let mut body = &bytes[from..=to];
            if body.len() > 300_000 && broken < breaks {
                broken += 1;
                body = &body[..after];
            }
            counted.fetch_add(body.len(), Ordering::SeqCst);
            // Whoever has heard enough hangs up.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    (url, sent)
}

#[test]
fn a_bundle_is_fetched_whole_over_a_server_that_breaks_off_and_only_its_end_to_look_at_it() {
    if !is_there("rauc") || !is_there("mksquashfs") {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    openssl_key(keys.path(), "ours");
    let bench = trusting(keys.path());
    let whole = fs::read(bundle(keys.path(), "ours", "analyzer-gateway-vm", "1.1.0")).unwrap();
    assert!(whole.len() > 1_000_000);
    let (url, sent) = server(whole.clone(), 2, 400_000);
    let told = bench.asks(&json!({ "action": "check", "source": url, "by": "me" }));
    assert!(told["reason"].as_str().unwrap().contains("1.1.0 can be installed"), "{told}");
    assert!(sent.load(Ordering::SeqCst) < 200_000, "{sent:?}");

    let before = sent.swap(0, Ordering::SeqCst);
    let told = bench.asks(&json!({ "action": "install", "source": url, "by": "me" }));
    // A folder has no halves that could be written: everything before that was done.
    assert!(told["reason"].as_str().unwrap().contains("only the box itself"), "{told}");
    assert!(fs::read(bench.path("data/update/bundle.raucb")).unwrap() == whole, "every byte, once");
    let total = sent.load(Ordering::SeqCst);
    assert!(total <= whole.len() + before, "what was there was not fetched again: {total} of {}", whole.len());

    let told = bench.asks(&json!({ "action": "check", "source": "http://127.0.0.1:9/box.raucb", "by": "me" }));
    assert!(told["reason"].as_str().unwrap().contains("server of updates is not reached"), "{told}");
}

/// What an install leaves at the step where the power fails.
fn cut_off_at(bench: &Bench, phase: &str) {
    let at = "2026-11-21T20:14:03.120Z";
    let journal = json!({
        "update": { "phase": phase, "percent": null, "from": "1.0.0", "to": "1.1.0", "reason": "", "at": at },
        "from_slot": "A", "to_slot": "B", "given_up": null, "proved": "A", "before": null,
    });
    bench.write("data/system/update.json", journal.to_string());
}

#[test]
fn the_old_system_says_why_it_is_back() {
    for (phase, becomes, sentence) in [
        ("fetching", "failed", "nothing has changed"),
        ("installing", "failed", "nothing has changed"),
        ("restarting", "rolled_back", "version 1.1.0 did not start"),
        ("proving", "rolled_back", "before version 1.1.0 had shown that it works"),
        ("good", "good", ""),
    ] {
        let bench = Bench::new();
        cut_off_at(&bench, phase);
        let output = bench.appliance(&["gate"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let told = bench.told();
        assert!(told["phase"] == becomes && told["reason"].as_str().unwrap().contains(sentence), "{phase}: {told}");
        assert_eq!(bench.journal()["update"], told, "what is told is what is kept");
    }
}

#[test]
fn a_new_system_whose_gateway_does_not_come_is_given_up_and_the_old_one_tells_the_reason() {
    let bench = Bench::new();
    cut_off_at(&bench, "restarting");
    bench.starts("B");
    bench.appliance(&["gate", "--patience-seconds", "0"]);
    assert!(
        bench.journal()["given_up"].as_str().unwrap().contains("its gateway does not start"),
        "{}",
        bench.journal()
    );
    // It starts again although it was given up, then the old one comes.
    bench.appliance(&["gate"]);
    assert_eq!(bench.told()["phase"], "proving");
    bench.starts("A");
    bench.appliance(&["gate"]);
    let told = bench.told();
    assert_eq!(told["phase"], "rolled_back");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("version 1.1.0 did not prove itself: its gateway does not start"), "{reason}");
    assert!(reason.ends_with("version 1.0.0 runs"), "{reason}");
    bench.appliance(&["gate"]);
    assert_eq!(bench.told(), told, "and it goes on telling it");
}

/// What the firmware starts by `autoboot.txt`: partition 2 or 3 (Raspberry Pi documentation, "autoboot.txt").
fn firmware(bench: &Bench, tryboot: bool) -> &'static str {
    let text = fs::read_to_string(bench.path("boot/firmware/autoboot.txt")).unwrap();
    let (mut applies, mut partition) = (true, None);
    for line in text.lines() {
        match line {
            "[all]" => applies = true,
            "[tryboot]" => applies = tryboot,
            _ => {
                if let Some(number) = line.strip_prefix("boot_partition=").filter(|_| applies) {
                    partition = Some(number);
                }
            }
        }
    }
    match partition {
        Some("2") => "A",
        Some("3") => "B",
        other => panic!("{other:?} in {text}"),
    }
}

#[test]
fn a_raspberry_pi_starts_a_system_that_works_whenever_the_power_fails() {
    // Of each step: what RAUC asks, and whether the box then restarts for it.
    let steps: [(&str, &[&str]); 5] = [
        ("A", &["boot-slot", "set-state", "B", "bad"]),
        ("A", &["boot-slot", "set-primary", "B"]),
        ("B", &["boot-slot", "set-state", "B", "good"]),
        ("B", &["boot-slot", "set-primary", "B"]),
        ("B", &["boot-slot", "set-state", "A", "bad"]),
    ];
    for cut in 0..=steps.len() {
        let bench = Bench::new();
        let mut runs = "A";
        let ours = "# Which half of the card is started. The gateway's updates write it; do not edit.\n\
                    [all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n";
        bench.write("boot/firmware/autoboot.txt", ours);
        let before = fs::metadata(bench.path("boot/firmware/autoboot.txt")).unwrap();
        for (on, words) in &steps[..cut] {
            if *on != runs {
                let primary = bench.appliance(&["boot-slot", "get-primary"]);
                assert_eq!(primary.stdout, b"B\n");
                runs = firmware(&bench, true);
                bench.starts(runs);
            }
            assert_eq!(runs, *on);
            let done = bench.appliance(words);
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
        // The power fails: the firmware has forgotten that it was to try anything.
        let starts = firmware(&bench, false);
        assert_eq!(starts, if cut < 3 { "A" } else { "B" }, "after {cut} steps");
        let after = fs::metadata(bench.path("boot/firmware/autoboot.txt")).unwrap();
        assert_eq!((before.ino(), before.len()), (after.ino(), after.len()), "one sector, in its place");
        assert!(after.len() <= 512);
    }
}

#[test]
fn a_raspberry_pi_goes_back_when_a_system_is_bad() {
    let bench = Bench::new();
    let text = fs::read(project().join(IMAGE).join("autoboot.txt")).unwrap();
    bench.write("boot/firmware/autoboot.txt", text);
    for (slot, words) in [
        ("A", vec!["boot-slot", "set-primary", "B"]),
        ("B", vec!["boot-slot", "set-state", "B", "bad"]),
        ("B", vec!["boot-slot", "set-primary", "A"]),
    ] {
        bench.starts(slot);
        assert!(bench.appliance(&words).status.success());
    }
    assert_eq!(bench.appliance(&["boot-slot", "get-primary"]).stdout, b"A\n");
    assert_eq!(bench.appliance(&["boot-slot", "get-state", "B"]).stdout, b"bad\n");
    assert_eq!(bench.appliance(&["boot-slot", "get-current"]).stdout, b"B\n");
    assert_eq!(firmware(&bench, false), "A");
    let refused = bench.appliance(&["boot-slot", "set-primary", "C"]);
    assert!(!refused.status.success());
    bench.write("boot/firmware/autoboot.txt", "boot_partition=7\n");
    assert!(!bench.appliance(&["boot-slot", "set-primary", "B"]).status.success(), "a file that is not ours stays");
}

/// U-Boot's commands in the shell's words: its variables stand in a file that `saveenv` writes, and a kernel starts by saying so.
const U_BOOT: &str = r#"
setenv() { name=$1; shift; eval "$name=\$*"; }
setexpr() { case $3 in -) eval "$1=$(($2 - $4))" ;; *) exit 9 ;; esac; }
saveenv() { printf 'BOOT_ORDER="%s"\nBOOT_A_LEFT="%s"\nBOOT_B_LEFT="%s"\n' "$BOOT_ORDER" "$BOOT_A_LEFT" "$BOOT_B_LEFT" >"$ENVIRONMENT"; }
fdt() { case $1 in get) bootargs=console=serial0 ;; esac; }
load() { case " $BROKEN " in *" $2 "*) return 1 ;; esac; }
booti() { echo "STARTED $bootargs"; exit 0; }
reset() { echo RESET; exit 0; }
. "$ENVIRONMENT"
"#;

/// One start: the slot, or `None` if the board is reset.
fn u_boot(folder: &Path, broken: &str) -> Option<String> {
    let script = fs::read_to_string(project().join(IMAGE).join("boot.cmd")).unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{U_BOOT}{script}"))
        .env("ENVIRONMENT", folder.join("environment"))
        .env("BROKEN", broken)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let started = said.lines().find_map(|line| line.strip_prefix("STARTED "));
    assert!(started.is_some() || said.contains("RESET"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let arguments = started?;
    let slot = arguments.split(' ').find_map(|word| word.strip_prefix("analyzer-gateway.slot=")).unwrap();
    let part = if slot == "A" { "mmcblk0p2" } else { "mmcblk0p3" };
    assert!(arguments.contains(part) && arguments.starts_with("console=serial0"), "{arguments}");
    Some(slot.to_owned())
}

#[test]
fn u_boot_starts_a_half_whatever_its_variables_hold() {
    let folder = tempfile::tempdir().unwrap();
    let write = |order: &str, a: &str, b: &str| {
        let text = format!("BOOT_ORDER='{order}'\nBOOT_A_LEFT='{a}'\nBOOT_B_LEFT='{b}'\n");
        fs::write(folder.path().join("environment"), text).unwrap();
    };
    for order in ["", "A B", "B A", "A", "B", "C", "B B"] {
        for a in ["", "0", "1", "3", "x"] {
            for b in ["", "0", "2", "3"] {
                write(order, a, b);
                assert!(u_boot(folder.path(), "").is_some(), "{order:?} {a:?} {b:?}");
            }
        }
    }
    // As RAUC leaves it after an install to B that then never proves itself.
    write("B A", "3", "3");
    let starts: Vec<_> = (0..5).map(|_| u_boot(folder.path(), "").unwrap()).collect();
    assert_eq!(starts, ["B", "B", "B", "A", "A"]);
    // A half that cannot be read is left after its tries.
    write("B A", "3", "3");
    let starts: Vec<_> = (0..4).map(|_| u_boot(folder.path(), "0:3")).collect();
    assert_eq!(starts, [None, None, None, Some("A".to_owned())]);
}

#[test]
fn rauc_reads_each_configuration_and_all_of_them_trust_one_keyring() {
    if !is_there("rauc") || !is_there("mksquashfs") {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    openssl_key(keys.path(), "ours");
    let good = bundle(keys.path(), "ours", "analyzer-gateway-vm", "1.1.0");
    for (name, bootloader) in [("grub", "grub"), ("tryboot", "custom"), ("uboot", "uboot")] {
        let text = fs::read_to_string(project().join(IMAGE).join(format!("system-{name}.conf"))).unwrap();
        for line in [
            "bundle-formats=verity",
            "path=keyring.pem",
            "use-bundle-signing-time=true",
            &format!("bootloader={bootloader}"),
        ] {
            assert!(text.lines().any(|other| other == line), "{name}: {line}");
        }
        let configuration = keys.path().join("system.conf");
        fs::write(&configuration, text.replace("/data/system/rauc", &keys.path().display().to_string())).unwrap();
        fs::copy(keys.path().join("ours.pem"), keys.path().join("keyring.pem")).unwrap();
        let read = Command::new("rauc")
            .arg(format!("--conf={}", configuration.display()))
            .arg("info")
            .arg(&good)
            .output()
            .unwrap();
        assert!(read.status.success(), "{name}: {}", String::from_utf8_lossy(&read.stderr));
    }
    let mut text = String::new();
    fs::File::open(project().join(IMAGE).join("fw_env.config")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("/dev/")).count(), 2, "two copies");
}
