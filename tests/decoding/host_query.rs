//! What an analyzer that asks is answered, frame by frame, under a link that enforces the calling contract.

use super::support::*;
use gateway_core::event::Personal;
use gateway_core::reading::{Encoding, FieldPlace, Reading};
use gateway_core::registration::{OrderedTest, Patient};
use gateway_core::session::{DriverOptions, Framing, Resume};
use gateway_core::worklist::{OrderAction, Question, WorkOrder};
use std::sync::Arc;
use std::time::Duration;

const HEADER: &str = "H|\\^&|||CHEM 7^^A7001|||||LIS 2||P|LIS2-A2|20260102030405";
const END: &str = "L|1|N";

const NOTHING: [u8; 0] = [];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn order(sample: &str, codes: &[&str], action: OrderAction) -> WorkOrder {
    let test = |code: &&str| OrderedTest { code: (*code).to_owned(), name: String::new() };
    WorkOrder { sample_id: Personal::new(sample), patient: None, tests: codes.iter().map(test).collect(), action }
}

/// A bench whose analyzer has asked for something; what was sent since its EOT.
fn asked(options: &DriverOptions, records: &[&str], orders: Vec<WorkOrder>) -> (Bench, Vec<u8>) {
    let mut bench = Bench::open("astm", options, Resume::default());
    bench.orders = orders;
    let transmission = transmission(records);
    let (eot, before) = transmission.split_last().unwrap();
    bench.receive(before);
    let sent = bench.receive(&[*eot]);
    (bench, sent)
}

/// Acknowledges all that is sent, beginning with ENQ, and gives the texts of the frames, those behind ETX ended by `/`.
fn taken(bench: &mut Bench, mut sent: Vec<u8>) -> String {
    assert_eq!(sent, [ENQ]);
    let mut text = String::new();
    for number in 1.. {
        sent = bench.receive(&[ACK]);
        if sent == [EOT] {
            break;
        }
        let (body, tail) = sent.split_at(sent.len() - 5);
        let last = tail[0] == 0x03;
        let part = String::from_utf8(body[2..].to_vec()).unwrap();
        assert_eq!(sent, frame(number, &part, last));
        assert!(part.len() <= 240);
        text += &part.replace('\r', "\n");
        if last {
            text += "/";
        }
    }
    text
}

fn answer_to(options: &DriverOptions, records: &[&str], orders: Vec<WorkOrder>) -> String {
    let (mut bench, sent) = asked(options, records, orders);
    taken(&mut bench, sent)
}

fn usual(query: &str, orders: Vec<WorkOrder>) -> String {
    answer_to(&DriverOptions::default(), &[HEADER, query, END], orders)
}

#[test]
fn an_order_comes_with_its_patient_in_the_delimiters_of_the_query() {
    let patient = Patient {
        id: Some(Personal::new("P|7")),
        family_name: Some(Personal::new("O'Hara & Sons")),
        given_name: Some(Personal::new("Ann")),
        birth_date: Some(Personal::new("1980-02-29")),
        sex: Some(Personal::new("female")),
        ..Patient::default()
    };
    let order = WorkOrder { patient: Some(patient), ..order("S-1", &["GLU", "CRE"], OrderAction::New) };
    let (mut bench, sent) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1||ALL||||||||O", END], vec![order]);
    let question = Question::Samples(vec![Personal::new("S-1")]);
    assert_eq!(bench.steps.iter().filter(|step| **step == Step::Asked(question.clone())).count(), 1);
    let text = taken(&mut bench, sent);
    assert_eq!(
        text,
        "H|\\^&|||LIS 2|||||CHEM 7^^A7001||P|LIS2-A2\n/P|1|P&F&7|||O'Hara &E& Sons^Ann||19800229|F\n/\
         O|1|S-1||^^^GLU\\^^^CRE|R||||||N||||||||||||||Q\n/L|1|F\n/"
    );
    assert_eq!(bench.steps.last(), Some(&Step::Taken));
    assert_eq!(bench.names(), ["QUERY_RECEIVED"]);
    assert_eq!(bench.wait(seconds(300)), NOTHING);
    // Other delimiters, and none to repeat by.
    let header = "H!~$%!!!CHEM";
    let text = answer_to(&DriverOptions::default(), &[header, "Q!1!$S-1", END], vec![order_of_two()]);
    assert_eq!(
        text,
        "H!~$%!!!analyzer-gateway!!!!!CHEM!!P!LIS2-A2\n/P!1\n/O!1!S-1!!$$$GLU~$$$CRE!R!!!!!!N!!!!!!!!!!!!!!Q\n/L!1!F\n/"
    );
}

