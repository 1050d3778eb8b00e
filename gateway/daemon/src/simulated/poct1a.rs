//! A bedside device that speaks POCT1-A: the device's side of the conversation, as a machine without hands.
//!
//! Inputs go in, actions come out, as in [`super::astm`]; `wire::converse` performs them on any stream. It greets, says how
//! much it holds, sends that when it is asked for, and goes over to continuous mode if it is told to. One message is
//! outstanding at a time; without an answer within its timeout, or after AE, it sends the message again. The documents of
//! the other side are read here by searching their text, so that no reader is shared with the gateway.

use super::astm::{Faults, Message, Note, PeerAction, PeerInput, sample_key};
use super::seeded::Seeded;
use super::{Pace, Peer, Told};
use gateway_core::time::{Mono, Timestamp};
use std::collections::VecDeque;
use std::time::Duration;

/// The device's own time is in this zone.
const OFFSET: &str = "+01:00";
/// What it says is its longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 16_000;

/// What the device waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// Nobody has spoken yet.
    Nothing,
    Greeted,
    Told,
    /// That it is asked for something, or told to go on by itself.
    Orders,
    Stored,
    Ended,
}

/// The machine.
pub struct Device {
    serial: String,
    timeout: Duration,
    faults: Faults,
    chance: Seeded,
    queue: VecDeque<Message>,
    awaits: Awaits,
    /// The answer is due.
    due: Option<Mono>,
    control_id: u64,
    /// The root's name and the body of the message that waits for its answer.
    outstanding: Option<(&'static str, String)>,
    /// Its control id.
    outstanding_id: u64,
    /// Sending what it holds, because it was asked to.
    asked: bool,
    continuous: bool,
    /// Whether the first observation of the queue was sent before.
    again: bool,
    held: Vec<u8>,
    /// Patients of the list that it was given last.
    patients: Vec<String>,
    /// The moment that its clock was set to.
    clock_set_to: Option<String>,
    told: Told,
}

impl Device {
    /// A device with nothing to say yet, and how long it waits for an answer. Equal seeds and equal answers give equal bytes.
    pub fn new(serial: &str, timeout: Duration, faults: Faults, seed: u64) -> Device {
        Device {
            serial: serial.to_owned(),
            timeout,
            faults,
            chance: Seeded::new(seed),
            queue: VecDeque::new(),
            awaits: Awaits::Nothing,
            due: None,
            control_id: 1000,
            outstanding: None,
            outstanding_id: 0,
            asked: false,
            continuous: false,
            again: false,
            held: Vec::new(),
            patients: Vec::new(),
            clock_set_to: None,
            told: Told::default(),
        }
    }

    /// Whether it was told to send by itself what comes.
    pub fn is_continuous(&self) -> bool {
        self.continuous
    }

    /// The ids of the patients that it was given.
    pub fn patients(&self) -> &[String] {
        &self.patients
    }

    /// The moment that its clock was set to.
    pub fn clock_set_to(&self) -> Option<&str> {
        self.clock_set_to.as_deref()
    }

    fn say(&mut self, now: Mono, root: &'static str, body: String, actions: &mut Vec<PeerAction>) {
        self.outstanding = Some((root, body));
        self.send_outstanding(now, actions);
    }

    fn send_outstanding(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        let Some((root, body)) = self.outstanding.clone() else { return };
        self.send(root, &body, actions);
        self.outstanding_id = self.control_id;
        self.due = Some(now.after(self.timeout));
    }

    fn send(&mut self, root: &str, body: &str, actions: &mut Vec<PeerAction>) {
        self.control_id += 1;
        let bytes = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><{root}><HDR><HDR.message_type V=\"{root}\" /><HDR.control_id \
             V=\"{}\" /><HDR.version_id V=\"POCT1\" /><HDR.creation_dttm V=\"2026-01-01T00:00:00{OFFSET}\" /></HDR>{body}</{root}>",
            self.control_id
        );
        let slow = self.chance.chance(self.faults.slow);
        let pace = if slow { Pace { piece: 13, gap: Duration::from_millis(2) } } else { Pace::AT_ONCE };
        actions.push(PeerAction::Send { bytes: bytes.into_bytes(), pace });
    }

