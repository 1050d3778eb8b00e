//! `decode`: what the gateway would make of a file of received bytes, without an analyzer, a store or a clock.
//!
//! Equal bytes print equal lines: see [`gateway_core::replay`].

use super::profiles::named_profile;
use gateway_core::drivers::{DRIVERS, astm, converse, driver};
use gateway_core::event::{AnalyzerId, Event, EventKind, EventName, Id, Seq};
use gateway_core::replay::{Replay, Replayed};
use gateway_core::session::{Driver, DriverOptions, Framing};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Nothing was rejected.
const UNDERSTOOD: u8 = 0;
/// Something was rejected.
const REJECTED: u8 = 1;
/// The command line makes no sense, or the output cannot be written.
const USAGE: u8 = 2;
/// Begins an ASTM session.
const ENQ: u8 = 0x05;
/// Begins a frame.
const STX: u8 = 0x02;
/// Begins a message of MLLP.
const VT: u8 = 0x0b;
/// Decode a file of received bytes and print one JSON event a line.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The driver: the word that `analyzers[].driver` has in the YAML.
    #[arg(long, required_unless_present = "profile", conflicts_with = "profile")]
    pub driver: Option<String>,
    /// The profile: its name, or the file of one of your own.
    #[arg(long)]
    pub profile: Option<String>,
    /// How messages are framed (astm, hl7): `e1381` (as the protocol says), `soh` (SOH to EOT, astm) or `none` (bare
    /// records or segments).
    #[arg(long)]
    pub framing: Option<String>,
    /// The analyzer's id in the printed events.
    #[arg(long, default_value = "decode")]
    pub analyzer: String,
    /// Feed the file in reads of so many bytes, or of the sizes in a JSON array file.
    #[arg(long, value_name = "N|FILE")]
    pub chunks: Option<String>,
    /// Print each LIS2 record as a JSON array of its fields instead (astm).
    #[arg(long)]
    pub records: bool,
    /// The file; `-` reads standard input.
    pub file: PathBuf,
}

/// Runs the command; the exit status is 0 if nothing was rejected, 1 if something was, 2 for a wrong command line or an
/// output that takes nothing.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match decode(&args, out, err) {
        Ok(status) => status,
        Err(Fault::Usage(sentence)) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(err, "{sentence}");
            USAGE
        }
        // Whoever reads the output has gone: `decode ... | head`.
        Err(Fault::Output(error)) if error.kind() == ErrorKind::BrokenPipe => UNDERSTOOD,
        Err(Fault::Output(error)) => {
            let _ = writeln!(err, "The output cannot be written: {error}.");
            USAGE
        }
    }
}

enum Fault {
    Usage(String),
    Output(std::io::Error),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Output(error)
    }
}

fn decode(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Fault> {
    let (found, known) = named(args)?;
    let bytes = read(&args.file)?;
    let sizes = args.chunks.as_deref().map(chunk_sizes).transpose()?.unwrap_or_default();
    let (is_astm, is_hl7) = (found.name() == "astm", found.name() == "hl7");
    let framing = match args.framing.as_deref() {
        Some("none") => Framing::None,
        Some("e1381") => Framing::E1381,
        Some("soh") => Framing::Soh,
        Some(word) => {
            return Err(Fault::Usage(format!("There is no framing \"{word}\": write --framing e1381, soh or none.")));
        }
        None if is_astm && known.framing == Framing::E1381 && looks_unframed(&bytes) => {
            note(err, "The file holds no ENQ and begins with an H record: read as records without frames.");
            Framing::None
        }
        None if is_hl7 && known.framing == Framing::E1381 && !bytes.contains(&VT) => {
            note(err, "The file holds no VT: read as messages without the frame of MLLP.");
            Framing::None
        }
        None => known.framing,
    };
    if args.records && !is_astm {
        return Err(Fault::Usage("--records looks at LIS2 records: it works with --driver astm only.".to_owned()));
    }
    if bytes.is_empty() {
        note(err, "The file is empty: there is nothing to decode.");
    }
    if bytes.iter().all(|byte| ignorable(*byte, is_astm)) {
        return Ok(UNDERSTOOD);
    }
    if args.records {
        return print_records(&astm::records_of(&bytes, framing, known.reading.encoding), out, err);
    }
    let options = DriverOptions { framing, ..known };
    let session = converse(found, &options).map_err(|error| Fault::Usage(error.problem))?;
    let mut replay = Replay::new(session, Now::default());
    if is_astm && framing == Framing::E1381 && astm::lacks_enq(&bytes) {
        note(err, "The file holds frames but no ENQ: read as if one came before them.");
        replay.receive(&[ENQ]);
    }
    let Replayed { mut events, understood, .. } = fed(replay, &bytes, sizes).finish();
    if events.is_empty() && !understood {
        events.push(not_understood(&bytes, found.name()));
    }
    let analyzer = AnalyzerId(args.analyzer.clone());
    let mut rejected = false;
    for (place, kind) in events.into_iter().enumerate() {
        rejected |= kind.name == EventName::MessageRejected;
        writeln!(out, "{}", as_event(place, &analyzer, kind).data_json())?;
    }
    out.flush()?;
    Ok(if rejected { REJECTED } else { UNDERSTOOD })
}

/// The driver and its options, by the profile or by the driver's own name.
fn named(args: &Args) -> Result<(&'static dyn Driver, DriverOptions), Fault> {
    if let Some(name) = &args.profile {
        let profile = named_profile(name).map_err(Fault::Usage)?;
        let found = driver(&profile.driver).ok_or_else(|| Fault::Usage(unknown_driver(&profile.driver)))?;
        return Ok((found, profile.options));
    }
    let name = args.driver.as_deref().unwrap_or_default();
    let found = driver(name).ok_or_else(|| Fault::Usage(unknown_driver(name)))?;
    Ok((found, DriverOptions::default()))
}

fn fed(mut replay: Replay, bytes: &[u8], mut sizes: Sizes) -> Replay {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(sizes.next(rest.len()));
        if !part.is_empty() {
            replay.receive(part);
        }
        rest = after;
    }
    replay
}

