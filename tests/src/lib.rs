//! The testkit. `binary`: which program the tests of processes run. `cases`: the fixtures of the dialects. `contract`: every
//! message over MQTT against the list of topics. `conversations`: one that each driver understands; `fuzz`: the same, damaged.
//! `http`: a client that writes it by hand. `judge`: where programs are that judge from outside. `ports`: the smallest ones that a
//! store can run on. `simulation`: the whole gateway in one thread, between simulated peers, and the checkers that judge it.

mod binary;
pub mod cases;
pub mod contract;
pub mod conversations;
pub mod fuzz;
pub mod http;
pub mod judge;
pub mod ports;
pub mod simulation;

pub use binary::binary;
