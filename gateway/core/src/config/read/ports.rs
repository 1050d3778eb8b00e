//! `analyzers[].port`: exactly one way to the analyzer, and no two analyzers on the same one.

use crate::config::group::{Field, Group};
use crate::config::{Port, address, file};
use std::net::SocketAddr;

/// Where udev names adapters by their socket.
const BY_PATH: &str = "/dev/serial/by-path/";
const WAYS: [&str; 5] = ["path", "usb", "by_path", "tcp", "input"];
const EXAMPLES: &str = "write one of `path: /dev/ttyUSB0`, `usb: 0403:6001`, `by_path: ...` and `tcp: ...` \
     (`analyzer-gateway devices` shows what is plugged in)";

pub fn read(analyzer: &Group<'_>) -> Option<Port> {
    let field = analyzer.need("port", EXAMPLES)?;
    if field.node.as_text().is_some() {
        field.wrong("must say in which way the analyzer is plugged in", EXAMPLES);
        return None;
    }
    let noted = analyzer.context.mistakes.borrow().len();
    let group = analyzer.group::<file::Port>("port");
    let written: Vec<&str> = WAYS.into_iter().filter(|way| group.get(way).is_some()).collect();
    let path = group.get("path").and_then(|field| field.path(false)).map(|path| match path.strip_prefix(BY_PATH) {
        // One spelling for one socket, so that a second analyzer there is noticed.
        Ok(name) => Port::ByPath(name.to_string_lossy().into_owned()),
        Err(_) => Port::Path(path),
    });
    let usb = usb(&group);
    let by_path = group.get("by_path").and_then(|field| by_path(&field));
    let tcp = group.get("tcp").is_some().then(|| tcp(&group)).flatten();
    let input = group.get("input").and_then(|field| field.path(false)).map(Port::Input);
    match written.as_slice() {
        [_] => path.or(usb).or(by_path).or(tcp).or(input),
        [] if analyzer.context.mistakes.borrow().len() > noted => None,
        [] => {
            analyzer.wrong("port", "does not say where the analyzer is plugged in", EXAMPLES);
            None
        }
        several => {
            let problem = format!("names several places: {}", several.join(", "));
            analyzer.wrong("port", &problem, &format!("keep one of them, for example `{}`", several[0]));
            None
        }
    }
}

fn usb(group: &Group<'_>) -> Option<Port> {
    let serial = group.text("serial");
    let Some(field) = group.get("usb") else {
        group.refuse(
            &["serial"],
            "belongs to `usb`, which is missing",
            "add `usb:` with the adapter's ids, or remove this",
        );
        return None;
    };
    let text = field.text()?;
    let part = |text: &str| (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok()).flatten();
    let ids = text.split_once(':').and_then(|(vendor, product)| Some((part(vendor)?, part(product)?)));
    let Some((vendor, product)) = ids else {
        field.wrong(
            "must be the two ids of a USB adapter",
            "write them as `0403:6001`; `analyzer-gateway devices` shows them",
        );
        return None;
    };
    Some(Port::Usb { vendor, product, serial })
}

fn by_path(field: &Field<'_>) -> Option<Port> {
    let text = field.text()?;
    let name = text.strip_prefix(BY_PATH).unwrap_or(text);
    if name.contains('/') {
        let suggestion =
            "write a name such as `pci-0000:00:14.0-usb-0:1:1.0-port0`; `analyzer-gateway devices` shows them";
        field.wrong("must be a name of the folder /dev/serial/by-path", suggestion);
        return None;
    }
    Some(Port::ByPath(name.to_owned()))
}

fn tcp(group: &Group<'_>) -> Option<Port> {
    let tcp = group.group::<file::Tcp>("tcp");
    match (tcp.get("listen"), tcp.get("connect")) {
        (Some(listen), None) => address::listen(&listen).map(Port::TcpListen),
        (None, Some(connect)) => address::connect(&connect).map(Port::TcpConnect),
        (None, None) => {
            let suggestion = "write `listen: 0.0.0.0:5600` if the analyzer calls, else `connect: HOST:PORT`";
            group.wrong("tcp", "needs `listen` or `connect`", suggestion);
            None
        }
        (Some(_), Some(_)) => {
            group.wrong("tcp", "has both `listen` and `connect`", "keep the one that fits: who calls whom?");
            None
        }
    }
}

/// The ports that earlier analyzers have.
#[derive(Default)]
pub struct Used(Vec<(Port, String)>);

impl Used {
    /// Notes a port that another analyzer uses already, or may take away.
    pub fn note(&mut self, analyzer: &Group<'_>, port: &Port, id: Option<&str>) {
        if let Some((other, owner)) = self.0.iter().find(|(other, _)| clash(other, port)) {
            let (problem, suggestion) = match (other, port) {
                (Port::Usb { serial: None, .. }, Port::Usb { .. })
                | (Port::Usb { .. }, Port::Usb { serial: None, .. }) => (
                    format!("could be the same adapter as that of `{owner}`"),
                    "add `serial:` to both, or name the socket with `by_path:`",
                ),
                _ => (format!("is already the port of `{owner}`"), "write this analyzer's own port"),
            };
            analyzer.wrong("port", &problem, suggestion);
        }
        self.0.push((port.clone(), id.unwrap_or("another analyzer").to_owned()));
    }
}

fn clash(one: &Port, other: &Port) -> bool {
    match (one, other) {
        (Port::Usb { vendor, product, serial }, Port::Usb { vendor: v, product: p, serial: s }) => {
            (vendor, product) == (v, p) && (serial.is_none() || s.is_none() || serial == s)
        }
        (Port::TcpListen(one), Port::TcpListen(other)) => {
            let parsed = |text: &str| text.parse::<SocketAddr>().ok();
            let (Some(one), Some(other)) = (parsed(one), parsed(other)) else { return one == other };
            overlap(one, other)
        }
        _ => one == other,
    }
}

/// Whether only one of two parts can listen: at the same address, or one at all of them. All of IPv6 is all of IPv4 too
/// (ipv6(7), IPV6_V6ONLY).
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |one: SocketAddr, other: SocketAddr| one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    one.port() == other.port() && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}
