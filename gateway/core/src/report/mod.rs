//! A test as one page for people: HTML that prints well on A4 and on Letter, with the curves inside.
//!
//! Invariant: no text reaches the page unescaped, nothing in it is loaded from elsewhere, and nothing in it can run.

pub mod words;

use crate::curve::svg::svg;
use crate::curve::{Curve, Heading, Theme};
use crate::event::{Event, EventName, Personal, ResultValue, Test};
use crate::markup::escaped;
use crate::registration::Registration;
use crate::time::{ClockQuality, Timestamp};
use std::fmt::Write;
use words::{Language, Words};

const STYLE: &str = include_str!("style.css");

/// What a page may do, for the header `content-security-policy`: show itself with its own styles.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-modals";

/// Everything that a report is made of.
pub struct Report<'a> {
    pub gateway: &'a str,
    /// The events of the test, oldest first.
    pub history: &'a [Event],
    pub curve: Option<&'a Curve>,
    /// The registration that its newest results belong to.
    pub registration: Option<&'a Registration>,
    pub made_at: Timestamp,
    /// The id of the client that asked.
    pub made_by: &'a str,
}

/// The page. `None`: the history holds no test.
pub fn html(report: &Report<'_>, language: Language) -> Option<String> {
    let words = language.words();
    let newest = report.history.iter().rev().find(|event| event.kind.test.is_some())?;
    let test = newest.kind.test.as_ref()?;
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n<h1>{}</h1>\n",
        words.tag, words.report, words.report
    );
    out.push_str(&marks(newest, test, words));
    let _ = write!(
        out,
        "<div class=\"facts\">\n<section>\n<h2>{}</h2>\n{}</section>\n<section>\n<h2>{}</h2>\n{}</section>\n</div>\n",
        words.sample,
        list(&sample_facts(report, newest, test, words)),
        words.test,
        list(&test_facts(report, newest, test, words)),
    );
    out.push_str(&results(test, words));
    if let Some(curve) = report.curve {
        let _ = writeln!(out, "<section>\n<h2>{}</h2>", words.curves);
        if !curve.gaps.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", words.gaps_told);
        }
        out.push_str(&svg(curve, &Heading::default(), words, Theme::Auto));
        out.push_str("</section>\n");
    }
    out.push_str(&versions(report.history, words));
    let (made_at, made_by) = (moment(report.made_at), escaped(report.made_by));
    let (by, gateway) = (words.by, escaped(report.gateway));
    let _ = write!(
        out,
        "</main>\n<footer>{} {gateway} · {} {made_at} {by} {made_by} · {} {}</footer>\n</body>\n</html>\n",
        words.gateway, words.printed, words.test_id, test.id
    );
    Some(out)
}

fn marks(newest: &Event, test: &Test, words: &Words) -> String {
    let marks = [
        (test.qc, words.mark_qc),
        (test.calibration, words.mark_calibration),
        (newest.kind.name != EventName::TestFinished, words.mark_partial),
        (test.version > 1, words.mark_corrected),
        (newest.erased, words.mark_erased),
    ];
    let marks: String =
        marks.iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| format!("<li>{mark}</li>\n")).collect();
    if marks.is_empty() { marks } else { format!("<ul class=\"marks\">\n{marks}</ul>\n") }
}

type Fact = (&'static str, String);

/// A definition list of the facts that are known.
fn list(facts: &[Fact]) -> String {
    let known = facts.iter().filter(|(_, text)| !text.is_empty());
    let rows: String = known.map(|(name, text)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(text))).collect();
    if rows.is_empty() {
        return "<p>–</p>\n".to_owned();
    }
    format!("<dl>\n{rows}</dl>\n")
}

fn sample_facts(report: &Report<'_>, newest: &Event, test: &Test, words: &Words) -> Vec<Fact> {
    let personal = |text: &Option<Personal>| text.as_ref().map(|text| text.expose().to_owned()).unwrap_or_default();
    let mut facts = vec![(words.sample_id, personal(&test.sample_id))];
    if test.instrument_sample_id != test.sample_id {
        facts.push((words.instrument_sample_id, personal(&test.instrument_sample_id)));
    }
    facts.push((words.patient_id, personal(&test.patient_id)));
    let Some(registration) = report.registration else { return facts };
    if let Some(patient) = &registration.patient {
        let name = [&patient.given_name, &patient.family_name].map(personal).join(" ").trim().to_owned();
        facts.push((words.patient, name));
        facts.push((words.birth_date, personal(&patient.birth_date)));
    }
    facts.push((words.registration, registration.id.clone()));
    facts.push((words.lab_id, registration.lab_id.clone().unwrap_or_default()));
    // Verified are the registration's newest results; a report of earlier ones does not borrow that.
    let is_newest = registration.result == Some(newest.seq.0);
    let verified = registration.verified_at.filter(|_| is_newest).map(|at| {
        let by = registration.verified_by.as_deref().unwrap_or_default();
        format!("{} {} {by}", moment(at), words.by)
    });
    facts.push((words.verified, verified.unwrap_or_else(|| words.not_verified.to_owned())));
    facts
}

