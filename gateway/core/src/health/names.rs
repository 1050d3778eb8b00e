//! How the box is known elsewhere: a broker at which somebody else goes by the same name, and the plant that is told of it.
//!
//! Invariant: kept from one change of the settings to the next; who is concerned says it again.

use super::replace;
use crate::delivery::{Reason, ReasonCode};
use crate::time::{Now, Timestamp};
use crate::trouble::{Trouble, Urgency};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Names {
    /// Brokers with somebody of the same name, and since when that is known.
    taken: BTreeMap<String, Timestamp>,
    /// Why the plant's broker is not reached, and since when.
    plant: Option<(Reason, Timestamp)>,
}

impl Names {
    pub(super) fn take(&mut self, broker: String, taken: bool, now: Now) -> bool {
        match taken {
            true if self.taken.contains_key(&broker) => false,
            true => self.taken.insert(broker, now.wall).is_none(),
            false => self.taken.remove(&broker).is_some(),
        }
    }

    pub(super) fn plant_reached(&mut self, trouble: Option<Reason>, now: Now) -> bool {
        let since = self.plant.as_ref().map_or(now.wall, |(_, since)| *since);
        replace(&mut self.plant, trouble.map(|reason| (reason, since)))
    }

    pub(super) fn troubles(&self, gateway: &str) -> Vec<Trouble> {
        let code = ReasonCode::SameIdTwice;
        let reason =
            format!("another box uses the same gateway.id, {gateway}, at this broker: they push each other out");
        let taken = self.taken.iter().map(|(broker, since)| {
            let trouble = Trouble::new(code.as_str(), Urgency::Today, broker, &reason, code.next_step());
            Trouble { since: Some(*since), ..trouble }
        });
        let plant = self.plant.iter().filter(|(reason, _)| reason.code != code).map(|(reason, since)| {
            let urgency = if reason.code.needs_a_person() { Urgency::Today } else { Urgency::Watch };
            let (code, next) = (reason.code.as_str(), reason.code.next_step());
            Trouble { since: Some(*since), ..Trouble::new(code, urgency, "sparkplug", &reason.to_string(), next) }
        });
        taken.chain(plant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Fact, Health};

    fn told(health: &Health) -> Vec<(String, String, Urgency)> {
        let troubles = health.overview(Now::default(), None).troubles;
        troubles.into_iter().map(|one| (one.subject, one.code, one.urgency)).collect()
    }

    #[test]
    fn somebody_of_the_same_name_is_a_trouble_of_its_own_until_he_is_gone() {
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), Now::default());
        health.configure("clinic-7", "", Vec::new(), &["mqtt".to_owned()], Now::default());
        let taken = |taken| Fact::NameTaken { broker: "mqtt".to_owned(), taken };
        assert!(health.learn(Now::default(), taken(true)));
        assert!(!health.learn(Now::default(), taken(true)), "no news");
        let pushed_out = Reason::new(ReasonCode::SameIdTwice, "taken over");
        let reached = Fact::DestinationReached { destination: "mqtt".to_owned(), trouble: Some(pushed_out) };
        health.learn(Now::default(), reached);
        assert_eq!(told(&health), [("mqtt".to_owned(), "same_id_twice".to_owned(), Urgency::Today)]);
        assert!(health.overview(Now::default(), None).reason.contains("the same gateway.id, clinic-7"));
        assert!(health.learn(Now::default(), taken(false)));
        assert!(told(&health).is_empty());
    }

    #[test]
    fn a_plant_that_is_not_reached_is_a_trouble() {
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), Now::default());
        let refused = Reason::new(ReasonCode::BrokerRefused, "not authorised");
        assert!(health.learn(Now::default(), Fact::PlantReached { trouble: Some(refused) }));
        assert_eq!(told(&health), [("sparkplug".to_owned(), "broker_refused".to_owned(), Urgency::Watch)]);
        assert!(health.learn(Now::default(), Fact::PlantReached { trouble: None }));
        assert!(told(&health).is_empty());
    }
}
