//! Whether the network works as the settings ask, and what to do if it does not: a decision over what was seen, without clock
//! and without effects.
//!
//! A fixed address works if its interface has it and its router answers; the internet is never asked for, for a clinic's network
//! may be closed. One way that works is enough: whoever comes to the box by it can mend the other.
//!
//! Invariant: settings that worked once since the box was started are not given up again.

use super::NetworkSource;
use crate::config::{Addressing, Network};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// How long settings are given to work.
pub const TRIAL_SECONDS: u64 = 120;
/// How long it is looked whether settings that failed before work now.
pub const RETRIAL_SECONDS: u64 = 15;

/// What there is of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub links: Vec<Link>,
    /// Routers that have answered (ARP, neighbour discovery).
    pub answering: Vec<IpAddr>,
    /// Names of the wireless networks in reach; `None`: nobody could tell.
    pub in_reach: Option<Vec<String>>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    pub name: String,
    /// Whether it is a wire of this machine: no radio, no bridge.
    pub is_wire: bool,
    /// Whether there is somebody at the other end.
    pub has_carrier: bool,
    /// Without those that every link has of itself.
    pub addresses: Vec<IpAddr>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again.
    Wait,
    /// It stays as it is; the second says what of the settings does not work, if anything.
    Stays(NetworkSource, String),
    /// Ask for an address besides, and say why.
    FallBack(String),
    /// The settings work after all: put them in force alone.
    Restore,
}

/// Why an interface does not work. Prints as what a clinic understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    NoInterface(String),
    NoWire,
    NoCable(String),
    /// DHCP did not answer.
    NoAddress(String),
    /// The fixed one was not taken.
    NotTaken(IpAddr),
    NoAnswer(IpAddr),
    /// Not in reach.
    NoSuchName(String),
    /// In reach, and does not let the box in.
    NotLetIn(String),
    /// Nobody could tell which.
    NotJoined(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoInterface(name) => write!(f, "this box has no interface {name}"),
            Fault::NoWire => f.write_str("this box has no socket for a network cable"),
            Fault::NoCable(name) => write!(f, "no cable in {name}, or nothing switched on at its other end"),
            Fault::NoAddress(name) => write!(f, "the network at {name} gives the box no address (no answer by DHCP)"),
            Fault::NotTaken(address) => {
                write!(f, "the address {address} could not be taken: another machine may have it")
            }
            Fault::NoAnswer(router) => write!(f, "no answer from the router {router}"),
            Fault::NoSuchName(name) => write!(f, "no wireless network of the name `{name}` is in reach"),
            Fault::NotLetIn(name) => {
                write!(f, "the wireless network `{name}` does not let the box in: its password is probably another one")
            }
            Fault::NotJoined(name) => {
                write!(f, "the box could not join the wireless network `{name}`: compare its name and password")
            }
        }
    }
}

/// Judges what was seen `waited` after the first look. `in_force`: what holds now.
pub fn judge(network: Option<&Network>, in_force: NetworkSource, seen: &Seen, waited: Duration) -> Verdict {
    let is_over = |seconds: u64| waited >= Duration::from_secs(seconds);
    let has_address = seen.links.iter().any(|link| !link.addresses.is_empty());
    let Some(network) = network.filter(|network| network.ethernet.is_some() || network.wifi.is_some()) else {
        // Nothing of ours: only the addresses are waited for, so that they can be told.
        let stays = Verdict::Stays(NetworkSource::System, String::new());
        return if has_address || is_over(TRIAL_SECONDS) { stays } else { Verdict::Wait };
    };
    let (faults, works) = faults(network, seen);
    let reason = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
    match in_force {
        NetworkSource::Fallback if works => Verdict::Restore,
        NetworkSource::Fallback if is_over(RETRIAL_SECONDS) => Verdict::Stays(NetworkSource::Fallback, reason),
        NetworkSource::Settings => Verdict::Stays(NetworkSource::Settings, reason),
        NetworkSource::Trying | NetworkSource::System if works => Verdict::Stays(NetworkSource::Settings, reason),
        NetworkSource::Trying | NetworkSource::System if is_over(TRIAL_SECONDS) => Verdict::FallBack(reason),
        _ => Verdict::Wait,
    }
}

