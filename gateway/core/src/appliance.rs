//! The box around the gateway: where its files are, and what its privileged half says of itself.
//!
//! The gateway runs as a user of its own that may change nothing of the system. What needs root is done by short programs
//! (`analyzer-gateway appliance ...`) that units start. Each leaves what it did as a file in [`layout::SAYS`], of which the types
//! here are the shapes.
//!
//! Invariant: nothing here holds a secret or patient data: names, addresses of this box, states, versions and reasons.

pub mod autoboot;
pub mod broker;
pub mod first_boot;
pub mod gate;
pub mod generated;
pub mod layout;
pub mod light;
pub mod network;
pub mod orders;
pub mod pace;
pub mod pushed;
pub mod report;
pub mod schedule;
pub mod update;
pub mod watch;

use crate::time::Timestamp;
use crate::trouble::{Trouble, Urgency};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of the box. Whatever part is absent does not exist here: a gateway on an ordinary Debian has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Appliance {
    pub image: Option<Image>,
    pub network: Option<Network>,
    pub update: Option<Update>,
    pub card: Option<Card>,
    /// Which light the box shows, in a word: `fine`, `degraded` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub light: Option<String>,
    pub backup: Option<Backup>,
    /// What of the settings root has not put in force; absent: nothing is known of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obeyed: Option<Obeyed>,
}

/// The system image that runs: [`layout::IMAGE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    pub version: String,
    /// For which hardware it is: an update for another is refused.
    pub compatible: String,
    /// `A` or `B`: from which half of the card the system was started.
    #[serde(default)]
    pub slot: Option<String>,
}

/// How the network was set up: `network.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    pub in_force: NetworkSource,
    /// Why it is not as the settings ask; empty if it is.
    pub reason: String,
    /// Of this box, without the loopback's.
    pub addresses: Vec<String>,
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// Whose network settings are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkSource {
    /// The file has no `network`: nothing was touched.
    System,
    /// As the file asks, and something answers.
    Settings,
    /// As the file asks; not known yet whether it works.
    Trying,
    /// The file's did not work: DHCP on the wire instead.
    Fallback,
}

/// How far an update is, or how the last one ended: `update.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    pub phase: UpdatePhase,
    /// Of the phase, where it can be told.
    #[serde(default)]
    pub percent: Option<u8>,
    /// The version that ran before, and the one that is or was to be installed, where known.
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub to: Option<String>,
    /// Why it failed or waits, and what to do; empty if there is nothing to say.
    pub reason: String,
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// The way of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePhase {
    /// There was none yet.
    None,
    Fetching,
    Checking,
    /// A test runs; it begins when no analyzer is at work.
    WaitingForTest,
    Installing,
    /// Installed; the box starts anew.
    Restarting,
    /// The new system runs and must show that it works.
    Proving,
    /// It works and stays.
    Good,
    /// It did not prove itself: the old system is back.
    RolledBack,
    /// Nothing was changed.
    Failed,
}

impl UpdatePhase {
    /// Whether the privileged half is at work.
    pub fn is_going_on(self) -> bool {
        use UpdatePhase::*;
        matches!(self, Fetching | Checking | WaitingForTest | Installing | Restarting | Proving)
    }
}

/// Whether the SD card could be answered: `card.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// Whether the newest report stands on it.
    pub written: bool,
    /// Why not; empty if it does.
    pub reason: String,
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// What became of `network` and `broker`, which root puts in force: `obeyed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Obeyed {
    /// What was not done, each with its reason in a sentence; empty: all is as the settings ask.
    pub left: Vec<String>,
    /// Since when.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// How the last backup onto a stick went: `backup.json`, kept on [`layout::DATA`] since it is asked for long after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// The last one that is whole: its file's name and when it was made.
    pub file: Option<String>,
    #[schemars(with = "Option<String>")]
    pub made_at: Option<Timestamp>,
    /// Why the last attempt failed; empty if it did not.
    pub reason: String,
    #[schemars(with = "String")]
    pub at: Timestamp,
}

impl Appliance {
    /// What needs a person.
    pub fn troubles(&self) -> Vec<Trouble> {
        let network = self.network.as_ref().filter(|network| network.in_force == NetworkSource::Fallback).map(|network| {
            let step = "correct `network` in the settings file; until then the box asks the network for its address (DHCP)";
            Trouble { since: Some(network.at), ..Trouble::new("network_fallback", Urgency::Today, "gateway", &network.reason, step) }
        });
        let update = self.update.as_ref().and_then(|update| {
            let code = match update.phase {
                UpdatePhase::RolledBack => "update_rolled_back",
                UpdatePhase::Failed => "update_failed",
                _ => return None,
            };
            let step = "`analyzer-gateway update status` says more; the box goes on with the system it has";
            Some(Trouble {
                since: Some(update.at),
                ..Trouble::new(code, Urgency::Today, "gateway", &update.reason, step)
            })
        });
        let card = self.card.as_ref().filter(|card| !card.written).map(|card| {
            let step = "look at the SD card; replace it if this stays (docs/appliance.md)";
            Trouble {
                since: Some(card.at),
                ..Trouble::new("card_read_only", Urgency::Today, "gateway", &card.reason, step)
            }
        });
        let backup = self.backup.as_ref().filter(|backup| !backup.reason.is_empty()).map(|backup| {
            let step =
                "plug in a stick with enough room and a folder analyzer-gateway-backups: a backup is made at once";
            Trouble {
                since: Some(backup.at),
                ..Trouble::new("backup_failed", Urgency::Today, "gateway", &backup.reason, step)
            }
        });
        let obeyed = self.obeyed.as_ref().filter(|obeyed| !obeyed.left.is_empty()).map(|obeyed| {
            let reason = obeyed.left.join("; ");
            let step = "correct what it says in the settings file; until then network and broker stay as they were";
            Trouble {
                since: Some(obeyed.at),
                ..Trouble::new("settings_not_obeyed", Urgency::Today, "gateway", &reason, step)
            }
        });
        [network, obeyed, update, card, backup].into_iter().flatten().collect()
    }
}
