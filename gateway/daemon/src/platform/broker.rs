//! The broker inside the process (rumqttd): for a box without mosquitto, and for the demo. It listens on loopback only
//! and forgets everything when the process ends, which costs nothing: the store is the truth.

use rumqttd::{ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The port that MQTT is known by; the next free one is taken if somebody has it.
pub const FIRST_PORT: u16 = 1883;

/// Starts the broker and returns its port. It runs on threads of its own until the process ends: the library has no way
/// to stop it.
pub fn start(first_port: u16, packet_bytes_max: usize) -> Result<u16, String> {
    let port = free_port(first_port)?;
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: packet_bytes_max,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "local".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 64,
        max_outgoing_packet_count: 200,
        // Kept small on purpose: the library's own sample asks for gigabytes. A segment must hold the longest packet.
        max_segment_size: (256 * 1024).max(packet_bytes_max),
        max_segment_count: 4,
        ..RouterConfig::default()
    };
    let config = rumqttd::Config {
        router,
        v4: Some(HashMap::from([("local".to_owned(), server)])),
        ..rumqttd::Config::default()
    };
    let thread = std::thread::Builder::new().name("broker".to_owned());
    thread
        .spawn(move || {
            if let Err(error) = rumqttd::Broker::new(config).start() {
                tracing::error!(%error, "the embedded broker has stopped");
            }
        })
        .map_err(|error| format!("the embedded broker does not start: {error}"))?;
    Ok(port)
}

/// The first free port of a hundred; 0 lets the system choose.
fn free_port(first: u16) -> Result<u16, String> {
    let candidates = if first == 0 { 0..=0 } else { first..=first.saturating_add(99) };
    for port in candidates {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            && let Ok(address) = listener.local_addr()
        {
            return Ok(address.port());
        }
    }
    Err(format!("no free port from {first} on for the embedded broker"))
}