/// What does not work, and whether anything does.
fn faults(network: &Network, seen: &Seen) -> (Vec<Fault>, bool) {
    let mut results = Vec::new();
    if let Some(ethernet) = &network.ethernet {
        let wires: Vec<&Link> = match &ethernet.interface {
            Some(name) => seen.links.iter().filter(|link| link.name == *name).collect(),
            None => seen.links.iter().filter(|link| link.is_wire).collect(),
        };
        let none = ethernet.interface.clone().map_or(Fault::NoWire, Fault::NoInterface);
        let looks = wires.into_iter().map(|link| wired(link, &ethernet.addressing, seen));
        // Of several wires one is enough; the fault of the one that came furthest is told.
        results.push(looks.min_by_key(|fault| fault.as_ref().map_or(0, rank)).unwrap_or(Some(none)));
    }
    if let Some(wifi) = &network.wifi {
        let link = seen.links.iter().find(|link| link.name == wifi.interface);
        results.push(match link {
            None => Some(Fault::NoInterface(wifi.interface.clone())),
            Some(link) if !link.has_carrier => Some(match &seen.in_reach {
                None => Fault::NotJoined(wifi.ssid.clone()),
                Some(names) if names.contains(&wifi.ssid) => Fault::NotLetIn(wifi.ssid.clone()),
                Some(_) => Fault::NoSuchName(wifi.ssid.clone()),
            }),
            Some(link) => addressed(link, &wifi.addressing, seen),
        });
    }
    let works = results.iter().any(Option::is_none);
    (results.into_iter().flatten().collect(), works)
}

fn wired(link: &Link, addressing: &Addressing, seen: &Seen) -> Option<Fault> {
    if !link.has_carrier {
        return Some(Fault::NoCable(link.name.clone()));
    }
    addressed(link, addressing, seen)
}

fn addressed(link: &Link, addressing: &Addressing, seen: &Seen) -> Option<Fault> {
    let Some(fixed) = &addressing.fixed else {
        return link.addresses.is_empty().then(|| Fault::NoAddress(link.name.clone()));
    };
    if !link.addresses.contains(&fixed.address.addr()) {
        return Some(Fault::NotTaken(fixed.address.addr()));
    }
    fixed.gateway.filter(|gateway| !seen.answering.contains(gateway)).map(Fault::NoAnswer)
}

/// How far a wire came: a higher one failed earlier.
fn rank(fault: &Fault) -> u8 {
    match fault {
        Fault::NoAnswer(_) => 1,
        Fault::NotTaken(_) | Fault::NoAddress(_) => 2,
        _ => 3,
    }
}

