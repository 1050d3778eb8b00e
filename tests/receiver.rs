//! What an ASTM receiver is asked to survive: eighteen transmissions against the real binary, over a pseudo-terminal and over
//! TCP, each whole and in pieces of 1, 7 and 32 bytes. Every answer is judged, and what is stored is read over the API.
//!
//! Beside it a public receiver from PyPI hears the same; its score is printed and judges nothing.

#[path = "receiver/cases.rs"]
mod cases;
#[expect(dead_code, reason = "another test uses the rest")]
#[path = "process/home.rs"]
mod home;

use cases::{ACK, Case, ENQ, cases};
use gateway_daemon::platform::pty::Pty;
use home::{DEADLINE, Home};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::task::JoinSet;

/// Bytes at a time; the first is more than any part has.
const SIZES: [usize; 4] = [1 << 20, 1, 7, 32];
/// Between two pieces, so that they are read one by one.
const GAP: Duration = Duration::from_millis(1);
/// So many pieces of a transmission have a gap behind them; the others follow as fast as the line takes them.
const GAPS_MAX: usize = 2_000;
/// A sender waits so long for an answer (LIS01-A2).
const PATIENCE: Duration = Duration::from_secs(15);

trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// Plays a transmission; says at which part the answer was another.
async fn play(line: &mut dyn Line, case: &Case, size: usize, patience: Duration) -> Result<(), String> {
    let mut gaps = 0;
    for (place, part) in case.parts.iter().enumerate() {
        for piece in part.bytes.chunks(size) {
            let written = async {
                line.write_all(piece).await?;
                line.flush().await
            };
            tokio::time::timeout(patience, written)
                .await
                .map_err(|_| "not read")?
                .map_err(|error| error.to_string())?;
            gaps += 1;
            if gaps <= GAPS_MAX && size < part.bytes.len() {
                tokio::time::sleep(GAP).await;
            }
        }
        let Some(wanted) = part.answer else { continue };
        match tokio::time::timeout(patience, line.read_u8()).await {
            Ok(Ok(answer)) if answer == wanted => {}
            Ok(Ok(answer)) => return Err(format!("part {place}: {answer:#04x} instead of {wanted:#04x}")),
            Ok(Err(error)) => return Err(format!("part {place}: {error}")),
            Err(_) => return Err(format!("part {place}: no answer")),
        }
    }
    Ok(())
}

