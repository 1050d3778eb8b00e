//! The wires to endpoints, on real sockets of this machine: whom the gateway trusts, which way it goes, how it bears what a
//! receiver does to it, and what it says of each. Receivers here are written by hand, so that they can do what no library
//! would; certificates are made on the spot.

#[path = "endpoints/answers.rs"]
mod answers;
#[path = "endpoints/mllp.rs"]
mod mllp;
#[path = "endpoints/servers.rs"]
mod servers;
#[path = "endpoints/trust.rs"]
mod trust;
#[path = "endpoints/ways.rs"]
mod ways;
