//! The testkit. `cases`: the fixtures of the dialects. `ports`: the smallest ones that a store can run on. `simulation`: the
//! whole gateway in one thread, between simulated peers, and the checkers that judge it.

pub mod cases;
pub mod ports;
pub mod simulation;
