//! POCT1-A with peers that were not written for the driver: the public capture in both directions, and the simulated device.

use super::captures::folder;
use super::poct1a::{NOBODY, brief, open, order, value};
use super::support::*;
use gateway_core::event::{EventKind, EventName};
use gateway_core::time::{ClockQuality, Timestamp};
use gateway_core::worklist::OrderAction;
use gateway_daemon::commands::decode::Args;
use gateway_daemon::simulated::Peer;
use gateway_daemon::simulated::astm::{Faults, PeerAction, PeerInput};
use gateway_daemon::simulated::poct1a::{Device, glucose};
use std::time::Duration;

fn sn(event: &EventKind) -> Option<&str> {
    event.device.as_ref()?.sn.as_deref()
}

/// Performs the device's actions and brings back what the gateway answers, until neither has anything to say.
fn talk(bench: &mut Bench, device: &mut Device, first: PeerInput<'_>) {
    let mut actions = device.handle(bench.now.mono, first);
    while !actions.is_empty() {
        let mut answers = Vec::new();
        for action in std::mem::take(&mut actions) {
            if let PeerAction::Send { bytes, pace } = action {
                for piece in bytes.chunks(pace.piece.max(1)) {
                    answers.extend(bench.receive(piece));
                }
            }
        }
        for piece in answers.chunks(7) {
            actions.extend(device.handle(bench.now.mono, PeerInput::Received(piece)));
        }
    }
}

#[test]
fn the_simulated_device_is_understood_and_understands() {
    let faults = Faults { slow: 500, answer_lost: 200, ..Faults::default() };
    let mut bench = open();
    bench.now.quality = ClockQuality::Synchronized;
    bench.orders = vec![order("S-1", Some("P-1"), OrderAction::New), order("S-2", Some("P-2"), OrderAction::New)];
    let mut device = Device::new("SIM-7", Duration::from_secs(60), faults, 5);
    let message =
        |number: u32| glucose(&format!("S-{number}"), "P-1", number, Timestamp(1_767_340_000_000 + i64::from(number)));
    // It greets with one to tell, gets two more while it speaks, and the last ones in continuous mode.
    for number in 0..30 {
        bench.disk = if number % 4 == 3 { Disk::Fails } else { Disk::Good };
        talk(&mut bench, &mut device, PeerInput::Submit(message(number)));
        bench.disk = Disk::Good;
        for _ in 0..50 {
            let Some(due) = device.deadline() else { break };
            bench.wait(Duration::from_nanos(due.0.saturating_sub(bench.now.mono.0)));
            talk(&mut bench, &mut device, PeerInput::DeadlineReached);
        }
    }
    assert!(device.is_done() && device.is_continuous());
    assert_eq!(device.told().acknowledged, device.told().sent);
    assert!(device.told().retransmitted > 0);
    assert_eq!(device.patients(), ["P-1", "P-2"]);
    assert!(device.clock_set_to().is_some(), "its clock shows 2026");
    let mut identities = Vec::new();
    for event in bench.events() {
        assert_eq!((event.name, sn(event)), (EventName::TestFinished, Some("SIM-7")));
        if !identities.contains(&event.identity) {
            identities.push(event.identity);
        }
    }
    assert_eq!(identities.len(), 30, "each observation once, however often it was sent");
}

#[test]
fn the_dca_vantages_capture_is_read_by_its_profile() {
    let Some(folder) = folder() else { return };
    let file = folder.join("dca_vantage_poct1a_device.xml");
    let with = |chunks: Option<&str>| {
        let profile = Some("siemens-dca-vantage-poct1a".to_owned());
        decode(Args { driver: None, profile, chunks: chunks.map(str::to_owned), ..args("poct1a", &file) })
    };
    let whole = with(None);
    for chunks in ["1", "7", "32"] {
        assert_eq!(with(Some(chunks)).text, whole.text, "in reads of {chunks}");
    }
    assert_eq!(whole.status, 0, "{}", whole.text);
    let events = whole.lines();
    assert_eq!(events.len(), 1);
    let (device, test) = (&events[0]["device"], &events[0]["test"]);
    assert_eq!((&device["model"], &device["sn"]), (&"DCA Vantage".into(), &"S013023".into()));
    assert_eq!(device["details"]["swVersion"], "4.4.0.0");
    assert_eq!(
        (&test["patient_id"], &test["sample_id"], &test["qc"]),
        (&"1".into(), &serde_json::Value::Null, &false.into())
    );
    assert_eq!(test["finished_at"], "2018-07-26T15:51:26");
    assert_eq!(test["comments"], serde_json::json!(["Reagent DCA HbA1c, lot 0852, expires 2020-03-31"]));
    let results = test["results"].as_array().unwrap();
    let brief = |result: &serde_json::Value| {
        let word = |key: &str| result[key].as_str().unwrap().to_owned();
        let flags: Vec<&str> = result["flags"].as_array().unwrap().iter().filter_map(|flag| flag.as_str()).collect();
        format!("{}={} {} {} {}", word("code"), word("value"), word("unit"), flags.join("+"), word("name"))
    };
    let found: Vec<String> = results.iter().map(brief).collect();
    assert_eq!(found, ["HbA1c=64 mmol/mol H Hemoglobin A1c", "eAG=183 mg/dL  Estimated average glucose"]);
    assert_eq!(results[0]["comments"], serde_json::json!(["Slope^1.000", "Offset^0 mmol/mol", "Reporting Units^IFCC"]));
    assert_eq!(results[1]["comments"], serde_json::json!(["calculated"]));
}

#[test]
fn the_dca_vantages_conversation_is_answered_in_kind() {
    let Some(folder) = folder() else { return };
    let text = std::fs::read_to_string(folder.join("dca_vantage_poct1a_conversation.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 10);
    let mut bench = open();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for line in &lines {
        let xml = line["xml"].as_str().unwrap();
        if line["from"] == "host" {
            theirs.extend(brief(xml.replace(" />", "/>").replace("  />", "/>").as_bytes()));
            continue;
        }
        // The device names the control id of what it answers: here it is ours.
        let last = bench
            .steps
            .iter()
            .rev()
            .find_map(|step| if let Step::Sent(sent) = step { Some(sent.clone()) } else { None });
        let last = last.map(|sent| String::from_utf8(sent).unwrap());
        let id = last.as_deref().and_then(|sent| value(sent, "HDR.control_id")).unwrap_or("0").to_owned();
        let xml = ["4003", "4005"].iter().fold(xml.to_owned(), |xml, theirs| xml.replace(theirs, &id));
        ours.extend(brief(&bench.receive(xml.as_bytes())));
    }
    // That host answered the device's EOT with a directive alone, under the wrong name in its header: we acknowledge first.
    assert_eq!(
        theirs.iter().map(String::as_str).collect::<Vec<_>>()[..4],
        ["AA 10014", "AA 10015", "ROBS", "AA 10016"]
    );
    assert_eq!(ours, ["AA 10014", "AA 10015", "ROBS", "AA 10016", "AA 10017", "START_CONTINUOUS"]);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    assert_eq!(brief(&bench.wait(Duration::from_secs(3600))), NOBODY);
}
