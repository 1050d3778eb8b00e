//! The way to every broker and endpoint: names, connections, encryption. Nothing is said to anybody who answers.

use super::{Finding, Patient};
use crate::platform::probe::Hop;
use crate::platform::reach;
use gateway_core::config::Broker;

pub async fn look(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mut findings = Vec::new();
    let brokers = [("mqtt", Some(&config.mqtt)), ("monitoring", config.second_broker())];
    for (name, mqtt) in brokers.into_iter().filter_map(|(name, mqtt)| Some((name, mqtt?))) {
        findings.push(match (&mqtt.broker, patient.offline) {
            (Broker::Embedded, _) => Finding::skipped("reach", name, "the broker is in the gateway itself"),
            (_, true) => Finding::skipped("reach", name, "left out with --offline"),
            _ => way(name.to_owned(), &reach::broker(mqtt).await),
        });
    }
    for webhook in &config.webhooks {
        let name = format!("webhook:{}", webhook.id);
        findings.push(match (webhook.paused, patient.offline) {
            (true, _) => Finding::skipped("reach", name, "is paused by the settings"),
            (_, true) => Finding::skipped("reach", name, "left out with --offline"),
            _ => way(name, &reach::endpoint(webhook).await),
        });
    }
    findings
}

/// The hops of one way as one finding: what each has told, and what to do about the last.
fn way(name: String, hops: &[Hop]) -> Finding {
    let told: Vec<&str> = hops.iter().map(|hop| hop.told.as_str()).collect();
    let evidence = told.join("; ");
    match hops.iter().find(|hop| !hop.ok).or_else(|| hops.iter().find(|hop| hop.next_step.is_some())) {
        Some(hop) => {
            let next = hop.next_step.clone().unwrap_or_default();
            match hop.ok {
                true => Finding::warn("reach", name, evidence, next),
                false => Finding::fail("reach", name, evidence, next),
            }
        }
        None => Finding::ok("reach", name, evidence),
    }
}
