//! A webhook receiver that verifies everything and misbehaves on request.
//!
//! It speaks HTTP/1.1 and MLLP by hand, as far as a webhook needs them, because it must do what no framework lets it do: read a
//! request, write it down, and hang up without an answer; or be gone from one moment to the next, port closed and
//! connections cut, and come back on the same port.

mod hl7;
mod script;

pub use script::{accept_all, in_turn, steps};

use super::ledger::SharedLedger;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway_core::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How far a signature's time may be from ours (Standard Webhooks leaves it to the receiver; the libraries use 5 min).
const SIGNATURE_AGE_SECONDS_MAX: i64 = 300;

/// A request as received; header names in lower case.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Posted {
    /// The event's id, from whichever header the dialect gives it in; of an MLLP message its control id.
    pub fn event_id(&self) -> Option<&str> {
        ["webhook-id", "x-gateway-event-id", hl7::CONTROL_ID].iter().find_map(|name| self.header(name))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// Whether a request is as it should be.
pub type Verify = Arc<dyn Fn(&Posted, Timestamp) -> Result<(), Complaint> + Send + Sync>;

/// Why a request is refused. The sentence is the answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub status: u16,
    pub problem: String,
}

/// A fault of the signature.
impl From<String> for Complaint {
    fn from(problem: String) -> Complaint {
        Complaint { status: 401, problem }
    }
}

/// What to do with the request of that number (from 1): the receiver's moods, in the judge's hands.
pub type Script = Arc<dyn Fn(u64, &Posted) -> Answer + Send + Sync>;

/// See [`Script`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200, and the event counts as received.
    Accept,
    /// Another status; not received.
    Refuse { status: u16, retry_after_seconds: Option<u32> },
    /// Received, but the connection ends before the answer: the sender must try again under the same id.
    LoseAnswer,
    /// Silence for that long, then the connection ends; not received.
    Hang(Duration),
}

