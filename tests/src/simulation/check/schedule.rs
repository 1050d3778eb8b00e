//! Attempts come when the table says: never early, and not late while nothing stands in the way.

use super::super::endpoint::{Answer, Post};
use super::super::run::Outcome;
use super::super::scenario::WebhookPlan;
use super::Faults;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much later an attempt may come than the table says: others may hold the endpoint's places until they time out.
const LATE_MAX: Duration = Duration::from_secs(20);

pub(super) fn check(outcome: &Outcome, faults: &mut Faults) {
    for webhook in &outcome.scenario.webhooks {
        let mut by_event: BTreeMap<&str, Vec<&Post>> = BTreeMap::new();
        for post in &outcome.posts[webhook.id] {
            by_event.entry(post.event()).or_default().push(post);
        }
        for (event, posts) in by_event {
            let highest = posts.iter().map(|post| post.attempt()).max().unwrap_or(0);
            // A refused key is counted, but the endpoint's fault: it never uses up the event's table.
            let held = posts.iter().filter(|post| post.answer == Answer::Status(401)).count();
            if highest as usize > webhook.retry.len() + held {
                faults.add("schedule", format!("{}: attempt {highest} of event {event}", webhook.id));
            }
            // In a batch only the first event's attempt is told.
            for pair in posts.windows(2).filter(|_| webhook.batch == 1) {
                check_pair(outcome, webhook, pair[0], pair[1], faults);
            }
        }
    }
}

fn check_pair(outcome: &Outcome, webhook: &WebhookPlan, earlier: &Post, later: &Post, faults: &mut Faults) {
    let (one, two) = (earlier.attempt(), later.attempt());
    if two != one && two != one + 1 {
        return faults.add("schedule", format!("{}: attempt {one} was followed by attempt {two}", webhook.id));
    }
    let (Some(ended), true, true) = (earlier.ended, two == one + 1, earlier.answer.is_passing()) else { return };
    let table = webhook.retry.get(one as usize).copied().unwrap_or_default();
    let asked = if let Answer::Later(_, seconds) = earlier.answer { seconds } else { 0 };
    let wait = table.max(Duration::from_secs(asked));
    let waited = later.at.saturating_sub(ended);
    let about = || format!("{}: attempt {two} of {} came {waited:?} after {one}", webhook.id, later.event());
    if waited < wait {
        faults.add("schedule", format!("{}, too early: {wait:?} were due", about()));
    }
    let between = |span: &(Duration, Duration)| span.0 < later.at && span.1 > earlier.at;
    let scenario = &outcome.scenario;
    let hindered = outcome.outages.iter().any(between)
        || scenario.offline.as_ref().is_some_and(between)
        || scenario.disk.broken.as_ref().is_some_and(between);
    if !hindered && waited > wait + LATE_MAX {
        faults.add("schedule", format!("{}, too late: {wait:?} were due", about()));
    }
}
