//! The HTTP API as its callers meet it: the real binary, asked over TCP, over the control socket, over MQTT and by its own
//! commands. Every route in good and bad cases.
//!
//! The client is written here by hand, so nothing of the gateway judges itself.

#[path = "api/bench.rs"]
mod bench;
#[path = "api/commands.rs"]
mod commands;
#[path = "api/curves.rs"]
mod curves;
#[path = "api/deliveries.rs"]
mod deliveries;
#[path = "api/doors.rs"]
mod doors;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[path = "api/incoming.rs"]
mod incoming;
#[path = "api/log.rs"]
mod log;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/mosquitto.rs"]
mod mosquitto;
#[path = "api/received.rs"]
mod received;
#[path = "api/samples.rs"]
mod samples;
#[path = "api/schemathesis.rs"]
mod schemathesis;
#[path = "api/worklist.rs"]
mod worklist;
