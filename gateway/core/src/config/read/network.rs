//! `network:`: addresses that fit together, names that may be names. What is wrong here would cut the box off, so it is told
//! before anything is tried.

use super::secrets;
use crate::config::group::{Field, Group};
use crate::config::{Addressing, Config, Ethernet, Fixed, Network, Secret, Value, Wifi, address, file};
use ipnet::IpNet;
use std::net::IpAddr;
use url::Url;

/// As resolv.conf(5) has it (MAXNS).
const DNS_SERVERS_MAX: usize = 3;
const TIME_SERVERS_MAX: usize = 8;
/// A label of a name (RFC 1123, 2.1), and below the kernel's 64.
const HOSTNAME_BYTES_MAX: usize = 63;
/// Linux: IFNAMSIZ without its zero.
const INTERFACE_BYTES_MAX: usize = 15;

pub fn read(root: &Group<'_>) -> Option<Network> {
    let group = root.group::<file::Network>("network");
    let written = is_written(root, "network");
    let network = Network {
        hostname: group.get("hostname").and_then(|field| hostname(&field)),
        ethernet: ethernet(&group),
        wifi: wifi(&group),
        proxy: group.get("proxy").and_then(|field| address::proxy(&field)),
        ntp: names(&group, "ntp", TIME_SERVERS_MAX, time_server),
    };
    let address = |addressing: &Addressing| addressing.fixed.map(|fixed| fixed.address.addr());
    let wire = network.ethernet.as_ref().and_then(|ethernet| address(&ethernet.addressing));
    let air = network.wifi.as_ref().and_then(|wifi| address(&wifi.addressing));
    if wire.is_some() && wire == air {
        let suggestion = "give each its own address, or leave one of the two to DHCP";
        group.wrong("wifi", "has the same address as the wire", suggestion);
    }
    written.then_some(network)
}

/// Whether a section has anything in it: its name alone changes nothing.
pub fn is_written(root: &Group<'_>, key: &'static str) -> bool {
    match root.get(key).map(|field| &field.node.value) {
        None | Some(Value::Nothing) => false,
        Some(Value::Group(entries)) => !entries.is_empty(),
        Some(_) => true,
    }
}

fn ethernet(network: &Group<'_>) -> Option<Ethernet> {
    let written = network.get("ethernet").is_some();
    let group = network.group::<file::Ethernet>("ethernet");
    let interface = group.get("interface").and_then(|field| interface(&field));
    let ethernet = Ethernet { interface, addressing: addressing(&group, "192.168.1.50/24") };
    written.then_some(ethernet)
}

fn wifi(network: &Group<'_>) -> Option<Wifi> {
    network.get("wifi")?;
    let group = network.group::<file::Wifi>("wifi");
    let interface = match group.get("interface") {
        Some(field) => interface(&field),
        None => Some("wlan0".to_owned()),
    };
    let ssid = group.need("ssid", "write the network's name: `ssid: \"...\"`").and_then(|field| ssid(&field));
    let password = secrets::one(&group, "password", "password_file");
    if group.get("password").is_none() && group.get("password_file").is_none() {
        let suggestion =
            "add `password: \"...\"`; a network without one is open to everybody, and the box joins none such";
        group.wrong("password", "is missing", suggestion);
    }
    let password = password.filter(|password| is_passphrase(&group, password));
    let country = "write the country where the box stands in two capital letters, such as `country: DE`";
    let country = group.need("country", country).and_then(|field| {
        let text = field.text()?;
        let good = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if !good {
            field.wrong("is not a country in two capital letters", "write one such as `DE`, `SE` or `US`");
        }
        good.then(|| text.to_owned())
    });
    let addressing = addressing(&group, "192.168.1.51/24");
    Some(Wifi { interface: interface?, ssid: ssid?, password: password?, country: country?, addressing })
}

fn ssid(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() > 32 || text.contains(char::is_control) {
        let suggestion = "write the name as the access point shows it: 1 to 32 bytes, on one line";
        field.wrong("is not the name of a wireless network", suggestion);
        return None;
    }
    Some(text.to_owned())
}

/// IEEE 802.11: 8 to 63 characters, each of the printable ones of ASCII.
fn is_passphrase(group: &Group<'_>, password: &Secret) -> bool {
    let text = password.expose();
    let key = if group.get("password").is_some() { "password" } else { "password_file" };
    let problem = if !(8..=63).contains(&text.len()) {
        "must have 8 to 63 characters: no wireless network has another password"
    } else if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        "has a character that no wireless password can have"
    } else if text.contains('"') && text.contains('#') {
        // wpa_supplicant.conf(5): what follows a # behind a second quote is a comment.
        "has both \" and #, which cannot be written down for the program that joins the network"
    } else {
        return true;
    };
    group.wrong(key, problem, "compare it with the password that other devices use there");
    false
}

fn hostname(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let good = text.len() <= HOSTNAME_BYTES_MAX
        && text.chars().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.contains(|c: char| !c.is_ascii_digit());
    if !good {
        let suggestion = "write letters, digits and dashes, at most 63, such as `clinic-7`";
        field.wrong("is not the name of a machine", suggestion);
    }
    good.then(|| text.to_owned())
}

fn interface(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let good = text.len() <= INTERFACE_BYTES_MAX && text.chars().all(plain) && !matches!(text, "." | ".." | "lo");
    if !good {
        field.wrong("is not the name of an interface", "write one that `ip link` shows, such as `eth0`");
    }
    good.then(|| text.to_owned())
}

