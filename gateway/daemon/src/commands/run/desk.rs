//! Whose settings are in force: the file's, or pushed ones on trial.
//!
//! Invariant: while pushed settings are tried, neither the file nor the last good settings know of them. So whatever ends the
//! process in between, the next start takes the former ones; a note in the state folder lets it say so.

use super::hand::{Keeping, OtherHalf};
use crate::app::Order;
use crate::configuration::{self, Failure, Loaded, Pushed, Source};
use crate::platform::Clock;
use crate::platform::replace::replace;
use crate::supervision::{Asked, By, Granted, Refused, Wish};
use gateway_core::appliance::pushed::Refusal;
use gateway_core::time::{Mono, Timestamp};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The note of a trial, in the state folder.
const NOTE: &str = "settings-on-trial.json";

/// What is left of a trial that a stop has cut off.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    /// Of the settings that were tried.
    hash: String,
    /// Who pushed them.
    by: String,
}

/// Hears those who want other settings.
pub struct Desk {
    pub source: Source,
    pub orders: mpsc::Sender<Order>,
    pub clock: Arc<dyn Clock>,
    /// In force, but for a trial.
    pub current: Loaded,
    /// Why the file's settings are not `current`, if they are not.
    pub file_refused: Option<String>,
    pub trial: Option<Trial>,
    /// Who writes the settings file where the gateway may not.
    pub other_half: Option<OtherHalf>,
    /// Kept settings were written for us: the box sees the file change, and tells us of it a moment later.
    pub echo_awaited: bool,
}

/// Where somebody waits to hear what became of a request.
type Answer = oneshot::Sender<Result<Granted, Refused>>;

/// Pushed settings that nobody has kept yet.
pub struct Trial {
    pushed: Pushed,
    by: By,
    due: Mono,
    /// Comes when they are in force, or are not to be.
    applied: oneshot::Receiver<Result<(), String>>,
    in_force: bool,
    /// They were confirmed; who waits to hear that they are kept.
    keeping: Option<(Keeping, By, Answer)>,
}

/// What a trial waits for.
pub enum Turn {
    Applied(Result<(), String>),
    /// What became of confirmed settings at the privileged half.
    Written(Result<(), Refused>),
    Over,
}

impl Desk {
    /// Says what became of a trial that an earlier process left behind.
    pub async fn clear_up(&self) -> anyhow::Result<()> {
        let path = self.current.config.gateway.state_dir.join(NOTE);
        let _ = self.other_half.as_ref().map(OtherHalf::take_back);
        let Ok(text) = fs::read(&path) else { return Ok(()) };
        let note: Option<Note> = serde_json::from_slice(&text).ok();
        let _ = fs::remove_file(&path);
        // Kept in the very moment of the stop: they are the file's.
        if let Some(note) = note.filter(|note| note.hash != self.current.hash) {
            let why = format!("pushed by {}; the gateway was started again before anybody confirmed them", note.by);
            self.orders.send(Order::Lapsed { hash: note.hash, why, former: None }).await?;
        }
        Ok(())
    }

    /// What the trial comes to next; waits for ever without one.
    pub async fn turn(&mut self) -> Turn {
        let Some(trial) = &mut self.trial else { return std::future::pending().await };
        if let (Some((keeping, ..)), Some(other_half)) = (&trial.keeping, &self.other_half) {
            return Turn::Written(other_half.answer(keeping, &trial.pushed, &*self.clock).await);
        }
        let over = self.clock.sleep_until(trial.due);
        if trial.in_force {
            over.await;
            return Turn::Over;
        }
        tokio::select! {
            biased;
            applied = &mut trial.applied => Turn::Applied(applied.unwrap_or_else(|_| Err("the gateway stops".to_owned()))),
            () = over => Turn::Over,
        }
    }

    pub async fn take(&mut self, turn: Turn) -> anyhow::Result<()> {
        match turn {
            Turn::Applied(Ok(())) => {
                if let Some(trial) = &mut self.trial {
                    trial.in_force = true;
                }
                Ok(())
            }
            Turn::Applied(Err(reason)) => self.lapse(&reason).await,
            Turn::Written(written) => self.written(written).await,
            Turn::Over => self.lapse("nobody confirmed them in time").await,
        }
    }

    /// SIGHUP: the file's settings, whatever is tried; but what was just kept is no news and ends no trial.
    pub async fn read_again(&mut self) -> anyhow::Result<()> {
        let echo = std::mem::take(&mut self.echo_awaited);
        if echo && configuration::load(&self.source).is_ok_and(|file| file.hash == self.current.hash) {
            return Ok(());
        }
        self.lapse("the settings file was read again").await?;
        self.reload().await?.1.await
    }

