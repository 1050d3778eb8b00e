//! `sparkplug:`, as it is used.

use super::Mqtt;

/// A plant's SCADA.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparkplug {
    /// The plant's broker; only address and identity count.
    pub broker: Mqtt,
    /// First part of its topics behind the name space; no `/`, `+` and `#`.
    pub group_id: String,
    /// The host application that must be online; written as `group_id` is.
    pub primary_host: Option<String>,
}
