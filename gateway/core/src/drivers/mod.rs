//! The families of analyzers. A new one is one file here and one line in [`DRIVERS`].
//!
//! Invariant: a driver knows neither the dialects nor the store. It cannot tell who listens.

pub mod astm;
mod completed;
pub mod exec;
mod flood;
pub mod hl7;
mod noise;
pub mod poct1a;
pub mod scanner;
pub mod test_v0;
pub mod text;
mod unasked;
pub(crate) mod values;

use crate::error::ConfigError;
use crate::event::{EventKind, EventName, Gap};
use crate::reading::Reading;
use crate::session::{Driver, DriverOptions, Session};
use crate::time::Timestamp;
pub use flood::against_noise;

/// Every driver there is.
pub const DRIVERS: &[&dyn Driver] =
    &[&astm::Astm, &hl7::Hl7, &poct1a::Poct1a, &text::Text, &test_v0::TestV0, &exec::Exec, &scanner::Scanner];

/// The driver of that name.
pub fn driver(name: &str) -> Option<&'static dyn Driver> {
    DRIVERS.iter().copied().find(|driver| driver.name() == name)
}

/// Starts a conversation whose events are completed by what the options know of the analyzer's model.
pub fn converse(driver: &dyn Driver, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
    let session = driver.open(options)?;
    let reading = options.reading.clone();
    Ok(if *reading == Reading::default() { session } else { Box::new(completed::Completed { session, reading }) })
}

/// `GAP` for received bytes that could not be kept while the store took nothing.
fn dropped(bytes: usize, until: Timestamp) -> EventKind {
    let reason =
        format!("{bytes} received bytes were dropped: the store took nothing and the memory for them was full");
    let gap = Gap { reason, from: None, to: Some(until) };
    EventKind { gap: Some(gap), ..EventKind::bare(EventName::Gap) }
}
