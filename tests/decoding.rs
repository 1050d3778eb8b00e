//! What bytes mean: every analyzer fixture, the public captures, and the promises that hold for any bytes at all.

#[path = "decoding/captures.rs"]
mod captures;
#[path = "decoding/fixtures.rs"]
mod fixtures;
#[path = "decoding/link_rules.rs"]
mod link_rules;
#[path = "decoding/properties.rs"]
mod properties;
#[path = "decoding/support.rs"]
mod support;
