//! What there is of this machine's network, as the kernel and iproute2's `ip` tell, and the name of the machine in it.
//!
//! Invariant: looking changes nothing; all that is sent is an empty datagram to a router, so that the kernel asks who that is.

use super::privileged::{below, system};
use gateway_core::appliance::generated::Renderer;
use gateway_core::appliance::watch::{Link, Seen, wpa_name};
use gateway_core::config::{Addressing, Network};
use serde::Deserialize;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// The port of the service that throws away what it gets (RFC 863).
const DISCARD: u16 = 9;

/// One entry of `ip -j address show`.
#[derive(Deserialize)]
struct Shown {
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    operstate: String,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    addr_info: Vec<ShownAddress>,
}

#[derive(Deserialize)]
struct ShownAddress {
    local: Option<IpAddr>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    tentative: bool,
}

/// One entry of `ip -j neighbour show`.
#[derive(Deserialize)]
struct Neighbour {
    dst: IpAddr,
    #[serde(default)]
    state: Vec<String>,
}

/// Looks once. What cannot be had is as if it were not there.
pub fn look(root: &Path, network: Option<&Network>, renderer: Renderer) -> Seen {
    let links = links(root, &system("ip", &["-j", "address", "show"]).unwrap_or_default());
    let wanted = network.map(addressings).unwrap_or_default();
    let routers: Vec<IpAddr> = wanted.iter().filter_map(|addressing| addressing.fixed?.gateway).collect();
    routers.iter().for_each(|router| stir(root, &links, *router));
    let shown = if routers.is_empty() { String::new() } else { neighbours_text() };
    let wifi = network.and_then(|network| network.wifi.as_ref());
    let out = wifi.filter(|wifi| !links.iter().any(|link| link.name == wifi.interface && link.has_carrier));
    let in_reach = out.and_then(|wifi| in_reach(&wifi.interface, &wifi.ssid, renderer));
    Seen { answering: answering(&shown), links, in_reach }
}

fn addressings(network: &Network) -> Vec<&Addressing> {
    let wire = network.ethernet.as_ref().map(|ethernet| &ethernet.addressing);
    wire.into_iter().chain(network.wifi.as_ref().map(|wifi| &wifi.addressing)).collect()
}

/// Links but for the loopback. An address that is still being tried (tentative) is none yet.
fn links(root: &Path, shown: &str) -> Vec<Link> {
    let shown: Vec<Shown> = serde_json::from_str(shown).unwrap_or_default();
    let others = shown.into_iter().filter(|one| one.link_type != "loopback" && !one.ifname.is_empty());
    others
        .map(|one| {
            let of_system = below(root, "/sys/class/net").join(&one.ifname);
            let is_radio = of_system.join("wireless").exists() || of_system.join("phy80211").exists();
            let is_wire = one.link_type == "ether" && !is_radio && of_system.join("device").exists();
            let is_up = one.operstate == "UP"
                || (one.operstate == "UNKNOWN" && one.flags.iter().any(|flag| flag == "LOWER_UP"));
            let mine =
                |address: ShownAddress| address.local.filter(|_| address.scope == "global" && !address.tentative);
            let addresses = one.addr_info.into_iter().filter_map(mine).collect();
            Link { is_wire, has_carrier: is_up, addresses, name: one.ifname }
        })
        .collect()
}

/// Makes the kernel ask for a router. Nobody has to answer the datagram itself.
fn stir(root: &Path, links: &[Link], router: IpAddr) {
    let send = |to: SocketAddr| {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let _ = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], to));
    };
    match router {
        // Known by its link: asked for on each.
        IpAddr::V6(router) if router.is_unicast_link_local() => {
            for link in links {
                let index = below(root, "/sys/class/net").join(&link.name).join("ifindex");
                let index = std::fs::read_to_string(index).ok().and_then(|text| text.trim().parse().ok());
                index.into_iter().for_each(|index| send(SocketAddrV6::new(router, DISCARD, 0, index).into()));
            }
        }
        router => send((router, DISCARD).into()),
    }
}

fn neighbours_text() -> String {
    // The kernel asks three times, a second each; a router in the house answers at once.
    pause(Duration::from_millis(300));
    system("ip", &["-j", "neighbour", "show"]).unwrap_or_default()
}

/// Who has answered lately.
fn answering(shown: &str) -> Vec<IpAddr> {
    let shown: Vec<Neighbour> = serde_json::from_str(shown).unwrap_or_default();
    let there = |state: &String| matches!(state.as_str(), "REACHABLE" | "PERMANENT");
    shown.into_iter().filter(|one| one.state.iter().any(there)).map(|one| one.dst).collect()
}

/// The names of the wireless networks around; of all that are not the one wanted it does not matter how they are written.
fn in_reach(interface: &str, ssid: &str, renderer: Renderer) -> Option<Vec<String>> {
    match renderer {
        Renderer::NetworkManager => {
            let shown = system("nmcli", &["-t", "-e", "no", "-f", "SSID", "device", "wifi", "list"]).ok()?;
            Some(shown.lines().map(str::to_owned).collect())
        }
        Renderer::Networkd => {
            let shown = system("wpa_cli", &["-i", interface, "scan_results"]).ok()?;
            // A heading, then columns apart by tabs, the name last.
            let names = shown.lines().skip(1).filter_map(|line| line.rsplit('\t').next());
            let names = names.map(|name| if name == wpa_name(ssid) { ssid.to_owned() } else { name.to_owned() });
            Some(names.collect())
        }
    }
}

/// Waits between two looks of a program that does nothing else.
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// The name of this machine until it is started anew. Errors: not root.
pub fn set_hostname(name: &str) -> io::Result<()> {
    if rustix::system::uname().nodename().to_bytes() == name.as_bytes() {
        return Ok(());
    }
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_ip_shows_them() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/net/eth0/device")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/net/wlan0/device")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/net/wlan0/phy80211")).unwrap();
        let shown = r#"[
            {"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"operstate":"UNKNOWN","link_type":"loopback",
             "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
            {"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"operstate":"UP","link_type":"ether",
             "addr_info":[{"family":"inet","local":"192.0.2.7","prefixlen":24,"scope":"global"},
                          {"family":"inet6","local":"2001:db8::7","prefixlen":64,"scope":"global","tentative":true},
                          {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
            {"ifname":"wlan0","flags":["NO-CARRIER","UP"],"operstate":"DOWN","link_type":"ether","addr_info":[]},
            {"ifname":"br0","flags":["UP","LOWER_UP"],"operstate":"UP","link_type":"ether","addr_info":[{}]}]"#;
        let links = links(root.path(), shown);
        let told: Vec<_> = links.iter().map(|link| (link.name.as_str(), link.is_wire, link.has_carrier)).collect();
        assert_eq!(told, [("eth0", true, true), ("wlan0", false, false), ("br0", false, true)]);
        assert_eq!(links[0].addresses, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_router_answers_once_the_kernel_has_heard_it() {
        let shown = r#"[{"dst":"192.0.2.1","dev":"eth0","lladdr":"02:00:00:00:00:01","state":["REACHABLE"]},
            {"dst":"192.0.2.2","dev":"eth0","state":["FAILED"]},{"dst":"192.0.2.3","dev":"eth0","state":["INCOMPLETE"]}]"#;
        assert_eq!(answering(shown), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(answering("no JSON"), Vec::<IpAddr>::new());
    }
}
