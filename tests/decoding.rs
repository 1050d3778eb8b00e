//! What bytes mean: every analyzer fixture, the public captures, and the promises that hold for any bytes at all.

// A test that cannot go on should say so by failing.
#![allow(clippy::unwrap_used)]

#[path = "decoding/captures.rs"]
mod captures;
#[path = "decoding/fixtures.rs"]
mod fixtures;
#[path = "decoding/guide.rs"]
mod guide;
#[path = "decoding/link_rules.rs"]
mod link_rules;
#[path = "decoding/live_lines.rs"]
mod live_lines;
#[path = "decoding/planted.rs"]
mod planted;
#[path = "decoding/profiles.rs"]
mod profiles;
#[path = "decoding/properties.rs"]
mod properties;
#[path = "decoding/support.rs"]
mod support;
#[path = "decoding/text_captures.rs"]
mod text_captures;
#[path = "decoding/text_link.rs"]
mod text_link;
