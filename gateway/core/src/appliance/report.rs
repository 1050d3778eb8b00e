//! The report on the SD card: what became of the settings, what was found, what is missing, and what to do next, for somebody
//! who reads it in Notepad.
//!
//! Invariants: no secret but the pairing code and no patient data get in; while nothing changes that a person would act on,
//! [`Report::essence`] is the same, however often it is asked.

mod lines;
mod sections;

use crate::config::{Http, Mistake, is_loopback};
use crate::overview::Overview;
use crate::time::{ClockQuality, Timestamp};
use lines::Lines;
use std::net::{IpAddr, SocketAddr};

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
    /// There is none, and there was none: the defaults hold.
    Missing,
    /// There is none any more: the last good settings hold.
    Gone,
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

impl Page {
    /// `host`: the name by which a network with multicast DNS knows the box, without a domain.
    pub fn of(http: &Http, addresses: &[String], host: Option<&str>) -> Page {
        let Some(listen) = http.listen.as_ref().filter(|_| http.page) else { return Page::Off };
        if let Some(url) = &http.public_url {
            return Page::At(vec![format!("{url}/")]);
        }
        let (bound, port) = listen.rsplit_once(':').unwrap_or((listen, "80"));
        if is_loopback(bound) {
            return Page::BoxOnly(listen.clone());
        }
        let bound = bound.trim_matches(['[', ']']);
        if bound.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified()) {
            return Page::At(vec![format!("http://{listen}/")]);
        }
        // Written with or without the length of its network; what only counts on one wire is no address for a browser.
        let plain = addresses.iter().filter_map(|address| address.split('/').next()?.parse::<IpAddr>().ok());
        let plain = plain.filter(|address| !matches!(address, IpAddr::V6(six) if six.is_unicast_link_local()));
        let numbers: Vec<String> =
            plain.map(|address| format!("http://{}/", SocketAddr::new(address, port.parse().unwrap_or(80)))).collect();
        let name = host.filter(|_| !numbers.is_empty()).map(|host| format!("http://{host}.local:{port}/"));
        Page::At(numbers.into_iter().chain(name).collect())
    }
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
    /// The settings file, the pairing code, and the hash of the settings in force.
    pub fn urgent(&self) -> (Settings, Option<String>, String) {
        let hash = self.overview.as_ref().map(|overview| overview.configuration.hash.clone());
        (self.settings.clone(), self.pairing_code.clone(), hash.unwrap_or_default())
    }
}

/// Whether two texts say the same but for their date.
pub fn same(one: &str, other: &str) -> bool {
    let undated = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with(sections::LAST_CHANGE)).map(str::to_owned).collect()
    };
    undated(one) == undated(other)
}
