//! What an ASTM receiver answers and stores, step by step, under a link that enforces the calling contract.

use super::support::*;
use gateway_core::session::{CommitPoint, DriverOptions, Framing, Input, Resume};
use std::time::Duration;

const HEADER: &str = "H|\\^&|||Model^1^SN0042|||||||P|1|20260102030405\r";
const PATIENT: &str = "P|1\r";
const ORDER: &str = "O|1|S-77||^^^GLU|R\r";
const RESULT: &str = "R|1|^^^GLU|5.5|mmol/L||N||F||||20260102030300\r";
const END: &str = "L|1|N\r";

const NOTHING: [u8; 0] = [];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn frames() -> Vec<Vec<u8>> {
    let records = [HEADER, PATIENT, ORDER, RESULT, END];
    records.iter().zip(1..).map(|(record, number)| frame(number, record, true)).collect()
}

/// A bench that has accepted the first `count` frames of the usual session.
fn after_frames(count: usize) -> Bench {
    let mut bench = Bench::astm();
    assert_eq!(bench.receive(&[ENQ]), [ACK]);
    for frame in &frames()[..count] {
        assert_eq!(bench.receive(frame), [ACK]);
    }
    bench
}

#[test]
fn a_time_with_an_offset_tells_a_repeat_from_a_second_run() {
    let mut bench = Bench::astm();
    for _ in 0..2 {
        let result = "R|1|^^^GLU|5.5|mmol/L|||||||20260304050607+0100";
        bench.receive(&transmission(&["H|\\^&", "P|1", "O|1|S-1", result, "L|1"]));
    }
    let events = bench.events();
    assert!(events[0].identity.is_some() && events[0].identity == events[1].identity);
    assert_eq!(events[0].test.as_ref().unwrap().started_at.as_deref(), Some("2026-03-04T05:06:07"));
}

#[test]
fn each_frame_is_stored_before_its_ack_and_the_last_carries_the_result() {
    let mut bench = after_frames(5);
    assert_eq!(bench.receive(&[EOT]), NOTHING);
    let shape: Vec<u8> =
        bench.steps.iter().map(|step| if let Step::Sent(bytes) = step { bytes[0] } else { b'C' }).collect();
    assert_eq!(shape, [ACK, b'C', ACK, b'C', ACK, b'C', ACK, b'C', ACK, b'C', ACK]);
    let stored = bench.stored();
    let complete: Vec<bool> = stored.iter().map(|commit| commit.complete).collect();
    assert_eq!(complete, [false, false, false, false, true]);
    assert!(stored[..4].iter().all(|commit| commit.events.is_empty()));
    let capture: Vec<u8> = stored.iter().flat_map(|commit| commit.capture.clone()).collect();
    assert_eq!(capture, [vec![ENQ], frames().concat()].concat());
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    bench.finish();
    assert_eq!(bench.stored().len(), 5);
}