/// A closed standard error leaves nobody to tell, and the events still come.
fn note(err: &mut dyn Write, sentence: &str) {
    let _ = writeln!(err, "{sentence}");
}

/// What a receiver may ignore, so that a file of nothing else is understood: for ASTM, control characters outside of
/// frames and what a line picks up while nobody talks (LIS01-A2); for lines, blank ones.
fn ignorable(byte: u8, is_astm: bool) -> bool {
    match byte {
        b' ' | b'\t' | b'\r' | b'\n' => true,
        STX => false,
        _ => is_astm && (byte.is_ascii_control() || byte == 0xff),
    }
}

fn unknown_driver(name: &str) -> String {
    let names: Vec<&str> = DRIVERS.iter().map(|driver| driver.name()).collect();
    let near = |known: &&&str| strsim::normalized_damerau_levenshtein(name, known) > 0.4;
    let nearest = names.iter().filter(near).max_by(|one, other| {
        let score = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
        score(one).total_cmp(&score(other))
    });
    match nearest {
        Some(known) => format!("There is no driver \"{name}\". Did you mean \"{known}\"?"),
        None => format!("There is no driver \"{name}\". There are: {}.", names.join(", ")),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let result = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes),
        false => std::fs::read(file),
    };
    result.map_err(|error| Fault::Usage(format!("{} cannot be read: {error}.", file.display())))
}

/// The sizes of the reads; the last one of a number repeats.
#[derive(Debug, Default)]
enum Sizes {
    #[default]
    Whole,
    Each(usize),
    List(VecDeque<usize>),
}

fn chunk_sizes(text: &str) -> Result<Sizes, Fault> {
    if let Ok(size) = text.parse::<usize>() {
        if size == 0 {
            return Err(Fault::Usage("--chunks 0 would never come to an end: write 1 or more.".to_owned()));
        }
        return Ok(Sizes::Each(size));
    }
    let list = std::fs::read(text).map_err(|error| {
        Fault::Usage(format!("--chunks takes a number or a file, and {text} cannot be read: {error}."))
    })?;
    let list: Vec<Size> = serde_json::from_slice(&list)
        .map_err(|_| Fault::Usage(format!("{text} is not a JSON array of sizes, like [1, 8, 8].")))?;
    let bytes = |size| match size {
        Size::Bytes(bytes) | Size::Chunk { bytes } => bytes,
    };
    Ok(Sizes::List(list.into_iter().map(bytes).collect()))
}

/// A size, or a chunk as `captures export` writes it.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(usize),
    Chunk { bytes: usize },
}

impl Sizes {
    /// How many of `left` bytes the next read gets.
    fn next(&mut self, left: usize) -> usize {
        match self {
            Sizes::Whole => left,
            Sizes::Each(size) => left.min(*size),
            Sizes::List(list) => list.pop_front().map_or(left, |size| size.min(left)),
        }
    }
}

/// No ENQ anywhere, and an H record first.
fn looks_unframed(bytes: &[u8]) -> bool {
    !bytes.contains(&ENQ) && bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'H')
}

fn print_records(records: &[Vec<String>], out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Fault> {
    if records.is_empty() {
        note(err, "No LIS2 record stands in this file. Without --records, decode says what the bytes look like.");
    }
    for record in records {
        let line = serde_json::to_string(record).expect("an array of strings is JSON");
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(if records.is_empty() { REJECTED } else { UNDERSTOOD })
}

fn not_understood(bytes: &[u8], driver: &str) -> EventKind {
    let (code, reason) = match driver {
        "astm" => ("not_astm", format!("no message could be read: {}", astm::guess(bytes))),
        "hl7" => ("not_hl7", format!("no message could be read: {}", astm::guess(bytes))),
        "poct1a" => ("not_poct1a", "no document of POCT1-A begins in the file".to_owned()),
        "text" => ("no_message", "no message begins in the file as the profile says".to_owned()),
        _ => ("no_message", "no message begins in the file".to_owned()),
    };
    EventKind::rejected(code, reason, bytes.len())
}

/// A file has no receive time: the epoch and an unset clock stand for that.
fn as_event(place: usize, analyzer: &AnalyzerId, kind: EventKind) -> Event {
    let id = kind.derived_id(analyzer).unwrap_or_else(|| Id::derived(&[b"decode", &place.to_be_bytes()]));
    Event {
        seq: Seq(i64::try_from(place).unwrap_or(i64::MAX).saturating_add(1)),
        id,
        analyzer: analyzer.clone(),
        received_at: Timestamp(0),
        clock: ClockQuality::Unset,
        boot: Id([0; 16]),
        mono: Mono(0),
        sequence: None,
        erased: false,
        kind,
    }
}
