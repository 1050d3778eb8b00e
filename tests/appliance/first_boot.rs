//! The first boot of a written card, and each later one, on a folder that stands for the box and a file that stands for the card.

use super::system;
use gateway_tests::binary;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

const MIB: u64 = 1 << 20;
const FIRST: &str = "0123456789abcdef0123456789abcdef";
const LATER: &str = "fedcba9876543210fedcba9876543210";

/// A box whose card is this large and whose table of partitions is this one; `data` is partition `number`.
fn the_box(script: &str, number: u32, card_mib: u64) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let plant = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    plant("etc/passwd", &format!("root:x:0:0::/:/bin/sh\nanalyzer-gateway:x:{}:{}::/:/bin/sh\n", user.0, user.1));
    plant("etc/group", &format!("root:x:0:\nanalyzer-gateway:x:{0}:\nsystemd-journal:x:{0}:\n", user.1));
    plant("etc/machine-id", &format!("{FIRST}\n"));
    plant("proc/self/mountinfo", "36 1 179:6 / /data rw,noatime shared:1 - ext4 /dev/mmcblk0pX rw\n");
    plant("sys/devices/mmcblk0/size", &format!("{}\n", card_mib * MIB / 512));
    plant("sys/devices/mmcblk0/mmcblk0pX/partition", &format!("{number}\n"));
    plant("data/.here", "");
    plant("dev/mmcblk0", "");
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/image/rootfs/usr/lib/analyzer-gateway/data.conf");
    plant("usr/lib/analyzer-gateway/data.conf", &fs::read_to_string(list).unwrap());
    fs::create_dir_all(root.path().join("sys/dev/block")).unwrap();
    symlink("../../devices/mmcblk0/mmcblk0pX", root.path().join("sys/dev/block/179:6")).unwrap();
    // As the image was made, small; then the card that it was written to.
    let disk = root.path().join("dev/mmcblk0");
    fs::File::options().write(true).open(&disk).unwrap().set_len(96 * MIB).unwrap();
    plant("table", script);
    let table = fs::File::open(root.path().join("table")).unwrap();
    assert!(Command::new("sfdisk").arg("--quiet").arg(&disk).stdin(table).status().unwrap().success());
    fs::File::options().write(true).open(&disk).unwrap().set_len(card_mib * MIB).unwrap();
    root
}

/// Runs it in a mount namespace of its own where that is allowed; then prints the machine-id that everybody sees.
fn boot(root: &Path) -> Output {
    let script = "\"$1\" appliance first-boot --root \"$2\"; status=$?; cat \"$2/etc/machine-id\"; exit $status";
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new("unshare"),
        false => Command::new("env"),
    };
    if rustix::process::geteuid().is_root() {
        command.arg("--mount");
    }
    command.args(["sh", "-c", script, "sh"]).arg(binary()).arg(root).output().unwrap()
}

fn end_mib(root: &Path, number: u32) -> u64 {
    let printed = Command::new("sfdisk").arg("--json").arg(root.join("dev/mmcblk0")).output().unwrap();
    let table: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let own = partitions.iter().find(|part| part["node"].as_str().unwrap().ends_with(&format!("mmcblk0p{number}")));
    let own = own.unwrap_or_else(|| panic!("{partitions:?}"));
    (own["start"].as_u64().unwrap() + own["size"].as_u64().unwrap()) * 512 / MIB
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_card_is_filled_once_and_a_later_boot_writes_nothing() {
    if system("sfdisk").is_none() || system("systemd-tmpfiles").is_none() {
        return;
    }
    let tables = [
        ("label: gpt\nsize=16MiB\nsize=16MiB\nsize=16MiB\nsize=16MiB\n", 4),
        (
            "label: dos\nsize=16MiB, type=c\nsize=16MiB\nsize=16MiB\nstart=50MiB, size=40MiB, type=f\nsize=10MiB\nsize=10MiB\n",
            6,
        ),
    ];
    for (table, number) in tables {
        let the_box = the_box(table, number, 600);
        let root = the_box.path();
        let first = boot(root);
        assert_eq!(first.status.code(), Some(0), "{}", said(&first));
        assert!(end_mib(root, number) >= 598, "{} MiB: {}", end_mib(root, number), said(&first));
        assert_eq!(fs::read_to_string(root.join("data/system/machine-id")).unwrap().trim(), FIRST);
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("data/analyzer-gateway"), mode("data/system/ssh")), (0o750, 0o700));
        let written = || fs::metadata(root.join("dev/mmcblk0")).unwrap().modified().unwrap();
        let before = written();
        let second = boot(root);
        assert_eq!((second.status.code(), said(&second).trim()), (Some(0), FIRST));
        assert_eq!(written(), before, "the second boot wrote to the table");
    }
}

