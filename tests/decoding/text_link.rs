//! What an analyzer that writes plain text is answered, and when: never "accepted" before the commit, and nothing is lost
//! where nobody listens. The same for records between SOH and EOT.

use super::support::*;
use gateway_core::reading::Pattern;
use gateway_core::session::{DriverOptions, Framing, Input, Resume};
use gateway_core::text_rules::{Layout, Patterns, TextRules};
use gateway_daemon::configuration::profile;
use std::path::Path;
use std::time::Duration;

/// The options of a fixture's profile.
fn options(case: &str) -> DriverOptions {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/analyzers/text").join(case);
    profile("profile", Some(folder)).unwrap().options
}

fn brought_along(name: &str) -> DriverOptions {
    profile(name, None).unwrap().options
}

fn opened(options: &DriverOptions) -> Bench {
    Bench::open("text", options, Resume::default())
}

/// A message of the fixture with the checksum, made without the code under test.
fn checked(text: &str) -> Vec<u8> {
    let body = [text.as_bytes(), &[0x03]].concat();
    let sum = body.iter().fold(0_u8, |sum, byte| sum ^ byte);
    [vec![0x02], body, format!("{sum:02X}").into_bytes()].concat()
}

#[test]
fn a_message_is_accepted_when_it_is_stored_and_an_unstored_one_is_left_to_the_analyzer() {
    let mut bench = opened(&options("several_tests_in_a_message"));
    assert_eq!(bench.receive(&[ENQ]), [ACK]);
    let message = checked("#S-1\rglu=5.5 mmol/L\r");
    assert_eq!(bench.receive(&message), [ACK]);
    assert!(matches!(bench.steps[1..], [Step::Stored(_), Step::Sent(_)]), "{:?}", bench.steps);
    bench.disk = Disk::Fails;
    assert_eq!(bench.receive(&message), [NAK]);
    bench.disk = Disk::Good;
    bench.wait(Duration::from_secs(60));
    assert_eq!(bench.names(), ["TEST_FINISHED"], "what was refused comes from the analyzer again");
    assert_eq!(bench.receive(&message), [ACK]);
    assert_eq!(bench.names(), ["TEST_FINISHED", "TEST_FINISHED"]);
}

#[test]
fn equal_results_of_another_sample_are_news_and_the_same_message_is_a_repeat() {
    let mut options = options("several_tests_in_a_message");
    let rules = options.text.as_deref().unwrap().clone();
    // The sample stands in the header that the message's tests share.
    let details = [r"^sample (?<sample>\S+)", r"^at (?<date>\d{8}) (?<time>\d\d:\d\d:\d\d)"];
    let details = details.map(|detail| Pattern::new(&format!("(?m){detail}")).unwrap()).to_vec();
    let Layout::Patterns(patterns) = rules.layout.clone() else { panic!("patterns") };
    let layout = Layout::Patterns(Patterns { details, ..patterns });
    options.text = Some(TextRules { layout, ..rules }.into());
    let mut bench = opened(&options);
    for sample in ["S-1", "S-2", "S-2"] {
        bench.receive(&checked(&format!("sample {sample}\rat 20260304 05:06:07\r#1\rglu=5.5 mmol/L\r")));
    }
    let identities: Vec<_> = bench.events().iter().map(|event| event.identity.expect("a time to the second")).collect();
    assert_ne!(identities[0], identities[1]);
    assert_eq!(identities[1], identities[2]);
}

#[test]
fn a_damaged_message_is_stored_and_refused() {
    let mut bench = opened(&options("several_tests_in_a_message"));
    let mut message = checked("#S-1\rglu=5.5 mmol/L\r");
    message[10] ^= 1;
    assert_eq!(bench.receive(&message), [NAK]);
    assert_eq!(bench.names(), ["checksum"]);
    assert_eq!(bench.stored()[0].capture, message);
}

#[test]
fn what_nobody_repeats_is_committed_until_it_is_stored() {
    let mut bench = opened(&options("a_table_with_a_result_a_row"));
    bench.disk = Disk::Fails;
    bench.receive(b"ID\tTest\tResult\tUnit\tRange\tWhen\tDevice\nS-1\tTSH\t1\t\t\t\t\n\x04");
    bench.wait(Duration::from_secs(5));
    assert!(bench.stored().is_empty());
    bench.disk = Disk::Good;
    assert!(bench.wait(Duration::from_secs(2)).is_empty());
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
}

