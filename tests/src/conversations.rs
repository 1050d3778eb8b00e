//! A conversation that each driver understands, whole: what the tests of any bytes cut, damage and mix.

use gateway_core::session::{DriverOptions, Framing};
use gateway_daemon::configuration::profile;
use gateway_daemon::simulated::astm::frame;
use std::path::Path;

const ENQ: u8 = 0x05;
const EOT: u8 = 0x04;

/// A driver with its options, and a stream that it understands.
pub struct Conversation {
    pub driver: &'static str,
    pub options: DriverOptions,
    pub bytes: Vec<u8>,
}

impl Conversation {
    /// The stream, and the fixtures of its driver.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/analyzers").join(self.driver);
        let cases = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let inputs = cases.flat_map(|case| ["input.bin", "input.astm"].map(|name| case.path().join(name)));
        let fixtures = inputs.filter_map(|input| std::fs::read(input).ok());
        [self.bytes.clone()].into_iter().chain(fixtures).collect()
    }
}

/// A device that greets, has one to tell, and tells another later, between VT and FS CR.
const POCT1A: &[u8] = b"<?xml version=\"1.0\"?><HEL.R01><HDR><HDR.control_id V=\"1\"/></HDR><DEV><DEV.serial_id V=\"B-1\"/><DSC>\
<DSC.directives_supported_cd V=\"START_CONTINUOUS\"/></DSC></DEV></HEL.R01><!-- > --><DST.R01><HDR><HDR.control_id V='2'/></HDR>\
<DST><DST.new_observations_qty V='1'/></DST></DST.R01>\r\n<OBS.R01><HDR><HDR.control_id V=\"3\"/></HDR><SVC>\
<SVC.observation_dttm V=\"2026-01-02T07:58:12\"/><PT><PT.patient_id V=\"P&amp;1\"/><OBS><OBS.observation_id V=\"GLU\"/>\
<OBS.value V=\"5.4\" U=\"mmol/L\"/></OBS></PT></SVC></OBS.R01><EOT.R01><HDR><HDR.control_id V=\"4\"/></HDR></EOT.R01>\
<ACK.R01><ACK><ACK.type_cd V=\"AA\"/></ACK></ACK.R01>\x0b<OBS.R02><HDR><HDR.control_id V=\"5\"/></HDR><SVC><SVC.role_cd V=\"LQC\"/>\
<SVC.observation_dttm V=\"2026-01-02T08:58:12\"/><CTC><CTC.lot_number V=\"7\"/><OBS><OBS.observation_id V=\"GLU\"/>\
<OBS.value V=\"\"><![CDATA[5.1]]></OBS.value></OBS></CTC></SVC></OBS.R02>\x1c\r";

/// One for each driver at least, and for each of its framings and layouts.
pub fn conversations() -> Vec<Conversation> {
    let message = "H|\\^&|||Model^^SN1|||||||P|1|20260102030405\rP|1||PID\rO|1|A 1||^^^GLU\rR|1|^^^GLU|5.5|mmol/L\r\
                   C|1|I|note\rO|2|A 2||^^^CRE\rR|1|^^^CRE|71|umol/L\rL|1|N\r";
    let mut astm: Vec<u8> = message.split_inclusive('\r').zip(1..).fold(vec![ENQ], |mut bytes, (record, number)| {
        bytes.extend(frame(number % 8, record.as_bytes(), 0x03));
        bytes
    });
    astm.push(EOT);
    astm.push(ENQ);
    for (place, part) in message.as_bytes().chunks(50).enumerate() {
        let last = (place + 1) * 50 >= message.len();
        astm.extend(frame((place as u8 + 1) % 8, part, if last { 0x03 } else { 0x17 }));
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
    let soh = [b"\x01", message.as_bytes(), b"\x04"].concat();
    let body = b"at 20260304 05:06:07\r#S-1\rglu=5.5 mmol/L\r#S-2\rglu=6.1 mmol/L H\r\x03";
    let sum = body.iter().fold(0_u8, |sum, byte| sum ^ byte);
    let text = [b"\x05\x02", &body[..], format!("{sum:02X}\r\n\x04").as_bytes()].concat();
    let none = DriverOptions { framing: Framing::None, ..DriverOptions::default() };
    let all = vec![
        ("astm", DriverOptions::default(), astm),
        ("astm", none, unframed),
        ("test-v0", DriverOptions::default(), lines.as_bytes().to_vec()),
        ("hl7", DriverOptions::default(), hl7.as_bytes().to_vec()),
        ("scanner", DriverOptions::default(), b"S-1001\r\n]C1S-1002\r\nS-1003\n".to_vec()),
        ("poct1a", DriverOptions::default(), POCT1A.to_vec()),
        ("exec", DriverOptions::default(), b"S-1101;GLU;5.5\nS-1102;CRE;71\n".to_vec()),
        ("astm", DriverOptions { framing: Framing::Soh, ..DriverOptions::default() }, soh),
        ("text", of_text("several_tests_in_a_message"), text),
        (
            "text",
            of_text("fixed_columns"),
            b"\x02D1U260304     S-1005710450002801\x03\r\n\x02D1U260304     S-2\
            005710450002801\x03"
                .to_vec(),
        ),
    ];
    let conversation = |(driver, options, bytes)| Conversation { driver, options, bytes };
    all.into_iter().map(conversation).collect()
}

/// The options of a fixture's profile.
fn of_text(case: &str) -> DriverOptions {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/analyzers/text").join(case);
    profile("profile", Some(folder)).expect("a good profile").options
}
