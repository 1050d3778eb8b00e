//! How commands ask: the running gateway over its control socket; while none runs, the same API over the store itself.
//!
//! Invariant: whoever has the store's lock answers. A command never writes beside a gateway that runs.

use super::{EXIT_CONFIG, EXIT_FAILED};
use crate::api::Api;
use crate::api::auth::Door;
use crate::board::Board;
use crate::configuration::{self, Source};
use crate::platform::{Platform, call};
use crate::pulse::stop_channel;
use crate::store::Store;
use crate::supervision::Supervisor;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, header};
use gateway_core::config::Config;
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tower::ServiceExt;

/// No answer is longer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which gateway, and how the answer is shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Asker {
    /// The settings file. Without it: the one that `run` would take
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The state folder, whatever the settings say
    #[arg(long, value_name = "FOLDER", global = true)]
    state_dir: Option<PathBuf>,
    /// Print the answer as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why a command did not do what it was asked: the exit status, and what to tell.
pub struct Failed {
    pub status: u8,
    pub text: String,
}

impl Failed {
    fn new(text: impl Into<String>) -> Failed {
        Failed { status: EXIT_FAILED, text: text.into() }
    }
}

impl Asker {
    /// Asks, and prints the answer: as JSON, or as `show` says. Returns the exit status.
    pub fn tell(
        &self,
        (method, path, body): (Method, String, Option<Value>),
        out: &mut dyn Write,
        err: &mut dyn Write,
        show: impl FnOnce(&Value, &mut dyn Write) -> std::io::Result<()>,
    ) -> u8 {
        let answer = match self.ask(method, &path, body) {
            Ok(answer) => answer,
            Err(failed) => {
                let _ = writeln!(err, "{}", failed.text);
                return failed.status;
            }
        };
        // A closed pipe leaves nobody to tell.
        let _ = if self.json { writeln!(out, "{answer:#}") } else { show(&answer, out) };
        0
    }

    /// The answer's body. A problem in the answer is a failure that tells its detail and each fault.
    pub fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        let source = Source::of_process(self.config.clone(), self.state_dir.clone());
        let running = configuration::load_for_run(&source)
            .map_err(|failure| Failed { status: EXIT_CONFIG, text: failure.to_string() })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failed::new(format!("cannot start: {error}")))?;
        runtime.block_on(answer(running.loaded.config, method, path, body))
    }
}

async fn answer(config: Config, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failed> {
    let socket = config.gateway.state_dir.join("control.sock");
    let request = || {
        let body = body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = Request::builder().method(&method).uri(format!("http://localhost{path}"));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        request.map_err(|_| Failed::new("this cannot be asked: an id holds what an address cannot carry"))
    };
    match call::call(&socket, request()?).await {
        Ok(response) => read(response).await,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            alone(config, request()?).await
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Failed::new(format!(
            "you may not open {}: use sudo, or join the group of the service",
            socket.display()
        ))),
        Err(error) => Err(Failed::new(format!("the gateway does not answer at {}: {error}", socket.display()))),
    }
}

/// No gateway runs: this process has the store for itself as long as it takes.
async fn alone(config: Config, request: Request<String>) -> Result<Value, Failed> {
    let path = config.gateway.state_dir.join("events.db");
    // Made by whoever types this it would belong to the wrong user.
    if !path.exists() {
        let text = format!("there is no database at {}: start the gateway once, then ask again", path.display());
        return Err(Failed::new(text));
    }
    let platform = Platform::real();
    let opened = Store::open(&path, platform.clock.clone(), platform.disk.clone()).await;
    let store = opened.map_err(|error| Failed::new(error.to_string()))?;
    let board = Arc::new(Board::new(&config, platform.clock.boot(), platform.clock.now()));
    let (_stopper, stop) = stop_channel();
    let api = Api::new(config, platform, store.clone(), board, Supervisor::default(), stop);
    let response =
        api.router(Door::Socket).oneshot(request.map(Body::from)).await.unwrap_or_else(|never| match never {});
    let answer = read(response).await;
    // What was answered is on disk; the next start only has to check the file.
    let _ = store.close().await;
    answer
}

async fn read(response: Response<Body>) -> Result<Value, Failed> {
    let status = response.status();
    let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let body = body.map_err(|_| Failed::new("the gateway broke off in the middle of its answer"))?;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(value);
    }
    let mut text = value["detail"].as_str().unwrap_or("the gateway refuses this").to_owned();
    let faults = value["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for fault in faults.iter().filter(|_| faults.len() > 1) {
        let part = |key: &str| fault[key].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!("\n  {}: {}", part("path"), part("problem")));
    }
    Err(Failed::new(text))
}

/// A part of a path, escaped.
pub fn part(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// `?key=value&...` of the parts that are given.
pub fn query(parts: &[(&str, Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parts.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))));
    match query.finish() {
        empty if empty.is_empty() => empty,
        query => format!("?{query}"),
    }
}

/// Text, a number or nothing, as a cell of a table.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows under their heads, in columns; a sentence instead where there are none.
pub fn table(out: &mut dyn Write, heads: &[&str], rows: &[Vec<String>], none: &str) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "{none}");
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// The objects of a list in the answer, each as a row of these keys.
pub fn rows(list: &Value, keys: &[&str]) -> Vec<Vec<String>> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| keys.iter().map(|key| cell(item.pointer(key).unwrap_or(&Value::Null))).collect()).collect()
}
