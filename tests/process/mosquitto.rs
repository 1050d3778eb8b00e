//! A broker of our own: Debian's mosquitto on a free port, with its memory in a folder of the test.

use super::home::Home;
use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

const PROGRAMS: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];

/// Whether there is a mosquitto. Where there is none, what it judges is skipped aloud; under CI that is a failure.
pub fn is_installed() -> bool {
    let found = program().is_some();
    if !found {
        eprintln!("SKIPPED: mosquitto is not installed; what it judges is not judged");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "mosquitto is needed in CI");
    }
    found
}

fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|path| Path::new(path).is_file())
}

/// A port that nobody had a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

pub struct Mosquitto {
    pub port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Anybody may connect, nothing queued is dropped.
    pub async fn start(home: &Home) -> Mosquitto {
        Mosquitto::start_with(home, "allow_anonymous true\n").await
    }

    /// With further lines of mosquitto.conf(5).
    pub async fn start_with(home: &Home, lines: &str) -> Mosquitto {
        let port = free_port();
        let folder = home.path("");
        let text = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {}/\nmax_queued_messages 0\n\
             max_keepalive 60\n{lines}",
            folder.display()
        );
        home.write("mosquitto.conf", text);
        let mut broker = Mosquitto { port, child: None };
        broker.switch_on(home).await;
        broker
    }

    /// Starts it again on the same port, with what it remembers.
    pub async fn switch_on(&mut self, home: &Home) {
        let log = std::fs::File::create(home.path("mosquitto.log")).expect("a folder of our own");
        let mut command = Command::new(program().expect("asked before"));
        command.arg("-v").arg("-c").arg(home.path("mosquitto.conf")).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second descriptor")).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().expect("mosquitto starts"));
        let port = self.port;
        home.eventually("mosquitto", || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()).await;
    }

    /// Stops it in order, so that it keeps what it has acknowledged.
    pub async fn switch_off(&mut self) {
        let mut child = self.child.take().expect("a running broker");
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a running broker"), Signal::TERM).expect("a process of ours");
        child.wait().await.expect("a process of ours");
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}
