//! A profile: a model of analyzer, out of a file of its own or out of the settings.

use super::text as rules_of_text;
use crate::config::Outside;
use crate::config::group::{Context, Field, Group, either, instead, is_id};
use crate::config::read::analyzers::{driver, line, refused_by_driver};
use crate::config::read::command;
use crate::config::tree::{Entry, Mistake, Node, Place, Value};
use crate::config::{Caller, Profile, Tried, file};
use crate::drivers;
use crate::reading::{Encoding, FieldPlace, Meaning, Pattern, Reading, is_loinc};
use crate::session::{CommitPoint, DriverOptions, Framing};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

const NO_PLACE: &str = "is no place in a message";
const HOW_A_PLACE_IS_WRITTEN: &str = "write the record's letters, a dot and the field's number: `O.4`, `P.3`, `PID.3.1`; for poct1a its name, `ORD.order_id`";
/// The driver that needs `text:`.
const TEXT: &str = "text";

/// Reads a profile's file, or tells every mistake in it.
pub fn profile(tree: &Node, outside: &dyn Outside) -> Result<Profile, Vec<Mistake>> {
    let context = Context { outside, mistakes: RefCell::default() };
    let read = of_group(&Group::open::<file::Profile>(&context, Some(tree), "", Place::Whole));
    let mut mistakes = context.mistakes.into_inner();
    mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    mistakes.dedup();
    read.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

/// What stands under an analyzer's `profile:`. `None`: it cannot be used, and why has been told.
pub(super) fn of_analyzer(analyzer: &Group<'_>) -> Option<Profile> {
    let field = analyzer.get("profile")?;
    if let Value::Group(_) = field.node.value {
        return of_group(&field.group::<file::Profile>());
    }
    let name = field.text()?;
    let outside = field.context.outside;
    let Some(written) = outside.profile(name) else {
        unknown(&field, name, &outside.profiles());
        return None;
    };
    match written.tree.and_then(|tree| profile(&tree, outside)) {
        Ok(profile) => Some(profile),
        Err(mistakes) => {
            for mistake in mistakes {
                let (line, column) = match mistake.place {
                    Place::At { line, column } => (line, column),
                    _ => (1, 1),
                };
                let place = Place::In { file: written.file.clone(), line, column };
                field.context.note(Mistake { place, ..mistake });
            }
            None
        }
    }
}

fn unknown(field: &Field<'_>, name: &str, known: &[String]) {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let suggestion = match instead(name, &known) {
        near if !near.contains(',') => near,
        _ => {
            "`analyzer-gateway profiles` lists them; or put a file of this name and `.yaml` into the folder `profiles` \
              beside the settings"
                .to_owned()
        }
    };
    let shown = if is_id(name) { format!("there is no profile `{name}`") } else { "names no profile".to_owned() };
    field.wrong(&shown, &suggestion);
}

fn of_group(group: &Group<'_>) -> Option<Profile> {
    if let Some(field) = group.get("version") {
        field.number(1..=1);
    }
    let maker = group.need("maker", "write who makes it, such as `maker: Sysmex`").and_then(|field| text(&field));
    let model = group.need("model", "write its name, such as `model: XP-100`").and_then(|field| text(&field));
    let driver = driver(group);
    let reading = reading(group, model.clone());
    let line = line(&group.group::<file::Line>("line"), Default::default());
    let callers = [("analyzer", Caller::Analyzer), ("gateway", Caller::Gateway)];
    let tried = [("sources", Tried::Sources), ("real-bytes", Tried::RealBytes)];
    let default = DriverOptions::default();
    let options = DriverOptions {
        commit: commit(group, default.commit),
        framing: framing(group, default.framing),
        reading: Arc::new(reading),
        text: rules_of_text::rules(group).map(Arc::new),
        command: command::read(group, default.command),
        ..default
    };
    command::belongs(group, driver.map(|driver| driver.name()), &options.command);
    let tcp = group.get("tcp").and_then(|field| field.choice(&callers));
    let tried = group.choice("tried", &tried, Tried::default());
    let (setup, sources) = (sentences(group, "setup"), sentences(group, "sources"));
    let driver = driver?;
    refuse_other_places(group, driver.name() == drivers::poct1a::NAME, &options.reading);
    let writes_text = driver.name() == TEXT;
    if group.get("text").is_some() != writes_text {
        match writes_text {
            true => group.wrong("text", "is missing", "write under `text:` how the analyzer writes"),
            false => group.wrong("text", "is only for `driver: text`", "remove this group, or write `driver: text`"),
        }
        return None;
    } else if writes_text && options.text.is_none() {
        return None;
    }
    if let Err(error) = drivers::converse(driver, &options) {
        refused_by_driver(group, &error);
    }
    let driver = driver.name().to_owned();
    Some(Profile { maker: maker?, model: model?, driver, line, tcp, options, tried, sources, setup })
}

pub(super) fn commit(group: &Group<'_>, default: CommitPoint) -> CommitPoint {
    group.choice("commit", &[("frame", CommitPoint::Frame), ("message", CommitPoint::Message)], default)
}

pub(super) fn framing(group: &Group<'_>, default: Framing) -> Framing {
    group.choice("framing", &[("e1381", Framing::E1381), ("none", Framing::None), ("soh", Framing::Soh)], default)
}

pub(super) fn encoding(group: &Group<'_>, default: Encoding) -> Encoding {
    group.choice("encoding", Encoding::WORDS, default)
}

