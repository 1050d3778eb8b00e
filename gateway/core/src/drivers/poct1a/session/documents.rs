//! What each of the device's documents means for the conversation.

use super::super::message::{self, Around};
use super::super::tree::{self, Element, Refused};
use super::super::{device, device::Hello};
use super::{After, Conversation};
use crate::event::{Device, EventKind, EventName, Personal, Query};
use crate::framing::xml::{Piece, Roots};
use crate::session::Action;
use crate::time::Now;

/// What an answer says to a document that cannot be read.
const UNREADABLE: &str = "could not be read";

/// Messages' roots are three capital letters, `.R` and two digits; a maker's own have capitals and a dot (`NOVA.REAG`).
/// Everything within them has small letters behind its dot, or no dot.
pub(super) const ROOTS: Roots = Roots { is_possible: is_makers_message, is_certain: is_message };

fn is_makers_message(name: &[u8]) -> bool {
    let is_good = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
    name.contains(&b'.') && name.iter().all(is_good)
}

fn is_message(name: &[u8]) -> bool {
    let [a, b, c, b'.', b'R', d, e] = name else { return false };
    [a, b, c].iter().all(|letter| letter.is_ascii_uppercase()) && d.is_ascii_digit() && e.is_ascii_digit()
}

impl Conversation {
    pub(super) fn take(&mut self, now: Now, piece: Piece, actions: &mut Vec<Action>) {
        if let Piece::Noise(bytes) = piece {
            self.stray.hear(&bytes);
            // Who never falls silent is told about all the same.
            if self.stray.is_full() {
                self.report_stray(now, actions);
            }
            return;
        }
        // What came before it is stored before it.
        if self.report_stray(now, actions) {
            self.waiting = Some(piece);
            return;
        }
        match piece {
            Piece::Document { bytes, enveloped } => {
                self.enveloped = enveloped;
                match tree::read(&bytes, self.options.reading.encoding) {
                    Ok(root) => self.document(now, &root, bytes, actions),
                    Err(refused) => self.refuse(&refused, bytes, actions),
                }
            }
            Piece::Broken(bytes) => self.broken(bytes, false, actions),
            Piece::TooLong { head, bytes } => {
                let limit = self.options.message_bytes_max;
                let reason = format!("a message of {bytes} bytes is longer than message_bytes_max ({limit})");
                self.refuse(&Refused::new("too_long", reason), head, actions);
            }
            Piece::Noise(_) => {}
        }
    }

    /// Stores a document as rejected, and says AE if its control id can be found.
    fn refuse(&mut self, refused: &Refused, bytes: Vec<u8>, actions: &mut Vec<Action>) {
        let after = match tree::control_id_in(&bytes) {
            Some(control_id) => After::Answer { control_id, refused: UNREADABLE },
            None => After::Nothing,
        };
        let event = EventKind::rejected(refused.code, refused.reason.clone(), bytes.len());
        self.commit(bytes, vec![EventKind { device: self.device(), ..event }], after, actions);
    }

    /// A document that was begun and not ended. `may_answer`: the device may still be waiting.
    pub(super) fn broken(&mut self, bytes: Vec<u8>, may_answer: bool, actions: &mut Vec<Action>) {
        let refused = match tree::read(&bytes, self.options.reading.encoding) {
            Err(refused) if refused.code == "dtd" || refused.code == "too_deep" => refused,
            _ => Refused::new("interrupted", "a document was begun and never ended"),
        };
        if may_answer {
            return self.refuse(&refused, bytes, actions);
        }
        let event = EventKind::rejected(refused.code, refused.reason, bytes.len());
        self.commit(bytes, vec![EventKind { device: self.device(), ..event }], After::Nothing, actions);
    }

    fn device(&self) -> Option<Device> {
        self.hello.as_ref().map(|hello| hello.device.clone())
    }

