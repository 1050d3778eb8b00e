//! What an observation reviewer of POCT1-A answers and stores, step by step, under a link that enforces the calling contract.

use super::support::*;
use gateway_core::event::{EventKind, Personal};
use gateway_core::registration::Patient;
use gateway_core::session::{DriverOptions, Input, Resume};
use gateway_core::time::{ClockQuality, Mono};
use gateway_core::worklist::{OrderAction, Question, WorkOrder};
use std::time::Duration;

pub fn open() -> Bench {
    Bench::open("poct1a", &DriverOptions::default(), Resume::default())
}

fn document(root: &str, control_id: u32, body: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\"?><{root}><HDR><HDR.control_id V=\"{control_id}\"/><HDR.version_id V=\"POCT1\"/>\
         <HDR.creation_dttm V=\"2023-11-14T22:13:20+00:00\"/></HDR>{body}</{root}>"
    )
    .into_bytes()
}

/// A greeting that names these topics and directives.
fn hello(topics: &[&str], directives: &[&str], message_bytes_max: usize) -> Vec<u8> {
    let all = |name: &str, values: &[&str]| -> String {
        values.iter().map(|value| format!("<DSC.{name}_supported_cd V=\"{value}\"/>")).collect()
    };
    let body = format!(
        "<DEV><DEV.model_id V=\"Bedside\"/><DEV.serial_id V=\"B-1\"/><DCP><DCP.application_timeout V=\"40\"/></DCP><DSC>{}{}\
         <DSC.max_message_sz V=\"{message_bytes_max}\"/></DSC></DEV>",
        all("topics", topics),
        all("directives", directives)
    );
    document("HEL.R01", 1, &body)
}

fn status(observations: u32, at: &str) -> Vec<u8> {
    let body = format!("<DST><DST.status_dttm V=\"{at}\"/><DST.new_observations_qty V=\"{observations}\"/></DST>");
    document("DST.R01", 2, &body)
}

fn observation(control_id: u32, sample: &str, reason: &str) -> Vec<u8> {
    let body = format!(
        "<SVC><SVC.observation_dttm V=\"2026-01-02T07:58:12\"/><SVC.reason_cd V=\"{reason}\"/><SVC.sequence_nbr V=\"5\"/><PT>\
         <PT.patient_id V=\"P-1\"/><OBS><OBS.observation_id V=\"GLU\"/><OBS.value V=\"5.4\" U=\"mmol/L\"/></OBS></PT><ORD>\
         <ORD.order_id V=\"{sample}\"/></ORD></SVC>"
    );
    document("OBS.R01", control_id, &body)
}

fn acknowledgement(of: u32, kind: &str) -> Vec<u8> {
    document("ACK.R01", 90, &format!("<ACK><ACK.type_cd V=\"{kind}\"/><ACK.ack_control_id V=\"{of}\"/></ACK>"))
}

pub fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!("<{name} V=\""))?.1.split('"').next()
}

