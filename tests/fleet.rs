//! A fleet at real brokers: a thousand simulated gateways at mosquitto and at nats-server, those that need a person found
//! within seconds, and brokers with the configurations of `config/monitoring`, which let no box speak for another.
//!
//! The gateways and the watch are the real binary. The bound of five seconds is part of the promise: it is measured from the
//! moment at which a change was published, by the same clock.

#[path = "fleet/brokers.rs"]
mod brokers;
#[path = "fleet/found.rs"]
mod found;
#[path = "fleet/guarded.rs"]
mod guarded;
#[path = "fleet/processes.rs"]
mod processes;
