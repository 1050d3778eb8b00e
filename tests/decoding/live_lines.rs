//! The `test-v0` driver over time: stalls, restarts, commits that fail.

use super::support::*;
use gateway_core::event::{Device, EventName, Id, RunDelta, Test};
use gateway_core::session::{DriverOptions, Input, Resume, RunningTest};
use std::time::Duration;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn line(event: &str, temperatures: usize, samples: usize) -> String {
    let list = |key: &str, count: usize| vec![format!("{{\"{key}\":1.50}}"); count].join(",");
    let state = if event == "TEST_FINISHED" { "DONE" } else { "TESTING" };
    format!(
        "{{\"version\":0,\"event\":\"{event}\",\"test\":{{\"state\":\"{state}\",\"data\":{{\"temperatureSamples\":[{}],\"samples\":[{}]}}}}}}\n",
        list("temp", temperatures),
        list("firstChannelResult", samples)
    )
}

fn open(resume: Resume<'_>) -> Bench {
    Bench::open("test-v0", &DriverOptions { message_bytes_max: 4096, ..DriverOptions::default() }, resume)
}

fn tests(bench: &Bench) -> Vec<Test> {
    bench.events().into_iter().filter_map(|event| event.test.clone()).collect()
}

/// Lays the deltas of one test at their offsets.
fn lengths(deltas: impl Iterator<Item = RunDelta>) -> (usize, usize) {
    deltas.fold((0, 0), |(temperatures, samples), delta| {
        assert_eq!((delta.temperatures_from, delta.samples_from), (temperatures, samples), "deltas follow each other");
        (temperatures + delta.temperatures.len(), samples + delta.samples.len())
    })
}

#[test]
fn a_run_is_stored_as_deltas_that_add_up() {
    let mut bench = open(Resume::default());
    for (event, temperatures, samples) in
        [("TEST_STARTED", 0, 0), ("NEW_DATA", 1, 0), ("NEW_DATA", 4, 7), ("NEW_DATA", 4, 7), ("TEST_FINISHED", 6, 14)]
    {
        assert!(bench.receive(line(event, temperatures, samples).as_bytes()).is_empty());
        bench.wait(seconds(2));
    }
    let tests = tests(&bench);
    assert_eq!(tests.len(), 5);
    assert!(tests.iter().all(|test| test.id == tests[0].id));
    assert_eq!(lengths(tests.into_iter().filter_map(|test| test.data)), (6, 14));
    bench.wait(seconds(100));
    assert_eq!(bench.events().len(), 5);
    bench.receive(line("TEST_STARTED", 0, 0).as_bytes());
    let again = self::tests(&bench);
    assert_ne!(again[5].id, again[0].id);
}

#[test]
fn a_stall_is_one_alarm_until_the_analyzer_speaks_again() {
    let mut bench = open(Resume::default());
    bench.receive(line("TEST_STARTED", 0, 0).as_bytes());
    bench.wait(seconds(19));
    assert_eq!(bench.names(), ["TEST_STARTED"]);
    bench.wait(seconds(200));
    assert_eq!(bench.names(), ["TEST_STARTED", "ANALYZER_ALARM"]);
    assert_eq!(bench.events()[1].alarm.as_ref().unwrap().code, "stalled");
    bench.receive(line("NEW_DATA", 1, 0).as_bytes());
    bench.wait(seconds(30));
    assert_eq!(bench.names().len(), 4);
}

#[test]
fn after_a_restart_the_test_goes_on_behind_a_gap() {
    let id = Id([7; 16]);
    let device = Device { sn: Some("42".to_owned()), ..Device::default() };
    let running = RunningTest { id, device: Some(device.clone()), temperatures: 3, samples: 7 };
    let mut bench = open(Resume { unfinished: &[], running: Some(&running) });
    assert_eq!(bench.names(), ["GAP"]);
    bench.receive(line("NEW_DATA", 5, 14).as_bytes());
    let event = bench.events()[1].clone();
    let test = event.test.unwrap();
    let data = test.data.unwrap();
    assert_eq!((test.id, event.device), (id, Some(device)));
    assert_eq!((data.temperatures_from, data.samples_from, data.temperatures.len(), data.samples.len()), (3, 7, 2, 7));
}

