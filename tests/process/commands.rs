//! The other subcommands, as a person at a terminal meets them.

use super::cable::{ENQ, EOT, ETX, message, numbered};
use super::home::{DEADLINE, Home};
use gateway_daemon::simulated::astm::{Style, texts};
use serde_json::Value;
use std::process::Output;

async fn run(home: &Home, arguments: &[&str]) -> Output {
    let running = tokio::time::timeout(DEADLINE, home.command(arguments).output()).await;
    running.expect("it ends").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_nothing_lost() {
    let home = Home::new();
    let told = run(&home, &["demo", "--seconds", "8", "--quiet"]).await;
    let said = text(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{said}\n{}", text(&told.stderr));
    assert!(said.contains("lost 0"), "{said}");
    assert!(!said.contains("received 0"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decode_prints_equal_lines_for_equal_bytes_and_says_what_it_did_not_understand() {
    let home = Home::new();
    let mut bytes = vec![ENQ];
    for (index, part) in texts(&message("DECODE-01", 3).records, Style::RecordPerFrame).iter().enumerate() {
        bytes.extend(numbered(index + 1, part, ETX));
    }
    bytes.push(EOT);
    let file = home.write("good.astm", &bytes).display().to_string();
    let whole = run(&home, &["decode", "--driver", "astm", &file]).await;
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let lines: Vec<Value> = text(&whole.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["event"], "TEST_FINISHED");
    assert_eq!(lines[0]["test"]["sample_id"], "DECODE-01");
    for pieces in ["1", "7"] {
        let cut = run(&home, &["decode", "--driver", "astm", "--chunks", pieces, &file]).await;
        assert_eq!(text(&cut.stdout), text(&whole.stdout), "in reads of {pieces}");
    }
    let chunks = home.write("chunks.json", "[1, 2, 3, 100]").display().to_string();
    let cut = run(&home, &["decode", "--driver", "astm", "--chunks", &chunks, &file]).await;
    assert_eq!(text(&cut.stdout), text(&whole.stdout), "in recorded reads");

    let cut_off = home.write("cut.astm", &bytes[..bytes.len() - 30]).display().to_string();
    let rejected = run(&home, &["decode", "--driver", "astm", &cut_off]).await;
    assert_eq!(rejected.status.code(), Some(1), "{}", text(&rejected.stdout));
    assert!(text(&rejected.stdout).contains("MESSAGE_REJECTED"));
    for wrong in [["decode", "--driver", "nonsense", &file], ["decode", "--driver", "astm", "/nowhere/at/all"]] {
        assert_eq!(run(&home, &wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_and_devices_print_what_other_programs_read() {
    let home = Home::new();
    let schema = run(&home, &["schema"]).await;
    assert_eq!(schema.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    assert!(schema["properties"]["webhooks"].is_object() && schema["$schema"].is_string(), "{schema}");
    let devices = run(&home, &["devices"]).await;
    assert_eq!(devices.status.code(), Some(0), "{}", text(&devices.stderr));
}
