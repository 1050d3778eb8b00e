//! What becomes of a card, a clock and a network: the box goes on, or says what it cannot do; it never acknowledges what it does not
//! have.

use super::analyzer::{Analyzer, Progress};
use super::card::Card;
use super::machine::{self, HTTP_PORT, Machine};
use super::receiving::{arrived, receiver, webhook};
use gateway_daemon::simulated::receiver::Receiver;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two questions to a guest that is busy.
const LOOK: Duration = Duration::from_secs(1);
/// So many messages are promised, or frames refused, before the judge believes it.
const SURE: u64 = 3;

fn settings(receiver: &Receiver) -> String {
    format!(
        "version: 1\ngateway: {{ id: box }}\nhttp: {{ listen: '0.0.0.0:{HTTP_PORT}', allow_plain: true }}\n{}\
         analyzers:\n  - {{ id: hematology, driver: astm, port: {{ usb: \"0403:6001\", serial: ANALYZER0 }} }}\n",
        webhook(receiver)
    )
}

/// Waits until the gateway says this of itself.
async fn until(machine: &mut Machine, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let waiting = Instant::now();
    loop {
        let (_, said) = machine.shell.run("analyzer-gateway status --json").await;
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        if is(&said) {
            return said;
        }
        assert!(waiting.elapsed() < machine::DEADLINE, "{what}: {said:#}\n{}", machine.console());
        tokio::time::sleep(LOOK).await;
    }
}

fn has(said: &Value, code: &str) -> bool {
    said["troubles"].as_array().is_some_and(|troubles| troubles.iter().any(|trouble| trouble["code"] == code))
}

/// Waits for that many more promises.
async fn promises(machine: &Machine, progress: &watch::Receiver<Progress>, what: &str) {
    let before = *progress.borrow();
    more(machine, progress, what, |now| now.promised >= before.promised + SURE as usize).await;
}

/// Waits for that many more refusals.
async fn refusals(machine: &Machine, progress: &watch::Receiver<Progress>, what: &str) {
    let before = *progress.borrow();
    more(machine, progress, what, |now| now.refused >= before.refused + SURE).await;
}

async fn more(machine: &Machine, progress: &watch::Receiver<Progress>, what: &str, is: impl Fn(&Progress) -> bool) {
    let (waiting, before) = (Instant::now(), *progress.borrow());
    loop {
        let now = *progress.borrow();
        if is(&now) {
            return;
        }
        assert!(waiting.elapsed() < machine::DEADLINE, "{what}: {before:?}, now {now:?}\n{}", machine.console());
        tokio::time::sleep(LOOK).await;
    }
}

