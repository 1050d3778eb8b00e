//! Other people's programs as analyzers: they put their messages together, frame and send them, and read the answers with
//! their own parsers, against the real binary on loopback TCP and on a pseudo-terminal.
//!
//! `tests/run` installs them below `target/judges`; what is not there is skipped aloud, and where `CI=true` that is a failure.

// The modules of the process tests that are used here have more than these tests need.
#![allow(dead_code)]

#[path = "process/database.rs"]
mod database;
#[path = "peers/hl7.rs"]
mod hl7;
#[path = "process/home.rs"]
mod home;
