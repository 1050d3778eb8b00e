//! The diagnostic bundle as a file: whole, for its owner only, each file as the manifest says; and a disk without room for it.

use super::home::{DEADLINE, Home};
use gateway_tests::binary;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use tokio::process::Command;

async fn run(command: &mut Command) -> Output {
    tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A gateway that has run once: the bundle is made of its store.
async fn rested() -> Home {
    let home = Home::new();
    home.configure("mqtt: { url: 'mqtt://127.0.0.1:9' }\nhttp: { listen: off }\n");
    let gateway = home.start_ready().await;
    gateway.stop().await;
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_whole_and_for_its_owner() {
    let home = rested().await;
    let (settings, folder) = (home.settings_path().display().to_string(), home.path("out"));
    std::fs::create_dir(&folder).expect("a folder of our own");
    let to = folder.display().to_string();
    let arguments = ["diagnostics", "collect", "--json", "--config", &settings, "--to", &to];
    let output = run(&mut home.command(&arguments)).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let path = told["file"].as_str().expect("a path");
    assert_eq!(std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let packed = std::fs::read(path).expect("it is there");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        files.push((name.split_once('/').expect("a folder").1.to_owned(), bytes));
    }
    assert_eq!(files[0].0, "manifest.json");
    let manifest: Value = serde_json::from_slice(&files[0].1).expect("JSON");
    let listed = manifest["files"].as_array().expect("a list");
    assert_eq!(listed.len(), files.len() - 1);
    for (one, (name, bytes)) in listed.iter().zip(&files[1..]) {
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((one["name"].as_str(), one["sha256"].as_str()), (Some(name.as_str()), Some(sha256.as_str())));
        assert_eq!(one["bytes"].as_u64(), Some(bytes.len() as u64));
    }
    assert!(manifest["left_out"].as_array().is_some_and(|left_out| left_out.len() > 3), "{manifest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_is_told_and_left_as_it_was() {
    let home = rested().await;
    let (settings, folder) = (home.settings_path(), home.path("small"));
    std::fs::create_dir(&folder).expect("a folder of our own");
    // A disk of 64 KiB, in a view of the file system that ends with the shell.
    let script = format!(
        "mount -t tmpfs -o size=64k none '{0}' || exit 99\n'{1}' diagnostics collect --config '{2}' --to '{0}'; s=$?\n\
         ls -A '{0}' | wc -l; exit $s",
        folder.display(),
        binary().display(),
        settings.display()
    );
    let output = run(Command::new("unshare").args(["--map-root-user", "--mount", "/bin/sh", "-c", &script])).await;
    if output.status.code() == Some(99) || text(&output.stderr).starts_with("unshare") {
        eprintln!("SKIPPED: this machine lets nobody mount a small disk: {}", text(&output.stderr));
        return;
    }
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("bytes free") && said.contains("name another folder"), "{said}");
    assert_eq!(text(&output.stdout).trim(), "0", "nothing was left behind");
}
