//! Promises that hold for any bytes, for every driver.

use super::support::*;
use gateway_core::event::{EventKind, EventName};
use gateway_core::session::{DriverOptions, Framing, Resume};
use proptest::prelude::*;
use std::time::Duration;

/// A device that greets, has one to tell, and tells another later, between VT and FS CR.
const POCT1A: &[u8] = b"<?xml version=\"1.0\"?><HEL.R01><HDR><HDR.control_id V=\"1\"/></HDR><DEV><DEV.serial_id V=\"B-1\"/><DSC>\
<DSC.directives_supported_cd V=\"START_CONTINUOUS\"/></DSC></DEV></HEL.R01><!-- > --><DST.R01><HDR><HDR.control_id V='2'/></HDR>\
<DST><DST.new_observations_qty V='1'/></DST></DST.R01>\r\n<OBS.R01><HDR><HDR.control_id V=\"3\"/></HDR><SVC>\
<SVC.observation_dttm V=\"2026-01-02T07:58:12\"/><PT><PT.patient_id V=\"P&amp;1\"/><OBS><OBS.observation_id V=\"GLU\"/>\
<OBS.value V=\"5.4\" U=\"mmol/L\"/></OBS></PT></SVC></OBS.R01><EOT.R01><HDR><HDR.control_id V=\"4\"/></HDR></EOT.R01>\
<ACK.R01><ACK><ACK.type_cd V=\"AA\"/></ACK></ACK.R01>\x0b<OBS.R02><HDR><HDR.control_id V=\"5\"/></HDR><SVC><SVC.role_cd V=\"LQC\"/>\
<SVC.observation_dttm V=\"2026-01-02T08:58:12\"/><CTC><CTC.lot_number V=\"7\"/><OBS><OBS.observation_id V=\"GLU\"/>\
<OBS.value V=\"\"><![CDATA[5.1]]></OBS.value></OBS></CTC></SVC></OBS.R02>\x1c\r";

/// A driver with its options, and a stream that it understands.
fn conversations() -> Vec<(&'static str, DriverOptions, Vec<u8>)> {
    let message = "H|\\^&|||Model^^SN1|||||||P|1|20260102030405\rP|1||PID\rO|1|A 1||^^^GLU\rR|1|^^^GLU|5.5|mmol/L\r\
                   C|1|I|note\rO|2|A 2||^^^CRE\rR|1|^^^CRE|71|umol/L\rL|1|N\r";
    let mut astm: Vec<u8> = message.split_inclusive('\r').zip(1..).fold(vec![ENQ], |mut bytes, (record, number)| {
        bytes.extend(frame(number, record, true));
        bytes
    });
    astm.push(EOT);
    astm.push(ENQ);
    for (place, part) in message.as_bytes().chunks(50).enumerate() {
        let text = std::str::from_utf8(part).unwrap();
        astm.extend(frame(place as u8 + 1, text, (place + 1) * 50 >= message.len()));
    }
    astm.push(EOT);
    let unframed = [message, "\n", message].concat().into_bytes();
    let lines = concat!(
        r#"{"version":0,"event":"TEST_STARTED","device":{"sn":007},"test":{"state":"TESTING","data":{}}}"#,
        "\r\n",
        r#"{"version":0,"event":"NEW_DATA","test":{"state":"TESTING","data":{"temperatureSamples":[{"temp":63.10}],"samples":[]}}}"#,
        "\n\n",
        r#"{"version":0,"event":"TEST_FINISHED","test":{"state":"DONE","result":{"detectionResult":"NEGATIVE"}}}"#,
        "\n"
    );
    let hl7 = "noise\r\u{b}MSH|^~\\&|A1|M|||20260102030405||ORU^R01|1|P|2.3.1||||||UNICODE\rPID|1||P1\rOBR|1||S-1|X\r\
               OBX|1|NM|GLU^Glucose^L||5.5|mmol/L|4-6|N|||F\rNTE|1||note\rOBR|2||S-2|X\rOBX|2|NM|CRE||71|umol/L||||F\r\u{1c}\r\
               \u{b}MSH|^~\\&|A1|M|||20260102030501||QRY^Q02|2|P|2.3.1\rQRD|20260102030501|R|D|1|||RD|S-3|OTH|||T\r\u{1c}\r\
               \u{b}MSH|^~\\&|A1|M|||20260102030601||ORU^R01|3|P|2.4\nPID|1||P2\nOBR|1||S-4\nOBX|1|ST|A||neg||||||F\n\u{1c}\r";
    let none = DriverOptions { framing: Framing::None, ..DriverOptions::default() };
    vec![
        ("astm", DriverOptions::default(), astm),
        ("astm", none, unframed),
        ("test-v0", DriverOptions::default(), lines.as_bytes().to_vec()),
        ("hl7", DriverOptions::default(), hl7.as_bytes().to_vec()),
        ("scanner", DriverOptions::default(), b"S-1001\r\n]C1S-1002\r\nS-1003\n".to_vec()),
        ("poct1a", DriverOptions::default(), POCT1A.to_vec()),
        ("exec", DriverOptions::default(), b"S-1101;GLU;5.5\nS-1102;CRE;71\n".to_vec()),
    ]
}

