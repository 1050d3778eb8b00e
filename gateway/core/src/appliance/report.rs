//! The report on the SD card: what became of the settings, what was found, what is missing, and what to do next, for somebody
//! who reads it in Notepad.
//!
//! Invariants: no secret but the pairing code and no patient data get in; while nothing changes that a person would act on,
//! [`Report::essence`] is the same, however often it is asked.

mod faults;
mod lines;
mod sections;

use crate::config::{Http, Mistake, is_loopback};
use crate::overview::{Configuration, Overview};
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
    pub down: Option<Down>,
    pub page: Page,
    /// While nobody has been let in at the page.
    pub pairing_code: Option<String>,
    /// What is plugged in and used by no analyzer: items to paste below `analyzers:`, each of several lines.
    pub spare: Vec<String>,
}

/// A gateway that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    pub reason: String,
    pub next_step: String,
}

impl Down {
    pub fn because(reason: String) -> Down {
        let next_step =
            "Switch the box off and on. If this report stays, replace the card (see the manual).".to_owned();
        Down { reason, next_step }
    }

    /// The partition for all that must be kept is not there, or takes no writes. `crypttab`: that file of the box, which says
    /// whether the partition is encrypted and where its key is (crypttab(5); docs/encryption.md).
    pub fn without_data(is_there: bool, crypttab: &str) -> Down {
        let key = crypttab.lines().map(str::split_whitespace).find_map(|mut words| {
            (words.next() == Some("data")).then(|| words.nth(1).unwrap_or_default().starts_with("/run/gatewaykey"))
        });
        let reason = if is_there {
            "The card's partition `data`, which keeps all results, cannot be written: the card is at its end or damaged."
        } else {
            "The card's partition `data`, which keeps all results, is missing, damaged or cannot be opened."
        };
        let goes_on =
            "No analyzer is read meanwhile. Results that came before stay on the card as far as it can be read.";
        let new_card = "If this report stays after five minutes, put in a new card with the box's system and keep the old \
                        one: it may hold results that were not sent yet.";
        let first = match key {
            _ if is_there => "Switch the box off and on.",
            Some(true) => "Put in the stick with the key (GATEWAYKEY), then switch the box off and on.",
            Some(false) => "Switch the box off and on. The card opens only in the box that it was made in.",
            None => "Switch the box off and on.",
        };
        Down { reason: format!("{reason} {goes_on}"), next_step: format!("{first} {new_card}") }
    }
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
    /// Its path, also of one that was named and is not there; `None`: there is none.
    pub file: Option<String>,
    pub outcome: Outcome,
    /// Files beside it that look as if somebody meant them to be the settings.
    pub beside: Vec<String>,
    /// What is allowed and should be known all the same, in sentences.
    pub warnings: Vec<String>,
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
    /// The box has no address any more; where the page was, and when that was last so.
    Was(Vec<String>, Timestamp),
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
    /// Of a gateway that does not run, because of the settings or for this reason.
    pub fn of_down(version: &str, dated: Dated, settings: Settings, down: Option<Down>) -> Report {
        let (version, page) = (version.to_owned(), Page::Off);
        Report { version, dated, settings, overview: None, down, page, pairing_code: None, spare: Vec::new() }
    }

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
    /// The settings file, the pairing code, and which settings are in force.
    pub fn urgent(&self) -> Urgent {
        let in_force = self.overview.as_ref().map(|overview| overview.configuration.clone());
        (self.settings.clone(), self.pairing_code.clone(), in_force)
    }
}

/// See [`Report::urgent`].
pub type Urgent = (Settings, Option<String>, Option<Configuration>);

/// Whether two texts say the same but for their date.
pub fn same(one: &str, other: &str) -> bool {
    let undated = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with(sections::LAST_CHANGE)).map(str::to_owned).collect()
    };
    undated(one) == undated(other)
}
