//! The parts of the report, from top to bottom.

use super::lines::Lines;
use super::{Dated, Outcome, Page, Report};
use crate::appliance::{NetworkSource, UpdatePhase, layout};
use crate::config::{Mistake, Place};
use crate::overview::{DeviceState, Overview};
use crate::time::{ClockQuality, Timestamp};
use crate::trouble::{Trouble, Urgency};

/// How the line with the date of the last change begins.
pub const LAST_CHANGE: &str = "Last change:";
const LABEL_COLUMNS: usize = 16;
const MISTAKES_MAX: usize = 20;
const STEPS_MAX: usize = 4;
const TROUBLES_MAX: usize = 10;
const WARNINGS_MAX: usize = 5;
const SPARE_MAX: usize = 8;
/// Enough of a hash to see that it is another.
const HASH_CHARACTERS: usize = 8;
/// Troubles that have a part of the report to themselves.
const TOLD_ELSEWHERE: [&str; 8] = [
    "config_refused",
    "settings_not_obeyed",
    "analyzer_lost",
    "analyzer_alert",
    "network_fallback",
    "card_read_only",
    "update_rolled_back",
    "update_failed",
];

pub fn top(report: &Report, lines: &mut Lines) {
    lines.line("ANALYZER GATEWAY: REPORT");
    let about = "The box writes this file; what you write into it is lost. Your settings are in gateway.yaml.";
    lines.words("", 0, about);
    lines.line("");
    let overview = report.overview.as_ref();
    if let Some(overview) = overview {
        labelled(lines, "Box:", &overview.gateway);
    }
    let image = overview.and_then(|overview| overview.appliance.image.as_ref());
    let image = image.map(|image| {
        let slot = image.slot.as_ref().map(|slot| format!(", slot {slot}")).unwrap_or_default();
        format!(" (system {} for {}{slot})", image.version, image.compatible)
    });
    labelled(lines, "Version:", &format!("{}{}", report.version, image.unwrap_or_default()));
    let (label, at, quality) = match report.dated {
        Dated::LastChange(at, quality) => (LAST_CHANGE, at, quality),
        Dated::Now(at, quality) => ("As of:", at, quality),
    };
    let minute = minute(at);
    let doubt = if quality == ClockQuality::Unset { " (wrong: the clock is not set)" } else { "" };
    labelled(lines, label, &format!("{minute} UTC{doubt}"));
    if let Some(overview) = overview {
        labelled(lines, "Clock:", clock(overview.clock));
    }
}

/// A moment as people write it, to the minute.
fn minute(at: Timestamp) -> String {
    let at = at.to_string();
    at.get(..16).unwrap_or(&at).replace('T', " ")
}

fn labelled(lines: &mut Lines, label: &str, text: &str) {
    lines.words(&format!("{label:LABEL_COLUMNS$}"), LABEL_COLUMNS, text);
}

fn clock(quality: ClockQuality) -> &'static str {
    match quality {
        ClockQuality::Unset => "NOT SET. No time server answers; results are kept, their times are mended later.",
        ClockQuality::Unsynchronized => "plausible, but no time server has confirmed it yet",
        ClockQuality::Synchronized | ClockQuality::Corrected => "right, kept by a time server",
    }
}

/// The most important first.
pub fn next_steps(report: &Report, lines: &mut Lines) {
    lines.heading("WHAT TO DO NEXT");
    let mut steps = steps(report);
    steps.truncate(STEPS_MAX);
    match steps.as_slice() {
        [] => lines.words("  ", 2, "Nothing. All is well."),
        [only] => lines.words("  ", 2, only),
        several => several.iter().enumerate().for_each(|(index, step)| {
            lines.words(&format!("  {}. ", index + 1), 5, step);
        }),
    }
}