fn events_of(name: &str, options: &DriverOptions, parts: &[&[u8]]) -> Vec<EventKind> {
    let mut bench = Bench::open(name, options, Resume::default());
    for part in parts {
        bench.receive(part);
    }
    bench.finish();
    bench.events().into_iter().cloned().collect()
}

fn finished(events: &[EventKind]) -> Vec<&EventKind> {
    events.iter().filter(|event| event.name == EventName::TestFinished).collect()
}

/// Cuts bytes at places drawn at random.
fn cut(bytes: &[u8], mut places: Vec<usize>) -> Vec<&[u8]> {
    places.iter_mut().for_each(|place| *place %= bytes.len() + 1);
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[test]
fn the_conversations_are_understood() {
    for ((name, options, bytes), count) in conversations().into_iter().zip([4, 4, 1, 3, 0, 2, 2]) {
        let events = events_of(name, &options, &[&bytes]);
        assert_eq!(finished(&events).len(), count, "{name}");
        assert!(events.iter().all(|event| event.rejection.is_none()), "{name}: {:?}", events);
    }
}

#[test]
fn a_truncated_stream_gives_no_test_that_was_not_whole() {
    for (name, options, bytes) in conversations() {
        let whole = events_of(name, &options, &[&bytes]);
        for length in 0..bytes.len() {
            let events = events_of(name, &options, &[&bytes[..length]]);
            for (event, known) in finished(&events).into_iter().zip(finished(&whole)) {
                assert_eq!(event, known, "{name} cut after {length} bytes");
            }
            assert!(finished(&events).len() <= finished(&whole).len());
        }
    }
}

#[test]
fn a_corrupted_byte_gives_no_wrong_result() {
    let (name, options, bytes) = conversations().swap_remove(0);
    let whole = events_of(name, &options, &[&bytes]);
    let known: Vec<String> = finished(&whole).iter().map(|event| format!("{:?}", event.identity)).collect();
    for place in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[place] ^= flip;
            let events = events_of(name, &options, &[&damaged]);
            for event in finished(&events) {
                assert!(known.contains(&format!("{:?}", event.identity)), "byte {place} with bit {flip:#x}");
            }
        }
    }
}

#[test]
fn every_frame_is_stored_before_it_is_acknowledged() {
    let (name, options, bytes) = conversations().swap_remove(0);
    let mut bench = Bench::open(name, &options, Resume::default());
    bench.receive(&bytes);
    let (mut asked, mut stored, mut acknowledged) = (0, 0, 0);
    for step in &bench.steps {
        match step {
            Step::Stored(_) => stored += 1,
            Step::Sent(answer) if *answer == [ACK] => acknowledged += 1,
            other => panic!("{other:?}"),
        }
        asked = asked.max(acknowledged);
        // Two of the answers are for ENQ, and each of the others has its commit before it.
        assert!(acknowledged <= stored + 2);
    }
    assert_eq!(asked, stored + 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(places in prop::collection::vec(any::<usize>(), 0..40)) {
        for (name, options, bytes) in conversations() {
            let whole = events_of(name, &options, &[&bytes]);
            prop_assert_eq!(events_of(name, &options, &cut(&bytes, places.clone())), whole);
        }
    }

    #[test]
    fn damaged_streams_split_anyhow_give_the_same_events(
        places in prop::collection::vec(any::<usize>(), 0..20),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        for (name, options, mut bytes) in conversations() {
            for (place, byte) in &damage {
                let place = place % bytes.len();
                bytes[place] = *byte;
            }
            let whole = events_of(name, &options, &[&bytes]);
            prop_assert_eq!(events_of(name, &options, &cut(&bytes, places.clone())), whole);
        }
    }

    #[test]
    fn garbage_never_panics_and_stays_within_bounds(
        parts in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..0x20, Just(b'|')], 0..400), 1..20),
        fails in any::<bool>(),
    ) {
        let bounded = DriverOptions { frame_bytes_max: 256, message_bytes_max: 1024, ..DriverOptions::default() };
        for (name, options, _) in conversations() {
            let options = DriverOptions { framing: options.framing, ..bounded.clone() };
            let mut bench = Bench::open(name, &options, Resume::default());
            for part in &parts {
                bench.disk = if fails { Disk::Fails } else { Disk::Good };
                bench.receive(part);
                bench.disk = Disk::Good;
                bench.wait(Duration::from_millis(700));
            }
            bench.finish();
            for commit in bench.stored() {
                prop_assert!(commit.capture.len() <= 2 * 1024 + 256, "{} bytes", commit.capture.len());
            }
        }
    }
}
