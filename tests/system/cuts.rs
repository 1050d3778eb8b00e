//! The oracle of power cuts: one busy minute on the box, every write to its card recorded, and from that record two hundred cards as a
//! cut could have left them. Each is repaired and opened as the box would do it, and holds every message that had been acknowledged
//! by then, once.
//!
//! What is judged is the whole stack: the gateway, SQLite, the file system and how it is mounted. A control drops flushed writes
//! too, as a card that lies would: the oracle must notice.

use super::analyzer::{Analyzer, Progress};
use super::card::{Card, SUPERBLOCK_END};
use super::machine::{self, Machine};
use super::writes::Log;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::sync::watch;

const CUTS: usize = 200;
/// Of these so many drop or tear what was written since the last flush; the others are cut between two writes.
const TORN: usize = 100;
/// So many of a card that lies, of which at least one must be found out.
const LYING: usize = 24;
/// How many flushes such a card is behind.
const FLUSHES_BEHIND: usize = 40;
/// So many messages are acknowledged in the busy minute.
const PROMISED_MIN: usize = 60;
/// One in so many goes through the superblock itself: two sectors, of which the second stays as it was made with the file system.
const SUPERBLOCK_EVERY: usize = 16;
const SEED: u64 = 0x5eed_cab1_e0ff;

const SETTINGS: &str = "version: 1\ngateway: { id: box }\nanalyzers:\n  \
    - { id: hematology, driver: astm, port: { usb: \"0403:6001\", serial: ANALYZER0 } }\n\
    webhooks:\n  - { id: lims, url: 'http://127.0.0.1:9/', dialect: cloudevents }\n";

/// xorshift64*: the same cuts in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }
}

/// What was promised, and how long the record was when the analyzer had its last ACK.
struct Promise {
    sample: String,
    by: u64,
}

/// A busy minute on a card, which ends with the plug being pulled.
async fn recorded(folder: &Path, card: &Card) -> (PathBuf, Vec<Promise>) {
    let log = folder.join("writes.log");
    File::create(&log).expect("a folder of our own");
    let drive = format!(
        "driver=blklogwrites,node-name=card,log-super-update-interval=64,\
         file.driver=raw,file.file.driver=file,file.file.filename={},file.file.cache.direct=on,\
         log.driver=raw,log.file.driver=file,log.file.filename={}",
        card.path.display(),
        log.display()
    );
    let machine = Machine::start_with(folder, &["-blockdev", &drive], 1).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 1);
    analyzer.call().await;
    let (promised, mut progress) = watch::channel(Progress::default());
    let talking = tokio::spawn(analyzer.talk(promised));
    let mut lengths = Vec::new();
    while lengths.len() < PROMISED_MIN {
        let changed = tokio::time::timeout(machine::DEADLINE, progress.changed()).await;
        changed.unwrap_or_else(|_| panic!("the analyzer is not answered: {}", machine.console())).expect("it talks");
        let length = std::fs::metadata(&log).expect("the record").len();
        lengths.resize(progress.borrow().promised, length);
    }
    machine.cut_power().await;
    let told = talking.await.expect("an analyzer");
    let samples = told.acknowledged.iter().filter_map(|key| key.strip_prefix("sample ")).map(str::to_owned);
    (log, samples.zip(lengths).map(|(sample, by)| Promise { sample, by }).collect())
}

/// The last partition of the card, on its own.
struct Data {
    image: PathBuf,
    start: u64,
}

impl Data {
    /// As it was before the machine was switched on, and as long as the card allows.
    fn of(card: &Card, image: PathBuf) -> Data {
        let start = card.start("data");
        let (whole, part) =
            (File::open(&card.path).expect("a card"), File::create(&image).expect("a folder of our own"));
        let length = whole.metadata().expect("a card").len() - start;
        part.set_len(length).expect("a sparse file");
        let mut piece = vec![0; 1 << 20];
        for at in (0..length).step_by(piece.len()) {
            let wanted = piece.len().min(usize::try_from(length - at).expect("it fits"));
            whole.read_exact_at(&mut piece[..wanted], start + at).expect("a card");
            if piece[..wanted].iter().any(|byte| *byte != 0) {
                part.write_all_at(&piece[..wanted], at).expect("a folder of our own");
            }
        }
        Data { image, start }
    }

    fn copy(&self, to: PathBuf) -> Data {
        let status = Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&self.image).arg(&to).status();
        assert!(status.expect("cp runs").success());
        Data { image: to, start: self.start }
    }

    fn put(&self, log: &Log, entries: impl IntoIterator<Item = (usize, u64)>) {
        let image = OpenOptions::new().write(true).open(&self.image).expect("a file of our own");
        for (at, bytes_max) in entries {
            log.put(&log.entries[at], &image, self.start, bytes_max).expect("a write of the record");
        }
    }

    /// The superblock's second sector.
    fn sector(&self) -> Vec<u8> {
        let mut sector = vec![0; SUPERBLOCK_END.1];
        File::open(&self.image)
            .and_then(|image| image.read_exact_at(&mut sector, SUPERBLOCK_END.0))
            .expect("a file of our own");
        sector
    }

    fn put_sector(&self, sector: &[u8]) {
        let image = OpenOptions::new().write(true).open(&self.image).expect("a file of our own");
        image.write_all_at(sector, SUPERBLOCK_END.0).expect("a file of our own");
    }

    /// Repairs the file system as the box does, a second time if need be (systemd-fsck@.service.d). `Err`: what e2fsck says.
    fn repair(&self) -> Result<(), String> {
        let e2fsck = |how: &str| {
            let ran = Command::new("/usr/sbin/e2fsck").arg(how).arg(&self.image).output().expect("e2fsck runs");
            let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
            (ran.status.code().unwrap_or(i32::MAX), format!("e2fsck {how}: {said}"))
        };
        // systemd-fsck(8) fails by these bits alone: errors are left, or the system is to start anew.
        if e2fsck("-y").0 & (4 | 2) != 0 {
            e2fsck("-fy");
        }
        match e2fsck("-fn") {
            (0, _) => Ok(()),
            (_, said) => Err(said),
        }
    }

    /// Takes the database out and looks for what was promised. `Err`: what a clinic would have lost.
    fn keeps(&self, promised: &[&str], folder: &Path) -> Result<(), String> {
        let database = folder.join("events.db");
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = std::fs::remove_file(folder.join(name));
        }
        for name in ["events.db", "events.db-wal"] {
            let dump = format!("dump /analyzer-gateway/{name} {}", folder.join(name).display());
            let done = Command::new("/usr/sbin/debugfs").args(["-R", &dump]).arg(&self.image).output();
            if !done.expect("debugfs runs").status.success() {
                return Err(format!("{name} cannot be read"));
            }
        }
        let stored = stored(&database).map_err(|error| format!("the database does not open: {error}"))?;
        for sample in promised {
            match stored.get(*sample) {
                Some(1) => {}
                Some(times) => return Err(format!("an acknowledged message is there {times} times")),
                None => return Err("an acknowledged message is missing".to_owned()),
            }
        }
        Ok(())
    }
}

