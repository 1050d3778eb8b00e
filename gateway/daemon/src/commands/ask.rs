//! How commands ask: the running gateway over its control socket; while none runs, the same API over the store itself.
//!
//! Invariant: whoever has the store's lock answers. A command never writes beside a gateway that runs.

use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, plain};
use crate::api::Api;
use crate::api::auth::Door;
use crate::board::Board;
use crate::configuration::{self, Source};
use crate::platform::{Platform, call};
use crate::pulse::{Stopper, stop_channel};
use crate::store::{Store, StoreError};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use futures_util::StreamExt;
use gateway_core::config::Config;
use gateway_core::health::Fact;
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// No answer is longer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A gateway that runs has begun to answer by then: its own bound is 60 s.
const ANSWER_SECONDS_MAX: u64 = 75;

/// Where a gateway's settings and its state are: what every command that looks at one begins with.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Home {
    /// The settings file. Without it: $ANALYZER_GATEWAY_CONFIG, /boot/firmware/gateway.yaml or
    /// /etc/analyzer-gateway/gateway.yaml, the first that there is
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The state folder, whatever the settings say
    #[arg(long, value_name = "FOLDER", global = true)]
    pub state_dir: Option<PathBuf>,
}

impl Home {
    /// Where its settings come from.
    pub fn source(&self) -> Source {
        Source::of_process(self.config.clone(), self.state_dir.clone())
    }

    /// The settings that a gateway runs with.
    pub fn settings(&self) -> Result<Config, Failed> {
        let running = configuration::load_for_run(&self.source());
        let running = running.map_err(|failure| Failed { status: EXIT_CONFIG, text: failure.to_string() })?;
        Ok(running.loaded.config)
    }
}

/// Which gateway, and how the answer is shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Asker {
    #[command(flatten)]
    pub home: Home,
    /// Print the answer as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// Who has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The gateway that runs.
    Gateway,
    /// None runs: its store, as it was left.
    Store,
}

/// Why a command did not do what it was asked: the exit status, and what to tell.
pub struct Failed {
    pub status: u8,
    pub text: String,
}

impl Failed {
    /// What was asked is refused, or is not there.
    pub fn new(text: impl Into<String>) -> Failed {
        Failed { status: EXIT_FAILED, text: text.into() }
    }

    /// Nobody answers, or what is needed cannot be read.
    pub fn unreachable(text: impl Into<String>) -> Failed {
        Failed { status: EXIT_UNREACHABLE, text: text.into() }
    }

    /// Says it, and gives the exit status.
    pub fn tell(self, err: &mut dyn Write) -> u8 {
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(err, "{}", self.text);
        self.status
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
            Err(failed) => return failed.tell(err),
        };
        // A closed pipe leaves nobody to tell.
        let _ = if self.json { print_json(&answer, out) } else { show(&answer, out) };
        0
    }

    /// The answer's body. A problem in the answer is a failure that tells its detail and each fault.
    pub fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        self.ask_whom(method, path, body).map(|(answer, _)| answer)
    }

    /// The same, and who has answered.
    pub fn ask_whom(&self, method: Method, path: &str, body: Option<Value>) -> Result<(Value, By), Failed> {
        let config = self.home.settings()?;
        runtime()?.block_on(async {
            let asked = answer(config, &method, path, body).await?;
            let by = asked.by();
            let answer = read(asked.response).await;
            end(asked.alone).await;
            Ok((answer?, by))
        })
    }

    /// Copies the answer's body as it is, in the media type that is asked for. Returns the exit status.
    pub fn copy(&self, path: &str, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        self.copy_of(&Method::GET, path, out).map_or_else(|failed| failed.tell(err), |()| 0)
    }

    /// The same for any method.
    pub fn copy_of(&self, method: &Method, path: &str, out: &mut dyn Write) -> Result<(), Failed> {
        self.home.settings().and_then(|config| {
            runtime()?.block_on(async {
                let asked = answer(config, method, path, None).await?;
                let copied = pour(asked.response, out).await;
                end(asked.alone).await;
                copied
            })
        })
    }
}

/// For the one conversation of a command.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failed::unreachable(format!("cannot start: {error}")))
}

/// Where the gateway with this state folder listens for commands.
pub fn control_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// An answer whose body is still to come.
struct Asked {
    response: Response<Body>,
    /// The store that has answered, and what keeps its API from ending before the body was read.
    alone: Option<(Store, Stopper)>,
}

impl Asked {
    fn by(&self) -> By {
        if self.alone.is_some() { By::Store } else { By::Gateway }
    }
}

/// What was answered is on disk; the next start only has to check the file.
async fn end(alone: Option<(Store, Stopper)>) {
    if let Some((store, _stopper)) = alone {
        let _ = store.close().await;
    }
}

