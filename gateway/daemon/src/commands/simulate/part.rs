//! What is played: which analyzer, in which protocol, and how each message went.

use super::Args;
use crate::commands::profiles::named_profile;
use crate::platform::Clock;
use crate::platform::clock::SystemClock;
use crate::simulated::astm::{Faults, Message, Note, PeerInput, Sender, Style, Timers};
use crate::simulated::capture::{self, Answer, Turn};
use crate::simulated::model::Model;
use crate::simulated::poct1a::{Device, glucose};
use crate::simulated::printout::printout;
use crate::simulated::test_v0::{ROUNDS, Run};
use crate::simulated::wire::{converse, stopwatch, tell_run};
use crate::simulated::{Peer, Told, hl7};
use gateway_core::config::{Line, Profile, Tried};
use gateway_core::drivers::driver;
use gateway_core::session::{DriverOptions, Framing};
use gateway_core::text_rules::TextRules;
use gateway_core::time::Timestamp;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, DuplexStream};

/// An answer is waited for as long as LIS01-A2 says.
const PATIENCE: Duration = Duration::from_secs(15);
/// An HL7 message goes as often as an E1381 frame.
const TRIES: u64 = 6;
const SOH: u8 = 0x01;
const EOT: u8 = 0x04;
const CAPTURE_BYTES_MAX: u64 = 64 << 20;

/// An analyzer that can be played.
pub struct Part {
    role: Role,
    line: Line,
    words: String,
}

enum Role {
    Capture(Vec<Turn>),
    Astm(Box<Model>),
    /// Without frames, and so without answers.
    Records(Box<Model>),
    /// Between SOH and EOT, with one answer for the whole message.
    Envelope(Box<Model>),
    Hl7(Box<Model>),
    Poct1a(Box<Model>),
    TestV0,
    Scanner(Box<Model>),
    Text(Box<Model>, Arc<TextRules>),
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Score {
    pub said: u64,
    /// What the other side has answered well.
    pub acknowledged: u64,
    /// What no protocol answers.
    pub unanswered: u64,
    pub repeats: u64,
}

impl Score {
    /// Whether nothing that waits for an answer went without.
    pub fn is_clean(&self) -> bool {
        self.acknowledged + self.unanswered == self.said
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "said {}, acknowledged {}, said again {}", self.said, self.acknowledged, self.repeats)?;
        match self.unanswered {
            0 => Ok(()),
            many => write!(f, "; {many} of them in a protocol without answers"),
        }
    }
}

/// The score while it is played, for whoever stops it.
pub struct Tally<'a>(pub &'a Mutex<Score>);

impl Tally<'_> {
    fn change(&self, change: impl FnOnce(&mut Score)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Part {
    /// A file of bytes, a profile, or a driver with a model of its own.
    pub fn new(args: &Args) -> Result<Part, String> {
        let path = Path::new(&args.what);
        if path.is_file() && path.extension().is_none_or(|extension| extension != "yaml") {
            return Part::capture(path);
        }
        let profile = match driver(&args.what) {
            Some(driver) => unnamed(driver.name()),
            None => named_profile(&args.what)?,
        };
        let model = || Box::new(Model::new(&profile, args.samples.clone(), args.seed));
        let role = match (profile.driver.as_str(), profile.options.framing) {
            ("astm", Framing::E1381) => Role::Astm(model()),
            ("astm", Framing::None) => Role::Records(model()),
            ("astm", Framing::Soh) => Role::Envelope(model()),
            ("poct1a", _) => Role::Poct1a(model()),
            ("hl7", _) => Role::Hl7(model()),
            ("test-v0", _) => Role::TestV0,
            ("scanner", _) => Role::Scanner(model()),
            ("text", _) => {
                let rules = profile.options.text.clone().ok_or("Text is written as a profile says: name one.")?;
                printout(&rules, &mut model(), Timestamp(0))?;
                Role::Text(model(), rules)
            }
            (other, _) => {
                return Err(format!(
                    "No analyzer of the driver {other} can be made up. Play a capture of one: simulate FILE --port ..."
                ));
            }
        };
        let words = format!("{} {}, driver {}", profile.maker, profile.model, profile.driver);
        Ok(Part { role, line: profile.line, words })
    }

    fn capture(path: &Path) -> Result<Part, String> {
        let broken = |error: io::Error| format!("{} cannot be read: {error}", path.display());
        let size = std::fs::metadata(path).map_err(broken)?.len();
        if size > CAPTURE_BYTES_MAX {
            return Err(format!("{} is longer than {CAPTURE_BYTES_MAX} bytes", path.display()));
        }
        let turns = capture::turns(&std::fs::read(path).map_err(broken)?);
        let words = format!("the capture {} in {} turns", path.display(), turns.len());
        Ok(Part { role: Role::Capture(turns), line: Line::default(), words })
    }

    /// How its line is set.
    pub fn line(&self) -> Line {
        self.line
    }

    pub fn words(&self) -> &str {
        &self.words
    }

    /// Says message after message.
    pub async fn play(self, stream: &mut DuplexStream, args: &Args, tally: &Tally<'_>) -> io::Result<()> {
        let mut turn = Speaker { stream, args, tally, clock: SystemClock::new() };
        match self.role {
            Role::Astm(mut model) => {
                let sender = Sender::new(Style::RecordPerFrame, Timers::STANDARD, Faults::default(), args.seed);
                turn.sessions(sender, |_, at| model.records(at)).await
            }
            Role::Poct1a(mut model) => {
                let device = Device::new("SIM-POC-1", PATIENCE, Faults::default(), args.seed);
                turn.sessions(device, |number, at| glucose(&model.sample(), &model.patient(), number as u32, at)).await
            }
            role => turn.messages(role).await,
        }
    }
}

/// Who says nothing of the model.
fn unnamed(driver: &str) -> Profile {
    Profile {
        maker: "Simulated".to_owned(),
        model: "SIM-1".to_owned(),
        driver: driver.to_owned(),
        line: Line::default(),
        tcp: None,
        options: DriverOptions::default(),
        tried: Tried::Sources,
        sources: Vec::new(),
        setup: Vec::new(),
    }
}

struct Speaker<'a> {
    stream: &'a mut DuplexStream,
    args: &'a Args,
    tally: &'a Tally<'a>,
    clock: SystemClock,
}

