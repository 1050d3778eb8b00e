//! The gateway as it is steered: endpoints paused and resumed, other settings tried and kept or taken back, commands over MQTT
//! with their refusals, floods and repeats, and MQTT 5 beside 3.1.1. The real binary, a real mosquitto, and paho.

#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "api/bench.rs"]
mod bench;
#[path = "control/commander.rs"]
mod commander;
#[path = "control/commands.rs"]
mod commands;
#[path = "control/five.rs"]
mod five;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/home.rs"]
mod home;
#[allow(dead_code, reason = "the other file of truth uses the rest of it")]
#[path = "process/mosquitto.rs"]
mod mosquitto;
#[path = "control/on_the_box.rs"]
mod on_the_box;
#[path = "control/outside.rs"]
mod outside;
#[path = "control/settings.rs"]
mod settings;
