//! A printout as a profile's `text:` describes it, made backwards: from each regular expression a line that it finds, from
//! fixed columns a record, from a table's headings rows. What cannot be made so is told, not approximated.

use super::model::{Measured, Model};
use gateway_core::reading::Pattern;
use gateway_core::text_rules::{Column, ColumnIs, GROUPS, Layout, Part, Patterns, Table, TextRules};
use gateway_core::time::Timestamp;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use std::collections::BTreeMap;

/// Where a profile names no way to write a time.
const TIME: &str = "%Y-%m-%d %H:%M:%S";
/// Signs that people print, the likeliest first.
const SIGNS: &str = "15A a.-:/xX#%+";

const NO_HEADINGS: &str =
    "the profile's `header:` finds no line of headings that can be made from its `columns:`: play a capture";

/// What stands in the groups of an expression.
type Given<'a> = BTreeMap<&'static str, &'a str>;

/// One message of the next sample.
pub fn printout(rules: &TextRules, model: &mut Model, at: Timestamp) -> Result<Vec<u8>, String> {
    if rules.checksum.is_some() {
        return Err("messages with a checksum are not made up: play a capture".to_owned());
    }
    let sample = model.sample();
    let patient = model.patient();
    let form = rules.times.first().map_or(TIME, String::as_str);
    let moment = written(form, at)?;
    let (date, time) = moment.split_once(' ').unwrap_or((&moment, ""));
    let of_test: Given<'_> = BTreeMap::from([
        ("sample", sample.as_str()),
        ("patient", patient.as_str()),
        ("at", moment.as_str()),
        ("date", date),
        ("time", time),
    ]);
    let measured = model.measure();
    let mut text = String::new();
    if let Some(first) = &rules.bounds.begin_line {
        line(first.regex().as_str(), &of_test, &mut text)?;
    }
    match &rules.layout {
        Layout::Patterns(patterns) => by_patterns(patterns, &of_test, &measured, &mut text)?,
        Layout::Columns(columns) => text.push_str(&by_columns(columns, &of_test, &measured)),
        Layout::Table(table) => by_table(table, &of_test, &measured, &mut text)?,
    }
    if let Some(last) = &rules.bounds.end_line {
        line(last.regex().as_str(), &of_test, &mut text)?;
    }
    let mut bytes: Vec<u8> = rules.bounds.begin.into_iter().collect();
    bytes.extend_from_slice(text.replace('\n', "\r\n").as_bytes());
    bytes.extend(rules.bounds.end);
    bytes.extend(std::iter::repeat_n(b'0', rules.bounds.trailer_bytes));
    Ok(bytes)
}

fn written(form: &str, at: Timestamp) -> Result<String, String> {
    let moment = jiff::Timestamp::from_millisecond(at.0).map_err(|error| error.to_string())?;
    let civil = moment.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    jiff::fmt::strtime::format(form, civil).map_err(|error| error.to_string())
}

/// The group that this part is called by.
fn name_of(part: Part) -> Option<&'static str> {
    GROUPS.iter().find(|(_, known)| *known == part).map(|(name, _)| *name)
}

fn of_result(measured: &Measured) -> Given<'_> {
    BTreeMap::from([
        ("code", measured.code.as_str()),
        ("name", measured.name.as_str()),
        ("value", measured.value.as_str()),
        ("unit", measured.unit.as_str()),
        ("reference", measured.reference.as_str()),
    ])
}

fn by_patterns(patterns: &Patterns, test: &Given<'_>, measured: &[Measured], text: &mut String) -> Result<(), String> {
    for expression in patterns.test_begins.iter().chain(&patterns.details) {
        line(expression.regex().as_str(), test, text)?;
    }
    let Some(result) = patterns.results.first() else { return Ok(()) };
    for measured in measured {
        line(result.regex().as_str(), &of_result(measured), text)?;
    }
    Ok(())
}

fn by_columns(columns: &[Column], test: &Given<'_>, measured: &[Measured]) -> String {
    let width = columns.iter().map(|column| column.from + column.width).max().unwrap_or(1);
    let mut signs = vec![' '; width - 1];
    for column in columns {
        let text = match &column.is {
            ColumnIs::Part(part) => name_of(*part).and_then(|name| test.get(name)).map(|text| (*text).to_owned()),
            ColumnIs::Result(code) => measured.iter().find(|measured| measured.code == *code).map(|measured| {
                let value: f64 = measured.value.parse().unwrap_or_default();
                let places = 10_f64.powi(i32::try_from(column.decimals).unwrap_or(0));
                format!("{:0width$.0}", value * places, width = column.width)
            }),
        };
        let cell = text.unwrap_or_default();
        for (place, sign) in cell.chars().take(column.width).enumerate() {
            signs[column.from - 1 + place] = sign;
        }
    }
    signs.into_iter().collect()
}

