//! The effects around the core: ports, store, dispatcher, commands. `app::run` is the one place that knows all of them.

pub mod commands;
pub mod platform;
pub mod store;
