//! What is allowed and should be known all the same.

use super::{Config, Mqtt};
use crate::dialects::Secret;

/// The secrets of the manual and of the README. They sign, but everybody knows them.
const OF_EXAMPLES: [&str; 3] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
];

impl Config {
    /// In sentences.
    pub fn warnings(&self) -> Vec<String> {
        let unsigned = self.webhooks.iter().filter(|webhook| !webhook.is_signed());
        let open = self.sources.iter().filter(|source| source.secrets.is_empty());
        let unsigned = unsigned
            .map(|webhook| format!("webhook `{}`: no secret is set: the receiver cannot tell who sends", webhook.id));
        let open = open.map(|source| {
            format!("source `{0}`: no secret is set: whoever reaches /in/{0} can send events in its name", source.id)
        });
        let is_first =
            |second: &&Mqtt| second.broker == self.mqtt.broker && second.topic_prefix == self.mqtt.topic_prefix;
        let twice = self.monitoring.broker.iter().filter(is_first);
        let twice = twice.map(|_| "monitoring.url is the broker of mqtt.url: it is told everything twice".to_owned());
        let parts = unsigned.chain(open).chain(self.with_known_secrets()).chain(twice);
        parts.chain(self.idle_parts()).chain(self.without_names()).collect()
    }

    /// Where a secret is still an example's.
    fn with_known_secrets(&self) -> impl Iterator<Item = String> {
        let is_known = |secret: &Secret| OF_EXAMPLES.contains(&secret.expose());
        let webhooks = self.webhooks.iter();
        let webhooks = webhooks.filter(move |webhook| webhook.secrets.iter().any(|dated| is_known(&dated.secret)));
        let sources = self.sources.iter().filter(move |source| source.secrets.iter().any(is_known));
        let names = webhooks.map(|webhook| format!("webhook `{}`", webhook.id));
        let names = names.chain(sources.map(|source| format!("source `{}`", source.id)));
        names.map(|name| format!("{name}: its secret is the one of an example, which everybody knows; write your own"))
    }

    /// A box whose only way out has a fixed address asks nobody for the address behind a name.
    fn without_names(&self) -> Option<String> {
        let network = self.network.as_ref()?;
        let wire = network.ethernet.as_ref().map(|ethernet| &ethernet.addressing);
        let air = network.wifi.as_ref().map(|wifi| &wifi.addressing);
        let fixed = wire.filter(|wire| wire.fixed.is_some());
        let is_asked = [wire, air].into_iter().flatten().any(|way| way.fixed.is_none() || !way.dns.is_empty());
        let told = "network.ethernet: a fixed address without `dns`: the box cannot look up names, such as those of webhooks and \
                    time servers; write `dns:` with the router's address";
        (fixed.is_some() && !is_asked).then(|| told.to_owned())
    }
}