/// What the API shows of an analyzer's events, in order.
async fn stored(home: &Home, analyzer: &str) -> Vec<String> {
    let mut stored = Vec::new();
    let mut after = 0;
    loop {
        let mut socket = UnixStream::connect(home.state_dir().join("control.sock")).await.expect("the control socket");
        let request =
            format!("GET /api/events?after={after}&limit=500 HTTP/1.1\r\nhost: box\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.expect("it answers");
        let text = String::from_utf8(answer).expect("text");
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        let page: Value = serde_json::from_str(body).expect("JSON");
        let events = page["events"].as_array().expect("events");
        stored.extend(
            events
                .iter()
                .filter(|event| event["data"]["analyzer"] == analyzer)
                .filter_map(|event| brief(&event["data"])),
        );
        let next = page["next"].as_u64().expect("a place");
        if next == after {
            return stored;
        }
        after = next;
    }
}

fn brief(event: &Value) -> Option<String> {
    match event["event"].as_str()? {
        "MESSAGE_REJECTED" => event["rejection"]["code"].as_str().map(str::to_owned),
        "TEST_FINISHED" => {
            let results = event["test"]["results"].as_array().map_or(0, Vec::len);
            Some(format!("{}:{results}", event["test"]["sample_id"].as_str().unwrap_or("?")))
        }
        _ => None,
    }
}

/// One line with its analyzer: all transmissions that are not about silence.
async fn lane(mut line: Box<dyn Line>, name: String, size: usize, endless: bool) -> (String, Vec<String>, Vec<String>) {
    say_until_heard(&mut *line).await;
    let (mut expected, mut faults) = (Vec::new(), Vec::new());
    for case in cases(&name).into_iter().filter(|case| (case.silent_s > 0) == endless) {
        if let Err(fault) = play(&mut *line, &case, size, DEADLINE).await {
            faults.push(format!("{name}: {}: {fault}", case.name));
            break;
        }
        expected.extend(case.stored);
        if endless {
            // Its own silence is over when the next session is answered as a new one.
            tokio::time::sleep(Duration::from_secs(case.silent_s + 1)).await;
            let next = cases::cases(&format!("{name}-next")).swap_remove(0);
            if let Err(fault) = play(&mut *line, &next, size, DEADLINE).await {
                faults.push(format!("{name}: after the silence: {fault}"));
            }
            expected.extend(next.stored);
        }
    }
    (name, expected, faults)
}

/// A gateway that has just opened the port may have missed the first ENQ.
async fn say_until_heard(line: &mut dyn Line) {
    let asking = async {
        loop {
            line.write_all(&[ENQ]).await.expect("an open line");
            if let Ok(answer) = tokio::time::timeout(Duration::from_secs(2), line.read_u8()).await {
                return answer.expect("an open line");
            }
        }
    };
    assert_eq!(tokio::time::timeout(DEADLINE, asking).await.expect("an answer"), ACK);
    line.write_all(&[0x04]).await.expect("an open line");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighteen_of_eighteen_on_every_line_and_in_every_cut() {
    let home = Home::new();
    let names: Vec<(String, usize, bool)> = SIZES
        .iter()
        .map(|size| (format!("s{}", (*size).min(99)), *size, false))
        .chain([("endless".to_owned(), SIZES[0], true)])
        .collect();
    let mut lines: Vec<(Box<dyn Line>, String, usize, bool)> = Vec::new();
    let mut settings = String::new();
    let mut ports = Vec::new();
    for (name, size, endless) in &names {
        let pty = Pty::open().expect("a pseudo-terminal");
        let path = home.path(name);
        pty.link(&path).expect("a folder of our own");
        settings += &format!("  - {{ id: {name}-pty, driver: astm, port: {{ path: {} }} }}\n", path.display());
        lines.push((Box::new(pty), format!("{name}-pty"), *size, *endless));
        let port = free_port();
        settings +=
            &format!("  - {{ id: {name}-tcp, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n");
        ports.push((port, format!("{name}-tcp"), *size, *endless));
    }
    home.configure(&format!("mqtt: {{ url: 'mqtt://127.0.0.1:9' }}\nanalyzers:\n{settings}"));
    let gateway = home.start_ready().await;
    for (port, name, size, endless) in ports {
        let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        let stream = home.eventually("a listener", connect).await;
        stream.set_nonblocking(true).expect("an open socket");
        stream.set_nodelay(true).expect("an open socket");
        lines.push((Box::new(TcpStream::from_std(stream).expect("an open socket")), name, size, endless));
    }
    let mut lanes = JoinSet::new();
    for (line, name, size, endless) in lines {
        lanes.spawn(lane(line, name, size, endless));
    }
    let mut faults = Vec::new();
    for (name, expected, wrong) in lanes.join_all().await {
        faults.extend(wrong);
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut found = stored(&home, &name).await;
        while found.len() < expected.len() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            found = stored(&home, &name).await;
        }
        if found != expected {
            faults.push(format!("{name}: stored {found:?} instead of {expected:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}\n{}", home.tail());
    home.assert_discreet(["RC1-", "RC2-", "RC18-"]);
    gateway.stop().await;
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

#[tokio::test]
async fn a_public_receiver_hears_the_same() {
    let folder = std::env::var_os("ANALYZER_JUDGES").map(PathBuf::from);
    let python = folder.map(|folder| folder.join("python/bin/python")).filter(|python| python.is_file());
    let Some(python) = python else {
        eprintln!("SKIPPED: labmcp-astm-lis is not installed (tests/run does it); its score is not known");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "what compares must be there");
        return;
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("judges/python/astm_receiver.py");
    let mut command = Command::new(&python);
    command.args(["-B".as_ref(), script.as_os_str()]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().expect("python starts");
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let mut input = process.stdin.take().expect("it is piped");
    let port: u16 = lines.next_line().await.expect("a port").expect("a port").trim().parse().expect("a port");
    let mut score = Vec::new();
    for (case, number) in cases("PUB").into_iter().zip(1..) {
        let mut line = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let mut verdict = play(&mut line, &case, SIZES[0], PATIENCE).await;
        tokio::time::sleep(Duration::from_secs(case.silent_s + u64::from(case.silent_s > 0) * 3)).await;
        if verdict.is_ok() {
            let wanted: Vec<&String> = case.stored.iter().filter(|stored| stored.contains(':')).collect();
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                input.write_all(b"?\n").await.expect("it reads");
                let shown = lines.next_line().await.expect("an answer").expect("an answer");
                let found = whole(&shown, &format!("RC{number}-PUB"));
                if found.iter().collect::<Vec<_>>() == wanted {
                    break;
                }
                if tokio::time::Instant::now() > deadline {
                    verdict = Err(format!("stored {found:?} instead of {wanted:?}"));
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        score.push((case.name, verdict));
    }
    let good = score.iter().filter(|(_, verdict)| verdict.is_ok()).count();
    println!("labmcp-astm-lis: {good} of {}", score.len());
    for (name, fault) in score.iter().filter_map(|(name, verdict)| Some((name, verdict.as_ref().err()?))) {
        println!("  {name}: {fault}");
    }
    assert_eq!(score.len(), 18);
}

/// The complete messages of one transmission that the public receiver shows, as ours are written.
fn whole(shown: &str, of: &str) -> Vec<String> {
    let messages: Vec<(bool, Vec<String>, usize)> = serde_json::from_str(shown).expect("JSON");
    let mut whole: Vec<String> = messages
        .into_iter()
        .filter(|(complete, samples, _)| *complete && samples.iter().any(|sample| sample.starts_with(of)))
        .map(|(_, samples, results)| format!("{}:{results}", samples.join("+")))
        .collect();
    whole.sort();
    whole
}
