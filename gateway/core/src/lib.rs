//! Everything the gateway knows, and nothing it does.
//!
//! Read the modules in the order in which the data meets them:
//!
//! 1. [`time`]: a moment, as a value. Nothing in this crate reads a clock.
//! 2. [`framing`]: bytes become frames.
//! 3. [`session`] and [`drivers`]: frames become messages; a session asks for bytes to be sent and for captures to be
//!    committed, it never does either. [`reading`]: how one model differs from its protocol; [`worklist`]: what an analyzer
//!    is told to do; [`replay`]: a session at the end of stored bytes instead of a port; [`scrub`]: such bytes without
//!    anybody in them; [`text_rules`]: what a profile says of an analyzer that writes plain text.
//! 4. [`event`]: the domain fact that a message states; [`run`]: the same of a test that is told while it runs;
//!    [`versions`]: the same test stated again.
//! 5. [`dialects`]: an event in the words of one receiver, and what that receiver's answer means. (`hl7`: the text of HL7,
//!    which a driver and a dialect speak.)
//! 6. [`delivery`]: what happens to a delivery after each answer.
//! 7. [`registration`]: a sample expected or received, and the events that follow from it; [`erasure`]: a person's data
//!    taken out of all that; [`manifest`]: proof of what an endpoint was sent.
//! 8. [`line_model`], [`detect`]: bytes of which nobody knows yet what they are.
//! 9. [`config`]: all of it, chosen by one YAML file ([`error`]: what is wrong in there); [`health`] and
//!    [`overview`]: all of it, at a glance; [`vitals`]: what the machine's own numbers foretell; [`monitoring`]: what of it
//!    leaves the clinic; [`fleet`]: many gateways, as somebody sees them who hears that; [`home_assistant`],
//!    [`sparkplug`]: the box in others' words.
//! 10. [`curve`], [`export`], [`report`]: a test as a picture, as a table and as a page for people. [`appliance`]: the box around
//!     all of it; [`plain`]: what others have written, as it may be shown.
//!
//! Invariant: this crate depends on no runtime, no database and no network crate, and reads no clock, file, environment
//! or randomness. Its `Cargo.toml` shows it and `tests/tidy.rs` holds it.

pub mod appliance;
pub mod config;
pub mod curve;
pub mod delivery;
pub mod detect;
pub mod dialects;
pub mod drivers;
pub mod erasure;
pub mod error;
pub mod event;
pub mod export;
pub mod fleet;
pub mod framing;
pub mod health;
mod hl7;
pub mod home_assistant;
pub mod identity;
pub mod line_model;
pub mod manifest;
pub mod markup;
pub mod monitoring;
pub mod mutants;
pub mod overview;
pub mod plain;
pub mod reading;
pub mod registration;
pub mod replay;
pub mod report;
pub mod run;
pub mod scrub;
pub mod session;
pub mod sparkplug;
pub mod text_rules;
pub mod time;
pub mod trouble;
pub mod versions;
pub mod vitals;
pub mod worklist;
