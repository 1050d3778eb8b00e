//! The eighteen transmissions, with what must be answered to each part and what must be stored. Frames are made here, without
//! the code under test; every value is invented.

pub const ENQ: u8 = 0x05;
pub const EOT: u8 = 0x04;
pub const ACK: u8 = 0x06;
pub const NAK: u8 = 0x15;

/// A part of a transmission, and the answer that the sender waits for before the next.
pub struct Part {
    pub bytes: Vec<u8>,
    pub answer: Option<u8>,
}

/// One transmission.
pub struct Case {
    pub name: &'static str,
    pub parts: Vec<Part>,
    /// What is stored, in order: `sample:results`, or the code of a rejection.
    pub stored: Vec<String>,
    /// Silence of this many seconds belongs to it.
    pub silent_s: u64,
}

/// Its bytes: STX, number, text, ETX or ETB, sum, CR LF.
fn frame(number: usize, text: &[u8], last: bool) -> Vec<u8> {
    let mut body = vec![b'0' + (number % 8) as u8];
    body.extend_from_slice(text);
    body.push(if last { 0x03 } else { 0x17 });
    let sum = body.iter().fold(0_u32, |sum, byte| sum + u32::from(*byte)) % 256;
    [vec![0x02], body, format!("{sum:02X}\r\n").into_bytes()].concat()
}

fn records(sample: &str, results: usize) -> Vec<Vec<u8>> {
    let mut records = vec![
        b"H|\\^&|||BENCH 7^^A7001|||||||P|LIS2-A2|20260304050607\r".to_vec(),
        b"P|1\r".to_vec(),
        format!("O|1|{sample}||^^^ALL|R\r").into_bytes(),
    ];
    for number in 1..=results {
        records.push(format!("R|{number}|^^^T{number}|{number}.5|mmol/L|1^90|N||F||||20260304050500\r").into_bytes());
    }
    records.push(b"L|1|N\r".to_vec());
    records
}

/// A transmission that is being written down.
struct Script {
    parts: Vec<Part>,
    number: usize,
}

impl Script {
    fn begin() -> Script {
        let mut script = Script { parts: Vec::new(), number: 0 };
        script.say(vec![ENQ], Some(ACK));
        script
    }

    fn say(&mut self, bytes: Vec<u8>, answer: Option<u8>) {
        self.parts.push(Part { bytes, answer });
    }

    /// The next frame, taken.
    fn frame(&mut self, text: &[u8], last: bool) {
        let bytes = self.next(text, last);
        self.say(bytes, Some(ACK));
    }

    fn next(&mut self, text: &[u8], last: bool) -> Vec<u8> {
        self.number += 1;
        frame(self.number, text, last)
    }

    fn frames(&mut self, records: &[Vec<u8>]) {
        records.iter().for_each(|record| self.frame(record, true));
    }

    fn end(mut self, name: &'static str, stored: &[String]) -> Case {
        self.say(vec![EOT], None);
        Case { name, parts: self.parts, stored: stored.to_vec(), silent_s: 0 }
    }
}

fn usual(name: &'static str, sample: &str, script: impl FnOnce(&mut Script, &[Vec<u8>])) -> Case {
    let mut session = Script::begin();
    script(&mut session, &records(sample, 1));
    session.end(name, &[format!("{sample}:1")])
}

