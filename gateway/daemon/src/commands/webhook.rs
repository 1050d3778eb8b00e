//! `analyzer-gateway webhook test ENDPOINT`: tries an endpoint out under the settings in force and tells hop by hop.

use super::ask::{Asker, part, print_json};
use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_USAGE, plain};
use crate::configuration::{self, Source};
use crate::platform::Platform;
use crate::platform::probe::{self, Report};
use axum::http::Method;
use std::io::Write;

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Webhook {
    /// Send a marked test event to an endpoint and tell of every hop: name, connection, certificate, clocks, key, verdict
    Test(Test),
    /// Send an endpoint nothing until it is resumed; everything is kept, also over a restart
    Pause(Named),
    /// Go on with an endpoint that was paused
    Resume(Named),
}

#[derive(Debug, Clone, clap::Args)]
pub struct Named {
    /// The webhook's id in the settings
    pub endpoint: String,
    #[command(flatten)]
    pub asker: Asker,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Test {
    /// The webhook's id in the settings.
    pub endpoint: String,
    #[command(flatten)]
    pub asker: Asker,
}

/// Exit status 0 if every hop was passed, 1 if one was not, 2 for an endpoint that is not in the settings, 78 if these
/// cannot be used.
pub fn run(command: Webhook, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match command {
        Webhook::Test(args) => test(&args, &args.asker.home.source(), out, err),
        Webhook::Pause(named) => put(&named, "pause", "paused: everything is kept until it is resumed", out, err),
        Webhook::Resume(named) => put(&named, "resume", "resumed", out, err),
    }
}

fn put(named: &Named, word: &str, done: &str, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let path = format!("/api/webhooks/{}/{word}", part(&named.endpoint));
    match named.asker.ask(Method::POST, &path, None) {
        Ok(json) if named.asker.json => u8::from(print_json(&json, out).is_err()),
        Ok(_) => u8::from(writeln!(out, "{} is {done}", plain(&named.endpoint)).is_err()),
        Err(failed) => failed.tell(err),
    }
}

fn test(args: &Test, source: &Source, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let config = match configuration::load(source) {
        Ok(loaded) => loaded.config,
        Err(failure) => {
            let _ = writeln!(err, "{failure}");
            return EXIT_CONFIG;
        }
    };
    let Some(webhook) = config.webhooks.iter().find(|webhook| webhook.id == args.endpoint) else {
        let known: Vec<&str> = config.webhooks.iter().map(|webhook| webhook.id.as_str()).collect();
        let known = if known.is_empty() { "no webhook at all".to_owned() } else { known.join(", ") };
        let _ = writeln!(err, "there is no webhook `{}` in the settings; there is {known}", args.endpoint);
        return EXIT_USAGE;
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(err, "cannot start: {error}");
            return EXIT_FAILED;
        }
    };
    let report = runtime.block_on(probe::run(&Platform::real(), webhook, &config.gateway.id));
    let text = if args.asker.json { json(&report) } else { told(&report) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) if report.ok => 0,
        Ok(()) => EXIT_FAILED,
        Err(error) => {
            let _ = writeln!(err, "cannot write the report: {error}");
            EXIT_FAILED
        }
    }
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report has only string keys") + "\n"
}

/// One line a hop; below it what to do, where there is something to do.
fn told(report: &Report) -> String {
    let mut text = format!("{} ({}), test event {}\n", report.webhook, report.dialect, report.event_id);
    for hop in &report.hops {
        let mark = match (hop.ok, &hop.next_step) {
            (true, None) => "ok",
            (true, Some(_)) => "warn",
            (false, _) => "FAIL",
        };
        text.push_str(&format!(
            "{mark:4}  {:14}  {:>5} ms  {}\n",
            hop.hop.as_str(),
            hop.milliseconds,
            plain(&hop.told)
        ));
        if let Some(next_step) = &hop.next_step {
            text.push_str(&format!("      -> {next_step}\n"));
        }
    }
    if let (false, Some(answer)) = (report.ok, &report.answer) {
        text.push_str(&format!("the answer begins: {}\n", plain(answer)));
    }
    text.push_str(if report.ok { "good: this endpoint takes events\n" } else { "not good: see the last hop above\n" });
    text
}
