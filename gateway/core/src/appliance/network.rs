//! `network:` as files: for systemd-networkd with wpa_supplicant, or for NetworkManager; and for systemd-timesyncd.
//!
//! Formats: systemd.network(5), wpa_supplicant.conf(5), nm-settings-keyfile(5), timesyncd.conf(5).
//!
//! Invariant: a name of a wireless network is written as numbers, so that nothing in it is read as anything else.

use super::generated::{Generated, HEAD, Part, Readers, Renderer, on_one_line};
use super::layout;
use crate::config::{Addressing, Ethernet, Network, Secret, Wifi};
use data_encoding::HEXLOWER;
use std::fmt::Write;
use std::net::IpAddr;

/// Which of two networks is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// As it is written.
    Settings,
    /// The same with DHCP on every wire besides. A fixed address stays, so that an analyzer that calls it still gets through
    /// once the switch is back, but the way out is the one that DHCP names.
    Fallback,
}

/// All files of this section.
pub fn files(network: &Network, renderer: Renderer, plan: Plan) -> Vec<Generated> {
    let mut files = match renderer {
        Renderer::Networkd => networkd(network, plan),
        Renderer::NetworkManager => network_manager(network, plan),
    };
    if !network.ntp.is_empty() {
        let servers: Vec<String> = network.ntp.iter().map(|server| on_one_line(server)).collect();
        let text = format!("{HEAD}[Time]\nNTP={}\n", servers.join(" "));
        files.push(file("/run/systemd/timesyncd.conf.d/analyzer-gateway.conf", text, Readers::All, Part::Time));
    }
    files
}

fn file(path: impl Into<String>, text: String, readers: Readers, part: Part) -> Generated {
    Generated { path: path.into(), text: Secret::new(&text), readers, part }
}

/// The wire that has no settings of its own and is asked for an address all the same.
fn other_wires(network: &Network, plan: Plan) -> Option<Ethernet> {
    let all_are_written = network.ethernet.as_ref().is_some_and(|ethernet| ethernet.interface.is_none());
    (plan == Plan::Fallback && !all_are_written).then(Ethernet::default)
}

fn networkd(network: &Network, plan: Plan) -> Vec<Generated> {
    let mut files = Vec::new();
    let mut add = |name: &str, matching: &str, addressing: &Addressing| {
        let path = format!("/run/systemd/network/10-analyzer-gateway-{name}.network");
        let text = format!("{HEAD}[Match]\n{matching}\n\n{}", networkd_text(addressing, plan));
        files.push(file(path, text, Readers::All, Part::Network));
    };
    // Wired, and made of hardware: no bridge, no tunnel.
    let any = "Type=ether\nKind=!*";
    let named = |name: &str| format!("Name={}", on_one_line(name));
    if let Some(ethernet) = &network.ethernet {
        let matching = ethernet.interface.as_deref().map_or(any.to_owned(), named);
        add("ethernet", &matching, &ethernet.addressing);
    }
    if let Some(wifi) = &network.wifi {
        add("wifi", &named(&wifi.interface), &wifi.addressing);
    }
    // Sorted behind the others by its name: the first file that matches counts.
    if let Some(ethernet) = other_wires(network, plan) {
        add("wired", any, &ethernet.addressing);
    }
    if let Some(wifi) = &network.wifi {
        let path = format!("{}/wifi-{}.conf", layout::SAYS, on_one_line(&wifi.interface));
        files.push(file(path, wpa_supplicant(wifi), Readers::Nobody, Part::Wifi(wifi.interface.clone())));
    }
    files
}

fn networkd_text(addressing: &Addressing, plan: Plan) -> String {
    let dhcp = match (plan, addressing.fixed.map(|fixed| fixed.address.addr())) {
        (Plan::Fallback, _) | (_, None) => "yes",
        (_, Some(IpAddr::V4(_))) => "no",
        (_, Some(IpAddr::V6(_))) => "ipv4",
    };
    let mut text = format!("[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP={dhcp}\n");
    for server in &addressing.dns {
        let _ = writeln!(text, "DNS={server}");
    }
    if let Some(fixed) = &addressing.fixed {
        // An address that another machine has already is not taken (RFC 5227).
        let _ = write!(text, "\n[Address]\nAddress={}\nDuplicateAddressDetection=both\n", fixed.address);
        if let Some(gateway) = fixed.gateway.filter(|_| plan == Plan::Settings) {
            let _ = write!(text, "\n[Route]\nGateway={gateway}\n");
        }
    }
    if !addressing.dns.is_empty() && dhcp != "no" && plan == Plan::Settings {
        text.push_str("\n[DHCPv4]\nUseDNS=no\n\n[DHCPv6]\nUseDNS=no\n");
    }
    text
}

