//! What of the settings and of the books may leave the clinic, field by field.
//!
//! Invariant: nothing is copied as a whole; a new setting is absent until it is named here.

use crate::store::{AttemptReasons, Counts};
use gateway_core::config::{Broker, Config, Mqtt, Webhook};
use serde_json::{Value, json};

/// The settings without any secret, path of a url, template or header.
pub fn settings(config: &Config) -> Value {
    let analyzers = config.analyzers.iter().map(|analyzer| {
        let line = &analyzer.line;
        json!({
            "id": analyzer.id.0,
            "driver": analyzer.driver,
            "model": analyzer.model,
            "port": analyzer.port.to_string(),
            "baud": line.baud,
            "data_bits": line.data_bits,
            "parity": line.parity,
            "stop_bits": line.stop_bits,
            "flow_control": line.flow_control,
            "serial_number_pinned": analyzer.serial_number.is_some(),
        })
    });
    let sources = config
        .sources
        .iter()
        .map(|source| json!({ "id": source.id, "dialect": source.dialect, "secrets": source.secrets.len() }));
    let tokens = config.http.tokens.iter().map(|token| json!({ "id": token.id, "scope": token.scope }));
    json!({
        "hash": config.hash,
        "gateway": {
            "id": config.gateway.id,
            "state_dir": config.gateway.state_dir,
            "time_zone": config.gateway.time_zone,
        },
        "analyzers": analyzers.collect::<Vec<_>>(),
        "mqtt": broker(&config.mqtt),
        "monitoring": {
            "interval_seconds": config.monitoring.interval.as_secs(),
            "broker": config.monitoring.broker.as_ref().map(broker),
        },
        "telemetry": { "otlp": config.telemetry.otlp_url.as_deref().map(host) },
        "http": {
            "listen": config.http.listen,
            "public_url": config.http.public_url.as_deref().map(host),
            "tokens": tokens.collect::<Vec<_>>(),
            "body_bytes_max": config.http.body_bytes_max,
            "metrics": config.http.metrics,
        },
        "webhooks": config.webhooks.iter().map(webhook).collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "registrations": { "lab_id": config.registrations.lab_id_url.as_deref().map(host) },
        "limits": {
            "frame_bytes_max": config.limits.frame_bytes_max,
            "message_bytes_max": config.limits.message_bytes_max,
            "store_bytes_max": config.limits.store_bytes_max,
            "commit_linger_ms_max": config.limits.commit_linger_ms_max,
            "ahead_events_max": config.limits.ahead_events_max,
        },
        "retention": {
            "attempts_kept_days": config.retention.attempts_kept_days,
            "captures_kept_days": config.retention.captures_kept_days,
            "events_kept_days": config.retention.events_kept_days,
        },
    })
}

fn broker(mqtt: &Mqtt) -> Value {
    let at = match &mqtt.broker {
        Broker::Embedded => "embedded".to_owned(),
        Broker::Mosquitto => "mosquitto".to_owned(),
        Broker::Url { host, port, tls } => format!("{}://{host}:{port}", if *tls { "mqtts" } else { "mqtt" }),
    };
    json!({
        "broker": at,
        "topic_prefix": mqtt.topic_prefix,
        "window": mqtt.window,
        "packet_bytes_max": mqtt.packet_bytes_max,
        "with_user": mqtt.user.is_some(),
        "with_password": mqtt.password.is_some(),
        "ca_file": mqtt.ca_file,
        "certificate_file": mqtt.certificate_file,
    })
}

fn webhook(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id,
        "at": host(&webhook.url),
        "dialect": webhook.dialect,
        "secrets": webhook.secrets.len(),
        "events": webhook.filter.events,
        "qc": webhook.filter.qc,
        "retry_seconds": webhook.retry.as_ref().map(|retry| retry.iter().map(|delay| delay.as_secs()).collect::<Vec<_>>()),
        "timeout_seconds": webhook.timeout.as_secs(),
        "concurrency": webhook.concurrency,
        "batch": webhook.batch,
        "order": webhook.order,
        "backfill_per_second_max": webhook.backfill_per_second_max,
        "paused": webhook.paused,
        "headers": webhook.headers.len(),
        "with_proxy": webhook.proxy.is_some(),
        "ca_file": webhook.ca_file,
        "certificate_file": webhook.certificate_file,
        "with_pinned_key": webhook.pinned_key.is_some(),
    })
}

/// Scheme, host and port of a url: its path, its query and its user may be secrets.
fn host(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        }
        Err(_) => "not a url".to_owned(),
    }
}

/// How much there is of everything.
pub fn counts(counts: &Counts) -> Value {
    let destinations = counts.destinations.iter().map(|one| {
        json!({
            "id": one.id.0,
            "configured": one.configured,
            "cursor": one.cursor.0,
            "ordinal": one.ordinal,
            "undone": one.undone,
            "held": one.held,
            "dead": one.dead,
            "attempts": one.attempts,
        })
    });
    json!({
        "events": counts.events,
        "head": counts.head.0,
        "captures": counts.captures,
        "attempts": counts.attempts,
        "destinations": destinations.collect::<Vec<_>>(),
    })
}

/// How attempts at a destination went.
pub fn attempt(told: &AttemptReasons) -> Value {
    json!({
        "destination": told.destination.0,
        "outcome": told.reason.map_or("delivered", |reason| reason.as_str()),
        "status": told.status,
        "attempts": told.attempts,
        "first_at": told.first_at,
        "last_at": told.last_at,
        "longest_ms": told.longest_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::config::{DatedSecret, Secret};

    #[test]
    fn of_a_webhook_neither_secrets_nor_the_rest_of_its_url_are_told() {
        let mut webhook =
            Webhook::new("lims", "https://user:CANARY@lims.example:8443/CANARY?key=CANARY", "cloudevents");
        webhook.secrets = vec![DatedSecret { secret: Secret::new("CANARY"), valid_until: None }];
        webhook.headers = vec![("x-api-key".to_owned(), "CANARY".to_owned())];
        webhook.proxy = Some(Secret::new("http://u:CANARY@proxy"));
        let mut config = Config { webhooks: vec![webhook], ..Config::default() };
        config.mqtt.password = Some(Secret::new("CANARY"));
        config.telemetry.otlp_url = Some("https://c.example/CANARY".to_owned());
        config.registrations.lab_id_url = Some("https://lab.example/CANARY".to_owned());
        let told = settings(&config).to_string();
        assert!(!told.contains("CANARY"), "{told}");
        assert!(told.contains("https://lims.example:8443") && told.contains("\"secrets\":1"), "{told}");
    }
}
