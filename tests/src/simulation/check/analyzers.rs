//! The analyzers' side: what got its ACK is stored once and whole, and what was broken off is told.

use super::super::run::Outcome;
use super::super::scenario::Says;
use super::{Database, Faults, Stored, captures_hold};
use gateway_daemon::simulated::astm::{Message, sample_key};
use gateway_daemon::simulated::ledger::key_of;
use std::collections::BTreeMap;

pub(super) fn check(outcome: &Outcome, database: &Database, faults: &mut Faults) {
    for plan in &outcome.scenario.analyzers {
        let own: Vec<&Stored> = database.events.iter().filter(|event| event.analyzer == plan.id).collect();
        match &plan.says {
            Says::Astm { script, .. } => {
                let messages: Vec<&Message> = script.iter().map(|(_, message)| message).collect();
                messages_are_stored_once(outcome, plan.id, &messages, &own, faults);
                answers_were_true(outcome, plan.id, database, &own, faults);
            }
            Says::Run { .. } => run_is_whole(outcome, plan.id, &own, faults),
        }
        if outcome.finished && database.open_captures.get(plan.id).is_some_and(|open| *open > 0) {
            faults.add("interrupted", format!("{}: captures of a message that was never concluded", plan.id));
        }
    }
}

fn messages_are_stored_once(
    outcome: &Outcome,
    analyzer: &str,
    messages: &[&Message],
    own: &[&Stored],
    faults: &mut Faults,
) {
    let notes = &outcome.analyzers[analyzer];
    for message in messages {
        let key = sample_key(&message.id);
        let is_it = |event: &&&Stored| event.name == "TEST_FINISHED" && event.body["test"]["sample_id"] == message.id;
        let found: Vec<&&Stored> = own.iter().filter(is_it).collect();
        if found.len() > 1 {
            faults.add("stored once", format!("{analyzer}: {} is stored {} times", message.id, found.len()));
        }
        match found.first() {
            None if notes.acknowledged.contains(&key) => {
                faults
                    .add("acknowledged is stored", format!("{analyzer}: {} had its last ACK and is lost", message.id));
            }
            None => {}
            Some(event) => {
                let (sent, stored) = (sent_results(message), stored_results(event));
                if sent != stored {
                    let what = format!("{analyzer}: {} was sent with {sent:?}, stored with {stored:?}", message.id);
                    faults.add("stored as sent", what);
                }
            }
        }
    }
    let known = |event: &&Stored| messages.iter().any(|message| event.body["test"]["sample_id"] == message.id);
    let invented = own.iter().filter(|event| event.name == "TEST_FINISHED" && !known(event)).count();
    if invented > 0 {
        faults.add("stored as sent", format!("{analyzer}: {invented} results that nobody sent"));
    }
}

/// Code and value of each R record.
fn sent_results(message: &Message) -> Vec<(String, String)> {
    let records = message.records.iter().map(|record| String::from_utf8_lossy(record).into_owned());
    let results = records.filter(|record| record.starts_with("R|"));
    results
        .map(|record| {
            let fields: Vec<&str> = record.split('|').collect();
            (fields[2].rsplit('^').next().unwrap_or_default().to_owned(), fields[3].to_owned())
        })
        .collect()
}

fn stored_results(event: &Stored) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let results = event.body["test"]["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| (text(&result["code"]), text(&result["value"]))).collect()
}

fn answers_were_true(outcome: &Outcome, analyzer: &str, database: &Database, own: &[&Stored], faults: &mut Faults) {
    let notes = &outcome.analyzers[analyzer];
    if notes.accepted_damaged > 0 {
        let what = format!("{analyzer}: {} damaged frames were acknowledged", notes.accepted_damaged);
        faults.add("damaged is refused", what);
    }
    for frame in &notes.acknowledged_unstored {
        faults.add("stored before ACK", format!("{analyzer}: frame {frame} had its ACK before it was stored"));
    }
    for frame in &notes.frames {
        if !captures_hold(&database.connection, analyzer, frame) {
            let what = format!("{analyzer}: an acknowledged frame of {} bytes is in no capture", frame.len());
            faults.add("raw is kept", what);
        }
    }
    let interrupted = |event: &&&Stored| event.body["rejection"]["code"] == "interrupted";
    let told = own.iter().filter(interrupted).count();
    if told < notes.interrupted {
        let what = format!("{analyzer}: {} messages were broken off, {told} of them are told", notes.interrupted);
        faults.add("interrupted is told", what);
    }
}

/// The deltas of a run follow each other without hole and overlap; without any trouble every line is there.
fn run_is_whole(outcome: &Outcome, analyzer: &str, own: &[&Stored], faults: &mut Faults) {
    let notes = &outcome.analyzers[analyzer];
    let mut reached: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    for event in own {
        if let Some(key) = key_of(&event.body) {
            *keys.entry(key).or_default() += 1;
        }
        let data = &event.body["test"]["data"];
        if data.is_null() {
            continue;
        }
        let so_far = reached.entry(event.lane.clone()).or_default();
        for (place, (from, list)) in
            [("samples_from", "samples"), ("temperatures_from", "temperatureSamples")].iter().enumerate()
        {
            let count = data[list].as_array().map_or(0, |list| list.len() as u64);
            if data[from].as_u64() != Some(so_far[place]) {
                let what = format!(
                    "{analyzer}: event {} starts {list} at {}, not at {}",
                    event.seq, data[from], so_far[place]
                );
                faults.add("run is whole", what);
            }
            so_far[place] += count;
        }
    }
    for (key, count) in &keys {
        if *count > 1 {
            faults.add("stored once", format!("{analyzer}: {key} is stored {count} times"));
        }
    }
    let calm = outcome.outages.is_empty()
        && outcome.scenario.analyzers.iter().all(|plan| plan.away.is_empty())
        && outcome.scenario.disk.failing == 0;
    for key in notes.acknowledged.iter().filter(|key| calm && !keys.contains_key(*key)) {
        faults.add("acknowledged is stored", format!("{analyzer}: {key} was heard and is lost"));
    }
}
