//! Updates: what is asked for, what a bundle must be to be taken, what RAUC says in a clinic's words, and what the box finds out
//! about its last update when it starts.
//!
//! Invariant: an update is written down before each of its steps ([`Journal`]), so whatever system starts next knows which step
//! was the last one and says why the box runs what it runs.

mod words;

pub use words::{percent, why};

use super::{Image, Update, UpdatePhase, gate::BoxHealth};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The source that stands for whatever stick is plugged in.
pub const USB: &str = "usb";
/// Who asks where nobody does: the settings.
pub const BY_ITSELF: &str = "by itself";
/// Bundles are called so.
pub const SUFFIX: &str = ".raucb";

/// What somebody let in asks of the privileged half: `requests/update.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub action: Action,
    /// A URL, a whole path, or `usb`.
    #[serde(default)]
    pub source: Option<String>,
    /// Whether an older version is wanted.
    #[serde(default)]
    pub older: bool,
    /// The proxy on the way to a URL; it may hold a password.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Who asks, as the audit log has it.
    #[serde(default)]
    pub by: String,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Look whether there is a newer version; nothing is installed.
    Check,
    /// Install it, start it, and keep it if it proves itself.
    Install,
    /// Start the other system, which ran before.
    Rollback,
}

/// Where a bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Url(String),
    Path(String),
    Usb,
}

impl Source {
    /// Reads it as it is asked for. The error says what to write instead.
    pub fn read(text: &str) -> Result<Source, String> {
        let is_url = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
        match text {
            USB => Ok(Source::Usb),
            _ if text.contains(char::is_control) => Err("the source holds a control character".to_owned()),
            _ if is_url && has_login(text) => Err("the address holds a user name or a password, which would show up in logs: serve the \
                                                   bundle to whoever asks; it is signed, and holds nothing that is secret"
                .to_owned()),
            // A bundle is signed: whoever changes it on its way is found out without TLS too.
            _ if is_url => Ok(Source::Url(text.to_owned())),
            _ if text.starts_with('/') && text.ends_with(SUFFIX) => Ok(Source::Path(text.to_owned())),
            _ => Err(format!(
                "the source is no place where a bundle can be: write `{USB}`, an address that begins with https:// or http://, or a whole path that \
                 ends in {SUFFIX}"
            )),
        }
    }
}

fn has_login(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// What a bundle says of itself, under its signature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bundle {
    pub compatible: String,
    #[serde(default)]
    pub version: Option<String>,
}

impl Bundle {
    /// Reads what `rauc info --output-format=json` prints.
    pub fn read(json: &str) -> Result<Bundle, String> {
        serde_json::from_str(json).map_err(|_| "RAUC says of the bundle what cannot be read".to_owned())
    }

    /// Why it must not be installed on this box, as a sentence that says what to do; `None` if it may.
    pub fn refusal(&self, image: &Image, older: bool) -> Option<String> {
        let (mine, its) = (&image.compatible, &self.compatible);
        if mine != its {
            return Some(format!(
                "this bundle is for other hardware ({its}); this box is {mine}: take the bundle for {mine}"
            ));
        }
        let Some(version) = self.version.as_deref().filter(|version| !version.is_empty()) else {
            return Some("the bundle does not say which version it is: make it anew with a version".to_owned());
        };
        match compare(version, &image.version) {
            Ordering::Equal => Some(format!("version {version} is the one that runs")),
            Ordering::Less if !older => Some(format!(
                "version {version} is older than {}, which runs: `--older` installs it all the same",
                image.version
            )),
            _ => None,
        }
    }
}

/// Compares two versions by their numbers; where those are equal, one with something behind them (`1.2.0-rc1`) comes first, as
/// Semantic Versioning 2.0.0 item 11 has it. What stands behind a `+` counts for nothing (item 10).
pub fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let text = text.trim_start_matches('v').split('+').next().unwrap_or_default().to_owned();
        let (numbers, behind) = text
            .split_once('-')
            .map_or((text.clone(), None), |(numbers, behind)| (numbers.to_owned(), Some(behind.to_owned())));
        let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().unwrap_or(0)).collect();
        (numbers, behind)
    };
    let ((a, a_behind), (b, b_behind)) = (parts(a), parts(b));
    let longest = a.len().max(b.len());
    let number = |list: &[u64], place: usize| list.get(place).copied().unwrap_or(0);
    let numbers = (0..longest).map(|place| number(&a, place).cmp(&number(&b, place)));
    let numbers = numbers.fold(Ordering::Equal, Ordering::then);
    numbers.then_with(|| match (a_behind, b_behind) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(&b),
    })
}