/// Each document that was sent, in a word or two: `AA 1`, `AE 7`, `ROBS`, `START_CONTINUOUS`, `PTL P-1 P-2`, `END`.
pub fn brief(sent: &[u8]) -> Vec<String> {
    let text = String::from_utf8(sent.to_vec()).unwrap();
    let texts = text.split("<?xml").skip(1);
    let root = |text: &str| text.split_once("?><").unwrap().1.split('>').next().unwrap().to_owned();
    let word = |text: &str| match root(text).as_str() {
        "ACK.R01" => format!("{} {}", value(text, "ACK.type_cd").unwrap(), value(text, "ACK.ack_control_id").unwrap()),
        "REQ.R01" => value(text, "REQ.request_cd").unwrap().to_owned(),
        "DTV.R01" => value(text, "DTV.command_cd").unwrap().to_owned(),
        "DTV.R02" => format!("{} {}", value(text, "DTV.command_cd").unwrap(), value(text, "TM.dttm").unwrap()),
        "EOT.R01" => format!("EOT {}", value(text, "EOT.topic_cd").unwrap()),
        "END.R01" => format!("END {}", value(text, "TRM.reason_cd").unwrap()),
        "PTL.R01" => {
            let ids = text.split("<PT.patient_id V=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            std::iter::once("PTL").chain(ids).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other}"),
    };
    texts.map(word).collect()
}

const CONTINUOUS: &[&str] = &["START_CONTINUOUS"];
pub const NOBODY: [&str; 0] = [];

#[test]
fn a_conversation_goes_through_what_the_device_holds_and_on_to_continuous_mode() {
    let mut bench = open();
    assert_eq!(brief(&bench.receive(&hello(&[], CONTINUOUS, 16_000))), ["AA 1"]);
    assert_eq!(brief(&bench.receive(&status(2, ""))), ["AA 2", "ROBS"]);
    assert_eq!(brief(&bench.receive(&observation(3, "S-1", "NEW"))), ["AA 3"]);
    assert_eq!(brief(&bench.receive(&observation(4, "S-2", "NEW"))), ["AA 4"]);
    assert_eq!(brief(&bench.receive(&document("EOT.R01", 5, "<EOT/>"))), ["AA 5", "START_CONTINUOUS"]);
    assert_eq!(brief(&bench.receive(&acknowledgement(7, "AA"))), NOBODY);
    // From now on the device speaks by itself, and whatever it says it holds it sends without being asked.
    assert_eq!(brief(&bench.receive(&status(1, ""))), ["AA 2"]);
    assert_eq!(brief(&bench.receive(&observation(8, "S-3", "NEW"))), ["AA 8"]);
    assert_eq!(brief(&bench.receive(&document("KPA.R01", 9, ""))), ["AA 9"]);
    assert_eq!(bench.names(), ["TEST_FINISHED"; 3]);
    assert_eq!(brief(&bench.wait(Duration::from_secs(3600))), NOBODY);
    assert_eq!(brief(&bench.receive(&document("END.R01", 10, "<TRM/>"))), ["AA 10"]);
    // Another conversation on the same line begins anew.
    bench.receive(&hello(&[], &[], 16_000));
    assert_eq!(brief(&bench.receive(&status(0, ""))), ["AA 2", "END NRM"]);
    assert_eq!(bench.names(), ["TEST_FINISHED"; 3]);
}

#[test]
fn what_we_send_is_counted_and_wrapped_as_the_device_wraps() {
    let mut bench = open();
    let wrapped = |bytes: Vec<u8>| [&[0x0b], bytes.as_slice(), &[0x1c, b'\r']].concat();
    let answers = [
        bench.receive(&wrapped(hello(&[], CONTINUOUS, 16_000))),
        bench.receive(&wrapped(status(1, ""))),
        bench.receive(&wrapped(observation(3, "S-1", "NEW"))),
    ];
    let text = String::from_utf8(answers.concat()).unwrap();
    let ids: Vec<&str> =
        text.split("<HDR.control_id V=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert_eq!((text.matches('\u{b}').count(), text.matches("\u{1c}\r").count()), (4, 4));
    assert!(text.contains("<HDR.creation_dttm V=\"2023-11-14T22:13:20+00:00\"/>"), "the gateway's own time");
}

#[test]
fn nothing_is_accepted_before_it_is_stored_and_a_repetition_is_known() {
    let mut bench = open();
    bench.receive(&hello(&[], CONTINUOUS, 16_000));
    bench.disk = Disk::Fails;
    let refused = bench.receive(&observation(3, "S-1", "NEW"));
    assert_eq!(brief(&refused), ["AE 3"]);
    assert!(String::from_utf8(refused).unwrap().contains("please keep it"));
    bench.disk = Disk::Good;
    assert_eq!(brief(&bench.receive(&observation(4, "S-1", "RES"))), ["AA 4"]);
    // The answer is lost, and the device sends it once more under another control id.
    bench.receive(&observation(5, "S-1", "RES"));
    bench.receive(&observation(6, "S-9", "EDT"));
    let place = |wanted: &[u8]| {
        bench
            .steps
            .iter()
            .position(|step| matches!(step, Step::Sent(sent) if brief(sent) == [std::str::from_utf8(wanted).unwrap()]))
    };
    let stored = bench.steps.iter().position(|step| matches!(step, Step::Stored(commit) if !commit.events.is_empty()));
    assert!(stored < place(b"AA 4") && place(b"AE 3") < stored);
    let events = bench.events();
    let (first, again, edited) = (events[0], events[1], events[2]);
    assert!(first.identity.is_some() && first.identity == again.identity && first.test == again.test);
    assert_ne!(first.identity, edited.identity);
    let version = |event: &EventKind| event.test.as_ref().map(|test| (test.id, test.version));
    assert_eq!(version(first).map(|(id, _)| (id, 2)), version(edited), "the same run, in another version");
    // What is stored tells by itself whose it is.
    let capture = &bench.stored().last().unwrap().capture;
    assert!(capture.starts_with(&hello(&[], CONTINUOUS, 16_000)));
    let mut redecoded = open();
    redecoded.receive(capture);
    assert_eq!(redecoded.events(), [edited]);
}

#[test]
fn runs_without_a_time_to_the_second_are_never_taken_for_repetitions() {
    for stamp in ["2026-01-02", "2026-01-02T07:58", "2026-01-02T00:00:00", ""] {
        let mut bench = open();
        let text = String::from_utf8(observation(3, "S-1", "NEW")).unwrap().replace("2026-01-02T07:58:12", stamp);
        bench.receive(text.as_bytes());
        bench.now.mono = Mono(bench.now.mono.0 + 1);
        bench.receive(text.as_bytes());
        let events = bench.events();
        assert!(events.iter().all(|event| event.identity.is_none()), "{stamp}");
        assert_ne!(events[0].test.as_ref().unwrap().id, events[1].test.as_ref().unwrap().id, "{stamp}");
    }
}

#[test]
fn bad_documents_are_rejected_answered_and_cost_no_other() {
    let good = observation(3, "S-1", "NEW");
    let text = String::from_utf8(good.clone()).unwrap();
    let deep = format!("{}{}</OBS.R01>", text.trim_end_matches("</OBS.R01>"), "<x>".repeat(100_000));
    for (bad, code, answer) in [
        (text.replace("V=\"GLU\"", "V=GLU"), "not_xml", "AE 3"),
        (text.replace("P-1", "P\x00001"), "not_xml", "AE 3"),
        (text.replace("</PT>", ""), "not_xml", "AE 3"),
        (text.replace("<?xml version=\"1.0\"?>", "<!DOCTYPE OBS.R01 [<!ENTITY a 'b'>]>"), "dtd", "AE 3"),
        (text.replace("<SVC>", "<!ENTITY a 'b'><SVC>"), "dtd", "AE 3"),
        (text.replace("P-1", "&who;"), "not_xml", "AE 3"),
        (deep, "too_deep", "AE 3"),
        (String::from_utf8(document("OBS.R01", 3, "")).unwrap(), "no_service", "AE 3"),
        (text.replace("<HDR.control_id V=\"3\"/>", "").replace("</PT>", ""), "not_xml", ""),
    ] {
        let mut bench = open();
        bench.receive(&hello(&[], CONTINUOUS, 16_000));
        let answered = brief(&bench.receive(bad.as_bytes())).join(" ");
        assert_eq!((bench.names().join(" ").as_str(), answered.as_str()), (code, answer));
        assert_eq!(brief(&bench.receive(&observation(4, "S-2", "NEW"))), ["AA 4"], "{code}");
        let rejection = bench.events()[0].rejection.clone().unwrap();
        assert!(!rejection.reason.contains("S-1") && rejection.bytes > 100);
        // Nobody must send again what is stored as rejected: refused by a full disk it is refused all the same.
        let mut full = open();
        full.disk = Disk::Fails;
        assert_eq!(brief(&full.receive(bad.as_bytes())).join(" "), answer);
    }
}

#[test]
fn a_document_cut_at_any_byte_is_no_result_and_is_kept() {
    let whole = observation(3, "S-1", "NEW");
    for length in 1..whole.len() {
        let mut bench = open();
        bench.receive(&whole[..length]);
        bench.wait(Duration::from_secs(60));
        assert!(!bench.names().contains(&"TEST_FINISHED".to_owned()), "cut after {length} bytes");
        let kept = bench.names() == ["interrupted"] && bench.stored()[0].capture == whole[..length];
        assert!(kept || length < 3, "cut after {length} bytes: {:?}", bench.names());
        assert_eq!(brief(&bench.receive(&observation(4, "S-2", "NEW"))), ["AA 4"]);
    }
    let mut bench = open();
    bench.receive(&whole[..whole.len() - 1]);
    assert_eq!(brief(&bench.wait(Duration::from_secs(31))), ["AE 3"], "the device still waits for its answer");
}

#[test]
fn a_document_that_is_too_long_is_refused_and_counted() {
    let options = DriverOptions { message_bytes_max: 2000, ..DriverOptions::default() };
    let mut bench = Bench::open("poct1a", &options, Resume::default());
    let long = document("OBS.R01", 3, &"<x/>".repeat(1000));
    assert_eq!(brief(&bench.receive(&long)), ["AE 3"]);
    let rejection = bench.events()[0].rejection.clone().unwrap();
    assert_eq!((rejection.code.as_str(), rejection.bytes), ("too_long", 2000));
    assert!(
        rejection.reason.contains(&long.len().to_string()) && rejection.reason.contains("message_bytes_max (2000)")
    );
    assert_eq!(brief(&bench.receive(&observation(4, "S-2", "NEW"))), ["AA 4"]);
}

#[test]
fn noise_is_told_once_and_costs_no_memory() {
    let mut bench = open();
    for _ in 0..2000 {
        bench.receive(&[b'~'; 1000]);
        bench.wait(Duration::from_millis(100));
    }
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.names(), ["not_poct1a"]);
    assert!(bench.stored()[0].capture.len() <= 65_536);
    assert_eq!(brief(&bench.receive(&observation(4, "S-2", "NEW"))), ["AA 4"]);
}

pub fn order(sample: &str, patient: Option<&str>, action: OrderAction) -> WorkOrder {
    let patient = patient.map(|id| Patient {
        id: Some(Personal::new(id)),
        family_name: Some(Personal::new("O'Neil & Co")),
        birth_date: Some(Personal::new("1980-02-29")),
        sex: Some(Personal::new("female")),
        ..Patient::default()
    });
    WorkOrder { sample_id: Personal::new(sample), patient, tests: Vec::new(), action }
}

#[test]
fn a_device_that_takes_patients_gets_those_who_wait() {
    let mut bench = open();
    bench.orders = vec![
        order("S-1", Some("P-1"), OrderAction::New),
        order("S-2", None, OrderAction::Rerun),
        order("S-3", Some("P-3"), OrderAction::Cancel),
    ];
    bench.receive(&hello(&["PT_LST"], CONTINUOUS, 16_000));
    let sent = bench.receive(&status(0, ""));
    assert_eq!(brief(&sent), ["AA 2", "PTL P-1 S-2"]);
    let text = String::from_utf8(sent).unwrap();
    assert!(text.contains("<FAM V=\"O&apos;Neil &amp; Co\"/>") && text.contains("<PT.gender_cd V=\"F\"/>"));
    assert!(bench.steps.contains(&Step::Asked(Question::All)));
    assert_eq!(brief(&bench.receive(&acknowledgement(3, "AA"))), ["EOT PTL"]);
    assert_eq!(brief(&bench.receive(&acknowledgement(4, "AA"))), ["START_CONTINUOUS"]);
    // As many messages as the device's longest one asks for.
    let mut bench = open();
    bench.orders = (0..6).map(|number| order("S", Some(&format!("P-{number}")), OrderAction::New)).collect();
    bench.receive(&hello(&["PT_LST"], CONTINUOUS, 800));
    assert_eq!(brief(&bench.receive(&status(0, ""))), ["AA 2", "PTL P-0 P-1"]);
    let rest: Vec<String> = (3..7).flat_map(|id| brief(&bench.receive(&acknowledgement(id, "AA")))).collect();
    assert_eq!(rest, ["PTL P-2 P-3", "PTL P-4 P-5", "EOT PTL", "START_CONTINUOUS"]);
    // Nobody waits: nothing is sent. A device that takes no patients is not even looked up for.
    let mut bench = open();
    bench.receive(&hello(&["PT_LST"], CONTINUOUS, 16_000));
    assert_eq!(brief(&bench.receive(&status(0, ""))), ["AA 2", "START_CONTINUOUS"]);
    let mut bench = open();
    bench.receive(&hello(&["OP_LST"], CONTINUOUS, 16_000));
    bench.receive(&status(0, ""));
    assert!(!bench.steps.contains(&Step::Asked(Question::All)));
}

#[test]
fn a_device_that_asks_for_a_patient_is_told_whoever_it_is() {
    let asked = document("REQ.R01", 3, "<REQ><REQ.request_cd V=\"RPAT\"/><PT><PT.patient_id V=\"S-7\"/></PT></REQ>");
    let mut bench = open();
    bench.receive(&hello(&[], CONTINUOUS, 16_000));
    assert_eq!(brief(&bench.receive(&asked)), ["PTL"], "nobody is known: the device need not wait");
    bench.orders = vec![order("S-7", Some("P-7"), OrderAction::New)];
    assert_eq!(brief(&bench.receive(&asked)), ["PTL S-7"], "under the id that the device knows");
    assert!(bench.steps.contains(&Step::Asked(Question::Samples(vec![Personal::new("S-7")]))));
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "QUERY_RECEIVED"]);
    bench.disk = Disk::Fails;
    assert_eq!(brief(&bench.receive(&asked)), ["AE 3"]);
}

