//! A running gateway with its API on a free port, and a client that writes and reads HTTP by hand.

use super::home::{Gateway, Home};
use gateway_tests::http;
pub use gateway_tests::http::Answer;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// Nothing that is asked here takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Bench {
    pub home: Home,
    pub gateway: Gateway,
    pub port: u16,
}

/// A port that nobody had a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

impl Bench {
    /// Sections of the settings beside `http`, which has a token for each scope: its name is its text.
    pub async fn start(sections: &str) -> Bench {
        let home = Home::new();
        let port = free_port();
        let scopes = ["post", "read", "operate", "administer"];
        let token = |scope: &&str| format!("    - {{ id: {scope}, scope: {scope}, hash: {} }}\n", hash(scope));
        let tokens: String = scopes.iter().map(token).collect();
        // Unless a test is about it nobody is a broker: gateways beside each other would share an embedded one.
        let broker = if sections.contains("mqtt:") { "" } else { "mqtt: { url: 'mqtt://127.0.0.1:9' }\n" };
        home.configure(&format!(
            "{broker}http:\n  listen: '127.0.0.1:{port}'\n  public_url: 'https://gateway.clinic.example'\n  tokens:\n{tokens}{sections}"
        ));
        let gateway = home.start_ready().await;
        let bench = Bench { home, gateway, port };
        bench.home.says(&["the API listens"]).await;
        bench
    }

    /// Over TCP, with the token of that scope.
    pub async fn ask(&self, scope: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let token = format!("Bearer {scope}");
        let mut headers = vec![("authorization", token.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.raw(method, path, &headers, body.as_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("read", "GET", path, None).await
    }

    pub async fn post(&self, scope: &str, path: &str, body: Value) -> Answer {
        self.ask(scope, "POST", path, Some(body)).await
    }

    /// Over TCP, with these headers and no others.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_raw(method, path, headers, body).await.expect("the API listens")
    }

    async fn try_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        http::exchange(stream, method, path, headers, body).await
    }

    /// Over the control socket, without a token.
    pub async fn socket(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let path_of_socket = self.home.state_dir().join("control.sock");
        // New settings close it for a moment.
        let there = || std::os::unix::net::UnixStream::connect(&path_of_socket).ok();
        let stream = self.home.eventually("the control socket", there).await;
        stream.set_nonblocking(true).expect("a socket");
        let stream = UnixStream::from_std(stream).expect("a socket");
        let headers: &[(&str, &str)] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        http::exchange(stream, method, path, headers, body.as_bytes()).await.expect("the socket listens")
    }

    /// Every event of the log.
    pub async fn events(&self) -> Vec<Value> {
        let answer = self.get("/api/events?limit=500").await.expect(200);
        answer["events"].as_array().expect("a list").clone()
    }

    /// Their names.
    pub async fn names(&self) -> Vec<String> {
        let name = |event: &Value| event["data"]["event"].as_str().expect("a name").to_owned();
        self.events().await.iter().map(name).collect()
    }

    /// Asks until the answer is what is waited for. While other settings are put in force the port is closed for a moment.
    pub async fn eventually(&self, scope: &str, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let token = format!("Bearer {scope}");
            let answer = self.try_raw("GET", path, &[("authorization", &token)], &[]).await;
            if let Ok(answer) = &answer
                && answer.status == 200
                && is_it(&answer.json())
            {
                return answer.json();
            }
            let told = answer.map_or_else(|error| error.to_string(), |answer| answer.text());
            assert!(tokio::time::Instant::now() < deadline, "in vain: {path} {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// As `http.tokens[].hash` has it.
pub fn hash(token: &str) -> String {
    gateway_daemon::api::auth::hash(token)
}
