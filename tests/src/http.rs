//! A client that writes and reads HTTP/1.1 by hand: what is asked, and what is answered, is what the test says.

use serde_json::Value;
use std::io::{ErrorKind, Result};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Nothing that is asked takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

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

/// Asks once on this connection, which is then closed.
pub async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
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
    // Nor does it always say goodbye after its answer.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.map_err(|_| ErrorKind::TimedOut)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Ok(Answer { status: status.expect("a status"), headers, body: bytes[end + 4..].to_vec() })
}
