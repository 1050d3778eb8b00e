//! `watch`: the status screen, drawn anew whenever something changes, with the events that come in below it.
//!
//! Invariant: however it ends, the terminal is as it was before. A gateway that is restarted is found again.

use super::ask::{Asker, By, Failed, control_socket, harmless, is_nobody, runtime};
use super::screen::{Paint, Tone};
use super::{plain, status};
use crate::platform::call;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use futures_util::StreamExt;
use gateway_core::overview::Overview;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// Events below the screen.
const EVENTS_SHOWN_MAX: usize = 12;
/// A line of the stream is no longer; a run's curve is the longest.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Between two tries to reach a gateway that has gone.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 after Ctrl-C, 3 if no gateway runs when it begins.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let socket = match args.asker.home.settings() {
        Ok(config) => control_socket(&config.gateway.state_dir),
        Err(failed) => return failed.tell(err),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failed) => return failed.tell(err),
    };
    let drawn = !args.asker.json && io::stdout().is_terminal();
    let mut watch =
        Watch { json: args.asker.json, drawn, overview: None, events: VecDeque::new(), last: None, gone: None };
    let ended = runtime.block_on(async {
        let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        let mut terminated = terminated.map_err(|error| Failed::unreachable(format!("cannot start: {error}")))?;
        tokio::select! {
            ended = watch.follow(&socket, out) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
            _ = terminated.recv() => Ok(()),
        }
    });
    if drawn {
        // The screen that was there before, with its cursor.
        let _ = write!(out, "\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
    }
    match ended {
        Err(Ended::Failed(failed)) => failed.tell(err),
        // A closed pipe is how `watch | head` ends.
        Ok(()) | Err(Ended::Closed) => 0,
    }
}

enum Ended {
    Failed(Failed),
    /// Nobody reads what is written.
    Closed,
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        Ended::Failed(failed)
    }
}

struct Watch {
    json: bool,
    drawn: bool,
    overview: Option<Overview>,
    /// As they are shown, the newest last.
    events: VecDeque<String>,
    /// The place of the newest event in the log.
    last: Option<String>,
    /// Why nobody answers just now.
    gone: Option<String>,
}

/// One message of the stream (server-sent events, WHATWG HTML section 9.2).
#[derive(Default)]
struct Told {
    event: String,
    id: Option<String>,
    data: String,
}

