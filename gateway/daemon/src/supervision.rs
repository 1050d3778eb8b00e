//! What a request may ask of whoever started the gateway: to read the settings file again, to try new settings, to keep them.
//!
//! Invariants: settings that were pushed are in force on trial only; unless somebody who came in by them keeps them in time,
//! the former ones are put in force again. The file changes when they are kept, and not before.

use crate::configuration::Failure;
use gateway_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// How long pushed settings are tried if nobody says how long, at least and at most.
pub const TRIAL_SECONDS: u64 = 300;
pub const TRIAL_SECONDS_MIN: u64 = 60;
pub const TRIAL_SECONDS_MAX: u64 = 3_600;
/// Requests that wait for the supervisor.
const ASKED_MAX: usize = 4;

/// One request, and where its answer goes.
pub struct Asked {
    pub wish: Wish,
    pub answer: oneshot::Sender<Result<Granted, Refused>>,
}

/// See [`Asked`].
#[derive(Debug)]
pub enum Wish {
    /// As SIGHUP does.
    Reload,
    /// New settings on trial. `***` stands for a secret of the settings in force.
    Push { yaml: String, trial: Duration, by: By },
    /// The settings on trial are good. `served` is the hash of the settings by which this request came in.
    Confirm { hash: Option<String>, served: String, by: By },
}

/// Who asks, and the way by which the request came in, as a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    pub client: String,
    pub door: &'static str,
}

/// What was done, or will be in a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Of the settings that it is about.
    pub hash: String,
    /// Until when the settings must be kept.
    pub confirm_by: Option<Timestamp>,
    /// The settings file, as far as there is one.
    pub file: Option<String>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The settings have mistakes.
    Mistakes(Box<Failure>),
    /// Not as things are: a word for programs and a sentence.
    Now { code: &'static str, detail: String },
}

/// How the API reaches the supervisor; nobody is there in a simulation or beside a command.
#[derive(Clone, Default)]
pub struct Supervisor {
    asked: Option<mpsc::Sender<Asked>>,
    /// Rung when the store has another list of paused endpoints.
    paused: Arc<Notify>,
}

impl Supervisor {
    /// With the end at which requests are taken out.
    pub fn new() -> (Supervisor, mpsc::Receiver<Asked>) {
        let (sender, inbox) = mpsc::channel(ASKED_MAX);
        (Supervisor { asked: Some(sender), ..Supervisor::default() }, inbox)
    }

    pub async fn ask(&self, wish: Wish) -> Result<Granted, Refused> {
        let nobody = || Refused::Now {
            code: "not_running",
            detail: "no gateway runs whose settings could change: start it, then ask again".to_owned(),
        };
        let Some(sender) = &self.asked else { return Err(nobody()) };
        let (answer, answered) = oneshot::channel();
        sender.send(Asked { wish, answer }).await.map_err(|_| nobody())?;
        answered.await.unwrap_or_else(|_| Err(nobody()))
    }

    /// The store has another list of paused endpoints.
    pub fn pause_changed(&self) {
        self.paused.notify_one();
    }

    /// Returns after [`Supervisor::pause_changed`].
    pub async fn endpoints_changed(&self) {
        self.paused.notified().await;
    }
}
