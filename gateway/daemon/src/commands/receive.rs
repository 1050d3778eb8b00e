//! `analyzer-gateway receive`: a receiver for those who write one. It verifies what comes as an endpoint of that dialect
//! must, says a line about each request, and misbehaves on request.
//!
//! Invariant: bodies are shown only where `--print-bodies` asks for it; they hold patient data.

use super::{EXIT_FAILED, EXIT_USAGE, plain};
use crate::platform::Clock;
use crate::platform::clock::SystemClock;
use crate::simulated::receiver::{self, Answer, Complaint, Options, Posted, Receiver, Script, Verify};
use gateway_core::dialects::{DIALECTS, Dialect, Received, Secret, dialect};
use gateway_core::time::Now;
use std::collections::HashSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Receives webhooks in one dialect: verifies, prints a line for each, answers; until it is interrupted.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The dialect, as in the settings.
    #[arg(long, value_name = "NAME")]
    pub dialect: String,
    /// A secret that may sign, as in the settings; several may be given. Others on this machine can see it: prefer
    /// --secret-file.
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// A file that holds a secret on its first line.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Vec<PathBuf>,
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// What each request in its turn gets, such as `500x3,429:10,hang,drop,200`: a status, one with Retry-After, silence,
    /// taken without an answer. After the last step everything is accepted
    #[arg(long, value_name = "STEPS", value_parser = parse_steps)]
    pub fault: Option<Steps>,
    /// Prints the bodies too. They hold patient data.
    #[arg(long)]
    pub print_bodies: bool,
}

/// `--fault`
#[derive(Debug, Clone, Default)]
pub struct Steps(Vec<Answer>);

fn parse_steps(text: &str) -> Result<Steps, String> {
    receiver::steps(text).map(Steps)
}

/// Exit status 0 after an interruption, 2 for wrong arguments, 1 if it cannot listen.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let made = find(&args.dialect).and_then(|dialect| Ok((dialect, secrets(&args, dialect)?)));
    let (dialect, secrets) = match made {
        Ok(made) => made,
        Err(problem) => {
            let _ = writeln!(err, "{problem}");
            return EXIT_USAGE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.and_then(|runtime| runtime.block_on(receive(&args, dialect, secrets, out)));
    match ran {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "cannot receive at {}: {error}", args.listen);
            EXIT_FAILED
        }
    }
}

fn find(name: &str) -> Result<&'static dyn Dialect, String> {
    let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name()).collect();
    dialect(name).ok_or_else(|| format!("there is no dialect `{name}`; there are {}", names.join(", ")))
}

fn secrets(args: &Args, dialect: &dyn Dialect) -> Result<Vec<Secret>, String> {
    let mut secrets: Vec<Secret> = args.secret.iter().map(Secret::new).collect();
    for path in &args.secret_file {
        secrets.push(secret_of(path)?);
    }
    for secret in &secrets {
        dialect.check_secret(Some(secret.expose()))?;
    }
    Ok(secrets)
}

fn secret_of(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(format!("{}: its first line holds no secret", path.display())),
    }
}

