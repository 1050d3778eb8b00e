//! `monitoring:`: the second broker, and how often the box says how it is. `telemetry:`: where traces go.

use super::{mqtt, secrets};
use crate::config::group::Group;
use crate::config::{Monitoring, Telemetry, address, file};
use std::time::Duration;

const ELSEWHERE: mqtt::Elsewhere = mqtt::Elsewhere {
    words: &["embedded", "mosquitto"],
    problem: "must be another machine's broker",
    suggestion: "write the broker's address; the box's own broker (`mqtt.url`) has all of this already",
};

pub fn read(root: &Group<'_>) -> Monitoring {
    let group = root.group::<file::Monitoring>("monitoring");
    let default = Monitoring::default();
    let interval = group.number("interval_seconds", default.interval.as_secs());
    let broker = group.get("url").map(|_| mqtt::connection(&group, Some(&ELSEWHERE)));
    if broker.is_none() {
        let login = ["user", "password", "password_file", "topic_prefix", "version", "allow_plain"];
        let tls = ["ca_file", "certificate_file", "key_file"];
        for others in [&login[..], &tls[..]] {
            group.refuse(others, "belongs to `url`, which is missing", "add `url:`, or remove this line");
        }
    }
    Monitoring { interval: Duration::from_secs(interval), broker }
}

pub fn telemetry(root: &Group<'_>) -> Telemetry {
    let group = root.group::<file::Telemetry>("telemetry");
    let allow_plain = group.allows_plain();
    let example = "https://collector.example:4318/v1/traces";
    let otlp_url = group.get("otlp_url");
    let otlp_url = otlp_url.and_then(|field| address::web(&field, allow_plain, example, "telemetry"));
    let otlp_token = secrets::one(&group, "otlp_token", "otlp_token_file");
    if group.get("otlp_url").is_none() {
        let keys = ["otlp_token", "otlp_token_file"];
        group.refuse(&keys, "belongs to `otlp_url`, which is missing", "add `otlp_url:`, or remove this line");
    }
    Telemetry { otlp_url, otlp_token, proxy: None }
}
