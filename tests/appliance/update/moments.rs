//! Updates that are cut off, stopped, or asked for at the wrong moment: what is written down of them, and what becomes of it.

use super::{Bench, cut_off_at};
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn a_new_system_that_starts_before_its_install_was_written_down_must_prove_itself_too() {
    for phase in ["installing", "waiting_for_test", "failed"] {
        let bench = Bench::new();
        cut_off_at(&bench, phase);
        bench.starts("B");
        bench.appliance(&["gate", "--patience-seconds", "0"]);
        let journal = bench.journal();
        assert_eq!(journal["proved"], "A", "{phase}");
        assert!(journal["given_up"].as_str().unwrap().contains("its gateway does not start"), "{phase}: {journal}");
    }
}

#[test]
fn nothing_is_begun_while_a_system_has_not_proved_itself() {
    for (phase, slot) in [("proving", "B"), ("restarting", "A"), ("good", "B")] {
        let bench = Bench::new();
        cut_off_at(&bench, phase);
        bench.starts(slot);
        let before = bench.journal();
        for (by, code) in [("me", 1), ("by itself", 0)] {
            let request = json!({ "action": "install", "source": "/data/box.raucb", "by": by });
            bench.write("run/analyzer-gateway/requests/update.json", request.to_string());
            let output = bench.appliance(&["update"]);
            assert_eq!(output.status.code(), Some(code), "{phase} {by}");
            assert_eq!(output.stderr.is_empty(), code == 0, "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(bench.journal(), before, "{phase} {by}");
            assert!(!bench.path("run/analyzer-gateway/requests/update.json").exists());
        }
    }
}

#[test]
fn an_update_that_was_killed_does_not_go_on_for_ever() {
    for (phase, becomes) in
        [("fetching", "failed"), ("installing", "failed"), ("restarting", "restarting"), ("good", "good")]
    {
        let bench = Bench::new();
        cut_off_at(&bench, phase);
        assert_eq!(bench.appliance(&["update", "--settle"]).status.code(), Some(0));
        let update = &bench.journal()["update"];
        assert_eq!(update["phase"], becomes, "{phase}");
        assert_eq!(update["reason"].as_str().unwrap().contains("install it again"), phase != becomes, "{update}");
    }
}

#[test]
fn what_a_gateway_of_another_start_has_left_is_no_health() {
    let bench = Bench::new();
    cut_off_at(&bench, "restarting");
    bench.starts("B");
    let health = json!({
        "version": "1.1.0", "since": "2026-11-21T20:14:03.120Z", "boot": "01010101-0101-4101-8101-010101010101", "mono_nanos": 1,
        "store": true, "listen": null, "analyzers": [], "destinations": [],
    });
    bench.write("run/analyzer-gateway/gate.json", health.to_string());
    bench.appliance(&["gate", "--patience-seconds", "0"]);
    assert!(
        bench.journal()["given_up"].as_str().unwrap().contains("its gateway does not start"),
        "{}",
        bench.journal()
    );
}

#[test]
fn the_way_back_is_kept_whatever_is_asked_for_in_between() {
    let bench = Bench::new();
    cut_off_at(&bench, "good");
    let mut journal = bench.journal();
    journal["proved"] = json!("B");
    journal["previous"] = json!({ "slot": "A", "version": "0.9.0" });
    bench.write("data/system/update.json", journal.to_string());
    bench.starts("B");
    for action in ["check", "install"] {
        let told = bench.asks(&json!({ "action": action, "source": "/data/none.raucb", "by": "me" }));
        assert_eq!(told["phase"], "failed", "{action}");
    }
    let told = bench.asks(&json!({ "action": "rollback", "by": "me" }));
    assert_eq!((&told["phase"], &told["from"], &told["to"]), (&json!("restarting"), &json!("1.0.0"), &json!("0.9.0")));
    assert_eq!(bench.journal()["to_slot"], "A");
}

#[test]
fn neither_a_folder_nor_a_pipe_is_waited_for() {
    let bench = Bench::new();
    let requests = bench.path("run/analyzer-gateway/requests");
    fs::create_dir_all(requests.join("update.json/inside")).unwrap();
    assert_eq!(bench.appliance(&["update"]).status.code(), Some(1));
    assert!(requests.is_dir() && !requests.join("update.json").exists());
    fs::create_dir_all(bench.path("data")).unwrap();
    assert!(Command::new("mkfifo").arg(bench.path("data/pipe.raucb")).status().unwrap().success());
    let told = bench.asks(&json!({ "action": "check", "source": "/data/pipe.raucb", "by": "me" }));
    assert!(told["reason"].as_str().unwrap().contains("is no file"), "{told}");
}