fn steps(report: &Report) -> Vec<String> {
    let mut steps = Vec::new();
    match (&report.settings.outcome, report.settings.beside.first()) {
        (Outcome::Refused(_), _) => steps.push(
            "Correct the settings file as described below, save it, put the card back and switch the box on.".to_owned(),
        ),
        (Outcome::Missing | Outcome::Gone, Some(beside)) => steps.push(rename(beside)),
        (Outcome::Gone, None) => {
            steps.push("Put gateway.yaml back onto the card, from a copy or from the example below.".to_owned());
        }
        (Outcome::Missing, None) => steps.push(
            "Write your settings: copy the example below into a new file, change it, and save it on this card as \
             gateway.yaml (in Notepad: `Save as`, type `All files`)."
                .to_owned(),
        ),
        (Outcome::Unread, _) => {
            steps.push("Switch the box off and on: the settings file has changed since it was read.".to_owned());
        }
        (Outcome::InForce, Some(beside)) => steps.push(format!(
            "Look at {beside}: it is not read. If it holds what you want, delete gateway.yaml and rename it to gateway.yaml."
        )),
        (Outcome::InForce, None) => {}
    }
    steps.extend(report.down.iter().map(|down| down.next_step.clone()));
    let Some(overview) = &report.overview else { return steps };
    if overview.appliance.network.as_ref().is_some_and(|network| network.in_force == NetworkSource::Fallback) {
        steps.push("Correct `network` in the settings file: what it asks for did not work.".to_owned());
    }
    if !not_obeyed(overview).is_empty() {
        steps.push("Correct what is not in force of the settings, as described below.".to_owned());
    }
    if report.pairing_code.is_some() && matches!(report.page, Page::At(_) | Page::Was(..)) {
        steps.push("Open the page in a browser and type in the pairing code. Both are below.".to_owned());
    }
    let away: Vec<&str> =
        overview.analyzers.iter().filter(|one| one.state.is_away()).map(|one| one.id.as_str()).collect();
    if !away.is_empty() {
        steps.push(format!("Plug in, or switch on: {}.", away.join(", ")));
    }
    if overview.analyzers.is_empty() && !is_missing(report) {
        steps.push(match report.spare.is_empty() {
            false => "Copy the lines for what is plugged in (below) into the settings file.".to_owned(),
            true => {
                "Write your analyzers, and who is to be told, into gateway.yaml: nothing is read so far.".to_owned()
            }
        });
    }
    let urgent = overview.troubles.iter().filter(|trouble| trouble.urgency != Urgency::Watch && is_told_here(trouble));
    steps.extend(urgent.filter(|trouble| !trouble.next_step.is_empty()).map(
        |trouble| match trouble.subject.as_str() {
            "gateway" => trouble.next_step.clone(),
            subject => format!("{subject}: {}", trouble.next_step),
        },
    ));
    steps.dedup();
    steps
}

fn rename(beside: &str) -> String {
    let hidden = if beside.to_lowercase().ends_with(".txt") {
        " Windows hides the end of a name: in the Explorer, switch on `View`, `File name extensions` first."
    } else {
        ""
    };
    format!("Rename {beside} to gateway.yaml; under its present name it is not read.{hidden}")
}

