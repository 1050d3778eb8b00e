//! `receive` as a process: what it verifies, what it says of each request, and its scripted faults in their turn.

use super::servers::{DEADLINE, failure};
use gateway_core::config::{Endpoint, Secret, Webhook};
use gateway_core::delivery::ReasonCode;
use gateway_core::dialects::{Attempt, HttpRequest, Request, Response, dialect};
use gateway_core::event::Id;
use gateway_core::time::{ClockQuality, Now, Timestamp};
use gateway_daemon::platform::http::WebhookClient;
use gateway_daemon::platform::{HttpClient, SendError};
use gateway_daemon::simulated::receiver::{Complaint, Options, Receiver, Verify, in_turn, steps};
use gateway_tests::binary;
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB3ZWJob29rIHRlc3RzIDE=";
const OTHER: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzIDAwMg==";

/// A running `receive`.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Process {
    async fn start(arguments: &[&str]) -> Process {
        let mut command = Command::new(binary());
        command.arg("receive").args(arguments).env_clear().stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut process = Process { child, lines, url: String::new() };
        let first = process.line().await;
        process.url = first.strip_prefix("listening on ").expect("the address").to_owned();
        process
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await.expect("a line comes");
        line.expect("text").expect("it runs")
    }

    /// SIGTERM, and what it says then.
    async fn stop(mut self) -> String {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("a process that runs"), Signal::TERM).expect("a process of ours");
        let last = self.line().await;
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it ends");
        assert_eq!(status.expect("a process of ours").code(), Some(0));
        last
    }
}

/// A test event as the gateway sends it, signed with this secret.
fn signed(id: u8, secret: &str) -> Request {
    let wall = Timestamp(jiff::Timestamp::now().as_millisecond());
    let now = Now { wall, quality: ClockQuality::Synchronized, ..Now::default() };
    let endpoint = Endpoint::default();
    let secrets = [Secret::new(secret)];
    let attempt = Attempt {
        gateway: "box",
        endpoint: &endpoint,
        secrets: &secrets,
        now,
        signed_at: wall,
        number: 1,
        ordinal: 0,
        ordinals: &[],
        redriven: false,
        historical: false,
        history: &[],
    };
    let cloudevents = dialect("cloudevents").expect("the default");
    cloudevents.probe(Id([id; 16]), &attempt).expect("it has a probe")
}

async fn send(url: &str, request: Request) -> Result<Response, SendError> {
    let webhook = Webhook { timeout: Duration::from_millis(1500), ..Webhook::new("lims", url, "cloudevents") };
    tokio::time::timeout(DEADLINE, WebhookClient::default().send(&webhook, request)).await.expect("it ends")
}

#[tokio::test]
async fn faults_come_in_their_turn_and_then_everything_is_taken() {
    let arguments =
        ["--dialect", "cloudevents", "--secret", SECRET, "--secret", OTHER, "--fault", "500x2,429:7,hang,drop,200"];
    let mut process = Process::start(&arguments).await;
    assert_eq!(process.line().await, "signature or key, form and payload are verified");
    let url = process.url.clone();
    let wanted = ["500 as scripted", "500 as scripted", "429 as scripted, retry after 7 s", "silence, as scripted"];
    for (index, wanted) in wanted.iter().enumerate() {
        let answer = send(&url, signed(1, SECRET)).await;
        match index {
            0 | 1 => assert_eq!(answer.expect("an answer").status, 500),
            2 => assert_eq!(answer.expect("an answer").header("retry-after"), Some("7")),
            _ => assert_eq!(failure(answer).1, ReasonCode::Timeout),
        }
        let line = process.line().await;
        assert!(line.contains(" test ordinal 0 attempt 1 -> ") && line.ends_with(wanted), "{line}");
    }
    assert_eq!(failure(send(&url, signed(1, SECRET)).await).1, ReasonCode::ConnectionLost);
    assert!(process.line().await.ends_with("taken, hangs up without an answer"));
    for (id, secret, wanted) in [(1, SECRET, "200 taken"), (2, OTHER, "200 taken")] {
        assert_eq!(send(&url, signed(id, secret)).await.expect("an answer").status, 200);
        let line = process.line().await;
        assert!(line.contains(wanted), "{line}");
    }
    assert!(process.stop().await.starts_with("7 requests: 2 events, 1 repeats, "));
}

#[tokio::test]
async fn what_is_forged_or_changed_is_refused_with_the_reason() {
    let mut process = Process::start(&["--dialect", "cloudevents", "--secret", SECRET]).await;
    process.line().await;
    let url = process.url.clone();
    let answer = send(&url, signed(1, OTHER)).await.expect("an answer");
    assert_eq!(answer.status, 401);
    assert!(!answer.body.is_empty(), "the reason is the answer's body");
    assert!(process.line().await.contains(" -> 401 "));
    let Request::Http(HttpRequest { headers, mut body }) = signed(1, SECRET) else { panic!("it is HTTP") };
    body.push(b' ');
    assert_eq!(send(&url, Request::Http(HttpRequest { headers, body })).await.expect("an answer").status, 401);
    process.line().await;
    assert_eq!(process.stop().await, "2 requests: 0 events, 0 repeats, 2 refused as wrong");
}