/// The last update, step by step: kept where both systems find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    pub update: Update,
    /// `A` or `B`: from where the box ran when it began, and where the new system was written.
    #[serde(default)]
    pub from_slot: Option<String>,
    #[serde(default)]
    pub to_slot: Option<String>,
    /// Why the new system is given up; decided, and perhaps not carried out yet.
    #[serde(default)]
    pub given_up: Option<String>,
    /// The slot that has last proved itself.
    #[serde(default)]
    pub proved: Option<String>,
    /// The system that ran before the one that runs, whole in the other half: where a rollback goes.
    #[serde(default)]
    pub previous: Option<Previous>,
    /// The version that did not prove itself: the box does not install it again by itself.
    #[serde(default)]
    pub bad: Option<String>,
    /// How the box was before: what the new system is measured by.
    #[serde(default)]
    pub before: Option<BoxHealth>,
}

/// A system that works and does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// `A` or `B`.
    pub slot: String,
    pub version: String,
}

impl Journal {
    /// Of a box that was never updated.
    pub fn none(at: Timestamp) -> Journal {
        let update =
            Update { phase: UpdatePhase::None, percent: None, from: None, to: None, reason: String::new(), at };
        let (from_slot, to_slot, given_up, proved) = (None, None, None, None);
        Journal { update, from_slot, to_slot, given_up, proved, previous: None, bad: None, before: None }
    }

    /// The next step.
    pub fn step(&mut self, phase: UpdatePhase, reason: &str, at: Timestamp) {
        self.update = Update { phase, percent: None, reason: reason.to_owned(), at, ..self.update.clone() };
    }

    /// Whether something may begin: the system that runs has proved itself, and no other is about to.
    pub fn is_settled(&self, slot: Option<&str>) -> bool {
        matches!(at_boot(self, slot), AtBoot::Usual | AtBoot::Interrupted(_))
    }

    /// To which system a rollback from this slot goes.
    pub fn back(&self, slot: Option<&str>) -> Option<Previous> {
        let previous = self.previous.clone()?;
        (slot? != previous.slot).then_some(previous)
    }
}

/// What a start finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtBoot {
    /// Nothing is open: this system has proved itself before.
    Usual,
    /// The new system runs and must show that it works.
    Prove,
    /// The new system runs although it was given up for this reason: it has to go.
    GiveUp(String),
    /// Another system runs than should; with the reason.
    Fallback(String),
    /// An update was cut off before it had changed anything; with the reason.
    Interrupted(String),
}

