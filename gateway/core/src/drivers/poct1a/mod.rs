//! POCT1-A (CLSI POCT1, formerly NCCLS POCT1-A): the observation reviewer's side of the Device Messaging Layer, for devices
//! at the bedside that speak XML, over TCP or a serial line.
//!
//! [`session`] holds the promise of the whole gateway: no ACK of an observation before its commit. The way of a byte:
//! `framing::xml` (documents) -> `tree` (elements) -> `message` (facts); `answers` writes what is sent.
//! A profile's places are written with the standard's own names: `sample_id: [ORD.order_id, SPC.specimen_id]`.

mod answers;
mod clock;
mod device;
mod message;
mod session;
mod stray;
mod tree;

use crate::error::ConfigError;
use crate::scrub::{self, Pseudonyms, Unscrubbable};
use crate::session::{Driver, DriverOptions, Session};

/// The word in the YAML.
pub const NAME: &str = "poct1a";

/// See the module.
pub struct Poct1a;

impl Driver for Poct1a {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "POCT1-A (CLSI POCT1): point-of-care devices that speak XML, over TCP or a serial line"
    }

    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        Ok(Box::new(session::Conversation::new(options.clone())?))
    }

    fn scrub(&self, _: &DriverOptions, bytes: &[u8], names: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        Ok(scrub::poct1a(bytes, names))
    }
}
