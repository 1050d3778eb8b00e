//! `sparkplug:`: the broker of a plant, and the group that the gateway belongs to there.

use super::mqtt;
use crate::config::group::{Field, Group};
use crate::config::{Sparkplug, file};

const PART_CHARS_MAX: usize = 64;
const ELSEWHERE: mqtt::Elsewhere = mqtt::Elsewhere {
    words: &["embedded"],
    problem: "must be the plant's broker",
    suggestion: "write its address, such as `mqtts://scada.example:8883`",
};

pub fn read(root: &Group<'_>) -> Option<Sparkplug> {
    let group = root.group::<file::Sparkplug>("sparkplug");
    if group.get("url").is_none() {
        let login = ["group_id", "primary_host", "version", "user", "password", "password_file", "allow_plain"];
        let tls = ["ca_file", "certificate_file", "key_file"];
        for others in [&login[..], &tls[..]] {
            group.refuse(others, "belongs to `url`, which is missing", "add `url:`, or remove this line");
        }
        return None;
    }
    let broker = mqtt::connection(&group, Some(&ELSEWHERE));
    let primary_host = group.get("primary_host").and_then(|field| part_of_topic(&field));
    let Some(field) = group.get("group_id") else {
        group.wrong("url", "needs `group_id` beside it", "add `group_id:`, the name of the plant's group");
        return None;
    };
    Some(Sparkplug { broker, group_id: part_of_topic(&field)?, primary_host })
}

/// One level of a topic (section 4.1.2 of the specification: no `/`, `+` and `#`).
fn part_of_topic(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let bad = |c: char| matches!(c, '/' | '+' | '#') || c.is_control();
    // STATE would be read as the topic of a host application.
    if text.is_empty() || text == "STATE" || text.contains(bad) || text.chars().count() > PART_CHARS_MAX {
        field.wrong("cannot be part of a topic", "write up to 64 letters, without `/`, `+` and `#`");
        return None;
    }
    Some(text.to_owned())
}
