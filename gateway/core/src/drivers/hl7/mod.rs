//! HL7 version 2 over MLLP, on a serial line as well as on TCP: results (ORU, OUL), queries (QBP^Q11, QRY^Q02, ORM^O01).
//!
//! [`session`] keeps the gateway's promise: AA, and CA in the enhanced mode, only after the commit. The way of a byte:
//! `framing::mllp` (blocks) -> `syntax` (segments and fields) -> `header` (whom to answer, and how) -> `groups` and `values`
//! (tests with their results) or `inquiry` (what is asked) -> `answer` and `worklist` (what is sent back).

mod answer;
mod groups;
mod header;
mod inquiry;
mod message;
mod outbox;
mod session;
mod syntax;
mod values;
mod worklist;

use super::noise::Awaited;
use crate::error::ConfigError;
use crate::scrub::{self, Pseudonyms, Unscrubbable};
use crate::session::{Driver, DriverOptions, Session};

const AWAITED: Awaited = Awaited { code: "not_hl7", lacking: "the VT that begins a message of MLLP", framed: None };
/// The same where the settings say that there is no MLLP.
const AWAITED_BARE: Awaited = Awaited { code: "not_hl7", lacking: "the MSH that begins a message", framed: None };

/// See the module.
pub struct Hl7;

impl Driver for Hl7 {
    fn name(&self) -> &'static str {
        "hl7"
    }

    fn about(&self) -> &'static str {
        "HL7 version 2 over MLLP (ORU^R01, OUL^R22 of IHE LAW): many analyzers on the network, some on a serial line"
    }

    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        Ok(Box::new(session::Conversation::new(options.clone())))
    }

    fn scrub(&self, options: &DriverOptions, bytes: &[u8], names: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        Ok(scrub::hl7(bytes, &options.reading, names))
    }
}
