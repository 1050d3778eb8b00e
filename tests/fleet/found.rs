//! A thousand gateways: who is killed, hangs, has a dead letter, a wrong clock or a twin is found, and nobody else.

use super::brokers::{Broker, free_port, mosquitto, nats};
use super::processes::{Talker, ended, eventually, json};
use gateway_core::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

const GATEWAYS: usize = 1_000;
/// From the publication of a change to its line.
const FOUND_SECONDS_MAX: i64 = 5;

/// A line of the watch about this gateway with this trouble (none: that all is well), and when it came.
fn line_of(line: &str, gateway: &str, code: Option<&str>) -> Option<Timestamp> {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let codes: Vec<&str> = line["troubles"].as_array()?.iter().filter_map(|one| one["code"].as_str()).collect();
    let found = match code {
        Some(code) => codes.contains(&code),
        None => codes.is_empty(),
    };
    (line["gateway"] == gateway && found).then(|| moment(&line["at"]))
}

fn moment(value: &Value) -> Timestamp {
    serde_json::from_value(value.clone()).expect("a time")
}

/// The command is given, and this becomes of the gateway; returns how long after the change it was seen, in milliseconds.
fn strike(fleet: &mut Talker, watch: &Talker, word: &str, number: usize, rest: &str, code: Option<&str>) -> i64 {
    let command = format!("{word} {number} {rest}").trim().to_owned();
    let (from, said) = (watch.lines().len(), fleet.lines().len());
    fleet.say(&command);
    let done = fleet.hears(said, &command, |line| {
        let at = line.strip_prefix(&command)?.strip_prefix(" done at ")?;
        Some(moment(&Value::String(at.to_owned())))
    });
    let gateway = format!("sim-{number:05}");
    let seen = watch.hears(from, &format!("{gateway} {code:?}"), |line| line_of(line, &gateway, code));
    seen.0 - done.0
}

fn fleet_at(broker: &Broker, gateways: usize) -> Talker {
    let (url, count) = (broker.url(), gateways.to_string());
    let fleet = Talker::start(&[
        "fleet",
        "simulate",
        "--url",
        &url,
        "--gateways",
        &count,
        "--interval",
        "20s",
        "--keep-alive-seconds",
        "8",
        "--connects-per-second-max",
        "400",
    ]);
    let all = format!("{gateways} of {gateways} gateways are connected");
    fleet.hears(0, &all, |line| (line == all).then_some(()));
    fleet
}

/// Until the watch knows that all of them are well.
fn knows(watch: &Talker, gateways: usize) {
    eventually("all gateways", || {
        let lines = watch.lines();
        let known = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let ids: BTreeSet<String> = known.map(|line| line["gateway"].to_string()).collect();
        (ids.len() == gateways).then_some(())
    });
}

fn at_scale(broker: &Broker, name: &str) {
    let mut fleet = fleet_at(broker, GATEWAYS);
    let url = broker.url();
    let watch = Talker::start(&["fleet", "watch", "--url", &url, "--json", "--all"]);
    knows(&watch, GATEWAYS);
    let well = ended(&["fleet", "watch", "--url", &url, "--once", "--settle", "1s", "--json"]);
    assert_eq!((well.status.code(), json(&well)["census"]["well"].as_u64()), (Some(0), Some(GATEWAYS as u64)));

    fleet.say("silence 10");
    let killed = strike(&mut fleet, &watch, "kill", 7, "", Some("gone"));
    let dead = strike(&mut fleet, &watch, "dead", 8, "3", Some("dead_letters"));
    let clock = strike(&mut fleet, &watch, "clock", 9, "7200", Some("clock_wrong"));
    println!(
        "{name}: killed {killed} ms, dead letter {dead} ms, clock {clock} ms; the broker has {} kB",
        broker.anonymous_kb()
    );
    for found in [killed, dead, clock] {
        assert!(found <= FOUND_SECONDS_MAX * 1_000, "found after {found} ms");
    }
    strike(&mut fleet, &watch, "twin", 11, "", Some("two_boxes"));
    strike(&mut fleet, &watch, "stop", 12, "", Some("stopped"));
    for number in [7, 9] {
        strike(&mut fleet, &watch, "heal", number, "", None);
    }
    // The broker notices after one and a half times the keep-alive (MQTT 3.1.1 section 3.1.2.10).
    watch.hears(0, "the one that hangs", |line| line_of(line, "sim-00010", Some("gone")));

    assert_eq!(watch.stop(), Some(1));
    let list = ended(&["fleet", "watch", "--url", &url, "--once", "--settle", "1s", "--json"]);
    let listed = json(&list);
    let needy: BTreeSet<String> =
        listed["gateways"].as_array().expect("a list").iter().map(|one| one["gateway"].to_string()).collect();
    // A fresh look cannot know that two boxes take turns, but may catch one of them pushed out.
    let expected = ["\"sim-00008\"", "\"sim-00010\"", "\"sim-00012\""].map(str::to_owned);
    let known: BTreeSet<String> = needy.into_iter().filter(|one| one != "\"sim-00011\"").collect();
    assert_eq!(known, BTreeSet::from(expected), "{listed}");
    assert_eq!(listed["gateways"][0]["urgency"], "now", "who is gone stands first");
    assert_eq!(list.status.code(), Some(1));
    fleet.say("quit");
    println!("{name}: {}", fleet.hears(0, "the sum", |line| line.contains("acknowledged").then(|| line.to_owned())));
}

#[test]
fn in_a_thousand_at_mosquitto_those_in_need_are_found() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    if let Some(broker) = mosquitto(&folder) {
        at_scale(&broker, "mosquitto");
    }
}

#[test]
fn in_a_thousand_at_nats_those_in_need_are_found() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    if let Some(broker) = nats(&folder) {
        at_scale(&broker, "nats-server");
    }
}

#[test]
fn a_broker_that_comes_back_is_listened_to_again_and_nothing_was_forgotten() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let Some(mut broker) = mosquitto(&folder) else { return };
    let mut fleet = fleet_at(&broker, 5);
    let url = broker.url();
    let watch = Talker::start(&["fleet", "watch", "--url", &url, "--json", "--all"]);
    knows(&watch, 5);
    strike(&mut fleet, &watch, "dead", 2, "1", Some("dead_letters"));
    let from = watch.lines().len();
    broker.switch_off();
    let all = "0 of 5 gateways are connected";
    fleet.hears(0, all, |line| (line == all).then_some(()));
    broker.switch_on();
    // Heard on the new connection.
    strike(&mut fleet, &watch, "clock", 3, "-7200", Some("clock_wrong"));
    let again = watch.lines().split_off(from);
    assert!(
        !again.iter().any(|line| line_of(line, "sim-00002", Some("dead_letters")).is_some()),
        "said twice: {again:?}"
    );
    assert_eq!(watch.stop(), Some(1));
}

#[test]
fn who_cannot_be_reached_and_what_was_written_wrongly_have_a_status_of_their_own() {
    let nobody = format!("mqtt://127.0.0.1:{}", free_port());
    for once in [&["--once"][..], &[]] {
        let output = ended(&[&["fleet", "watch", "--url", &nobody][..], once].concat());
        assert_eq!(output.status.code(), Some(3));
        assert!(!output.stderr.is_empty());
    }
    for url in ["http://127.0.0.1", "mqtt://name:secret@127.0.0.1", "mqtt://fleet.example", "mqtt://127.0.0.1/topic"] {
        let output = ended(&["fleet", "watch", "--url", url]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(told.starts_with("--url: ") && !told.contains("secret"), "{told}");
    }
}