fn by_table(table: &Table, test: &Given<'_>, measured: &[Measured], text: &mut String) -> Result<(), String> {
    let delimiter = table.delimiter.to_string();
    let known = columns_in_order(table)?;
    let mut headings: Vec<String> = known.iter().map(|(heading, _)| heading.clone()).collect();
    let row = |groups: &Given<'_>| -> Vec<String> {
        let cell = |part: &Option<Part>| part.and_then(name_of).and_then(|name| groups.get(name)).copied();
        let quoted = |text: &str| if text.contains(table.delimiter) { format!("\"{text}\"") } else { text.to_owned() };
        known.iter().map(|(_, part)| quoted(cell(part).unwrap_or_default())).collect()
    };
    let rows = match &table.result_heading {
        Some(heading) => {
            let mut cells = row(test);
            for measured in measured {
                headings.push(found_by(heading.regex().as_str(), &of_result(measured))?);
                cells.push(measured.value.clone());
            }
            vec![cells]
        }
        None => measured
            .iter()
            .map(|measured| row(&test.clone().into_iter().chain(of_result(measured)).collect()))
            .collect(),
    };
    let headings = headings.join(&delimiter);
    if !is_header(table, &headings) {
        return Err(NO_HEADINGS.to_owned());
    }
    text.push_str(&headings);
    text.push('\n');
    for row in rows {
        text.push_str(&row.join(&delimiter));
        text.push('\n');
    }
    Ok(())
}

fn is_header(table: &Table, line: &str) -> bool {
    table.header.as_ref().is_none_or(|header| header.regex().is_match(line))
}

/// The columns in an order in which their headings are the profile's line of headings: those that the expression names
/// first, in its own order, and then the others. A heading that only the expression names becomes a column of its own.
fn columns_in_order(table: &Table) -> Result<Vec<(String, Option<Part>)>, String> {
    let known = || table.columns.iter().map(|(heading, part)| (heading.clone(), *part));
    let Some(header) = &table.header else { return Ok(known().collect()) };
    let line = found_by(header.regex().as_str(), &BTreeMap::new()).unwrap_or_default();
    let named: Vec<String> =
        line.split(table.delimiter).map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect();
    let mut ahead: Vec<(String, Option<Part>)> = Vec::new();
    for heading in named {
        let part = table.columns.get(&heading).copied().flatten();
        ahead.push((heading, part));
    }
    let rest = known().filter(|(heading, _)| !ahead.iter().any(|(other, _)| other == heading));
    let rest: Vec<(String, Option<Part>)> = rest.collect();
    // The headings of results, if they are more, come behind.
    let orders = [[ahead.clone(), rest.clone()].concat(), [rest, ahead].concat(), known().collect()];
    let is_found = |order: &Vec<(String, Option<Part>)>| {
        let headings: Vec<&str> = order.iter().map(|(heading, _)| heading.as_str()).collect();
        is_header(table, &headings.join(&table.delimiter.to_string()))
    };
    orders.into_iter().find(is_found).ok_or_else(|| NO_HEADINGS.to_owned())
}

/// A line that this expression finds.
fn line(expression: &str, given: &Given<'_>, text: &mut String) -> Result<(), String> {
    text.push_str(found_by(expression, given)?.trim_start_matches('\n'));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(())
}

/// A text that this expression finds, with what is given in its groups, if that fits there.
fn found_by(expression: &str, given: &Given<'_>) -> Result<String, String> {
    let hir = regex_syntax::parse(expression).map_err(|error| error.to_string())?;
    let said: Given<'_> =
        given.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (*name, *text)).collect();
    for given in [given, &said, &BTreeMap::new()] {
        let mut text = String::new();
        write(&hir, given, &mut text);
        if Pattern::new(expression).is_ok_and(|pattern| pattern.regex().is_match(&text)) {
            return Ok(text);
        }
    }
    Err("an expression of the profile is of a kind that no line can be made from: play a capture".to_owned())
}

