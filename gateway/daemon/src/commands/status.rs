//! `status`: everything at a glance, the troubles first, each with what to do.

use super::EXIT_FAILED;
use super::ask::{Asker, By, Failed, print_json, table};
use super::screen::{Paint, Tone, age, age_or_dash, count, size, span};
use super::the_box;
use crate::platform::privileged;
use axum::http::Method;
use gateway_core::overview::DeviceState;
use gateway_core::overview::Overview;
use gateway_core::trouble::{Trouble, Urgency};
use serde_json::Value;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The folder that stands for `/` where the box is looked at
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
    #[command(flatten)]
    asker: Asker,
}

/// Exit status 0 if all is well, 1 if something needs a person or no gateway runs, 3 if there is nothing to ask.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (mut overview, mut json, by) = match asked(&args.asker) {
        Ok(asked) => asked,
        Err(failed) => return failed.tell(err),
    };
    if by == By::Store {
        // The box is there whether the gateway runs or not.
        overview.appliance = privileged::said(&args.root);
        json["appliance"] = serde_json::to_value(&overview.appliance).unwrap_or_default();
    }
    // A closed pipe leaves nobody to tell.
    let _ = if args.asker.json {
        json["running"] = (by == By::Gateway).into();
        print_json(&json, out)
    } else {
        show(&overview, by, Paint::of_terminal(), out)
    };
    if by == By::Gateway && !needs_a_person(&overview) { 0 } else { EXIT_FAILED }
}

/// The overview as it is now, typed and as it was sent.
pub fn asked(asker: &Asker) -> Result<(Overview, Value, By), Failed> {
    let (json, by) = asker.ask_whom(Method::GET, "/api/status", None)?;
    Ok((read(json.clone())?, json, by))
}

/// The overview that the gateway has sent.
pub fn read(json: Value) -> Result<Overview, Failed> {
    serde_json::from_value(json).map_err(|_| {
        Failed::unreachable("the gateway that runs is of another version: restart it, or use its own command")
    })
}

/// What may pass by itself needs nobody.
pub fn needs_a_person(overview: &Overview) -> bool {
    overview.troubles.iter().any(|trouble| trouble.urgency < Urgency::Watch)
}

/// The whole screen.
pub fn show(overview: &Overview, by: By, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    head(overview, by, paint, out)?;
    for trouble in &overview.troubles {
        tell_trouble(trouble, overview, paint, out)?;
    }
    writeln!(out)?;
    analyzers(overview, by, out)?;
    writeln!(out)?;
    destinations(overview, out)?;
    writeln!(out)?;
    machine(overview, out)
}

fn head(overview: &Overview, by: By, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let (gateway, version) = (paint.put(Tone::Head, &overview.gateway), &overview.version);
    if by == By::Store {
        let down = paint.put(Tone::Bad, "The gateway is not running.");
        writeln!(out, "{gateway}  {down} This is what its store knows.")?;
        return writeln!(
            out,
            "  -> Start it: systemctl start analyzer-gateway. `analyzer-gateway doctor` says what stops it."
        );
    }
    let since = age(overview.since, overview.at).replace(" ago", "");
    let away = overview.analyzers.iter().filter(|one| one.state.is_away()).count();
    let verdict = match (overview.troubles.len(), needs_a_person(overview)) {
        (0, _) if away == 0 => paint.put(Tone::Good, "all is well"),
        (0, _) => {
            let analyzers = count(overview.analyzers.len() as u64, "analyzer");
            paint.put(Tone::Good, &format!("no trouble; {away} of {analyzers} not there"))
        }
        (_, false) => paint.put(Tone::Warning, "nobody is needed just now"),
        (_, true) => {
            let urgent = overview.troubles.iter().filter(|trouble| trouble.urgency < Urgency::Watch).count();
            let verb = if urgent == 1 { "needs" } else { "need" };
            paint.put(Tone::Bad, &format!("{} {verb} a person", count(urgent as u64, "thing")))
        }
    };
    writeln!(out, "{gateway}  {verdict}; version {version}, up for {since}")
}

