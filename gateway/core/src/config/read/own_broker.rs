//! `broker:`: the box's own mosquitto, and who may come in.

use super::network::is_written;
use super::{credentials, own_id, secrets};
use crate::config::group::{Field, Group};
use crate::config::{BrokerDoor, BrokerScope, BrokerUser, OWN_BROKER_PORT, OWN_BROKER_USER, OwnBroker, file};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
const USERS_MAX: usize = 64;

pub fn read(root: &Group<'_>) -> Option<OwnBroker> {
    let group = root.group::<file::OwnBroker>("broker");
    let is_there = is_written(root, "broker");
    let certificate = group.path("certificate_file", true).zip(group.path("key_file", true));
    credentials::pair(&group);
    let named = group.get("certificate_file").is_some() || group.get("key_file").is_some();
    let allow_plain = group.allows_plain();
    let listen = group.get("listen").and_then(|field| listen(&field, named || allow_plain, named));
    if listen.is_none() && group.get("listen").is_none_or(|field| field.node.as_text() == Some("off")) {
        let keys = ["certificate_file", "key_file", "allow_plain"];
        group.refuse(&keys, "has no meaning while nobody else can connect", "add `listen: 0.0.0.0:8883`");
    }
    credentials::judge(&group);
    let users = users(&group);
    if listen.is_some() && users.is_empty() && group.get("users").is_none() {
        let suggestion = "add `users:` with an id and a password each, or write `listen: off`";
        group.wrong("listen", "lets nobody in: there are no users", suggestion);
    }
    let bridge = group.flag("bridge");
    if bridge {
        bridged(root, &group);
    }
    let own_broker = OwnBroker { door: listen.map(|listen| BrokerDoor { listen, certificate }), users, bridge };
    let to_it = root.get_within("mqtt", "url").filter(|field| field.node.as_text() == Some("mosquitto"));
    if let Some(field) = to_it.filter(|_| !is_there) {
        let suggestion = "add `broker:` with `listen: off` under it, or with users, or write `url: embedded`";
        field.wrong("needs the section `broker`, which is missing", suggestion);
    }
    is_there.then_some(own_broker)
}

/// `None`: off, or wrong, which has been said.
fn listen(field: &Field<'_>, allowed: bool, encrypted: bool) -> Option<SocketAddr> {
    let text = field.text()?;
    if text == "off" {
        return None;
    }
    let Some(listen) = text.parse::<SocketAddr>().ok().filter(|listen| listen.port() != 0) else {
        let suggestion = "write `0.0.0.0:8883` for the network, or `off`";
        field.wrong("must be an IP address of this box and a port, or off", suggestion);
        return None;
    };
    if !allowed && !listen.ip().is_loopback() {
        let suggestion = "add `certificate_file:` and `key_file:`, or `allow_plain: true` under broker";
        field.wrong("would send results through the network unencrypted", suggestion);
        return None;
    }
    if encrypted && listen.port() == OWN_BROKER_PORT {
        let suggestion = "write port 8883, which is the usual one with encryption";
        field.wrong("port 1883 is the box's own way to its broker", suggestion);
        return None;
    }
    Some(listen)
}

fn users(group: &Group<'_>) -> Vec<BrokerUser> {
    let mut taken = BTreeMap::new();
    let items = group.list("users");
    if items.len() > USERS_MAX {
        let suggestion = "let programs that may do the same share a user";
        group.wrong("users", &format!("has more than {USERS_MAX} entries"), suggestion);
    }
    items.iter().filter_map(|item| user(&item.group::<file::BrokerUser>(), &mut taken)).collect()
}

fn user(group: &Group<'_>, taken: &mut BTreeMap<String, crate::config::Place>) -> Option<BrokerUser> {
    let id = own_id(group, taken, "dashboard");
    if id.as_deref() == Some(OWN_BROKER_USER) {
        group.wrong("id", "is the gateway's own name there", "write another id, such as `dashboard`");
    }
    let may = [("read", BrokerScope::Read), ("operate", BrokerScope::Operate)];
    let may = group.choice("may", &may, BrokerScope::default());
    let password = secrets::one(group, "password", "password_file");
    if group.get("password").is_none() && group.get("password_file").is_none() {
        group.wrong("password", "is missing", "write `password:` or `password_file:`");
    }
    let password = password?;
    let good =
        PASSWORD_CHARS.contains(&password.expose().chars().count()) && !password.expose().contains(char::is_control);
    if !good {
        let key = if group.get("password").is_some() { "password" } else { "password_file" };
        group.wrong(
            key,
            "must have 8 to 128 characters, all on one line",
            "write a longer one, or take one from a password safe",
        );
    }
    Some(BrokerUser { id: id?, password, may })
}

/// What mosquitto.conf(5) cannot write down, or what the bridge lacks.
fn bridged(root: &Group<'_>, group: &Group<'_>) {
    if root.get_within("monitoring", "url").is_none() {
        let suggestion = "add `monitoring:` with the second broker's `url`, or remove this line";
        group.wrong("bridge", "leads nowhere: `monitoring.url` is missing", suggestion);
        return;
    }
    let otherwise = "take one without blanks and special characters, or write `bridge: false` under broker";
    for section in ["monitoring", "mqtt"] {
        let prefix = root.get_within(section, "topic_prefix");
        if let Some(field) = prefix.filter(|field| written(field).contains(char::is_whitespace)) {
            field.wrong("has a blank, which a bridge of mosquitto cannot have", otherwise);
        }
    }
    for key in ["user", "password", "ca_file", "certificate_file", "key_file"] {
        let field = root.get_within("monitoring", key);
        let is_odd = |text: &str| text.contains(char::is_control) || text.trim() != text;
        if let Some(field) = field.filter(|field| is_odd(written(field))) {
            field.wrong("cannot be written into a bridge of mosquitto", otherwise);
        }
    }
}

fn written<'a>(field: &Field<'a>) -> &'a str {
    field.node.as_text().unwrap_or_default()
}
