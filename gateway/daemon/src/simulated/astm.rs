//! An analyzer that speaks E1381 (LIS01-A2): the sending side with its timers, as a machine without hands.
//!
//! Inputs go in, actions come out, as with the gateway's own sessions; `wire::converse` performs them on any stream.
//! The rules are those of the standard's sender: ENQ and 15 s for an answer; NAK to ENQ means 10 s of patience; NAK or any
//! other character after a frame means the same frame again under the same number; six refusals or 15 s of silence mean
//! EOT, and the whole message later. Faults come from a seeded stream and are of the kind that the standard foresees.

use super::seeded::Seeded;
use super::{Pace, Told};
use gateway_core::time::Mono;
use std::collections::VecDeque;
use std::time::Duration;

const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
const EOT: u8 = 0x04;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ETB: u8 = 0x17;
const CR: u8 = 0x0d;
const LF: u8 = 0x0a;

/// The same frame may be refused this often before the sender gives up.
const REFUSALS_MAX: u32 = 6;

/// One message, H to L.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The sample id, unique among all messages.
    pub id: String,
    /// Records without their CR.
    pub records: Vec<Vec<u8>>,
}

/// How a message is cut into frames: the four styles seen on real analyzers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One record in each frame, each ended by ETX.
    RecordPerFrame,
    /// One record in each frame, ETB after all but the last.
    RecordPerEtbFrame,
    /// The whole message in one frame.
    Whole,
    /// Cut every so many bytes, in the middle of a field if it falls there; ETB after all but the last.
    Cut(usize),
}

/// The sender's clocks. `answer` must stay above what the receiver may take for a commit: an answer that comes after the
/// sender has given up would be taken for the next one, and the protocol has no way to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// How long an answer may take.
    pub answer: Duration,
    /// How long a receiver that said NAK to ENQ is left alone.
    pub busy: Duration,
    /// How long before asking again when both sides said ENQ.
    pub contention: Duration,
    /// Between the end of one session and the start of the next.
    pub rest: Duration,
}

impl Timers {
    /// The standard's.
    pub const STANDARD: Timers = Timers {
        answer: Duration::from_secs(15),
        busy: Duration::from_secs(10),
        contention: Duration::from_secs(1),
        rest: Duration::from_secs(1),
    };

    /// All but `answer` shortened (or lengthened) for compressed time.
    pub fn scaled(self, factor: f64) -> Timers {
        let scale = |timer: Duration| timer.mul_f64(factor);
        Timers {
            answer: self.answer,
            busy: scale(self.busy),
            contention: scale(self.contention),
            rest: scale(self.rest),
        }
    }
}

/// How often what goes wrong, in frames per thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A byte or the checksum is damaged on the line.
    pub damaged: u32,
    /// The receiver's ACK is damaged on the line, so the frame is sent again.
    pub answer_lost: u32,
    /// Stray bytes before STX.
    pub noise: u32,
    /// Written in small pieces with pauses.
    pub slow: u32,
    /// The analyzer stops in the middle of a message (EOT) and repeats it whole later.
    pub abandoned: u32,
}

impl Faults {
    /// What an old cable does now and then.
    pub const NOW_AND_THEN: Faults = Faults { damaged: 40, answer_lost: 30, noise: 40, slow: 60, abandoned: 0 };
    /// The same for analyzers that send many small frames.
    pub const SELDOM: Faults = Faults { damaged: 8, answer_lost: 6, noise: 10, slow: 20, abandoned: 0 };
}

/// What the machine is told.
#[derive(Debug)]
pub enum PeerInput<'a> {
    /// A message to be sent after the ones before it.
    Submit(Message),
    Received(&'a [u8]),
    DeadlineReached,
    /// The cable was pulled and plugged in again: what was not wholly acknowledged starts again.
    Reconnected,
}

/// What the machine asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAction {
    Send { bytes: Vec<u8>, pace: Pace },
    Note(Note),
}

/// What a spectator would like to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    Acknowledged { id: String, results: usize },
    Damaged { frame: u8 },
    AnswerLost { frame: u8 },
    Refused { frame: u8 },
    Busy,
    Abandoned { id: String, reason: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Says ENQ at that moment.
    Resting(Mono),
    /// ENQ is said; the answer is due.
    Asked(Mono),
    /// A frame is sent; the answer is due.
    Waiting(Mono),
}

/// The machine.
pub struct Sender {
    style: Style,
    timers: Timers,
    faults: Faults,
    chance: Seeded,
    queue: VecDeque<Message>,
    /// Texts of the current message's frames.
    frames: Vec<Vec<u8>>,
    /// Index of the frame that waits for its answer.
    at: usize,
    /// Its frame number, 0 to 7.
    number: u8,
    refusals: u32,
    /// Whether the frame that waits for its answer was damaged on purpose.
    damaged: bool,
    messages_per_session: usize,
    sent_in_session: usize,
    state: State,
    told: Told,
}

