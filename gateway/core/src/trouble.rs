//! What is not as it should be, and what a person does about it.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How soon a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Results cannot be stored, or the box is gone.
    Now,
    /// Something waits for a person.
    Today,
    /// It may pass by itself.
    Watch,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// A word for programs: `store_failed`, `config_refused`, `api_not_served`, `dead_letters`, `held`, `analyzer_alert`,
    /// `analyzer_lost`, `clock_unset`, `disk_low`, `card_wear`, `under_voltage`, `temperature`, `certificate`, `older_key`, `lab_ids`,
    /// `same_id_twice`, `network_fallback`, `settings_not_obeyed`, `update_rolled_back`, `update_failed`, `card_read_only`,
    /// `backup_failed`, `destination_removed`, or a reason code of a delivery.
    pub code: String,
    pub urgency: Urgency,
    /// What it is about: an analyzer's id, a destination's id, `monitoring`, `sparkplug` or `gateway`.
    pub subject: String,
    /// A sentence for people.
    pub reason: String,
    /// What to do.
    pub next_step: String,
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
}

impl Trouble {
    pub fn new(code: &str, urgency: Urgency, subject: &str, reason: &str, next_step: &str) -> Trouble {
        Trouble {
            code: code.to_owned(),
            urgency,
            subject: subject.to_owned(),
            reason: reason.to_owned(),
            next_step: next_step.to_owned(),
            since: None,
        }
    }

    /// For a status that has one line.
    pub fn sentence(&self) -> String {
        let since = self.since.map(|since| format!(", since {since}")).unwrap_or_default();
        match self.subject.as_str() {
            "gateway" => format!("{}{since}", self.reason),
            subject => format!("{subject}: {}{since}", self.reason),
        }
    }
}
