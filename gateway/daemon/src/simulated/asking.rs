//! An analyzer that asks its host what to do and takes the orders: the sender of [`super::astm`] with the receiving half of an
//! instrument beside it, as a machine without hands. Faults come from a seeded stream.
//!
//! It shares no code with the gateway's driver and notes what a host must never do: speak into its session.

use super::Pace;
use super::astm::{Message, PeerAction, PeerInput, Sender};
use super::seeded::Seeded;
use gateway_core::time::Mono;
use std::collections::VecDeque;
use std::time::Duration;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const EOT: u8 = 0x04;
const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const LF: u8 = 0x0a;
const NAK: u8 = 0x15;

/// A receiver gives a silent sender up after this (LIS01-A2).
const SILENCE: Duration = Duration::from_secs(30);

/// How often what goes wrong with the host's frames, per thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moods {
    /// A call is answered with NAK.
    pub busy: u32,
    /// A good frame is refused.
    pub refuses: u32,
    /// A frame is not heard at all.
    pub deaf: u32,
}

/// The machine.
pub struct Asker {
    sender: Sender,
    waiting: VecDeque<Message>,
    hearing: Option<Hearing>,
    moods: Moods,
    chance: Seeded,
    taken: Vec<Vec<String>>,
    spoken_into: u64,
}

/// A session of the host.
struct Hearing {
    text: Vec<u8>,
    frame: Vec<u8>,
    /// How many frames are taken.
    frames: usize,
    due: Mono,
}

impl Asker {
    /// An analyzer that says what the sender is given, and hears its host in these moods.
    pub fn new(sender: Sender, moods: Moods, seed: u64) -> Asker {
        let (waiting, chance) = (VecDeque::new(), Seeded::new(seed));
        Asker { sender, waiting, hearing: None, moods, chance, taken: Vec::new(), spoken_into: 0 }
    }

    /// The messages of the host that came whole, H to L, each as its records.
    pub fn taken(&self) -> &[Vec<String>] {
        &self.taken
    }

    /// How many bytes the host has said into a session that was not its own.
    pub fn spoken_into(&self) -> u64 {
        self.spoken_into
    }

    /// Whether all that it has to say has been acknowledged.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.sender.is_done()
    }

    /// When `DeadlineReached` is due.
    pub fn deadline(&self) -> Option<Mono> {
        self.hearing.as_ref().map_or_else(|| self.sender.deadline(), |hearing| Some(hearing.due))
    }

    /// Takes one input, gives back what should be done about it.
    pub fn handle(&mut self, now: Mono, input: PeerInput<'_>) -> Vec<PeerAction> {
        let mut actions = Vec::new();
        match input {
            PeerInput::Submit(message) => self.waiting.push_back(message),
            PeerInput::Received(bytes) => bytes.iter().for_each(|byte| self.hear(now, *byte, &mut actions)),
            PeerInput::DeadlineReached => match &self.hearing {
                Some(hearing) if hearing.due <= now => self.hearing = None,
                Some(_) => {}
                None => actions.extend(self.sender.handle(now, PeerInput::DeadlineReached)),
            },
            PeerInput::Reconnected => {
                self.hearing = None;
                actions.extend(self.sender.handle(now, PeerInput::Reconnected));
            }
        }
        if self.hearing.is_none() && !self.sender.is_talking() {
            while let Some(message) = self.waiting.pop_front() {
                actions.extend(self.sender.handle(now, PeerInput::Submit(message)));
            }
        }
        actions
    }

    fn hear(&mut self, now: Mono, byte: u8, actions: &mut Vec<PeerAction>) {
        if let Some(hearing) = &mut self.hearing {
            hearing.due = now.after(SILENCE);
            if let Some(answer) = self.hear_host(byte) {
                actions.push(PeerAction::Send { bytes: vec![answer], pace: Pace::AT_ONCE });
            }
        } else if self.sender.is_talking() {
            let is_answer = matches!(byte, ACK | NAK | EOT) || (byte == ENQ && self.sender.is_calling());
            self.spoken_into += u64::from(!is_answer);
            actions.extend(self.sender.handle(now, PeerInput::Received(&[byte])));
        } else if byte == ENQ {
            let busy = self.chance.chance(self.moods.busy);
            if !busy {
                self.hearing =
                    Some(Hearing { text: Vec::new(), frame: Vec::new(), frames: 0, due: now.after(SILENCE) });
            }
            actions.push(PeerAction::Send { bytes: vec![if busy { NAK } else { ACK }], pace: Pace::AT_ONCE });
        } else {
            // What is left of a transmission that it has given up.
            self.spoken_into += u64::from(!matches!(byte, ACK | NAK | EOT));
        }
    }

    /// One byte of the host's session; what it is answered.
    fn hear_host(&mut self, byte: u8) -> Option<u8> {
        let hearing = self.hearing.as_mut()?;
        match byte {
            EOT => {
                let text = String::from_utf8_lossy(&hearing.text).into_owned();
                let records: Vec<String> = text.split_terminator('\r').map(str::to_owned).collect();
                if records.last().is_some_and(|last| last.starts_with('L')) {
                    self.taken.push(records);
                }
                self.hearing = None;
                None
            }
            STX => {
                hearing.frame = vec![STX];
                None
            }
            LF if hearing.frame.len() >= 7 => {
                let frame = std::mem::take(&mut hearing.frame);
                if self.chance.chance(self.moods.deaf) {
                    return None;
                }
                let refuses = self.chance.chance(self.moods.refuses);
                let hearing = self.hearing.as_mut()?;
                Some(if !refuses && hearing.take(&frame) { ACK } else { NAK })
            }
            _ => {
                hearing.frame.push(byte);
                None
            }
        }
    }
}

impl Hearing {
    /// Takes `STX FN text (ETB|ETX) C1 C2 CR`; whether it is to be acknowledged.
    fn take(&mut self, frame: &[u8]) -> bool {
        let (body, tail) = frame[1..].split_at(frame.len() - 4);
        let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let number = usize::from(body[0].wrapping_sub(b'0'));
        if tail != format!("{sum:02X}\r").as_bytes() {
            return false;
        }
        if number == self.frames % 8 && self.frames > 0 {
            return true;
        }
        let is_next = number == (self.frames + 1) % 8;
        if is_next {
            self.frames += 1;
            let text = &body[1..body.len() - 1];
            self.text.extend_from_slice(text);
            if body.last() == Some(&ETX) && text.last() != Some(&b'\r') {
                self.text.push(b'\r');
            }
        }
        is_next
    }
}
