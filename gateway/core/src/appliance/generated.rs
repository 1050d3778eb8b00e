//! Files that the box's own programs read, made of the settings, and what has to be told to whom when one has changed.
//!
//! Invariant: all of them lie below /run. A box whose settings lose a section is after a restart as if it never had it.

use crate::config::Secret;

/// Stands at the head of each of them.
pub const HEAD: &str = "# Written by analyzer-gateway from its settings; changes here are overwritten.\n";

/// One file, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// From `/` on.
    pub path: String,
    /// May hold passwords.
    pub text: Secret,
    pub readers: Readers,
    pub part: Part,
}

/// Who may read it, beside root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    All,
    Nobody,
    /// A user of the system, whose file it is, with the group of the same name.
    User(&'static str),
}

/// Which of the box's programs reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// systemd-networkd or NetworkManager.
    Network,
    /// wpa_supplicant at this interface.
    Wifi(String),
    /// systemd-timesyncd
    Time,
    /// mosquitto
    Broker,
}

/// Who runs the network here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renderer {
    Networkd,
    NetworkManager,
}

/// Folders that may hold files of ours, each with how their names begin: what is there and not wanted any more is removed.
pub const OURS: &[(&str, &str)] = &[
    ("/run/systemd/network", "10-analyzer-gateway-"),
    ("/run/NetworkManager/system-connections", "analyzer-gateway-"),
    ("/run/systemd/timesyncd.conf.d", "analyzer-gateway"),
    (super::layout::SAYS, "wifi-"),
    (super::layout::OWN_BROKER, ""),
];

/// Which part a file of ours belongs to, by its path.
pub fn part_of(path: &str) -> Part {
    let name = path.rsplit('/').next().unwrap_or_default();
    if path.starts_with(super::layout::OWN_BROKER) {
        Part::Broker
    } else if path.contains("/timesyncd.conf.d/") {
        Part::Time
    } else if let Some(interface) = name.strip_prefix("wifi-").and_then(|rest| rest.strip_suffix(".conf")) {
        Part::Wifi(interface.to_owned())
    } else {
        Part::Network
    }
}

/// The programs to run, each with its arguments, after files of this part have changed. `left`: the names of its files that
/// are there now; none if the section is gone.
pub fn steps(part: &Part, renderer: Renderer, left: &[&str]) -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let unit = |unit: &str| match left.is_empty() {
        true => words(&format!("systemctl --no-block stop {unit}")),
        false => words(&format!("systemctl --no-block restart {unit}")),
    };
    match (part, renderer) {
        (Part::Network, Renderer::Networkd) => vec![words("networkctl reload")],
        (Part::Network, Renderer::NetworkManager) => {
            let names = left.iter().filter_map(|name| name.strip_suffix(".nmconnection"));
            let up = names.map(|name| words(&format!("nmcli --wait 0 connection up id {name}")));
            [words("nmcli connection reload"), words("nmcli radio wifi on")].into_iter().chain(up).collect()
        }
        (Part::Wifi(interface), _) => vec![unit(&format!("analyzer-gateway-wifi@{interface}.service"))],
        (Part::Time, _) => vec![words("systemctl --no-block try-restart systemd-timesyncd.service")],
        (Part::Broker, _) => vec![unit("analyzer-gateway-broker.service")],
    }
}

/// A value as it stands on one line: whatever the checks let through, no value ends a line or begins another.
pub fn on_one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_gone_is_stopped_and_one_that_changed_is_started_anew() {
        let told = |part: &Part, left: &[&str]| {
            steps(part, Renderer::Networkd, left).into_iter().map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        let wifi = Part::Wifi("wlan0".to_owned());
        assert_eq!(told(&wifi, &[]), ["systemctl --no-block stop analyzer-gateway-wifi@wlan0.service"]);
        let broker = told(&Part::Broker, &["mosquitto.conf"]);
        assert_eq!(broker, ["systemctl --no-block restart analyzer-gateway-broker.service"]);
        assert_eq!(told(&Part::Network, &["x"]), ["networkctl reload"]);
        let left = ["analyzer-gateway-ethernet.nmconnection"];
        let steps = steps(&Part::Network, Renderer::NetworkManager, &left);
        assert_eq!(steps[2].join(" "), "nmcli --wait 0 connection up id analyzer-gateway-ethernet");
    }

    #[test]
    fn a_file_is_known_by_its_path() {
        assert_eq!(part_of("/run/analyzer-gateway-appliance/wifi-wlan0.conf"), Part::Wifi("wlan0".to_owned()));
        assert_eq!(part_of("/run/analyzer-gateway-appliance/mosquitto/acl"), Part::Broker);
        assert_eq!(part_of("/run/systemd/timesyncd.conf.d/analyzer-gateway.conf"), Part::Time);
        assert_eq!(part_of("/run/systemd/network/10-analyzer-gateway-wired.network"), Part::Network);
    }

    #[test]
    fn no_value_ends_a_line() {
        assert_eq!(on_one_line("a\nlistener 1884\r\0b"), "alistener 1884b");
    }
}
