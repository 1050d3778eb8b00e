//! What is said over MQTT: docs/mqtt.md is what the code says, and other people's subscribers see what it says; the broker
//! outside of the clinic gets the gateway's state and never an event, by its own connection and by mosquitto's bridge.

#[path = "monitoring/bridge.rs"]
mod bridge;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/cable.rs"]
mod cable;
#[path = "process/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[path = "monitoring/home_assistant.rs"]
mod home_assistant;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/mosquitto.rs"]
mod mosquitto;
#[path = "monitoring/namesakes.rs"]
mod namesakes;
#[path = "monitoring/outside.rs"]
mod outside;
#[path = "monitoring/page.rs"]
mod page;
#[path = "monitoring/plant.rs"]
mod plant;
#[path = "monitoring/silent.rs"]
mod silent;
#[path = "monitoring/subscribers.rs"]
mod subscribers;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/watcher.rs"]
mod watcher;
