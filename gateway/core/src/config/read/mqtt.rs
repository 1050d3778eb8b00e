//! `mqtt:`: the one broker, and what has no meaning for it.

use super::{credentials, secrets};
use crate::config::group::Group;
use crate::config::{Broker, Mqtt, MqttVersion, address, file};

pub fn read(root: &Group<'_>) -> Mqtt {
    let group = root.group::<file::Mqtt>("mqtt");
    let default = Mqtt::default();
    Mqtt {
        packet_bytes_max: group.number("packet_bytes_max", default.packet_bytes_max),
        window: group.number("window", default.window),
        home_assistant: group.flag("home_assistant"),
        ..connection(&group, None)
    }
}

/// A broker that must be elsewhere: words of `mqtt.url` that its `url` cannot have, and what a person reads then.
pub struct Elsewhere {
    pub words: &'static [&'static str],
    pub problem: &'static str,
    pub suggestion: &'static str,
}

const VERSIONS: [(&str, MqttVersion); 3] =
    [("auto", MqttVersion::Auto), ("5", MqttVersion::V5), ("3.1.1", MqttVersion::V311)];

/// What every connection to a broker is told: its address and who we are there.
pub fn connection(group: &Group<'_>, elsewhere: Option<&Elsewhere>) -> Mqtt {
    let default = Mqtt::default();
    let allow_plain = group.allows_plain();
    let broker = match group.get("url") {
        Some(field) => match elsewhere {
            Some(other) if field.node.as_text().is_some_and(|text| other.words.contains(&text)) => {
                field.wrong(other.problem, other.suggestion);
                None
            }
            _ => address::broker(&field, allow_plain),
        },
        None => Some(Broker::Embedded),
    };
    let mqtt = Mqtt {
        broker: broker.clone().unwrap_or(default.broker),
        version: group.choice("version", &VERSIONS, default.version),
        topic_prefix: topic_prefix(group).unwrap_or(default.topic_prefix),
        user: group.text("user"),
        password: secrets::one(group, "password", "password_file"),
        ca_file: group.path("ca_file", true),
        certificate_file: group.path("certificate_file", true),
        key_file: group.path("key_file", true),
        ..default
    };
    let login = ["user", "password", "password_file"];
    let tls = ["ca_file", "certificate_file", "key_file"];
    match broker {
        Some(Broker::Embedded) => {
            let remove = "remove this line, or write the broker's address as `url`";
            group.refuse(&login, "has no meaning for the embedded broker", remove);
            group.refuse(&tls, "has no meaning for the embedded broker", remove);
        }
        Some(Broker::Mosquitto) => {
            let remove = "remove this line; the box sees to it itself";
            group.refuse(&login, "has no meaning for the box's own broker", remove);
            group.refuse(&tls, "has no meaning for the box's own broker", remove);
        }
        Some(Broker::Url { tls: false, .. }) => {
            group.refuse(
                &tls,
                "has no meaning without encryption",
                "write `mqtts://...` as `url`, or remove this line",
            );
        }
        _ => {}
    }
    if group.get("user").is_none() {
        group.refuse(&["password", "password_file"], "belongs to `user`, which is missing", "add `user:`");
    }
    credentials::pair(group);
    credentials::judge(group);
    mqtt
}

fn topic_prefix(group: &Group<'_>) -> Option<String> {
    let field = group.get("topic_prefix")?;
    let prefix = field.text()?;
    let bad = |c: char| matches!(c, '#' | '+') || c.is_control();
    if prefix.contains(bad) || prefix.starts_with(['/', '$']) || prefix.ends_with('/') || prefix.len() > 200 {
        field.wrong("is not the beginning of a topic", "write words with `/` between them, without `#` and `+`");
        return None;
    }
    Some(prefix.to_owned())
}
