//! What the tests share. `simulation`: the whole gateway in one thread, between simulated peers.

pub mod simulation;
