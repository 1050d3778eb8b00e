//! The box's own broker: Debian's mosquitto with the configuration that `appliance apply` makes of the settings.

use super::system;
use gateway_tests::binary;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    // Half a minute.
    let looks = (0..600).any(|_| {
        let so = is_so();
        if !so {
            std::thread::sleep(Duration::from_millis(50));
        }
        so
    });
    assert!(looks, "never: {what}");
}

fn mosquitto(program: &Path, configuration: &Path, port: u16) -> Running {
    // As root it would become the user `mosquitto`, who may not read a folder of the test.
    let child = Command::new(program).arg("-c").arg(configuration).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    eventually("mosquitto listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    running
}

/// Somebody who listens, and what was heard: topic and payload, with a blank between.
struct Ear {
    _child: Running,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    fn at(port: u16, words: &[&str]) -> Ear {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-v", "-q", "1", "-t", "#"]).args(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let list = heard.clone();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| list.lock().unwrap().push(line));
        });
        Ear { _child: Running(child), heard }
    }

    fn has(&self, topic: &str) -> bool {
        self.heard.lock().unwrap().iter().any(|line| line.split(' ').next() == Some(topic))
    }
}

fn publish(port: u16, login: &[&str], topic: &str) -> Output {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-r", "-t", topic, "-m", "x"]);
    command.args(login).output().unwrap()
}

/// A box below a folder, with its broker's files at ports that are free.
struct House {
    root: tempfile::TempDir,
    inside: u16,
}

impl House {
    fn with(settings: &str) -> House {
        let house = House { root: tempfile::tempdir().unwrap(), inside: free_port() };
        // Where root reads files that settings name.
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        house.write("etc/analyzer-gateway/broker.pem", &signed.cert.pem());
        house.write("etc/analyzer-gateway/broker.key", &signed.signing_key.serialize_pem());
        let settings = settings.replace("@ROOT@", &house.root.path().display().to_string());
        house.write("etc/analyzer-gateway/gateway.yaml", &settings);
        let output =
            Command::new(binary()).args(["appliance", "apply", "--root"]).arg(house.root.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let says = "/run/analyzer-gateway-appliance";
        let conf = house.read(&format!("{says}/mosquitto/mosquitto.conf"));
        let below = house.path(says).display().to_string();
        let conf = conf.replace(says, &below).replace("listener 1883 ", &format!("listener {} ", house.inside));
        let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
        house.write("mosquitto.conf", &format!("{user}{conf}"));
        house
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }
}

#[test]
fn nobody_comes_in_without_a_name_and_each_may_do_what_the_settings_say() {
    let Some(program) = system("mosquitto") else { return };
    let (outside, door) = (free_port(), free_port());
    let house = House::with(&format!(
        "gateway: {{ id: clinic-7 }}\nmqtt: {{ url: mosquitto }}\nmonitoring: {{ url: 'mqtt://127.0.0.1:{outside}', topic_prefix: fleet }}\n\
         broker:\n  listen: 127.0.0.1:{door}\n  certificate_file: @ROOT@/etc/analyzer-gateway/broker.pem\n  key_file: @ROOT@/etc/analyzer-gateway/broker.key\n  bridge: true\n  users:\n\
         \x20   - {{ id: ward, password: 'ward ward:ward' }}\n    - {{ id: portal, password: 'pörtal$7$x', may: operate }}\n"
    ));
    let certificate = house.path("etc/analyzer-gateway/broker.pem");
    house.write("outside.conf", &format!("listener {outside} 127.0.0.1\nallow_anonymous true\n"));
    let _outer = mosquitto(&program, &house.path("outside.conf"), outside);
    let _inner = mosquitto(&program, &house.path("mosquitto.conf"), house.inside);
    let inside = house.inside;

    for login in [&[][..], &["-u", "ward", "-P", "ward ward"], &["-u", "nobody", "-P", "x"]] {
        let refused = publish(inside, login, "analyzer-gateway/clinic-7/status");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("not authorised"), "{login:?}: {said}");
    }

