//! What the gateway leaves in its RuntimeDirectory for the privileged half of the box: the report for the SD card, and which light
//! to show. Where the service manager has made no such folder (`RUNTIME_DIRECTORY`, systemd.exec(5)), nothing is left.
//!
//! Invariant: the report is replaced only when something has changed that a person would act on, and [`Pace`] bounds how often.

use crate::api::Api;
use crate::configuration::Source;
use crate::platform::replace::replace;
use crate::pulse::Stop;
use gateway_core::appliance::layout;
use gateway_core::appliance::light::Light;
use gateway_core::appliance::pace::Pace;
use gateway_core::appliance::report::{Dated, Outcome, Page, Report, Urgent, same};
use gateway_core::overview::DeviceState;
use gateway_core::time::{Mono, Now, Timestamp};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const FOLDER_VARIABLE: &str = "RUNTIME_DIRECTORY";
/// Between two looks at what there is to say.
const LOOK_SECONDS: u64 = 5;
/// How long the first report waits for what was not tried yet or may pass by itself: ports, brokers and receivers that come up beside
/// the gateway, an address of the box. Else each start would be written twice.
const SETTLE_SECONDS_MAX: u64 = 30;
/// It waits so long for everything to be tried once, and after a restart longer, because what was said before may still be true.
const TRY_SECONDS: u64 = 4;
const RESTART_SECONDS: u64 = 10;
/// A change that comes while the privileged half still runs may not start it again: so everything is left a second time.
const AGAIN_SECONDS: u64 = 30;

/// The folder.
#[derive(Debug, Clone)]
pub struct Told {
    folder: PathBuf,
}

impl Told {
    /// The first of the folders that the service manager has made for this process, if it has.
    pub fn of(source: &Source) -> Option<Told> {
        let (_, folders) = source.environment.iter().find(|(name, _)| name == FOLDER_VARIABLE)?;
        let first = folders.to_str()?.split(':').next().filter(|folder| !folder.is_empty())?;
        Some(Told { folder: PathBuf::from(first) })
    }

    pub fn light(&self, light: Light) {
        let path = self.folder.join(layout::TOLD_LIGHT);
        note(replace(&path, format!("{}\n", light.word()).as_bytes(), 0o644));
    }

    /// While an earlier process's trouble is shown, a start is no news.
    pub fn light_at_start(&self) {
        if !self.folder.join(layout::TOLD_LIGHT).exists() {
            self.light(Light::Starting);
        }
    }

    /// The gateway was stopped: the light belongs to the system again.
    pub fn light_out(&self) {
        let _ = fs::remove_file(self.folder.join(layout::TOLD_LIGHT));
    }

    /// It may hold the pairing code: not for everybody.
    pub fn report(&self, text: &str) {
        note(replace(&self.folder.join(layout::TOLD_REPORT), text.as_bytes(), 0o640));
    }

    /// A report of a gateway that does not run. A restart that ends in the same way changes nothing.
    pub fn report_down(&self, report: &Report) {
        let text = report.text();
        if !self.report_there().is_some_and(|there| same(&there, &text)) {
            self.report(&text);
        }
    }

    fn report_there(&self) -> Option<String> {
        fs::read_to_string(self.folder.join(layout::TOLD_REPORT)).ok()
    }
}

fn note(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(%error, "the report for the card cannot be left in the runtime folder");
    }
}

/// What was left last.
#[derive(Default)]
struct Left {
    light: Option<Light>,
    essence: String,
    text: String,
    urgent: Option<Urgent>,
    pace: Pace,
    again: Option<Mono>,
    /// Where the page was last, and when.
    page: Option<(Vec<String>, Timestamp)>,
}

/// Keeps report and light as they should be until the stop.
pub async fn keep(api: &Api, mut stop: Stop) {
    let Some(told) = api.front.settings.as_deref().and_then(Told::of) else { return stop.asked().await };
    let clock = &api.platform.clock;
    let began = clock.now().mono;
    let after = |seconds| began.after(Duration::from_secs(seconds));
    let mut left = Left::default();
    let tried = after(if told.report_there().is_some() { RESTART_SECONDS } else { TRY_SECONDS });
    let settled = after(SETTLE_SECONDS_MAX);
    loop {
        let (report, light) = api.report().await;
        let now = clock.now();
        if now.mono >= settled || (now.mono >= tried && is_settled(&report)) {
            left.take(&told, report, now);
        }
        left.show(&told, light, now);
        let due = now.mono.after(Duration::from_secs(LOOK_SECONDS));
        tokio::select! {
            biased;
            () = stop.asked() => return,
            () = clock.sleep_until(due) => {}
        }
    }
}

/// Whether nothing is open that the next seconds may decide. Mistakes in the settings wait for nothing.
fn is_settled(report: &Report) -> bool {
    let Some(overview) = &report.overview else { return true };
    let is_tried = overview.analyzers.iter().all(|one| one.state != DeviceState::Init);
    let may_pass = overview.destinations.iter().any(|one| one.state == "trouble");
    let has_address = !matches!(&report.page, Page::At(addresses) if addresses.is_empty());
    matches!(report.settings.outcome, Outcome::Refused(_)) || (is_tried && !may_pass && has_address)
}

