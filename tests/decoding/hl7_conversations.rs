//! What the driver `hl7` sends, and when: acknowledgments after the commit, answers to questions, orders that follow them.

use super::support::*;
use gateway_core::event::{EventName, Personal};
use gateway_core::reading::Reading;
use gateway_core::registration::{OrderedTest, Patient};
use gateway_core::session::{DriverOptions, Framing, Resume};
use gateway_core::worklist::{OrderAction, Question, WorkOrder};
use std::time::Duration;

fn bench(options: &DriverOptions) -> Bench {
    Bench::open("hl7", options, Resume::default())
}

fn framed(segments: &[&str]) -> Vec<u8> {
    let text: String = segments.iter().map(|segment| format!("{segment}\r")).collect();
    [b"\x0b", text.as_bytes(), b"\x1c\r"].concat()
}

fn result(id: &str, modes: &str, sample: &str) -> Vec<u8> {
    let msh = format!("MSH|^~\\&|HX-9|Maker|LIS|LAB|20260304050607||ORU^R01|{id}|P|2.4|||{modes}||8859/1");
    framed(&[&msh, &format!("OBR|1||{sample}"), "OBX|1|NM|A||1"])
}

/// The messages in what was sent, each as its segments.
fn messages(sent: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8(sent.to_vec()).unwrap();
    let blocks = text.split('\u{b}').skip(1);
    let segments = |block: &str| {
        let message = block.strip_suffix("\u{1c}\r").expect("FS and CR at the end");
        assert!(message.ends_with('\r'), "the last segment has its CR");
        message.trim_end().split('\r').map(str::to_owned).collect()
    };
    blocks.map(segments).collect()
}

/// MSA-1 of each.
fn codes(sent: &[u8]) -> Vec<String> {
    let msa =
        |message: &Vec<String>| message.iter().find(|segment| segment.starts_with("MSA")).unwrap()[4..6].to_owned();
    messages(sent).iter().map(msa).collect()
}

fn order(sample: &str, codes: &[&str], action: OrderAction) -> WorkOrder {
    let some = |text: &str| Some(Personal::new(text));
    let patient = Patient {
        id: some("P-1"),
        given_name: some("Jo"),
        family_name: some("Doe|x"),
        birth_date: some("1980-02-29"),
        sex: some("female"),
        ..Patient::default()
    };
    let tests = codes.iter().map(|code| OrderedTest { code: (*code).to_owned(), name: "Name".to_owned() }).collect();
    WorkOrder { sample_id: Personal::new(sample), patient: Some(patient), tests, action }
}

/// Without the segments that differ from run to run.
fn body(message: &[String]) -> Vec<&str> {
    message.iter().skip(1).map(String::as_str).collect()
}

#[test]
fn a_result_is_acknowledged_after_it_is_stored() {
    let mut bench = bench(&DriverOptions::default());
    bench.receive(&result("17", "|", "S-1"));
    let [Step::Stored(commit), Step::Sent(answer)] = bench.steps.as_slice() else { panic!("{:?}", bench.steps) };
    assert!(commit.complete && commit.capture.starts_with(b"\x0bMSH") && commit.capture.ends_with(b"\x1c\r"));
    let message = &messages(answer)[0];
    let head: Vec<&str> = message[0].split('|').collect();
    assert_eq!(head[2..7], ["LIS", "LAB", "HX-9", "Maker", "20260304050607"]);
    assert_eq!((head[8], head[10], head[11], head[17]), ("ACK^R01", "P", "2.4", "8859/1"));
    assert_ne!(head[9], "17");
    assert_eq!(body(message), ["MSA|AA|17|Message accepted|||0"]);
}

#[test]
fn what_is_not_stored_is_answered_so_that_it_comes_again() {
    let mut bench = bench(&DriverOptions::default());
    bench.disk = Disk::Fails;
    assert_eq!(codes(&bench.receive(&result("1", "|", "S-1"))), ["AE"]);
    assert_eq!(codes(&bench.receive(&result("1", "AL|AL", "S-1"))), ["CE"]);
    assert_eq!(codes(&bench.receive(&result("1", "NE|AL", "S-1"))), ["AE"]);
    bench.disk = Disk::Good;
    assert_eq!(codes(&bench.receive(&result("1", "AL|AL", "S-1"))), ["CA", "AA"]);
    assert!(bench.receive(&result("2", "NE|NE", "S-2")).is_empty());
    assert_eq!(bench.names(), ["TEST_FINISHED", "TEST_FINISHED"]);
}