    pub async fn hear(&mut self, asked: Asked) -> anyhow::Result<()> {
        let Asked { wish, answer } = asked;
        // The answer goes out first: the settings may cut the way by which it goes.
        match wish {
            Wish::Reload => match self.busy() {
                Some(refused) => drop(answer.send(Err(refused))),
                None => {
                    let (outcome, order) = self.reload().await?;
                    let _ = answer.send(outcome);
                    order.await?;
                }
            },
            Wish::Push { yaml, trial, by } => match self.begin(&yaml, trial, by) {
                Ok((granted, order)) => {
                    let _ = answer.send(Ok(granted));
                    self.orders.send(order).await?;
                }
                Err(refused) => drop(answer.send(Err(refused))),
            },
            Wish::Confirm { hash, served, by } => match self.confirm(hash.as_deref(), &served, &by) {
                Err(refused) => drop(answer.send(Err(refused))),
                Ok(None) => self.kept(&by, answer).await?,
                Ok(Some(keeping)) => {
                    if let Some(trial) = &mut self.trial {
                        trial.keeping = Some((keeping, by, answer));
                    }
                }
            },
        }
        Ok(())
    }

    fn busy(&self) -> Option<Refused> {
        let by = &self.trial.as_ref()?.by.client;
        let detail =
            format!("settings that {by} has pushed wait to be confirmed: confirm them, or let their time run out");
        Some(Refused::Now { code: "trial_running", detail })
    }

    /// Reads the file. What is to be ordered then is handed back.
    async fn reload(
        &mut self,
    ) -> anyhow::Result<(Result<Granted, Refused>, impl Future<Output = anyhow::Result<()>> + use<>)> {
        let (outcome, order) = match configuration::load_again(&self.source, &self.current) {
            Ok(loaded) => {
                keep(&loaded);
                self.file_refused = None;
                let config = Box::new(loaded.config.clone());
                let granted = granted(&loaded, None);
                self.current = loaded;
                (Ok(granted), Order::Reload(config))
            }
            Err(failure) => {
                tracing::error!(%failure, "the settings file is refused");
                let told = summary(&failure);
                self.file_refused = Some(told.clone());
                (Err(Refused::Mistakes(Box::new(failure))), Order::Refused(told))
            }
        };
        let orders = self.orders.clone();
        Ok((outcome, async move { Ok(orders.send(order).await?) }))
    }

    fn begin(&mut self, yaml: &str, trial: Duration, by: By) -> Result<(Granted, Order), Refused> {
        if let Some(refused) = self.busy() {
            return Err(refused);
        }
        let source = self.other_half.as_ref().map_or_else(|| self.source.clone(), |half| half.source(&self.source));
        let pushed = configuration::check_pushed(&source, yaml, &self.current);
        let pushed = pushed.map_err(|failure| Refused::Mistakes(Box::new(failure)))?;
        match &self.other_half {
            Some(half) => half.may_keep(&pushed, &self.current)?,
            None => configuration::try_to_keep(&pushed).map_err(|error| unwritable(&pushed.path, &error))?,
        }
        let note = Note { hash: pushed.loaded.hash.clone(), by: by.client.clone() };
        let folder = &self.current.config.gateway.state_dir;
        write_note(folder, &note).map_err(|error| unwritable(&folder.join(NOTE), &error))?;
        let now = self.clock.now();
        let confirm_by = Timestamp(now.wall.0.saturating_add(i64::try_from(trial.as_millis()).unwrap_or(i64::MAX)));
        let (done, applied) = oneshot::channel();
        let order = Order::Try { config: Box::new(pushed.loaded.config.clone()), confirm_by, done };
        let granted = granted(&pushed.loaded, Some(confirm_by));
        tracing::warn!(hash = %granted.hash, by = %by.client, %confirm_by, "settings were pushed and are tried");
        self.trial = Some(Trial { pushed, by, due: now.mono.after(trial), applied, in_force: false, keeping: None });
        Ok((granted, order))
    }