impl Sender {
    /// An analyzer with nothing to say yet. Equal seeds and equal answers give equal bytes.
    pub fn new(style: Style, timers: Timers, faults: Faults, seed: u64) -> Sender {
        Sender {
            style,
            timers,
            faults,
            chance: Seeded::new(seed),
            queue: VecDeque::new(),
            frames: Vec::new(),
            at: 0,
            number: 1,
            refusals: 0,
            damaged: false,
            messages_per_session: 1,
            sent_in_session: 0,
            state: State::Idle,
            told: Told::default(),
        }
    }

    /// Up to so many messages between one ENQ and its EOT, if they wait.
    pub fn messages_per_session(mut self, count: usize) -> Sender {
        self.messages_per_session = count.max(1);
        self
    }

    /// What was promised so far.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Whether every message has got its last ACK (the pause after a session may still be running).
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether it waits for an answer to something it has said.
    pub fn is_talking(&self) -> bool {
        matches!(self.state, State::Asked(_) | State::Waiting(_))
    }

    /// Whether that was ENQ.
    pub fn is_calling(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// When `DeadlineReached` is due.
    pub fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Idle => None,
            State::Resting(due) | State::Asked(due) | State::Waiting(due) => Some(due),
        }
    }

    /// Takes one input, gives back what should be done about it.
    pub fn handle(&mut self, now: Mono, input: PeerInput<'_>) -> Vec<PeerAction> {
        let mut actions = Vec::new();
        match input {
            PeerInput::Submit(message) => {
                self.told.sent.push(sample_key(&message.id));
                self.queue.push_back(message);
            }
            PeerInput::Received(bytes) => {
                for byte in bytes {
                    self.answered(now, *byte, &mut actions);
                }
            }
            PeerInput::DeadlineReached => self.deadline_reached(now, &mut actions),
            PeerInput::Reconnected => {
                self.frames.clear();
                self.state = State::Idle;
            }
        }
        if self.state == State::Idle && !self.queue.is_empty() {
            self.ask(now, &mut actions);
        }
        actions
    }

    fn ask(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        actions.push(PeerAction::Send { bytes: vec![ENQ], pace: Pace::AT_ONCE });
        self.sent_in_session = 0;
        self.state = State::Asked(now.after(self.timers.answer));
    }

    fn deadline_reached(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        if self.deadline().is_none_or(|due| due > now) {
            return;
        }
        match self.state {
            State::Idle => {}
            State::Resting(_) => self.state = State::Idle,
            State::Asked(_) => self.abandon(now, "no answer to ENQ", actions),
            State::Waiting(_) => self.abandon(now, "no answer to a frame", actions),
        }
    }

    fn answered(&mut self, now: Mono, byte: u8, actions: &mut Vec<PeerAction>) {
        match (self.state, byte) {
            (State::Asked(_), ACK) => {
                self.number = 1;
                self.start_message(now, actions);
            }
            (State::Asked(_), NAK) => {
                actions.push(PeerAction::Note(Note::Busy));
                self.state = State::Resting(now.after(self.timers.busy));
            }
            // Both sides said ENQ: the analyzer wins, after a pause in which the computer gets ready to listen.
            (State::Asked(_), ENQ) => self.state = State::Resting(now.after(self.timers.contention)),
            // EOT instead of ACK: accepted, and please stop. The sender may go on, and does.
            (State::Waiting(_), ACK | EOT) => self.accepted(now, actions),
            (State::Waiting(_), _) => {
                actions.push(PeerAction::Note(Note::Refused { frame: self.number }));
                self.send_again(now, actions);
            }
            (State::Idle | State::Resting(_) | State::Asked(_), _) => {}
        }
    }

    fn accepted(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        if self.damaged {
            self.told.accepted_damaged += 1;
        } else if self.chance.chance(self.faults.answer_lost) {
            actions.push(PeerAction::Note(Note::AnswerLost { frame: self.number }));
            return self.send_again(now, actions);
        }
        self.at += 1;
        self.number = (self.number + 1) % 8;
        self.refusals = 0;
        if self.at < self.frames.len() {
            if self.chance.chance(self.faults.abandoned) {
                return self.abandon(now, "the analyzer was interrupted", actions);
            }
            return self.send_frame(now, true, actions);
        }
        if let Some(message) = self.queue.pop_front() {
            let results = message.records.iter().filter(|record| record.first() == Some(&b'R')).count();
            self.told.acknowledged.push(sample_key(&message.id));
            actions.push(PeerAction::Note(Note::Acknowledged { id: message.id, results }));
        }
        self.sent_in_session += 1;
        if self.sent_in_session < self.messages_per_session && !self.queue.is_empty() {
            self.start_message(now, actions);
        } else {
            self.finish_session(now, actions);
        }
    }

    fn start_message(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        let Some(message) = self.queue.front() else { return self.finish_session(now, actions) };
        self.frames = texts(&message.records, self.style);
        self.at = 0;
        self.refusals = 0;
        self.send_frame(now, true, actions);
    }

    fn send_again(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        self.refusals += 1;
        if self.refusals >= REFUSALS_MAX {
            return self.abandon(now, "refused six times", actions);
        }
        self.told.retransmitted += 1;
        self.send_frame(now, false, actions);
    }

    /// Sends the current frame; only a first sending may be damaged, so that a good cable behind a bad moment is enough.
    fn send_frame(&mut self, now: Mono, first: bool, actions: &mut Vec<PeerAction>) {
        let end = if self.ends_with_etx() { ETX } else { ETB };
        let mut bytes = frame(self.number, &self.frames[self.at], end);
        self.damaged = self.chance.chance(self.faults.damaged) && first;
        if self.damaged {
            self.told.damaged += 1;
            actions.push(PeerAction::Note(Note::Damaged { frame: self.number }));
            damage(&mut bytes, &mut self.chance);
        }
        if self.chance.chance(self.faults.noise) {
            bytes.splice(0..0, [0x00, 0xff, b'~']);
        }
        let slow = self.chance.chance(self.faults.slow);
        let pace = if slow { Pace { piece: 13, gap: Duration::from_millis(2) } } else { Pace::AT_ONCE };
        actions.push(PeerAction::Send { bytes, pace });
        let transfer = pace.gap * u32::try_from(self.frames[self.at].len() / 13 + 1).unwrap_or(u32::MAX);
        let waited = if slow { self.timers.answer + transfer } else { self.timers.answer };
        self.state = State::Waiting(now.after(waited));
    }

    fn ends_with_etx(&self) -> bool {
        self.style == Style::RecordPerFrame || self.at + 1 == self.frames.len()
    }

    fn abandon(&mut self, now: Mono, reason: &'static str, actions: &mut Vec<PeerAction>) {
        if let Some(message) = self.queue.front() {
            self.told.abandoned += 1;
            actions.push(PeerAction::Note(Note::Abandoned { id: message.id.clone(), reason }));
        }
        self.finish_session(now, actions);
    }

    fn finish_session(&mut self, now: Mono, actions: &mut Vec<PeerAction>) {
        actions.push(PeerAction::Send { bytes: vec![EOT], pace: Pace::AT_ONCE });
        self.frames.clear();
        self.state = State::Resting(now.after(self.timers.rest));
    }
}