/// The light that the box shows, once it is this one.
async fn light(machine: &mut Machine, word: &str) {
    machine.shell_until(&format!("grep -qx {word} /run/analyzer-gateway/light")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_clock_network_room_or_a_sound_card_nothing_acknowledged_is_lost() {
    let Some(folder) = machine::folder("faults") else { return };
    let card = Card::write(&folder);
    let mut receiver = receiver().await;
    receiver.switch(false).await.expect("it was on");
    card.save("gateway.yaml", &settings(&receiver));

    // A battery that is empty, and a cable that is not there: it starts, receives and stores.
    let drive = Machine::card_words(&card);
    let words = ["-blockdev", &drive, "-rtc", "base=2020-01-01"];
    let mut machine = Machine::start_with(&folder, &words, 1).await;
    machine.network(false).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 1);
    analyzer.call().await;
    let unset = analyzer.tell_one().await;
    until(&mut machine, "a clock that nobody has set", |said| said["clock"] == "unset").await;
    light(&mut machine, "no_network").await;
    machine.network(true).await;

    // Not a block is left on /data: the analyzer is refused, and goes on when there is room.
    let (heard, progress) = watch::channel(Progress::default());
    let talking = tokio::spawn(analyzer.talk(heard));
    promises(&machine, &progress, "the first promises").await;
    machine.shell.run(FILL).await;
    refusals(&machine, &progress, "refusals for want of room").await;
    until(&mut machine, "a full disk that is told", |said| has(said, "store_failed")).await;
    light(&mut machine, "degraded").await;
    let (status, said) = machine.shell.run("rm /run/fill; wait; rm /data/filler").await;
    assert_eq!(status, 0, "{said}");
    promises(&machine, &progress, "promises after there is room").await;
    until(&mut machine, "a disk that has room again", |said| !has(said, "store_failed")).await;

    // The card takes no write any more.
    machine.wear_out_card().await;
    refusals(&machine, &progress, "refusals of a worn-out card").await;
    until(&mut machine, "a worn-out card that is told", |said| has(said, "store_failed")).await;
    light(&mut machine, "degraded").await;
    assert!(TcpStream::connect(("127.0.0.1", machine.http)).await.is_ok(), "{}", machine.console());
    let before = progress.borrow().promised;
    refusals(&machine, &progress, "more refusals").await;
    assert_eq!(progress.borrow().promised, before, "it acknowledged what it could not store");
    machine.cut_power().await;
    let told = talking.await.expect("an analyzer");
    println!("{} messages were acknowledged beside a full disk and a worn-out card", told.acknowledged.len());
    assert_eq!(receiver.counts().requests, 0);
    let mut keys = [vec![unset], told.acknowledged].concat();

    // What it had stored is on what another card reader still reads; and the card's first partition has errors besides.
    damage(&card);
    receiver.switch(true).await.expect("its own port");
    let machine = Machine::start(&folder, &card, 2).await;
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;
    let clock = clock_of(&receiver, &keys[0]);
    assert_eq!(clock, "unset", "nobody has set the clock of that start");
    machine.shut_down().await;
    assert!(card.boot_is_sound() && card.read("gateway.report.txt").is_some_and(|report| report.contains("IN FORCE")));

    // Read-only from the start: it answers nobody, and its light says that it needs a person.
    let drive = format!("{},read-only=on", Machine::card_words(&card));
    let mut machine = Machine::start_with(&folder, &["-blockdev", &drive], 3).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 1001);
    light(&mut machine, "degraded").await;
    let (_, report) = machine.shell.run("cat /run/analyzer-gateway/report.txt").await;
    assert!(report.contains("cannot be written"), "{report}");
    assert!(!analyzer.is_answered().await, "{}", machine.console());
    machine.cut_power().await;

    // Nothing of that partition can be read any more: the last good settings hold.
    card.overwrite("BOOT", 0, &vec![0; 1 << 20]);
    let mut machine = Machine::start(&folder, &card, 4).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 2001);
    analyzer.call().await;
    keys.push(analyzer.tell_one().await);
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;
    let said = until(&mut machine, "settings that are gone", |said| has(said, "config_refused")).await;
    assert_eq!(said["gateway"], "box");
    light(&mut machine, "config_error").await;
    machine.shut_down().await;
    let counts = receiver.counts();
    assert_eq!((counts.differing, counts.wrong_signatures), (0, 0), "{:?}", counts.first_complaint);
}

/// Damages the first partition as a card does that was pulled while it was written: it is marked as in use, clusters belong to no
/// file, and the first of its two tables is gone. (A FAT16 of mkfs.vfat: the boot sector says how long the tables are.)
fn damage(card: &Card) {
    let (tables, bytes) = tables(card);
    for table in [tables, tables + bytes] {
        let lost: Vec<u8> = [5001_u16, 5002, 0xffff].iter().flat_map(|next| next.to_le_bytes()).collect();
        card.overwrite("BOOT", table + 2 * 5000, &lost);
    }
    card.overwrite("BOOT", tables, &vec![0; usize::try_from(bytes).expect("it fits")]);
    card.overwrite("BOOT", IN_USE, &[1]);
}

/// In the boot sector of a FAT16: its lowest bit is set while the file system is written.
const IN_USE: u64 = 0x25;

/// Where the first table begins, and how long each of the two is.
fn tables(card: &Card) -> (u64, u64) {
    let sector = card.look("BOOT", 0, 512);
    let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    (word(11) * word(14), word(11) * word(22))
}

/// How far the box trusted its clock when it stored this message.
fn clock_of(receiver: &Receiver, key: &str) -> String {
    let ledger = receiver.ledger().lock();
    let heard = ledger.ids_of(key).first().and_then(|id| ledger.get(id)).expect("it has come");
    let body: Value = serde_json::from_slice(&heard.body).expect("JSON");
    body["data"]["clock"].as_str().unwrap_or_default().to_owned()
}

/// Fills /data to its last block, and takes what becomes free until `/run/fill` is gone.
const FILL: &str = "touch /run/fill; dd if=/dev/zero of=/data/filler bs=1M 2>/dev/null; (while [ -e /run/fill ]; do \
                    dd if=/dev/zero of=/data/filler bs=4k oflag=append conv=notrunc,fsync; sleep 1; done) >/dev/null 2>&1 & true";