    let password = house.read("run/analyzer-gateway-appliance/broker-password");
    let gateway = ["-u", "analyzer-gateway", "-P", password.trim()];
    let ward = ["-u", "ward", "-P", "ward ward:ward"];
    let portal = ["-u", "portal", "-P", "pörtal$7$x"];
    let cafile = certificate.display().to_string();
    let by_the_door = ["--cafile", &cafile, "--insecure"];
    let (hears_all, ward_ear) = (Ear::at(inside, &gateway), Ear::at(door, &[&ward[..], &by_the_door].concat()));
    let (portal_ear, outer_ear) = (Ear::at(inside, &portal), Ear::at(outside, &[]));
    let at = |rest: &str| format!("analyzer-gateway/clinic-7/{rest}");
    let say = |login: &[&str], topic: &str| assert!(publish(inside, login, topic).status.success(), "{topic}");
    say(&gateway, &at("status"));
    for (ear, who) in [(&hears_all, "the gateway"), (&ward_ear, "ward"), (&portal_ear, "portal")] {
        eventually(who, || ear.has(&at("status")));
    }
    eventually("the bridge", || outer_ear.has("fleet/clinic-7/status"));

    say(&gateway, &at("analyzers/line/events/TEST_FINISHED"));
    say(&gateway, &at("commands/response/c-1"));
    // A broker of MQTT 3.1.1 takes what somebody may not say, and passes it on to nobody.
    publish(inside, &ward, &at("commands/request"));
    publish(inside, &ward, &at("analyzers/line/events/GAP"));
    publish(inside, &portal, &at("analyzers/line/state"));
    say(&portal, &at("api/request"));
    say(&gateway, &at("notices/END"));
    for ear in [&hears_all, &ward_ear, &portal_ear] {
        eventually("the end", || ear.has(&at("notices/END")));
    }
    eventually("the end outside", || outer_ear.has("fleet/clinic-7/notices/END"));

    assert!(hears_all.has(&at("api/request")), "who may operate may ask");
    for topic in ["commands/request", "analyzers/line/events/GAP", "analyzers/line/state"] {
        assert!(!hears_all.has(&at(topic)), "{topic} was taken from somebody who may not say it");
    }
    for ear in [&ward_ear, &portal_ear] {
        assert!(ear.has(&at("analyzers/line/events/TEST_FINISHED")));
        assert!(!ear.has(&at("api/request")), "a token in it is for the gateway alone");
    }
    assert!(portal_ear.has(&at("commands/response/c-1")) && !ward_ear.has(&at("commands/response/c-1")));
    let heard = outer_ear.heard.lock().unwrap();
    let mut topics: Vec<&str> = heard.iter().filter_map(|line| line.split(' ').next()).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["fleet/clinic-7/notices/END", "fleet/clinic-7/status"]);
}

#[test]
fn the_gateways_own_password_stays_for_this_boot_and_no_password_is_readable() {
    let house =
        House::with("mqtt: { url: mosquitto }\nbroker: { users: [{ id: ward, password: readable-password }] }\n");
    let own = house.read("run/analyzer-gateway-appliance/broker-password");
    let passwords = house.read("run/analyzer-gateway-appliance/mosquitto/passwords");
    assert!(passwords.starts_with("analyzer-gateway:$7$") && passwords.contains("\nward:$7$"), "{passwords}");
    assert!(!passwords.contains("readable-password") && !passwords.contains(&own));
    let again = Command::new(binary()).args(["appliance", "apply", "--root"]).arg(house.root.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout).lines().count(), 1, "{again:?}");
    assert_eq!(house.read("run/analyzer-gateway-appliance/broker-password"), own);
}