fn test_facts(report: &Report<'_>, newest: &Event, test: &Test, words: &Words) -> Vec<Fact> {
    let device = report.history.iter().rev().find_map(|event| event.kind.device.as_ref());
    let told = |text: Option<&String>| text.cloned().unwrap_or_default();
    let local =
        |time: Option<&String>| time.map_or(String::new(), |time| format!("{time} ({})", words.by_analyzer_clock));
    let clock = match newest.clock {
        ClockQuality::Unset => words.clock_words[0],
        ClockQuality::Unsynchronized => words.clock_words[1],
        ClockQuality::Synchronized => words.clock_words[2],
        ClockQuality::Corrected => words.clock_words[3],
    };
    vec![
        (words.analyzer, newest.analyzer.0.clone()),
        (words.device, told(device.and_then(|device| device.model.as_ref()))),
        (words.serial_number, told(device.and_then(|device| device.sn.as_ref()))),
        (words.started, local(test.started_at.as_ref())),
        (words.finished, local(test.finished_at.as_ref())),
        (words.received, moment(newest.received_at)),
        (words.clock, clock.to_owned()),
        (words.version, test.version.to_string()),
    ]
}

fn results(test: &Test, words: &Words) -> String {
    let mut out = format!("<section>\n<h2>{}</h2>\n", words.results);
    if test.results.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", words.no_results);
    } else {
        let _ = writeln!(
            out,
            "<table>\n<thead><tr><th scope=\"col\">{}</th><th scope=\"col\" class=\"number\">{}</th><th scope=\"col\">{}</th>\
             <th scope=\"col\">{}</th><th scope=\"col\">{}</th><th scope=\"col\">{}</th></tr></thead>\n<tbody>",
            words.test, words.value, words.unit, words.reference, words.flags, words.status
        );
        for result in &test.results {
            out.push_str(&row(result, test, words));
        }
        out.push_str("</tbody>\n</table>\n");
    }
    for comment in &test.comments {
        let _ = writeln!(out, "<p>{}</p>", escaped(comment.expose()));
    }
    out.push_str("</section>\n");
    out
}

fn row(result: &ResultValue, test: &Test, words: &Words) -> String {
    let name = match (result.name.as_str(), result.run.as_deref()) {
        ("", None) => result.code.clone(),
        ("", Some(run)) => format!("{} ({run})", result.code),
        (name, None) => format!("{name} ({})", result.code),
        (name, Some(run)) => format!("{name} ({} {run})", result.code),
    };
    let mut flags = result.flags.join(" ");
    if test.corrected.contains(&result.code) {
        flags = format!("{flags} {}", words.corrected).trim().to_owned();
    }
    let flagged = result.flags.iter().any(|flag| !matches!(flag.as_str(), "" | "N"));
    let value = match &result.omitted {
        Some(_) => words.picture_left_out,
        None => result.value.expose(),
    };
    let mut row = format!(
        "<tr{}><th scope=\"row\">{}</th><td class=\"number\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        if flagged { " class=\"flagged\"" } else { "" },
        escaped(&name),
        escaped(value),
        escaped(&result.unit),
        escaped(&result.reference),
        escaped(&flags),
        escaped(&result.status),
    );
    if !result.comments.is_empty() {
        let comments: Vec<String> = result.comments.iter().map(|comment| escaped(comment.expose())).collect();
        let _ = writeln!(
            row,
            "<tr><td colspan=\"6\" class=\"soft\">{}: {}</td></tr>",
            words.comments,
            comments.join("<br>")
        );
    }
    row
}

/// What was said before, where anything was corrected.
fn versions(history: &[Event], words: &Words) -> String {
    let stated = history.iter().filter(|event| event.kind.name == EventName::TestFinished);
    let stated: Vec<(&Event, &Test)> = stated.filter_map(|event| Some((event, event.kind.test.as_ref()?))).collect();
    if stated.len() < 2 {
        return String::new();
    }
    let row = |(event, test): &(&Event, &Test)| {
        let what = match test.corrected.as_slice() {
            [] if test.version == 1 => words.first_version.to_owned(),
            codes => format!("{} {}", words.corrected, codes.join(", ")).trim().to_owned(),
        };
        format!("<li>{} {}: {} – {}</li>\n", words.version, test.version, moment(event.received_at), escaped(&what))
    };
    let rows: String = stated.iter().map(row).collect();
    format!("<section>\n<h2>{}</h2>\n<ul>\n{rows}</ul>\n</section>\n", words.versions)
}

/// `2026-11-21 20:14:03 UTC`
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests;
