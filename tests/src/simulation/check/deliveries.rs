//! The destinations' side: everything stored arrives or is dead with a reason, under one id, in order, counted without holes.

use super::super::run::Outcome;
use super::{Database, Destination, Faults, Stored};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One coming of an event at a destination.
struct Heard<'a> {
    event: String,
    body: Cow<'a, [u8]>,
    ordinal: Option<i64>,
    accepted: bool,
}

pub(super) fn check(outcome: &Outcome, database: &Database, faults: &mut Faults) {
    check_one(outcome, database, "mqtt", &heard_by_broker(outcome), faults);
    for (id, posts) in &outcome.posts {
        let mut heard = Vec::new();
        for post in posts {
            let signed = post.headers.get("webhook-id").map(String::as_str);
            let events = post.events();
            if events.len() == 1 && signed != Some(post.event()) {
                faults.add("one id", format!("{id}: event {} was signed as {signed:?}", post.event()));
            }
            let envelope: Value = serde_json::from_slice(&post.body).unwrap_or(Value::Null);
            if envelope["specversion"].is_string() && envelope["id"] != post.event() {
                faults.add("one id", format!("{id}: event {} came as {}", post.event(), envelope["id"]));
            }
            if events.first().is_none_or(|(first, _)| first != post.event()) {
                faults.add("one id", format!("{id}: a request of {} events names {}", events.len(), post.event()));
            }
            let ordinals = post.ordinals();
            if ordinals.len() != events.len() {
                let what = format!("{id}: {} events came with the ordinals {ordinals:?}", events.len());
                faults.add("ordinals", what);
            }
            for (place, (event, body)) in events.into_iter().enumerate() {
                // Alone or in a batch, an event is the same JSON.
                let body = match serde_json::from_slice::<Value>(&body) {
                    Ok(json) if json["specversion"].is_string() => json.to_string().into_bytes(),
                    _ => body,
                };
                heard.push(Heard {
                    event,
                    body: Cow::Owned(body),
                    ordinal: ordinals.get(place).copied().map(i64::from),
                    accepted: post.answer.accepts(),
                });
            }
        }
        check_one(outcome, database, &format!("webhook:{id}"), &heard, faults);
    }
    if outcome.rows_max > outcome.scenario.ahead_events_max as i64 {
        let what = format!("{} rows, and {} are allowed", outcome.rows_max, outcome.scenario.ahead_events_max);
        faults.add("rows are bounded", what);
    }
}

fn heard_by_broker(outcome: &Outcome) -> Vec<Heard<'_>> {
    let event = |payload: &[u8]| {
        let envelope: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
        envelope["id"].as_str().unwrap_or_default().to_owned()
    };
    let heard = outcome.accepted.iter().map(|message| Heard {
        event: event(&message.payload),
        body: Cow::Borrowed(&message.payload),
        ordinal: None,
        accepted: true,
    });
    heard.collect()
}