/// What a receiver is started with.
#[derive(Clone)]
pub struct Options {
    pub verify: Verify,
    pub script: Script,
    pub wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What has happened so far, besides the [`SharedLedger`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests read whole.
    pub requests: u64,
    /// Events under different ids.
    pub events: u64,
    /// Events that came again.
    pub repeats: u64,
    /// Repeats with another body or ordinal.
    pub differing: u64,
    /// Ordinals that never came.
    pub holes: u64,
    /// Requests that were refused for their signature or their form.
    pub wrong_signatures: u64,
    /// Requests that did not get 200 because the script said so.
    pub refused: u64,
    /// The highest `x-gateway-attempt` seen.
    pub attempts_max: u64,
    /// Why the first wrong signature was refused.
    pub first_complaint: Option<String>,
}

/// A running receiver. Dropping it closes its port.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    options: Options,
    ledger: SharedLedger,
    counts: Mutex<Counts>,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(options: Options) -> io::Result<Receiver> {
        Receiver::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options).await
    }

    /// Listens there; port 0 is any free one.
    pub async fn start_at(address: SocketAddr, options: Options) -> io::Result<Receiver> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let shared = Shared { options, ledger: SharedLedger::default(), counts: Mutex::default() };
        let mut receiver = Receiver { address, shared: Arc::new(shared), tasks: JoinSet::new() };
        receiver.tasks.spawn(accept(listener, receiver.shared.clone()));
        Ok(receiver)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT/hook`
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Off: the port refuses and every open connection is cut. On: the same port listens again.
    pub async fn switch(&mut self, on: bool) -> io::Result<()> {
        if on == self.is_on() {
            return Ok(());
        }
        if on {
            self.tasks.spawn(accept(listen(self.address)?, self.shared.clone()));
        } else {
            self.tasks.shutdown().await;
        }
        Ok(())
    }

    pub fn is_on(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// What was received.
    pub fn ledger(&self) -> &SharedLedger {
        &self.shared.ledger
    }

    /// Ids in the order of their first coming.
    pub fn ids(&self) -> Vec<String> {
        self.shared.ledger.lock().ids().to_vec()
    }

    pub fn counts(&self) -> Counts {
        let ledger = self.shared.ledger.lock();
        let (events, repeats, differing) = (ledger.len() as u64, ledger.repeats, ledger.differing);
        Counts { events, repeats, differing, holes: ledger.holes(), ..self.shared.counts().clone() }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The cut connections of the time before may still linger on this port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// Owns its connections, so that they end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = shared.clone();
                    connections.spawn(async move {
                        // A peer that breaks off is the peer's business.
                        let _ = serve(stream, &shared).await;
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    if stream.read_buf(&mut buffer).await? == 0 {
        return Ok(());
    }
    // The first byte tells the two apart: no HTTP method begins with a start of block.
    let is_mllp = buffer.first() == Some(&hl7::START_OF_BLOCK);
    loop {
        let posted = match is_mllp {
            true => hl7::read_message(&mut stream, &mut buffer).await?,
            false => read_request(&mut stream, &mut buffer).await?,
        };
        let Some(posted) = posted else { return Ok(()) };
        let taken = match shared.take(&posted) {
            Taken::Answer(taken) => taken,
            Taken::HangUp => return Ok(()),
            Taken::Hang(silence) => {
                tokio::time::sleep(silence).await;
                return Ok(());
            }
        };
        let answer = if is_mllp { hl7::framed(&posted, &taken) } else { over_http(&posted, &taken) };
        stream.write_all(&answer).await?;
    }
}

fn over_http(posted: &Posted, taken: &Given) -> Vec<u8> {
    let is_hl7 = posted.header("content-type").is_some_and(|kind| kind.starts_with("application/hl7-v2"));
    let body = if is_hl7 { hl7::acknowledgement(posted, taken) } else { taken.problem.clone() };
    let retry = taken.retry_after_seconds.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 {} \r\ncontent-length: {}\r\n{retry}\r\n{body}", taken.status, body.len()).into_bytes()
}

enum Taken {
    Answer(Given),
    HangUp,
    Hang(Duration),
}

/// An answer before it has a form.
struct Given {
    status: u16,
    retry_after_seconds: Option<u32>,
    problem: String,
}

impl Shared {
    /// Verifies, asks the script, writes down.
    fn take(&self, posted: &Posted) -> Taken {
        let number = {
            let mut counts = self.counts();
            counts.requests += 1;
            counts.attempts_max = counts.attempts_max.max(posted.number("x-gateway-attempt").unwrap_or(0));
            counts.requests
        };
        if let Err(complaint) = (self.options.verify)(posted, (self.options.wall)()) {
            let mut counts = self.counts();
            counts.wrong_signatures += 1;
            counts.first_complaint.get_or_insert_with(|| complaint.problem.clone());
            let Complaint { status, problem } = complaint;
            return Taken::Answer(Given { status, retry_after_seconds: None, problem });
        }
        let answer = (self.options.script)(number, posted);
        match answer {
            Answer::Accept | Answer::LoseAnswer => {
                let id = posted.event_id().unwrap_or("an event without an id");
                self.ledger.lock().note(id, posted.number("x-gateway-ordinal"), &posted.body);
            }
            Answer::Refuse { .. } | Answer::Hang(_) => self.counts().refused += 1,
        }
        let given =
            |status, retry_after_seconds| Taken::Answer(Given { status, retry_after_seconds, problem: String::new() });
        match answer {
            Answer::Accept => given(200, None),
            Answer::LoseAnswer => Taken::HangUp,
            Answer::Hang(silence) => Taken::Hang(silence),
            Answer::Refuse { status, retry_after_seconds } => given(status, retry_after_seconds),
        }
    }
}

/// One request, or `None` when the peer has closed the connection between two.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Posted>> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let headers: HashMap<String, String> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    // Chunked bodies are not spoken here: a webhook's body is known before it is sent.
    let length: usize = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let rest = buffer.split_off(head_end + length);
    let body = buffer.split_off(head_end);
    *buffer = rest;
    Ok(Some(Posted { path, headers, body }))
}

/// Standard Webhooks 1.0, symmetric (`v1`), written from the specification: HMAC-SHA256 over `id.timestamp.body` with the
/// base64 part of `whsec_...`. Any one of several signatures is enough.
pub fn standard_webhooks(secret: &str) -> Verify {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).unwrap_or_default();
    Arc::new(move |posted, now| {
        let needed = |name: &str| posted.header(name).ok_or_else(|| format!("there is no header {name}"));
        let (id, timestamp) = (needed("webhook-id")?, needed("webhook-timestamp")?);
        let seconds: i64 = timestamp.parse().map_err(|_| "webhook-timestamp is no number".to_owned())?;
        if (now.as_seconds() - seconds).abs() > SIGNATURE_AGE_SECONDS_MAX {
            return Err(format!("webhook-timestamp is {} s away", now.as_seconds() - seconds).into());
        }
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(&posted.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let given = needed("webhook-signature")?;
        match given.split(' ').any(|signature| signature == expected) {
            true => Ok(()),
            false => Err("no signature in webhook-signature fits".to_owned().into()),
        }
    })
}

#[cfg(test)]
mod tests;
