//! The shape of `limits:` and `retention:`.

use schemars::JsonSchema;

/// Bounds on memory and disk.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Longest frame from an analyzer, in bytes. Default: 65536.
    #[schemars(range(min = 256, max = 16_777_216))]
    pub frame_bytes_max: Option<usize>,
    /// Longest message from an analyzer, in bytes. Default: 8388608.
    #[schemars(range(min = 256, max = 268_435_456))]
    pub message_bytes_max: Option<usize>,
    /// Size of the database at which the oldest data is given up, in bytes. Default: no limit.
    #[schemars(range(min = 1_048_576))]
    pub store_bytes_max: Option<u64>,
    /// How long a lone event may wait for company before it is stored, in milliseconds. Default: 0.
    #[schemars(range(max = 1000))]
    pub commit_linger_ms_max: Option<u64>,
    /// How many later events a destination may take on while an older one still fails. Default: 256.
    #[schemars(range(min = 1, max = 65_536))]
    pub ahead_events_max: Option<usize>,
}

/// How long data is kept. 0 is for ever.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retention {
    /// Days that the record of successful deliveries is kept. Default: 14.
    #[schemars(range(max = 36_500))]
    pub attempts_kept_days: Option<u32>,
    /// Days that the received bytes are kept. Default: 365.
    #[schemars(range(max = 36_500))]
    pub captures_kept_days: Option<u32>,
    /// Days that events are kept. Default: 365.
    #[schemars(range(max = 36_500))]
    pub events_kept_days: Option<u32>,
}