#[test]
fn what_is_not_stored_is_tried_again_where_nobody_hears_of_it() {
    for modes in ["NE|NE", "SU|SU"] {
        let mut bench = bench(&DriverOptions::default());
        bench.disk = Disk::Fails;
        assert!(bench.receive(&result("1", modes, "S-1")).is_empty());
        bench.wait(Duration::from_secs(3));
        assert!(bench.events().is_empty());
        bench.disk = Disk::Good;
        bench.wait(Duration::from_secs(2));
        assert_eq!(bench.names(), ["TEST_FINISHED"], "{modes}");
    }
}

#[test]
fn what_is_not_understood_is_stored_and_refused() {
    let mut bench = bench(&DriverOptions::default());
    let mut refused = |segments: &[&str]| codes(&bench.receive(&framed(segments))).join(" ");
    assert_eq!(refused(&["MSH|^~\\&|HX||||||ADT^A01|1|P|2.4", "PID|1||P-1"]), "AR");
    assert_eq!(refused(&["MSH|^~\\&|HX||||||ORU^R01|1|P|3.0", "OBR|1||S-1"]), "AR");
    assert_eq!(refused(&["PID|1||P-1"]), "AR");
    assert_eq!(refused(&["MSH|^~\\&|HX||||||ADT^A01|1|P|2.5.1|||AL|NE"]), "CR");
    // An answer is not answered.
    assert_eq!(refused(&["MSH|^~\\&|HX||||||ACK|1|P|2.4", "MSA|AA|77"]), "");
    assert_eq!(bench.names(), ["unknown_type", "unknown_version", "not_hl7", "unknown_type"]);
    for event in bench.events() {
        let rejection = event.rejection.as_ref().unwrap();
        assert!(!rejection.reason.contains("P-1") && rejection.bytes > 0);
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_at_its_end() {
    let options = DriverOptions { message_bytes_max: 400, frame_bytes_max: 200, ..DriverOptions::default() };
    let mut bench = bench(&options);
    let long = framed(&["MSH|^~\\&|HX||||||ORU^R01|9|P|2.4", &format!("NTE|1||{}", "x".repeat(900))]);
    assert!(bench.receive(&long[..800]).is_empty());
    assert_eq!(codes(&bench.receive(&long[800..])), ["AR"]);
    assert_eq!(bench.names(), ["too_long"]);
    assert_eq!(bench.stored()[0].capture, &long[..200]);
    let rejection = bench.events()[0].rejection.clone().unwrap();
    assert!(rejection.reason.contains(&format!("{} bytes", long.len() - 1)), "{}", rejection.reason);
    assert_eq!(codes(&bench.receive(&result("10", "|", "S-1"))), ["AA"]);
}

#[test]
fn eight_megabytes_are_no_trouble() {
    let mut bench = bench(&DriverOptions::default());
    let picture = format!("OBX|1|ED|P^Picture^L||^Image^BMP^Base64^{}||||||F", "QUJD".repeat(1_900_000));
    let head = "MSH|^~\\&|HX-9||||||ORU^R01|1|P|2.3.1";
    let long = framed(&[head, "OBR|1||S-1", &picture, "OBX|2|NM|WBC||5.5"]);
    let parts: Vec<Vec<u8>> = long.chunks(4096).map(|part| bench.receive(part)).collect();
    assert_eq!(codes(&parts.concat()), ["AA"]);
    let test = bench.events()[0].test.as_ref().unwrap();
    let omitted = test.results[0].omitted.as_ref().expect("left out");
    assert_eq!((test.results[0].value.expose(), omitted.media_type.as_str()), ("", "image/bmp"));
    assert_eq!(omitted.bytes, "^Image^BMP^Base64^".len() + 4 * 1_900_000);
    assert_eq!(test.results[1].value.expose(), "5.5");
    assert_eq!(bench.stored()[0].capture, long);
}

#[test]
fn a_late_answer_goes_out_only_where_ids_tell_messages_apart() {
    let mut bench = bench(&DriverOptions::default());
    bench.disk = Disk::Slow(Duration::from_secs(11));
    assert_eq!(codes(&bench.receive(&result("1", "|", "S-1"))), ["AA"]);
    assert_eq!(codes(&bench.receive(&result("2", "|", "S-2"))), ["AA"]);
    assert!(bench.receive(&result("2", "|", "S-3")).is_empty());
    assert!(bench.receive(&result("", "|", "S-4")).is_empty());
    bench.disk = Disk::Slow(Duration::from_secs(9));
    assert_eq!(codes(&bench.receive(&result("", "|", "S-5"))), ["AA"]);
    assert_eq!(bench.names().len(), 5);
}

#[test]
fn a_message_that_is_broken_off_is_told_with_what_could_be_read() {
    let whole = result("1", "|", "S-1");
    let cut = &whole[..whole.len() - 4];
    let mut silent = bench(&DriverOptions::default());
    silent.receive(cut);
    assert!(silent.wait(Duration::from_secs(31)).is_empty());
    let mut closed = bench(&DriverOptions::default());
    closed.receive(cut);
    closed.disk = Disk::Fails;
    closed.finish();
    closed.disk = Disk::Good;
    closed.finish();
    for bench in [silent, closed] {
        assert_eq!(bench.names(), ["interrupted"]);
        let event = bench.events()[0];
        assert_eq!(event.partial.len(), 1, "its OBX was not whole");
        assert_eq!((event.partial[0].sample_id.as_ref().unwrap().expose(), event.partial[0].results.len()), ("S-1", 0));
        assert_eq!(event.device.as_ref().unwrap().model.as_deref(), Some("HX-9"));
    }
}

#[test]
fn what_another_driver_has_left_is_concluded() {
    let resume = Resume { unfinished: b"\x05\x021H|", running: None };
    let bench = Bench::open("hl7", &DriverOptions::default(), resume);
    assert_eq!(bench.names(), ["interrupted"]);
}

#[test]
fn noise_is_told_once() {
    let mut bench = bench(&DriverOptions::default());
    for _ in 0..5 {
        bench.receive(&[0xd7; 50]);
        bench.wait(Duration::from_secs(1));
    }
    bench.wait(Duration::from_secs(60));
    bench.receive(&[0xd7; 500]);
    bench.wait(Duration::from_secs(60));
    assert_eq!(bench.names(), ["not_hl7"]);
    assert_eq!(codes(&bench.receive(&result("1", "|", "S-1"))), ["AA"]);
    // A sign of life: nothing between VT and FS.
    assert!(bench.receive(b"\x0b\x1c\r").is_empty());
    assert_eq!(bench.names(), ["not_hl7", "TEST_FINISHED"]);
}

#[test]
fn an_identical_message_is_the_same_fact_only_if_a_time_tells_runs_apart() {
    let mut bench = bench(&DriverOptions::default());
    bench.receive(&result("0", "|", "S-1"));
    bench.receive(&result("0", "|", "S-1"));
    let without_time =
        framed(&["MSH|^~\\&|HX-9||||||ORU^R01|0|P|2.4", "OBR|1||S-1|||20260304|20260304050607", "OBX|1|NM|A||1"]);
    bench.receive(&without_time);
    bench.receive(&without_time);
    let identities: Vec<_> = bench.events().iter().map(|event| event.identity).collect();
    assert!(identities[0].is_some() && identities[0] == identities[1]);
    assert_eq!(identities[2..], [None, None]);
}

#[test]
fn messages_without_frames_are_answered_without_them() {
    let mut bench = bench(&DriverOptions { framing: Framing::None, ..DriverOptions::default() });
    assert!(bench.receive(b"MSH|^~\\&|HX-9||||||ORU^R01|4|P|2.4\rOBR|1||S-1\rOBX|1|NM|A||1\r").is_empty());
    let answer = bench.wait(Duration::from_secs(3));
    assert!(answer.starts_with(b"MSH|^~\\&|") && answer.ends_with(b"MSA|AA|4|Message accepted|||0\r"));
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

const LAW: &str =
    "MSH|^~\\&|LX1|LAB|LIS|LAB|20260304050607+0100||QBP^Q11^QBP_Q11|L-2|P|2.5.1|||ER|AL||UNICODE UTF-8|||LAB-27^IHE";

#[test]
fn law_gets_a_response_and_then_its_orders_one_by_one() {
    let mut bench = bench(&DriverOptions::default());
    bench.orders = vec![order("S-1", &["2951-2", "K"], OrderAction::New), order("S-1", &["GLU"], OrderAction::Cancel)];
    let sent = bench.receive(&framed(&[LAW, "QPD|WOS^Work Order Step^IHE_LABTF|TAG-1|S-1", "RCP|I||R"]));
    let order = ["Stored", "Asked", "Sent", "Sent"];
    let kinds: Vec<&str> = bench.steps.iter().map(kind).collect();
    assert_eq!(kinds, order, "stored, looked up, answered");
    assert_eq!(bench.names(), ["QUERY_RECEIVED"]);
    assert!(bench.steps.contains(&Step::Asked(Question::Samples(vec![Personal::new("S-1")]))));
    let sent = messages(&sent);
    assert_eq!(sent.len(), 2);
    assert!(sent[0][0].contains("|RSP^K11^RSP_K11|"), "{:?}", sent[0]);
    let echo = "QPD|WOS^Work Order Step^IHE_LABTF|TAG-1|S-1";
    assert_eq!(body(&sent[0]), ["MSA|AA|L-2", "QAK|TAG-1|OK|WOS^Work Order Step^IHE_LABTF", echo]);
    let head: Vec<&str> = sent[1][0].split('|').collect();
    assert_eq!((head[8], head[14], head[15], head[20]), ("OML^O33^OML_O33", "NE", "AL", "LAB-28^IHE"));
    let steps: Vec<&str> = body(&sent[1]);
    assert_eq!(
        steps[..3],
        [
            "PID|1||P-1^^^^MR||Doe\\F\\x^Jo||19800229|F",
            "SPM|1|S-1||UNK^Unknown^NULLFL|||||||P^Patient^HL70369",
            "SAC|||S-1"
        ]
    );
    assert!(steps[3].starts_with("ORC|NW|||||||||2026") || steps[3].starts_with("ORC|NW||||||||20"), "{}", steps[3]);
    assert_eq!(steps[4], "TQ1|||||||||R^Routine^HL70485");
    let step = |line: &str| line.split('|').nth(2).unwrap().to_owned();
    assert!(steps[5].ends_with("||2951-2^Name^LN") && steps[8].ends_with("||K^Name^L"), "{steps:?}");
    assert_ne!(step(steps[5]), step(steps[8]));

    let answer = |code: &str, id: &str| {
        let msh = "MSH|^~\\&|LX1|LAB|LIS|LAB|20260304050608+0100||ORL^O34^ORL_O42|L-3|P|2.5.1|||NE|NE";
        framed(&[msh, &format!("MSA|{code}|{id}")])
    };
    // An answer to something else changes nothing; the first order's brings the second.
    assert!(bench.receive(&answer("AA", "other")).is_empty());
    let second = messages(&bench.receive(&answer("AA", head[9])));
    assert!(second[0].iter().any(|segment| segment.starts_with("ORC|CA|")), "{second:?}");
    let id = second[0][0].split('|').nth(9).unwrap();
    assert!(bench.receive(&answer("AR", id)).is_empty());
    assert!(!bench.steps.contains(&Step::Taken), "one of its orders was refused");
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "ANALYZER_ALARM"]);
    assert_eq!(bench.events()[1].alarm.as_ref().unwrap().code, "order_refused");
}

#[test]
fn law_may_refuse_an_order_in_an_answer_that_accepts() {
    let mut bench = bench(&DriverOptions::default());
    bench.orders = vec![order("S-1", &["K"], OrderAction::New)];
    let sent = messages(&bench.receive(&framed(&[LAW, "QPD|WOS^Work Order Step^IHE_LABTF|TAG-1|S-1"])));
    let id = sent[1][0].split('|').nth(9).unwrap();
    let msh = "MSH|^~\\&|LX1|LAB|LIS|LAB|20260304050608+0100||ORL^O34^ORL_O42|L-3|P|2.5.1|||NE|NE";
    bench.receive(&framed(&[msh, &format!("MSA|AA|{id}"), "SPM|1|S-1", "ORC|UA|STEP", "OBR|1|STEP"]));
    assert!(!bench.steps.contains(&Step::Taken));
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "ANALYZER_ALARM"]);
}

