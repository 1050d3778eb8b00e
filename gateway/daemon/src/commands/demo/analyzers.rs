//! The cast: which analyzers play, on which cables, and what they say of themselves.

use super::wall;
use crate::platform::pty::Pty;
use crate::simulated::Told;
use crate::simulated::astm::{Faults, Note, PeerInput, Sender, Style, Timers, sample_key};
use crate::simulated::messages::{Kind, Worklist};
use crate::simulated::seeded::Seeded;
use crate::simulated::test_v0::{Line, ROUNDS, Run, Step};
use crate::simulated::wire::{converse, stopwatch, tell_run};
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Every this many rounds of a run a line is shown; all of them are counted.
const ROUNDS_SHOWN: u32 = 6;

/// What a spectator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tale {
    pub analyzer: &'static str,
    pub text: String,
    /// The message whose way is worth following.
    pub key: Option<String>,
    /// Whether the analyzer got an answer to it.
    pub is_answered: bool,
}

/// What all analyzers were promised, by name; the tasks write it, the judge reads it.
#[derive(Debug, Clone, Default)]
pub struct Promises(Arc<Mutex<BTreeMap<String, Told>>>);

impl Promises {
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, analyzer: &str, told: &Told) {
        self.lock().insert(analyzer.to_owned(), told.clone());
    }
}

#[derive(Clone, Copy)]
enum Part {
    Astm {
        kind: Kind,
        style: Style,
        pause: Duration,
    },
    /// A whole run in that part of the time, after a delay of that part of it.
    Run {
        sn: u64,
        starts: f64,
        takes: f64,
    },
}

struct Player {
    name: &'static str,
    part: Part,
    seed: u64,
    link: PathBuf,
    cable: Pty,
}

/// All four, plugged in.
pub struct Cast {
    players: Vec<Player>,
}

/// What a player is given on its way to the stage.
#[derive(Clone)]
pub struct Cues {
    pub seconds: f64,
    pub stop: watch::Receiver<bool>,
    pub tales: mpsc::UnboundedSender<Tale>,
    pub promises: Promises,
}

impl Cast {
    /// Makes the cables; their names in `folder` are what the gateway opens.
    pub fn new(seed: u64, folder: &Path) -> anyhow::Result<Cast> {
        let quick = Duration::from_millis(700);
        let parts = [
            ("hematology", Part::Astm { kind: Kind::Hematology, style: Style::RecordPerFrame, pause: quick }),
            ("immunoassay", Part::Astm { kind: Kind::Immunoassay, style: Style::Cut(240), pause: quick * 2 }),
            ("pcr-1", Part::Run { sn: 3_100_000_017, starts: 0.02, takes: 0.85 }),
            ("pcr-2", Part::Run { sn: 3_100_000_018, starts: 0.12, takes: 0.80 }),
        ];
        let mut seeds = Seeded::new(seed);
        let players = parts.into_iter().map(|(name, part)| {
            let cable = Pty::open().context("no pseudo-terminal to be had")?;
            let link = folder.join(name);
            cable.link(&link).with_context(|| format!("cannot make {}", link.display()))?;
            Ok(Player { name, part, seed: seeds.bits(), link, cable })
        });
        Ok(Cast { players: players.collect::<anyhow::Result<_>>()? })
    }

    /// Id, driver and device of each.
    pub fn ports(&self) -> impl Iterator<Item = (&'static str, &'static str, &Path)> {
        self.players.iter().map(|player| {
            let driver = if matches!(player.part, Part::Astm { .. }) { "astm" } else { "test-v0" };
            (player.name, driver, player.link.as_path())
        })
    }

    /// Starts them all; each ends with its cable, still plugged in.
    pub fn play(self, cues: &Cues) -> JoinSet<anyhow::Result<Pty>> {
        let mut playing = JoinSet::new();
        for player in self.players {
            playing.spawn(player.play(cues.clone()));
        }
        playing
    }
}

