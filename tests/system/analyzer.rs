//! An ASTM analyzer at the other end of an adapter's cable, worked by hand, and one that talks until the power goes.

use super::machine::DEADLINE;
use gateway_core::time::Timestamp;
use gateway_daemon::simulated::Told;
use gateway_daemon::simulated::astm::{Faults, Message, PeerInput, Sender, Style, Timers, frame, sample_key, texts};
use gateway_daemon::simulated::messages::{Kind, Worklist};
use gateway_daemon::simulated::wire::{converse, stopwatch};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const EOT: u8 = 0x04;
const ETX: u8 = 0x03;
/// Between two calls to a gateway that may not listen yet.
const CALL: Duration = Duration::from_secs(5);
/// So many calls without an answer: there is nobody.
const CALLS: u32 = 6;
/// So long nothing has come: what was on its way has arrived.
const QUIET: Duration = Duration::from_secs(2);
/// When the analyzer measured.
const MEASURED: Timestamp = Timestamp(1_795_291_207_000);

fn said_something(read: std::io::Result<usize>) -> bool {
    read.is_ok_and(|count| count > 0)
}

/// How an analyzer that talks is answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Messages that were acknowledged whole.
    pub promised: usize,
    /// Frames and messages that were not, each time.
    pub refused: u64,
}

pub struct Analyzer {
    pub stream: UnixStream,
    worklist: Worklist,
}

impl Analyzer {
    /// Samples are numbered from `first`.
    pub fn new(stream: UnixStream, first: u64) -> Analyzer {
        Analyzer { stream, worklist: Worklist::new(Kind::Hematology, 20_261_121, first) }
    }

    pub fn draw(&mut self) -> Message {
        self.worklist.draw(MEASURED)
    }

    /// Calls until somebody answers with ACK, then hangs up.
    pub async fn call(&mut self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            self.say(&[ENQ]).await;
            if tokio::time::timeout(CALL, self.until_acknowledged()).await.is_ok() {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "nobody answers the analyzer's call");
        }
        self.say(&[EOT]).await;
        self.drain().await;
    }

    /// Calls a few times; whether anybody has said ACK.
    pub async fn is_answered(&mut self) -> bool {
        for _ in 0..CALLS {
            self.say(&[ENQ]).await;
            if tokio::time::timeout(CALL, self.until_acknowledged()).await.is_ok() {
                return true;
            }
        }
        false
    }

    async fn until_acknowledged(&mut self) {
        while self.stream.read_u8().await.expect("QEMU lives") != ACK {}
    }

    /// Lets answers go that nobody waits for any more.
    pub async fn drain(&mut self) {
        let mut buffer = [0; 256];
        while tokio::time::timeout(QUIET, self.stream.read(&mut buffer)).await.is_ok_and(said_something) {}
    }

    pub async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("QEMU lives");
    }

    /// Says it and waits for its ACK.
    async fn said(&mut self, bytes: &[u8]) {
        self.say(bytes).await;
        let answer = tokio::time::timeout(DEADLINE, self.stream.read_u8()).await;
        assert_eq!(answer.expect("the gateway answers").expect("QEMU lives"), ACK);
    }

    /// A session with this message, to its end.
    pub async fn tell(&mut self, message: &Message) {
        self.said(&[ENQ]).await;
        for (index, text) in texts(&message.records, Style::RecordPerFrame).iter().enumerate() {
            self.said(&frame(index as u8 + 1, text, ETX)).await;
        }
        self.say(&[EOT]).await;
        self.drain().await;
    }

    /// A session with a message of its own; its key.
    pub async fn tell_one(&mut self) -> String {
        let message = self.draw();
        self.tell(&message).await;
        sample_key(&message.id)
    }

    /// Begins it and stops in the middle of its second frame.
    pub async fn begin(&mut self, message: &Message) {
        self.said(&[ENQ]).await;
        let texts = texts(&message.records, Style::RecordPerFrame);
        self.said(&frame(1, &texts[0], ETX)).await;
        let second = frame(2, &texts[1], ETX);
        self.say(&second[..second.len() / 2]).await;
    }

    /// Tells message after message until the line is dead, and what was promised to it. What is refused is told again.
    pub async fn talk(mut self, heard: watch::Sender<Progress>) -> Told {
        let timers = Timers { rest: Duration::from_millis(100), ..Timers::STANDARD };
        let mut sender = Sender::new(Style::Cut(240), timers, Faults::default(), 1);
        let now = stopwatch();
        loop {
            let submit = PeerInput::Submit(self.draw());
            let told = |_: &_, told: &Told| {
                let refused = told.retransmitted + told.abandoned;
                heard.send_replace(Progress { promised: told.acknowledged.len(), refused });
            };
            if converse(&mut self.stream, &mut sender, &now, submit, told).await.is_err() {
                return sender.told().clone();
            }
        }
    }
}
