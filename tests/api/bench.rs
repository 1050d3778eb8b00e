//! A running gateway with its API on a free port, and a client that writes and reads HTTP by hand.

use super::home::{Gateway, Home};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Nothing that is asked here takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Bench {
    pub home: Home,
    pub gateway: Gateway,
    pub port: u16,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer with that status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// A problem with that status; gives its detail and the paths of its faults.
    #[track_caller]
    pub fn problem(&self, status: u16) -> (String, Vec<String>) {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        let faults = body["errors"].as_array().cloned().unwrap_or_default();
        let path = |fault: &Value| fault["path"].as_str().expect("a path").to_owned();
        (body["detail"].as_str().expect("a detail").to_owned(), faults.iter().map(path).collect())
    }
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
        exchange(stream, method, path, headers, body).await
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
        exchange(stream, method, path, headers, body.as_bytes()).await.expect("the socket listens")
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

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method != "GET" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    // A server may answer before it has read the whole of a body that it refuses.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    let _ = reading.expect("an answer");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Ok(Answer { status: status.expect("a status"), headers, body: bytes[end + 4..].to_vec() })
}
