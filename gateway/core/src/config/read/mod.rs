//! From the tree to the settings: all of them, or every mistake at once.

mod analyzers;
mod command;
mod credentials;
mod endpoint;
mod http;
mod listeners;
mod monitoring;
mod mqtt;
mod network;
mod own_broker;
mod ports;
mod profile;
mod secrets;
mod sparkplug;
mod text;
mod update;
mod webhooks;

pub use profile::profile;

use super::group::{Context, Group, nearest};
use super::outside::Outside;
use super::tree::{Mistake, Node, Place, Value};
use super::{Config, Gateway, Limits, Retention, Source, file};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Reads the whole tree. The mistakes come in the order of the file.
pub fn read(tree: &Node, outside: &dyn Outside) -> Result<Config, Vec<Mistake>> {
    let context = Context { outside, mistakes: RefCell::default() };
    let config = root(&context, tree);
    let mut mistakes = context.mistakes.into_inner();
    if mistakes.is_empty() {
        return Ok(config);
    }
    mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    mistakes.dedup();
    Err(mistakes)
}

fn root<'a>(context: &'a Context<'a>, tree: &'a Node) -> Config {
    let root = Group::open::<file::File>(context, Some(tree), "", Place::Whole);
    version(&root);
    let limits = limits(&root);
    let (gateway, http) = (gateway(&root), http::read(&root));
    let ports = written_analyzers(&root);
    let sources = http::sources(&root, &http, &ports);
    let analyzers = filter_words(ports, &sources);
    let around = endpoint::Surroundings { gateway: &gateway, http: &http, analyzers };
    let mut config = Config {
        analyzers: analyzers::read(&root, &limits, &gateway.time_zone),
        mqtt: mqtt::read(&root),
        webhooks: webhooks::read(&root, &around),
        sources,
        registrations: http::registrations(&root),
        monitoring: monitoring::read(&root),
        sparkplug: sparkplug::read(&root),
        telemetry: monitoring::telemetry(&root),
        network: network::read(&root),
        broker: own_broker::read(&root),
        update: update::read(&root),
        gateway,
        http,
        limits,
        retention: retention(&root),
        hash: String::new(),
    };
    network::spread_proxy(&root, &mut config);
    listeners::read(&root, &config);
    config
}

/// The ids under `analyzers`, whatever else may be wrong with them: one mistake there is not also one in each filter.
fn written_analyzers(root: &Group<'_>) -> Vec<String> {
    let Some(Value::List(items)) = root.get("analyzers").map(|field| &field.node.value) else { return Vec::new() };
    items.iter().filter_map(|item| item.get("id")?.as_text().map(str::to_owned)).collect()
}

/// Every analyzer whose events there may be: those with a port, those whose tests come in, the gateway itself.
fn filter_words(ports: Vec<String>, sources: &[Source]) -> Vec<String> {
    let mut words = ports;
    let received = sources.iter().filter_map(|source| source.analyzer.as_ref());
    words.extend(received.map(|id| id.0.clone()).chain(["gateway".to_owned()]));
    words.sort();
    words.dedup();
    words
}

fn version(root: &Group<'_>) {
    let Some(field) = root.get("version") else { return };
    let problem = match field.text().map(str::parse::<u64>) {
        Some(Ok(1)) | None => return,
        Some(Ok(other)) => format!("this gateway reads version 1, not {other}"),
        Some(Err(_)) => "must be a whole number".to_owned(),
    };
    field.wrong(&problem, "write `version: 1`, or install the gateway that this file was written for");
}

fn gateway(root: &Group<'_>) -> Gateway {
    let group = root.group::<file::Gateway>("gateway");
    let default = Gateway::default();
    Gateway {
        id: group.get("id").and_then(|field| field.id()).unwrap_or(default.id),
        state_dir: group.path("state_dir", false).unwrap_or(default.state_dir),
        time_zone: time_zone(&group).unwrap_or(default.time_zone),
    }
}

fn time_zone(group: &Group<'_>) -> Option<String> {
    let field = group.get("time_zone")?;
    let name = field.text()?;
    let zones = group.context.outside.time_zones();
    if name == "UTC" || zones.iter().any(|zone| zone == name) {
        return Some(name.to_owned());
    }
    // Of a place. The others (`GMT+1`, `Etc/GMT-1`) count the other way round, and know no summer time.
    let zones: Vec<&str> =
        zones.iter().map(String::as_str).filter(|zone| zone.contains('/') && !zone.starts_with("Etc/")).collect();
    let of_city = zones.iter().find(|zone| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name)));
    let suggestion = match of_city.copied().or_else(|| nearest(name, &zones)) {
        Some(zone) => format!("write `{zone}`"),
        None => "write a name such as `Europe/Berlin`, or `UTC`".to_owned(),
    };
    field.wrong("is not a time zone that this box knows", &suggestion);
    None
}

fn limits(root: &Group<'_>) -> Limits {
    let group = root.group::<file::Limits>("limits");
    let default = Limits::default();
    let limits = Limits {
        frame_bytes_max: group.number("frame_bytes_max", default.frame_bytes_max),
        message_bytes_max: group.number("message_bytes_max", default.message_bytes_max),
        store_bytes_max: Some(group.number("store_bytes_max", 0)).filter(|bytes| *bytes > 0),
        commit_linger_ms_max: group.number("commit_linger_ms_max", default.commit_linger_ms_max),
        ahead_events_max: group.number("ahead_events_max", default.ahead_events_max),
    };
    if limits.message_bytes_max < limits.frame_bytes_max {
        let suggestion = format!("write {} or more", limits.frame_bytes_max);
        group.wrong("message_bytes_max", "is less than frame_bytes_max, but a message has whole frames", &suggestion);
    }
    limits
}

fn retention(root: &Group<'_>) -> Retention {
    let group = root.group::<file::Retention>("retention");
    let default = Retention::default();
    Retention {
        attempts_kept_days: group.number("attempts_kept_days", default.attempts_kept_days),
        captures_kept_days: group.number("captures_kept_days", default.captures_kept_days),
        events_kept_days: group.number("events_kept_days", default.events_kept_days),
    }
}

/// Reads the `id` of a list's item and notes one that an earlier item has.
fn own_id(group: &Group<'_>, taken: &mut BTreeMap<String, Place>, example: &str) -> Option<String> {
    let field = group.need("id", &format!("write `id: {example}`, or what you call it"))?;
    let id = field.id()?;
    if let Some(earlier) = taken.get(&id) {
        let problem = match earlier {
            Place::At { line, .. } => format!("`{id}` is already the id in line {line}"),
            _ => format!("`{id}` is already the id of another one"),
        };
        let free = (2..).map(|number| format!("{id}-{number}")).find(|other| !taken.contains_key(other));
        field.wrong(&problem, &format!("write an id of its own, such as `{}`", free.unwrap_or_default()));
        return None;
    }
    taken.insert(id.clone(), field.node.place.clone());
    Some(id)
}