/// Tells which by the journal and the slot that runs. `slot` is `None` where there are no slots.
pub fn at_boot(journal: &Journal, slot: Option<&str>) -> AtBoot {
    let Some(slot) = slot else { return AtBoot::Usual };
    let to = journal.update.to.as_deref().unwrap_or("the new one");
    let open = matches!(journal.update.phase, UpdatePhase::Restarting | UpdatePhase::Proving);
    if open {
        let is_new = journal.to_slot.as_deref() == Some(slot);
        return match (&journal.given_up, is_new) {
            (None, true) => AtBoot::Prove,
            (Some(reason), true) => AtBoot::GiveUp(reason.clone()),
            (Some(reason), false) => AtBoot::Fallback(reason.clone()),
            (None, false) => AtBoot::Fallback(match journal.update.phase {
                UpdatePhase::Restarting => {
                    format!(
                        "version {to} did not start, or the power failed while it did: install it again, or say so to its maker"
                    )
                }
                _ => format!(
                    "the power failed or the box restarted before version {to} had shown that it works: install it again"
                ),
            }),
        };
    }
    let is_new = journal.to_slot.as_deref() == Some(slot) && journal.proved.as_deref() != Some(slot);
    match (journal.update.phase, journal.proved.as_deref()) {
        // RAUC was done, and the power failed or the update was stopped before that was written down.
        (phase, _) if is_new && (phase.is_going_on() || phase == UpdatePhase::Failed) => AtBoot::Prove,
        // It was being written when the power failed; what ran goes on.
        (UpdatePhase::Fetching | UpdatePhase::Checking | UpdatePhase::WaitingForTest | UpdatePhase::Installing, _) => {
            AtBoot::Interrupted("the power failed or the box restarted in the middle of the update; nothing has changed: install it again".to_owned())
        }
        (_, Some(proved)) if proved != slot => AtBoot::Fallback(
            "the system that ran last does not start any more; the one before it runs: install an update".to_owned(),
        ),
        _ => AtBoot::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_800_000_000_000);

    fn image() -> Image {
        Image { version: "1.10.0".to_owned(), compatible: "box-a".to_owned(), slot: Some("A".to_owned()) }
    }

    fn bundle(compatible: &str, version: &str) -> Bundle {
        Bundle { compatible: compatible.to_owned(), version: Some(version.to_owned()) }
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let rising = ["0.9", "1.2.0-rc1", "1.2.0-rc2", "1.2.0", "1.2.1", "1.10.0", "2"];
        for (place, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), place.cmp(&other), "{a} {b}");
            }
        }
        assert_eq!(compare("v1.2", "1.2.0+build7"), Ordering::Equal);
    }

    #[test]
    fn a_bundle_must_fit_the_box_and_be_newer() {
        assert_eq!(bundle("box-a", "1.10.1").refusal(&image(), false), None);
        let told = |bundle: Bundle, older| bundle.refusal(&image(), older).unwrap_or_default();
        assert!(told(bundle("box-b", "9"), true).contains("other hardware (box-b)"));
        assert!(told(bundle("box-a", "1.9.9"), false).contains("older than 1.10.0"));
        assert_eq!(told(bundle("box-a", "1.9.9"), true), "");
        assert!(told(bundle("box-a", "1.10.0"), true).contains("is the one that runs"));
        assert!(told(Bundle { compatible: "box-a".to_owned(), version: None }, false).contains("does not say"));
    }

    #[test]
    fn a_source_is_a_stick_an_address_or_a_path() {
        assert_eq!(Source::read("usb"), Ok(Source::Usb));
        for url in ["https://a.example/b", "http://a.example/b"] {
            assert_eq!(Source::read(url), Ok(Source::Url(url.to_owned())));
        }
        let told = Source::read("https://user:hunter2@a.example/b").expect_err("a password");
        assert!(told.contains("password") && !told.contains("hunter2"), "{told}");
        assert_eq!(Source::read("/data/b.raucb"), Ok(Source::Path("/data/b.raucb".to_owned())));
        for wrong in ["", "-h", "b.raucb", "/etc/shadow", "ftp://a.example/b", "/data/\nb.raucb"] {
            assert!(Source::read(wrong).is_err(), "{wrong:?}");
        }
    }

    fn journal(phase: UpdatePhase) -> Journal {
        let mut journal = Journal::none(AT);
        journal.update.to = Some("1.11.0".to_owned());
        (journal.from_slot, journal.to_slot) = (Some("A".to_owned()), Some("B".to_owned()));
        journal.proved = Some("A".to_owned());
        journal.step(phase, "", AT);
        journal
    }

    #[test]
    fn whatever_step_was_the_last_the_next_start_knows_what_to_do() {
        use UpdatePhase::*;
        for phase in
            [None, Fetching, Checking, WaitingForTest, Installing, Restarting, Proving, Good, RolledBack, Failed]
        {
            let (old, new) = (at_boot(&journal(phase), Some("A")), at_boot(&journal(phase), Some("B")));
            match phase {
                Restarting | Proving => {
                    assert_eq!(new, AtBoot::Prove);
                    assert!(matches!(&old, AtBoot::Fallback(reason) if reason.contains("1.11.0")), "{old:?}");
                }
                Fetching | Checking | WaitingForTest | Installing => {
                    assert_eq!(new, AtBoot::Prove, "RAUC may have been done");
                    assert!(
                        matches!(&old, AtBoot::Interrupted(reason) if reason.contains("nothing has changed")),
                        "{old:?}"
                    );
                }
                Failed => assert_eq!((old, new), (AtBoot::Usual, AtBoot::Prove)),
                None | Good | RolledBack => {
                    assert_eq!(old, AtBoot::Usual);
                    assert!(
                        matches!(&new, AtBoot::Fallback(reason) if reason.contains("does not start any more")),
                        "{new:?}"
                    );
                }
            }
        }
        let given_up = Journal { given_up: Some("why".to_owned()), ..journal(Proving) };
        assert_eq!(at_boot(&given_up, Some("B")), AtBoot::GiveUp("why".to_owned()));
        assert_eq!(at_boot(&given_up, Some("A")), AtBoot::Fallback("why".to_owned()));
        assert_eq!(at_boot(&given_up, Option::None), AtBoot::Usual);
        assert_eq!(at_boot(&Journal::none(AT), Some("A")), AtBoot::Usual);
    }

    #[test]
    fn an_update_begins_only_where_the_system_that_runs_has_proved_itself() {
        use UpdatePhase::*;
        for phase in [Fetching, Checking, WaitingForTest, Installing, Good, RolledBack, Failed] {
            assert!(journal(phase).is_settled(Some("A")) && !journal(phase).is_settled(Some("B")), "{phase:?}");
        }
        for phase in [Restarting, Proving] {
            assert!(!journal(phase).is_settled(Some("A")) && !journal(phase).is_settled(Some("B")), "{phase:?}");
        }
        assert!(Journal::none(AT).is_settled(Some("A")), "as it came");
    }
}
