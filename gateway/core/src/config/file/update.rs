//! The shape of `update:`.

use schemars::JsonSchema;

/// Updates of the box's whole system, where it is an appliance.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Updates {
    /// Where newer bundles are: https:// or http://, without a user. Default: none; updates then come on a stick.
    #[schemars(extend("x-secret" = "address"))]
    pub url: Option<String>,
    /// What the box does by itself: never, check (says that there is a newer one) or install. Default: never.
    pub automatic: Option<super::super::Automatic>,
    /// When it does so, in the time zone of `gateway`. Default: 02:00-05:00.
    pub between: Option<String>,
}