/// The key of a message in [`Told`]: see [`super::ledger::key_of`].
pub fn sample_key(id: &str) -> String {
    format!("sample {id}")
}

/// The texts of the frames that carry these records.
pub fn texts(records: &[Vec<u8>], style: Style) -> Vec<Vec<u8>> {
    let ended = records.iter().map(|record| [record.as_slice(), &[CR]].concat());
    match style {
        Style::RecordPerFrame | Style::RecordPerEtbFrame => ended.collect(),
        Style::Whole => vec![ended.flatten().collect()],
        Style::Cut(bytes) => ended.flatten().collect::<Vec<u8>>().chunks(bytes.max(1)).map(<[u8]>::to_vec).collect(),
    }
}

/// `STX FN text (ETB|ETX) C1 C2 CR LF` (LIS01-A2 clause 6.3); the sum is over FN to ETB or ETX.
pub fn frame(number: u8, text: &[u8], end: u8) -> Vec<u8> {
    let mut bytes = vec![STX, b'0' + number % 8];
    bytes.extend_from_slice(text);
    bytes.push(end);
    let sum = bytes[1..].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.extend_from_slice(format!("{sum:02X}").as_bytes());
    bytes.extend_from_slice(&[CR, LF]);
    bytes
}

/// Changes one byte of the text, or one digit of the sum, so that the two disagree for certain.
fn damage(bytes: &mut [u8], chance: &mut Seeded) {
    let sum_at = bytes.len() - 4;
    let text = bytes.len() as u64 - 7;
    if text > 0 && chance.chance(500) {
        // Without its top bit flipped back no printable ASCII byte and no CR means anything to the protocol.
        let at = 2 + chance.below(text) as usize;
        bytes[at] ^= 0x80;
    } else {
        bytes[sum_at] = if bytes[sum_at] == b'0' { b'1' } else { b'0' };
    }
}

#[cfg(test)]
mod tests;