#[test]
fn silence_ends_what_has_no_other_end_and_breaks_off_what_has_one() {
    let mut bench = opened(&options("a_printout_that_silence_ends"));
    bench.receive(b"ID: S-1\r\n GLU  neg\r\n");
    bench.wait(Duration::from_millis(1999));
    bench.receive(b" PH   6.5\r\n");
    bench.wait(Duration::from_millis(1999));
    assert!(bench.names().is_empty());
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.names(), ["TEST_FINISHED"]);
    assert_eq!(bench.events()[0].test.as_ref().unwrap().results.len(), 2);
    let mut bench = opened(&options("fixed_columns"));
    bench.receive(b"\x02D1U26");
    bench.wait(Duration::from_millis(29_999));
    assert!(bench.names().is_empty());
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.names(), ["interrupted"]);
}

#[test]
fn a_silence_that_nobody_told_of_ends_a_message_too() {
    let mut bench = opened(&options("a_printout_that_silence_ends"));
    bench.receive(b"ID: S-1\r\n GLU  neg\r\n");
    bench.now.mono = bench.now.mono.after(Duration::from_secs(3));
    bench.receive(b"ID: S-2\r\n GLU  pos\r\n");
    bench.finish();
    assert_eq!(bench.names(), ["TEST_FINISHED", "TEST_FINISHED"]);
}

#[test]
fn an_unplugged_cable_loses_nothing_that_came() {
    let mut bench = opened(&options("bounds_that_are_broken"));
    bench.receive(b"BEGIN\rid S-1\rr GLU 5\rEND");
    bench.give(Input::Closed);
    assert_eq!(bench.names(), ["TEST_FINISHED"], "the last line is whole but for its end");
    let mut bench = opened(&options("bounds_that_are_broken"));
    bench.receive(b"BEGIN\rid S-1\rr GLU 5\r");
    bench.give(Input::Closed);
    assert_eq!(bench.names(), ["interrupted"]);
}

#[test]
fn a_message_over_the_limit_is_refused_in_the_protocol_and_the_next_one_is_good() {
    let bounded = DriverOptions { message_bytes_max: 64, frame_bytes_max: 32, ..options("several_tests_in_a_message") };
    let mut bench = opened(&bounded);
    assert_eq!(bench.receive(&checked(&format!("#S-1\r{}\r", "glu=5.5 x\r".repeat(20)))), [NAK]);
    assert_eq!(bench.receive(&checked("#S-2\rglu=5.5 x\r")), [ACK]);
    assert_eq!(bench.names(), ["too_long", "TEST_FINISHED"]);
    assert!(bench.stored()[0].capture.len() <= 32);
}

#[test]
fn emerald_is_led_through_its_handshake() {
    let mut bench = opened(&brought_along("abbott-cell-dyn-emerald-22"));
    assert_eq!(bench.receive(b"CONNECT;250101-000001;9\r"), b"ACK_CONNECT;9\r");
    assert_eq!(bench.receive(b"EMD22AL;1;250101-000001;OP\rRESULT_READY;52\r"), b"ACK_RESULT_READY\r");
    let text = "EMD22AL;1;250101-000001;OP\rRESULT\rSID;S-1\rWBC;6.9;;H;3;4;10;11\r";
    let crc = |text: &str| {
        text.bytes().fold(0xffff_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 })
        })
    };
    assert_eq!(bench.receive(format!("{text}END_RESULT;{}\r", crc(text)).as_bytes()), b"ACK_RESULT;OK\r");
    assert_eq!(bench.receive(format!("{text}END_RESULT;1\r").as_bytes()), b"ACK_RESULT;CRC_ERROR\r");
    assert_eq!(bench.receive(b"DISCONNECT;250101-000001\r"), b"");
    bench.finish();
    assert_eq!(bench.names(), ["TEST_FINISHED", "checksum"]);
}