impl Watch {
    async fn follow(&mut self, socket: &Path, out: &mut dyn Write) -> Result<(), Ended> {
        let mut reached = false;
        loop {
            match self.open(socket).await {
                Ok(response) => {
                    if self.drawn && !reached {
                        let _ = write!(out, "\x1b[?1049h\x1b[?25l");
                    }
                    reached = true;
                    self.gone = None;
                    self.hear(response, out).await?;
                    self.gone = Some("the gateway has gone; trying again".to_owned());
                }
                Err(failed) if !reached => return Err(failed.into()),
                Err(failed) => self.gone = Some(failed.text),
            }
            self.draw(out)?;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn open(&self, socket: &Path) -> Result<Response<Body>, Failed> {
        let request = Request::builder().uri("http://localhost/api/stream").header("accept", "text/event-stream");
        let request = match &self.last {
            Some(last) => request.header("last-event-id", last.as_str()),
            None => request,
        };
        let request = request.body(String::new()).map_err(|_| Failed::unreachable("the stream cannot be asked for"))?;
        let response = call::call(socket, request).await.map_err(|error| match error.kind() {
            _ if is_nobody(&error) => {
                Failed::unreachable("the gateway is not running: `analyzer-gateway status` shows what its store knows")
            }
            ErrorKind::PermissionDenied => {
                let socket = socket.display();
                Failed::unreachable(format!("you may not open {socket}: use sudo, or join the group of the service"))
            }
            _ => Failed::unreachable(format!("the gateway does not answer at {}: {error}", socket.display())),
        })?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(Failed::unreachable(format!("the gateway does not tell what happens (HTTP {status})"))),
        }
    }

    /// Reads the stream until it breaks off.
    async fn hear(&mut self, response: Response<Body>, out: &mut dyn Write) -> Result<(), Ended> {
        let mut pieces = response.into_body().into_data_stream();
        let (mut waiting, mut told) = (Vec::new(), Told::default());
        while let Some(Ok(piece)) = pieces.next().await {
            waiting.extend_from_slice(&piece);
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = waiting.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end_matches(['\r', '\n']);
                if line.is_empty() {
                    self.take(std::mem::take(&mut told), out)?;
                } else {
                    told.line(line);
                }
            }
            if waiting.len() + told.data.len() > LINE_BYTES_MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, told: Told, out: &mut dyn Write) -> Result<(), Ended> {
        let Ok(data) = serde_json::from_str::<Value>(&told.data) else { return Ok(()) };
        if told.id.is_some() {
            self.last = told.id;
        }
        if self.json {
            let line = serde_json::json!({ "told": told.event, "data": data }).to_string();
            return writeln!(out, "{}", harmless(&line)).and_then(|()| out.flush()).map_err(|_| Ended::Closed);
        }
        match told.event.as_str() {
            "overview" => self.overview = Some(status::read(data)?),
            "event" => {
                self.events.push_back(sentence(&data));
                while self.events.len() > EVENTS_SHOWN_MAX {
                    self.events.pop_front();
                }
            }
            _ => return Ok(()),
        }
        self.draw(out)
    }

    fn draw(&self, out: &mut dyn Write) -> Result<(), Ended> {
        if self.json {
            return Ok(());
        }
        let mut screen = Vec::new();
        let drawn = self.put(&mut screen);
        let written = drawn.and_then(|()| out.write_all(&screen)).and_then(|()| out.flush());
        written.map_err(|_| Ended::Closed)
    }

    /// In one piece, so that nothing flickers: each line is cleared behind its end, and the rest of the screen at last.
    fn put(&self, screen: &mut Vec<u8>) -> io::Result<()> {
        let paint = Paint::of_terminal();
        let mut text = Vec::new();
        if let Some(gone) = &self.gone {
            writeln!(text, "{}", paint.put(Tone::Bad, gone))?;
        }
        if let Some(overview) = &self.overview {
            status::show(overview, By::Gateway, paint, &mut text)?;
        }
        if !self.events.is_empty() {
            writeln!(text)?;
        }
        for event in &self.events {
            writeln!(text, "{event}")?;
        }
        if !self.drawn {
            writeln!(text)?;
            screen.extend(text);
            return Ok(());
        }
        screen.extend_from_slice(b"\x1b[H");
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            screen.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            screen.extend_from_slice(b"\x1b[K\r\n");
        }
        screen.extend_from_slice(b"\x1b[J");
        Ok(())
    }
}

impl Told {
    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" => self.id = Some(value.to_owned()),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
    }
}

/// An event in a line; there is nothing of a person in the stream.
fn sentence(data: &Value) -> String {
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    let state = data["test"]["state"].as_str().map(|state| format!("  {state}")).unwrap_or_default();
    let (seq, event) = (&data["seq"], text("event"));
    plain(&format!("{}  {seq:>8}  {:<16} {event}{state}", text("received_at"), text("analyzer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_stream_is_put_together_from_its_lines() {
        let mut told = Told::default();
        for line in [": still there", "event: event", "id: 17", "data: {\"seq\":", "data:17}"] {
            told.line(line);
        }
        assert_eq!(
            (told.event.as_str(), told.id.as_deref(), told.data.as_str()),
            ("event", Some("17"), "{\"seq\":\n17}")
        );
    }

    #[test]
    fn what_an_event_says_steers_no_terminal() {
        let data =
            serde_json::json!({ "seq": 3, "event": "X\u{1b}[2J", "analyzer": "a", "received_at": "t", "test": null });
        assert!(!sentence(&data).contains('\u{1b}'));
    }
}
