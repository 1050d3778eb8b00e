//! Messages of HL7, read as a receiver reads them, and what its acknowledgments mean.

use super::*;
use crate::delivery::{Reason, ReasonCode};
use crate::dialects::property_tests::{attempt, event};
use crate::event::{EventKind, Id};
use proptest::prelude::*;

fn sent() -> Event {
    probe_event(Id([1; 16]), &attempt(&Endpoint::default(), &[], &[]), EventKind::bare(EventName::TestFinished))
}

fn judged(status: u16, body: &str) -> Outcome {
    let response = Response { status, body: body.as_bytes().to_vec(), ..Response::default() };
    Hl7.judge(&[sent()], &response, &Endpoint::default(), Now::default())
}

fn answer(code: &str, end: &str) -> String {
    let id = message::control_id(sent().id);
    format!(
        "MSH|^~\\&|LIS|LAB|||20261121||ACK|1|P|2.5.1{end}MSA|{code}|{id}|Karoline Musterfrau{end}ERR||PID^1|101^x|E{end}"
    )
}

fn detail(outcome: Outcome) -> (ReasonCode, String) {
    match outcome {
        Outcome::Retryable { reason: Reason { code, detail }, .. }
        | Outcome::Rejected { reason: Reason { code, detail } } => (code, detail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_msa_is_the_verdict() {
    for end in ["\r", "\n", "\r\n"] {
        assert_eq!(judged(200, &answer("AA", end)), Outcome::Delivered);
        assert_eq!(judged(200, &answer("CA", end)), Outcome::Delivered);
    }
    assert_eq!(judged(200, &format!("\u{b}{}\u{1c}\r", answer("AA", "\r"))), Outcome::Delivered);
    for (status, code) in [(200, "AE"), (200, "CE"), (500, "AE")] {
        let outcome = judged(status, &answer(code, "\r"));
        assert!(matches!(outcome, Outcome::Retryable { .. }), "{status} {code}");
        let (_, detail) = detail(outcome);
        assert!(detail.contains(&format!("{code}, error 101")) && !detail.contains("Musterfrau"), "{detail}");
    }
    for (status, code) in [(200, "AR"), (200, "CR"), (500, "AR")] {
        assert!(matches!(judged(status, &answer(code, "\r")), Outcome::Rejected { .. }), "{status} {code}");
    }
}

#[test]
fn an_answer_without_our_msa_is_no_delivery() {
    let other = answer("AA", "\r").replace(&message::control_id(sent().id), "SOMEBODY-ELSE");
    for (body, says) in
        [("", "no MSA"), ("OK", "no MSA"), (other.as_str(), "another one"), (&answer("XX", "\r"), "none of")]
    {
        let outcome = judged(200, body);
        assert!(matches!(outcome, Outcome::Retryable { .. }), "{body}");
        assert!(detail(outcome).1.contains(says), "{body}");
    }
    // A status that is no success stands, whatever an accepting MSA says.
    assert!(matches!(judged(503, &answer("AA", "\r")), Outcome::Retryable { .. }));
    assert!(matches!(judged(404, "none"), Outcome::Held { .. }));
}

#[test]
fn a_control_id_is_short_and_its_events_own() {
    let ids = [1, 2].map(|byte| message::control_id(Id([byte; 16])));
    assert!(ids.iter().all(|id| id.len() == 20) && ids[0] != ids[1]);
}

#[test]
fn a_probe_is_training_and_carries_no_result() {
    let endpoint = Endpoint { mllp: true, ..Endpoint::default() };
    let Ok(Request::Mllp(message)) = Hl7.probe(Id([3; 16]), &attempt(&endpoint, &[], &[])) else { panic!("MLLP") };
    let message = String::from_utf8(message).expect("text");
    let header: Vec<&str> = message.split('\r').next().expect("MSH").split('|').collect();
    assert_eq!(header[10], "T");
    assert!(!message.contains("\rOBX|"), "{message}");
}

proptest! {
    #[test]
    fn every_segment_keeps_to_its_place(event in event()) {
        let endpoint = Endpoint { mllp: true, ..Endpoint::default() };
        let events = [event];
        let Ok(Some(Request::Mllp(message))) = Hl7.render(&events, &attempt(&endpoint, &[], &events)) else {
            return Ok(());
        };
        let message = String::from_utf8(message).expect("UTF-8");
        prop_assert!(message.ends_with('\r'));
        let segments: Vec<&str> = message.trim_end_matches('\r').split('\r').collect();
        let test = events[0].kind.test.as_ref().expect("a finished test");
        let of = |name: &str| segments.iter().filter(|segment| segment.split('|').next() == Some(name)).count();
        prop_assert_eq!(of("OBX"), crate::dialects::findings::findings(test).len());
        prop_assert_eq!((of("MSH"), of("OBR"), of("SPM")), (1, 1, 1));
        let known = ["MSH", "PID", "OBR", "OBX", "NTE", "SPM"];
        prop_assert!(segments.iter().all(|segment| known.contains(&segment.split('|').next().unwrap_or_default())));
        prop_assert!(!message.contains(|c: char| c.is_control() && c != '\r'));
    }

    #[test]
    fn no_answer_makes_the_judge_panic(body in any::<Vec<u8>>(), tail in ".*", status in 0..999u16) {
        for body in [body, format!("MSH{tail}\rMSA{tail}").into_bytes()] {
            let response = Response { status, body, ..Response::default() };
            let outcome = Hl7.judge(&[sent()], &response, &Endpoint::default(), Now::default());
            prop_assert!(outcome != Outcome::Delivered);
        }
    }
}