#[test]
fn the_profile_tells_codes_apart_that_repeat_in_an_order() {
    let reading = Reading { told_apart_by: vec![4], ..Reading::default() };
    let mut bench = bench(&DriverOptions { reading: reading.into(), ..DriverOptions::default() });
    let results = ["OBX|1|NM|HCV^a^L^F||1", "OBX|2|ST|HCV^a^L^I||NEG", "OBX|3|NM|TSH^b^L^F||2"];
    bench.receive(&framed(&[&["MSH|^~\\&|HX||||||ORU^R01|1|P|2.4", "OBR|1||S-1"][..], &results[..]].concat()));
    let codes: Vec<&str> =
        bench.events()[0].test.iter().flat_map(|test| &test.results).map(|r| r.code.as_str()).collect();
    assert_eq!(codes, ["HCV^F", "HCV^I", "TSH"]);
}

#[test]
fn a_long_patient_before_many_orders_is_held_once() {
    let mut bench = bench(&DriverOptions::default());
    let (long, orders) = ("x".repeat(4_000_000), vec!["OBR|1||S"; 2000].join("\r"));
    let head =
        ["MSH|^~\\&|HX||||||ORU^R01|1|P|2.4", &format!("PID|||P-1||{long}"), &format!("NTE|||{long}")].join("\r");
    assert_eq!(codes(&bench.receive(&framed(&[&head, &orders]))), ["AA"]);
    let events = bench.events();
    assert_eq!(events.len(), 2000);
    let comments: Vec<usize> = events.iter().flat_map(|event| &event.test).map(|test| test.comments.len()).collect();
    assert_eq!((comments[0], comments[1..].iter().sum::<usize>()), (1, 0));
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::Sent(_) => "Sent",
        Step::Stored(_) => "Stored",
        Step::NotStored(_) => "NotStored",
        Step::Asked(_) => "Asked",
        Step::Told(_) => "Told",
        Step::Taken => "Taken",
    }
}

