//! The sender against a receiver written for these tests: small, and conforming.

use super::*;
use std::collections::VecDeque;

/// The standard's receiver without a store. `answers` overrules its verdict on frames, first come, first used.
#[derive(Default)]
struct Receiver {
    buffer: Vec<u8>,
    expected: u8,
    text: Vec<u8>,
    messages: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
    refused: usize,
    duplicates: usize,
    eots: usize,
    answers: VecDeque<Option<u8>>,
}

impl Receiver {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for byte in bytes {
            match (self.buffer.is_empty(), *byte) {
                (true, ENQ) => {
                    self.expected = 1;
                    self.text.clear();
                    answers.extend(self.answers.pop_front().unwrap_or(Some(ACK)));
                }
                (true, EOT) => {
                    self.eots += 1;
                    self.text.clear();
                }
                (true, STX) => self.buffer.push(STX),
                (true, _) => {}
                (false, LF) => {
                    let frame = std::mem::take(&mut self.buffer);
                    answers.extend(self.frame(&frame));
                }
                (false, byte) => self.buffer.push(byte),
            }
        }
        answers
    }

    fn frame(&mut self, bytes: &[u8]) -> Option<u8> {
        let (body, tail) = bytes[1..].split_at(bytes.len() - 4);
        let sum = body.iter().fold(0_u32, |sum, byte| sum + u32::from(*byte)) % 256;
        if format!("{sum:02X}\r").as_bytes() != tail {
            self.refused += 1;
            return Some(NAK);
        }
        let number = body[0] - b'0';
        if number == (self.expected + 7) % 8 && !self.frames.is_empty() {
            self.duplicates += 1;
            return Some(ACK);
        }
        if let Some(answer) = self.answers.pop_front() {
            return answer;
        }
        assert_eq!(number, self.expected, "frame numbers go 1 to 7, then 0");
        self.expected = (self.expected + 1) % 8;
        self.frames.push(body.to_vec());
        self.text.extend_from_slice(&body[1..body.len() - 1]);
        if self.text.split(|byte| *byte == CR).any(|record| record.starts_with(b"L|")) {
            self.messages.push(std::mem::take(&mut self.text));
        }
        Some(ACK)
    }
}

fn message(id: &str, results: usize) -> Message {
    let mut records = vec![b"H|\\^&|||Test^1".to_vec(), b"P|1".to_vec(), format!("O|1|{id}").into_bytes()];
    records.extend((1..=results).map(|n| format!("R|{n}|^^^A{n}|{}|unit with a name||N||F", n * 7).into_bytes()));
    records.push(b"L|1|N".to_vec());
    Message { id: id.to_owned(), records }
}

fn joined(message: &Message) -> Vec<u8> {
    message.records.iter().flat_map(|record| [record.as_slice(), b"\r"].concat()).collect()
}

/// Plays until the sender rests with nothing left, in virtual time; returns that time.
fn play(sender: &mut Sender, receiver: &mut Receiver, messages: Vec<Message>) -> Mono {
    let mut now = Mono(0);
    let mut actions = Vec::new();
    for message in messages {
        actions.extend(sender.handle(now, PeerInput::Submit(message)));
    }
    for _ in 0..100_000 {
        let mut answers = Vec::new();
        for action in std::mem::take(&mut actions) {
            if let PeerAction::Send { bytes, .. } = action {
                answers.extend(receiver.feed(&bytes));
            }
        }
        if !answers.is_empty() {
            actions = sender.handle(now, PeerInput::Received(&answers));
        } else if sender.is_done() {
            return now;
        } else {
            now = sender.deadline().expect("something is awaited");
            actions = sender.handle(now, PeerInput::DeadlineReached);
        }
    }
    panic!("the sender never ends");
}

#[test]
fn every_style_delivers_the_same_bytes() {
    let sent: Vec<Message> = (0..5).map(|n| message(&format!("S{n}"), 11)).collect();
    for style in [Style::RecordPerFrame, Style::RecordPerEtbFrame, Style::Whole, Style::Cut(240)] {
        let mut sender = Sender::new(style, Timers::STANDARD, Faults::default(), 1).messages_per_session(2);
        let mut receiver = Receiver::default();
        play(&mut sender, &mut receiver, sent.clone());
        assert_eq!(receiver.messages, sent.iter().map(joined).collect::<Vec<_>>(), "{style:?}");
        assert_eq!(receiver.eots, 3, "two messages a session at most");
        assert_eq!(sender.told().acknowledged.len(), 5);
    }
}