fn order_of_two() -> WorkOrder {
    order("S-1", &["GLU", "CRE"], OrderAction::New)
}

#[test]
fn with_no_orders_the_analyzer_hears_that_there_is_no_information() {
    let (mut bench, sent) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], Vec::new());
    let text = taken(&mut bench, sent);
    assert_eq!(text, "H|\\^&|||LIS 2|||||CHEM 7^^A7001||P|LIS2-A2\n/L|1|I\n/");
    assert!(!bench.steps.contains(&Step::Taken));
}

#[test]
fn reruns_cancellations_and_several_samples_are_told() {
    let orders = vec![order("S-1", &["GLU"], OrderAction::Rerun), order("S-3", &["CRE"], OrderAction::Cancel)];
    let text = usual("Q|1|^S-1\\^S-2\\^S-3||||||||||O", orders);
    assert!(
        text.contains("P|1\n/O|1|S-1||^^^GLU|R||||||A||||||||||||||Q\n/P|2\n/O|1|S-3||^^^CRE|R||||||C||||||||||||||Q"),
        "{text}"
    );
    let (mut bench, sent) = asked(&DriverOptions::default(), &[HEADER, "Q|1|ALL", END], vec![order_of_two()]);
    assert!(bench.steps.contains(&Step::Asked(Question::All)));
    assert!(taken(&mut bench, sent).contains("O|1|S-1||^^^GLU\\^^^CRE|R"));
}

#[test]
fn the_place_of_a_tube_goes_back_where_its_maker_wants_it() {
    // Behind the sample's id: into O.4. Roche's own words besides.
    let header = "H|\\^&|||e5^1|||||host|TSREQ^REAL|P|1";
    let orders = vec![order("S-1", &["10"], OrderAction::New)];
    let text = answer_to(&DriverOptions::default(), &[header, "Q|1|^^  S-1^587^0^2^^S1^SC||ALL||||||||A", END], orders);
    assert_eq!(
        text,
        "H|\\^&|||host|||||e5^1|TSDWN^REPLY|P|1\n/P|1\n/O|1|  S-1|587^0^2^^S1^SC|^^^10|R||||||A||||||||||||||O\n/L|1|N\n/"
    );
    // Before it: all of it into O.3, and the code where the profile says.
    let reading = Reading { code: vec![5], encoding: Encoding::Latin1, ..Reading::default() };
    let options = DriverOptions { reading: Arc::new(reading), ..DriverOptions::default() };
    let orders = vec![order("S-1", &["WBC", "^^^16^TSH^P"], OrderAction::New)];
    let text = answer_to(&options, &[HEADER, "Q|1|2^1^    S-1^B", END], orders);
    assert!(text.contains("O|1|2^1^    S-1^B||^^^^WBC\\^^^16^TSH^P|R"), "{text}");
    let places = ["P.4", "Q.3.3"].iter().filter_map(|place| FieldPlace::parse(place)).collect::<Vec<_>>();
    let reading = Reading { sample_id: places.clone(), patient_id: places, ..Reading::default() };
    let options = DriverOptions { reading: Arc::new(reading), ..DriverOptions::default() };
    let patient = Some(Patient { id: Some(Personal::new("PAT-1")), ..Patient::default() });
    let orders = vec![WorkOrder { patient, ..order("S-1", &["WBC"], OrderAction::New) }];
    let text = answer_to(&options, &[HEADER, "Q|1|7^8^S-1", END], orders);
    assert!(text.contains("P|1||PAT-1\n/O|1|7^8^S-1||^^^WBC"), "{text}");
}