/// How often each sample was stored as finished; after SQLite's own recovery, and only if its own check finds nothing.
fn stored(database: &Path) -> rusqlite::Result<BTreeMap<String, u32>> {
    let connection = Connection::open(database)?;
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(rusqlite::Error::InvalidColumnName(verdict));
    }
    let sql = "SELECT body ->> '$.test.sample_id', count(*) FROM events WHERE name = 'TEST_FINISHED' GROUP BY 1";
    let mut select = connection.prepare(sql)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Everything before the last but so many flushes.
fn behind(log: &Log, cut: usize, flushes: usize) -> usize {
    (0..flushes).fold(cut, |before, _| log.flushed_before(before.saturating_sub(1)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_plug_is_pulled_every_acknowledged_message_is_there_once() {
    let Some(folder) = machine::folder("cuts") else { return };
    let card = Card::write(&folder);
    card.save("gateway.yaml", SETTINGS);
    let sure = Data::of(&card, folder.join("sure.ext4"));
    let sector = sure.sector();
    let (path, promises) = recorded(&folder, &card).await;
    let log = Log::open(&path).expect("the record of the card's writes");
    let first = log.entries.iter().position(|entry| entry.ends >= promises[0].by).expect("writes after a promise");
    println!(
        "power cuts: {} messages acknowledged in {} writes and flushes, {} in all",
        promises.len(),
        log.entries.len() - first,
        log.entries.len()
    );
    let mut dice = Dice(SEED);
    let span = u64::try_from(log.entries.len() - first).expect("it fits");
    let mut place = || first + usize::try_from(dice.below(span)).expect("it fits");
    // What was dropped, and whether the card keeps its word.
    let mut cuts: Vec<(usize, bool, bool)> = (0..CUTS).map(|number| (place(), number < TORN, true)).collect();
    cuts.extend((0..LYING).map(|_| (place(), true, false)));
    cuts.sort_unstable();
    let (mut reached, mut found_out, mut through) = (0, 0, 0);
    for (number, (cut, torn, honest)) in cuts.into_iter().enumerate() {
        let before = if honest { log.flushed_before(cut) } else { behind(&log, cut, FLUSHES_BEHIND) };
        // The card up to where the least is dropped is carried along; a lying one may lie further back than that.
        let base = behind(&log, cut, FLUSHES_BEHIND).max(reached);
        sure.put(&log, (reached..base).map(|at| (at, u64::MAX)));
        reached = base;
        let left = sure.copy(folder.join("cut.ext4"));
        left.put(&log, (base..before.max(base)).map(|at| (at, u64::MAX)));
        let loose = before.max(base)..cut;
        let landed: Vec<(usize, u64)> = match torn {
            false => loose.map(|at| (at, u64::MAX)).collect(),
            true => loose.filter_map(|at| landed(&mut dice, at, log.entries[at].sure && honest)).collect(),
        };
        left.put(&log, landed);
        if honest && number % SUPERBLOCK_EVERY == 0 && left.sector() != sector {
            left.put_sector(&sector);
            through += 1;
        }
        let end = log.entries[..cut].last().map_or(0, |entry| entry.ends);
        let promised = promises.iter().filter(|promise| promise.by <= end).map(|promise| promise.sample.as_str());
        let repaired = left.repair();
        let kept = left.keeps(&promised.collect::<Vec<_>>(), &folder);
        match (repaired.and_then(|()| kept.clone()), honest) {
            (Err(lost), true) => panic!("cut after write {cut} of {}, torn: {torn}: {lost}", log.entries.len()),
            (_, true) => {}
            // By its messages: the judge of the file system alone would prove nothing about them.
            (_, false) => found_out += usize::from(kept.is_err()),
        }
    }
    println!(
        "power cuts: {CUTS} judged, {through} of them through the superblock, nothing lost; {found_out} of {LYING} cards that lie \
         were found out"
    );
    assert!(found_out > 0, "the oracle has never failed and proves nothing");
    assert!(through > 0, "no superblock was torn");
}

/// A write that was on its way: gone, there, or torn at one of its sectors.
fn landed(dice: &mut Dice, at: usize, sure: bool) -> Option<(usize, u64)> {
    match dice.below(4) {
        _ if sure => Some((at, u64::MAX)),
        0 => None,
        1 => Some((at, 512 * dice.below(9))),
        _ => Some((at, u64::MAX)),
    }
}
