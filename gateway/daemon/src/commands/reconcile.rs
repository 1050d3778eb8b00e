//! `reconcile`: sends an endpoint exactly what it lacks, by what it says it is missing or by what it has.

use super::ask::{Asker, part, query};
use super::redrive::going;
use super::{EXIT_FAILED, EXIT_USAGE};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The endpoint's id
    endpoint: String,
    /// Only what belongs to that day or a later one, in UTC: 2026-11-21
    #[arg(long, value_name = "DAY")]
    since: Option<String>,
    /// Ordinals that it lacks: `17,20-25`
    #[arg(long, value_name = "ORDINALS", value_delimiter = ',', conflicts_with = "have")]
    missing: Vec<String>,
    /// A file of the ordinals that it has (`x-gateway-ordinal`), one a line; what follows behind a blank does not count
    #[arg(long, value_name = "FILE")]
    have: Option<PathBuf>,
    /// Say what would go, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match missing(&args) {
        Ok(missing) => {
            let body = json!({ "missing": missing, "dry_run": args.dry_run });
            let path = format!("/api/webhooks/{}/reconcile", part(&args.endpoint));
            args.asker.tell((Method::POST, path, Some(body)), out, err, going)
        }
        Err((status, text)) => {
            let _ = writeln!(err, "{text}");
            status
        }
    }
}

/// The ranges of ordinals to send again.
fn missing(args: &Args) -> Result<Vec<(u64, u64)>, (u8, String)> {
    let usage = |text: String| (EXIT_USAGE, text);
    if args.have.is_none() && args.missing.is_empty() {
        return Err(usage("say what it lacks with --missing, or what it has with --have".to_owned()));
    }
    let read = args.missing.iter().map(|text| range(text));
    let named: Vec<(u64, u64)> = read.collect::<Result<_, _>>().map_err(usage)?;
    if args.have.is_none() && args.since.is_none() {
        return Ok(named);
    }
    let path = format!("/api/manifests/{}{}", part(&args.endpoint), query(&[("since", args.since.clone())]));
    let answer = args.asker.ask(Method::GET, &path, None).map_err(|failed| (failed.status, failed.text))?;
    let sent = sent(&answer);
    match &args.have {
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| (EXIT_FAILED, format!("{}: {error}", file.display())))?;
            let had = had(&text).map_err(usage)?;
            Ok(sent.map_or_else(Vec::new, |sent| lacking(sent, &had)))
        }
        None => Ok(sent.map_or_else(Vec::new, |(first, last)| {
            let within = named.iter().map(|(from, to)| ((*from).max(first), (*to).min(last)));
            within.filter(|(from, to)| from <= to).collect()
        })),
    }
}

/// `17` or `20-25`
fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.trim().split_once('-').unwrap_or((text, text));
    match (from.trim().parse(), to.trim().parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok((from, to)),
        _ => Err(format!("`{text}` is neither an ordinal nor a range such as 20-25")),
    }
}

/// The first and the last ordinal of these manifests; `None`: nothing was sent.
fn sent(answer: &Value) -> Option<(u64, u64)> {
    let days = answer["manifests"].as_array()?.iter().map(|signed| &signed["manifest"]);
    let days: Vec<&Value> = days.filter(|day| day["count"].as_u64() > Some(0)).collect();
    Some((days.first()?["first_ordinal"].as_u64()?, days.last()?["last_ordinal"].as_u64()?))
}

fn had(text: &str) -> Result<BTreeSet<u64>, String> {
    let lines = text.lines().enumerate().filter_map(|(index, line)| Some((index, line.split_whitespace().next()?)));
    lines
        .map(|(index, word)| word.parse().map_err(|_| format!("line {} does not begin with an ordinal", index + 1)))
        .collect()
}

/// What of the range from `first` to `last` is not there, in ranges.
fn lacking((first, last): (u64, u64), had: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut next = first;
    for ordinal in had.range(first..=last) {
        if next < *ordinal {
            ranges.push((next, ordinal - 1));
        }
        next = ordinal + 1;
    }
    if next <= last {
        ranges.push((next, last));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_in_ranges() {
        let had = |list: &[u64]| list.iter().copied().collect::<BTreeSet<u64>>();
        assert_eq!(lacking((5, 10), &had(&[])), [(5, 10)]);
        assert_eq!(lacking((5, 10), &had(&[1, 5, 7, 10, 12])), [(6, 6), (8, 9)]);
        assert_eq!(lacking((5, 10), &had(&[5, 6, 7, 8])), [(9, 10)]);
        assert_eq!(lacking((5, 6), &had(&[5, 6])), []);
    }

    #[test]
    fn ranges_and_files_are_read_with_their_faults() {
        assert_eq!(range("17"), Ok((17, 17)));
        assert_eq!(range(" 20-25"), Ok((20, 25)));
        assert!(range("25-20").is_err());
        assert!(range("x").is_err());
        assert_eq!(had("3 an-id\n\n4\n"), Ok([3, 4].into()));
        assert_eq!(had("3\nx\n"), Err("line 2 does not begin with an ordinal".to_owned()));
    }
}
