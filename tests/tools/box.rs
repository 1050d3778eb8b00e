//! A gateway with one analyzer on TCP and one endpoint that nobody answers at, and its commands.

use super::cable::{Cable, message};
use super::home::{DEADLINE, Gateway, Home};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use tokio::net::TcpStream;

pub struct Box {
    pub home: Home,
    pub port: u16,
}

/// What a command has said.
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn expect(self, status: i32) -> Said {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}{}", self.out, self.err))
    }

    #[track_caller]
    pub fn holds(&self, words: &[&str]) {
        for word in words {
            assert!(self.out.contains(word), "{word} in {}{}", self.out, self.err);
        }
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

impl Box {
    /// With these sections beside the analyzer and the endpoint.
    pub fn new(sections: &str) -> Box {
        let (home, port) = (Home::new(), free_port());
        let the_box = Box { home, port };
        the_box.configure(sections);
        the_box
    }

    pub fn configure(&self, sections: &str) {
        let port = self.port;
        self.home.configure(&format!(
            "mqtt: {{ url: 'mqtt://127.0.0.1:9' }}\n\
             analyzers:\n  - {{ id: bench, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n\
             webhooks:\n  - {{ id: lims, url: 'http://127.0.0.1:9/', dialect: cloudevents }}\n{sections}"
        ));
    }

    pub async fn start(&self) -> (Gateway, Cable<TcpStream>) {
        let gateway = self.home.start_ready().await;
        (gateway, Cable::call(&self.home, self.port).await)
    }

    /// One sample with two results, acknowledged frame by frame.
    pub async fn tell(cable: &mut Cable<TcpStream>, sample: &str) {
        cable.tell(&message(sample, 2)).await;
    }

    pub async fn say(&self, arguments: &[&str]) -> Said {
        let settings = self.home.settings_path();
        let settings = settings.to_string_lossy();
        self.say_bare(&arguments.iter().copied().chain(["--config", &settings]).collect::<Vec<_>>()).await
    }

    /// Without naming the settings.
    pub async fn say_bare(&self, arguments: &[&str]) -> Said {
        let mut command = self.home.command(arguments);
        let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The ids of the finished tests' events and of these tests, in the order of the log.
    pub async fn finished(&self) -> Vec<(String, String)> {
        let said = self.say(&["events", "--name", "TEST_FINISHED", "--limit", "500"]).await.expect(0);
        let lines = said.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        lines.map(|event| (text(&event["id"]), text(&event["data"]["test"]["id"]))).collect()
    }

    /// Waits until so many tests are in the log.
    pub async fn stored(&self, count: usize) -> Vec<(String, String)> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let finished = self.finished().await;
            if finished.len() >= count {
                return finished;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} of {count}: {}", finished.len(), self.home.tail());
        }
    }
}
