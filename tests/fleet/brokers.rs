//! Brokers of our own on free ports: Debian's mosquitto and nats-server, each with a folder of the test.

use super::processes::{Process, eventually};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Connections need files, and brokers inherit how many they may have.
const FILES: u64 = 4096;

/// Where a program of Debian's is. Where it is not, what it judges is skipped aloud; under CI that is a failure.
fn program(name: &str) -> Option<String> {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let found = folders.map(|folder| format!("{folder}/{name}")).into_iter().find(|path| Path::new(path).is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed; what it judges is not judged");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} is needed in CI");
    }
    found
}

/// A port that nobody had a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

pub struct Broker {
    pub port: u16,
    start: Box<dyn Fn() -> Command>,
    process: Option<Process>,
}

impl Broker {
    pub fn switch_on(&mut self) {
        self.process = Some(Process((self.start)().spawn().expect("the broker starts")));
        eventually("the broker's port", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok());
    }

    /// As a power cut does.
    pub fn switch_off(&mut self) {
        self.process = None;
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// The memory that is its own, in kilobytes.
    pub fn anonymous_kb(&self) -> u64 {
        let id = self.process.as_ref().expect("a running broker").0.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < FILES) {
        limit.current = Some(limit.maximum.map_or(FILES, |maximum| maximum.min(FILES)));
        setrlimit(Resource::Nofile, limit).expect("below the hard limit");
    }
}

/// A command that logs into the folder.
fn command(folder: &TempDir, program: &str, arguments: &[&str]) -> Box<dyn Fn() -> Command> {
    allow_files();
    let log = folder.path().join("broker.log");
    let (program, folder) = (program.to_owned(), folder.path().to_owned());
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    Box::new(move || {
        let log = std::fs::File::create(&log).expect("a folder of our own");
        let mut command = Command::new(&program);
        command.args(&arguments).current_dir(&folder).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second descriptor")).stderr(log);
        command
    })
}

/// mosquitto with these lines of mosquitto.conf(5), which name this port.
pub fn mosquitto_with(folder: &TempDir, port: u16, text: &str) -> Option<Broker> {
    let program = program("mosquitto")?;
    // Started by root it would become a user who cannot read the test's folder.
    std::fs::write(folder.path().join("mosquitto.conf"), format!("{text}\nuser root\n")).expect("a folder of our own");
    let mut broker = Broker { port, start: command(folder, &program, &["-c", "mosquitto.conf"]), process: None };
    broker.switch_on();
    Some(broker)
}

/// One that lets anybody in, for a fleet.
pub fn mosquitto(folder: &TempDir) -> Option<Broker> {
    let port = free_port();
    let lines = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\npersistence true\n\
         autosave_interval 1\nautosave_on_changes true\n"
    );
    mosquitto_with(folder, port, &lines)
}

/// nats-server with this configuration, whose MQTT side listens on this port; `node` is its name.
pub fn nats_with(folder: &TempDir, node: &str, port: u16, text: &str) -> Option<Broker> {
    let program = program("nats-server")?;
    let file = format!("{node}.conf");
    std::fs::write(folder.path().join(&file), text).expect("a folder of our own");
    let start = command(folder, &program, &["-c", &file]);
    let node = node.to_owned();
    let start = Box::new(move || {
        let mut command = start();
        command.env("NODE", &node);
        command
    });
    let mut broker = Broker { port, start, process: None };
    broker.switch_on();
    Some(broker)
}

/// One that lets anybody in, with JetStream.
pub fn nats(folder: &TempDir) -> Option<Broker> {
    let (port, clients) = (free_port(), free_port());
    let store = folder.path().join("jetstream");
    let text = format!(
        "server_name: $NODE\nlisten: \"127.0.0.1:{clients}\"\njetstream {{ store_dir: \"{}\" }}\n\
         mqtt {{ listen: \"127.0.0.1:{port}\" }}\n",
        store.display()
    );
    nats_with(folder, "fleet", port, &text)
}
