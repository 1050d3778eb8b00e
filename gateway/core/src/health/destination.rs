//! What is known of one destination.

use super::Standing;
use crate::delivery::{Reason, ReasonCode};
use crate::overview::DestinationOverview;
use crate::time::{Now, Timestamp};
use crate::trouble::{Trouble, Urgency};

/// A destination that is not in the settings any more, and for which events wait: a change of its id looks like that.
pub(super) fn left_behind(id: &str, waiting: u64) -> Trouble {
    let events = if waiting == 1 { "1 event waits".to_owned() } else { format!("{waiting} events wait") };
    let reason = format!("{events} for {id}, which is not in the settings any more");
    let next = "Write it back under this id, and they are delivered; or give them up with `analyzer-gateway destinations drop`.";
    Trouble::new("destination_removed", Urgency::Today, id, &reason, next)
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct DestinationHealth {
    pub(super) trouble: Option<Reason>,
    /// Since when there has been trouble without a break.
    pub(super) since: Option<Timestamp>,
    pub(super) dead: usize,
    /// Since when there is a dead letter.
    pub(super) dead_since: Option<Timestamp>,
    pub(super) held: usize,
    pub(super) older_key: bool,
    /// As last counted.
    pub(super) standing: Standing,
    pub(super) last_delivered_at: Option<Timestamp>,
}

impl DestinationHealth {
    pub(super) fn overview(&self, id: &str, now: Now) -> DestinationOverview {
        let paused = self.trouble.as_ref().is_some_and(|reason| reason.code == ReasonCode::Paused);
        let state = match &self.trouble {
            Some(_) if paused => "paused",
            Some(_) => "trouble",
            None => "ready",
        };
        let age_ms = self.standing.oldest.map_or(0, |oldest| now.wall.0.saturating_sub(oldest.0));
        DestinationOverview {
            id: id.to_owned(),
            state: state.to_owned(),
            code: self.trouble.as_ref().map(|reason| reason.code.as_str().to_owned()),
            reason: self.trouble.as_ref().map(|reason| reason.detail.clone()),
            since: self.since,
            waiting: self.standing.waiting,
            held: self.held as u64,
            dead: self.dead as u64,
            oldest_unacked_seconds: u64::try_from(age_ms / 1000).unwrap_or(0),
            last_delivered_at: self.last_delivered_at,
        }
    }

    pub(super) fn troubles(&self, id: &str) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        // That somebody else has our name is told of the broker, as long as it lasts.
        if let Some(reason) = self.trouble.as_ref().filter(|reason| reason.code != ReasonCode::SameIdTwice) {
            let held = self.held > 0 || reason.code.needs_a_person();
            let urgency = if held { Urgency::Today } else { Urgency::Watch };
            let trouble = Trouble::new(reason.code.as_str(), urgency, id, &reason.to_string(), reason.code.next_step());
            troubles.push(Trouble { since: self.since, ..trouble });
        }
        if self.dead > 0 {
            let reason =
                if self.dead == 1 { "1 dead letter".to_owned() } else { format!("{} dead letters", self.dead) };
            let next = "Look at them (`analyzer-gateway dead list`), mend the cause, and redrive them.";
            let trouble = Trouble::new("dead_letters", Urgency::Today, id, &reason, next);
            troubles.push(Trouble { since: self.dead_since, ..trouble });
        }
        if self.older_key {
            let reason = "the receiver still accepts only the older key";
            let next = "Give the receiver the new key before the old one runs out.";
            troubles.push(Trouble::new("older_key", Urgency::Watch, id, reason, next));
        }
        troubles
    }

    /// So many are dead. Whether that is news.
    pub(super) fn bury(&mut self, dead: usize, now: Now) -> bool {
        self.dead_since = (dead > 0).then(|| self.dead_since.unwrap_or(now.wall));
        std::mem::replace(&mut self.dead, dead) != dead
    }

    pub(super) fn since_with(&self, trouble: Option<&Reason>, now: Now) -> Option<Timestamp> {
        trouble.map(|_| self.since.unwrap_or(now.wall))
    }
}

#[cfg(test)]
mod tests {
    use crate::health::{Fact, Health};
    use crate::time::Now;
    use crate::trouble::Urgency;

    #[test]
    fn what_waits_for_a_destination_that_is_gone_is_a_trouble_until_it_is_there_again_or_given_up() {
        let now = Now::default();
        let mut health = Health::new("box", "1.0.0", String::new(), now);
        let gone = vec![("webhook:lims".to_owned(), 5)];
        assert!(health.learn(now, Fact::LeftBehind { waiting: gone.clone() }));
        assert!(!health.learn(now, Fact::LeftBehind { waiting: gone }), "it is no news twice");
        let troubles = health.overview(now, None).troubles;
        let told: Vec<_> = troubles.iter().map(|trouble| (trouble.code.as_str(), trouble.urgency)).collect();
        assert_eq!(told, [("destination_removed", Urgency::Today)]);
        assert!(troubles[0].reason.starts_with("5 events wait for webhook:lims"), "{}", troubles[0].reason);
        health.learn(now, Fact::LeftBehind { waiting: Vec::new() });
        assert!(health.overview(now, None).troubles.is_empty());
    }
}
