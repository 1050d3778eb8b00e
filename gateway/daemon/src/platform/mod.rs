//! The ports through which the gateway touches the world, and their real adapters.
//!
//! Invariant: nothing outside this folder opens a socket or a device, reads a wall clock or draws a random number. The
//! simulation hands `app::run` another [`Platform`], and that is the only difference.

pub mod alone;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod call;
pub mod clock;
pub mod devices;
mod dial;
pub mod disk;
pub mod drive;
pub mod fetch;
pub mod holder;
pub mod http;
pub mod input;
pub mod journal;
mod kernel;
pub mod light;
pub mod listening;
pub mod machine;
mod mllp;
pub mod mounted;
pub mod mqtt;
pub mod network;
pub mod plain;
pub mod privileged;
pub mod probe;
pub mod programs;
pub mod pty;
pub mod reach;
pub mod replace;
pub mod serial;
pub mod serve;
pub mod stick;
pub mod systemd;
pub mod time_source;
pub mod tls;
pub mod told;

use crate::pulse::Stop;
use gateway_core::appliance::Appliance;
use gateway_core::config::{Line, Mqtt, Port as PortName, Webhook};
use gateway_core::delivery::Reason;
use gateway_core::dialects::{Request, Response};
use gateway_core::event::Id;
use gateway_core::overview::{CertificateLeft, Vitals};
use gateway_core::time::{Mono, Now};
use gateway_core::vitals::CertificateFile;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A future that an object-safe trait can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// All ports together: what [`crate::app::run`] is given.
#[derive(Clone)]
pub struct Platform {
    pub clock: Arc<dyn Clock>,
    pub serial: Arc<dyn SerialBus>,
    pub publisher: Arc<dyn Publisher>,
    pub http: Arc<dyn HttpClient>,
    pub service: Arc<dyn ServiceManager>,
    pub entropy: Arc<dyn Entropy>,
    pub disk: Arc<dyn Disk>,
    pub server: Arc<dyn HttpServer>,
    pub programs: Arc<dyn Programs>,
    pub machine: Arc<dyn Machine>,
}

impl Platform {
    /// The real world.
    pub fn real() -> Platform {
        Platform::with_publisher(mqtt::RumqttPublisher::default())
    }

    /// The real world with a publisher that knows the embedded broker's port already.
    pub fn with_publisher(publisher: mqtt::RumqttPublisher) -> Platform {
        Platform {
            clock: Arc::new(clock::SystemClock::new()),
            serial: Arc::new(serial::SystemSerialBus::default()),
            publisher: Arc::new(publisher),
            http: Arc::new(http::WebhookClient::default()),
            service: Arc::new(systemd::Systemd),
            entropy: Arc::new(clock::SystemEntropy),
            disk: Arc::new(disk::BlockingDisk),
            server: Arc::new(serve::HyperServer),
            programs: Arc::new(programs::SystemPrograms),
            machine: Arc::new(machine::ThisMachine::default()),
        }
    }
}

/// Time. Sleeping is part of it, so that a simulation can make it pass.
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;
    /// The kernel's id of this boot (`/proc/sys/kernel/random/boot_id`).
    fn boot(&self) -> Id;
    /// Returns at or after that moment.
    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()>;
}

/// Randomness.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// Where analyzers are plugged in: serial adapters and TCP.
pub trait SerialBus: Send + Sync {
    /// Opens the port, or waits for an analyzer to call if it is a listener. Dropping the stream closes it; a read of 0
    /// bytes means that it is gone.
    fn open(&self, port: &PortName, line: &Line) -> BoxFuture<'static, Result<Box<dyn Stream>, PortError>>;
    /// Who has called a listener since this was last asked, while another one was connected, and was turned away.
    fn turned_away(&self, port: &PortName) -> Option<std::net::IpAddr> {
        let _ = port;
        None
    }
    /// This port is not used any more: whatever was kept for its next opening goes.
    fn forget(&self, port: &PortName) {
        let _ = port;
    }
}

/// Programs of somebody else's, for the driver `exec`.
pub trait Programs: Send + Sync {
    /// Starts one: the program's path and its arguments. The error says why not, as the end of a sentence.
    fn start(&self, command: &[String]) -> Result<Box<dyn Program>, PortError>;
}

