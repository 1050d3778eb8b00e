//! Which destinations there are, and which events belong to each.
//!
//! Invariant: an endpoint gets nothing that it has not asked for, and nothing that its dialect cannot say.

use crate::dispatcher::broker::MQTT;
use crate::store::{DestinationId, Filter, PostedFilter};
use gateway_core::config::{Config, Webhook};
use gateway_core::dialects::{Dialect, dialect};
use gateway_core::event::EventName;

/// Every destination of these settings and what it gets: what it asked for, of what its dialect can say.
pub(super) fn destinations(config: &Config) -> Vec<(DestinationId, Filter)> {
    let mut list = vec![(DestinationId(MQTT.to_owned()), Filter::default())];
    for webhook in &config.webhooks {
        let Some(dialect) = dialect(&webhook.dialect) else { continue };
        list.push((DestinationId::webhook(&webhook.id), filter(webhook, dialect)));
    }
    list
}

fn filter(webhook: &Webhook, dialect: &dyn Dialect) -> Filter {
    let asked = &webhook.filter;
    let own = EventName::ALL.iter().map(|name| name.as_str());
    let words = own.chain(dialect.catalogue().iter().map(|entry| entry.event));
    let wanted = words.filter(|word| dialect.speaks(word));
    let wanted =
        wanted.filter(|word| asked.events.as_ref().is_none_or(|events| events.iter().any(|event| event == word)));
    let everything = webhook.endpoint.posted && asked.events.is_none();
    Filter {
        names: (!everything).then(|| wanted.map(str::to_owned).collect()),
        analyzers: asked.analyzers.clone(),
        qc: asked.qc,
        posted: match webhook.endpoint.posted {
            true => PostedFilter::All,
            false => PostedFilter::Of(vec![webhook.dialect.clone()]),
        },
    }
}