#[test]
fn mosquitto_has_nothing_to_say_against_whose_its_files_are() {
    let Some(program) = system("mosquitto") else { return };
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let user = passwd.lines().find(|line| line.starts_with("mosquitto:"));
    let (true, Some(user)) = (rustix::process::geteuid().is_root(), user) else {
        return super::skipped("root and a user mosquitto are needed to give files away");
    };
    let root = tempfile::tempdir().unwrap();
    let house = House { root, inside: free_port() };
    house.write("etc/passwd", &format!("{user}\n"));
    house.write("etc/group", &format!("{}analyzer-gateway:x:0:\n", fs::read_to_string("/etc/group").unwrap()));
    house.write("etc/analyzer-gateway/gateway.yaml", "mqtt: { url: mosquitto }\nbroker: { listen: off }\n");
    let apply = Command::new(binary()).args(["appliance", "apply", "--root"]).arg(house.root.path()).output().unwrap();
    assert!(apply.status.success(), "{}", String::from_utf8_lossy(&apply.stderr));
    let ids: Vec<u32> = user.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    let says = "/run/analyzer-gateway-appliance";
    for name in ["mosquitto.conf", "passwords", "acl"] {
        // What mosquitto 2.0.17 and newer look at; 2.0.11 does not say it.
        let there = fs::metadata(house.path(&format!("{says}/mosquitto/{name}"))).unwrap();
        assert_eq!((vec![there.uid(), there.gid()], there.mode() & 0o777), (ids.clone(), 0o440), "{name}");
    }
    let conf = house.read(&format!("{says}/mosquitto/mosquitto.conf"));
    let conf = conf.replace(says, &house.path(says).display().to_string());
    house.write("mosquitto.conf", &conf.replace("listener 1883 ", &format!("listener {} ", house.inside)));
    fs::set_permissions(house.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // As its unit starts it.
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={}", ids[0]), format!("--regid={}", ids[1]), "--clear-groups".to_owned()]);
    let log = fs::File::create(house.path("log")).unwrap();
    let command = command.arg(&program).arg("-c").arg(house.path("mosquitto.conf")).stderr(log);
    let _running = Running(command.spawn().unwrap());
    eventually("mosquitto listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, house.inside)).is_ok());
    let log = house.read("log");
    assert!(!log.contains("Warning") && !log.contains("Error"), "{log}");
}

/// In mounts, a network and processes of their own: the gateway finds broker and password where the box has them.
const BESIDE: &str = "set -e; mount -t tmpfs tmpfs /run; cp -r \"$1/run/.\" /run/; ip link set lo up; \
                      \"$2\" -c \"$1/mosquitto.conf\" & \"$3\" run --config \"$1/etc/analyzer-gateway/gateway.yaml\" 2>\"$1/gateway.log\" & \
                      until mosquitto_sub -u analyzer-gateway -P \"$(cat /run/analyzer-gateway-appliance/broker-password)\" \
                      -t analyzer-gateway/clinic-7/status -C 1 -W 5; do sleep 0.1; done";

#[test]
fn the_gateway_publishes_to_the_box_s_own_broker() {
    let Some(program) = system("mosquitto") else { return };
    if !rustix::process::geteuid().is_root() {
        return super::skipped("root is needed for a /run of the test's own");
    }
    let state = tempfile::tempdir().unwrap();
    let house = House::with(&format!(
        "gateway: {{ id: clinic-7, state_dir: {} }}\nmqtt: {{ url: mosquitto }}\nbroker: {{ listen: off }}\n",
        state.path().display()
    ));
    let conf = house.read("run/analyzer-gateway-appliance/mosquitto/mosquitto.conf");
    house.write("mosquitto.conf", &format!("user root\n{conf}"));
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", BESIDE, "sh"]);
    let output = command.arg(house.root.path()).arg(program).arg(binary()).stderr(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("\"gateway\":\"clinic-7\""), "{said}{}", house.read("gateway.log"));
}
