//! Receivers in Node: the Express server of the document behind `partner`, and the MAC check of the one behind `session`.

use crate::judge;
use gateway_core::delivery::Outcome;
use gateway_core::dialects::{HttpRequest, Request, Response, content_mac, dialect};
use gateway_tests::cases::{Case, NOW, cases, header};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A script of `judges/node` that listens on a free port.
struct Server {
    process: Child,
    port: u16,
    log: Receiver<String>,
}

impl Server {
    /// `None` if Node's packages are not installed.
    fn start(script: &str, environment: &[(&str, &str)]) -> Option<Server> {
        let packages = judge("node/node_modules")?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/node");
        let mut process = Command::new("node")
            .args(["--require", "./any_port.js", script])
            .current_dir(scripts)
            .env("NODE_PATH", packages)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let (lines, log) = channel();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let mut server = Server { process, port: 0, log };
        while server.port == 0 {
            let line = server.logged();
            server.port = line.strip_prefix("PORT ").map_or(0, |port| port.parse().expect("a port"));
        }
        Some(server)
    }

    /// The next line that it prints.
    fn logged(&self) -> String {
        self.log.recv_timeout(PATIENCE).expect("a line of the judge's log")
    }

    /// The next line that is about a request.
    fn logged_body(&self) -> String {
        loop {
            let line = self.logged();
            if line.starts_with('{') {
                return line;
            }
        }
    }

    /// Posts it and reads the status.
    fn post(&self, path: &str, request: &HttpRequest) -> Response {
        let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = request.body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&[head.as_bytes(), &request.body].concat()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).expect("a status line").parse().expect("a status");
        Response { status, ..Response::default() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The cases of a dialect that have a request, and it.
fn requests(name: &str) -> Vec<(Case, HttpRequest)> {
    let cases = cases(dialect(name).expect("a dialect")).into_iter();
    let requests: Vec<_> = cases.filter_map(|case| case.http().map(|request| (case, request))).collect();
    assert!(!requests.is_empty());
    requests
}

/// A value as Node's console prints it.
fn inspected(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(_) => panic!("no object in an object here"),
        Value::Array(values) => format!("[ {} ]", join(values.iter().map(inspected).collect())),
        Value::String(text) => format!("'{text}'"),
        plain => plain.to_string(),
    }
}

#[test]
fn the_documented_express_receiver_takes_every_partner_request() {
    let Some(server) = Server::start("partner.js", &[]) else { return };
    for (case, request) in requests("partner") {
        let shown = case.folder.display();
        let response = server.post("/hook", &request);
        let outcome = case.dialect.judge(case.batch(), &response, &case.endpoint, NOW);
        if header(&request, "x-api-key") != Some("mysecretkey") {
            assert_eq!(response.status, 401, "{shown}");
            assert!(matches!(outcome, Outcome::Held { .. }), "{shown}: {outcome:?}");
            continue;
        }
        assert_eq!(response.status, 200, "{shown}");
        assert!(outcome == Outcome::Delivered || case.endpoint.success_statuses.is_some(), "{shown}: {outcome:?}");
        let logged = server.logged_body();
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let mut parts = vec![format!("eventName: {}", inspected(&body["eventName"]))];
        let data = body["data"].as_object().expect("an object");
        parts.extend(data.iter().map(|(key, value)| format!("{key}: {}", inspected(value))));
        for part in parts {
            assert!(logged.contains(&part), "{shown}: {part} is not in {logged}");
        }
    }
}

/// Posts the request that tries an endpoint out, and reads what is logged of it.
fn try_out(server: &Server, path: &str, name: &str) -> String {
    let (case, _) = requests(name).remove(0);
    let Ok(Request::Http(probe)) = case.dialect.probe(case.event().id, &case.attempt()) else { panic!("no probe") };
    assert!([200, 204].contains(&server.post(path, &probe).status));
    server.logged_body()
}

#[test]
fn the_documented_receivers_take_a_probe() {
    if let Some(server) = Server::start("partner.js", &[]) {
        assert_eq!(try_out(&server, "/hook", "partner"), "{ eventName: 'webhookTest', data: {} }");
    }
    if let Some(server) = Server::start("session.js", &[("MAC_SECRET", "a-mac-secret")]) {
        assert!(try_out(&server, "/", "session").contains(r#""sessionId":"webhook-test-"#));
    }
}

#[test]
fn the_documented_mac_check_believes_every_session_request() {
    let Some(server) = Server::start("session.js", &[("MAC_SECRET", "a-mac-secret")]) else { return };
    let mut saw_umlaut = false;
    for (case, request) in requests("session") {
        let shown = case.folder.display();
        let response = server.post("/", &request);
        let outcome = case.dialect.judge(case.batch(), &response, &case.endpoint, NOW);
        if case.secrets[0].expose() != "a-mac-secret" {
            assert_eq!(response.status, 401, "{shown}");
            assert!(matches!(outcome, Outcome::Held { .. }), "{shown}: {outcome:?}");
            continue;
        }
        assert_eq!((response.status, outcome), (204, Outcome::Delivered), "{shown}");
        let logged: Value = serde_json::from_str(&server.logged_body()).expect("JSON");
        assert_eq!(logged["sequence"], json!(case.event().sequence), "{shown}");
        if let Some(posted) = &case.event().kind.posted {
            assert_eq!(logged["event"], posted.event, "{shown}");
            assert_eq!(
                logged["sessionId"].as_str(),
                posted.session.as_ref().map(|session| session.expose()),
                "{shown}"
            );
            let payload = logged.get("payload").unwrap_or(&Value::Null);
            assert!(same(payload, posted.payload.expose()), "{shown}");
            saw_umlaut |= payload.to_string().contains('ü');
        }
    }
    assert!(saw_umlaut, "no case has a payload with an umlaut");
}

/// Equal, numbers by what they are worth: Node prints 99.50 as 99.5.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|it| same(value, it)))
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

/// The trap that the dialect avoids is there: the same event with its letters unescaped has another MAC in Node.
#[test]
fn the_documented_mac_check_refuses_the_same_body_in_utf8() {
    let Some(server) = Server::start("session.js", &[("MAC_SECRET", "a-mac-secret")]) else { return };
    let (_, escaped) = requests("session")
        .into_iter()
        .find(|(_, request)| request.body.windows(6).any(|window| window == br"\u00fc"))
        .expect("a case with an umlaut");
    assert_eq!(server.post("/", &escaped).status, 204);
    let body: Value = serde_json::from_slice(&escaped.body).expect("JSON");
    let mut plain = HttpRequest { body: body.to_string().into_bytes(), ..escaped };
    let mac = content_mac("a-mac-secret", &plain.body);
    plain
        .headers
        .iter_mut()
        .filter(|(name, _)| name == "x-wms-content-mac")
        .for_each(|(_, value)| value.clone_from(&mac));
    assert_eq!(server.post("/", &plain).status, 401);
}
