//! `captures`: messages as they were received; listed, shown, and exported with or without the people in them.

use super::ask::{Asker, Failed, cell, query, table};
use super::{EXIT_FAILED, EXIT_USAGE, plain};
use crate::platform::Platform;
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const PAGE_MESSAGES: u16 = 1000;
/// Bytes in a line of `show`.
const LINE_BYTES: usize = 16;

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Captures {
    /// The messages that are stored, oldest first
    List(List),
    /// One message, byte for byte
    Show(Show),
    /// Write messages into files that `decode` reads, each with its chunks beside it
    Export(Export),
}

#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// Only messages received at or after that moment: 2026-11-21T20:14:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only of this analyzer
    #[arg(long, value_name = "ID")]
    analyzer: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Show {
    /// The message's id, as `list` prints it
    id: i64,
    /// Replace ids, names and free text by invented ones
    #[arg(long)]
    scrub: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Export {
    /// Ids of messages; without any: all that --since and --analyzer leave
    ids: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// Replace ids, names and free text by invented ones, and make the checksums right again
    #[arg(long)]
    scrub: bool,
    /// A folder for a file a message, or a file for all of them one after the other. What does not exist yet becomes a
    /// folder if it ends in `/`, or for several messages if it has no extension
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(command: Captures, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match &command {
        Captures::List(args) => list(args, out),
        Captures::Show(args) => show(args, out),
        Captures::Export(args) => export(args, out, err),
    };
    match done {
        Ok(status) => status,
        Err(failed) => {
            let _ = writeln!(err, "{}", failed.text);
            failed.status
        }
    }
}

/// Every message that is wanted, a page at a time.
fn pages(asker: &Asker, which: &Which, mut each: impl FnMut(&Value) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut after = 0;
    loop {
        let parts = [
            ("after", Some(after.to_string())),
            ("limit", Some(PAGE_MESSAGES.to_string())),
            ("analyzer", which.analyzer.clone()),
            ("since", which.since.clone()),
        ];
        let page = asker.ask(Method::GET, &format!("/api/captures{}", query(&parts)), None)?;
        let captures = page["captures"].as_array().map(Vec::as_slice).unwrap_or_default();
        if captures.is_empty() {
            return Ok(());
        }
        captures.iter().try_for_each(&mut each)?;
        after = page["next"].as_i64().unwrap_or(i64::MAX);
    }
}

fn list(args: &List, out: &mut dyn Write) -> Result<u8, Failed> {
    let mut all: Vec<Value> = Vec::new();
    pages(&args.asker, &args.which, |capture| {
        all.push(capture.clone());
        Ok(())
    })?;
    let row = |capture: &Value| {
        let names = capture["events"].as_array().into_iter().flatten().map(|event| cell(&event["name"]));
        let told = match capture["repeated"] == true {
            true => "(a repeat)".to_owned(),
            false => names.collect::<Vec<_>>().join(" "),
        };
        let bytes = if capture["bytes"] == 0 { "erased".to_owned() } else { cell(&capture["bytes"]) };
        vec![cell(&capture["id"]), cell(&capture["received_at"]), cell(&capture["analyzer"]), bytes, told]
    };
    // A closed pipe leaves nobody to tell.
    let _ = match args.asker.json {
        true => writeln!(out, "{:#}", Value::Array(all)),
        false => {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            table(out, &["MESSAGE", "RECEIVED", "ANALYZER", "BYTES", "EVENTS"], &rows, "no message is stored")
        }
    };
    Ok(0)
}

/// A message with its bytes.
fn fetched(asker: &Asker, id: i64, key: Option<&str>) -> Result<(Value, Vec<u8>), Failed> {
    let parts = [("scrub_key", key.map(str::to_owned))];
    let answer = asker.ask(Method::GET, &format!("/api/captures/{id}{}", query(&parts)), None)?;
    let content = STANDARD.decode(answer["content"].as_str().unwrap_or_default());
    let broken = |_| Failed { status: EXIT_FAILED, text: "the gateway's answer cannot be read".to_owned() };
    content.map(|bytes| (answer, bytes)).map_err(broken)
}

/// A key by chance, for this export alone.
fn key(scrub: bool) -> Option<String> {
    let mut random = [0; 32];
    Platform::real().entropy.fill(&mut random);
    scrub.then(|| HEXLOWER.encode(&random))
}

fn show(args: &Show, out: &mut dyn Write) -> Result<u8, Failed> {
    let (answer, bytes) = fetched(&args.asker, args.id, key(args.scrub).as_deref())?;
    let _ = if args.asker.json { writeln!(out, "{answer:#}") } else { dump(&answer, &bytes, out) };
    Ok(0)
}

fn dump(answer: &Value, bytes: &[u8], out: &mut dyn Write) -> std::io::Result<()> {
    let mut from: usize = 0;
    for chunk in answer["chunks"].as_array().into_iter().flatten() {
        let length = chunk["bytes"].as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let end = from.saturating_add(length).min(bytes.len());
        writeln!(out, "{} ({} bytes)", cell(&chunk["received_at"]), end - from)?;
        hex_lines(&bytes[from..end], from, out)?;
        from = end;
    }
    Ok(())
}

/// Bytes in hexadecimal and as text, sixteen a line; `from` is the place of the first.
pub fn hex_lines(bytes: &[u8], from: usize, out: &mut dyn Write) -> std::io::Result<()> {
    for (at, line) in bytes.chunks(LINE_BYTES).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = line.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '.' }).collect();
        writeln!(out, "{:06x}  {:<47}  {}", from + at * LINE_BYTES, hex.join(" "), plain(&text))?;
    }
    Ok(())
}

