//! The families of analyzers. A new one is one file here and one line in [`DRIVERS`].
//!
//! Invariant: a driver knows neither the dialects nor the store. It cannot tell who listens.

pub mod astm;
pub mod scanner;
pub mod test_v0;
mod unasked;

use crate::event::{EventKind, EventName, Gap};
use crate::session::Driver;
use crate::time::Timestamp;

/// Every driver there is.
pub const DRIVERS: &[&dyn Driver] = &[&astm::Astm, &test_v0::TestV0, &scanner::Scanner];

/// The driver of that name.
pub fn driver(name: &str) -> Option<&'static dyn Driver> {
    DRIVERS.iter().copied().find(|driver| driver.name() == name)
}

/// `GAP` for received bytes that could not be kept while the store took nothing.
fn dropped(bytes: usize, until: Timestamp) -> EventKind {
    let reason =
        format!("{bytes} received bytes were dropped: the store took nothing and the memory for them was full");
    let gap = Gap { reason, from: None, to: Some(until) };
    EventKind { gap: Some(gap), ..EventKind::bare(EventName::Gap) }
}