/// How wpa_cli(8) writes a network's name in its tables: printable ASCII as it is, the rest behind a backslash.
pub fn wpa_name(ssid: &str) -> String {
    let mut text = String::new();
    for byte in ssid.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            0x1b => text.push_str("\\e"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Ethernet, Fixed, Secret, Wifi};

    fn fixed() -> Network {
        let fixed = Fixed { address: "192.168.1.50/24".parse().unwrap(), gateway: "192.168.1.1".parse().ok() };
        let addressing = Addressing { fixed: Some(fixed), dns: Vec::new() };
        Network { ethernet: Some(Ethernet { interface: None, addressing }), ..Network::default() }
    }

    fn wifi() -> Network {
        let wifi = Wifi {
            interface: "wlan0".to_owned(),
            ssid: "Clinic".to_owned(),
            password: Secret::new("invented password"),
            country: "DE".to_owned(),
            addressing: Addressing::default(),
        };
        Network { wifi: Some(wifi), ..Network::default() }
    }

    fn wire(addresses: &[&str]) -> Link {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Link { name: "eth0".to_owned(), is_wire: true, has_carrier: true, addresses }
    }

    fn radio(has_carrier: bool, addresses: &[&str]) -> Link {
        Link { name: "wlan0".to_owned(), is_wire: false, has_carrier, ..wire(addresses) }
    }

    fn seen(links: Vec<Link>, answering: &[&str]) -> Seen {
        let answering = answering.iter().map(|address| address.parse().unwrap()).collect();
        Seen { links, answering, in_reach: None }
    }

    fn after(network: &Network, in_force: NetworkSource, seen: &Seen, seconds: u64) -> Verdict {
        judge(Some(network), in_force, seen, Duration::from_secs(seconds))
    }

    fn told(network: &Network, seen: &Seen) -> String {
        match after(network, NetworkSource::Trying, seen, TRIAL_SECONDS) {
            Verdict::FallBack(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fixed_address_works_once_its_router_answers() {
        let good = seen(vec![wire(&["192.168.1.50"])], &["192.168.1.1"]);
        let stays = Verdict::Stays(NetworkSource::Settings, String::new());
        assert_eq!(after(&fixed(), NetworkSource::Trying, &good, 0), stays);
        let mute = seen(vec![wire(&["192.168.1.50"])], &["192.168.1.2"]);
        assert_eq!(after(&fixed(), NetworkSource::Trying, &mute, TRIAL_SECONDS - 1), Verdict::Wait);
        assert_eq!(told(&fixed(), &mute), "no answer from the router 192.168.1.1");
    }

    #[test]
    fn a_network_without_a_router_is_a_network() {
        let mut network = fixed();
        let ethernet = network.ethernet.as_mut().unwrap();
        ethernet.addressing.fixed.as_mut().unwrap().gateway = None;
        let closed = seen(vec![wire(&["192.168.1.50"])], &[]);
        let stays = Verdict::Stays(NetworkSource::Settings, String::new());
        assert_eq!(after(&network, NetworkSource::Trying, &closed, 0), stays);
    }

    #[test]
    fn each_mistake_is_told_in_its_own_words() {
        let unplugged = Link { has_carrier: false, ..wire(&[]) };
        assert!(told(&fixed(), &seen(vec![unplugged], &[])).starts_with("no cable in eth0"));
        assert!(told(&fixed(), &seen(vec![wire(&[])], &[])).contains("192.168.1.50 could not be taken"));
        assert!(told(&fixed(), &seen(Vec::new(), &[])).contains("no socket for a network cable"));
        let dhcp = Network { ethernet: Some(Ethernet::default()), ..Network::default() };
        assert!(told(&dhcp, &seen(vec![wire(&[])], &[])).contains("no answer by DHCP"));
        let named = Ethernet { interface: Some("eth7".to_owned()), ..Ethernet::default() };
        let named = Network { ethernet: Some(named), ..Network::default() };
        assert_eq!(told(&named, &seen(vec![wire(&[])], &[])), "this box has no interface eth7");
        let air = |in_reach: Option<&[&str]>| {
            let in_reach = in_reach.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            told(&wifi(), &Seen { in_reach, ..seen(vec![radio(false, &[])], &[]) })
        };
        assert!(air(Some(&["Guests"])).contains("no wireless network of the name `Clinic`"));
        assert!(air(Some(&["Guests", "Clinic"])).contains("password is probably another one"));
        assert!(air(None).contains("compare its name and password"));
        assert!(told(&wifi(), &seen(Vec::new(), &[])).contains("no interface wlan0"));
    }

    #[test]
    fn one_way_is_enough_and_the_other_is_told() {
        let both = Network { wifi: wifi().wifi, ..fixed() };
        let air = seen(vec![wire(&[]), radio(true, &["10.0.0.7"])], &[]);
        let Verdict::Stays(NetworkSource::Settings, reason) = after(&both, NetworkSource::Trying, &air, 0) else {
            panic!("it works by air");
        };
        assert!(reason.contains("could not be taken"), "{reason}");
    }

    #[test]
    fn what_failed_is_put_in_force_once_it_works_and_what_worked_is_not_given_up() {
        let mute = seen(vec![wire(&["192.168.1.50", "10.0.0.7"])], &[]);
        let good = seen(vec![wire(&["192.168.1.50", "10.0.0.7"])], &["192.168.1.1"]);
        assert_eq!(after(&fixed(), NetworkSource::Fallback, &mute, 0), Verdict::Wait);
        let still = Verdict::Stays(NetworkSource::Fallback, "no answer from the router 192.168.1.1".to_owned());
        assert_eq!(after(&fixed(), NetworkSource::Fallback, &mute, RETRIAL_SECONDS), still);
        assert_eq!(after(&fixed(), NetworkSource::Fallback, &good, 0), Verdict::Restore);
        let proved = after(&fixed(), NetworkSource::Settings, &mute, TRIAL_SECONDS * 9);
        assert!(matches!(proved, Verdict::Stays(NetworkSource::Settings, _)), "{proved:?}");
    }

    #[test]
    fn without_the_section_nothing_is_done_but_to_wait_for_an_address() {
        let stays = Verdict::Stays(NetworkSource::System, String::new());
        let judged = |seen: &Seen, seconds| judge(None, NetworkSource::System, seen, Duration::from_secs(seconds));
        assert_eq!(judged(&seen(vec![wire(&[])], &[]), 0), Verdict::Wait);
        assert_eq!(judged(&seen(vec![wire(&[])], &[]), TRIAL_SECONDS), stays);
        assert_eq!(judged(&seen(vec![wire(&["10.0.0.7"])], &[]), 0), stays);
    }

    #[test]
    fn a_name_is_found_as_wpa_cli_writes_it() {
        assert_eq!(wpa_name("Clinic 7"), "Clinic 7");
        assert_eq!(wpa_name("Käse\"\\\n"), "K\\xc3\\xa4se\\\"\\\\\\n");
    }
}
