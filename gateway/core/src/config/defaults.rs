//! What holds where the file says nothing. `config/gateway.yaml` shows the same values to people, and a test holds the two
//! together.

use super::{Broker, Endpoint, Filter, Gateway, Limits, Monitoring, Mqtt, MqttVersion, Order, Retention, Webhook};
use std::path::PathBuf;
use std::time::Duration;

/// `webhooks[].dialect`
pub const DIALECT: &str = "cloudevents";
/// `webhooks[].timeout`
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// `webhooks[].concurrency`
pub const CONCURRENCY: usize = 4;
/// `webhooks[].backfill_per_second_max`
pub const BACKFILL_PER_SECOND: u32 = 200;

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            id: "gateway".to_owned(),
            state_dir: PathBuf::from("/var/lib/analyzer-gateway"),
            time_zone: "UTC".to_owned(),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Mqtt {
            broker: Broker::Embedded,
            topic_prefix: "analyzer-gateway".to_owned(),
            version: MqttVersion::Auto,
            packet_bytes_max: 1 << 20,
            window: 64,
            home_assistant: false,
            user: None,
            password: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
        }
    }
}

impl Default for Monitoring {
    fn default() -> Self {
        Monitoring { interval: Duration::from_secs(60), broker: None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame_bytes_max: 65_536,
            message_bytes_max: 8 << 20,
            store_bytes_max: None,
            commit_linger_ms_max: 0,
            ahead_events_max: 256,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Retention { attempts_kept_days: 14, captures_kept_days: 365, events_kept_days: 365 }
    }
}

impl Default for super::Http {
    fn default() -> Self {
        super::Http {
            listen: Some("127.0.0.1:8080".to_owned()),
            public_url: None,
            tokens: Vec::new(),
            body_bytes_max: 4 << 20,
            metrics: super::MetricsDoor::Token,
            page: true,
        }
    }
}

impl Webhook {
    /// An endpoint of which nothing is written but its id, its url and its dialect.
    pub fn new(id: &str, url: &str, dialect: &str) -> Webhook {
        Webhook {
            id: id.to_owned(),
            url: url.to_owned(),
            dialect: dialect.to_owned(),
            secrets: Vec::new(),
            filter: Filter::default(),
            endpoint: Endpoint::default(),
            retry: None,
            retry_reading: None,
            timeout: TIMEOUT,
            concurrency: CONCURRENCY,
            batch: 1,
            order: Order::default(),
            backfill_per_second_max: Some(BACKFILL_PER_SECOND),
            paused: false,
            headers: Vec::new(),
            proxy: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            pinned_key: None,
        }
    }
}