async fn receive(
    args: &Args,
    dialect: &'static dyn Dialect,
    secrets: Vec<Secret>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let (lines, mut said) = unbounded_channel();
    let clock = Arc::new(SystemClock::new());
    let desk = Arc::new(Desk { dialect, secrets, clock: clock.clone(), lines, print_bodies: args.print_bodies });
    let script = receiver::in_turn(args.fault.clone().unwrap_or_default().0);
    let options = Options {
        verify: verify(desk.clone()),
        script: tell(desk.clone(), script),
        wall: Arc::new(move || clock.now().wall),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let receiver = Receiver::start_at(args.listen, options).await?;
    let address = receiver.address();
    match dialect.name() {
        "hl7" => writeln!(out, "listening on mllp://{address} and http://{address}/hook")?,
        _ => writeln!(out, "listening on http://{address}/hook")?,
    }
    writeln!(out, "{}", desk.promise())?;
    out.flush()?;
    loop {
        tokio::select! {
            biased;
            Some(line) = said.recv() => {
                writeln!(out, "{line}")?;
                out.flush()?;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let counts = receiver.counts();
    let (requests, events, repeats, wrong) = (counts.requests, counts.events, counts.repeats, counts.wrong_signatures);
    writeln!(out, "{requests} requests: {events} events, {repeats} repeats, {wrong} refused as wrong")
}

/// What a request is looked at with.
struct Desk {
    dialect: &'static dyn Dialect,
    secrets: Vec<Secret>,
    clock: Arc<SystemClock>,
    lines: UnboundedSender<String>,
    print_bodies: bool,
}

impl Desk {
    /// What is verified, so that nobody trusts it for more.
    fn promise(&self) -> &'static str {
        match (self.secrets.is_empty(), self.dialect.receives()) {
            (false, true) => "signature or key, form and payload are verified",
            (false, false) => "the Standard Webhooks signature is verified; the form is not",
            (true, true) => "form and payload are verified; without --secret anybody may send",
            (true, false) => "nothing is verified: requests are taken as they come",
        }
    }

    /// The names of the request's events.
    fn read(&self, posted: &Posted, now: Now) -> Result<Vec<String>, Complaint> {
        if !self.dialect.receives() {
            self.standard(posted, now)?;
            return Ok(Vec::new());
        }
        let headers: Vec<(String, String)> =
            posted.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let received = Received { headers: &headers, body: &posted.body, secrets: &self.secrets, now };
        match self.dialect.accept(&received) {
            Ok(accepted) => Ok(accepted.iter().map(|accepted| accepted.kind.word().to_owned()).collect()),
            Err(refusal) => Err(Complaint { status: refusal.status, problem: refusal.problem }),
        }
    }

    /// For dialects that nobody but their receivers reads: the signature alone, where there is to be one.
    fn standard(&self, posted: &Posted, now: Now) -> Result<(), Complaint> {
        let mut checked =
            self.secrets.iter().map(|secret| receiver::standard_webhooks(secret.expose())(posted, now.wall));
        match checked.next() {
            None => Ok(()),
            Some(first) => first.or_else(|complaint| checked.find(Result::is_ok).unwrap_or(Err(complaint))),
        }
    }

    fn say(&self, posted: &Posted, events: &[String], verdict: &str) {
        let id = posted.event_id().unwrap_or("-");
        let events = match events {
            // What only tries the receiver out is no event.
            [] if posted.header("x-gateway-test") == Some("true") => "test".to_owned(),
            [] => "-".to_owned(),
            events => events.join(","),
        };
        let number = |name: &str, word: &str| {
            posted.header(name).map(|number| format!(" {word} {}", plain(number))).unwrap_or_default()
        };
        let numbers = number("x-gateway-ordinal", "ordinal") + &number("x-gateway-attempt", "attempt");
        let mut line = format!("{} {}{numbers} -> {verdict}", plain(id), plain(&events));
        if self.print_bodies {
            line.push_str(&format!("\n{}", String::from_utf8_lossy(&posted.body).replace('\r', "\n").trim_end()));
        }
        // Nobody reads any more once the command ends.
        let _ = self.lines.send(line);
    }
}

fn verify(desk: Arc<Desk>) -> Verify {
    Arc::new(move |posted, _| {
        let read = desk.read(posted, desk.clock.now()).map(drop);
        if let Err(complaint) = &read {
            desk.say(posted, &[], &format!("{} {}", complaint.status, complaint.problem));
        }
        read
    })
}

/// The script, and a line about what it has decided.
fn tell(desk: Arc<Desk>, script: Script) -> Script {
    let seen = Mutex::new(HashSet::new());
    Arc::new(move |number, posted| {
        let events = desk.read(posted, desk.clock.now()).unwrap_or_default();
        let answer = script(number, posted);
        let takes = matches!(answer, Answer::Accept | Answer::LoseAnswer);
        let is_new = !takes
            || posted
                .event_id()
                .is_none_or(|id| seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned()));
        let again = if is_new { "" } else { ", a repeat" };
        let verdict = match answer {
            Answer::Accept => format!("200 taken{again}"),
            Answer::LoseAnswer => format!("taken{again}, hangs up without an answer"),
            Answer::Refuse { status, retry_after_seconds: None } => format!("{status} as scripted"),
            Answer::Refuse { status, retry_after_seconds: Some(seconds) } => {
                format!("{status} as scripted, retry after {seconds} s")
            }
            Answer::Hang(_) => "silence, as scripted".to_owned(),
        };
        desk.say(posted, &events, &verdict);
        answer
    })
}
