//! What `appliance apply` makes of the settings, judged by those who read it: mosquitto, systemd-networkd, NetworkManager's and
//! wpa_supplicant's own parsers; and `appliance network-watch` beside a router of its own, in a network of the test.

use super::{skipped, system};
use gateway_tests::binary;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A name and a password with everything in them that a file format could trip over.
const SSID: &str = "Käse; 1\\ \"x\" #y";
const PASSWORD: &str = " a\\b\"c;d e=f ";

struct Card {
    root: tempfile::TempDir,
}

impl Card {
    /// A box with these settings on its card; NetworkManager is switched on or off.
    fn with(settings: &str, network_manager: bool) -> Card {
        let new = Card { root: tempfile::tempdir().unwrap() };
        new.write("boot/firmware/gateway.yaml", settings);
        if network_manager {
            let unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
            new.write("usr/lib/systemd/system/NetworkManager.service", unit);
            let wants = new.path("etc/systemd/system/multi-user.target.wants");
            fs::create_dir_all(&wants).unwrap();
            let target = "/usr/lib/systemd/system/NetworkManager.service";
            std::os::unix::fs::symlink(target, wants.join("NetworkManager.service")).unwrap();
        }
        new
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o777
    }

    fn command(&self, verb: &str) -> Vec<String> {
        let root = self.root.path().display().to_string();
        [binary().display().to_string(), "appliance".to_owned(), verb.to_owned(), "--root".to_owned(), root].into()
    }