#[test]
fn a_clock_that_is_wrong_is_set_if_the_device_lets_us_and_ours_is_right() {
    let both = &["SET_TIME", "START_CONTINUOUS"];
    let (wrong, right) = ("2006-01-01T13:40:50-08:00", "2023-11-14T22:13:50+00:00");
    let step = |directives: &[&str], at: &str, quality, set_clock| {
        let options = DriverOptions { set_clock, time_zone: "Europe/Berlin".to_owned(), ..DriverOptions::default() };
        let mut bench = Bench::open("poct1a", &options, Resume::default());
        bench.now.quality = quality;
        bench.receive(&hello(&[], directives, 16_000));
        brief(&bench.receive(&status(0, at)))[1].clone()
    };
    let synchronized = ClockQuality::Synchronized;
    assert_eq!(step(both, wrong, synchronized, true), "SET_TIME 2023-11-14T23:13:20+01:00");
    for (directives, at, quality, set_clock) in [
        (&both[1..], wrong, synchronized, true),
        (both, right, synchronized, true),
        (both, wrong, ClockQuality::Unsynchronized, true),
        (both, wrong, synchronized, false),
    ] {
        assert_eq!(step(directives, at, quality, set_clock), "START_CONTINUOUS");
    }
}

#[test]
fn a_device_that_refuses_is_busy_or_falls_silent_is_waited_for_and_told_about() {
    let refused = |body: &str| document("ESC.R01", 8, &format!("<ESC><ESC.esc_control_id V=\"3\"/>{body}</ESC>"));
    // Busy: asked again after a while, and only so often.
    let mut bench = open();
    bench.receive(&hello(&[], CONTINUOUS, 16_000));
    bench.receive(&status(1, ""));
    for _ in 0..10 {
        assert_eq!(brief(&bench.receive(&refused("<ESC.detail_cd V=\"CNC\"/>"))), NOBODY);
        assert_eq!(brief(&bench.wait(Duration::from_secs(30))), ["ROBS"]);
    }
    assert_eq!(brief(&bench.receive(&refused(""))), ["START_CONTINUOUS"]);
    assert_eq!(brief(&bench.receive(&refused(""))), ["END NRM"], "it will not go on by itself");
    // Silent: an alarm, once, after the time that the device set itself.
    let mut bench = open();
    bench.receive(&hello(&[], CONTINUOUS, 16_000));
    bench.receive(&status(1, ""));
    assert!(bench.wait(Duration::from_secs(39)).is_empty() && bench.names().is_empty());
    bench.wait(Duration::from_secs(3600));
    assert_eq!(bench.names(), ["ANALYZER_ALARM"]);
    assert_eq!(bench.events()[0].alarm.as_ref().unwrap().code, "no_answer");
    assert_eq!(
        brief(&bench.receive(&status(1, ""))),
        ["AA 2", "ROBS"],
        "and whenever it speaks again it is asked again"
    );
    // It refuses to go on by itself.
    let mut bench = open();
    bench.receive(&hello(&[], CONTINUOUS, 16_000));
    bench.receive(&status(0, ""));
    assert_eq!(brief(&bench.receive(&acknowledgement(3, "AE"))), ["END NRM"]);
}

#[test]
fn what_was_unfinished_and_what_the_end_of_the_line_cuts_off_is_told() {
    let bench = Bench::open("poct1a", &DriverOptions::default(), Resume { unfinished: b"<OBS", running: None });
    assert_eq!(bench.names(), ["interrupted"]);
    let mut bench = open();
    bench.receive(&observation(3, "S-1", "NEW")[..200]);
    bench.disk = Disk::Fails;
    bench.give(Input::Closed);
    bench.disk = Disk::Good;
    assert!(bench.names().is_empty());
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.names(), ["interrupted"], "nobody repeats it, so it is stored as soon as that works");
}