/// Copies the body piece by piece. A closed pipe ends it.
async fn pour(response: Response<Body>, out: &mut dyn Write) -> Result<(), Failed> {
    if !response.status().is_success() {
        return read(response).await.map(|_| ());
    }
    let mut pieces = response.into_body().into_data_stream();
    while let Some(piece) = pieces.next().await {
        if out.write_all(&piece.map_err(|_| broken_off())?).is_err() {
            break;
        }
    }
    Ok(())
}

async fn answer(config: Config, method: &Method, path: &str, body: Option<Value>) -> Result<Asked, Failed> {
    let socket = control_socket(&config.gateway.state_dir);
    let request = || {
        let body = body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        request.map_err(|_| Failed::new("this cannot be asked: an id holds what an address cannot carry"))
    };
    let patience = Duration::from_secs(ANSWER_SECONDS_MAX);
    match tokio::time::timeout(patience, call::call(&socket, request()?)).await {
        Ok(Ok(response)) => Ok(Asked { response, alone: None }),
        Ok(Err(error)) if is_nobody(&error) => alone(config, request()?).await,
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Err(Failed::unreachable(format!(
            "you may not open {}: use sudo, or join the group of the service",
            socket.display()
        ))),
        Ok(Err(error)) => {
            Err(Failed::unreachable(format!("the gateway does not answer at {}: {error}", socket.display())))
        }
        Err(_) => Err(Failed::unreachable(format!(
            "the gateway takes the connection at {} and does not answer: it hangs, restart it",
            socket.display()
        ))),
    }
}

/// Whether this says that no gateway listens there.
pub fn is_nobody(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// No gateway runs: this process has the store for itself as long as it takes.
async fn alone(config: Config, request: Request<String>) -> Result<Asked, Failed> {
    let path = config.gateway.state_dir.join("events.db");
    // Made by whoever types this it would belong to the wrong user.
    if !path.try_exists().unwrap_or(true) {
        let text = format!("there is no database at {}: start the gateway once, then ask again", path.display());
        return Err(Failed::unreachable(text));
    }
    let platform = Platform::real();
    let opened = Store::open(&path, platform.clock.clone(), platform.disk.clone()).await;
    let store = opened.map_err(|error| Failed::unreachable(error.to_string()))?;
    let board = board(&config, &platform, &store).await.map_err(|error| Failed::unreachable(error.to_string()))?;
    let (stopper, stop) = stop_channel();
    let api = Api::new(config, platform, store.clone(), board, stop);
    let response =
        api.router(Door::Socket).oneshot(request.map(Body::from)).await.unwrap_or_else(|never| match never {});
    Ok(Asked { response, alone: Some((store, stopper)) })
}

/// What the store and the machine can tell without a gateway.
async fn board(config: &Config, platform: &Platform, store: &Store) -> Result<Arc<Board>, StoreError> {
    let now = platform.clock.now();
    let board = Board::new(config, platform.clock.boot(), now);
    let standings = store.standings().await?;
    let names: Vec<String> = standings.configured.iter().map(|(id, _)| id.0.clone()).collect();
    board.configure(config, &names, now);
    let vitals = platform.machine.vitals(&config.gateway.state_dir).await;
    board.tell(now, Fact::Measured { vitals, store: standings.store });
    board.tell(now, Fact::LeftBehind { waiting: standings.left_behind });
    for (destination, standing) in standings.configured {
        let dead = usize::try_from(standing.dead).unwrap_or(usize::MAX);
        board.tell(now, Fact::DeadLetters { destination: destination.0.clone(), dead });
        board.tell(now, Fact::Counted { destination: destination.0, standing });
    }
    Ok(Arc::new(board))
}

fn broken_off() -> Failed {
    Failed::unreachable("the gateway broke off in the middle of its answer")
}

async fn read(response: Response<Body>) -> Result<Value, Failed> {
    let status = response.status();
    let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let body = body.map_err(|_| broken_off())?;
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
    // An argument that has no meaning; one that names what is not there has a code.
    let wrong = status == StatusCode::BAD_REQUEST && value["code"].is_null();
    Err(Failed { status: if wrong { EXIT_USAGE } else { EXIT_FAILED }, text })
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

/// JSON for programs. Of the control characters that JSON lets stand (DEL and C1) none reaches a terminal.
pub fn print_json(value: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}", harmless(&format!("{value:#}")))
}

/// The same JSON, with those characters escaped.
pub fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
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
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", plain(cell)));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// The objects of a list in the answer, each as a row of these keys.
pub fn rows(list: &Value, keys: &[&str]) -> Vec<Vec<String>> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| keys.iter().map(|key| cell(item.pointer(key).unwrap_or(&Value::Null))).collect()).collect()
}