    fn greet(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        self.awaits = Awaits::Greeted;
        let body = format!(
            "<DEV><DEV.device_id V=\"SIM^Bedside^{0}\" /><DEV.vendor_id V=\"SIM\" /><DEV.model_id V=\"Bedside\" />\
             <DEV.serial_id V=\"{0}\" /><DCP><DCP.application_timeout V=\"{1}\" /></DCP><DSC><DSC.connection_profile_cd V=\"SA\" />\
             <DSC.topics_supported_cd V=\"DTV\" /><DSC.topics_supported_cd V=\"PT_LST\" />\
             <DSC.directives_supported_cd V=\"SET_TIME\" /><DSC.directives_supported_cd V=\"START_CONTINUOUS\" />\
             <DSC.max_message_sz V=\"{MESSAGE_BYTES_MAX}\" /></DSC></DEV>",
            self.serial,
            self.timeout.as_secs().max(1)
        );
        self.say(now, "HEL.R01", body, actions);
    }

    /// The next observation, or the end of those that were asked for.
    fn next(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        self.awaits = Awaits::Orders;
        self.due = None;
        if !self.asked && !self.continuous {
            return;
        }
        match self.queue.front() {
            Some(message) => {
                let service = String::from_utf8_lossy(&message.records.concat()).into_owned();
                let service = if self.again { service.replace("V=\"NEW\"", "V=\"RES\"") } else { service };
                self.again = true;
                self.awaits = Awaits::Stored;
                self.say(now, "OBS.R01", service, actions);
            }
            None if self.asked => {
                self.asked = false;
                self.say(now, "EOT.R01", "<EOT><EOT.topic_cd V=\"OBS\" /></EOT>".to_owned(), actions);
            }
            None => {}
        }
    }

    fn heard(&mut self, now: Mono, document: &str, actions: &mut Vec<PeerAction>) {
        let root = root_of(document).unwrap_or_default().to_owned();
        match root.as_str() {
            "ACK.R01" => self.answered(now, document, actions),
            "REQ.R01" if value_of(document, "REQ.request_cd") == Some("ROBS") => {
                self.asked = true;
                self.next(now, actions);
            }
            "REQ.R01" => self.say(now, "EOT.R01", "<EOT><EOT.topic_cd V=\"EVS\" /></EOT>".to_owned(), actions),
            _ => {
                let id = value_of(document, "HDR.control_id").unwrap_or_default().to_owned();
                let body = format!("<ACK><ACK.type_cd V=\"AA\" /><ACK.ack_control_id V=\"{id}\" /></ACK>");
                self.send("ACK.R01", &body, actions);
                self.obey(now, &root, document, actions);
            }
        }
    }

    fn obey(&mut self, now: Mono, root: &str, document: &str, actions: &mut Vec<PeerAction>) {
        match root {
            "DTV.R01" if value_of(document, "DTV.command_cd") == Some("START_CONTINUOUS") => {
                self.continuous = true;
                self.next(now, actions);
            }
            "DTV.R02" => self.clock_set_to = value_of(document, "TM.dttm").map(str::to_owned),
            "PTL.R01" => {
                let ids = document.split("<PT.patient_id").skip(1).filter_map(|tag| value_in(tag));
                self.patients.extend(ids.map(str::to_owned));
            }
            "END.R01" => {
                self.awaits = Awaits::Ended;
                self.due = None;
            }
            _ => {}
        }
    }

