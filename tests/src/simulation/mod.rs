//! A whole clinic in one thread: the gateway's own `app::run` between simulated analyzers, brokers and receivers, in time
//! that passes only when nobody has anything to do.
//!
//! - [`world`]: the clock of the run, its numbered effects, and the crash at one of them.
//! - [`ports`], [`line`], [`broker`], [`endpoint`]: the ports as the gateway sees them, and the peers behind them. Peers live
//!   outside of the gateway: they survive its crashes and keep their own notes of what was promised to them.
//! - [`scenario`]: what a seed means. [`run`]: plays a scenario, with a crash or without.
//! - [`campaign`]: many of them.
//! - [`clinic`]: a gateway that has events already, and receivers that answer by a rule; for tests that are about deliveries alone.
//! - [`check`]: judges the world afterwards, by the peers' notes and by its own SQL.
//!
//! Invariant: equal seeds give equal traces. Nothing here or in the gateway may depend on addresses, on the order of a
//! `HashMap`, on real time or on tokio's own dice.

pub mod broker;
pub mod campaign;
pub mod check;
pub mod clinic;
pub mod endpoint;
pub mod line;
pub mod ports;
pub mod run;
pub mod scenario;
pub mod world;