fn tell_trouble(trouble: &Trouble, overview: &Overview, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let (tone, word) = match trouble.urgency {
        Urgency::Now => (Tone::Bad, "NOW  "),
        Urgency::Today => (Tone::Warning, "TODAY"),
        Urgency::Watch => (Tone::Quiet, "WATCH"),
    };
    let since = trouble.since.map(|since| format!(" ({})", age(since, overview.at))).unwrap_or_default();
    let sentence = super::plain(&format!("{}: {}", trouble.subject, trouble.reason));
    writeln!(out, "{}  {sentence}{since}", paint.put(tone, word))?;
    writeln!(out, "       -> {}", super::plain(&trouble.next_step))
}

/// The table of analyzers. What a port does nobody knows while no gateway runs.
pub fn analyzers(overview: &Overview, by: By, out: &mut dyn Write) -> io::Result<()> {
    let row = |one: &gateway_core::overview::AnalyzerOverview| {
        let (state, test) = match by {
            By::Gateway => (one.state.as_str(), one.test_state.as_str()),
            By::Store => ("-", "-"),
        };
        let model = one.model.clone().unwrap_or_else(|| "-".to_owned());
        let last = age_or_dash(one.last_event_at, overview.at);
        let reason =
            if one.state == DeviceState::Ready || by == By::Store { String::new() } else { one.reason.clone() };
        vec![one.id.clone(), state.to_owned(), test.to_owned(), last, model, one.port.clone(), reason]
    };
    let rows: Vec<Vec<String>> = overview.analyzers.iter().map(row).collect();
    let heads = ["ANALYZER", "STATE", "TEST", "LAST HEARD", "MODEL", "PORT", "REASON"];
    table(out, &heads, &rows, "no analyzer is in the settings: nothing is read")
}

fn destinations(overview: &Overview, out: &mut dyn Write) -> io::Result<()> {
    let row = |one: &gateway_core::overview::DestinationOverview| {
        let oldest = if one.waiting == 0 { "-".to_owned() } else { span(one.oldest_unacked_seconds) };
        let numbers = [one.waiting, one.held, one.dead].map(|number| number.to_string());
        let mut row = vec![one.id.clone(), one.state.clone()];
        row.extend(numbers);
        row.extend([oldest, age_or_dash(one.last_delivered_at, overview.at), one.reason.clone().unwrap_or_default()]);
        row
    };
    let rows: Vec<Vec<String>> = overview.destinations.iter().map(row).collect();
    let heads = ["DESTINATION", "STATE", "WAITING", "HELD", "DEAD", "OLDEST", "DELIVERED", "REASON"];
    table(out, &heads, &rows, "no destination: events are stored and go nowhere")
}

fn machine(overview: &Overview, out: &mut dyn Write) -> io::Result<()> {
    let machine = &overview.machine;
    let mut disk = match (machine.disk_free_bytes, machine.disk_total_bytes) {
        (Some(free), Some(total)) => format!("{} free of {}", size(free), size(total)),
        _ => "not known".to_owned(),
    };
    if let Some(days) = machine.disk_days_left {
        disk.push_str(&format!(", full in {days:.0} days as it fills now"));
    }
    if let Some(wear) = machine.card_wear_percent {
        disk.push_str(&format!(", card worn {wear} %"));
    }
    writeln!(out, "clock     {} (`analyzer-gateway clock` says more)", overview.clock.as_str())?;
    writeln!(out, "disk      {disk}")?;
    let (head, bytes) = (overview.store.head, size(overview.store.bytes));
    writeln!(out, "store     newest event {head}, {bytes}")?;
    if let (Some(free), Some(total)) = (machine.memory_available_bytes, machine.memory_total_bytes) {
        writeln!(out, "memory    {} free of {}", size(free), size(total))?;
    }
    if let Some(celsius) = machine.cpu_celsius {
        let slowed = if machine.throttled.is_empty() { "" } else { ", slowed down: " };
        writeln!(out, "processor {celsius:.0} °C{slowed}{}", machine.throttled.join(", "))?;
    }
    let hash: String = overview.configuration.hash.chars().take(12).collect();
    let refused = if overview.configuration.refused.is_some() { "; the file is refused" } else { "" };
    writeln!(out, "settings  {}{refused}", if hash.is_empty() { "not known" } else { &hash })?;
    for (name, told) in the_box::told(&overview.appliance) {
        writeln!(out, "{name:<9} {}", super::plain(&told))?;
    }
    Ok(())
}