fn wpa_supplicant(wifi: &Wifi) -> String {
    let ssid = HEXLOWER.encode(wifi.ssid.as_bytes());
    // A passphrase ends at the last quote of its line, so it may have some inside, but then no #: the settings refuse both together.
    format!(
        "{HEAD}ctrl_interface=/run/wpa_supplicant\ncountry={}\nnetwork={{\n\tssid={ssid}\n\tscan_ssid=1\n\
         \tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk=\"{}\"\n}}\n",
        on_one_line(&wifi.country),
        on_one_line(wifi.password.expose()),
    )
}

fn network_manager(network: &Network, plan: Plan) -> Vec<Generated> {
    let mut files = Vec::new();
    let mut add = |name: &str, kind: &str, interface: Option<&str>, rest: &str, addressing: &Addressing| {
        let path = format!("/run/NetworkManager/system-connections/analyzer-gateway-{name}.nmconnection");
        // What is written by name goes before what takes any wire.
        let priority = if name == "wired" { 50 } else { 100 };
        let interface = interface.map(|name| format!("interface-name={}\n", on_one_line(name))).unwrap_or_default();
        let text = format!(
            "{HEAD}[connection]\nid=analyzer-gateway-{name}\nuuid={}\ntype={kind}\n{interface}autoconnect-priority={priority}\n\
             \n[{kind}]\n{rest}\n{}",
            uuid(name),
            keyfile_addresses(addressing, plan),
        );
        files.push(file(path, text, Readers::Nobody, Part::Network));
    };
    if let Some(ethernet) = &network.ethernet {
        add("ethernet", "ethernet", ethernet.interface.as_deref(), "", &ethernet.addressing);
    }
    if let Some(wifi) = &network.wifi {
        let ssid: String = wifi.ssid.bytes().map(|byte| format!("{byte};")).collect();
        let rest = format!(
            "mode=infrastructure\nhidden=true\nssid={ssid}\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={}\n",
            keyfile_text(wifi.password.expose())
        );
        add("wifi", "wifi", Some(&wifi.interface), &rest, &wifi.addressing);
    }
    if let Some(ethernet) = other_wires(network, plan) {
        add("wired", "ethernet", None, "", &ethernet.addressing);
    }
    files
}

/// Of no meaning but to be the same at every start.
fn uuid(name: &str) -> &'static str {
    match name {
        "ethernet" => "6d1f0c1e-5f55-4c7e-9a53-4c5f0d6a1b01",
        "wifi" => "6d1f0c1e-5f55-4c7e-9a53-4c5f0d6a1b02",
        _ => "6d1f0c1e-5f55-4c7e-9a53-4c5f0d6a1b03",
    }
}

/// Blanks and backslashes as GLib's key files want them.
fn keyfile_text(text: &str) -> String {
    on_one_line(text).replace('\\', "\\\\").replace(' ', "\\s")
}

fn keyfile_addresses(addressing: &Addressing, plan: Plan) -> String {
    let fixed = addressing.fixed.as_ref();
    let section = |name: &str, is_mine: fn(&IpAddr) -> bool| {
        let fixed = fixed.filter(|fixed| is_mine(&fixed.address.addr()));
        let method = if fixed.is_some() && plan == Plan::Settings { "manual" } else { "auto" };
        let mut text = format!("[{name}]\nmethod={method}\n");
        if let Some(fixed) = fixed {
            let _ = writeln!(text, "address1={}", fixed.address);
            if let Some(gateway) = fixed.gateway.filter(|_| plan == Plan::Settings) {
                let _ = writeln!(text, "gateway={gateway}");
            }
        }
        let dns: String =
            addressing.dns.iter().filter(|server| is_mine(server)).map(|server| format!("{server};")).collect();
        if !dns.is_empty() {
            let _ = writeln!(text, "dns={dns}");
        }
        if !addressing.dns.is_empty() && plan == Plan::Settings {
            text.push_str("ignore-auto-dns=true\n");
        }
        text
    };
    format!("{}\n{}", section("ipv4", IpAddr::is_ipv4), section("ipv6", IpAddr::is_ipv6))
}
