//! The judge: what the analyzers were promised, against what the destinations have heard.

use super::Told;
use super::ledger::Ledger;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The counts of one analyzer, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Messages and lines that the analyzers had to say.
    pub received: usize,
    /// Those that were promised to be kept.
    pub acknowledged: usize,
    /// Promised ones that each destination has heard.
    pub mqtt: usize,
    pub webhook: usize,
    /// Promised ones that at least one destination has not heard.
    pub lost: usize,
    /// Promised ones that came under more ids than they were said: a repeat that no receiver can notice.
    pub doubled: usize,
}

/// Everything that the judge has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    pub analyzers: BTreeMap<String, Row>,
    /// Events under different ids, at both destinations together.
    pub events: usize,
    /// Events that one destination has heard and the other has not, without those counted as lost messages.
    pub lost_events: usize,
    /// Events that came again under the same id, at both destinations together: allowed.
    pub repeated: u64,
    /// Repeats that were not the same, byte for byte.
    pub differing: u64,
    /// Ordinals that the webhook never saw.
    pub holes: u64,
    pub wrong_signatures: u64,
    /// Frames with a wrong checksum that got an ACK.
    pub accepted_damaged: u64,
    /// The keys of what is lost or doubled, for people.
    pub missing: Vec<String>,
}

/// Compares. Both destinations are expected to get every event, each from the first one on.
pub fn judge(told: &BTreeMap<String, Told>, mqtt: &Ledger, webhook: &Ledger, wrong_signatures: u64) -> Verdict {
    let mut verdict = Verdict {
        repeated: mqtt.repeats + webhook.repeats,
        differing: mqtt.differing + webhook.differing,
        holes: webhook.holes(),
        wrong_signatures,
        accepted_damaged: told.values().map(|told| told.accepted_damaged).sum(),
        ..Verdict::default()
    };
    let mut missing = BTreeSet::new();
    for (analyzer, told) in told {
        let mut row = Row { received: told.sent.len(), acknowledged: told.acknowledged.len(), ..Row::default() };
        let mut promised: BTreeMap<&str, usize> = BTreeMap::new();
        for key in &told.acknowledged {
            *promised.entry(key).or_default() += 1;
        }
        for (key, times) in promised {
            let heard = [mqtt.ids_of(key).len(), webhook.ids_of(key).len()];
            row.mqtt += heard[0].min(times);
            row.webhook += heard[1].min(times);
            let lost = times.saturating_sub(heard[0].min(heard[1]));
            row.lost += lost;
            let said = told.sent.iter().filter(|sent| *sent == key).count();
            row.doubled += heard[0].max(heard[1]).saturating_sub(said);
            if lost > 0 || heard[0].max(heard[1]) > said {
                missing.insert(key.to_owned());
            }
        }
        verdict.analyzers.insert(analyzer.clone(), row);
    }
    let ids: BTreeSet<&String> = mqtt.ids().iter().chain(webhook.ids()).collect();
    verdict.events = ids.len();
    for id in ids {
        let ((Some(heard), None) | (None, Some(heard))) = (mqtt.get(id), webhook.get(id)) else { continue };
        // A message that is lost already is not counted a second time as an event.
        if heard.key.as_ref().is_none_or(|key| !missing.contains(key)) {
            verdict.lost_events += 1;
            verdict.missing.push(format!("{} {} {id}", heard.analyzer, heard.event));
        }
    }
    verdict.missing.extend(missing);
    verdict
}

impl Verdict {
    /// The sum of all analyzers.
    pub fn total(&self) -> Row {
        self.analyzers.values().fold(Row::default(), |sum, row| Row {
            received: sum.received + row.received,
            acknowledged: sum.acknowledged + row.acknowledged,
            mqtt: sum.mqtt + row.mqtt,
            webhook: sum.webhook + row.webhook,
            lost: sum.lost + row.lost,
            doubled: sum.doubled + row.doubled,
        })
    }

    /// Messages and events that were promised or known and did not arrive everywhere.
    pub fn lost(&self) -> usize {
        self.total().lost + self.lost_events
    }

