//! The gateway as it is shipped: the real binary on pseudo-terminals and sockets, against a real mosquitto and HTTP
//! receivers that verify what they get, killed, stopped, starved and lied to.
//!
//! Nothing here asks the gateway for its opinion: the analyzers' side is `gateway_daemon::simulated` (which shares no
//! protocol code with the gateway), the broker is Debian's, the store is read with SQL written here. Every wait is for a
//! condition and has a deadline; no time is ever asserted but generous ones.

#[path = "process/broker.rs"]
mod broker;
#[path = "process/cable.rs"]
mod cable;
#[path = "process/certificates.rs"]
mod certificates;
#[path = "process/commands.rs"]
mod commands;
#[path = "process/database.rs"]
mod database;
#[path = "process/home.rs"]
mod home;
#[path = "process/identity.rs"]
mod identity;
#[path = "process/kill.rs"]
mod kill;
#[path = "process/lifecycle.rs"]
mod lifecycle;
#[path = "process/mosquitto.rs"]
mod mosquitto;
#[path = "process/programs.rs"]
mod programs;
#[path = "process/redecode.rs"]
mod redecode;
#[path = "process/talkers.rs"]
mod talkers;
#[path = "process/unknown.rs"]
mod unknown;
#[path = "process/watcher.rs"]
mod watcher;
#[path = "process/webhooks.rs"]
mod webhooks;
#[path = "process/wire.rs"]
mod wire;