#[tokio::test]
async fn bodies_are_printed_only_where_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).expect("a folder of our own");
    let file = file.display().to_string();
    for (extra, shown) in [(None, false), (Some("--print-bodies"), true)] {
        let mut arguments = vec!["--dialect", "cloudevents", "--secret-file", &file];
        arguments.extend(extra);
        let mut process = Process::start(&arguments).await;
        process.line().await;
        assert_eq!(send(&process.url, signed(1, SECRET)).await.expect("an answer").status, 200);
        assert!(process.line().await.ends_with("200 taken"));
        assert_eq!(process.line_or_last().await.contains("specversion"), shown);
    }
}

impl Process {
    /// The next line; after a stop, if none comes by itself.
    async fn line_or_last(mut self) -> String {
        match tokio::time::timeout(Duration::from_millis(200), self.lines.next_line()).await {
            Ok(line) => line.expect("text").expect("it runs"),
            Err(_) => self.stop().await,
        }
    }
}

#[tokio::test]
async fn wrong_arguments_are_told() {
    for (arguments, word) in [
        (["--dialect", "klingon", "--listen", "127.0.0.1:0"], "cloudevents"),
        (["--dialect", "cloudevents", "--secret", "plain"], "whsec_"),
        (["--dialect", "cloudevents", "--fault", "later"], "is no step"),
        (["--dialect", "cloudevents", "--secret-file", "/nowhere/at/all"], "/nowhere/at/all"),
    ] {
        let mut command = Command::new(binary());
        let running = command.arg("receive").args(arguments).env_clear().kill_on_drop(true).output();
        let output = tokio::time::timeout(DEADLINE, running).await.expect("it ends").expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(word), "{told}");
    }
}

#[tokio::test]
async fn hl7_is_received_on_both_wires_of_one_port() {
    let mut process = Process::start(&["--dialect", "hl7", "--fault", "503"]).await;
    assert_eq!(process.line().await, "nothing is verified: requests are taken as they come");
    let (mllp, http) = process.url.split_once(" and ").expect("two addresses");
    let (mllp, http) = (mllp.to_owned(), http.to_owned());
    let message = b"MSH|^~\\&|GW|BOX|LIS|LAB|20261121||ORU^R01|M1|T|2.5.1\r".to_vec();
    for code in ["MSA|AE|M1", "MSA|AA|M1"] {
        let response = send(&mllp, Request::Mllp(message.clone())).await.expect("an answer");
        assert!(String::from_utf8_lossy(&response.body).contains(code));
        assert!(process.line().await.starts_with("M1 - -> "));
    }
    let headers = vec![("content-type".to_owned(), "application/hl7-v2; charset=utf-8".to_owned())];
    let response = send(&http, Request::Http(HttpRequest { headers, body: message })).await.expect("an answer");
    assert!(String::from_utf8_lossy(&response.body).contains("MSA|AA|M1"));
}

/// The same receiver over MLLP: the script's statuses become the codes of the acknowledgement.
#[tokio::test]
async fn over_mllp_each_answer_is_an_acknowledgement_of_its_message() {
    let refuses: Verify = Arc::new(|posted, _| match posted.body.ends_with(b"FORGED\r") {
        true => Err(Complaint { status: 422, problem: "that | cannot be".to_owned() }),
        false => Ok(()),
    });
    let script = in_turn(steps("503,200,drop").expect("steps"));
    let options = Options { verify: refuses, script, wall: Arc::new(|| Timestamp(0)) };
    let receiver = Receiver::start(options).await.expect("a port");
    let webhook = Webhook::new("lab", &format!("mllp://{}", receiver.address()), "hl7");
    let client = WebhookClient::default();
    let mut codes = Vec::new();
    for (id, end) in [("M1", "OK"), ("M1", "OK"), ("M2", "OK"), ("M3", "FORGED")] {
        let message = format!("MSH|^~\\&|GW|BOX|LIS|LAB|20261121||ORU^R01|{id}|T|2.5.1\rNTE|1||{end}\r");
        let answer = match client.send(&webhook, Request::Mllp(message.into_bytes())).await {
            Ok(response) => String::from_utf8_lossy(&response.body).into_owned(),
            Err(error) => error.reason().code.as_str().to_owned(),
        };
        codes.push(answer.split('\r').nth(1).map_or(answer.clone(), str::to_owned));
    }
    // The connection that was dropped was a kept one, so the message went out again at once, under the same id.
    assert_eq!(codes, ["MSA|AE|M1|", "MSA|AA|M1|", "MSA|AA|M2|", "MSA|AR|M3|that   cannot be"]);
    let counts = receiver.counts();
    assert_eq!((receiver.ids(), counts.repeats, counts.differing), (vec!["M1".to_owned(), "M2".to_owned()], 1, 0));
}
