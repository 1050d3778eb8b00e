//! What a bad cable, a bad analyzer and a full disk do to the bytes; and what the analyzer is told about it.

use super::cable::{ACK, Cable, ENQ, EOT, ETB, ETX, NAK, message, numbered, private};
use super::database::Database;
use super::home::{Gateway, Home};
use super::mosquitto::free_port;
use gateway_daemon::simulated::astm::{Message, Style, texts};
use rustix::process::{Resource, Rlimit, prlimit};
use std::time::Duration;

/// Two analyzers, one on a terminal and one that calls; destinations are another test's business.
async fn start(home: &Home) -> (Gateway, u16) {
    let port = free_port();
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: line, driver: astm, port: {{ path: {} }} }}\n  \
         - {{ id: caller, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{port}' }} }} }}\n",
        free_port(),
        home.path("line").display(),
    ));
    (home.start_ready().await, port)
}

fn samples(database: &Database) -> Vec<String> {
    let finished = database.events().into_iter().filter(|event| event.name == "TEST_FINISHED");
    finished.map(|event| event.body["test"]["sample_id"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn stored(home: &Home, database: &Database, sample: &str) {
    home.eventually(&format!("{sample} stored"), || samples(database).contains(&sample.to_owned()).then_some(())).await;
}

/// Which rejections are stored for this analyzer.
fn rejections(database: &Database, analyzer: &str) -> Vec<String> {
    let events = database.events().into_iter();
    let rejected = events.filter(|event| event.analyzer == analyzer && event.name == "MESSAGE_REJECTED");
    rejected.map(|event| event.body["rejection"]["code"].as_str().unwrap_or_default().to_owned()).collect()
}

fn all_text(message: &Message) -> Vec<u8> {
    texts(&message.records, Style::Whole).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_frames_are_refused_and_the_message_still_comes() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let (gateway, _) = start(&home).await;
    let parts = texts(&message("WIRE-0001", 3).records, Style::RecordPerFrame);
    // Noise outside of a session, and a frame nobody asked for.
    cable.say(b"\x00\xff\xfe~garbage~\x06\x06").await;
    cable.say(&numbered(3, b"R|1|^^^X|1\r", ETX)).await;
    cable.ask().await;
    for (index, text) in parts.iter().enumerate() {
        let good = numbered(index + 1, text, ETX);
        let mut damaged = [good.clone(), good.clone(), good.clone()];
        // A wrong sum, a wrong byte, a number that is not the next one.
        let sum_at = good.len() - 4;
        damaged[0][sum_at] = if good[sum_at] == b'0' { b'1' } else { b'0' };
        damaged[1][3] ^= 0x40;
        damaged[2] = numbered(index + 4, text, ETX);
        for bytes in damaged {
            cable.say(&bytes).await;
            assert_eq!(cable.answer().await, NAK);
        }
        cable.say(b"\xff\x00").await;
        cable.say(&good).await;
        assert_eq!(cable.answer().await, ACK);
        // The ACK was lost: the same frame again is acknowledged again and kept once.
        cable.say(&good).await;
        assert_eq!(cable.answer().await, ACK);
    }
    cable.say(&[EOT]).await;
    let database = Database::open(&home.state_dir());
    stored(&home, &database, "WIRE-0001").await;
    let event = database.events().into_iter().rfind(|event| event.name == "TEST_FINISHED").expect("stored");
    assert_eq!(event.body["test"]["results"].as_array().map(Vec::len), Some(3));
    // The same whole message again is the same fact.
    cable.tell(&message("WIRE-0001", 3)).await;
    cable.tell(&message("WIRE-0002", 1)).await;
    stored(&home, &database, "WIRE-0002").await;
    assert_eq!(samples(&database), ["WIRE-0001", "WIRE-0002"]);
    gateway.stop().await;
    home.assert_discreet([private("WIRE-0001"), private("WIRE-0002")].iter().flatten().map(String::as_str));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_pulled_in_the_middle_of_a_frame_loses_nothing() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let (gateway, port) = start(&home).await;
    let database = Database::open(&home.state_dir());
    let mut caller = Cable::call(&home, port).await;
    // Three frames acknowledged, half of the fourth on the wire: pulled.
    let parts = texts(&message("PULL-0001", 4).records, Style::RecordPerFrame);
    cable.ask().await;
    caller.ask().await;
    for (index, text) in parts[..3].iter().enumerate() {
        cable.frame(index + 1, text, ETX).await;
    }
    let half = numbered(4, &parts[3], ETX);
    cable.say(&half[..half.len() / 2]).await;
    drop(cable);
    home.says(&["WARN", "analyzer=line", "port lost"]).await;
    // The other analyzer, in the middle of its own session, notices nothing.
    let whole = all_text(&message("PULL-1001", 2));
    caller.frame(1, &whole, ETX).await;
    caller.say(&[EOT]).await;
    stored(&home, &database, "PULL-1001").await;

    let mut cable = Cable::plug(&home, "line");
    cable.tell(&message("PULL-0001", 4)).await;
    stored(&home, &database, "PULL-0001").await;
    let names = database.names("line");
    assert!(names.contains(&"ANALYZER_DISCONNECTED".to_owned()), "{names:?}");
    // What was acknowledged of the broken message is not forgotten: it is set aside with its records.
    assert_eq!(rejections(&database, "line"), ["interrupted"]);
    home.says(&["WARN", "analyzer=line", "interrupted"]).await;

    // The same over TCP: the connection breaks in the middle of a frame, and the analyzer calls again.
    let mut caller = Cable::call_again(&home, port, caller).await;
    caller.ask().await;
    caller.frame(1, &parts[0], ETB).await;
    caller.say(&half[..5]).await;
    let mut caller = Cable::call_again(&home, port, caller).await;
    caller.tell(&message("PULL-1002", 1)).await;
    stored(&home, &database, "PULL-1002").await;
    // Switched off and on again: it calls anew and never hung up. The old connection is given up at once.
    caller.tell(&message("PULL-1003", 1)).await;
    let mut second = Cable::call(&home, port).await;
    home.says(&["WARN", "analyzer=caller", "port lost", "has called again"]).await;
    // Another machine is turned away, and that is told.
    let mut third = Cable::call_from(&home, "127.0.0.2", port).await;
    assert!(third.is_hung_up().await);
    home.says(&["WARN", "analyzer=caller", "turned_away", "127.0.0.2"]).await;
    second.tell(&message("PULL-1004", 1)).await;
    stored(&home, &database, "PULL-1004").await;
    let mut found = samples(&database);
    found.sort();
    assert_eq!(found, ["PULL-0001", "PULL-1001", "PULL-1002", "PULL-1003", "PULL-1004"]);
    gateway.stop().await;
    let told = ["PULL-0001", "PULL-1001", "PULL-1002", "PULL-1003", "PULL-1004"].map(private);
    home.assert_discreet(told.iter().flatten().map(String::as_str));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_frame_is_taken_and_a_longer_one_refused() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let (gateway, _) = start(&home).await;
    let database = Database::open(&home.state_dir());
    // STX, number, ETX, two digits, CR, LF: 65536 bytes in all.
    let long = |sample: &str, bytes: usize| {
        let text = String::from_utf8(all_text(&message(sample, 1))).expect("ASCII");
        let (head, tail) = text.split_at(text.rfind("L|1").expect("a last record"));
        let filler = bytes - 7 - text.len() - "M|1|\r".len();
        format!("{head}M|1|{}\r{tail}", "x".repeat(filler)).into_bytes()
    };
    cable.ask().await;
    cable.frame(1, &long("LONG-0001", 65_536), ETX).await;
    for _ in 0..6 {
        let over = numbered(2, &long("LONG-0002", 65_537), ETX);
        assert_eq!(over.len(), 65_537);
        cable.say(&over).await;
        assert_eq!(cable.answer().await, NAK);
    }
    cable.say(&[EOT]).await;
    cable.tell(&message("LONG-0003", 1)).await;
    stored(&home, &database, "LONG-0003").await;
    assert_eq!(samples(&database), ["LONG-0001", "LONG-0003"]);
    let line = home.says(&["WARN", "analyzer=line", "message rejected"]).await;
    assert!(line.contains("bytes="), "{line}");
    assert!(!rejections(&database, "line").is_empty());
    gateway.stop().await;
    home.assert_discreet(["LONG-0001", "LONG-0002", "LONG-0003"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_never_ends_is_given_up_after_30_seconds() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let (gateway, port) = start(&home).await;
    let database = Database::open(&home.state_dir());
    let parts = texts(&message("NEVER-001", 2).records, Style::RecordPerFrame);
    cable.ask().await;
    cable.frame(1, &parts[0], ETX).await;
    cable.frame(2, &parts[1], ETX).await;
    // It hangs; the other one works meanwhile.
    let mut caller = Cable::call(&home, port).await;
    caller.tell(&message("NEVER-002", 1)).await;
    stored(&home, &database, "NEVER-002").await;
    home.eventually("the unfinished message set aside", || (!rejections(&database, "line").is_empty()).then_some(()))
        .await;
    cable.tell(&message("NEVER-001", 2)).await;
    stored(&home, &database, "NEVER-001").await;
    gateway.stop().await;
    home.assert_discreet(["NEVER-001", "NEVER-002"]);
}

/// A gateway that was away for long reads what the analyzer has said meanwhile in one piece: an ENQ, the EOT with which
/// the analyzer gave up, and the next ENQ. Two ACKs would put the analyzer one answer ahead for the rest of its session,
/// and its last frame would count as acknowledged before it is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_given_up_gets_no_answer() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let (gateway, _) = start(&home).await;
    cable.tell(&message("GIVEN-01", 1)).await;
    cable.say(&[ENQ, EOT, ENQ]).await;
    assert_eq!(cable.answer().await, ACK);
    assert!(cable.is_silent(Duration::from_millis(500)).await, "an answer nobody waits for");
    let whole = all_text(&message("GIVEN-02", 1));
    cable.frame(1, &whole, ETX).await;
    cable.say(&[EOT]).await;
    let database = Database::open(&home.state_dir());
    stored(&home, &database, "GIVEN-02").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_means_nak_until_it_does() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: line, driver: astm, port: {{ path: {} }} }}\n",
        free_port(),
        home.path("line").display(),
    ));
    // Writing beyond the limit is then an error and not a signal that kills.
    let gateway = home.start_after("trap '' XFSZ");
    home.ready(&gateway).await;
    cable.tell(&message("FULL-0001", 2)).await;
    let database = Database::open(&home.state_dir());
    stored(&home, &database, "FULL-0001").await;
    let size = std::fs::metadata(home.state_dir().join("events.db-wal")).expect("a WAL").len();
    let log_size = std::fs::metadata(home.path("log")).expect("a log").len();
    assert!(size > log_size + 20_000, "the limit must leave room for the log: {size} {log_size}");
    let limit = |current| Rlimit { current, maximum: None };
    prlimit(Some(gateway.pid()), Resource::Fsize, limit(Some(size))).expect("a process of ours");

    let parts = texts(&message("FULL-0002", 2).records, Style::RecordPerFrame);
    cable.ask().await;
    let first = numbered(1, &parts[0], ETX);
    for _ in 0..3 {
        cable.say(&first).await;
        assert_eq!(cable.answer().await, NAK, "the analyzer keeps its result");
    }
    home.says(&["ERROR", "analyzer=line", "not stored; the analyzer is told to keep its result"]).await;
    prlimit(Some(gateway.pid()), Resource::Fsize, limit(None)).expect("a process of ours");
    for (index, text) in parts.iter().enumerate() {
        cable.frame(index + 1, text, ETX).await;
    }
    cable.say(&[EOT]).await;
    stored(&home, &database, "FULL-0002").await;
    gateway.stop().await;
    home.assert_discreet([private("FULL-0001"), private("FULL-0002")].iter().flatten().map(String::as_str));
}

/// The analyzer is the server: the gateway calls it, and calls again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_analyzer_that_waits_to_be_called_is_called_again_and_again() {
    let home = Home::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("a bound address");
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - {{ id: server, driver: astm, port: {{ tcp: {{ connect: '{address}' }} }} }}\n",
        free_port()
    ));
    let gateway = home.start_ready().await;
    for sample in ["SERVER-1", "SERVER-2"] {
        let called = tokio::time::timeout(super::home::DEADLINE, listener.accept()).await;
        let (stream, _) = called.expect("the gateway calls").expect("a connection");
        Cable { stream }.tell(&message(sample, 2)).await;
    }
    drop(listener);
    let database = Database::open(&home.state_dir());
    stored(&home, &database, "SERVER-2").await;
    home.says(&["WARN", "analyzer=server", "does not answer"]).await;
    assert_eq!(samples(&database), ["SERVER-1", "SERVER-2"]);
    gateway.stop().await;
}