pub fn settings(report: &Report, lines: &mut Lines) {
    let file = report.settings.file.as_deref().map_or_else(|| "gateway.yaml".to_owned(), shown);
    let runs = report.overview.is_some();
    match &report.settings.outcome {
        Outcome::InForce if !runs => {
            lines.heading("SETTINGS: GOOD");
            lines.words("  ", 2, &format!("{file} has no mistakes."));
        }
        Outcome::InForce => match report.overview.as_ref().and_then(|overview| overview.configuration.refused.as_ref())
        {
            None if report.overview.as_ref().is_some_and(|overview| !not_obeyed(overview).is_empty()) => {
                lines.heading("SETTINGS: IN FORCE, BUT NOT ALL OF THEM");
                lines.words("  ", 2, &format!("{file} has no mistakes. What of it is not in force:"));
            }
            None => {
                lines.heading("SETTINGS: IN FORCE");
                lines.words("  ", 2, &format!("{file} has no mistakes, and the box runs as it says."));
            }
            Some(reason) => {
                lines.heading("SETTINGS: NOT IN FORCE");
                lines.words("  ", 2, &format!("{file} has no mistakes, but: {reason}."));
            }
        },
        Outcome::Unread => {
            lines.heading("SETTINGS: CHANGED, NOT IN FORCE YET");
            lines.words("  ", 2, &format!("{file} has no mistakes, but has changed since the box read it."));
        }
        missing @ (Outcome::Missing | Outcome::Gone) => {
            lines.heading("SETTINGS: MISSING");
            let on_the_card = || "gateway.yaml on the card".to_owned();
            let looked_for = report.settings.file.as_deref().map_or_else(on_the_card, shown);
            let goes_on = match missing {
                Outcome::Gone => format!("There is no {file} any more. The box goes on with the last good settings."),
                _ if runs => format!("There is no {looked_for}. The box runs without analyzers."),
                _ => format!("There is no {looked_for}. The box reads no analyzer."),
            };
            lines.words("  ", 2, &goes_on);
            if report.settings.beside.is_empty() {
                example(report, lines);
            }
        }
        Outcome::Refused(mistakes) => {
            let goes_on = if runs { "THE LAST GOOD ONES STAY IN FORCE" } else { "THE BOX READS NO ANALYZER" };
            lines.heading(&format!("SETTINGS: REFUSED. {goes_on}"));
            let count =
                if mistakes.len() == 1 { "one mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) };
            lines.words("  ", 2, &format!("{file} has {count}:"));
            for (index, mistake) in mistakes.iter().take(MISTAKES_MAX).enumerate() {
                self::mistake(index + 1, mistake, lines);
            }
            if mistakes.len() > MISTAKES_MAX {
                lines.words("  ", 2, &format!("and {} more.", mistakes.len() - MISTAKES_MAX));
            }
        }
    }
    for left in report.overview.iter().flat_map(not_obeyed) {
        lines.words("  - ", 4, left);
    }
    for beside in &report.settings.beside {
        lines.words("  ", 2, &format!("{beside} lies on the card too; a file of this name is not read."));
    }
    let warnings = &report.settings.warnings;
    warnings.iter().take(WARNINGS_MAX).for_each(|warning| lines.words("  - ", 4, &format!("Good, but: {warning}")));
    if warnings.len() > WARNINGS_MAX {
        lines.words(
            "  ",
            2,
            &format!("and {} more; `analyzer-gateway check` shows all.", warnings.len() - WARNINGS_MAX),
        );
    }
    let Some(overview) = &report.overview else { return };
    if let Some(until) = overview.configuration.confirm_by {
        lines.words("  ", 2, &format!("Other settings are tried; without a confirmation they lapse at {until}."));
    }
    if let Some(hash) = overview.configuration.hash.get(..HASH_CHARACTERS) {
        lines.words("  ", 2, &format!("In force: settings {hash} (other settings, another number)."));
    }
}

/// What root has not done of the settings.
fn not_obeyed(overview: &Overview) -> &[String] {
    overview.appliance.obeyed.as_ref().map_or(&[], |obeyed| &obeyed.left)
}

/// A file on the card by its name alone.
fn shown(path: &str) -> String {
    match path.strip_prefix(layout::BOOT).and_then(|rest| rest.strip_prefix('/')) {
        Some(name) => name.to_owned(),
        None => path.to_owned(),
    }
}

fn mistake(number: usize, mistake: &Mistake, lines: &mut Lines) {
    let place = match &mistake.place {
        Place::Whole => "The whole file".to_owned(),
        Place::At { line, column } => format!("Line {line}, column {column}"),
        Place::In { file, line, column } => format!("{}, line {line}, column {column}", shown(file)),
        Place::Variable(name) => format!("Environment variable {name}"),
    };
    let path = &mistake.error.path;
    let path = if path.is_empty() { String::new() } else { format!(", at {path}") };
    lines.words(&format!("  {number}. "), 5, &format!("{place}{path}:"));
    lines.words("     ", 5, &mistake.error.problem);
    if let Some(suggestion) = &mistake.error.suggestion {
        lines.words("     What to do: ", 5, suggestion);
    }
}

fn example(report: &Report, lines: &mut Lines) {
    lines.words("  ", 2, "An example, between the two lines (blanks in front of a word matter, tabs are not allowed):");
    lines.line("----------");
    lines.pasted(
        "version: 1\ngateway:\n  id: clinic-1  # what this box is called\n  time_zone: Europe/Berlin\nanalyzers:",
    );
    match report.spare.is_empty() {
        true => lines.pasted(
            "  - id: analyzer-1  # what you call it\n    driver: astm\n    port: { path: /dev/ttyUSB0 }\n    baud: 9600",
        ),
        false => report.spare.iter().take(SPARE_MAX).for_each(|item| lines.pasted(item)),
    }
    lines.line("----------");
}

pub fn page(report: &Report, lines: &mut Lines) {
    if report.overview.is_none() {
        return;
    }
    lines.heading("PAGE");
    match &report.page {
        Page::Off => lines.words("  ", 2, "None is served (http.listen and http.page in the settings)."),
        Page::BoxOnly(listen) => lines.words(
            "  ",
            2,
            &format!("Only on the box itself, at {listen}. For the network: http.listen in the settings."),
        ),
        Page::At(addresses) if addresses.is_empty() => {
            lines.words("  ", 2, "The box has no address in the network yet.")
        }
        Page::At(addresses) => addresses.iter().for_each(|address| lines.words("  ", 2, address)),
        Page::Was(addresses, at) => {
            lines.words(
                "  ",
                2,
                &format!("The box has no address in the network any more. Until {} UTC it had:", minute(*at)),
            );
            addresses.iter().for_each(|address| lines.words("  ", 2, address));
        }
    }
    if let (Some(code), Page::At(_) | Page::Was(..)) = (&report.pairing_code, &report.page) {
        lines.words("  ", 2, &format!("Pairing code: {code} (lets the first person in, once)"));
    }
}

pub fn analyzers(report: &Report, lines: &mut Lines) {
    let Some(Overview { analyzers, .. }) = &report.overview else { return };
    if analyzers.is_empty() {
        lines.heading("ANALYZERS: NONE IN THE SETTINGS");
        return;
    }
    let found = analyzers.iter().filter(|one| !one.state.is_away()).count();
    lines.heading(&format!("ANALYZERS: {found} OF {} FOUND", analyzers.len()));
    for one in analyzers {
        let model = one.model.as_ref().map(|model| format!(" ({model})")).unwrap_or_default();
        let reason = if one.reason.is_empty() { String::new() } else { format!(": {}", one.reason) };
        let state = match one.state {
            DeviceState::Init => "is being looked for",
            DeviceState::Ready | DeviceState::Sleeping => "found",
            DeviceState::Disconnected => "MISSING",
            DeviceState::Lost => "GONE",
            DeviceState::Alert => "found, BUT LOOK AT IT",
        };
        lines.words("  ", 4, &format!("{}{model} at {}: {state}{reason}", one.id, one.port));
    }
}

pub fn spare(report: &Report, lines: &mut Lines) {
    let in_example = is_missing(report) && report.settings.beside.is_empty();
    if report.spare.is_empty() || in_example {
        return;
    }
    lines.heading("PLUGGED IN, BUT IN NO SETTING");
    let about = "To use it, copy its lines below `analyzers:` in the settings file; change id, driver and baud to what is right. \
                 Blanks in front of a word matter.";
    lines.words("  ", 2, about);
    report.spare.iter().take(SPARE_MAX).for_each(|item| lines.pasted(item));
}

pub fn network(report: &Report, lines: &mut Lines) {
    let Some(network) = report.overview.as_ref().and_then(|overview| overview.appliance.network.as_ref()) else {
        return;
    };
    let state = match network.in_force {
        NetworkSource::System => "AS THE SYSTEM HAS IT",
        NetworkSource::Settings => "AS IN THE SETTINGS",
        NetworkSource::Trying => "BEING TRIED",
        NetworkSource::Fallback => "NOT AS IN THE SETTINGS, BUT AUTOMATIC (DHCP)",
    };
    lines.heading(&format!("NETWORK: {state}"));
    if !network.reason.is_empty() {
        lines.words("  ", 2, &format!("Why: {}.", network.reason.trim_end_matches('.')));
    }
    let addresses = if network.addresses.is_empty() { "none".to_owned() } else { network.addresses.join(", ") };
    lines.words("  ", 2, &format!("Addresses of the box: {addresses}"));
}

pub fn update(report: &Report, lines: &mut Lines) {
    let Some(update) = report.overview.as_ref().and_then(|overview| overview.appliance.update.as_ref()) else { return };
    let state = match update.phase {
        UpdatePhase::None => return,
        UpdatePhase::Fetching => "BEING FETCHED. DO NOT SWITCH OFF",
        UpdatePhase::Checking => "BEING CHECKED. DO NOT SWITCH OFF",
        UpdatePhase::WaitingForTest => "WAITS UNTIL NO ANALYZER IS AT WORK",
        UpdatePhase::Installing => "BEING INSTALLED. DO NOT SWITCH OFF",
        UpdatePhase::Restarting => "INSTALLED, THE BOX STARTS ANEW",
        UpdatePhase::Proving => "INSTALLED, MUST STILL SHOW THAT IT WORKS",
        UpdatePhase::Good => "DONE",
        UpdatePhase::RolledBack => "TAKEN BACK, THE FORMER SYSTEM RUNS",
        UpdatePhase::Failed => "FAILED, NOTHING WAS CHANGED",
    };
    lines.heading(&format!("UPDATE: {state}"));
    let unknown = "?".to_owned();
    if update.from.is_some() || update.to.is_some() {
        let (from, to) = (update.from.as_ref().unwrap_or(&unknown), update.to.as_ref().unwrap_or(&unknown));
        lines.words("  ", 2, &format!("From {from} to {to}."));
    }
    if !update.reason.is_empty() {
        lines.words("  ", 2, &update.reason);
    }
}

pub fn troubles(report: &Report, lines: &mut Lines) {
    if let Some(down) = &report.down {
        lines.heading("THE GATEWAY DOES NOT RUN");
        lines.words("  ", 2, &down.reason);
    }
    let troubles = report.overview.iter().flat_map(|overview| &overview.troubles);
    let troubles: Vec<&Trouble> = troubles.filter(|trouble| is_told_here(trouble)).collect();
    if troubles.is_empty() {
        return;
    }
    lines.heading("OTHER TROUBLES");
    for trouble in troubles.iter().take(TROUBLES_MAX) {
        let subject = if trouble.subject == "gateway" { String::new() } else { format!("{}: ", trouble.subject) };
        lines.words("  - ", 4, &format!("{subject}{}", trouble.reason));
        lines.words("    What to do: ", 4, &trouble.next_step);
    }
    if troubles.len() > TROUBLES_MAX {
        lines.words("  ", 2, &format!("and {} more; the page shows all.", troubles.len() - TROUBLES_MAX));
    }
}

fn is_missing(report: &Report) -> bool {
    matches!(report.settings.outcome, Outcome::Missing | Outcome::Gone)
}

fn is_told_here(trouble: &Trouble) -> bool {
    !TOLD_ELSEWHERE.contains(&trouble.code.as_str())
}