    fn document(&mut self, now: Now, root: &Element, bytes: Vec<u8>, actions: &mut Vec<Action>) {
        self.stray.good_document();
        let control_id = root.find("HDR.control_id").unwrap_or_default().to_owned();
        let taken = |control_id| After::Answer { control_id, refused: "" };
        match root.name.as_str() {
            "HEL.R01" => {
                self.begin();
                self.hello = Some(Hello::read(root, bytes.clone(), &self.options.reading));
                self.commit(bytes, Vec::new(), taken(control_id), actions);
            }
            "DST.R01" => {
                self.acknowledge(now, true, &control_id, "", actions);
                self.status(now, root);
            }
            "OBS.R01" | "OBS.R02" => {
                self.heard_of(now);
                self.facts(root, bytes, control_id, now, actions);
            }
            "EVS.R01" => {
                self.heard_of(now);
                self.facts(root, bytes, control_id, now, actions);
            }
            "EOT.R01" => {
                self.topic_ended();
                self.acknowledge(now, true, &control_id, "", actions);
            }
            "ACK.R01" => {
                let says = |names: [&str; 2]| names.into_iter().find_map(|name| root.find(name));
                let id = says(["ACK.ack_control_id", "ACK.control_id"]).unwrap_or_default();
                let kind = says(["ACK.type_cd", "ACK.type_id"]).unwrap_or("AA");
                self.acknowledged(now, kind == "AA", id);
            }
            "ESC.R01" => self.escaped(now),
            "KPA.R01" => self.acknowledge(now, true, &control_id, "", actions),
            "END.R01" => {
                self.begin();
                self.acknowledge(now, true, &control_id, "", actions);
            }
            "REQ.R01" => self.asked(root, bytes, control_id, actions),
            _ => self.unknown(root, bytes, control_id, actions),
        }
    }

    /// A conversation begins, or has ended.
    fn begin(&mut self) {
        self.continuous = false;
        self.agenda.clear();
        self.outstanding = None;
        self.unknown.clear();
        self.hello = None;
    }

    /// What the device holds for us. In continuous mode it sends that by itself.
    fn status(&mut self, now: Now, root: &Element) {
        if self.continuous {
            return;
        }
        let holds =
            |name: &str| root.find(name).and_then(|text| text.parse::<u64>().ok()).is_some_and(|count| count > 0);
        let (observations, events) = (holds("DST.new_observations_qty"), holds("DST.new_events_qty"));
        let stamps = ["DST.status_dttm", "HDR.creation_dttm"].map(|name| root.find(name).unwrap_or_default());
        self.plan(now, observations, events, &stamps);
    }

    fn facts(&mut self, root: &Element, bytes: Vec<u8>, control_id: String, now: Now, actions: &mut Vec<Action>) {
        let own = device::device(root, &self.options.reading);
        let known = self.device().or(own);
        let around = Around { device: known.as_ref(), reading: &self.options.reading, now };
        let facts = match root.name.as_str() {
            "EVS.R01" => Ok(message::device_events(root, &around)),
            _ => message::observations(root, &around),
        };
        match facts {
            Ok(events) => self.store(bytes, events, After::Answer { control_id, refused: "" }, actions),
            Err(refused) => self.refuse(&refused, bytes, actions),
        }
    }

    /// Commits a document with the HEL.R01 of its conversation before it.
    fn store(&mut self, bytes: Vec<u8>, events: Vec<EventKind>, after: After, actions: &mut Vec<Action>) {
        let capture = match &self.hello {
            Some(hello) => [hello.bytes.as_slice(), &bytes].concat(),
            None => bytes,
        };
        self.commit(capture, events, after, actions);
    }

    /// The device asks us for something: a patient by an id, and nothing else that we have.
    fn asked(&mut self, root: &Element, bytes: Vec<u8>, control_id: String, actions: &mut Vec<Action>) {
        let id = root.find("PT.patient_id").map(Personal::new);
        let (Some("RPAT"), Some(id)) = (root.find("REQ.request_cd"), id) else {
            return self.unknown(root, bytes, control_id, actions);
        };
        let query = Query { sample_ids: vec![id.clone()], status: "O".to_owned() };
        let event = EventKind::bare(EventName::QueryReceived);
        let event = EventKind { device: self.device(), query: Some(query), ..event };
        self.store(bytes, vec![event], After::Patient { control_id, id }, actions);
    }

    /// A maker's own message: kept, told once a conversation, and acknowledged, since it would be the same another time.
    fn unknown(&mut self, root: &Element, bytes: Vec<u8>, control_id: String, actions: &mut Vec<Action>) {
        const KINDS_MAX: usize = 100;
        let news = self.unknown.len() < KINDS_MAX && self.unknown.insert(root.name.clone());
        let reason = "a kind of message that this gateway does not know: a maker's own, or another protocol in XML";
        let event = EventKind::rejected("unknown_message", reason, bytes.len());
        let event = EventKind { device: self.device(), ..event };
        let events = if news { vec![event] } else { Vec::new() };
        let after = match control_id.is_empty() {
            true => After::Nothing,
            false => After::Answer { control_id, refused: "" },
        };
        self.store(bytes, events, after, actions);
    }
}