/// All of them. `lane` makes the samples' ids those of one line.
pub fn cases(lane: &str) -> Vec<Case> {
    let id = |number: usize| format!("RC{number}-{lane}");
    let mut cases = vec![
        usual("a small session", &id(1), |session, records| session.frames(records)),
        {
            let mut session = Script::begin();
            session.frames(&records(&id(2), 24));
            session.end("28 frames, one record each", &[format!("{}:24", id(2))])
        },
        usual("every record in its own ETB frame", &id(3), |session, records| {
            let (last, before) = records.split_last().expect("an L");
            before.iter().for_each(|record| session.frame(record, false));
            session.frame(last, true);
        }),
        {
            let text = records(&id(4), 50).concat();
            assert!((2_600..4_000).contains(&text.len()), "{} bytes", text.len());
            let mut session = Script::begin();
            session.frame(&text, true);
            session.end("one large frame", &[format!("{}:50", id(4))])
        },
        cut_mid_field(&id(5)),
        usual("a frame repeated after a lost ACK", &id(6), |session, records| {
            for record in records {
                let frame = session.next(record, true);
                session.say(frame.clone(), Some(ACK));
                session.say(frame, Some(ACK));
            }
        }),
        usual("a bad checksum, then the frame again", &id(7), |session, records| damaged(session, records, true)),
        usual("a corrupt ETB frame", &id(8), |session, records| damaged(session, records, false)),
        usual("a skipped frame number", &id(9), |session, records| {
            session.frames(&records[..2]);
            session.say(frame(4, &records[2], true), Some(NAK));
            session.frames(&records[2..]);
        }),
        usual("a lower-case checksum", &id(10), |session, records| {
            for record in records {
                let mut bytes = session.next(record, true);
                let sum = bytes.len() - 4;
                bytes[sum..].make_ascii_lowercase();
                session.say(bytes, Some(ACK));
            }
        }),
        usual("no CR LF after the checksum", &id(11), |session, records| {
            for record in records {
                let mut bytes = session.next(record, true);
                bytes.truncate(bytes.len() - 2);
                session.say(bytes, Some(ACK));
            }
        }),
        {
            let (first, second) = (format!("{}A", id(12)), format!("{}B", id(12)));
            let mut session = Script::begin();
            session.frames(&records(&first, 1));
            session.say(vec![EOT, ENQ], Some(ACK));
            session.number = 0;
            session.frames(&records(&second, 2));
            session.end("EOT and the next ENQ in one read", &[format!("{first}:1"), format!("{second}:2")])
        },
        {
            let mut session = Script::begin();
            session.frames(&records(&id(13), 1)[..2]);
            session.say(vec![ENQ], Some(ACK));
            session.number = 0;
            session.frames(&records(&id(13), 1));
            session.end("ENQ inside a session", &["interrupted".to_owned(), format!("{}:1", id(13))])
        },
        usual("noise before STX", &id(14), |session, records| {
            for record in records {
                let frame = session.next(record, true);
                session.say([b"\x00\xff~".to_vec(), frame].concat(), Some(ACK));
            }
        }),
        usual("LF in the text that is not in the sum", &id(15), |session, records| {
            for record in records {
                let mut bytes = session.next(record, true);
                let end = bytes.len() - 5;
                bytes.insert(end, b'\n');
                session.say(bytes, Some(ACK));
            }
        }),
        {
            let (first, second) = (format!("{}A", id(16)), format!("{}B", id(16)));
            let mut session = Script::begin();
            session.frames(&records(&first, 1));
            session.frames(&records(&second, 2));
            session.end("two messages in a session", &[format!("{first}:1"), format!("{second}:2")])
        },
        usual("Latin-1", &id(17), |session, records| {
            for record in records {
                let text: Vec<u8> = record.iter().map(|byte| if *byte == b'm' { 0xb5 } else { *byte }).collect();
                session.frame(&text, true);
            }
        }),
    ];
    let mut endless = Script::begin();
    endless.frames(&records(&id(18), 1)[..4]);
    let stored = vec!["interrupted".to_owned()];
    cases.push(Case { name: "a session that never ends", parts: endless.parts, stored, silent_s: 30 });
    cases
}

/// 154 frames whose texts are cut anywhere, so that some cuts fall into a field.
fn cut_mid_field(sample: &str) -> Case {
    let mut text = records(sample, 1);
    let image = "Q".repeat(153 * 240 - text.concat().len() + 100);
    text.insert(4, format!("M|1|IMG|{image}\r").into_bytes());
    let text = text.concat();
    let mut session = Script::begin();
    let parts: Vec<&[u8]> = text.chunks(240).collect();
    assert_eq!(parts.len(), 154);
    for (place, part) in parts.iter().enumerate() {
        session.frame(part, place + 1 == parts.len());
    }
    session.end("154 ETB frames cut in fields", &[format!("{sample}:1")])
}

/// Each frame comes damaged first.
fn damaged(session: &mut Script, records: &[Vec<u8>], etx: bool) {
    for (place, record) in records.iter().enumerate() {
        let good = session.next(record, etx || place + 1 == records.len());
        let mut bad = good.clone();
        if etx {
            let sum = bad.len() - 4;
            bad[sum] = if bad[sum] == b'0' { b'1' } else { b'0' };
        } else {
            bad[3] ^= 0x01;
        }
        session.say(bad, Some(NAK));
        session.say(good, Some(ACK));
    }
}
