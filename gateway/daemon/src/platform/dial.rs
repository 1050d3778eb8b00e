//! The way to an endpoint, hop by hop: its name, a connection, a proxy, encryption. MLLP goes this way, and the test of an
//! endpoint does to tell of each hop; the requests themselves are reqwest's, with the same trust and the same lookups.
//!
//! Invariant: every wait here ends, at the latest when the webhook's timeout does; and each failure says which of the hops
//! it was, and whether waiting helps or a person must act.

use super::probe::{Hop, HopName};
use super::tls::{Identity, client_config, explain, facts, server_name, trusting_nobody};
use super::{SendError, Stream};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{FuturesUnordered, StreamExt};
use gateway_core::config::{Mqtt, Webhook};
use gateway_core::delivery::{Reason, ReasonCode};
use rustls::ClientConfig;
use rustls::pki_types::UnixTime;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// For all hops before the request, however long the webhook's timeout is.
const CONNECT_SECONDS_MAX: u64 = 10;
/// How long one address is waited for before the next is tried beside it (RFC 8305 section 8).
const NEXT_ADDRESS_MS: u64 = 250;
/// The longest answer of a proxy to CONNECT.
const PROXY_ANSWER_BYTES_MAX: usize = 16 * 1024;
/// A certificate that ends sooner is worth a word.
const DAYS_LEFT_MIN: i64 = 21;

/// An open way to an endpoint.
pub(super) type Wire = Box<dyn Stream>;

/// How to get to one endpoint, under its settings.
pub(super) struct Route {
    to: Peer,
    proxy: Option<Proxy>,
    /// Whom to trust on the whole way.
    pub(super) tls: Arc<ClientConfig>,
    /// For all hops before the request.
    pub(super) patience: Duration,
}

struct Peer {
    host: String,
    port: u16,
    is_encrypted: bool,
}

struct Proxy {
    peer: Peer,
    /// The value of `proxy-authorization`.
    login: Option<String>,
    /// Plain HTTP goes to the proxy as it is; everything else through a tunnel.
    tunnels: bool,
}

impl Route {
    /// Reads the settings and the files that they name.
    pub(super) fn new(webhook: &Webhook) -> Result<Route, Reason> {
        let url = Url::parse(&webhook.url).map_err(|_| wrong_address("the url is not an address"))?;
        let to = match url.scheme() {
            "https" => peer(&url, 443, true)?,
            "http" => peer(&url, 80, false)?,
            // Registered for HL7 by IANA; what a url does not say is this one.
            "mllps" => peer(&url, 2575, true)?,
            "mllp" => peer(&url, 2575, false)?,
            _ => return Err(wrong_address("the url begins with none of https://, http://, mllps:// and mllp://")),
        };
        let proxy = webhook.proxy.as_ref().map(|proxy| Proxy::new(proxy.expose(), url.scheme() != "http"));
        let proxy = proxy.transpose()?;
        let encrypted_proxy = proxy.as_ref().map(|proxy| &proxy.peer).filter(|peer| peer.is_encrypted);
        let mut tls = match to.is_encrypted || encrypted_proxy.is_some() {
            true => client_config(Identity {
                ca_file: webhook.ca_file.as_deref(),
                certificate_file: webhook.certificate_file.as_deref(),
                key_file: webhook.key_file.as_deref(),
                pinned_key: webhook.pinned_key,
                proxy: encrypted_proxy.map(|peer| peer.host.as_str()),
            })?,
            false => trusting_nobody(),
        };
        if url.scheme().starts_with("http") {
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let patience = webhook.timeout.min(Duration::from_secs(CONNECT_SECONDS_MAX));
        Ok(Route { to, proxy, tls: Arc::new(tls), patience })
    }

    /// The way to a broker.
    pub(super) fn to_broker(mqtt: &Mqtt, host: &str, port: u16, is_encrypted: bool) -> Result<Route, Reason> {
        let tls = match is_encrypted {
            true => client_config(Identity {
                ca_file: mqtt.ca_file.as_deref(),
                certificate_file: mqtt.certificate_file.as_deref(),
                key_file: mqtt.key_file.as_deref(),
                ..Identity::default()
            })?,
            false => trusting_nobody(),
        };
        let to = Peer { host: host.to_owned(), port, is_encrypted };
        Ok(Route { to, proxy: None, tls: Arc::new(tls), patience: Duration::from_secs(CONNECT_SECONDS_MAX) })
    }

    /// Goes all the way.
    pub(super) async fn dial(&self, steps: &mut Steps) -> Result<Wire, SendError> {
        match tokio::time::timeout(self.patience, self.hops(steps)).await {
            Ok(dialed) => dialed,
            Err(_) => {
                let detail = format!("no connection within {}", seconds(self.patience));
                Err(steps.interrupted(passing(ReasonCode::Timeout, detail)))
            }
        }
    }

    async fn hops(&self, steps: &mut Steps) -> Result<Wire, SendError> {
        let wire = match &self.proxy {
            None => self.to.connect(steps, "the receiver").await?,
            Some(proxy) => {
                let tcp = proxy.peer.connect(steps, "the proxy").await?;
                steps.hop(HopName::Proxy, proxy.pass(tcp, &self.to, &self.tls)).await?
            }
        };
        match self.to.is_encrypted {
            true => steps.hop(HopName::Tls, handshake(&self.tls, &self.to.host, wire, "the receiver")).await,
            false => Ok(wire),
        }
    }
}

fn peer(url: &Url, usual_port: u16, is_encrypted: bool) -> Result<Peer, Reason> {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(wrong_address("the url names no host")),
    };
    Ok(Peer { host, port: url.port().unwrap_or(usual_port), is_encrypted })
}