impl Player {
    async fn play(mut self, mut cues: Cues) -> anyhow::Result<Pty> {
        match self.part {
            Part::Astm { kind, style, pause } => self.sessions(kind, style, pause, &mut cues).await,
            Part::Run { sn, starts, takes } => self.run(sn, starts, takes, &mut cues).await,
        }
        .with_context(|| format!("{} lost its cable", self.name))?;
        Ok(self.cable)
    }

    async fn sessions(&mut self, kind: Kind, style: Style, pause: Duration, cues: &mut Cues) -> std::io::Result<()> {
        let name = self.name;
        // In frames, not in messages: a message of 24 frames would else never pass undisturbed.
        let faults = match style {
            Style::Whole | Style::Cut(_) => Faults::NOW_AND_THEN,
            Style::RecordPerFrame | Style::RecordPerEtbFrame => Faults::SELDOM,
        };
        let timers = Timers::STANDARD.scaled(0.1);
        let mut sender = Sender::new(style, timers, faults, self.seed);
        let mut worklist = Worklist::new(kind, self.seed, 1);
        let now = stopwatch();
        while !*cues.stop.borrow() {
            let message = worklist.draw(wall());
            let watch = |note: &Note, told: &Told| {
                cues.promises.keep(name, told);
                // A spectator who has left is no reason to stop.
                let _ = tale(name, note).map(|tale| cues.tales.send(tale));
            };
            converse(&mut self.cable, &mut sender, &now, PeerInput::Submit(message), watch).await?;
            let _ = tokio::time::timeout(pause, cues.stop.wait_for(|stop| *stop)).await;
        }
        Ok(())
    }

    async fn run(&mut self, sn: u64, starts: f64, takes: f64, cues: &mut Cues) -> std::io::Result<()> {
        let name = self.name;
        tokio::time::sleep(Duration::from_secs_f64(cues.seconds * starts)).await;
        // Dated back, so that a test of 36 minutes ends about now although it is told in seconds.
        let run = Run::new(self.seed, sn, 1, wall().shifted(-36 * 60 * 1000), ROUNDS);
        let speed = run.duration().as_secs_f64() / (cues.seconds * takes);
        let mut told = Told::default();
        let watch = |line: &Line, told: &Told| {
            cues.promises.keep(name, told);
            if let Some(text) = words(line.step) {
                let _ = cues.tales.send(Tale { analyzer: name, text, key: Some(line.key.clone()), is_answered: false });
            }
        };
        tell_run(&mut self.cable, &run, speed, &mut told, watch).await
    }
}

fn words(step: Step) -> Option<String> {
    match step {
        Step::Ready => Some("ready".to_owned()),
        Step::Started => Some("test started".to_owned()),
        Step::Round(round) if round % ROUNDS_SHOWN == 0 => Some(format!("round {round} of {ROUNDS}")),
        Step::Round(_) => None,
        Step::Finished(result) => Some(format!("test finished, {}", result.to_lowercase())),
    }
}

/// `None` for what the next note tells better.
fn tale(analyzer: &'static str, note: &Note) -> Option<Tale> {
    let plain = |text: String| Tale { analyzer, text, key: None, is_answered: true };
    Some(match note {
        Note::Acknowledged { id, results } => {
            let text = format!("test {id} finished, {results} results");
            Tale { analyzer, text, key: Some(sample_key(id)), is_answered: true }
        }
        Note::Damaged { .. } => return None,
        Note::Refused { frame } => plain(format!("frame {frame} was damaged on the line: NAK, sent again")),
        Note::AnswerLost { frame } => plain(format!("the ACK of frame {frame} got lost, the frame is sent again")),
        Note::Busy => plain("the gateway is busy, the analyzer waits".to_owned()),
        Note::Abandoned { id, reason } => plain(format!("test {id} broke off ({reason}) and is repeated whole")),
    })
}
