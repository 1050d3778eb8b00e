//! A child process of the driver `exec`, played: lines such as `S-1;GLU;5.5` are tests, any other line is refused, and each
//! is acknowledged once it is stored.

use super::support::{ACK, NAK};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// See the module.
#[derive(Default)]
pub struct Child {
    /// What it has received and not had stored.
    pub buffer: Vec<u8>,
    /// So many of its first bytes are stored as unfinished.
    stored: usize,
    /// How long the message is that waits for its `committed`.
    asked: Option<usize>,
    says: VecDeque<Said>,
}

/// What a child does.
pub enum Said {
    Line(Vec<u8>),
    Ends,
}

impl Child {
    pub fn next(&mut self) -> Option<Said> {
        self.says.pop_front()
    }

    fn say(&mut self, line: &Value) {
        self.says.push_back(Said::Line(format!("{line}\n").into_bytes()));
    }

    /// Hears one line.
    pub fn hear(&mut self, line: &[u8]) {
        let line: Value = serde_json::from_slice(line).expect("one object a line");
        let bytes = |value: &Value| STANDARD.decode(value.as_str().expect("base64")).expect("base64");
        if let Some(opened) = line.get("opened") {
            self.buffer = bytes(&opened["unfinished"]);
            self.stored = opened["stored"].as_u64().expect("a number") as usize;
            self.asked = None;
            self.say(&json!({ "ready": true }));
            self.propose();
        } else if let Some(received) = line.get("received") {
            self.buffer.extend(bytes(received));
            self.propose();
        } else if let Some(committed) = line.get("committed") {
            let Some(length) = self.asked.take() else { return };
            self.buffer.drain(..length);
            self.stored = self.stored.saturating_sub(length);
            let answer = if *committed == true { ACK } else { NAK };
            self.say(&json!({ "send": STANDARD.encode([answer]) }));
            self.propose();
        } else if line.get("closed").is_some() {
            self.says.push_back(Said::Ends);
        }
    }

    fn propose(&mut self) {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n').filter(|_| self.asked.is_none()) else {
            return;
        };
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let event = match text.split(';').collect::<Vec<_>>()[..] {
            [sample, code, value] => {
                let result = json!({ "code": code, "value": value, "unit": "mmol/L" });
                json!({ "event": "TEST_FINISHED", "test": { "sample_id": sample, "results": [result] } })
            }
            _ => json!({ "event": "MESSAGE_REJECTED", "rejection": { "code": "no_test" } }),
        };
        self.asked = Some(end + 1);
        let bytes = (end + 1).saturating_sub(self.stored);
        self.say(&json!({ "commit": { "bytes": bytes, "events": [event], "message_id": text } }));
    }
}
