//! `network:` and `broker:`: what the box does beside the gateway. Its privileged half carries it out; see [`crate::appliance`].

use super::{Broker, Config, Mqtt, Secret};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A label of a name (RFC 1123, 2.1), and below the kernel's 64.
const HOSTNAME_BYTES_MAX: usize = 63;
/// The box itself, wherever they are asked for (RFC 6761, hosts(5)); domains (RFC 6762); and what computers ask for by name to take
/// their proxy or their tunnel from whoever is called so (Microsoft's DNS servers keep these two from being given out).
const TAKEN_NAMES: [&str; 7] = ["localhost", "ip6-localhost", "ip6-loopback", "localdomain", "local", "wpad", "isatap"];

/// `network:`; without it nothing but the box's name is touched.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Network {
    /// `None`: `gateway.id`.
    pub hostname: Option<String>,
    /// `None`: the wire stays as the system has it.
    pub ethernet: Option<Ethernet>,
    pub wifi: Option<Wifi>,
    /// For whatever goes to the internet and has no proxy of its own.
    pub proxy: Option<Secret>,
    /// Time servers, names or addresses.
    pub ntp: Vec<String>,
}

/// `network.ethernet`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ethernet {
    /// `None`: every wired one.
    pub interface: Option<String>,
    pub addressing: Addressing,
}

/// `network.wifi`
#[derive(Debug, Clone, PartialEq)]
pub struct Wifi {
    pub interface: String,
    /// 1 to 32 bytes.
    pub ssid: String,
    /// 8 to 63 printable ASCII characters.
    pub password: Secret,
    /// ISO 3166-1, two capital letters: which channels may be used.
    pub country: String,
    pub addressing: Addressing,
}

/// How an interface comes by its address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addressing {
    /// `None`: DHCP.
    pub fixed: Option<Fixed>,
    /// Instead of those that DHCP names.
    pub dns: Vec<IpAddr>,
}

/// A fixed address with its network, and the way out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    pub address: IpNet,
    pub gateway: Option<IpAddr>,
}

/// `broker:`: the box's own mosquitto. It always listens on loopback, at [`OWN_BROKER_PORT`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnBroker {
    /// For others in the house; `None`: nobody but the box itself.
    pub door: Option<BrokerDoor>,
    pub users: Vec<BrokerUser>,
    /// Whether it carries what `monitoring` tells to the second broker.
    pub bridge: bool,
}

/// `broker.listen`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerDoor {
    pub listen: SocketAddr,
    /// Certificate and key; `None`: unencrypted, as somebody has allowed.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// `broker.users[]`
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerUser {
    pub id: String,
    pub password: Secret,
    pub may: BrokerScope,
}

/// `broker.users[].may`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BrokerScope {
    /// Subscribe to everything that the gateway says.
    #[default]
    Read,
    /// Also ask it for something: commands and requests, which need a token besides.
    Operate,
}

/// Where `mqtt.url: mosquitto` is, on loopback.
pub const OWN_BROKER_PORT: u16 = 1883;
/// Who the gateway is there.
pub const OWN_BROKER_USER: &str = "analyzer-gateway";

impl Broker {
    /// Host, port and whether it is encrypted; `None` for the one inside the gateway.
    pub fn place(&self) -> Option<(&str, u16, bool)> {
        match self {
            Broker::Embedded => None,
            Broker::Mosquitto => Some(("127.0.0.1", OWN_BROKER_PORT, false)),
            Broker::Url { host, port, tls } => Some((host, *port, *tls)),
        }
    }
}

impl Config {
    /// Whether the box's own broker carries `monitoring` outside. Then the gateway does not do it a second time.
    pub fn is_bridged(&self) -> bool {
        self.mqtt.broker == Broker::Mosquitto
            && self.monitoring.broker.is_some()
            && self.broker.as_ref().is_some_and(|broker| broker.bridge)
    }

    /// The second broker, if the gateway itself speaks with it.
    pub fn second_broker(&self) -> Option<&Mqtt> {
        self.monitoring.broker.as_ref().filter(|_| !self.is_bridged())
    }

    /// `network.proxy`
    pub fn proxy(&self) -> Option<&Secret> {
        self.network.as_ref()?.proxy.as_ref()
    }

    /// What of these two sections would come to nothing, in sentences.
    pub(super) fn idle_parts(&self) -> Vec<String> {
        let Some(broker) = self.broker.as_ref().filter(|_| self.mqtt.broker != Broker::Mosquitto) else {
            return Vec::new();
        };
        let published = "the gateway publishes nothing to the box's own broker: write `url: mosquitto` under mqtt";
        let bridged = broker.bridge.then_some("broker.bridge carries nothing until `mqtt.url` is `mosquitto`");
        [published].into_iter().chain(bridged).map(str::to_owned).collect()
    }

    /// What an appliance is called in its network; `None`: `gateway.id` cannot be a name there, and nobody has written another.
    pub fn machine_name(&self) -> Option<&str> {
        let written = self.network.as_ref().and_then(|network| network.hostname.as_deref());
        written.or_else(|| Some(self.gateway.id.as_str()).filter(|id| no_hostname(id).is_none()))
    }
}

/// Why this cannot be what a box is called in its network.
pub fn no_hostname(text: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let good = text.len() <= HOSTNAME_BYTES_MAX
        && text.chars().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.contains(|c: char| !c.is_ascii_digit());
    let taken = TAKEN_NAMES.iter().any(|name| name.eq_ignore_ascii_case(text));
    match (good, taken) {
        (false, _) => Some("is not the name of a machine"),
        (true, true) => Some("is a name that means something else in every network"),
        (true, false) => None,
    }
}