fn check_one(outcome: &Outcome, database: &Database, name: &str, heard: &[Heard<'_>], faults: &mut Faults) {
    let belongs = |event: &&Stored| outcome.scenario.belongs(name, event);
    let members: Vec<&Stored> = database.events.iter().filter(belongs).collect();
    let Some(destination) = database.destinations.get(name) else {
        return faults.add("progress", format!("{name} is not in the database"));
    };
    arrives_or_is_dead(outcome, name, &members, destination, heard, faults);
    one_id_and_one_body(name, &members, heard, faults);
    order_is_kept(name, &members, heard, faults);
    ordinals_are_dense(name, &members, destination, heard, faults);
}

fn arrives_or_is_dead(
    outcome: &Outcome,
    name: &str,
    members: &[&Stored],
    destination: &Destination,
    heard: &[Heard<'_>],
    faults: &mut Faults,
) {
    for event in members {
        let row = destination.rows.get(&event.seq);
        let comings = heard.iter().filter(|heard| heard.event == event.id);
        let (accepted, refused): (Vec<_>, Vec<_>) = comings.partition(|heard| heard.accepted);
        let about = || format!("{name}: event {} ({} of {})", event.seq, event.name, event.analyzer);
        match row {
            Some(row) if row.state == "dead" => {
                let counted = usize::try_from(row.attempts).unwrap_or(0) <= refused.len() + accepted.len();
                let tried =
                    matches!(row.reason.as_deref(), Some("too_large" | "cannot_render" | "data_evicted")) || counted;
                if row.reason.is_none() || !tried {
                    let what = format!("{} is dead after {} attempts for {:?}", about(), row.attempts, row.reason);
                    faults.add("dead has a reason", what);
                }
            }
            Some(_) if outcome.finished => faults.add("arrives or is dead", format!("{} still has a row", about())),
            None if accepted.is_empty() && destination.has_passed(event.seq) => {
                faults.add("arrives or is dead", format!("{} counts as delivered and never arrived", about()));
            }
            None if accepted.is_empty() && outcome.finished => {
                faults.add("arrives or is dead", format!("{} never arrived", about()));
            }
            _ => {}
        }
    }
}

fn one_id_and_one_body(name: &str, members: &[&Stored], heard: &[Heard<'_>], faults: &mut Faults) {
    let mut first: BTreeMap<&str, &Heard<'_>> = BTreeMap::new();
    for coming in heard {
        if !members.iter().any(|event| event.id == coming.event) {
            faults.add("nothing is invented", format!("{name} heard of {}, which is not stored for it", coming.event));
        }
        let before = first.entry(&coming.event).or_insert(coming);
        if before.body != coming.body {
            let texts = [&before.body, &coming.body].map(|body| String::from_utf8_lossy(body).into_owned());
            let what = format!("{name}: event {} came with two bodies:\n  {}\n  {}", coming.event, texts[0], texts[1]);
            faults.add("one body", what);
        }
    }
}

/// First acceptances follow the log: at the broker all of them, at a webhook those of a lane.
fn order_is_kept(name: &str, members: &[&Stored], heard: &[Heard<'_>], faults: &mut Faults) {
    let mut newest: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for event in members {
        let lane = if name == "mqtt" { "the log" } else { event.lane.as_str() };
        let accepted = heard.iter().position(|heard| heard.event == event.id && heard.accepted);
        // One that was never accepted may be overtaken once it is dead, which it is after its last attempt.
        let place = accepted.or_else(|| heard.iter().rposition(|heard| heard.event == event.id));
        let Some(place) = place else { continue };
        match newest.get(lane) {
            Some((before, seq)) if *before > place && accepted.is_some() => {
                let what = format!("{name}: in {lane}, event {} overtook event {seq}", event.seq);
                faults.add("order in lanes", what);
            }
            _ => {
                newest.insert(lane, (place, event.seq));
            }
        }
    }
}

fn ordinals_are_dense(
    name: &str,
    members: &[&Stored],
    destination: &Destination,
    heard: &[Heard<'_>],
    faults: &mut Faults,
) {
    let mut counted = 0;
    for (index, event) in members.iter().enumerate() {
        let expected = i64::try_from(index).unwrap_or(i64::MAX) + 1;
        counted += i64::from(event.seq <= destination.cursor);
        let told = heard.iter().filter(|heard| heard.event == event.id).filter_map(|heard| heard.ordinal);
        let kept = destination.rows.get(&event.seq).map(|row| row.ordinal);
        for ordinal in told.chain(kept).filter(|ordinal| *ordinal != expected) {
            let what = format!("{name}: event {} has ordinal {ordinal} and is number {expected}", event.seq);
            faults.add("ordinals", what);
        }
    }
    if let Some((_, cursor, ordinal)) = destination.live {
        let passed = members.iter().filter(|event| event.seq <= cursor).count() as i64;
        if ordinal != passed {
            faults.add("ordinals", format!("{name}: {ordinal} ordinals up to the live cursor for {passed} events"));
        }
    }
    if destination.ordinal != counted {
        let what = format!("{name}: {} ordinals are given out for {counted} events", destination.ordinal);
        faults.add("ordinals", what);
    }
    if destination.rows.values().any(|row| row.redriven) {
        faults.add("ordinals", format!("{name}: a row says that a person sent it again"));
    }
}