#[test]
fn the_box_stays_itself_whatever_systemd_calls_this_boot() {
    if system("sfdisk").is_none() || system("systemd-tmpfiles").is_none() {
        return;
    }
    let the_box = the_box("label: dos\nsize=16MiB\nsize=79MiB\n", 2, 96);
    let root = the_box.path();
    assert_eq!(boot(root).status.code(), Some(0));
    fs::write(root.join("etc/machine-id"), format!("{LATER}\n")).unwrap();
    if !rustix::process::geteuid().is_root() {
        return super::skipped("root is needed to lay one file over another");
    }
    let later = boot(root);
    assert_eq!(later.status.code(), Some(0), "{}", said(&later));
    assert_eq!(said(&later).lines().last(), Some(FIRST), "{}", said(&later));
    // Torn by a power cut: the box gets another id rather than none.
    fs::write(root.join("data/system/machine-id"), "0123").unwrap();
    assert_eq!(boot(root).status.code(), Some(0));
    assert_eq!(fs::read_to_string(root.join("data/system/machine-id")).unwrap().trim(), LATER);
}

#[test]
fn a_host_key_is_made_once_and_only_where_there_is_an_sshd() {
    if [system("sfdisk"), system("systemd-tmpfiles"), system("ssh-keygen")].contains(&None) {
        return;
    }
    let the_box = the_box("label: dos\nsize=16MiB\nsize=79MiB\n", 2, 96);
    let root = the_box.path();
    let key = root.join("data/system/ssh/ssh_host_ed25519_key");
    assert_eq!(boot(root).status.code(), Some(0));
    assert!(!key.exists());
    fs::create_dir_all(root.join("usr/sbin")).unwrap();
    fs::write(root.join("usr/sbin/sshd"), "").unwrap();
    // Left by a power cut while the first one was made.
    fs::write(root.join("data/system/ssh/ssh_host_ed25519_key.making"), "torn").unwrap();
    let made = boot(root);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    let text = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    assert!(key.with_extension("pub").exists());
    assert_eq!(fs::read_dir(key.parent().unwrap()).unwrap().count(), 2);
    assert_eq!(boot(root).status.code(), Some(0));
    assert_eq!(fs::read(&key).unwrap(), text);
}

#[test]
fn a_box_without_its_data_says_so_and_makes_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("proc/self")).unwrap();
    fs::write(root.path().join("proc/self/mountinfo"), "36 1 179:2 / / ro - ext4 /dev/root ro\n").unwrap();
    let output = Command::new(binary()).args(["appliance", "first-boot", "--root"]).arg(root.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("the partition `data` is missing, damaged or cannot be opened"),
        "{}",
        said(&output)
    );
    assert!(!root.path().join("data").exists());
    let told = |name: &str| fs::read_to_string(root.path().join("run/analyzer-gateway").join(name)).unwrap();
    assert_eq!(told("light"), "degraded\n");
    let words = told("report.txt").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("`data`, which keeps all results, is missing"), "{words}");
    assert!(words.contains("put in a new card") && !words.contains("GATEWAYKEY"), "{words}");
    // The same box with an encrypted card, and what then becomes of an older report.
    fs::create_dir_all(root.path().join("boot/firmware")).unwrap();
    fs::write(root.path().join("boot/firmware/gateway.yaml"), "version: 1\n").unwrap();
    fs::write(root.path().join("boot/firmware/gateway.report.txt"), "Nothing. All is well.\r\n").unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    let crypttab = "data /dev/mmcblk0p4 /run/gatewaykey/gateway.key luks,nofail\n";
    fs::write(root.path().join("etc/crypttab"), crypttab).unwrap();
    for verb in ["first-boot", "card"] {
        Command::new(binary()).args(["appliance", verb, "--root"]).arg(root.path()).output().unwrap();
    }
    let card = fs::read_to_string(root.path().join("boot/firmware/gateway.report.txt")).unwrap();
    let words = card.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("Put in the stick with the key (GATEWAYKEY)") && words.contains("has no mistakes"),
        "{words}"
    );
    assert!(!words.contains("All is well"), "{words}");
}

#[test]
fn a_box_whose_data_takes_no_writes_says_so() {
    if system("sfdisk").is_none() || system("systemd-tmpfiles").is_none() {
        return;
    }
    let the_box = the_box("label: dos\nsize=16MiB\nsize=79MiB\n", 2, 96);
    let root = the_box.path();
    assert_eq!(boot(root).status.code(), Some(0));
    assert!(!root.join("run/analyzer-gateway").exists());
    // Not even root can make a file where there is no folder.
    fs::remove_dir_all(root.join("data")).unwrap();
    fs::write(root.join("data"), "").unwrap();
    let output = boot(root);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report = fs::read_to_string(root.join("run/analyzer-gateway/report.txt")).unwrap();
    let words = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("`data`, which keeps all results, cannot be written"), "{words}");
}