#[test]
fn fixed_columns_of_the_brought_along_profiles_fall_where_they_should() {
    let run = |name: &str, bytes: &str| {
        let mut bench = opened(&brought_along(name));
        bench.receive(bytes.as_bytes());
        bench.finish();
        let events = bench.events();
        assert_eq!(events.len(), 1, "{name}: {:?}", bench.names());
        let test = events[0].test.clone().unwrap();
        let results = test
            .results
            .iter()
            .map(|result| format!("{}={}{}", result.code, result.value.expose(), result.flags.join("+")));
        (test.sample_id.unwrap().expose().to_owned(), results.collect::<Vec<_>>(), test.finished_at)
    };
    let counts = "005710450001321039600088000293003330025010350000800005700000200000400033000420001230009800023400";
    let kx = format!("\x02D1U2603040{:>12}0000000{}\x03", "S-77", &counts[..90]);
    for name in ["sysmex-kx-21n", "sysmex-xp-300"] {
        let (sample, results, at) = run(name, &kx);
        assert_eq!((sample.as_str(), results.len(), at), ("S-77", 18, None), "{name}");
        assert_eq!(results[..4], ["WBC=5.7H", "RBC=4.50", "HGB=13.2H", "HCT=39.6"]);
    }
    let bc = "\x02A000003070030420261407012300410008007433306560206451420340068202211424310250082121205\x1a";
    let (sample, results, at) = run("mindray-bc-2800", bc);
    assert_eq!((sample.as_str(), results.len(), at.as_deref()), ("00000307", 18, Some("2026-03-04T14:07:00")));
    assert_eq!(results[0], "WBC=12.3");
    assert_eq!(results[7..10], ["RBC=6.45", "HGB=142", "MCHC=0340"]);
    assert_eq!(results[14..], ["PLT=0250", "MPV=8.2", "PDW=12.1", "PCT=0.205"]);
    let micros =
        "\x02RESULT\rq 04/03/26 14h07mn09s\ru S-78\r!  06.7  \r2  4.51  L\r3  13.2  \r@   150  l\rW 1 2 3\r\x03";
    let (sample, results, at) = run("horiba-abx-micros-60", micros);
    assert_eq!((sample.as_str(), at.as_deref()), ("S-78", Some("2026-03-04T14:07:09")));
    assert_eq!(results, ["!=06.7", "2=4.51L", "3=13.2", "@=150l"]);
    let spotchem =
        "\x0226/03/04 14:07 ID# S-79   [Serum] Na       140  mmol/L K        4.1  mmol/L Cl       102  mmol/L   \x03";
    let (sample, results, at) = run("arkray-spotchem-el", spotchem);
    assert_eq!((sample.as_str(), at.as_deref()), ("S-79", Some("2026-03-04T14:07:00")));
    assert_eq!(results, ["Na=140", "K=4.1", "Cl=102"]);
}

#[test]
fn records_between_soh_and_eot_get_one_answer() {
    let options = DriverOptions { framing: Framing::Soh, ..DriverOptions::default() };
    let mut bench = Bench::open("astm", &options, Resume::default());
    let message = b"\x01H|\\^&\rO|1|S-1\rR|1|^^^pH|7.4\rL|1|N\r\x04";
    assert!(bench.receive(&message[..20]).is_empty());
    assert_eq!(bench.receive(&message[20..]), [ACK]);
    assert!(matches!(bench.steps[..], [Step::Stored(_), Step::Sent(_)]));
    bench.disk = Disk::Fails;
    assert_eq!(bench.receive(message), [NAK]);
    bench.disk = Disk::Good;
    assert!(bench.receive(&message[..20]).is_empty());
    assert_eq!(bench.receive(message), [ACK], "a message that begins anew breaks the last one off");
    assert_eq!(bench.names(), ["TEST_FINISHED", "interrupted", "TEST_FINISHED"]);
    bench.receive(&message[..30]);
    assert!(bench.wait(Duration::from_secs(30)).is_empty());
    assert_eq!(bench.names()[3..], ["interrupted"]);
    assert_eq!(bench.events()[3].partial.len(), 1, "what was whole of it is told");
}

#[test]
fn frames_where_the_settings_say_that_there_are_none_are_told_with_what_to_write() {
    for (framing, lacking) in [(Framing::Soh, "the SOH that"), (Framing::None, "the H record that")] {
        let mut bench = Bench::open("astm", &DriverOptions { framing, ..DriverOptions::default() }, Resume::default());
        let result = format!("R|1|^^^GLU|{}", "5".repeat(60));
        bench.receive(&transmission(&["H|\\^&", "P|1", "O|1|S-1", &result, "L|1|N"]));
        bench.give(Input::Closed);
        let events = bench.events();
        let reason = &events[0].rejection.as_ref().unwrap().reason;
        assert!(reason.contains(lacking) && reason.contains("remove `framing:`"), "{reason}");
        assert!(!reason.contains("ENQ"), "{reason}");
    }
}