#[test]
fn with_commit_message_only_the_last_ack_waits() {
    let options = DriverOptions { commit: CommitPoint::Message, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &options, Resume::default());
    bench.receive(&[ENQ]);
    for frame in &frames()[..4] {
        assert_eq!(bench.receive(frame), [ACK]);
    }
    assert!(bench.stored().is_empty());
    bench.disk = Disk::Fails;
    assert_eq!(bench.receive(&frames()[4]), [NAK]);
    bench.disk = Disk::Good;
    assert_eq!(bench.receive(&frames()[4]), [ACK]);
    assert_eq!(bench.stored()[0].capture, [vec![ENQ], frames().concat()].concat());
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

#[test]
fn with_commit_message_a_broken_message_is_captured_when_it_is_given_up() {
    let options = DriverOptions { commit: CommitPoint::Message, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &options, Resume::default());
    bench.receive(&[ENQ]);
    frames()[..4].iter().for_each(|frame| assert_eq!(bench.receive(frame), [ACK]));
    bench.wait(seconds(31));
    assert_eq!(bench.names(), ["interrupted"]);
    assert_eq!(bench.stored()[0].capture, [vec![ENQ], frames()[..4].concat()].concat());
    assert_eq!(bench.events()[0].partial.len(), 1);
}

#[test]
fn a_failed_commit_is_a_nak_and_the_retransmission_is_taken() {
    let mut bench = after_frames(2);
    bench.disk = Disk::Fails;
    assert_eq!(bench.receive(&frames()[2]), [NAK]);
    assert_eq!(bench.receive(&frames()[2]), [NAK]);
    bench.disk = Disk::Good;
    frames()[2..].iter().for_each(|frame| assert_eq!(bench.receive(frame), [ACK]));
    assert_eq!(bench.receive(&[EOT]), NOTHING);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    assert_eq!(bench.events()[0].test.as_ref().unwrap().results.len(), 1);
}

#[test]
fn a_late_commit_is_silence_and_its_frame_then_a_known_duplicate() {
    let mut bench = after_frames(3);
    bench.disk = Disk::Slow(seconds(11));
    assert_eq!(bench.receive(&frames()[3]), NOTHING);
    bench.disk = Disk::Good;
    let stored = bench.stored().len();
    assert_eq!(bench.receive(&frames()[3]), [ACK]);
    assert_eq!(bench.stored().len(), stored);
    assert_eq!(bench.receive(&frames()[4]), [ACK]);
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

#[test]
fn a_sender_that_gives_up_after_silence_leaves_no_half_result() {
    let mut bench = after_frames(3);
    bench.disk = Disk::Slow(seconds(11));
    assert_eq!(bench.receive(&frames()[3]), NOTHING);
    bench.disk = Disk::Good;
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["interrupted"]);
}

#[test]
fn a_message_without_l_is_whole_when_the_sender_ends_the_session_cleanly() {
    let mut bench = after_frames(4);
    assert_eq!(bench.receive(&[EOT]), NOTHING);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    assert!(bench.stored().last().unwrap().complete);
}

#[test]
fn duplicates_are_acknowledged_and_not_stored_twice() {
    let mut bench = after_frames(4);
    assert_eq!(bench.receive(&frames()[3]), [ACK]);
    assert_eq!(bench.stored().len(), 4);
    assert_eq!(bench.receive(&frames()[4]), [ACK]);
    assert_eq!(bench.receive(&frames()[4]), [ACK]);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    assert_eq!(bench.events()[0].test.as_ref().unwrap().results.len(), 1);
}

#[test]
fn the_same_number_with_another_text_is_refused_and_reported() {
    let mut bench = after_frames(4);
    let other = frame(4, "R|1|^^^GLU|9.9|mmol/L\r", true);
    for _ in 0..6 {
        assert_eq!(bench.receive(&other), [NAK]);
    }
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["interrupted", "frame_number"]);
    let mut bench = after_frames(4);
    assert_eq!(bench.receive(&other), [NAK]);
    assert_eq!(bench.receive(&frames()[4]), [ACK]);
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["TEST_FINISHED", "frame_number"]);
    assert!(bench.stored().last().unwrap().capture.windows(other.len()).any(|window| window == other));
}

#[test]
fn bad_sums_and_skipped_numbers_are_refused_and_made_good() {
    for number in [1, 3] {
        let mut bench = after_frames(number);
        let mut bad = frames()[number].clone();
        bad[5] ^= 0x20;
        assert_eq!(bench.receive(&bad), [NAK]);
        assert_eq!(bench.receive(&frames()[(number + 1).min(4)]), [NAK]);
        frames()[number..].iter().for_each(|frame| assert_eq!(bench.receive(frame), [ACK]));
        bench.receive(&[EOT]);
        assert_eq!(bench.names(), ["TEST_FINISHED"]);
    }
}

#[test]
fn a_frame_that_never_comes_good_is_reported_with_its_bytes() {
    let mut bench = after_frames(0);
    let mut bad = frames()[0].clone();
    bad[5] ^= 0x20;
    for _ in 0..6 {
        assert_eq!(bench.receive(&bad), [NAK]);
    }
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["checksum"]);
    assert!(bench.stored()[0].capture.windows(bad.len()).any(|window| window == bad));
}