fn export(args: &Export, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Failed> {
    let mut ids = args.ids.clone();
    if ids.is_empty() {
        pages(&args.asker, &args.which, |capture| {
            ids.extend(capture["id"].as_i64().filter(|_| capture["bytes"] != 0));
            Ok(())
        })?;
    }
    // Several messages under a name that neither exists nor looks like a file's go into a folder of that name.
    let nameless = ids.len() > 1 && !args.out.exists() && args.out.extension().is_none();
    let many = args.out.is_dir() || args.out.as_os_str().to_string_lossy().ends_with('/') || nameless;
    if !args.out.is_dir() && many {
        std::fs::create_dir_all(&args.out).map_err(|error| cannot_write(&args.out, &error))?;
    }
    let key = key(args.scrub);
    let (mut written, mut left) = (0, 0);
    let (mut joined, mut chunks) = (Vec::new(), Vec::new());
    for id in &ids {
        let (answer, bytes) = match fetched(&args.asker, *id, key.as_deref()) {
            Ok(fetched) => fetched,
            // One that was erased or cannot be scrubbed keeps no other back.
            Err(failed) if ids.len() > 1 => {
                let _ = writeln!(err, "message {id} is left out: {}", failed.text);
                left += 1;
                continue;
            }
            Err(failed) => return Err(failed),
        };
        written += 1;
        let parts = answer["chunks"].as_array().cloned().unwrap_or_default();
        if many {
            let analyzer = answer["capture"]["analyzer"].as_str().unwrap_or("analyzer");
            write(&args.out.join(format!("{analyzer}-{id}.bin")), &bytes, &parts)?;
        } else {
            joined.extend(bytes);
            chunks.extend(parts);
        }
    }
    if !many && written > 0 {
        write(&args.out, &joined, &chunks)?;
    }
    let place = match (many, written) {
        (_, 0) => String::new(),
        (true, _) => format!(" into the folder {}", args.out.display()),
        (false, 1) => format!(" into the file {}", args.out.display()),
        (false, _) => format!(" into the one file {}, one after the other", args.out.display()),
    };
    let people = if args.scrub { ", without the people in them" } else { "" };
    let _ = writeln!(out, "{written} messages written{place}{people}");
    if ids.is_empty() {
        let _ = writeln!(err, "no message fits");
        return Ok(EXIT_USAGE);
    }
    Ok(if left > 0 { EXIT_FAILED } else { 0 })
}

/// The bytes, and beside them how they came. Only their owner may read either.
fn write(file: &Path, bytes: &[u8], chunks: &[Value]) -> Result<(), Failed> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".chunks.json");
    let chunks = format!("{:#}\n", Value::Array(chunks.to_vec()));
    for (path, content) in [(file, bytes), (Path::new(&beside), chunks.as_bytes())] {
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(path);
        opened.and_then(|mut file| file.write_all(content)).map_err(|error| cannot_write(path, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failed {
    Failed { status: EXIT_FAILED, text: format!("{} cannot be written: {error}", path.display()) }
}
