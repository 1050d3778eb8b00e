//! An update between the two halves of the disk: one that works stays, one whose gateway does not work goes by itself, and the plug
//! is pulled in the middle of writing and in the first start. `tests/system/bundle` makes the bundles.

use super::analyzer::Analyzer;
use super::card::Card;
use super::machine::{self, HOST, HTTP_PORT, Machine};
use super::receiving::{answering, arrived, webhook};
use gateway_daemon::simulated::receiver::{Answer, Receiver};
use gateway_tests::http;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Between two questions to a guest that is busy.
const LOOK: Duration = Duration::from_secs(1);
/// A page that takes longer is asked for again.
const PAGE: Duration = Duration::from_secs(20);
/// An update restarts the machine up to four times.
const UPDATE: Duration = Duration::from_secs(1_500);

/// Serves the bundles on this host's loopback, in parts where that is asked for; returns the port.
async fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("a bound address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let folder = folder.clone();
            // A guest whose plug is pulled hangs up.
            tokio::spawn(async move { answer(stream, &folder).await.unwrap_or_default() });
        }
    });
    port
}

async fn answer(stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut name, mut from, mut to) = (String::new(), None, None);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim().to_lowercase();
        if let Some(path) = line.strip_prefix("get /") {
            name = path.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some((first, last)) = line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-')) {
            (from, to) = (first.parse::<usize>().ok(), last.parse::<usize>().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    let whole = std::fs::read(folder.join(&name))?;
    let bytes = whole.len();
    let (first, last) = (from.unwrap_or(0), to.unwrap_or(bytes - 1).min(bytes - 1));
    let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{last}/{bytes}\r\netag: \"{name}\"\r\nconnection: close\r\n\r\n",
        last + 1 - first
    );
    let mut stream = stream.into_inner();
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&whole[first..=last]).await
}

/// What `update status` says; null while the guest starts.
async fn status(machine: &mut Machine) -> Value {
    let (_, said) = machine.shell.run_again("analyzer-gateway update status --json").await;
    serde_json::from_str(&said).unwrap_or_default()
}

/// Waits until the gateway says this of its update.
pub async fn until(machine: &mut Machine, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let waiting = Instant::now();
    loop {
        let said = status(machine).await;
        if is(&said) {
            return said;
        }
        assert!(waiting.elapsed() < UPDATE, "{what}: {said}\n{}", machine.console());
        tokio::time::sleep(LOOK).await;
    }
}

fn took(machine: &Machine, what: &str) {
    println!("{:4.0} s after it was switched on: {what}", machine.started.elapsed().as_secs_f64());
}

pub fn phase(said: &Value) -> &str {
    said["update"]["phase"].as_str().unwrap_or_default()
}

async fn install(machine: &mut Machine, port: u16, name: &str) {
    let line = format!("analyzer-gateway update install http://{HOST}:{port}/{name}.raucb");
    let (status, said) = machine.shell.run(&line).await;
    assert_eq!(status, 0, "{said}");
}

/// This system runs, and its page answers over the network.
async fn runs(machine: &mut Machine, version: &str, slot: &str) {
    let so = |said: &Value| said["image"]["version"] == version && said["image"]["slot"] == slot;
    until(machine, "the system", so).await;
    let waiting = Instant::now();
    while !page(machine.http).await {
        assert!(waiting.elapsed() < machine::DEADLINE, "no page: {}", machine.console());
        tokio::time::sleep(LOOK).await;
    }
}

/// QEMU takes every connection, so only an answer counts.
async fn page(port: u16) -> bool {
    let asking = async { http::exchange(TcpStream::connect(("127.0.0.1", port)).await?, "GET", "/", &[], b"").await };
    let answered = tokio::time::timeout(PAGE, asking).await;
    answered.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
}

/// A broker of its own, which delivers, and a receiver that takes nothing: what waits for it must outlive every update.
fn settings(receiver: &Receiver) -> String {
    format!(
        "version: 1\ngateway: {{ id: box }}\nhttp: {{ listen: '0.0.0.0:{HTTP_PORT}', allow_plain: true }}\n\
         mqtt: {{ url: mosquitto }}\nbroker: {{ listen: 'off' }}\n{}\
         analyzers:\n  - {{ id: hematology, driver: astm, port: {{ usb: \"0403:6001\", serial: ANALYZER0 }} }}\n",
        webhook(receiver),
    )
}

