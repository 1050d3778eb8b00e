//! One file a subcommand.

pub mod check;
pub mod devices;
pub mod schema;
