//! The testkit: simulated ports and independent checkers.

pub mod ports;