/// A running program: what it reads is written here, and read what it writes; a read of 0 bytes means that it says nothing
/// more. Dropping it kills it and what it has started.
pub trait Program: Stream {
    /// How many of the bytes written to it it has not read yet.
    fn unread(&self) -> u64;

    /// Ends it, if it has not ended by itself, and says how it did, as the end of a sentence.
    fn end(self: Box<Self>) -> BoxFuture<'static, String>;
}

/// An open port.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a port cannot be opened, in words for the clinic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

/// MQTT brokers.
pub trait Publisher: Send + Sync {
    /// Connects once. The connection is disposable: after an error it is dropped and another one is made.
    fn connect(&self, settings: &MqttConnect) -> BoxFuture<'static, Result<Box<dyn MqttConnection>, Reason>>;
}

/// What a connection needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttConnect {
    pub mqtt: Mqtt,
    pub client_id: String,
    pub will_topic: String,
    pub will_payload: Vec<u8>,
    pub will_retain: bool,
    pub will_properties: Properties,
}

/// One message to or from a broker.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
    pub properties: Properties,
}

/// What MQTT 5 carries beside a payload (section 3.3.2.3); a connection of MQTT 3.1.1 leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// A media type.
    pub content_type: Option<&'static str>,
    /// After so many seconds the broker drops it.
    pub expiry_seconds: Option<u32>,
    /// `gateway`, `event`, `schema`.
    pub user: Vec<(&'static str, String)>,
    /// Where the answer to it is wanted.
    pub response_topic: Option<String>,
    /// What the answer must carry.
    pub correlation: Option<Vec<u8>>,
}

/// An open connection to a broker.
pub trait MqttConnection: Send {
    /// Sends a message with QoS 1 and returns when the broker has acknowledged it (PUBACK). Several may be on their way at
    /// once; the future does not borrow the connection. It fails when the connection breaks first.
    fn publish(&mut self, message: Message) -> BoxFuture<'static, Result<(), Reason>>;
    /// Sends a message with QoS 0, behind all that were given before: nobody says whether it arrived. An error says that it
    /// was not even sent.
    fn send(&mut self, message: Message) -> Result<(), Reason> {
        drop(self.publish(message));
        Ok(())
    }
    /// Asks for what others publish on this topic, with QoS 1; asked for again with each connection. Retained messages are
    /// left out, and what arrives faster than it is taken is dropped.
    fn subscribe(&mut self, topic: String) -> mpsc::Receiver<Message>;
    /// The same with what the broker has kept there, marked as retained.
    fn subscribe_kept(&mut self, topic: String) -> mpsc::Receiver<Message> {
        self.subscribe(topic)
    }
    /// Returns when the connection has broken, with the reason.
    fn broken(&mut self) -> BoxFuture<'_, Reason>;
    /// Says good-bye, so that the last will stays unsaid.
    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Webhook endpoints.
pub trait HttpClient: Send + Sync {
    /// Sends one request and returns the answer, or what went wrong before there was one. Follows no redirect, reads a few
    /// kilobytes of the answer's body at most, and waits no longer than the webhook's timeout for all of it.
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>>;

    /// The same on a connection of its own, with an account of every step on the way. Where connections are not made of
    /// steps (a simulation) there is only the answer.
    fn trace(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Trace> {
        let sending = self.send(webhook, request);
        Box::pin(async move { Trace { hops: Vec::new(), answer: sending.await } })
    }
}

/// How a request went. When there is no answer, the last hop is the one that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// From the name's lookup to the answer.
    pub hops: Vec<probe::Hop>,
    pub answer: Result<Response, SendError>,
}

/// No answer came back: the class decides what becomes of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// This machine has no network: not an attempt.
    NoNetwork(Reason),
    /// Worth trying again.
    Passing(Reason),
    /// The address or the certificate is wrong: a person must act.
    Configuration(Reason),
}

/// Where the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// `http.listen`: address and port.
    Tcp(String),
    /// The control socket, mode 0660.
    Socket(PathBuf),
}

/// The gateway's own HTTP server.
pub trait HttpServer: Send + Sync {
    /// Serves there until the stop; an error says why it cannot begin.
    fn serve(&self, at: &Serving, router: axum::Router, stop: Stop) -> BoxFuture<'static, Result<(), PortError>>;
}

