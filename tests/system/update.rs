//! An update between the two halves of the disk: one that works stays, one whose gateway does not work goes by itself, and the plug
//! is pulled in the middle of writing and in the first start. `tests/system/bundle` makes the bundles.

use super::card::Card;
use super::machine::{self, HOST, HTTP_PORT, Machine};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Between two questions to a guest that is busy.
const LOOK: Duration = Duration::from_secs(1);
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
    let (_, said) = machine.shell.run("analyzer-gateway update status --json").await;
    serde_json::from_str(&said).unwrap_or_default()
}

/// Waits until the gateway says this of its update.
async fn until(machine: &mut Machine, what: &str, is: impl Fn(&Value) -> bool) -> Value {
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

fn phase(said: &Value) -> &str {
    said["update"]["phase"].as_str().unwrap_or_default()
}

async fn install(machine: &mut Machine, port: u16, name: &str) {
    let line = format!("analyzer-gateway update install http://{HOST}:{port}/{name}.raucb");
    let (status, said) = machine.shell.run(&line).await;
    assert_eq!(status, 0, "{said}");
}

/// The image, and whether its gateway answers over the network.
async fn runs(machine: &mut Machine, version: &str, slot: &str) {
    let said = status(machine).await;
    let image = &said["image"];
    assert!(image["version"] == version && image["slot"] == slot, "{said}");
    let page = TcpStream::connect(("127.0.0.1", machine.http)).await;
    assert!(page.is_ok(), "{}", machine.console());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_works_stays_and_one_that_does_not_goes_and_there_is_a_system_whenever_the_plug_is_pulled() {
    let folder = machine::folder("update");
    let Some(card) = Card::write(&folder) else { return };
    let bundles = machine::system_folder().expect("the card is made of it").join("bundles");
    let port = serve(bundles).await;
    card.save(
        "gateway.yaml",
        &format!("version: 1\ngateway: {{ id: box }}\nhttp: {{ listen: '0.0.0.0:{HTTP_PORT}', allow_plain: true }}\n"),
    );
    let mut machine = Machine::start(&folder, &card, 1).await;
    until(&mut machine, "the first start", |said| said["image"]["slot"] == "A").await;

    for (name, sentence) in
        [("theirs", "does not trust"), ("torn", "torn"), ("other", "other hardware"), ("older", "older")]
    {
        install(&mut machine, port, name).await;
        let told = |said: &Value| said["update"]["reason"].as_str().is_some_and(|reason| reason.contains(sentence));
        until(&mut machine, name, told).await;
    }
    runs(&mut machine, "1.0.0", "A").await;

    install(&mut machine, port, "good").await;
    until(&mut machine, "a good update", |said| phase(said) == "good").await;
    runs(&mut machine, "2.0.0", "B").await;
    println!("a good update: {:.0} s after the machine was switched on", machine.started.elapsed().as_secs_f64());

    // A system that cannot even judge itself uses up its three starts: minutes, so only by night.
    let nightly = std::env::var_os("ANALYZER_NIGHTLY").is_some();
    let bad = [("bad-gate", "3.0.0"), ("no-program", "4.0.0")];
    for (name, version) in &bad[..if nightly { 2 } else { 1 }] {
        install(&mut machine, port, name).await;
        let gone = |said: &Value| phase(said) == "rolled_back" && said["update"]["to"] == *version;
        let said = until(&mut machine, name, gone).await;
        println!("{name}: {}", said["update"]["reason"]);
        runs(&mut machine, "2.0.0", "B").await;
    }

    // In the middle of writing.
    install(&mut machine, port, "next").await;
    let writes = |said: &Value| phase(said) == "installing" && said["update"]["percent"].as_u64() > Some(30);
    until(&mut machine, "writing", writes).await;
    machine.cut_power().await;
    let mut machine = Machine::start(&folder, &card, 2).await;
    until(&mut machine, "the start after the cut", |said| phase(said) == "failed").await;
    runs(&mut machine, "2.0.0", "B").await;

    // In the first start of the new system.
    install(&mut machine, port, "next").await;
    until(&mut machine, "the restart", |said| matches!(phase(said), "restarting" | "proving")).await;
    until(&mut machine, "the new system", |said| said["image"]["slot"] == "A").await;
    machine.cut_power().await;
    let mut machine = Machine::start(&folder, &card, 3).await;
    let said = until(&mut machine, "a system", |said| matches!(phase(said), "good" | "rolled_back")).await;
    let (version, slot) = if phase(&said) == "good" { ("2.1.0", "A") } else { ("2.0.0", "B") };
    runs(&mut machine, version, slot).await;
    let (_, failed) = machine.shell.run("systemctl --failed --no-legend --plain").await;
    assert_eq!(failed, "", "{}", machine.console());
    machine.shut_down().await;
}