impl Peer {
    async fn connect(&self, steps: &mut Steps, whom: &str) -> Result<Wire, SendError> {
        let addresses = steps.hop(HopName::Dns, resolve(&self.host, self.port)).await?;
        steps.hop(HopName::Tcp, connect(addresses, whom)).await
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Proxy {
    fn new(text: &str, tunnels: bool) -> Result<Proxy, Reason> {
        let url = Url::parse(text).map_err(|_| wrong_address("the proxy's address is not one"))?;
        let peer = match url.scheme() {
            "https" => peer(&url, 443, true)?,
            "http" => peer(&url, 80, false)?,
            _ => return Err(wrong_address("the proxy's address begins with neither http:// nor https://")),
        };
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty()).then(|| {
            let pair = format!("{}:{}", plain(url.username()), plain(url.password().unwrap_or_default()));
            format!("Basic {}", STANDARD.encode(pair))
        });
        Ok(Proxy { peer, login, tunnels })
    }

    /// From a connection to the proxy to one that reaches the endpoint (CONNECT, RFC 9110 section 9.3.6).
    async fn pass(&self, tcp: Wire, to: &Peer, tls: &Arc<ClientConfig>) -> Result<(Wire, Hop), SendError> {
        let name = self.peer.authority();
        let mut wire = match self.peer.is_encrypted {
            true => handshake(tls, &self.peer.host, tcp, "the proxy").await?.0,
            false => tcp,
        };
        if !self.tunnels {
            return Ok((wire, passed(HopName::Proxy, format!("requests go to the proxy {name}"))));
        }
        let authority = to.authority();
        let login = self.login.as_ref().map(|login| format!("proxy-authorization: {login}\r\n")).unwrap_or_default();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{login}\r\n");
        let broken = |error: io::Error| from_io(&error, "the proxy");
        wire.write_all(request.as_bytes()).await.map_err(broken)?;
        wire.flush().await.map_err(broken)?;
        let head = answer_head(&mut wire).await.map_err(broken)?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok((wire, passed(HopName::Proxy, format!("the proxy {name} lets us through")))),
            Some(status) => Err(refused_by_proxy(status)),
            None => Err(passing(ReasonCode::ServerError, "what the proxy answers is not HTTP")),
        }
    }
}

/// The head of an answer, up to its empty line and not a byte further: what follows belongs to the endpoint.
async fn answer_head(wire: &mut Wire) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_ANSWER_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        head.push(wire.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A proxy's refusal of the tunnel, or of a plain request (407).
pub(super) fn refused_by_proxy(status: u16) -> SendError {
    let detail = |text: &str| format!("the proxy answers HTTP {status}, {text}");
    match status {
        407 => {
            let text = detail("it wants a user and a password: write them into `proxy`");
            SendError::Configuration(Reason::new(ReasonCode::Unauthorized, text))
        }
        401 | 403 | 405 => {
            let text = detail("it does not let us through to this host and port");
            SendError::Configuration(Reason::new(ReasonCode::Unauthorized, text))
        }
        _ => passing(ReasonCode::ServerError, detail("it did not reach the receiver")),
    }
}

async fn handshake(config: &Arc<ClientConfig>, host: &str, wire: Wire, whom: &str) -> Result<(Wire, Hop), SendError> {
    let name = server_name(host).map_err(SendError::Configuration)?;
    let encrypted =
        TlsConnector::from(config.clone()).connect(name, wire).await.map_err(|error| from_io(&error, whom))?;
    let facts = facts(encrypted.get_ref().1, Duration::from_secs(UnixTime::now().as_secs()));
    let hop = match facts.days_left {
        Some(days) if days < DAYS_LEFT_MIN => {
            let next_step = "The receiver's operator should renew the certificate soon.";
            Hop::warned(HopName::Tls, Duration::ZERO, facts.told, next_step)
        }
        _ => passed(HopName::Tls, facts.told),
    };
    Ok((Box::new(encrypted), hop))
}

/// The account of the way so far.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) hops: Vec<Hop>,
    running: Option<(HopName, Instant)>,
}

