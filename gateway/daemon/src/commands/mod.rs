//! One file a subcommand.

pub mod demo;