    /// What it would have run.
    fn apply(&self) -> String {
        let words = self.command("apply");
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn said(&self) -> Value {
        serde_json::from_str(&self.read("run/analyzer-gateway-appliance/network.json")).unwrap()
    }
}

/// NetworkManager's own parser: as tests/run has put it there, else the system's.
fn nmcli() -> Option<PathBuf> {
    let judges = std::env::var_os("ANALYZER_JUDGES").map(|judges| Path::new(&judges).join("network/usr/bin/nmcli"));
    judges.filter(|path| path.is_file()).or_else(|| system("nmcli"))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn wifi_settings() -> String {
    let (ssid, password) = (quoted(SSID), quoted(PASSWORD));
    format!(
        "network: {{ hostname: clinic-7, wifi: {{ ssid: {ssid}, password: {password}, country: DE }}, ntp: [ntp.example] }}\n"
    )
}

const FIXED: &str =
    "network: { ethernet: { interface: eth0, address: 192.0.2.50/24, gateway: 192.0.2.1, dns: [192.0.2.1] } }\n";

#[test]
fn without_the_sections_nothing_is_written_but_that() {
    let bare = Card::with("gateway: { id: clinic-7 }\n", false);
    let steps = bare.apply();
    assert!(!steps.contains("networkctl") && !steps.contains("broker"), "{steps}");
    assert_eq!(bare.said()["in_force"], "system");
    assert!(!bare.path("run/systemd").exists() && !bare.path("run/NetworkManager").exists());
}

#[test]
fn a_file_that_cannot_be_used_leaves_everything_as_it_is() {
    let fixed = Card::with(FIXED, false);
    fixed.apply();
    let file = "run/systemd/network/10-analyzer-gateway-ethernet.network";
    let before = fixed.read(file);
    fixed.write("boot/firmware/gateway.yaml", "network: { ethernet: { address: everywhere } }\n");
    let steps = fixed.apply();
    assert_eq!(fixed.read(file), before);
    assert_eq!(steps.trim(), "systemctl --no-block try-reload-or-restart analyzer-gateway.service");
}

#[test]
fn root_obeys_its_own_copy_and_reads_no_file_of_somebody_elses() {
    let own = Card::with(FIXED, false);
    own.apply();
    let (kept, file) = (
        "var/lib/analyzer-gateway-appliance/last-good.yaml",
        "run/systemd/network/10-analyzer-gateway-ethernet.network",
    );
    assert_eq!((own.mode(kept), own.read(file).contains("192.0.2.50")), (0o600, true));
    // What a gateway that was broken into would have root obey.
    let strange = "network: { ethernet: { interface: eth0, address: 203.0.113.9/24 } }\n";
    own.write("var/lib/analyzer-gateway/last-good.yaml", strange);
    own.write("boot/firmware/gateway.yaml", "network: { ethernet: { address: everywhere } }\n");
    fs::remove_dir_all(own.path("run/systemd")).unwrap();
    own.apply();
    assert!(own.read(file).contains("192.0.2.50"), "{}", own.read(file));
    let before = (own.read(kept), own.read(file));
    own.write("secret", "the-secret-of-root");
    let secret = own.path("secret");
    let wifi = format!("network: {{ wifi: {{ ssid: Clinic, country: DE, password_file: {} }} }}\n", secret.display());
    own.write("boot/firmware/gateway.yaml", &wifi);
    let words = own.command("apply");
    let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("the network stays as it is: `network.wifi.password_file`"), "{told}");
    assert!(!told.contains("the-secret-of-root"), "{told}");
    // Not only in the journal: in the report and among the troubles too.
    let obeyed: Option<gateway_core::appliance::Obeyed> =
        serde_json::from_str(&own.read("run/analyzer-gateway-appliance/obeyed.json")).unwrap();
    let left = obeyed.unwrap().left;
    assert!(left.len() == 1 && left[0].contains("the network stays as it is"), "{left:?}");
    assert_eq!((own.read(kept), own.read(file)), before);
    assert!(!own.path("run/analyzer-gateway-appliance/wifi-wlan0.conf").exists());
}

#[test]
fn what_did_not_change_is_not_done_again_and_what_is_gone_is_taken_away() {
    let settings = format!("{}broker: {{ listen: off }}\n", wifi_settings());
    let air = Card::with(&settings, false);
    let first = air.apply();
    for step in
        ["networkctl reload", "restart analyzer-gateway-wifi@wlan0.service", "restart analyzer-gateway-broker.service"]
    {
        assert!(first.contains(step), "{step} in {first}");
    }
    let wifi = "run/analyzer-gateway-appliance/wifi-wlan0.conf";
    assert_eq!(air.mode(wifi), 0o600);
    assert_eq!(air.mode("run/analyzer-gateway-appliance/mosquitto/passwords"), 0o440);
    assert_eq!(air.mode("run/analyzer-gateway-appliance/broker-password"), 0o640);
    assert_eq!(air.apply().lines().count(), 1, "only the gateway is told");
    air.write("boot/firmware/gateway.yaml", "gateway: { id: clinic-7 }\n");
    let steps = air.apply();
    assert!(
        steps.contains("stop analyzer-gateway-wifi@wlan0") && steps.contains("stop analyzer-gateway-broker"),
        "{steps}"
    );
    for gone in [wifi, "run/analyzer-gateway-appliance/mosquitto/acl", "run/analyzer-gateway-appliance/broker-password"]
    {
        assert!(!air.path(gone).exists(), "{gone}");
    }
}

#[test]
fn network_manager_reads_names_and_passwords_as_they_are() {
    let Some(nmcli) = nmcli() else { return };
    let air = Card::with(&wifi_settings(), true);
    assert!(air.apply().contains("nmcli connection reload"));
    let file = "run/NetworkManager/system-connections/analyzer-gateway-wifi.nmconnection";
    assert_eq!(air.mode(file), 0o600);
    // Its own writing of the same, and what it makes of ours.
    let offline = |words: &[&str], input: Option<&str>| {
        let stdin = input.map_or(Stdio::null(), |path| fs::File::open(air.path(path)).unwrap().into());
        let output = Command::new(&nmcli).arg("--offline").args(words).stdin(stdin).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let keys = ["ssid=", "psk=", "key-mgmt=", "hidden=", "interface-name="];
        let mut lines: Vec<String> =
            text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let own = ["connection", "add", "type", "wifi", "ifname", "wlan0", "con-name", "x", "ssid", SSID];
    let own = [&own[..], &["802-11-wireless.hidden", "yes", "wifi-sec.key-mgmt", "wpa-psk", "wifi-sec.psk", PASSWORD]]
        .concat();
    let ours = offline(&["connection", "modify", "connection.autoconnect", "yes"], Some(file));
    assert_eq!(ours, offline(&own, None));
    assert_eq!(ours.len(), 5, "{ours:?}");
}

#[test]
fn network_manager_takes_a_fixed_address() {
    let Some(nmcli) = nmcli() else { return };
    let fixed = Card::with(FIXED, true);
    fixed.apply();
    let file =
        fs::File::open(fixed.path("run/NetworkManager/system-connections/analyzer-gateway-ethernet.nmconnection"));
    let words = ["--offline", "connection", "modify", "connection.autoconnect", "yes"];
    let output = Command::new(nmcli).args(words).stdin(file.unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in ["method=manual", "dns=192.0.2.1;", "interface-name=eth0", "ignore-auto-dns=true"] {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    assert!(text.contains("192.0.2.50/24") && text.contains("192.0.2.1"), "{text}");
}

/// A network of the test's own with a wire `eth0`, whose other end is a router's.
struct House(String);

impl House {
    /// `None` after saying so where such a thing cannot be made.
    fn build(name: &str) -> Option<House> {
        system("ip")?;
        let house = House(format!("agw-{name}-{}", std::process::id()));
        let router = house.router();
        let made = [&["netns", "add", &house.0][..], &["netns", "add", &router]];
        if !made.iter().all(|words| ip(words)) {
            skipped("no network of its own can be made here (that needs root)");
            return None;
        }
        house.ip(&["link", "set", "lo", "up"]);
        house.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "lan", "netns", &router]);
        assert!(ip(&["-n", &router, "link", "set", "lan", "up"]));
        Some(house)
    }

    fn router(&self) -> String {
        format!("{}-r", self.0)
    }

    fn ip(&self, words: &[&str]) {
        assert!(ip(&[&["-n", &self.0], words].concat()), "{words:?}");
    }

    fn run(&self, words: &[String]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.0]).args(words).output().unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
        ip(&["netns", "del", &self.router()]);
    }
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// systemd-networkd in mounts of its own: what is generated lies in its /run, and /sys is read-only as in a container, for
/// nobody tells it there of devices.
const NETWORKD: &str = "set -e; mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/netif; cp -r \"$1/run/systemd/network\" /run/systemd/; \
                        chmod 755 /run/systemd/network; mount -o remount,bind,ro /sys; exec \"$2\"";

#[test]
fn networkd_does_what_the_files_say() {
    let networkd = ["/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"];
    let Some(networkd) = networkd.into_iter().find(|path| Path::new(path).is_file()) else {
        return skipped("there is no systemd-networkd here");
    };
    let Some(house) = House::build("nd") else { return };
    let fixed = Card::with(FIXED, false);
    fixed.apply();
    let mut child = Command::new("ip")
        .args(["netns", "exec", &house.0, "unshare", "-m", "sh", "-c", NETWORKD, "sh"])
        .args([fixed.root.path().to_str().unwrap(), networkd])
        .stdout(Stdio::null())
        .stderr(fs::File::create(fixed.path("networkd.log")).unwrap())
        .spawn()
        .unwrap();
    let told = eventually(|| {
        let shown = |words: &[&str]| {
            let words: Vec<String> = ["ip"].iter().chain(words).map(|word| (*word).to_owned()).collect();
            String::from_utf8_lossy(&house.run(&words).stdout).into_owned()
        };
        let (addresses, routes) = (shown(&["-o", "address", "show", "eth0"]), shown(&["route"]));
        (addresses.contains("192.0.2.50/24") && routes.contains("default via 192.0.2.1 dev eth0")).then_some(())
    });
    let _ = child.kill();
    let _ = child.wait();
    assert!(told.is_some(), "{}", fixed.read("networkd.log"));
    // What it does not understand it says.
    let log = fixed.read("networkd.log");
    assert!(!log.contains("Unknown") && !log.contains("Failed to parse"), "{log}");
}

/// Within thirty seconds.
fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..300 {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

#[test]
fn a_router_that_answers_ends_the_trial_and_one_that_comes_back_ends_the_fallback() {
    let Some(house) = House::build("watch") else { return };
    let fixed = Card::with(FIXED, false);
    fixed.apply();
    assert_eq!(fixed.said()["in_force"], "trying");
    house.ip(&["link", "set", "eth0", "up"]);
    house.ip(&["address", "add", "192.0.2.50/24", "dev", "eth0"]);
    assert!(ip(&["-n", &house.router(), "address", "add", "192.0.2.1/24", "dev", "lan"]));
    let watch = || {
        let output = house.run(&fixed.command("network-watch"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fixed.said()
    };
    let said = watch();
    assert_eq!((said["in_force"].as_str(), said["reason"].as_str()), (Some("settings"), Some("")), "{said}");
    assert_eq!(said["addresses"], serde_json::json!(["192.0.2.50"]));
    assert!(!fixed.path("run/analyzer-gateway-appliance/network-watch").exists(), "nothing is left to be looked at");

    // As it stands after two minutes without an answer.
    let file = "run/systemd/network/10-analyzer-gateway-ethernet.network";
    let written = fixed.read(file);
    let fallback =
        serde_json::json!({"in_force": "fallback", "reason": "no answer", "addresses": [], "at": said["at"]});
    fixed.write("run/analyzer-gateway-appliance/network.json", &fallback.to_string());
    let before = fixed.apply();
    assert!(before.contains("networkctl reload"), "{before}");
    let asked = fixed.read(file);
    assert!(asked.contains("DHCP=yes") && asked.contains("192.0.2.50/24") && !asked.contains("Gateway="), "{asked}");
    let wired = fixed.read("run/systemd/network/10-analyzer-gateway-wired.network");
    assert!(wired.contains("DHCP=yes") && wired.contains("Type=ether"), "{wired}");
    // Another line of the file changes nothing of that; the router's answer does.
    fixed.write("boot/firmware/gateway.yaml", &format!("{FIXED}gateway: {{ time_zone: Europe/Berlin }}\n"));
    fixed.apply();
    assert_eq!(fixed.read(file), asked);
    assert_eq!(watch()["in_force"], "settings");
    assert_eq!(fixed.read(file), written);
    assert!(!fixed.path("run/systemd/network/10-analyzer-gateway-wired.network").exists());
}