impl Steps {
    /// Makes one hop and writes down how it went.
    pub(super) async fn hop<T>(
        &mut self,
        name: HopName,
        work: impl Future<Output = Result<(T, Hop), SendError>>,
    ) -> Result<T, SendError> {
        let began = Instant::now();
        self.running = Some((name, began));
        let done = work.await;
        self.running = None;
        match done {
            Ok((gained, mut hop)) => {
                hop.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.hops.push(hop);
                Ok(gained)
            }
            Err(error) => {
                self.hops.push(Hop::failed(name, began.elapsed(), error.reason()));
                Err(error)
            }
        }
    }

    /// The hop that was being made has come to nothing.
    pub(super) fn interrupted(&mut self, error: SendError) -> SendError {
        if let Some((name, began)) = self.running.take() {
            self.hops.push(Hop::failed(name, began.elapsed(), error.reason()));
        }
        error
    }
}

/// A hop whose duration is filled in by whoever measures it.
pub(super) fn passed(name: HopName, told: impl Into<String>) -> Hop {
    Hop::passed(name, Duration::ZERO, told)
}

pub(super) fn passing(code: ReasonCode, detail: impl Into<String>) -> SendError {
    SendError::Passing(Reason::new(code, detail))
}

fn wrong_address(detail: &str) -> Reason {
    Reason::new(ReasonCode::UnknownHost, detail)
}

/// `30 s`, or `0.5 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// What an error of a connection means. rustls' verdict on a certificate arrives inside an `io::Error`.
pub(super) fn from_io(error: &io::Error, whom: &str) -> SendError {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return explain(tls, whom);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => passing(ReasonCode::ConnectionRefused, format!("nobody listens at {whom}")),
        ErrorKind::HostUnreachable if has_route() => {
            passing(ReasonCode::ConnectionRefused, format!("the machine of {whom} does not answer"))
        }
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown | ErrorKind::HostUnreachable => {
            SendError::NoNetwork(Reason::new(ReasonCode::NoNetwork, format!("no route to {whom}")))
        }
        ErrorKind::TimedOut => passing(ReasonCode::Timeout, format!("the connection to {whom} timed out")),
        ErrorKind::InvalidData => passing(ReasonCode::ServerError, format!("{whom} answers what cannot be understood")),
        _ => passing(ReasonCode::ConnectionLost, format!("{whom} closed the connection")),
    }
}

/// Tries the addresses in the system's order, each next one a little later beside those before it; the first that answers
/// is taken.
async fn connect(addresses: Vec<SocketAddr>, whom: &str) -> Result<(Wire, Hop), SendError> {
    let tries = addresses.into_iter().enumerate().map(async |(index, address)| {
        tokio::time::sleep(Duration::from_millis(NEXT_ADDRESS_MS) * index as u32).await;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>((stream, address))
    });
    let mut tries: FuturesUnordered<_> = tries.collect();
    let mut last = io::Error::from(ErrorKind::ConnectionRefused);
    while let Some(tried) = tries.next().await {
        match tried {
            Ok((stream, address)) => {
                return Ok((Box::new(stream), passed(HopName::Tcp, format!("connected to {address}"))));
            }
            Err(error) => last = error,
        }
    }
    Err(from_io(&last, whom))
}

/// A lookup holds a thread until the system gives up on it, long after the request has: few at once, so that a dead name
/// server cannot take the threads that the disk needs.
static LOOKUPS: Semaphore = Semaphore::const_new(2);

/// Name resolution by the system, with the two failures told apart: no such name, or nobody to ask.
pub(super) async fn lookup(name: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
    // Never closed, so there is always a turn to wait for.
    let _turn = LOOKUPS.acquire().await;
    let found = tokio::net::lookup_host((name, port)).await.map_err(|error| unresolved(name, &error))?;
    Ok(found.collect())
}

async fn resolve(name: &str, port: u16) -> Result<(Vec<SocketAddr>, Hop), SendError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        let told = format!("{address} needs no lookup");
        return Ok((vec![SocketAddr::new(address, port)], passed(HopName::Dns, told)));
    }
    let addresses = lookup(name, port).await?;
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    Ok((addresses, passed(HopName::Dns, format!("{name} is {}", list.join(", ")))))
}

fn unresolved(name: &str, error: &io::Error) -> SendError {
    if !has_route() {
        return SendError::NoNetwork(Reason::new(ReasonCode::NoNetwork, "this box has no network"));
    }
    // glibc and musl give the class only in words.
    let words = error.to_string();
    let no_such_name = words.contains("not known") || words.contains("does not") || words.contains("No address");
    if no_such_name {
        SendError::Configuration(Reason::new(ReasonCode::UnknownHost, format!("there is no host named {name}")))
    } else {
        passing(ReasonCode::Timeout, format!("the name {name} cannot be looked up just now"))
    }
}

/// Whether any route leads out of this machine (`/proc/net/route`, `/proc/net/ipv6_route`; loopback does not count).
fn has_route() -> bool {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let outward = |line: &&str| !line.starts_with("lo\t");
    let v4 = table.lines().skip(1).any(|line| outward(&line));
    let table = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let v6 = table.lines().any(|line| line.starts_with(&"0".repeat(32)) && !line.trim_end().ends_with(" lo"));
    v4 || v6
}