#[test]
fn too_long_frames_and_messages_are_refused_and_reported_once() {
    let options = DriverOptions { frame_bytes_max: 200, message_bytes_max: 500, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &options, Resume::default());
    bench.receive(&[ENQ]);
    assert_eq!(bench.receive(&frames()[0]), [ACK]);
    let long = frame(2, &format!("M|1|{}\r", "x".repeat(300)), true);
    assert_eq!(bench.receive(&long), [NAK]);
    assert_eq!(bench.receive(&long), [NAK]);
    assert_eq!(bench.receive(&frame(2, PATIENT, true)), [ACK]);
    let part = format!("M|1|{}\r", "x".repeat(150));
    let answers: Vec<Vec<u8>> = (3..7).map(|number| bench.receive(&frame(number, &part, true))).collect();
    assert_eq!(answers, [[ACK], [ACK], [NAK], [NAK]]);
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["too_long", "interrupted"]);
    assert_eq!(bench.receive(&transmission(&["H|\\^&", "L|1"])), [ACK; 3]);
    bench.receive(&[ENQ]);
    let huge = [vec![0x02, b'1'], vec![b'x'; 5000]].concat();
    assert_eq!(bench.receive(&huge), NOTHING);
    assert_eq!(bench.receive(b"\x0300\r\n"), [NAK]);
    assert_eq!(bench.names().last().unwrap(), "too_long");
    assert_eq!(bench.stored().last().unwrap().capture.len(), 201);
}

#[test]
fn enq_within_a_session_restarts_it_and_reports_what_was_acknowledged() {
    let mut bench = after_frames(4);
    assert_eq!(bench.receive(&[ENQ]), [ACK]);
    assert_eq!(bench.names(), ["interrupted"]);
    assert_eq!(bench.events()[0].partial[0].results.len(), 1);
    frames().iter().for_each(|frame| assert_eq!(bench.receive(frame), [ACK]));
    assert_eq!(bench.names(), ["interrupted", "TEST_FINISHED"]);
    let events = bench.events();
    let resend_of = events[1].details.as_ref().expect("linked to its first try")["resend_of"].clone();
    assert_eq!(resend_of, serde_json::json!([events[0].partial[0].id]));
    let mut bench = after_frames(4);
    bench.disk = Disk::Fails;
    assert_eq!(bench.receive(&[ENQ]), [NAK]);
    bench.disk = Disk::Good;
    bench.wait(seconds(2));
    assert_eq!(bench.names(), ["interrupted"]);
    assert_eq!(bench.receive(&[ENQ]), [ACK]);
}

#[test]
fn a_message_without_l_that_comes_again_and_goes_on_is_the_next_version_of_its_tests() {
    let mut bench = after_frames(4);
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    let second = "R|2|^^^CRE|71|umol/L||N||F||||20260102030300\r";
    let whole = [HEADER, PATIENT, ORDER, RESULT, second, END].map(|record| record.trim_end());
    bench.receive(&transmission(&whole));
    // With nothing but its L it is the same message.
    bench.receive(&transmission(&whole));
    let events = bench.events();
    let told: Vec<_> = events
        .iter()
        .map(|event| event.test.as_ref().expect("a test"))
        .map(|test| (test.id, test.version, test.results.len()))
        .collect();
    let id = told[0].0;
    assert_eq!(told[..2], [(id, 1, 1), (id, 2, 2)]);
    assert_eq!(events[1].identity, events[2].identity);
    assert_ne!(events[0].identity, events[1].identity);
}

#[test]
fn another_message_behind_a_broken_one_is_not_its_resend() {
    let mut bench = after_frames(4);
    bench.receive(&[ENQ]);
    bench.receive(&transmission(&["H|\\^&", "P|1", "O|1|S-78||^^^GLU|R", "R|1|^^^GLU|5.5", "L|1|N"]));
    assert_eq!(bench.names(), ["interrupted", "TEST_FINISHED"]);
    assert_eq!(bench.events()[1].details, None);
}

#[test]
fn an_order_without_results_and_without_an_end_was_given_up() {
    let mut bench = after_frames(3);
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["interrupted"]);
    let mut bench = after_frames(4);
    bench.receive(&[EOT]);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

