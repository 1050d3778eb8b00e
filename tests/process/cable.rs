//! An analyzer worked by hand: what it says is written out in the test, and every answer is looked at.

use super::home::{DEADLINE, Home};
use gateway_daemon::platform::pty::Pty;
use gateway_daemon::simulated::astm::{Message, Style, frame, texts};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub const ENQ: u8 = 0x05;
pub const ACK: u8 = 0x06;
pub const NAK: u8 = 0x15;
pub const EOT: u8 = 0x04;
pub const ETX: u8 = 0x03;
pub const ETB: u8 = 0x17;

/// One order of one sample with that many results. The patient's name and id are derived from the sample's.
pub fn message(sample: &str, results: usize) -> Message {
    let time = "20261121201403";
    let mut records = vec![
        format!("H|\\^&|||BENCH^1.0^77001|||||||P|LIS2-A2|{time}"),
        format!("P|1|PAT-{sample}||| NAME-{sample}"),
        format!("O|1|{sample}||^^^ALL|R||{time}||||N||||||||||||||F"),
    ];
    for number in 1..=results {
        records.push(format!("R|{number}|^^^GLU{number}|5.{number}|mmol/L|3.9^5.8|N||F||||{time}"));
    }
    records.push("L|1|N".to_owned());
    Message { id: sample.to_owned(), records: records.into_iter().map(String::into_bytes).collect() }
}

/// The words of that message which no log may hold.
pub fn private(sample: &str) -> [String; 3] {
    [sample.to_owned(), format!("PAT-{sample}"), format!("NAME-{sample}")]
}

pub struct Cable<S> {
    pub stream: S,
}

impl Cable<Pty> {
    /// A pseudo-terminal under a name in the test's folder, for `port: { path: ... }`.
    pub fn plug(home: &Home, name: &str) -> Cable<Pty> {
        let pty = Pty::open().expect("a pseudo-terminal");
        pty.link(&home.path(name)).expect("a folder of our own");
        Cable { stream: pty }
    }
}

impl Cable<TcpStream> {
    /// Calls the gateway, as soon as it listens.
    pub async fn call(home: &Home, port: u16) -> Cable<TcpStream> {
        let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        let stream = home.eventually("the analyzer's listener", connect).await;
        stream.set_nonblocking(true).expect("an open socket");
        Cable { stream: TcpStream::from_std(stream).expect("an open socket") }
    }

    /// Calls from another address of this machine.
    pub async fn call_from(home: &Home, from: &str, port: u16) -> Cable<TcpStream> {
        let address = format!("{from}:0").parse().expect("an address");
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(address).unwrap_or_else(|error| panic!("{error}: {}", home.tail()));
        let calling = socket.connect(([127, 0, 0, 1], port).into());
        let stream = tokio::time::timeout(DEADLINE, calling).await.expect("the listener answers");
        Cable { stream: stream.expect("the listener is there") }
    }

    /// Whether the gateway ends the connection without a word.
    pub async fn is_hung_up(&mut self) -> bool {
        let read = tokio::time::timeout(DEADLINE, self.stream.read_u8()).await;
        matches!(read, Ok(Err(_)))
    }

    /// Hangs up, and calls again once the gateway has noticed.
    pub async fn call_again(home: &Home, port: u16, cable: Cable<TcpStream>) -> Cable<TcpStream> {
        let noticed = || home.lines(&["port lost"]).len();
        let before = noticed();
        drop(cable);
        home.eventually("the gateway to notice", || (noticed() > before).then_some(())).await;
        Cable::call(home, port).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Cable<S> {
    pub async fn say(&mut self, bytes: &[u8]) {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(DEADLINE, writing).await.expect("the gateway reads").expect("an open line");
    }

    /// The next byte from the gateway.
    pub async fn answer(&mut self) -> u8 {
        let answer = tokio::time::timeout(DEADLINE, self.stream.read_u8()).await;
        answer.expect("the gateway answers").expect("an open line")
    }

    /// Whether the gateway says nothing for a while.
    pub async fn is_silent(&mut self, during: Duration) -> bool {
        tokio::time::timeout(during, self.stream.read_u8()).await.is_err()
    }

    /// Says it until it is acknowledged: a gateway that has just opened the port may have missed the first.
    pub async fn ask(&mut self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            self.say(&[ENQ]).await;
            match tokio::time::timeout(Duration::from_secs(5), self.stream.read_u8()).await {
                Ok(answer) => return assert_eq!(answer.expect("an open line"), ACK, "to ENQ"),
                Err(_) => assert!(tokio::time::Instant::now() < deadline, "nobody answers ENQ"),
            }
        }
    }

    /// The frame number `number` (from 1, not yet modulo 8) and its ACK.
    pub async fn frame(&mut self, number: usize, text: &[u8], end: u8) {
        self.say(&numbered(number, text, end)).await;
        assert_eq!(self.answer().await, ACK, "to frame {number}");
    }

    /// A whole session with one message, one record a frame.
    pub async fn tell(&mut self, message: &Message) {
        self.ask().await;
        for (index, text) in texts(&message.records, Style::RecordPerFrame).iter().enumerate() {
            self.frame(index + 1, text, ETX).await;
        }
        self.say(&[EOT]).await;
    }
}

/// See [`Cable::frame`].
pub fn numbered(number: usize, text: &[u8], end: u8) -> Vec<u8> {
    frame((number % 8) as u8, text, end)
}