    fn answered(&mut self, now: Mono, document: &str, actions: &mut Vec<PeerAction>) {
        let names_it = value_of(document, "ACK.ack_control_id") == Some(self.outstanding_id.to_string().as_str());
        if !names_it || self.outstanding.is_none() {
            return;
        }
        let taken = value_of(document, "ACK.type_cd") == Some("AA");
        if !taken {
            // Again after a while, as if no answer had come.
            actions.push(PeerAction::Note(Note::Refused { frame: 0 }));
            return;
        }
        if self.awaits == Awaits::Stored && self.chance.chance(self.faults.answer_lost) {
            actions.push(PeerAction::Note(Note::AnswerLost { frame: 0 }));
            return;
        }
        self.outstanding = None;
        match self.awaits {
            Awaits::Greeted => {
                self.awaits = Awaits::Told;
                let body = format!(
                    "<DST><DST.status_dttm V=\"2026-01-01T00:00:01{OFFSET}\" /><DST.new_observations_qty V=\"{}\" />\
                     <DST.condition_cd V=\"R\" /></DST>",
                    self.queue.len()
                );
                self.say(now, "DST.R01", body, actions);
            }
            Awaits::Stored => {
                if let Some(message) = self.queue.pop_front() {
                    let results = String::from_utf8_lossy(&message.records.concat()).matches("<OBS>").count();
                    self.told.acknowledged.push(sample_key(&message.id));
                    actions.push(PeerAction::Note(Note::Acknowledged { id: message.id, results }));
                }
                self.again = false;
                self.next(now, actions);
            }
            _ => self.next(now, actions),
        }
    }
}

impl Peer for Device {
    fn told(&self) -> &Told {
        &self.told
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.outstanding.is_none() && (self.continuous || self.awaits == Awaits::Ended)
    }

    fn deadline(&self) -> Option<Mono> {
        self.due
    }

    fn handle(&mut self, now: Mono, input: PeerInput<'_>) -> Vec<PeerAction> {
        let mut actions = Vec::new();
        match input {
            PeerInput::Submit(message) => {
                self.told.sent.push(sample_key(&message.id));
                self.queue.push_back(message);
                if self.continuous && self.outstanding.is_none() {
                    self.next(now, &mut actions);
                }
            }
            PeerInput::Received(bytes) => {
                self.held.extend_from_slice(bytes);
                while let Some(document) = take_document(&mut self.held) {
                    self.heard(now, &document, &mut actions);
                }
            }
            PeerInput::DeadlineReached => {
                if self.due.is_some_and(|due| due <= now) {
                    self.told.retransmitted += 1;
                    if let Some((_, body)) = &mut self.outstanding {
                        *body = body.replace("V=\"NEW\"", "V=\"RES\"");
                    }
                    self.send_outstanding(now, &mut actions);
                }
            }
            PeerInput::Reconnected => {
                self.held.clear();
                (self.awaits, self.outstanding, self.asked, self.continuous) = (Awaits::Nothing, None, false, false);
            }
        }
        if self.awaits == Awaits::Nothing {
            self.greet(now, &mut actions);
        }
        actions
    }
}

/// One glucose result of that sample, as an observation.
pub fn glucose(id: &str, patient: &str, number: u32, at: Timestamp) -> Message {
    let moment: String = at.to_string().chars().take(19).collect();
    let value = 4.0 + f64::from(number % 70) / 10.0;
    let service = format!(
        "<SVC><SVC.role_cd V=\"OBS\" /><SVC.observation_dttm V=\"{moment}{OFFSET}\" /><SVC.reason_cd V=\"NEW\" />\
         <SVC.sequence_nbr V=\"{number}\" /><PT><PT.patient_id V=\"{patient}\" /><OBS><OBS.observation_id V=\"GLU\" />\
         <OBS.value V=\"{value:.1}\" U=\"mmol/L\" /><OBS.method_cd V=\"M\" /><OBS.status_cd V=\"A\" /></OBS></PT>\
         <ORD><ORD.order_id V=\"{id}\" /></ORD></SVC>"
    );
    Message { id: id.to_owned(), records: vec![service.into_bytes()] }
}