impl Left {
    fn take(&mut self, told: &Told, mut report: Report, now: Now) {
        let addressed = self.recall(&mut report, now);
        let essence = report.essence();
        if essence == self.essence {
            return;
        }
        let urgent = report.urgent();
        let first = self.urgent.is_none();
        if !first && !addressed && self.urgent.as_ref() == Some(&urgent) && !self.pace.may(now.mono) {
            return;
        }
        report.dated = Dated::LastChange(now.wall, now.quality);
        self.text = report.text();
        self.essence = essence;
        self.urgent = Some(urgent);
        self.pace.written(now.mono);
        match told.report_there() {
            // An earlier process has said so already, and when it became so.
            Some(there) if first && same(&there, &self.text) => self.text = there,
            _ => {
                told.report(&self.text);
                self.again = Some(now.mono.after(Duration::from_secs(AGAIN_SECONDS)));
            }
        }
    }

    /// A box that has lost its address says which it was. Returns whether this is its first one: somebody waits for that.
    fn recall(&mut self, report: &mut Report, now: Now) -> bool {
        let Page::At(addresses) = &report.page else { return false };
        match (&self.page, addresses.is_empty()) {
            (Some((before, at)), true) => report.page = Page::Was(before.clone(), *at),
            (None, true) => {}
            (before, false) => {
                let first = before.is_none();
                self.page = Some((addresses.clone(), now.wall));
                return first;
            }
        }
        false
    }

    fn show(&mut self, told: &Told, light: Light, now: Now) {
        if self.light.replace(light) != Some(light) {
            told.light(light);
            self.again = Some(now.mono.after(Duration::from_secs(AGAIN_SECONDS)));
        }
        if self.again.is_some_and(|again| now.mono >= again) {
            self.again = None;
            told.light(light);
            if !self.text.is_empty() {
                told.report(&self.text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::appliance::report::Settings;
    use gateway_core::health::Health;
    use gateway_core::time::ClockQuality;

    fn report(spare: &str) -> Report {
        Report {
            version: "1.2.3".to_owned(),
            dated: Dated::Now(Timestamp(0), ClockQuality::Unset),
            settings: Settings { file: None, outcome: Outcome::InForce, beside: Vec::new(), warnings: Vec::new() },
            overview: None,
            down: None,
            page: Page::Off,
            pairing_code: None,
            spare: vec![spare.to_owned()],
        }
    }

    fn at(second: u64) -> Now {
        let wall = Timestamp(1_795_292_043_120 + second as i64 * 1_000);
        Now { mono: Mono(second * 1_000_000_000), wall, quality: ClockQuality::Synchronized }
    }

    #[test]
    fn what_is_no_news_stays_with_its_date_and_what_is_waits_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let told = Told { folder: folder.path().to_owned() };
        let there = || told.report_there().unwrap_or_default();
        let mut left = Left::default();
        left.take(&told, report("a"), at(0));
        let first = there();
        assert!(first.contains("20:14") && first.contains("\r\na\r\n"), "{first}");
        left.take(&told, report("b"), at(30));
        assert_eq!(there(), first, "a minute was not over");
        left.take(&told, report("b"), at(60));
        assert!(there().contains("\r\nb\r\n") && there().contains("20:15"), "{}", there());
        let missing = Settings { outcome: Outcome::Missing, ..report("b").settings };
        left.take(&told, Report { settings: missing, ..report("b") }, at(61));
        assert!(there().contains("SETTINGS: MISSING"), "the settings do not wait: {}", there());

        // Another process finds it so: since when it is so stays known.
        let before = there();
        let missing = Settings { outcome: Outcome::Missing, ..report("b").settings };
        Left::default().take(&told, Report { settings: missing, ..report("b") }, at(9_000));
        assert_eq!(there(), before);
    }

    #[test]
    fn an_address_is_told_at_once_and_stays_known_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let told = Told { folder: folder.path().to_owned() };
        let there = || told.report_there().unwrap_or_default();
        let mut left = Left::default();
        let overview = Health::new("clinic-7", "1.2.3", String::new(), at(0)).overview(at(0), None);
        let with = |addresses: &[&str]| Report {
            overview: Some(overview.clone()),
            page: Page::At(addresses.iter().map(|one| (*one).to_owned()).collect()),
            ..report("a")
        };
        assert!(!is_settled(&with(&[])) && is_settled(&with(&["http://192.0.2.17/"])));
        left.take(&told, with(&[]), at(0));
        assert!(there().contains("no address in the network yet"), "{}", there());
        left.take(&told, with(&["http://192.0.2.17/"]), at(5));
        assert!(there().contains("http://192.0.2.17/"), "it did not wait its turn: {}", there());
        left.take(&told, with(&[]), at(600));
        assert!(there().contains("any more. Until 2026-11-21 20:14 UTC"), "{}", there());
        assert!(there().contains("http://192.0.2.17/"), "{}", there());
    }

    #[test]
    fn everything_is_left_once_more_in_case_nobody_heard() {
        let folder = tempfile::tempdir().unwrap();
        let told = Told { folder: folder.path().to_owned() };
        let mut left = Left::default();
        left.take(&told, report("a"), at(0));
        left.show(&told, Light::Fine, at(0));
        for (second, is_there) in [(29, false), (30, true), (600, false)] {
            for name in [layout::TOLD_LIGHT, layout::TOLD_REPORT] {
                let _ = fs::remove_file(folder.path().join(name));
            }
            left.show(&told, Light::Fine, at(second));
            assert_eq!((told.report_there().is_some(), folder.path().join("light").exists()), (is_there, is_there));
        }
    }
}