#[test]
fn law_is_told_where_there_is_nothing_to_do() {
    let mut bench = bench(&DriverOptions::default());
    let sent = messages(&bench.receive(&framed(&[LAW, "QPD|WOS^Work Order Step^IHE_LABTF|T|S-9"])));
    assert!(sent[0].contains(&"QAK|T|OK|WOS^Work Order Step^IHE_LABTF".to_owned()), "{sent:?}");
    let negative = body(&sent[1]);
    assert_eq!(negative[..2], ["SPM|1|S-9||UNK^Unknown^NULLFL|||||||U^Unknown^HL70369", "SAC|||S-9"]);
    assert!(negative[2].starts_with("ORC|DC|") && negative.len() == 3);
    // All samples, and none waits: nothing that could be named.
    let sent = messages(&bench.receive(&framed(&[LAW, "QPD|WOS_ALL^Work Order Step All^IHE_LABTF|T"])));
    assert_eq!(sent.len(), 1);
    assert!(bench.steps.contains(&Step::Asked(Question::All)));
    // Where a tube stands is not known here.
    let sent = bench.receive(&framed(&[LAW, "QPD|WOS_BY_RACK^Work Order Step Rack^IHE_LABTF|T||RACK|3"]));
    assert_eq!(codes(&sent), ["AR"]);
}