fn reading(group: &Group<'_>, model: Option<String>) -> Reading {
    Reading {
        model,
        encoding: encoding(group, Encoding::default()),
        sample_id: places(group, "sample_id"),
        patient_id: places(group, "patient_id"),
        model_at: group.get("model_at").and_then(|field| place(&field)),
        serial_number: group.get("serial_number").and_then(|field| place(&field)),
        code: components(group, "code"),
        told_apart_by: components(group, "told_apart_by"),
        test_name: components(group, "test_name"),
        qc: group.pattern("qc"),
        qc_fields: qc_fields(group),
        calibration: group.pattern("calibration"),
        codes: codes(group),
    }
}

fn places(group: &Group<'_>, key: &'static str) -> Vec<FieldPlace> {
    group.list(key).iter().filter_map(place).collect()
}

/// Fields have names in POCT1-A and numbers everywhere else: the other kind would find nothing.
fn refuse_other_places(group: &Group<'_>, named: bool, reading: &Reading) {
    let suggestion = match named {
        true => "write the field's name, such as `ORD.order_id`",
        false => "write the field's number, such as `O.4` or `PID.3.1`",
    };
    let lists = [
        ("sample_id", reading.sample_id.as_slice()),
        ("patient_id", reading.patient_id.as_slice()),
        ("serial_number", reading.serial_number.as_slice()),
        ("model_at", reading.model_at.as_slice()),
    ];
    for (key, places) in lists {
        if places.iter().any(|place| place.is_named() != named) {
            group.wrong(key, "is no place in this driver's messages", suggestion);
        }
    }
    if reading.qc_fields.iter().any(|(place, _)| place.is_named() != named) {
        group.wrong("qc_fields", "has a place that is not in this driver's messages", suggestion);
    }
}

fn place(field: &Field<'_>) -> Option<FieldPlace> {
    let place = FieldPlace::parse(field.text()?);
    if place.is_none() {
        field.wrong(NO_PLACE, HOW_A_PLACE_IS_WRITTEN);
    }
    place
}

fn components(group: &Group<'_>, key: &'static str) -> Vec<u8> {
    let number = |item: &Field<'_>| item.number(1..=20).and_then(|number| u8::try_from(number).ok());
    group.list(key).iter().filter_map(number).collect()
}

fn qc_fields(group: &Group<'_>) -> Vec<(FieldPlace, Pattern)> {
    let Some(field) = group.get("qc_fields") else { return Vec::new() };
    let entry = |entry: &Entry| {
        let of = field.below(&entry.node, format!("{}.{}", field.path, entry.key));
        let place = FieldPlace::parse(&entry.key);
        if place.is_none() {
            let mistake = Mistake::new(entry.place.clone(), of.path.clone(), NO_PLACE, HOW_A_PLACE_IS_WRITTEN);
            field.context.note(mistake);
        }
        place.zip(of.pattern())
    };
    field.free_entries().iter().filter_map(entry).collect()
}

fn codes(group: &Group<'_>) -> BTreeMap<String, Meaning> {
    let Some(field) = group.get("codes") else { return BTreeMap::new() };
    let mut codes = BTreeMap::new();
    for entry in field.free_entries() {
        let path = format!("{}.{}", field.path, entry.key);
        let meaning = Group::open::<file::Meaning>(field.context, Some(&entry.node), &path, entry.place.clone());
        let any_unit = meaning.get("loinc").and_then(|field| loinc(&field));
        let text = |key| meaning.text(key).unwrap_or_default();
        let known = Meaning {
            name: text("name"),
            unit: text("unit"),
            loinc: any_unit.unwrap_or_default(),
            loinc_by_unit: loinc_by_unit(&meaning),
        };
        if codes.insert(entry.key.clone(), known).is_some() {
            meaning.wrong("", "this code is written twice", "remove one of the two");
        }
    }
    codes
}

fn loinc_by_unit(meaning: &Group<'_>) -> BTreeMap<String, String> {
    let Some(field) = meaning.get("loinc_by_unit") else { return BTreeMap::new() };
    let entry = |entry: &Entry| {
        let of = field.below(&entry.node, format!("{}.{}", field.path, entry.key));
        loinc(&of).map(|code| (entry.key.clone(), code))
    };
    field.free_entries().iter().filter_map(entry).collect()
}

fn loinc(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_loinc(text) {
        return Some(text.to_owned());
    }
    field.wrong("is no LOINC code: its check digit does not fit", "write it as loinc.org shows it, such as `6690-2`");
    None
}

fn sentences(group: &Group<'_>, key: &'static str) -> Vec<String> {
    group.list(key).iter().filter_map(text).collect()
}

fn text(field: &Field<'_>) -> Option<String> {
    field.text().map(str::to_owned)
}

/// Of what is written in an analyzer's item beside its profile: nothing that the profile alone can say.
pub(super) fn either_profile_or_driver(analyzer: &Group<'_>) {
    if analyzer.get("profile").is_some() && analyzer.get("driver").is_some() {
        analyzer.wrong("driver", "the profile says it already", "remove this line");
    } else if analyzer.get("profile").is_none() && analyzer.get("driver").is_none() {
        let names: Vec<String> = drivers::DRIVERS.iter().map(|driver| format!("driver: {}", driver.name())).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let suggestion = format!("write `profile:` and the model (`analyzer-gateway profiles`), or {}", either(&names));
        analyzer.need("driver", &suggestion);
    }
}