#[test]
fn a_cut_falls_after_240_bytes_in_the_middle_of_a_field() {
    let message = message("S1", 11);
    let texts = texts(&message.records, Style::Cut(240));
    assert!(texts.len() > 1 && texts[..texts.len() - 1].iter().all(|text| text.len() == 240));
    assert!(!texts[0].ends_with(b"\r"));
    let mut sender = Sender::new(Style::Cut(240), Timers::STANDARD, Faults::default(), 1);
    let mut receiver = Receiver::default();
    play(&mut sender, &mut receiver, vec![message]);
    let ends: Vec<u8> = receiver.frames.iter().map(|frame| *frame.last().expect("an end")).collect();
    assert_eq!(ends.iter().filter(|end| **end == ETX).count(), 1);
    assert_eq!(ends.last(), Some(&ETX));
}

#[test]
fn the_checksum_is_the_standards() {
    // The example of many host manuals: the sum of FN to ETX modulo 256 in upper-case hexadecimal.
    assert_eq!(frame(1, b"L|1|N\r", ETX), b"\x021L|1|N\r\x0304\r\n");
}

#[test]
fn with_every_fault_at_once_each_message_still_arrives_once_and_whole() {
    let faults = Faults { damaged: 300, answer_lost: 200, noise: 200, slow: 100, abandoned: 20 };
    let sent: Vec<Message> = (0..40).map(|n| message(&format!("S{n}"), 9)).collect();
    for seed in 0..20 {
        let mut sender = Sender::new(Style::RecordPerFrame, Timers::STANDARD, faults, seed);
        let mut receiver = Receiver::default();
        play(&mut sender, &mut receiver, sent.clone());
        // Whoever loses six answers in a row repeats the whole message: the receiver must know it again.
        receiver.messages.dedup();
        assert!(receiver.messages == sent.iter().map(joined).collect::<Vec<_>>(), "seed {seed}");
        let told = sender.told();
        assert_eq!(told.acknowledged, sent.iter().map(|message| sample_key(&message.id)).collect::<Vec<_>>());
        assert_eq!((told.accepted_damaged, told.damaged), (0, receiver.refused as u64));
        assert!(receiver.duplicates > 0 && told.retransmitted > told.damaged && told.abandoned > 0);
    }
}

#[test]
fn six_refusals_end_the_session_and_the_message_is_repeated_whole() {
    let mut sender = Sender::new(Style::Whole, Timers::STANDARD, Faults::default(), 1);
    let mut receiver = Receiver { answers: VecDeque::from([Some(ACK)]), ..Receiver::default() };
    receiver.answers.extend([Some(NAK); 6]);
    let ended = play(&mut sender, &mut receiver, vec![message("S1", 3)]);
    assert_eq!((receiver.eots, receiver.messages.len(), sender.told().abandoned), (2, 1, 1));
    assert_eq!(ended, Mono(0).after(Timers::STANDARD.rest));
}

#[test]
fn a_busy_receiver_is_left_alone_for_ten_seconds() {
    let mut sender = Sender::new(Style::Whole, Timers::STANDARD, Faults::default(), 1);
    let mut receiver = Receiver { answers: VecDeque::from([Some(NAK), Some(NAK)]), ..Receiver::default() };
    let ended = play(&mut sender, &mut receiver, vec![message("S1", 3)]);
    assert_eq!(ended, Mono(0).after(Duration::from_secs(20)));
}

#[test]
fn silence_is_waited_out_for_fifteen_seconds_and_promises_nothing() {
    let mut sender = Sender::new(Style::Whole, Timers::STANDARD, Faults::default(), 1);
    let now = Mono(0);
    sender.handle(now, PeerInput::Submit(message("S1", 3)));
    sender.handle(now, PeerInput::Received(&[ACK]));
    assert_eq!(sender.deadline(), Some(now.after(Duration::from_secs(15))));
    let late = now.after(Duration::from_secs(15));
    let actions = sender.handle(late, PeerInput::DeadlineReached);
    assert!(actions.contains(&PeerAction::Send { bytes: vec![EOT], pace: Pace::AT_ONCE }));
    assert!(sender.told().acknowledged.is_empty() && !sender.is_done());
    // A late answer is not taken for a promise.
    assert!(sender.handle(late, PeerInput::Received(&[ACK])).is_empty());
    assert!(sender.told().acknowledged.is_empty());
}