fn write(hir: &Hir, given: &Given<'_>, text: &mut String) {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.push(sign(class)),
        HirKind::Look(Look::StartLF | Look::StartCRLF) if !text.is_empty() && !text.ends_with('\n') => text.push('\n'),
        HirKind::Look(_) => {}
        HirKind::Repetition(repetition) => {
            let tells = repetition.sub.properties().explicit_captures_len() > 0;
            let often = repetition.min.max(u32::from(tells && repetition.max != Some(0)));
            (0..often).for_each(|_| write(&repetition.sub, given, text));
        }
        HirKind::Capture(capture) => match capture.name.as_deref().and_then(|name| given.get(name)) {
            Some(word) => text.push_str(word),
            None => write(&capture.sub, given, text),
        },
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, given, text)),
        HirKind::Alternation(parts) => parts.iter().take(1).for_each(|part| write(part, given, text)),
    }
}

fn sign(class: &Class) -> char {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => {
            class.ranges().iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect()
        }
    };
    let holds = |sign: &char| ranges.iter().any(|(low, high)| low <= sign && sign <= high);
    SIGNS.chars().find(holds).or_else(|| ranges.first().map(|(low, _)| *low)).unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_becomes_a_line_that_it_finds() {
        let given = BTreeMap::from([("code", "K+"), ("value", "4.10"), ("unit", "mmol/L")]);
        for (expression, line) in [
            (r"(?m)^\s*(?P<code>\S+)\s+(?P<value>[0-9.]+)(?:\s+(?P<unit>\S+))?$", "K+ 4.10 mmol/L"),
            (r"(?m)^Sample (?:No|Id)\.\s+(?P<sample>\d+)", "Sample No. 1"),
            (r"^-{5,}$", "-----"),
        ] {
            assert_eq!(found_by(expression, &given).as_deref(), Ok(line), "{expression}");
        }
        assert_eq!(found_by(r"(?P<value>[a-z]{3})", &given).as_deref(), Ok("aaa"), "what does not fit is not written");
    }

    #[test]
    fn what_is_made_of_each_table_profile_is_read_by_it() {
        for name in crate::configuration::profile_names(None) {
            let profile = crate::configuration::profile(&name, None).expect("a profile");
            let Some(rules) = profile.options.text.clone() else { continue };
            if !matches!(rules.layout, Layout::Table(_)) {
                continue;
            }
            let driver = gateway_core::drivers::driver(&profile.driver).expect("a driver");
            let mut model = Model::new(&profile, vec!["S-17".to_owned()], 1);
            let printed = printout(&rules, &mut model, Timestamp(1_795_291_200_000)).expect("a printout");
            let now = gateway_core::time::Now::default();
            let read = gateway_core::replay::reread(driver, &profile.options, &printed, true, now).expect("a session");
            let text = String::from_utf8_lossy(&printed);
            assert!(!read.events.is_empty(), "{name}: {text}");
            for event in read.events {
                assert_ne!(event.name, gateway_core::event::EventName::MessageRejected, "{name}: {text}");
                assert_eq!(event.test.expect("a test").sample_id.expect("an id").expose(), "S-17", "{name}: {text}");
            }
        }
    }

    #[test]
    fn headings_stand_as_the_profile_looks_for_them_or_it_is_told() {
        let table = |header: &str| Table {
            delimiter: ';',
            header: Some(Pattern::new(header).expect("an expression")),
            columns: [("Mark", Part::Flag), ("Result", Part::Value), ("Sample", Part::Sample), ("Test", Part::Code)]
                .map(|(heading, part)| (heading.to_owned(), Some(part)))
                .into(),
            result_heading: None,
            flag_heading: None,
        };
        for (header, expected) in [
            ("^Sample;", "Sample;Mark;Result;Test"),
            ("^Sample;Test;", "Sample;Test;Mark;Result"),
            ("^Number;Sample", "Number;Sample;Mark;Result;Test"),
            (";Result$", "Mark;Sample;Test;Result"),
        ] {
            let columns = columns_in_order(&table(header)).expect("an order");
            let headings: Vec<&str> = columns.iter().map(|(heading, _)| heading.as_str()).collect();
            assert_eq!(headings.join(";"), expected, "{header}");
        }
        assert!(columns_in_order(&table("^Mark;Test;Mark$")).is_err());
    }
}
