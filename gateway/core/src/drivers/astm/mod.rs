//! ASTM: LIS01-A2 (E1381) sessions carrying LIS2-A2 (E1394) records, or such records without any frame.
//!
//! A host query becomes `QUERY_RECEIVED`; once its session is over, the gateway sends what the registrations say, or that there
//! is no information. Records without frames cannot be answered: turn host query off in that analyzer's menu.
//!
//! [`session`] holds the promise of the whole gateway: no ACK before the commit. The way of a byte:
//! `framing::astm` (frames) -> `assembly` (messages) -> `records` (fields) -> `message` (facts).

mod answer;
mod assembly;
mod capture;
mod message;
mod places;
mod plain;
mod records;
mod resend;
mod scrub;
mod session;
mod soh;

pub use super::noise::language as guess;
pub use capture::{lacks_enq, records_of};

use super::noise::Awaited;
use crate::error::ConfigError;
use crate::scrub::{Pseudonyms, Unscrubbable};
use crate::session::{Driver, DriverOptions, Framing, Session};
use std::borrow::Cow;

/// What is waited for while no session is open.
const AWAITED: Awaited = Awaited { code: "not_astm", lacking: "the ENQ that begins a session", framed: None };

/// Where the settings say that there are no frames.
const UNFRAMED: Option<&str> =
    Some("these are frames of ASTM (LIS01-A2): remove `framing:`, or write the profile of the model that this is");

/// What is waited for without frames: records, or an envelope around them.
const AWAITED_RECORDS: Awaited =
    Awaited { code: "not_astm", lacking: "the H record that begins a message", framed: UNFRAMED };
const AWAITED_SOH: Awaited = Awaited { code: "not_astm", lacking: "the SOH that begins a message", framed: UNFRAMED };

/// See the module.
pub struct Astm;

impl Driver for Astm {
    fn name(&self) -> &'static str {
        "astm"
    }

    fn about(&self) -> &'static str {
        "ASTM E1381/E1394 (LIS01-A2, LIS2-A2): most laboratory analyzers with a serial or TCP host interface"
    }

    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        Ok(match options.framing {
            Framing::E1381 => Box::new(session::E1381::new(options.clone())),
            Framing::None => Box::new(plain::Plain::new(options.clone())),
            Framing::Soh => Box::new(soh::Soh::new(options.clone())),
        })
    }

    fn with_its_start<'a>(&self, options: &DriverOptions, message: &'a [u8], ended: bool) -> Cow<'a, [u8]> {
        match options.framing {
            Framing::E1381 => capture::from_the_start(message, options.frame_bytes_max, ended),
            Framing::None | Framing::Soh => Cow::Borrowed(message),
        }
    }

    fn scrub(&self, options: &DriverOptions, bytes: &[u8], names: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        Ok(scrub::scrub(bytes, &options.reading, names))
    }
}