#[test]
fn thirty_seconds_of_silence_and_a_closed_line_end_the_message() {
    let mut bench = after_frames(4);
    bench.wait(seconds(29));
    assert!(bench.names().is_empty());
    bench.wait(seconds(2));
    assert_eq!(bench.names(), ["interrupted"]);
    assert!(bench.stored().last().unwrap().complete && bench.stored().last().unwrap().capture.is_empty());
    assert_eq!(bench.receive(&frames()[4]), NOTHING);
    let mut bench = after_frames(2);
    bench.give(Input::Closed);
    assert_eq!(bench.names(), ["interrupted"]);
    let mut bench = after_frames(5);
    bench.wait(seconds(31));
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

#[test]
fn blank_frames_behind_a_message_leave_nothing_unfinished() {
    let mut bench = after_frames(5);
    assert_eq!(bench.receive(&frame(6, "\r", true)), [ACK]);
    assert_eq!(bench.receive(&frame(7, " ", false)), [ACK]);
    bench.receive(&[EOT]);
    assert!(bench.stored()[4..].iter().all(|commit| commit.complete));
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    let mut bench = after_frames(0);
    assert_eq!(bench.receive(&frame(1, "\r\n", true)), [ACK]);
    assert!(bench.stored()[0].complete);
    let whole: String = [HEADER, PATIENT, ORDER, RESULT, END].concat();
    assert_eq!(bench.receive(&frame(2, &whole, true)), [ACK]);
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

#[test]
fn a_restart_concludes_the_unfinished_message_at_once() {
    let bench = after_frames(4);
    let unfinished: Vec<u8> = bench.stored().iter().flat_map(|commit| commit.capture.clone()).collect();
    let resume = Resume { unfinished: &unfinished, running: None };
    let mut bench = Bench::open("astm", &DriverOptions::default(), resume);
    assert_eq!(bench.names(), ["interrupted"]);
    let rejected = bench.events()[0].clone();
    assert_eq!(rejected.partial[0].results.len(), 1);
    assert_eq!(rejected.device.unwrap().sn.as_deref(), Some("SN0042"));
    assert_eq!(rejected.rejection.unwrap().bytes, unfinished.len());
    assert_eq!((bench.stored()[0].complete, bench.stored()[0].capture.len()), (true, 0));
    assert_eq!(bench.receive(&[frames()[4].clone(), vec![EOT]].concat()), NOTHING);
    assert_eq!(bench.receive(&transmission(&["H|\\^&|||x", "O|1|A", "L|1"])), [ACK; 4]);
    assert_eq!(bench.names(), ["interrupted", "TEST_FINISHED"]);
}

#[test]
fn a_message_repeated_whole_has_the_same_identity_and_one_without_any_time_has_none() {
    let mut bench = after_frames(5);
    bench.receive(&[EOT]);
    bench.wait(seconds(20));
    let whole: String = [HEADER, PATIENT, ORDER, RESULT, END].concat();
    bench.receive(&[vec![ENQ], frame(1, &whole, true), vec![EOT]].concat());
    let events = bench.events();
    assert_eq!(events.len(), 2);
    assert!(events[0].identity.is_some());
    assert_eq!(events[0], events[1]);
    let timeless = transmission(&["H|\\^&", "O|1|A", "R|1|^^^B|1", "L|1"]);
    let mut bench = Bench::astm();
    for _ in 0..2 {
        bench.receive(&timeless);
        bench.wait(seconds(1));
    }
    let events = bench.events();
    assert!(events.iter().all(|event| event.identity.is_none()));
    assert_ne!(events[0].test.as_ref().unwrap().id, events[1].test.as_ref().unwrap().id);
}

#[test]
fn a_frame_without_cr_lf_is_answered_after_a_moment_or_at_the_next_byte() {
    let mut bench = after_frames(0);
    let bare = &frames()[0][..frames()[0].len() - 2];
    assert_eq!(bench.receive(bare), NOTHING);
    assert_eq!(bench.wait(Duration::from_millis(250)), [ACK]);
    assert_eq!(bench.receive(&frames()[1]), [ACK]);
}

#[test]
fn a_frame_may_take_longer_than_the_silence_as_long_as_it_comes() {
    let mut bench = after_frames(3);
    for byte in &frames()[3][..30] {
        bench.receive(&[*byte]);
        bench.wait(seconds(2));
    }
    assert_eq!(bench.receive(&frames()[3][30..]), [ACK]);
    bench.receive(&frames()[4][..10]);
    bench.wait(seconds(31));
    assert_eq!(bench.names(), ["interrupted"]);
}

#[test]
fn what_is_no_session_is_reported_once_with_a_guess() {
    let hl7 = format!("\x0bMSH|^~\\&|X\rPID|1||{}\r\x1c\r", "0".repeat(80));
    let mut bench = Bench::astm();
    for _ in 0..3 {
        assert_eq!(bench.receive(hl7.as_bytes()), NOTHING);
        bench.wait(seconds(6));
    }
    assert_eq!(bench.names(), ["not_astm"]);
    assert!(bench.events()[0].rejection.as_ref().unwrap().reason.contains("HL7"));
    assert_eq!(bench.stored()[0].capture, hl7.as_bytes());
    bench.receive(&transmission(&["H|\\^&", "L|1"]));
    bench.receive(hl7.as_bytes());
    bench.wait(seconds(6));
    bench.receive(hl7.as_bytes());
    bench.wait(seconds(700));
    bench.receive(hl7.as_bytes());
    bench.wait(seconds(6));
    assert_eq!(bench.names(), ["not_astm", "not_astm", "not_astm"]);
}

#[test]
fn small_noise_near_sessions_is_not_reported() {
    let mut bench = Bench::astm();
    bench.receive(&[&[0_u8, 0xff, ACK, ACK][..], &transmission(&["H|\\^&", "L|1"]), &[0, 0xff, b'\r']].concat());
    bench.wait(seconds(60));
    assert!(bench.names().is_empty());
    assert_eq!(bench.receive(&[ENQ]), [ACK]);
}

#[test]
fn records_without_frames_need_no_answer_and_are_retried_until_stored() {
    let options = DriverOptions { framing: Framing::None, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &options, Resume::default());
    bench.disk = Disk::Fails;
    assert_eq!(bench.receive([HEADER, ORDER, RESULT, "L"].concat().as_bytes()), NOTHING);
    bench.wait(seconds(10));
    assert!(bench.names().is_empty());
    bench.disk = Disk::Good;
    bench.wait(seconds(2));
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    assert!(bench.stored()[0].complete);
    bench.receive([HEADER, ORDER, HEADER, ORDER, "R|1|^^^A|1"].concat().as_bytes());
    bench.wait(seconds(31));
    assert_eq!(bench.names(), ["TEST_FINISHED", "interrupted", "interrupted"]);
}

#[test]
fn records_that_find_no_room_while_nothing_can_be_stored_are_a_gap_in_their_place() {
    let options = DriverOptions { framing: Framing::None, message_bytes_max: 300, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &options, Resume::default());
    let whole = [HEADER, ORDER, RESULT, END].concat();
    bench.disk = Disk::Fails;
    bench.receive(whole.as_bytes());
    bench.receive([&whole, &whole, HEADER, ORDER, "R|1|^^^GLU|5."].concat().as_bytes());
    bench.receive(b"7|mmol/L\rL|1|N\r");
    bench.disk = Disk::Good;
    bench.wait(seconds(2));
    bench.receive([END, &whole].concat().as_bytes());
    let finished = "TEST_FINISHED";
    assert_eq!(bench.names(), [finished, finished, finished, "interrupted", "GAP", finished]);
    assert!(bench.events()[4].gap.as_ref().unwrap().reason.starts_with("15 received bytes were dropped"));
}

#[test]
fn a_message_of_megabytes_in_small_frames_is_taken() {
    let picture = format!("M|1|{}\r", "QUJD".repeat(500_000));
    let text = [HEADER, ORDER, RESULT, &picture, END].concat();
    let mut bench = after_frames(0);
    for (place, part) in text.as_bytes().chunks(240).enumerate() {
        let part = std::str::from_utf8(part).unwrap();
        assert_eq!(bench.receive(&frame((place % 8) as u8 + 1, part, (place + 1) * 240 >= text.len())), [ACK]);
    }
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    let captured: usize = bench.stored().iter().map(|commit| commit.capture.len()).sum();
    assert!(captured > text.len());
}
