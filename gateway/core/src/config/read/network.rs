//! `network:`: addresses that fit together, names that may be names. What is wrong here would cut the box off, so it is told
//! before anything is tried.

use super::secrets;
use crate::config::group::{Field, Group, is_id};
use crate::config::network::no_hostname;
use crate::config::{Addressing, Config, Ethernet, Fixed, Network, Secret, Value, Wifi, address, file};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use url::Url;

/// As resolv.conf(5) has it (MAXNS).
const DNS_SERVERS_MAX: usize = 3;
const TIME_SERVERS_MAX: usize = 8;
/// The codes of ISO 3166-1, as Linux's wireless-regdb knows countries.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY \
                         BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ \
                         FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO \
                         IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF \
                         MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG \
                         PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX \
                         SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT \
                         ZA ZM ZW";
/// The largest network of a house (RFC 1918).
const SHORTEST_IPV4: u8 = 8;
/// Linux: IFNAMSIZ without its zero.
const INTERFACE_BYTES_MAX: usize = 15;

pub fn read(root: &Group<'_>) -> Option<Network> {
    let group = root.group::<file::Network>("network");
    let written = is_written(root, "network");
    if written && group.get("hostname").is_none() {
        named_by_id(root);
    }
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
    if let (Some(ethernet), Some(wifi)) = (&network.ethernet, &network.wifi)
        && ethernet.interface.as_ref() == Some(&wifi.interface)
    {
        let suggestion = "write the wire's own interface, such as `eth0`, or remove the line for any wire";
        let problem = "is the interface of the wireless network too";
        if let Some(field) = group.get_within("ethernet", "interface") {
            field.wrong(problem, suggestion);
        }
    }
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
    let interface = group.get("interface").and_then(|field| interface(&field, Way::Wire));
    let ethernet = Ethernet { interface, addressing: addressing(&group, "192.168.1.50/24") };
    written.then_some(ethernet)
}

fn wifi(network: &Group<'_>) -> Option<Wifi> {
    network.get("wifi")?;
    let group = network.group::<file::Wifi>("wifi");
    let interface = match group.get("interface") {
        Some(field) => interface(&field, Way::Air),
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
        let is_country = |code: &str| COUNTRIES.split(' ').any(|country| country == code);
        let capital = text.to_ascii_uppercase();
        let (problem, suggestion) = match capital.as_str() {
            "UK" => ("is not the code of a country (ISO 3166)", "write `GB`".to_owned()),
            capital if text != capital && is_country(capital) => {
                ("is not a country in two capital letters", format!("write `{capital}`"))
            }
            _ if is_country(text) => return Some(text.to_owned()),
            _ => ("is not the code of a country (ISO 3166)", "write one such as `DE`, `SE` or `US`".to_owned()),
        };
        field.wrong(problem, &suggestion);
        None
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
    let mut suggestion = "compare it with the password that other devices use there";
    let problem = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        suggestion = "write the password that people type into their telephones, from which that key is made";
        "is a key of 64 digits, not a password"
    } else if !(8..=63).contains(&text.len()) {
        "must have 8 to 63 characters: no wireless network has another password"
    } else if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        "has a character that no wireless password can have"
    } else if text.contains('"') && text.contains('#') {
        // wpa_supplicant.conf(5): what follows a # behind a second quote is a comment.
        "has both \" and #, which cannot be written down for the program that joins the network"
    } else {
        return true;
    };
    group.wrong(key, problem, suggestion);
    false
}

fn hostname(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if let Some(problem) = no_hostname(text) {
        let suggestion = "write letters, digits and dashes, at most 63, such as `clinic-7`";
        field.wrong(problem, suggestion);
        return None;
    }
    Some(text.to_owned())
}

/// Where no name is written the box is called as `gateway.id` is, which has a rule of its own.
fn named_by_id(root: &Group<'_>) {
    let Some(field) = root.get_within("gateway", "id") else { return };
    if field.node.as_text().filter(|id| is_id(id)).is_some_and(|id| no_hostname(id).is_some()) {
        let problem = "cannot be the name of the box in its network, which it is while `network.hostname` is missing";
        field.wrong(problem, "add `hostname:` under network, such as `clinic-7`");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Wire,
    Air,
}

fn interface(field: &Field<'_>, way: Way) -> Option<String> {
    let text = field.text()?;
    // Of the kernel and of systemd.net-naming-scheme(7).
    let (others, problem, example) = match way {
        Way::Wire => (["wl", "ww"], "is the name of a wireless interface", "eth0"),
        Way::Air => (["eth", "en"], "is the name of a wired interface", "wlan0"),
    };
    if others.iter().any(|other| text.starts_with(other)) {
        field.wrong(problem, &format!("write one such as `{example}`, or remove this line"));
        return None;
    }
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
    // What has no letter is an address, or none.
    let named = text.len() <= 253
        && text.chars().all(plain)
        && !text.starts_with(['-', '.'])
        && text.contains(|c: char| c.is_ascii_alphabetic());
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
            no_ip(field, "is not the address of a name server");
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
    let (alone, length) = text.split_once('/').unwrap_or((text, "24"));
    if let Some(plain) = address::without_zeros(alone) {
        field.wrong(address::ZEROS, &format!("write `{plain}/{}`", length.trim_start_matches('0')));
        return None;
    }
    if let Some(net) = alone.parse().ok().and_then(|alone| with_mask(alone, length)) {
        field.wrong("has a mask where the length of the network belongs", &format!("write `{net}`"));
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
    let unusable = address.is_loopback()
        || address.is_multicast()
        || address.is_unspecified()
        || net.prefix_len() == 0
        || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if matches!(net, IpNet::V4(net) if net.prefix_len() < SHORTEST_IPV4) {
        let suggestion = format!("write the length of your network, such as `{address}/24` for the mask 255.255.255.0");
        field.wrong("makes a large part of the internet the box's own network", &suggestion);
        return None;
    }
    if unusable || is_end(&net, address) {
        let problem = if unusable { "cannot be the address of a box" } else { "is the network itself, or all of it" };
        field.wrong(problem, &format!("write an address of one machine, such as `{example}`"));
        return None;
    }
    Some(net)
}

fn gateway(field: &Field<'_>, address: Option<IpNet>) -> Option<IpAddr> {
    let Ok(gateway) = field.text()?.parse::<IpAddr>() else {
        no_ip(field, "is not the address of a router");
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

/// What is wrong with an address that is none.
fn no_ip(field: &Field<'_>, problem: &str) {
    match field.node.as_text().and_then(address::without_zeros) {
        Some(plain) => field.wrong(address::ZEROS, &format!("write `{plain}`")),
        None => field.wrong(problem, "write an IP address such as `192.168.1.1`"),
    }
}

/// `192.168.1.50` with `255.255.255.0`.
fn with_mask(address: IpAddr, mask: &str) -> Option<IpNet> {
    let mask = mask.parse::<Ipv4Addr>().ok()?;
    IpNet::with_netmask(address, IpAddr::V4(mask)).ok()
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
