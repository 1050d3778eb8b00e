//! What bytes mean: every analyzer fixture, the public captures, and the promises that hold for any bytes at all.

// A test that cannot go on should say so by failing.
#![allow(clippy::unwrap_used)]

#[path = "decoding/captures.rs"]
mod captures;
#[path = "decoding/child.rs"]
mod child;
#[path = "decoding/child_lines.rs"]
mod child_lines;
#[path = "decoding/conversation.rs"]
mod conversation;
#[path = "decoding/detection.rs"]
mod detection;
#[path = "decoding/fixtures.rs"]
mod fixtures;
#[path = "decoding/guide.rs"]
mod guide;
#[path = "decoding/hl7_captures.rs"]
mod hl7_captures;
#[path = "decoding/hl7_conversations.rs"]
mod hl7_conversations;
#[path = "decoding/host_query.rs"]
mod host_query;
#[path = "decoding/link_rules.rs"]
mod link_rules;
#[path = "decoding/live_lines.rs"]
mod live_lines;
#[path = "decoding/planted.rs"]
mod planted;
#[path = "decoding/poct1a.rs"]
mod poct1a;
#[path = "decoding/poct1a_peers.rs"]
mod poct1a_peers;
#[path = "decoding/profiles.rs"]
mod profiles;
#[path = "decoding/properties.rs"]
mod properties;
#[path = "decoding/scrubbing.rs"]
mod scrubbing;
#[path = "decoding/strangers.rs"]
mod strangers;
#[path = "decoding/support.rs"]
mod support;
#[path = "decoding/text_captures.rs"]
mod text_captures;
#[path = "decoding/text_link.rs"]
mod text_link;
