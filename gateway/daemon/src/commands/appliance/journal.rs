//! The last update as it is written down, for the two verbs that write it.
//!
//! Invariant: a step is on the disk before it is taken, and what is on the disk is what is told.

use crate::platform::Clock;
use crate::platform::alone;
use crate::platform::clock::SystemClock;
use crate::platform::privileged::{self, below, system};
use crate::platform::replace::replace;
use gateway_core::appliance::gate::BoxHealth;
use gateway_core::appliance::update::Journal;
use gateway_core::appliance::{Image, UpdatePhase, layout};
use gateway_core::time::{Mono, Timestamp};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So long the one verb waits for the other; a new system that proves itself takes longer.
const TURN_SECONDS_MAX: u64 = 20;

/// Only one of the verbs writes the journal; the lock lasts as long as what is returned. `None`: the other one is at it.
pub fn alone(root: &Path) -> Result<Option<File>, String> {
    let path = below(root, layout::SAYS).join(layout::UPDATE_LOCK);
    let turn = alone::alone(&path, Duration::from_secs(TURN_SECONDS_MAX));
    turn.map_err(|error| format!("{}: {error}", path.display()))
}

/// The box, as far as an update is about it.
pub struct Bench {
    pub root: PathBuf,
    pub image: Image,
    pub journal: Journal,
    clock: SystemClock,
}

impl Bench {
    /// The error says that this is no appliance.
    pub fn open(root: &Path) -> Result<Bench, String> {
        let clock = SystemClock::new();
        let image = privileged::said(root).image;
        let image = image.ok_or_else(|| format!("{} is not there: this is no appliance", layout::IMAGE))?;
        let journal = privileged::read(&below(root, layout::SYSTEM).join(layout::JOURNAL));
        let journal = journal.unwrap_or_else(|| Journal::none(clock.now().wall));
        Ok(Bench { root: root.to_owned(), image, journal, clock })
    }

    pub fn mono(&self) -> Mono {
        self.clock.now().mono
    }

    pub fn wall(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// The next step: on the disk, and told.
    pub fn step(&mut self, phase: UpdatePhase, reason: &str) -> Result<(), String> {
        self.journal.step(phase, reason, self.wall());
        self.keep()
    }

    /// Writes the journal down as it is, and tells of it.
    pub fn keep(&self) -> Result<(), String> {
        let folder = below(&self.root, layout::SYSTEM);
        let bytes = serde_json::to_vec(&self.journal).map_err(|error| error.to_string())?;
        let written =
            std::fs::create_dir_all(&folder).and_then(|()| replace(&folder.join(layout::JOURNAL), &bytes, 0o644));
        written.map_err(|error| gateway_core::appliance::update::why(&format!("{}: {error}", folder.display())))?;
        self.tell()
    }

    /// Tells of it, and spares the card.
    pub fn tell(&self) -> Result<(), String> {
        let told = privileged::say(&self.root, "update", &self.journal.update);
        told.map_err(|error| format!("{}: {error}", layout::SAYS))
    }

    /// How the gateway says that it is; `None` while it does not run, or says nothing for long.
    pub fn health(&self) -> Option<BoxHealth> {
        let told: Option<BoxHealth> = privileged::read(&below(&self.root, layout::TOLD).join(layout::TOLD_GATE));
        told.filter(|health| health.is_fresh(self.clock.boot(), self.mono()))
    }

    /// Asks RAUC. Beside the box itself, where there is none, nothing is asked.
    pub fn rauc(&self, arguments: &[&str]) -> Result<(), String> {
        if self.is_this_box() { system("rauc", arguments).map(|_| ()) } else { Ok(()) }
    }

    /// Starts the box anew, in order: what is new is tried where the firmware has to be asked for that.
    pub fn restart(&self) -> Result<(), String> {
        if !self.is_this_box() {
            return Ok(());
        }
        let mut arguments = vec!["reboot"];
        if super::boot_slot::wants_try(&self.root) {
            arguments.push("--reboot-argument=0 tryboot");
        }
        system("systemctl", &arguments).map(|_| ())
    }

    /// A folder that stands for the root has no system that could be changed.
    pub fn is_this_box(&self) -> bool {
        self.root == Path::new("/")
    }
}