impl SendError {
    /// Why, whatever becomes of the delivery.
    pub fn reason(&self) -> &Reason {
        match self {
            SendError::NoNetwork(reason) | SendError::Passing(reason) | SendError::Configuration(reason) => reason,
        }
    }
}

/// The machine below: its temperature, memory and disk.
pub trait Machine: Send + Sync {
    /// Looks at it. What it cannot say is absent. `state_dir` names the file system that holds the events.
    fn vitals(&self, state_dir: &Path) -> BoxFuture<'static, Vitals>;
    /// How long these certificates hold. Files that cannot be read are left out: whoever needs them says why.
    fn certificates(&self, files: &[CertificateFile], now: Now) -> BoxFuture<'static, Vec<CertificateLeft>> {
        let _ = (files, now);
        Box::pin(std::future::ready(Vec::new()))
    }
    /// What a support engineer asks of a machine.
    fn particulars(&self) -> BoxFuture<'static, Particulars> {
        Box::pin(std::future::ready(Particulars::default()))
    }
    /// What the privileged half of the box says of it. Empty where there is none.
    fn appliance(&self) -> BoxFuture<'static, Appliance> {
        Box::pin(std::future::ready(Appliance::default()))
    }
    /// Its own addresses in the network, as far as it has any; `None`: nobody knows.
    fn addresses(&self) -> Option<Vec<String>> {
        None
    }
    /// Serial adapters that are plugged in and that none of these ports means, as items to paste below `analyzers:`; `known`: how
    /// many analyzers there are already.
    fn spare_ports(&self, used: Vec<PortName>, known: usize) -> BoxFuture<'static, Vec<String>> {
        let _ = (used, known);
        Box::pin(std::future::ready(Vec::new()))
    }
    /// Whether it is one: a system image with a privileged half.
    fn is_appliance(&self) -> bool {
        false
    }
    /// Leaves a file for the privileged half. The error is a sentence.
    fn leave(&self, name: &'static str, bytes: Vec<u8>) -> BoxFuture<'static, Result<(), String>> {
        let _ = (name, bytes);
        Box::pin(std::future::ready(Err("this is no appliance".to_owned())))
    }
    /// Asks the privileged half for something. Gives back what somebody has asked before and what nobody has taken yet: then nothing
    /// was asked. The error is a sentence.
    fn ask(&self, name: &'static str, bytes: Vec<u8>) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> {
        let _ = (name, bytes);
        Box::pin(std::future::ready(Err("this is no appliance".to_owned())))
    }
    /// What it is called on the network, without a domain.
    fn host_name(&self) -> Option<String> {
        None
    }
}

/// See [`Machine::particulars`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Particulars {
    /// `system`, `kernel` and `board`, those that are known.
    pub versions: Vec<(String, String)>,
    /// The kernel's lines about adapters, cards and power, or why they cannot be had.
    pub kernel: Result<Vec<String>, String>,
}

impl Default for Particulars {
    fn default() -> Self {
        Particulars { versions: Vec::new(), kernel: Err("this machine says nothing of itself".to_owned()) }
    }
}

/// From where a request came over TCP: an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub std::net::IpAddr);

/// systemd, or nobody.
pub trait ServiceManager: Send + Sync {
    fn notify(&self, notice: Notice<'_>);
    /// How often the watchdog wants to be fed, if it is on.
    fn watchdog_interval(&self) -> Option<std::time::Duration>;
}

/// What a service manager can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    Ready,
    Status(&'a str),
    Watchdog,
    /// With the monotonic time, as `Type=notify-reload` wants it.
    Reloading,
    Stopping,
}

/// How the database's work is run. Statements themselves go to SQLite in `store/`; this decides on which thread, and lets
/// a simulation stop the world before and after each commit.
pub trait Disk: Send + Sync {
    /// Runs the work to its end even if nobody waits for it any more.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
    /// Called with the open transaction just before COMMIT and just after it; an error makes the commit fail.
    fn at_commit(&self, moment: CommitMoment) -> Result<(), String> {
        let _ = moment;
        Ok(())
    }
}

/// See [`Disk::at_commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMoment {
    Before,
    After,
}
