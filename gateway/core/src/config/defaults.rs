//! What holds where the file says nothing. `config/gateway.yaml` shows the same values to people, and a test holds the two
//! together.

use super::{Broker, Gateway, Limits, Mqtt, Retention};
use std::path::PathBuf;
use std::time::Duration;

/// `webhooks[].dialect`
pub const DIALECT: &str = "cloudevents";
/// `webhooks[].timeout`
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// `webhooks[].concurrency`
pub const CONCURRENCY: usize = 4;

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
            packet_bytes_max: 1 << 20,
            window: 64,
            user: None,
            password: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
        }
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