/// A name or an address.
fn time_server(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let named = text.len() <= 253 && text.chars().all(plain) && !text.starts_with(['-', '.']);
    if !named && text.parse::<IpAddr>().is_err() {
        let suggestion = "write a name or an address and nothing else, such as `ntp.clinic.example`";
        field.wrong("is not a time server", suggestion);
        return None;
    }
    Some(text.to_owned())
}

/// The good ones of a list that has a bound.
fn names<T: PartialEq>(
    group: &Group<'_>,
    key: &'static str,
    most: usize,
    read: impl Fn(&Field<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(field) = group.get(key) else { return Vec::new() };
    let items = field.items();
    if !(1..=most).contains(&items.len()) && matches!(field.node.value, Value::List(_)) {
        field.wrong(&format!("must have from 1 to {most} entries"), "write them in brackets, or remove the key");
    }
    let mut found = Vec::new();
    for item in items {
        let Some(one) = read(&item) else { continue };
        if found.contains(&one) {
            item.wrong("is in the list already", "remove one of the two");
        }
        found.push(one);
    }
    found
}

/// `address`, `gateway` and `dns` of one interface.
fn addressing(group: &Group<'_>, example: &str) -> Addressing {
    let dns = names(group, "dns", DNS_SERVERS_MAX, |field| {
        let server = field.text()?.parse::<IpAddr>().ok();
        let server = server.filter(|server| !server.is_unspecified() && !server.is_multicast());
        if server.is_none() {
            field.wrong("is not the address of a name server", "write an IP address such as `192.168.1.1`");
        }
        server
    });
    let written = group.get("gateway");
    let Some(field) = group.get("address") else {
        let suggestion = format!("add `address: {example}`, or remove this line: DHCP names the router");
        group.refuse(&["gateway"], "belongs to `address`, which is missing", &suggestion);
        return Addressing { fixed: None, dns };
    };
    let address = own_address(&field, example);
    let gateway = written.and_then(|field| gateway(&field, address));
    Addressing { fixed: address.map(|address| Fixed { address, gateway }), dns }
}

fn own_address(field: &Field<'_>, example: &str) -> Option<IpNet> {
    let text = field.text()?;
    if text == "dhcp" {
        field.wrong("is not an address", "remove this line: without it the network is asked (DHCP)");
        return None;
    }
    let Ok(net) = text.parse::<IpNet>() else {
        let (problem, suggestion) = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                ("lacks the length of its network", format!("write `{address}/24` if the mask is 255.255.255.0"))
            }
            Ok(address) => ("lacks the length of its network", format!("write `{address}/64`")),
            Err(_) => ("is not an address with the length of its network", format!("write one such as `{example}`")),
        };
        field.wrong(problem, &suggestion);
        return None;
    };
    let address = net.addr();
    let unusable = address.is_loopback() || address.is_multicast() || address.is_unspecified() || net.prefix_len() == 0;
    if unusable || is_end(&net, address) {
        let problem = if unusable { "cannot be the address of a box" } else { "is the network itself, or all of it" };
        field.wrong(problem, &format!("write an address of one machine, such as `{example}`"));
        return None;
    }
    Some(net)
}

fn gateway(field: &Field<'_>, address: Option<IpNet>) -> Option<IpAddr> {
    let Ok(gateway) = field.text()?.parse::<IpAddr>() else {
        field.wrong("is not the address of a router", "write an IP address such as `192.168.1.1`");
        return None;
    };
    let Some(net) = address else { return Some(gateway) };
    // A router of IPv6 is often known by its link's own address (RFC 4861).
    let of_link = matches!((gateway, net), (IpAddr::V6(router), IpNet::V6(_)) if router.is_unicast_link_local());
    let problem = if !of_link && !net.contains(&gateway) {
        "cannot be reached from `address`: it is in another network"
    } else if gateway == net.addr() {
        "is the box's own address"
    } else if is_end(&net, gateway) {
        "is the network itself, or all of it"
    } else {
        return Some(gateway);
    };
    field.wrong(problem, &format!("write the router's address, one of {}", net.trunc()));
    None
}

/// The first and the last address of a network of IPv4 are nobody's, unless it is a line between two (RFC 3021).
fn is_end(net: &IpNet, address: IpAddr) -> bool {
    matches!(net, IpNet::V4(_)) && net.prefix_len() < 31 && (address == net.network() || address == net.broadcast())
}

/// `network.proxy` for whatever leaves the house and names none.
pub fn spread_proxy(root: &Group<'_>, config: &mut Config) {
    let off = switched_off(root);
    let Some(proxy) = config.proxy().cloned() else { return };
    let leaves = |url: &str| {
        let url = Url::parse(url).ok().filter(|url| url.scheme().starts_with("http"));
        url.is_some_and(|url| url.host_str().is_some_and(|host| !address::is_in_house(host)))
    };
    for webhook in config.webhooks.iter_mut().filter(|webhook| !off.contains(&webhook.id)) {
        if webhook.proxy.is_none() && leaves(&webhook.url) {
            webhook.proxy = Some(proxy.clone());
        }
    }
    if config.telemetry.otlp_url.as_deref().is_some_and(leaves) {
        config.telemetry.proxy = Some(proxy.clone());
    }
    if config.registrations.lab_id_url.as_deref().is_some_and(leaves) {
        config.registrations.proxy = Some(proxy);
    }
}

/// The endpoints with `proxy: off`.
fn switched_off(root: &Group<'_>) -> Vec<String> {
    let Some(Value::List(items)) = root.get("webhooks").map(|field| &field.node.value) else { return Vec::new() };
    let off = items.iter().filter(|item| item.get("proxy").and_then(|node| node.as_text()) == Some("off"));
    off.filter_map(|item| item.get("id")?.as_text().map(str::to_owned)).collect()
}