/// Takes the first whole document out of what was received.
fn take_document(held: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8_lossy(held).into_owned();
    let closing = format!("</{}>", root_of(&text)?);
    let end = text.find(&closing)? + closing.len();
    held.drain(..end);
    Some(text[..end].to_owned())
}

/// The name of the first tag that is no declaration.
fn root_of(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        if !rest.starts_with('?') {
            return rest.split(['>', ' ', '/']).next().filter(|name| rest.len() > name.len());
        }
    }
}

/// The `V` of the first element of that name.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    value_in(&text[text.find(&format!("<{name} "))?..])
}

fn value_in(tag: &str) -> Option<&str> {
    tag.split_once("V=\"")?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(actions: &[PeerAction]) -> Vec<String> {
        let bytes = |action: &PeerAction| match action {
            PeerAction::Send { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            PeerAction::Note(_) => None,
        };
        actions.iter().filter_map(bytes).collect()
    }

    fn roots(actions: &[PeerAction]) -> Vec<String> {
        sent(actions).iter().filter_map(|text| root_of(text)).map(str::to_owned).collect()
    }

    fn answer(to: &str, kind: &str) -> Vec<u8> {
        let id = value_of(to, "HDR.control_id").expect("a control id");
        format!("<ACK.R01><ACK><ACK.type_cd V=\"{kind}\"/><ACK.ack_control_id V=\"{id}\"/></ACK></ACK.R01>")
            .into_bytes()
    }

    #[test]
    fn a_conversation_goes_from_greeting_to_continuous_mode() {
        let mut device = Device::new("B-1", Duration::from_secs(60), Faults::default(), 1);
        let message = glucose("S-1", "P-1", 7, Timestamp(1_767_340_000_000));
        let mut said = sent(&device.handle(Mono(0), PeerInput::Submit(message)));
        for expected in ["HEL.R01", "DST.R01"] {
            assert_eq!(root_of(&said[0]), Some(expected));
            said = sent(&device.handle(Mono(0), PeerInput::Received(&answer(&said[0], "AA"))));
        }
        assert!(said.is_empty());
        let request = b"<?xml version=\"1.0\"?><REQ.R01><REQ><REQ.request_cd V=\"ROBS\"/></REQ></REQ.R01>";
        said = sent(&device.handle(Mono(0), PeerInput::Received(request)));
        assert_eq!((root_of(&said[0]), value_of(&said[0], "SVC.reason_cd")), (Some("OBS.R01"), Some("NEW")));
        // Refused, and sent again when its time has run out.
        assert!(sent(&device.handle(Mono(0), PeerInput::Received(&answer(&said[0], "AE")))).is_empty());
        let due = device.deadline().expect("an answer is awaited");
        said = sent(&device.handle(due, PeerInput::DeadlineReached));
        assert_eq!((root_of(&said[0]), value_of(&said[0], "SVC.reason_cd")), (Some("OBS.R01"), Some("RES")));
        assert!(device.told().acknowledged.is_empty() && device.told().retransmitted == 1);
        said = sent(&device.handle(due, PeerInput::Received(&answer(&said[0], "AA"))));
        assert_eq!((root_of(&said[0]), device.told().acknowledged.len()), (Some("EOT.R01"), 1));
        assert!(sent(&device.handle(due, PeerInput::Received(&answer(&said[0], "AA")))).is_empty());
        assert!(!device.is_done());
        let go_on = b"<DTV.R01><HDR.control_id V=\"5\"/><DTV.command_cd V=\"START_CONTINUOUS\"/></DTV.R01>";
        assert_eq!(roots(&device.handle(due, PeerInput::Received(go_on))), ["ACK.R01"]);
        assert!(device.is_done() && device.is_continuous());
        let next = glucose("S-2", "P-2", 8, Timestamp(1_767_340_060_000));
        assert_eq!(roots(&device.handle(due, PeerInput::Submit(next))), ["OBS.R01"]);
        assert_eq!(roots(&device.handle(due, PeerInput::Reconnected)), ["HEL.R01"]);
    }
}
