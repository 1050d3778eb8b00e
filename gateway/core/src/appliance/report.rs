//! The report on the SD card: what became of the settings, what was found, what is missing, and what to do next, for somebody
//! who reads it in Notepad.
//!
//! Invariants: no secret but the pairing code and no patient data get in; while nothing changes that a person would act on,
//! [`Report::essence`] is the same, however often it is asked.

mod lines;
mod sections;

use crate::config::Mistake;
use crate::overview::Overview;
use crate::time::{ClockQuality, Timestamp};
use lines::Lines;

/// Everything that the report is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub version: String,
    pub dated: Dated,
    pub settings: Settings,
    /// Of the running gateway; `None`: it does not run.
    pub overview: Option<Overview>,
    /// Why it does not run, where that is not the settings' fault.
    pub down: Option<String>,
    pub page: Page,
    /// While nobody has been let in at the page.
    pub pairing_code: Option<String>,
    /// What is plugged in and used by no analyzer: items to paste below `analyzers:`, each of several lines.
    pub spare: Vec<String>,
}

/// What the date at the top means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    /// When what follows became so. On the card, where it stays until something changes.
    LastChange(Timestamp, ClockQuality),
    /// When it was asked for.
    Now(Timestamp, ClockQuality),
}

/// The settings file and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its path; `None`: there is none.
    pub file: Option<String>,
    pub outcome: Outcome,
    /// Files beside it that look as if somebody meant them to be the settings.
    pub beside: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    InForce,
    /// In the order of the file.
    Refused(Vec<Mistake>),
    Missing,
    /// It is good, and was changed after it was last read.
    Unread,
}

/// Where the page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    Off,
    /// Only for programs on the box itself: the address it listens at.
    BoxOnly(String),
    /// Addresses for a browser; empty while the box has none.
    At(Vec<String>),
}

impl Report {
    /// The text as it stands on the card.
    pub fn text(&self) -> String {
        let mut lines = Lines::default();
        sections::top(self, &mut lines);
        sections::next_steps(self, &mut lines);
        sections::settings(self, &mut lines);
        sections::page(self, &mut lines);
        sections::analyzers(self, &mut lines);
        sections::spare(self, &mut lines);
        sections::network(self, &mut lines);
        sections::update(self, &mut lines);
        sections::troubles(self, &mut lines);
        lines.finish()
    }

    /// What of the text is worth a new report: all but its date and the numbers in reasons, which tick.
    pub fn essence(&self) -> String {
        let mut report = self.clone();
        report.dated = Dated::LastChange(Timestamp::default(), ClockQuality::Synchronized);
        let without_numbers = |text: &mut String| text.retain(|c| !c.is_ascii_digit());
        if let Some(overview) = &mut report.overview {
            overview.troubles.iter_mut().for_each(|trouble| without_numbers(&mut trouble.reason));
            overview.analyzers.iter_mut().for_each(|analyzer| without_numbers(&mut analyzer.reason));
        }
        report.text()
    }

    /// What somebody waits for with the card in their hand: a change of it is not kept waiting.
    pub fn urgent(&self) -> (&Settings, Option<&str>, Option<&str>) {
        let hash = self.overview.as_ref().map(|overview| overview.configuration.hash.as_str());
        (&self.settings, self.pairing_code.as_deref(), hash)
    }
}

/// Whether two texts say the same but for their date.
pub fn same(one: &str, other: &str) -> bool {
    let undated = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with(sections::LAST_CHANGE)).map(str::to_owned).collect()
    };
    undated(one) == undated(other)
}