#[test]
fn what_is_about_the_analyzer_carries_the_last_known_device() {
    let bare = |event: &str, state: &str| {
        format!("{{\"version\":0,\"event\":\"{event}\",\"test\":{{\"state\":\"{state}\"}}}}\n")
    };
    let lines = [bare("DEVICE_READY", "IDLE"), bare("ALREADY_TESTING", "BLOCKED_ALREADY_TESTING")].concat();
    let device = Device { sn: Some("42".to_owned()), ..Device::default() };
    let running = RunningTest { id: Id([7; 16]), device: Some(device.clone()), temperatures: 3, samples: 7 };
    let mut resumed = open(Resume { unfinished: &[], running: Some(&running) });
    resumed.receive(lines.as_bytes());
    let mut told = open(Resume::default());
    told.receive(line("NEW_DATA", 1, 0).replace("\"test\"", "\"device\":{\"sn\":42},\"test\"").as_bytes());
    // An object that names nothing is no other analyzer.
    told.receive(lines.replace("\"test\"", "\"device\":{},\"test\"").as_bytes());
    told.receive(lines.as_bytes());
    for bench in [resumed, told] {
        for event in &bench.events()[1..] {
            assert_eq!(event.device.as_ref(), Some(&device), "{}", event.name);
        }
    }
    let mut unknown = open(Resume::default());
    unknown.receive(lines.as_bytes());
    assert!(unknown.events().iter().all(|event| event.device.is_none()));
}

#[test]
fn another_serial_number_on_the_port_is_another_test() {
    let device = Device { sn: Some("42".to_owned()), ..Device::default() };
    let running = RunningTest { id: Id([7; 16]), device: Some(device), temperatures: 3, samples: 7 };
    let mut bench = open(Resume { unfinished: &[], running: Some(&running) });
    bench.receive(line("NEW_DATA", 5, 14).replace("\"test\"", "\"device\":{\"sn\":43},\"test\"").as_bytes());
    let test = bench.events()[1].test.clone().unwrap();
    assert_ne!(test.id, running.id);
    assert_eq!(lengths(test.data.into_iter()), (5, 14));
}

#[test]
fn a_line_that_is_not_stored_is_tried_again_and_nothing_overtakes_it() {
    let mut bench = open(Resume::default());
    bench.disk = Disk::Fails;
    bench.receive([line("TEST_STARTED", 0, 0), line("NEW_DATA", 1, 0)].concat().as_bytes());
    bench.wait(seconds(5));
    assert!(bench.names().is_empty());
    bench.disk = Disk::Good;
    bench.wait(seconds(2));
    assert_eq!(bench.names(), ["TEST_STARTED", "NEW_DATA"]);
}

#[test]
fn a_line_over_the_limit_is_refused_once_and_the_next_one_read() {
    let mut bench = open(Resume::default());
    for part in line("NEW_DATA", 800, 0).as_bytes().chunks(100) {
        bench.receive(part);
    }
    bench.receive(line("NEW_DATA", 1, 0).as_bytes());
    assert_eq!(bench.names(), ["too_long", "NEW_DATA"]);
}

#[test]
fn an_unterminated_line_is_broken_off_by_silence_or_by_the_end() {
    let whole = line("NEW_DATA", 1, 0);
    let mut bench = open(Resume::default());
    bench.receive(&whole.as_bytes()[..30]);
    bench.wait(seconds(6));
    assert_eq!(bench.names(), ["interrupted"]);
    bench.receive(&whole.as_bytes()[..30]);
    bench.give(Input::Closed);
    assert_eq!(bench.names(), ["interrupted", "interrupted"]);
    let mut bench = open(Resume::default());
    bench.receive(whole.trim_end().as_bytes());
    bench.wait(seconds(6));
    assert_eq!(bench.events()[0].name, EventName::NewData);
}

#[test]
fn bytes_that_find_no_room_while_nothing_can_be_stored_are_a_gap_in_their_place() {
    let mut bench = open(Resume::default());
    bench.disk = Disk::Fails;
    bench.receive(line("TEST_STARTED", 0, 0).as_bytes());
    let long = line("NEW_DATA", 250, 0);
    bench.receive(long.as_bytes());
    bench.receive(&[long.as_bytes(), &long.as_bytes()[..100]].concat());
    bench.receive(&long.as_bytes()[100..]);
    bench.disk = Disk::Good;
    bench.wait(seconds(2));
    bench.receive(line("NEW_DATA", 251, 0).as_bytes());
    assert_eq!(bench.names(), ["TEST_STARTED", "NEW_DATA", "NEW_DATA", "GAP", "NEW_DATA"]);
    let reason = &bench.events()[3].gap.as_ref().unwrap().reason;
    assert!(reason.starts_with(&format!("{} received bytes were dropped", long.len() - 100)), "{reason}");
    assert_eq!(bench.stored()[3].capture, &long.as_bytes()[..100]);
}
