//! The effects around the core: ports, store, dispatcher, commands. `app::run` is the one place that knows all of them.

pub mod api;
pub mod app;
pub mod board;
pub mod calls;
pub mod card;
pub mod commands;
pub mod configuration;
pub mod diagnostics;
pub mod dispatcher;
pub mod entrance;
pub mod housekeeping;
pub mod link;
pub mod metrics;
pub mod observer;
pub mod platform;
pub mod pulse;
pub mod redecode;
pub mod registrar;
pub mod simulated;
mod spans;
pub mod store;
pub mod supervision;
pub mod tally;
pub mod telemetry;
pub mod updates;
