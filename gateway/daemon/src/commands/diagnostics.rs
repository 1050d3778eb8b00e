//! `diagnostics`: one file for support, without a secret and without anybody's data.

use super::ask::{Asker, Failed, rows, table};
use super::{EXIT_FAILED, plain};
use crate::platform::drive;
use axum::http::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Diagnostics {
    /// Put the file together; it says what it holds and what it leaves out
    Collect(Collect),
}

#[derive(Debug, Clone, clap::Args)]
pub struct Collect {
    /// The folder to write it into, or `usb` for the drive that is plugged in
    #[arg(long, value_name = "DIR|usb", default_value = ".")]
    to: PathBuf,
    /// Only say what would be in it
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(command: Diagnostics, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Diagnostics::Collect(args) = command;
    match collect(&args, out) {
        Ok(()) => 0,
        Err(failed) => {
            let _ = writeln!(err, "{}", failed.text);
            failed.status
        }
    }
}

fn collect(args: &Collect, out: &mut dyn Write) -> Result<(), Failed> {
    let manifest = args.asker.ask(Method::POST, "/api/diagnostics/preview", None)?;
    if args.preview {
        // A closed pipe leaves nobody to tell.
        let _ = if args.asker.json { writeln!(out, "{manifest:#}") } else { show(&manifest, out) };
        return Ok(());
    }
    let folder = folder(args)?;
    let mut bytes = Vec::new();
    args.asker.copy_of(&Method::POST, "/api/diagnostics", &mut bytes)?;
    let name = manifest["name"].as_str().unwrap_or("diagnostics.tar.gz");
    let written = drive::save(&folder, name, &bytes).map_err(|text| Failed { status: EXIT_FAILED, text })?;
    let _ = match args.asker.json {
        true => writeln!(out, "{:#}", json!({ "file": written, "bytes": bytes.len() })),
        false => writeln!(out, "{} ({} bytes)", written.display(), bytes.len()),
    };
    Ok(())
}

fn folder(args: &Collect) -> Result<PathBuf, Failed> {
    if args.to.as_os_str() != "usb" {
        return Ok(args.to.clone());
    }
    let found = drive::removable();
    let text = match found.as_slice() {
        [one] => return Ok(one.clone()),
        [] => "no drive is mounted below /media or /run/media: plug one in and mount it, or name a folder with --to"
            .to_owned(),
        several => {
            let names: Vec<String> = several.iter().map(|path| plain(&path.display().to_string())).collect();
            format!("several drives are mounted: name one of them with --to: {}", names.join(", "))
        }
    };
    Err(Failed { status: EXIT_FAILED, text })
}

fn show(manifest: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let files = rows(&manifest["files"], &["/name", "/bytes", "/about"]);
    table(out, &["FILE", "BYTES", "WHAT"], &files, "nothing")?;
    writeln!(out)?;
    let left_out = rows(&manifest["left_out"], &["/what", "/why"]);
    table(out, &["LEFT OUT", "WHY"], &left_out, "nothing is left out")
}
