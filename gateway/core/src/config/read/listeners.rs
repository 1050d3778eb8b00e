//! Who listens where: no two parts of the box at one port.

use super::ports::overlap;
use crate::config::group::{Field, Group};
use crate::config::{Config, OWN_BROKER_PORT, Value};
use std::net::{Ipv4Addr, SocketAddr};

/// Notes what listens where another part does already. Analyzers among themselves are told with their ports.
pub fn read(root: &Group<'_>, config: &Config) {
    let page = config.http.listen.as_ref().and_then(|listen| listen.parse().ok());
    let broker = config.broker.as_ref();
    let door = broker.and_then(|broker| broker.door.as_ref()).map(|door| door.listen);
    let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, OWN_BROKER_PORT));
    // Of the three each is named by its key.
    let mut parts: Vec<(SocketAddr, &str)> = broker.map(|_| (inside, "the box's own broker")).into_iter().collect();
    let note = |field: Field<'_>, listen: SocketAddr, parts: &[(SocketAddr, &str)]| {
        if let Some((other, name)) = parts.iter().find(|(other, _)| overlap(*other, listen)) {
            let problem = format!("is the port of {name} ({other}) too; only one can listen there");
            field.wrong(&problem, "write another port, such as the next number");
        }
    };
    if let (Some(page), Some(field)) = (page, root.get_within("http", "listen")) {
        note(field, page, &parts);
    }
    parts.extend(page.map(|page| (page, "`http.listen`")));
    if let (Some(door), Some(field)) = (door, root.get_within("broker", "listen")) {
        // At port 1883 the door is the box's own way in as well.
        let others: Vec<_> = parts.iter().filter(|(other, _)| *other != inside).copied().collect();
        note(field, door, &others);
    }
    parts.extend(door.map(|door| (door, "`broker.listen`")));
    let analyzers = root.get("analyzers").filter(|field| matches!(field.node.value, Value::List(_)));
    for analyzer in analyzers.map(|field| field.items()).unwrap_or_default() {
        let listen = analyzer.node.get("port").and_then(|port| port.get("tcp")?.get("listen"));
        let listen = listen.and_then(|node| Some((node, node.as_text()?.parse::<SocketAddr>().ok()?)));
        if let Some((node, address)) = listen {
            note(analyzer.below(node, format!("{}.port.tcp.listen", analyzer.path)), address, &parts);
        }
    }
}