    /// Writes the settings that are tried into their file, or asks for it.
    fn confirm(&mut self, hash: Option<&str>, served: &str, by: &By) -> Result<Option<Keeping>, Refused> {
        let no = |code, detail: &str| Err(Refused::Now { code, detail: detail.to_owned() });
        let Some(trial) = &mut self.trial else {
            return no(
                "nothing_to_confirm",
                "no settings wait to be confirmed; what was pushed may have run out of time",
            );
        };
        let tried = &trial.pushed.loaded;
        if hash.is_some_and(|hash| hash != tried.hash) {
            return no("another_hash", "other settings than these wait to be confirmed");
        }
        if by.door != trial.by.door {
            let (came, is) = (trial.by.door, by.door);
            let detail = format!(
                "they were pushed over {came} and must be confirmed over {came}, not over {is}: that shows that the way is still open"
            );
            return no("other_door", &detail);
        }
        if let Ok(applied) = trial.applied.try_recv() {
            trial.in_force = applied.is_ok();
        }
        if !trial.in_force || served != tried.hash {
            return no("not_in_force_yet", "the settings are not in force yet: ask again in a second");
        }
        if trial.keeping.is_some() {
            return no("being_kept", "they were confirmed already and are being written: ask again in a second");
        }
        if trial.pushed.is_outdated() {
            let Refusal { reason, .. } = Refusal::changed();
            return no("file_changed", &reason);
        }
        if let Some(half) = &self.other_half {
            return half.ask(&trial.pushed, &by.client, self.clock.now().mono).map(Some);
        }
        configuration::keep_pushed(&trial.pushed).map_err(|error| unwritable(&trial.pushed.path, &error))?;
        Ok(None)
    }

    /// The privileged half has answered.
    async fn written(&mut self, written: Result<(), Refused>) -> anyhow::Result<()> {
        let Some((_, by, answer)) = self.trial.as_mut().and_then(|trial| trial.keeping.take()) else { return Ok(()) };
        match written {
            Ok(()) => self.kept(&by, answer).await,
            Err(refused) => {
                let _ = answer.send(Err(refused));
                Ok(())
            }
        }
    }

    /// What was tried stands in the file.
    async fn kept(&mut self, by: &By, answer: Answer) -> anyhow::Result<()> {
        let Some(trial) = self.trial.take() else { return Ok(()) };
        let tried = trial.pushed.loaded;
        keep(&tried);
        let _ = fs::remove_file(tried.config.gateway.state_dir.join(NOTE));
        tracing::info!(hash = %tried.hash, by = %by.client, file = %trial.pushed.path.display(), "the pushed settings are kept");
        self.file_refused = None;
        let _ = answer.send(Ok(granted(&tried, None)));
        self.current = tried;
        self.echo_awaited = self.other_half.is_some();
        Ok(self.orders.send(Order::Kept).await?)
    }

    /// Whether settings are on their way into the file: whoever reads it now would see either.
    pub fn is_writing(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.keeping.is_some())
    }

    /// Puts the former settings in force again, if others are tried.
    async fn lapse(&mut self, why: &str) -> anyhow::Result<()> {
        let Some(trial) = self.trial.take() else { return Ok(()) };
        let _ = fs::remove_file(self.current.config.gateway.state_dir.join(NOTE));
        let former = Some(Box::new(self.current.config.clone()));
        let why = format!("pushed by {}; {why}", trial.by.client);
        self.orders.send(Order::Lapsed { hash: trial.pushed.loaded.hash, why, former }).await?;
        if let Some(told) = &self.file_refused {
            self.orders.send(Order::Refused(told.clone())).await?;
        }
        Ok(())
    }
}

fn granted(loaded: &Loaded, confirm_by: Option<Timestamp>) -> Granted {
    let file = loaded.path.as_ref().map(|path| path.display().to_string());
    Granted { hash: loaded.hash.clone(), confirm_by, file }
}

fn unwritable(path: &Path, error: &io::Error) -> Refused {
    let path = path.display();
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => Refused::Now {
            code: "read_only",
            detail: format!(
                "{path} is on a file system that is mounted read-only: mount it writable, or change the file there"
            ),
        },
        ErrorKind::PermissionDenied => Refused::Now {
            code: "not_writable",
            detail: format!("the gateway may not write {path}: give its user the right to the file's folder"),
        },
        _ => Refused::Now { code: "not_writable", detail: format!("{path} cannot be written: {error}") },
    }
}

fn write_note(folder: &Path, note: &Note) -> io::Result<()> {
    replace(&folder.join(NOTE), &serde_json::to_vec(note)?, 0o600)
}

/// The first mistake and how many there are, for a status that has one line.
pub fn summary(failure: &Failure) -> String {
    let text = failure.to_string();
    let first = text.lines().next().unwrap_or_default();
    match failure.mistakes.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} (and {} more)", count - 1),
    }
}

pub fn keep(loaded: &Loaded) {
    if let Err(error) = configuration::keep_last_good(loaded) {
        tracing::warn!(%error, "the last good settings cannot be kept");
    }
}

#[cfg(test)]
mod tests;
