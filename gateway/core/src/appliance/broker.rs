//! `broker:` as files of mosquitto: who may connect, who may hear and say what, and what goes to the broker outside.
//!
//! Formats: mosquitto.conf(5), mosquitto_passwd(1).
//!
//! Invariant: nobody comes in without a name, and the bridge is told only what [`crate::monitoring::TOPICS`] has for everybody.

use super::generated::{Generated, HEAD, Part, Readers, on_one_line};
use super::layout;
use crate::config::{
    Broker, BrokerScope, Config, Mqtt, MqttVersion, OWN_BROKER_PORT, OWN_BROKER_USER, OwnBroker, Secret,
};
use crate::home_assistant::DISCOVERY_PREFIX;
use crate::monitoring::{Audience, Direction, TOPICS, Topic};
use base64::Engine;
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write;
use std::path::PathBuf;

/// Whose files these are: mosquitto warns of passwords and access lists that are another user's or group's, or that others may
/// read, and says that it will refuse them one day (`mosquitto__fopen` in its lib/misc_mosq.c, from 2.0.17 on).
pub const USER: &str = "mosquitto";
/// Of PBKDF2. Reading the file gives nobody a password soon, and a login costs a Pi some milliseconds.
const HASH_ROUNDS: u32 = 10_000;
/// Clients at once.
const CONNECTIONS_MAX: usize = 200;

/// A file that mosquitto is to read although it may not where it lies: a key on the card, for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub from: PathBuf,
    /// Its name in [`layout::OWN_BROKER`].
    pub name: &'static str,
}

/// All files of this section but those to copy. `own_password`: of the gateway itself, made up anew at each boot.
pub fn files(config: &Config, broker: &OwnBroker, own_password: &Secret) -> Vec<Generated> {
    let file = |name: &str, text: String| Generated {
        path: format!("{}/{name}", layout::OWN_BROKER),
        text: Secret::new(&text),
        readers: Readers::User(USER),
        part: Part::Broker,
    };
    vec![
        file("mosquitto.conf", configuration(config, broker)),
        file("passwords", passwords(broker, own_password)),
        file("acl", access(config, broker)),
    ]
}

/// The files of others that it needs.
pub fn copied(config: &Config, broker: &OwnBroker) -> Vec<Copied> {
    let door = broker.door.as_ref().and_then(|door| door.certificate.clone());
    let mut copied = Vec::new();
    if let Some((certificate, key)) = door {
        copied.extend([Copied { from: certificate, name: "certificate.pem" }, Copied { from: key, name: "key.pem" }]);
    }
    if let Some(outside) = config.monitoring.broker.as_ref().filter(|_| config.is_bridged()) {
        let named = [
            (&outside.ca_file, "bridge-ca.pem"),
            (&outside.certificate_file, "bridge-certificate.pem"),
            (&outside.key_file, "bridge-key.pem"),
        ];
        let there = named.into_iter().filter_map(|(path, name)| Some(Copied { from: path.clone()?, name }));
        copied.extend(there);
    }
    copied
}

fn configuration(config: &Config, broker: &OwnBroker) -> String {
    let folder = layout::OWN_BROKER;
    let mut text = format!(
        "{HEAD}# The gateway stores; this broker passes on. What it has not passed on when it stops, the gateway says again.\n\
         persistence false\nlog_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\n\
         per_listener_settings false\nallow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/acl\n\
         max_packet_size {}\n",
        config.mqtt.packet_bytes_max,
    );
    let door = broker.door.as_ref();
    // One listener at this port is enough, and two would not start.
    let is_inside = |ip: std::net::IpAddr| ip.is_unspecified() || ip.is_loopback();
    if door.is_none_or(|door| door.listen.port() != OWN_BROKER_PORT || !is_inside(door.listen.ip())) {
        let _ = write!(text, "\nlistener {OWN_BROKER_PORT} 127.0.0.1\nmax_connections {CONNECTIONS_MAX}\n");
    }
    if let Some(door) = door {
        let (port, address) = (door.listen.port(), door.listen.ip());
        let _ = write!(text, "\nlistener {port} {address}\nmax_connections {CONNECTIONS_MAX}\n");
        if door.certificate.is_some() {
            let _ = write!(text, "certfile {folder}/certificate.pem\nkeyfile {folder}/key.pem\n");
        }
    }
    if let Some(outside) = config.monitoring.broker.as_ref().filter(|_| config.is_bridged()) {
        text.push_str(&bridge(config, outside));
    }
    text
}

