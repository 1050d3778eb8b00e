//! `session`: a session's numbered, MAC'd event stream (seeds 002 and 003).

use crate::event::EventKind;

/// The session that numbers this event in the dialect `session`; `None`: it has no form there and takes no number.
pub fn session_of(kind: &EventKind) -> Option<String> {
    let _ = kind;
    None
}
