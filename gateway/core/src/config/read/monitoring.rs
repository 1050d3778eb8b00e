//! `monitoring:`: the second broker, and how often the box says how it is.

use super::mqtt;
use crate::config::group::Group;
use crate::config::{Broker, Monitoring, file};
use std::time::Duration;

pub fn read(root: &Group<'_>) -> Monitoring {
    let group = root.group::<file::Monitoring>("monitoring");
    let default = Monitoring::default();
    let interval = group.number("interval_seconds", default.interval.as_secs());
    let broker = group.get("url").map(|_| mqtt::connection(&group));
    if broker.as_ref().is_some_and(|broker| broker.broker == Broker::Embedded) {
        let suggestion = "write the broker's address; the embedded broker (`mqtt.url`) has all of this already";
        group.wrong("url", "must be another machine's broker", suggestion);
    }
    if broker.is_none() {
        let others =
            ["user", "password", "password_file", "ca_file", "certificate_file", "key_file", "topic_prefix", "version"];
        group.refuse(&others, "belongs to `url`, which is missing", "add `url:`, or remove this line");
    }
    Monitoring { interval: Duration::from_secs(interval), broker }
}