/// The box answers the analyzer, and has promised one message more.
async fn promises(machine: &Machine, first: u64, keys: &mut Vec<String>) {
    let mut analyzer = Analyzer::new(machine.line(0).await, first);
    analyzer.call().await;
    keys.push(analyzer.tell_one().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_works_stays_and_one_that_does_not_goes_and_there_is_a_system_whenever_the_plug_is_pulled() {
    let Some(folder) = machine::folder("update") else { return };
    let card = Card::write(&folder);
    let bundles = machine::system_folder().expect("there is an image").join("bundles");
    let port = serve(bundles).await;
    let open = Arc::new(AtomicBool::new(false));
    let is_open = open.clone();
    let receiver = answering(move || match is_open.load(Ordering::Relaxed) {
        true => Answer::Accept,
        false => Answer::Refuse { status: 503, retry_after_seconds: None },
    })
    .await;
    card.save("gateway.yaml", &settings(&receiver));
    let mut keys = Vec::new();

    let mut machine = Machine::start(&folder, &card, 1).await;
    promises(&machine, 1, &mut keys).await;
    for (name, sentence) in
        [("theirs", "does not trust"), ("torn", "torn"), ("other", "other hardware"), ("older", "older")]
    {
        install(&mut machine, port, name).await;
        let told = |said: &Value| said["update"]["reason"].as_str().is_some_and(|reason| reason.contains(sentence));
        until(&mut machine, name, told).await;
    }
    runs(&mut machine, "1.0.0", "A").await;
    took(&machine, "four bundles are refused");

    // In the middle of writing.
    install(&mut machine, port, "good").await;
    let writes = |said: &Value| phase(said) == "installing" && said["update"]["percent"].as_u64() > Some(30);
    until(&mut machine, "writing", writes).await;
    machine.cut_power().await;
    let mut machine = Machine::start(&folder, &card, 2).await;
    promises(&machine, 2, &mut keys).await;
    until(&mut machine, "the start after the cut", |said| phase(said) == "failed").await;
    runs(&mut machine, "1.0.0", "A").await;
    took(&machine, "cut while writing: the old system");

    // In the first start of the new system.
    install(&mut machine, port, "good").await;
    until(&mut machine, "the new system", |said| said["image"]["slot"] == "B").await;
    took(&machine, "the new system starts");
    machine.cut_power().await;
    let mut machine = Machine::start(&folder, &card, 3).await;
    let said = until(&mut machine, "a system", |said| matches!(phase(said), "good" | "rolled_back")).await;
    took(&machine, &format!("cut in its first start: {}", said["update"]));
    if phase(&said) == "rolled_back" {
        runs(&mut machine, "1.0.0", "A").await;
        install(&mut machine, port, "good").await;
        until(&mut machine, "a good update", |said| phase(said) == "good").await;
        took(&machine, "installed again");
    }
    runs(&mut machine, "2.0.0", "B").await;
    promises(&machine, 3, &mut keys).await;

    // A system that cannot even judge itself uses up its three starts: minutes, so only by night.
    let nightly = std::env::var_os("ANALYZER_NIGHTLY").is_some();
    let bad = [("bad-gate", "3.0.0"), ("no-program", "4.0.0")];
    for (name, version) in &bad[..if nightly { 2 } else { 1 }] {
        install(&mut machine, port, name).await;
        let gone = |said: &Value| phase(said) == "rolled_back" && said["update"]["to"] == *version;
        let said = until(&mut machine, name, gone).await;
        took(&machine, &format!("{name}: {}", said["update"]["reason"]));
        runs(&mut machine, "2.0.0", "B").await;
    }

    // What was promised before, between and after all of these systems arrives.
    open.store(true, Ordering::Relaxed);
    promises(&machine, 4, &mut keys).await;
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;
    let counts = receiver.counts();
    assert_eq!((counts.differing, counts.wrong_signatures), (0, 0), "{:?}", counts.first_complaint);
    let (_, failed) = machine.shell.run("systemctl --failed --no-legend --plain").await;
    assert_eq!(failed, "", "{}", machine.console());
    machine.shut_down().await;
}