fn bridge(config: &Config, outside: &Mqtt) -> String {
    let Some((host, port, tls)) = outside.broker.place() else { return String::new() };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let version = if outside.version == MqttVersion::V5 { "mqttv50" } else { "mqttv311" };
    let id = &config.gateway.id;
    let mut text = format!(
        "\nconnection analyzer-gateway-monitoring\naddress {}:{port}\nremote_clientid {}-{id}-monitoring\n\
         bridge_protocol_version {version}\ncleansession false\nstart_type automatic\nrestart_timeout 1 60\n\
         notifications false\nbridge_attempt_unsubscribe false\n",
        on_one_line(&host),
        on_one_line(&outside.topic_prefix),
    );
    if let Some(user) = &outside.user {
        let _ = writeln!(text, "remote_username {}", on_one_line(user));
    }
    if let Some(password) = &outside.password {
        let _ = writeln!(text, "remote_password {}", on_one_line(password.expose()));
    }
    if tls {
        let folder = layout::OWN_BROKER;
        // Without one: whom the system trusts.
        let ca = if outside.ca_file.is_some() {
            format!("bridge_cafile {folder}/bridge-ca.pem\n")
        } else {
            "bridge_capath /etc/ssl/certs\n".to_owned()
        };
        text.push_str(&ca);
        if outside.certificate_file.is_some() {
            let _ = writeln!(
                text,
                "bridge_certfile {folder}/bridge-certificate.pem\nbridge_keyfile {folder}/bridge-key.pem"
            );
        }
    }
    let (inside, out) = (on_one_line(&config.mqtt.topic_prefix), on_one_line(&outside.topic_prefix));
    for topic in told().filter(|topic| topic.audience == Audience::Everyone) {
        let _ = writeln!(text, "topic {id}/{} out 1 {inside}/ {out}/", subscription(topic));
    }
    text
}

/// What the gateway says of itself: no answers to somebody's questions.
fn told() -> impl Iterator<Item = &'static Topic> {
    let answers = ["commands/", "api/"];
    let said = TOPICS.iter().filter(|topic| topic.direction == Direction::FromGateway);
    said.filter(move |topic| !answers.iter().any(|start| topic.pattern.starts_with(start)))
}

/// `analyzers/<analyzer>/state` as a subscription: `analyzers/+/state`.
fn subscription(topic: &Topic) -> String {
    let level = |word| if str::starts_with(word, '<') { "+" } else { word };
    topic.pattern.split('/').map(level).collect::<Vec<_>>().join("/")
}

fn access(config: &Config, broker: &OwnBroker) -> String {
    let ours = format!("{}/{}", on_one_line(&config.mqtt.topic_prefix), config.gateway.id);
    let mut text = format!("{HEAD}user {OWN_BROKER_USER}\ntopic readwrite #\n");
    for user in &broker.users {
        let _ = write!(text, "\nuser {}\n", on_one_line(&user.id));
        for topic in told() {
            let _ = writeln!(text, "topic read {ours}/{}", subscription(topic));
        }
        if config.mqtt.home_assistant {
            let _ = writeln!(text, "topic read {DISCOVERY_PREFIX}/#");
        }
        if user.may == BrokerScope::Operate {
            // A request carries a token: nobody but the gateway hears it.
            for kind in ["commands", "api"] {
                let _ = write!(text, "topic write {ours}/{kind}/request\ntopic read {ours}/{kind}/response/+\n");
            }
        }
    }
    text
}

fn passwords(broker: &OwnBroker, own_password: &Secret) -> String {
    let mut text = password_line(OWN_BROKER_USER, own_password, own_password);
    for user in &broker.users {
        text.push_str(&password_line(&on_one_line(&user.id), &user.password, own_password));
    }
    text
}

/// As mosquitto_passwd(1) writes it: `$7$rounds$salt$hash`, PBKDF2 with HMAC-SHA-512 (RFC 8018). The salt is another for each
/// user and at each boot, and the same within one, so that nothing changed reads the same.
fn password_line(user: &str, password: &Secret, boot: &Secret) -> String {
    let salt = Sha256::digest(format!("{}\0{user}", boot.expose()));
    let salt = &salt[..12];
    let mut hash = [0; 64];
    pbkdf2::pbkdf2_hmac::<Sha512>(password.expose().as_bytes(), salt, HASH_ROUNDS, &mut hash);
    let base64 = base64::engine::general_purpose::STANDARD;
    format!("{user}:$7${HASH_ROUNDS}${}${}\n", base64.encode(salt), base64.encode(hash))
}

/// Whether the gateway needs a password of its own there.
pub fn is_wanted(config: &Config) -> bool {
    config.broker.is_some() || config.mqtt.broker == Broker::Mosquitto
}
