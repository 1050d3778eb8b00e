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
use gateway_core::appliance::report::{Dated, Report, Settings, same};
use gateway_core::health::DeviceState;
use gateway_core::time::{Mono, Now};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const FOLDER_VARIABLE: &str = "RUNTIME_DIRECTORY";
/// Between two looks at what there is to say.
const LOOK_SECONDS: u64 = 5;
/// How long the first report waits for ports that have not been tried yet: else each start would be written twice.
const SETTLE_SECONDS_MAX: u64 = 10;
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
    urgent: Option<(Settings, Option<String>, String)>,
    pace: Pace,
    again: Option<Mono>,
}

/// Keeps report and light as they should be until the stop.
pub async fn keep(api: &Api, mut stop: Stop) {
    let Some(told) = api.front.settings.as_deref().and_then(Told::of) else { return stop.asked().await };
    let clock = &api.platform.clock;
    let settled = clock.now().mono.after(Duration::from_secs(SETTLE_SECONDS_MAX));
    let mut left = Left::default();
    loop {
        let (report, light) = api.report().await;
        let now = clock.now();
        let tried = |report: &Report| {
            report.overview.iter().flat_map(|overview| &overview.analyzers).all(|one| one.state != DeviceState::Init)
        };
        if now.mono >= settled || tried(&report) {
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

impl Left {
    fn take(&mut self, told: &Told, mut report: Report, now: Now) {
        let essence = report.essence();
        if essence == self.essence {
            return;
        }
        let urgent = report.urgent();
        let first = self.urgent.is_none();
        if !first && self.urgent.as_ref() == Some(&urgent) && !self.pace.may(now.mono) {
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