#[test]
fn an_analyzer_is_answered_in_its_own_style_of_frames() {
    let codes: Vec<String> = (0..60).map(|number| format!("TEST{number}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let orders = || vec![order("S-1", &codes, OrderAction::New)];
    let ends = |text: &str| text.matches('/').count();
    // A frame a record; the long one goes on in the next.
    assert_eq!(ends(&usual("Q|1|^S-1", orders())), 4);
    for (parts, style) in [
        (vec![(format!("{HEADER}\rQ|1|^S-1\r{END}\r"), true)], "one text"),
        (vec![(format!("{HEADER}\rQ|1"), false), (format!("|^S-1\r{END}\r"), true)], "one text, cut"),
        (vec![(format!("{HEADER}\r"), false), ("Q|1|^S-1\r".to_owned(), false), (format!("{END}\r"), true)], "ETB"),
    ] {
        let mut bench = Bench::astm();
        bench.orders = orders();
        bench.receive(&[ENQ]);
        for ((part, last), number) in parts.iter().zip(1..) {
            assert_eq!(bench.receive(&frame(number, part, *last)), [ACK]);
        }
        let sent = bench.receive(&[EOT]);
        let text = taken(&mut bench, sent);
        assert_eq!(ends(&text), 1, "{style}");
        assert!(text.ends_with("Q\nL|1|F\n/"), "{style}: {text}");
    }
}

#[test]
fn a_frame_is_sent_until_it_is_taken_and_six_times_at_most() {
    let (mut bench, _) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    let first = bench.receive(&[ACK]);
    for refusal in [NAK, b'?', NAK] {
        assert_eq!(bench.receive(&[refusal]), first);
    }
    // Line noise is no answer, and an ACK makes up for what was refused before.
    assert_eq!(bench.receive(b"\x00\xff\r\n"), NOTHING);
    let second = bench.receive(&[ACK]);
    assert_ne!(second, first);
    for _ in 0..5 {
        assert_eq!(bench.receive(&[NAK]), second);
    }
    assert_eq!(bench.receive(&[NAK]), [EOT]);
    // The whole answer again, later.
    assert_eq!(bench.wait(seconds(9)), NOTHING);
    assert_eq!(bench.wait(seconds(2)), [ENQ]);
    assert_eq!(bench.receive(&[ACK]), first);
}

#[test]
fn silence_ends_the_transmission_and_in_the_end_a_person_hears_of_it() {
    let (mut bench, sent) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    assert_eq!(sent, [ENQ]);
    assert_eq!(bench.wait(Duration::from_millis(14_900)), NOTHING);
    assert_eq!(bench.wait(seconds(1)), [EOT]);
    let later = bench.wait(seconds(600));
    assert_eq!(later.iter().filter(|byte| **byte == ENQ).count(), 5);
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "ANALYZER_ALARM"]);
    assert!(!bench.steps.contains(&Step::Taken));
    assert_eq!(bench.wait(seconds(600)), NOTHING);
    // That there is no information is no news to anybody.
    let (mut bench, _) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], Vec::new());
    bench.wait(seconds(900));
    assert_eq!(bench.names(), ["QUERY_RECEIVED"]);
}

#[test]
fn a_busy_analyzer_is_left_alone_for_ten_seconds() {
    let (mut bench, _) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    assert_eq!(bench.receive(&[NAK]), NOTHING);
    assert_eq!(bench.wait(Duration::from_millis(9_900)), NOTHING);
    let sent = bench.wait(seconds(1));
    assert!(taken(&mut bench, sent).contains("O|1|S-1"));
}

#[test]
fn where_both_say_enq_the_instrument_goes_first() {
    let (mut bench, sent) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    assert_eq!(sent, [ENQ]);
    assert_eq!(bench.receive(&[ENQ]), NOTHING);
    assert_eq!(bench.wait(seconds(2)), NOTHING);
    let results = transmission(&[HEADER, "O|1|S-9||^^^GLU", "R|1|^^^GLU|5", END]);
    let sent = bench.receive(&results);
    assert_eq!(sent, [ACK, ACK, ACK, ACK, ACK, ENQ], "its session first, then ours");
    assert!(taken(&mut bench, vec![ENQ]).contains("O|1|S-1"));
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "TEST_FINISHED"]);
    // It never comes: ours after 20 s.
    let (mut bench, _) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    bench.receive(&[ENQ]);
    assert_eq!(bench.wait(Duration::from_millis(19_900)), NOTHING);
    assert_eq!(bench.wait(seconds(1)), [ENQ]);
}