    /// Whether every promise was kept: nothing lost, nothing twice under two ids, every repeat the same as before, no
    /// hole, every signature right, and no damaged frame taken for a good one.
    pub fn is_sound(&self) -> bool {
        let faults = self.differing + self.holes + self.wrong_signatures + self.accepted_damaged;
        self.lost() == 0 && self.total().doubled == 0 && faults == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["analyzer", "received", "acknowledged", "MQTT", "webhook", "lost"].map(str::to_owned);
        let total = self.total();
        let rows = self.analyzers.iter().map(|(name, row)| (name.as_str(), row)).chain([("all", &total)]);
        let cells = rows.map(|(name, row)| {
            let figures = [row.received, row.acknowledged, row.mqtt, row.webhook, row.lost].map(|n| n.to_string());
            let [received, acknowledged, mqtt, webhook, lost] = figures;
            [name.to_owned(), received, acknowledged, mqtt, webhook, lost]
        });
        for [name, received, acknowledged, mqtt, webhook, lost] in std::iter::once(heading).chain(cells) {
            writeln!(f, "{name:<16}{received:>10}{acknowledged:>14}{mqtt:>8}{webhook:>10}{lost:>6}")?;
        }
        writeln!(
            f,
            "received {}, acknowledged {}, delivered to MQTT {}, delivered to webhook {}, lost {}, repeated {}",
            total.received,
            total.acknowledged,
            total.mqtt,
            total.webhook,
            self.lost(),
            self.repeated
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::astm::sample_key;

    fn event(sample: &str) -> Vec<u8> {
        format!(r#"{{"data":{{"event":"TEST_FINISHED","analyzer":"h","test":{{"sample_id":"{sample}"}}}}}}"#).into()
    }

    fn promised(samples: &[&str]) -> BTreeMap<String, Told> {
        let keys: Vec<String> = samples.iter().map(|sample| sample_key(sample)).collect();
        BTreeMap::from([("h".to_owned(), Told { sent: keys.clone(), acknowledged: keys, ..Told::default() })])
    }

    #[test]
    fn nothing_is_lost_if_both_destinations_have_heard_every_promise() {
        let (mut mqtt, mut webhook) = (Ledger::default(), Ledger::default());
        for (n, sample) in ["H1", "H2"].into_iter().enumerate() {
            mqtt.note(sample, None, &event(sample));
            webhook.note(sample, Some(n as u64 + 1), &event(sample));
        }
        webhook.note("H1", Some(1), &event("H1"));
        let verdict = judge(&promised(&["H1", "H2"]), &mqtt, &webhook, 0);
        assert!(verdict.is_sound());
        assert_eq!((verdict.lost(), verdict.repeated, verdict.events), (0, 1, 2));
        let shown = verdict.to_string();
        let last = "received 2, acknowledged 2, delivered to MQTT 2, delivered to webhook 2, lost 0, repeated 1\n";
        assert!(shown.ends_with(last), "{shown}");
    }

    #[test]
    fn a_missing_message_a_missing_event_and_a_second_id_are_found() {
        let (mut mqtt, mut webhook) = (Ledger::default(), Ledger::default());
        mqtt.note("1", None, &event("H1"));
        let verdict = judge(&promised(&["H1"]), &mqtt, &webhook, 0);
        assert_eq!((verdict.lost(), verdict.total().mqtt, verdict.total().webhook), (1, 1, 0));
        webhook.note("1", Some(1), &event("H1"));
        webhook.note("2", Some(2), b"{}");
        assert_eq!(judge(&promised(&["H1"]), &mqtt, &webhook, 0).lost_events, 1);
        mqtt.note("2", None, b"{}");
        assert!(judge(&promised(&["H1"]), &mqtt, &webhook, 0).is_sound());
        for ledger in [&mut mqtt, &mut webhook] {
            ledger.note("3", Some(3), &event("H1"));
        }
        let verdict = judge(&promised(&["H1"]), &mqtt, &webhook, 0);
        assert_eq!((verdict.lost(), verdict.total().doubled, verdict.is_sound()), (0, 1, false));
        assert!(!judge(&promised(&[]), &mqtt, &webhook, 1).is_sound());
    }
}