impl Speaker<'_> {
    fn wall(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// Whether this one is to be said; waits before all but the first.
    async fn is_due(&self, number: u64) -> bool {
        if self.args.count.is_some_and(|count| number >= count) {
            return false;
        }
        if number > 0 {
            tokio::time::sleep(self.args.every).await;
        }
        true
    }

    /// E1381 and POCT1-A: a message is said until all of it is acknowledged.
    async fn sessions(
        &mut self,
        mut sender: impl Peer,
        mut next: impl FnMut(u64, Timestamp) -> Message,
    ) -> io::Result<()> {
        let now = stopwatch();
        let mut number = 0;
        while self.is_due(number).await {
            number += 1;
            self.tally.change(|score| score.said = number);
            let tally = self.tally;
            let submit = PeerInput::Submit(next(number, self.wall()));
            let watch = |_: &Note, told: &Told| {
                tally.change(|score| {
                    score.acknowledged = told.acknowledged.len() as u64;
                    score.repeats = told.retransmitted + told.abandoned;
                });
            };
            converse(self.stream, &mut sender, &now, submit, watch).await?;
        }
        Ok(())
    }

    async fn messages(&mut self, mut role: Role) -> io::Result<()> {
        let mut number = 0;
        while self.is_due(number).await {
            number += 1;
            self.tally.change(|score| score.said += 1);
            match &mut role {
                Role::Capture(turns) => self.capture(turns).await?,
                Role::Hl7(model) => {
                    let (_, message) = model.hl7(self.wall());
                    let said = hl7::say(self.stream, &message, PATIENCE, TRIES).await?;
                    self.tally.change(|score| {
                        score.acknowledged += u64::from(said.acknowledged);
                        score.repeats += said.repeats;
                    });
                }
                Role::TestV0 => self.run(number).await?,
                Role::Records(model) | Role::Astm(model) | Role::Poct1a(model) => {
                    let records = model.records(self.wall()).records;
                    let text: Vec<u8> = records.iter().flat_map(|record| [record.as_slice(), b"\r"].concat()).collect();
                    self.write(&text).await?;
                }
                Role::Envelope(model) => {
                    let records = model.records(self.wall()).records;
                    let mut bytes = vec![SOH];
                    records.iter().for_each(|record| bytes.extend([record.as_slice(), b"\r"].concat()));
                    bytes.push(EOT);
                    self.capture(&[Turn { bytes, answer: Answer::Ack }]).await?;
                }
                Role::Text(model, rules) => {
                    let printed = printout(rules, model, self.wall()).map_err(io::Error::other)?;
                    let answer = if rules.answers.accepted.is_some() { Answer::Any } else { Answer::None };
                    self.capture(&[Turn { bytes: printed, answer }]).await?;
                }
                Role::Scanner(model) => {
                    let code = format!("{}\r", model.sample());
                    self.write(code.as_bytes()).await?;
                }
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.tally.change(|score| score.unanswered += 1);
        self.stream.flush().await
    }

    async fn capture(&mut self, turns: &[Turn]) -> io::Result<()> {
        let played = capture::play(self.stream, turns, PATIENCE).await?;
        self.tally.change(|score| {
            score.acknowledged += u64::from(played.asked > 0 && played.answered == played.asked);
            score.unanswered += u64::from(played.asked == 0);
            score.repeats += played.repeats;
        });
        Ok(())
    }

    /// A whole run in the time between two of them, dated back so that it ends about now.
    async fn run(&mut self, number: u64) -> io::Result<()> {
        let run = Run::new(self.args.seed, 3_100_000_000 + self.args.seed, number as u32, self.wall(), ROUNDS);
        let speed = run.duration().as_secs_f64() / self.args.every.as_secs_f64().max(0.1);
        let mut told = Told::default();
        tell_run(self.stream, &run, speed, &mut told, |_, _| {}).await?;
        self.tally.change(|score| score.unanswered += 1);
        Ok(())
    }
}