#[test]
fn an_analyzer_that_speaks_into_our_transmission_is_heard_and_answered_afterwards() {
    let results = transmission(&[HEADER, "O|1|S-9||^^^GLU", "R|1|^^^GLU|5", END]);
    let (mut bench, _) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    bench.receive(&[ACK]);
    assert_eq!(bench.receive(&[ENQ]), [ACK]);
    let sent = bench.receive(&results[1..]);
    assert_eq!(sent, [ACK, ACK, ACK, ACK, ENQ]);
    assert!(taken(&mut bench, vec![ENQ]).contains("O|1|S-1"));
    // EOT instead of ACK: it wants to speak, and has 15 s for it.
    let (mut bench, _) = asked(&DriverOptions::default(), &[HEADER, "Q|1|^S-1", END], vec![order_of_two()]);
    bench.receive(&[ACK]);
    assert_eq!(bench.receive(&[EOT]), [EOT]);
    assert_eq!(bench.wait(seconds(14)), NOTHING);
    assert_eq!(bench.wait(seconds(2)), [ENQ]);
}

#[test]
fn nothing_is_sent_into_a_session_that_is_under_way() {
    let query = transmission(&[HEADER, "Q|1|^S-1", END]);
    let mut bench = Bench::astm();
    bench.orders = vec![order_of_two()];
    // The next session's ENQ comes with the EOT of the query.
    bench.receive(&[query, vec![ENQ]].concat());
    assert_eq!(bench.wait(seconds(29)), NOTHING);
    assert!(!bench.steps.iter().any(|step| matches!(step, Step::Asked(_))));
    assert_eq!(bench.receive(&[EOT]), [ENQ]);
}

#[test]
fn each_query_is_answered_once_and_an_abort_takes_it_back() {
    let query = |sample: &str, status: &str| {
        let header = "H|\\^&|||CHEM";
        transmission(&[header, &format!("Q|1|^{sample}||||||||||{status}"), END])
    };
    let mut bench = Bench::astm();
    bench.receive(&[query("S-1", "O"), query("S-2", "O"), query("S-1", "O")].concat());
    let mut answers = 0;
    let mut sent = vec![ENQ];
    while sent == [ENQ] {
        assert!(taken(&mut bench, sent).ends_with("L|1|I\n/"));
        answers += 1;
        sent = bench.wait(seconds(2));
    }
    assert_eq!(answers, 2, "the repeated question is the same question");
    let mut bench = Bench::astm();
    assert_eq!(bench.receive(&query("S-1", "O")).last(), Some(&ENQ));
    bench.receive(&[ENQ]);
    bench.receive(&query("S-1", "A"));
    assert_eq!(bench.wait(seconds(60)), NOTHING);
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "QUERY_RECEIVED"]);
}

#[test]
fn a_query_that_is_not_stored_is_not_answered() {
    let query = transmission(&[HEADER, "Q|1|^S-1", END]);
    let mut bench = Bench::astm();
    bench.receive(&query[..query.len() - 12]);
    bench.disk = Disk::Fails;
    let sent = bench.receive(&query[query.len() - 12..]);
    assert!(!sent.contains(&ENQ), "{sent:?}");
    // Records without frames have nobody to answer to.
    let none = DriverOptions { framing: Framing::None, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &none, Resume::default());
    bench.orders = vec![order_of_two()];
    assert_eq!(bench.receive(format!("{HEADER}\rQ|1|^S-1\r{END}\r").as_bytes()), NOTHING);
    assert_eq!(bench.wait(seconds(60)), NOTHING);
    assert_eq!(bench.names(), ["QUERY_RECEIVED"]);
}

#[test]
fn a_recorded_conversation_reads_the_same_whoever_answered_in_it() {
    // What the analyzer said while its host was sending: the ACKs, and then its results.
    let query = transmission(&[HEADER, "Q|1|^S-1", END]);
    let results = transmission(&[HEADER, "O|1|S-1||^^^GLU", "R|1|^^^GLU|5", END]);
    for acks in 0..9 {
        let bytes = [query.clone(), vec![ACK; acks], results.clone(), results.clone()].concat();
        for size in [1, 7, bytes.len()] {
            let mut bench = Bench::astm();
            bytes.chunks(size).for_each(|part| drop(bench.receive(part)));
            bench.finish();
            assert_eq!(bench.names(), ["QUERY_RECEIVED", "TEST_FINISHED", "TEST_FINISHED"], "{acks} in {size}");
        }
    }
}
