//! The commands with which a person looks at a gateway, against the real binary: while it runs, and while it is down.
//!
//! What they show is compared with what was sent to the gateway, never with what another command says.

#[path = "tools/backup.rs"]
mod backup;
#[path = "tools/box.rs"]
mod box_;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/cable.rs"]
mod cable;
#[path = "tools/doctor.rs"]
mod doctor;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[path = "tools/keeping.rs"]
mod keeping;
#[path = "tools/pages.rs"]
mod pages;
#[path = "tools/shown.rs"]
mod shown;
