//! The families of analyzers. A new one is one file here and one line in [`DRIVERS`].
//!
//! Invariant: a driver knows neither the dialects nor the store. It cannot tell who listens.

pub mod astm;
pub mod test_v0;

use crate::session::Driver;

/// Every driver there is.
pub const DRIVERS: &[&dyn Driver] = &[&astm::Astm, &test_v0::TestV0];

/// The driver of that name.
pub fn driver(name: &str) -> Option<&'static dyn Driver> {
    DRIVERS.iter().copied().find(|driver| driver.name() == name)
}
