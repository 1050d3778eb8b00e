//! What the box says of itself is printed as it was left, and a machine that is no appliance says so.

use gateway_tests::binary;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn show(root: &Path) -> Output {
    Command::new(binary()).args(["appliance", "show", "--root"]).arg(root).output().unwrap()
}

#[test]
fn the_parts_that_are_there_are_shown_and_the_others_are_null() {
    let root = tempfile::tempdir().unwrap();
    let says = root.path().join("run/analyzer-gateway-appliance");
    fs::create_dir_all(&says).unwrap();
    let network = json!({"in_force": "fallback", "reason": "nobody answers at 192.0.2.1", "addresses": ["198.51.100.7"],
        "at": "2026-11-21T20:14:03.120Z"});
    fs::write(says.join("network.json"), network.to_string()).unwrap();
    let shown = show(root.path());
    assert_eq!(shown.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown, json!({"image": null, "network": network, "update": null, "card": null, "backup": null}));
}

#[test]
fn an_ordinary_machine_is_no_appliance() {
    let root = tempfile::tempdir().unwrap();
    let shown = show(root.path());
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stderr).contains("no appliance"));
}