#[test]
fn an_order_that_is_never_acknowledged_is_sent_three_times() {
    let mut bench = bench(&DriverOptions::default());
    bench.orders = vec![order("S-1", &["GLU"], OrderAction::Rerun)];
    let first = messages(&bench.receive(&framed(&[LAW, "QPD|WOS^Work Order Step^IHE_LABTF|T|S-1"])));
    assert!(first[1].iter().any(|segment| segment.starts_with("OBR|1|") && segment.ends_with("|||||||A")), "{first:?}");
    let again = messages(&bench.wait(Duration::from_secs(100)));
    assert_eq!(again, [first[1].clone(), first[1].clone()]);
    assert_eq!(bench.names(), ["QUERY_RECEIVED", "ANALYZER_ALARM"]);
    assert_eq!(bench.events()[1].alarm.as_ref().unwrap().code, "order_unanswered");
    assert!(bench.wait(Duration::from_secs(100)).is_empty());
}

#[test]
fn another_query_by_parameter_has_its_orders_in_the_response() {
    let msh = "MSH|^~\\&|AN||||20260304050607||QBP^Q11|5|P|2.5";
    let mut bench = bench(&DriverOptions::default());
    let none = messages(&bench.receive(&framed(&[msh, "QPD|Z01^Worklist|T|S-1"])));
    assert_eq!(body(&none[0]), ["MSA|AA|5", "QAK|T|NF|Z01^Worklist", "QPD|Z01^Worklist|T|S-1"]);
    bench.orders = vec![order("S-1", &["GLU"], OrderAction::New)];
    let some = messages(&bench.receive(&framed(&[msh, "QPD|Z01^Worklist|T|S-1"])));
    assert_eq!(some.len(), 1);
    let segments: Vec<&str> = some[0].iter().map(|segment| &segment[..3]).collect();
    assert_eq!(segments, ["MSH", "MSA", "QAK", "QPD", "PID", "SPM", "SAC", "ORC", "TQ1", "OBR"]);
    assert_eq!(bench.steps.last(), Some(&Step::Taken));
}

