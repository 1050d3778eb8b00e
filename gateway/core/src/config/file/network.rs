//! The shape of `network:` and `broker:`.

use crate::config::BrokerScope;
use schemars::JsonSchema;

/// The box's network. Without this section it is not touched.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Network {
    /// The name of the box in the network. Default: gateway.id.
    #[schemars(regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"))]
    pub hostname: Option<String>,
    /// The wire. Default: as the system has it.
    pub ethernet: Option<Ethernet>,
    /// The wireless network.
    pub wifi: Option<Wifi>,
    /// The proxy for every webhook without its own, for traces and for updates.
    #[schemars(extend("x-secret" = "address"))]
    pub proxy: Option<String>,
    /// Time servers, names or addresses. Default: the system's.
    #[schemars(length(min = 1, max = 8))]
    pub ntp: Option<Vec<String>>,
}

/// The wire.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Ethernet {
    /// Which interface, such as eth0. Default: every wired one.
    pub interface: Option<String>,
    /// A fixed address with the length of its network, such as 192.168.1.50/24. Default: DHCP.
    pub address: Option<String>,
    /// The router.
    pub gateway: Option<String>,
    /// Name servers. Default: those that DHCP names.
    #[schemars(length(min = 1, max = 3))]
    pub dns: Option<Vec<String>>,
}

/// The wireless network.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Wifi {
    /// Which interface. Default: wlan0.
    pub interface: Option<String>,
    /// The network's name.
    pub ssid: String,
    /// The network's password, 8 to 63 characters.
    #[schemars(extend("x-secret" = "whole"))]
    pub password: Option<String>,
    /// A file that holds the password, instead of password.
    pub password_file: Option<String>,
    /// The country where the box stands, in two capital letters.
    #[schemars(regex(pattern = r"^[A-Z]{2}$"))]
    pub country: String,
    /// A fixed address with the length of its network, such as 192.168.1.51/24. Default: DHCP.
    pub address: Option<String>,
    /// The router.
    pub gateway: Option<String>,
    /// Name servers. Default: those that DHCP names.
    #[schemars(length(min = 1, max = 3))]
    pub dns: Option<Vec<String>>,
}

/// The box's own MQTT broker, mosquitto. Without this section it is not started.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OwnBroker {
    /// Address and port for others in the house, such as 0.0.0.0:8883, or off. Default: off.
    pub listen: Option<String>,
    /// The broker's certificate, as a PEM file.
    pub certificate_file: Option<String>,
    /// The key of that certificate, as a PEM file.
    pub key_file: Option<String>,
    /// Whether results may go through the network unencrypted. Default: false.
    pub allow_plain: Option<bool>,
    /// Who may come in.
    pub users: Option<Vec<BrokerUser>>,
    /// Whether mosquitto carries what monitoring tells to the second broker. Default: false.
    pub bridge: Option<bool>,
}

/// Who may come in at the box's own broker.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BrokerUser {
    /// The user name there. Small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub id: String,
    /// The password, 8 to 128 characters.
    #[schemars(extend("x-secret" = "whole"))]
    pub password: Option<String>,
    /// A file that holds the password, instead of password.
    pub password_file: Option<String>,
    /// What they may do: read, or operate, which is also to send commands. Default: read.
    pub may: Option<BrokerScope>,
}
