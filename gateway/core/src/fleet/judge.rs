//! Whether a gateway of a fleet needs a person, and why: what it says itself, and what only an onlooker can see.

use super::known::Known;
use super::{Rules, Standing, Usual};
use crate::overview::DeviceState;
use crate::time::{ClockQuality, Mono, Now, Timestamp};
use crate::trouble::{Trouble, Urgency};
use std::time::Duration;

/// A box that another one has pushed out is back sooner.
const TURN_MS_MAX: i64 = 30_000;

pub(super) fn standing(
    id: &str,
    known: &Known,
    rules: &Rules,
    usual: &Usual,
    listening: Option<Mono>,
    now: Now,
) -> Standing {
    let mut troubles = Vec::new();
    troubles.extend(absence(known, now).or_else(|| silence(known, rules, listening, now)));
    troubles.extend(clock(known, rules, usual));
    troubles.extend(two_boxes(known, now));
    troubles.extend(unreadable(known));
    troubles.extend(known.said.iter().cloned());
    troubles.extend(difference(known, usual));
    // Among equals the onlooker's come first: a gateway that is gone may still call something urgent.
    troubles.sort_by_key(|trouble| trouble.urgency);
    let first = troubles.first();
    Standing {
        gateway: id.to_owned(),
        urgency: first.map(|trouble| trouble.urgency),
        since: first.and_then(|trouble| trouble.since),
        state: known.state,
        version: known.version.clone(),
        configuration: known.configuration.clone(),
        last_heard: known.at,
        clock_off_seconds: known.off_ms.map(|off| off / 1000),
        troubles,
    }
}

fn seen(code: &str, urgency: Urgency, since: Option<Timestamp>, reason: &str, next_step: &str) -> Trouble {
    Trouble { since, ..Trouble::new(code, urgency, "gateway", reason, next_step) }
}

fn absence(known: &Known, now: Now) -> Option<Trouble> {
    let since = Some(known.state_since);
    match known.state? {
        // Pushed out by its twin, it is back in a moment.
        DeviceState::Lost if takes_turns(known, now) && !lasts(known.state_since, now) => None,
        DeviceState::Lost => {
            let next = "Check the box's power and network; its analyzers keep their results meanwhile.";
            Some(seen("gone", Urgency::Now, since, "it vanished: power, network or a crash", next))
        }
        DeviceState::Disconnected => {
            let next = "Start it again, or clear its topics if it was retired.";
            Some(seen("stopped", Urgency::Today, since, "it was stopped", next))
        }
        _ => None,
    }
}

fn silence(known: &Known, rules: &Rules, listening: Option<Mono>, now: Now) -> Option<Trouble> {
    let listening = listening?;
    let quiet = now.mono.since(known.heard.max(listening));
    let next = "Check the box and its network; the broker still counts it as connected.";
    if quiet > rules.silence_max() {
        let quiet_ms = i64::try_from(quiet.as_millis()).unwrap_or(i64::MAX);
        let since = Some(now.wall.shifted(-quiet_ms));
        let reason = match known.at {
            Some(at) => format!("it has said nothing for {}; the last was at {at} by its clock", span(quiet)),
            None => format!("it has said nothing for {}", span(quiet)),
        };
        return Some(seen("silent", Urgency::Now, since, &reason, next));
    }
    // Not heard yet, but what the broker kept is old.
    let at = known.at.filter(|_| !known.heard_live)?;
    let age = Duration::from_millis(u64::try_from(now.wall.0.saturating_sub(at.0)).unwrap_or(0));
    if age <= rules.silence_max() {
        return None;
    }
    Some(match known.clock {
        ClockQuality::Synchronized | ClockQuality::Corrected => {
            seen("silent", Urgency::Now, Some(at), &format!("it last told how it is {} ago", span(age)), next)
        }
        _ => {
            let reason = format!("its last summary is dated {} ago: it is silent, or its clock is wrong", span(age));
            seen("silent", Urgency::Today, Some(at), &reason, next)
        }
    })
}

fn clock(known: &Known, rules: &Rules, usual: &Usual) -> Option<Trouble> {
    let off = known.off_ms.filter(|_| known.is_clock_off(rules))?;
    let side = if off > 0 { "ahead of" } else { "behind" };
    let far = span(Duration::from_millis(off.unsigned_abs()));
    let (urgency, whose) = match usual.own_clock_doubtful {
        true => (Urgency::Watch, "Check this machine's clock: most gateways disagree with it."),
        false => (Urgency::Today, "Check that the box reaches a time server; its results carry this time."),
    };
    let reason = format!("its clock is {far} {side} this machine's");
    Some(seen("clock_wrong", urgency, Some(known.off_since), &reason, whose))
}

fn two_boxes(known: &Known, now: Now) -> Option<Trouble> {
    let (_, since) = known.taking_turns?;
    let next = "Give one of the two boxes another gateway.id.";
    takes_turns(known, now)
        .then(|| seen("two_boxes", Urgency::Today, Some(since), "two boxes use this id and push each other out", next))
}

fn takes_turns(known: &Known, now: Now) -> bool {
    known.taking_turns.is_some_and(|(until, _)| now.mono < until)
}

/// Longer than a box takes to connect again.
fn lasts(since: Timestamp, now: Now) -> bool {
    now.wall.0.saturating_sub(since.0) > TURN_MS_MAX
}

fn unreadable(known: &Known) -> Option<Trouble> {
    let (since, reason) = known.unreadable?;
    let next = "Check who else publishes under this id; a much newer gateway needs a newer watch.";
    Some(seen("unreadable", Urgency::Today, Some(since), reason, next))
}

fn difference(known: &Known, usual: &Usual) -> Vec<Trouble> {
    let differs = |own: &Option<String>, usual: &Option<String>| match (own, usual) {
        (Some(own), Some(usual)) => own != usual,
        _ => false,
    };
    let mut found = Vec::new();
    if differs(&known.version, &usual.version) {
        let reason = format!("it runs version {}, most run another", known.version.as_deref().unwrap_or_default());
        found.push(seen("version_differs", Urgency::Watch, None, &reason, "Update it when it suits."));
    }
    if differs(&known.configuration, &usual.configuration) {
        let reason = "its settings differ from those of most";
        found.push(seen("settings_differ", Urgency::Watch, None, reason, "Compare its settings with another box."));
    }
    found
}

/// `40 s`, `12 min`, `3 h`, `5 days`.
pub(super) fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