#[test]
fn a_display_query_is_answered_sample_by_sample() {
    let msh = "MSH|^~\\&|Mindray|BS-9|||20260304050607||QRY^Q02|5|P|2.3.1||||||ASCII";
    let (qrd, qrf) = ("QRD|20260304050607|R|D|1|||RD|S-1|OTH|||T", "QRF|BS-9|20260304|20260304|||RCT|COR|ALL");
    let mut bench = bench(&DriverOptions::default());
    let none = messages(&bench.receive(&framed(&[msh, qrd, qrf])));
    assert!(none[0][0].contains("|QCK^Q02|"));
    assert_eq!(body(&none[0]), ["MSA|AA|5|Message accepted|||0", "ERR|0", "QAK|SR|NF"]);

    bench.orders = vec![order("S-1", &["1", "5"], OrderAction::New), order("S-2", &["2"], OrderAction::New)];
    let all = qrd.replace("S-1", "");
    let sent = messages(&bench.receive(&framed(&[msh, &all, qrf])));
    assert!(bench.steps.contains(&Step::Asked(Question::All)));
    assert_eq!(body(&sent[0])[2], "QAK|SR|OK");
    assert!(sent[1][0].contains("|DSR^Q03|"));
    let lines = body(&sent[1]);
    assert_eq!(lines[3..5], [all.as_str(), qrf]);
    for line in [
        "DSP|1||P-1",
        "DSP|3||Jo Doe\\F\\x",
        "DSP|4||19800229000000",
        "DSP|5||F",
        "DSP|21||S-1",
        "DSP|29||1^^^",
        "DSP|30||5^^^",
        "DSC|1",
    ] {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
    let id = sent[1][0].split('|').nth(9).unwrap().to_owned();
    let next = bench
        .receive(&framed(&["MSH|^~\\&|Mindray|BS-9|||20260304050608||ACK^Q03|6|P|2.3.1", &format!("MSA|AA|{id}")]));
    let next = messages(&next);
    assert!(next[0].contains(&"DSP|21||S-2".to_owned()) && next[0].contains(&"DSC".to_owned()), "{next:?}");

    assert!(!bench.steps.contains(&Step::Taken));
    let id = next[0][0].split('|').nth(9).unwrap().to_owned();
    bench.receive(&framed(&["MSH|^~\\&|Mindray|BS-9|||20260304050609||ACK^Q03|7|P|2.3.1", &format!("MSA|AA|{id}")]));
    assert!(bench.steps.contains(&Step::Taken), "the analyzer has both");

    // The question is taken back.
    let back = messages(&bench.receive(&framed(&[msh, &all.replace("OTH", "CAN"), qrf])));
    assert_eq!((back.len(), body(&back[0])[2]), (1, "QAK|SR|OK"));
    assert_eq!(bench.events().last().unwrap().query.as_ref().unwrap().status, "A");
}

#[test]
fn an_order_query_is_answered_with_the_order() {
    let msh = "MSH|^~\\&|BC-9|Mindray|||20260304050607||ORM^O01|9|P|2.3.1||||||UNICODE";
    let mut bench = bench(&DriverOptions::default());
    let none = messages(&bench.receive(&framed(&[msh, "ORC|RF||S-1||IP"])));
    assert!(none[0][0].contains("|ORR^O02|"));
    assert_eq!(body(&none[0]), ["MSA|AR|9"]);
    bench.orders = vec![order("S-1", &["CBC+DIFF"], OrderAction::New)];
    let some = messages(&bench.receive(&framed(&[msh, "ORC|RF||S-1||IP"])));
    assert_eq!(
        body(&some[0])[1..],
        [
            "PID|1||P-1^^^^MR||Doe\\F\\x^Jo||19800229|Female",
            "PV1|1",
            "ORC|AF|S-1",
            "OBR|1|S-1||00001^Automated Count^99MRC||||||||||||||||||||HM",
            "OBX|1|IS|08003^Test Mode^99MRC||CBC+DIFF||||||F",
        ]
    );
    // An order of its own is none that the gateway could do.
    assert_eq!(codes(&bench.receive(&framed(&[msh, "ORC|NW||S-1"]))), ["AR"]);
}

#[test]
fn a_question_that_could_not_be_stored_is_not_looked_up() {
    let mut bench = bench(&DriverOptions::default());
    bench.disk = Disk::Fails;
    let law = bench.receive(&framed(&[LAW, "QPD|WOS^Work Order Step^IHE_LABTF|T|S-1"]));
    assert!(messages(&law)[0].contains(&"QAK|T|AE|WOS^Work Order Step^IHE_LABTF".to_owned()));
    assert_eq!(codes(&law), ["AE"]);
    let order = bench.receive(&framed(&["MSH|^~\\&|BC-9||||||ORM^O01|9|P|2.3.1", "ORC|RF||S-1"]));
    assert_eq!(codes(&order), ["AE"]);
    assert!(bench.steps.iter().all(|step| !matches!(step, Step::Asked(_))));
    assert!(bench.events().iter().all(|event| event.name != EventName::QueryReceived));
}

#[test]
fn the_profile_says_where_things_are() {
    use gateway_core::reading::{FieldPlace, Pattern, Reading};
    let place = |text: &str| FieldPlace::parse(text).unwrap();
    let reading = Reading {
        sample_id: vec![place("SAC.3"), place("OBR.2.1")],
        patient_id: vec![place("PID.4.1")],
        serial_number: Some(place("MSH.4.2")),
        model_at: Some(place("MSH.4.1")),
        qc_fields: vec![(place("OBR.19"), Pattern::new("^CTL$").unwrap())],
        ..Reading::default()
    };
    let mut bench = bench(&DriverOptions { reading: std::sync::Arc::new(reading), ..DriverOptions::default() });
    bench.receive(&framed(&[
        "MSH|^~\\&|Maker|BS-9^SN-5|||||ORU^R01|1|P|2.3.1",
        "PID|1|A|B|C",
        "OBR|1|BAR-1|17||||||||||||||||CTL",
        "OBX|1|NM|2|TBil|100",
        "OBR|2|BAR-2|18",
        "OBX|2|NM|2|TBil|90",
    ]));
    let event = bench.events()[0];
    let test = event.test.as_ref().unwrap();
    assert_eq!(test.sample_id.as_ref().unwrap().expose(), "BAR-1");
    assert_eq!(test.instrument_sample_id.as_ref().unwrap().expose(), "17");
    assert_eq!(test.patient_id.as_ref().unwrap().expose(), "C");
    let device = event.device.as_ref().unwrap();
    assert_eq!((device.model.as_deref(), device.sn.as_deref()), (Some("BS-9"), Some("SN-5")));
    let qc: Vec<bool> = bench.events().iter().map(|event| event.test.as_ref().unwrap().qc).collect();
    assert_eq!(qc, [true, false]);
}
