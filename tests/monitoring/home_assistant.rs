//! Home Assistant finds the box, its analyzers and its destinations, and forgets what is gone: what it would read is judged
//! by the rules of its own reader (`homeassistant/components/mqtt/schemas.py`), its templates by a Jinja of ours.

use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use super::watcher::Watcher;
use minijinja as jinja;
use serde_json::Value;

const PREFIX: &str = "homeassistant/device/analyzer_gateway_box";

fn topic(end: &str) -> String {
    format!("{PREFIX}{end}/config")
}

fn configure(home: &Home, broker: &Mosquitto, analyzers: &[&str], on: bool) {
    let place = home.path("").display().to_string();
    let analyzers: String = analyzers
        .iter()
        .map(|id| format!("  - {{ id: {id}, driver: astm, port: {{ path: {place}{id} }} }}\n"))
        .collect();
    let url = broker.url();
    home.configure(&format!(
        "analyzers:\n{analyzers}mqtt: {{ url: \"{url}\", home_assistant: {on} }}\nhttp: {{ listen: off }}\n"
    ));
}

/// JSON as a template sees it.
fn of_json(json: &Value) -> jinja::Value {
    match json {
        Value::Null => jinja::Value::from(()),
        Value::Bool(flag) => jinja::Value::from(*flag),
        Value::String(text) => jinja::Value::from(text.as_str()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => jinja::Value::from(whole),
            None => jinja::Value::from(number.as_f64().expect("a number")),
        },
        Value::Array(items) => items.iter().map(of_json).collect(),
        Value::Object(fields) => {
            jinja::Value::from_pairs(fields.iter().map(|(name, field)| (name.clone(), of_json(field))))
        }
    }
}

/// What Home Assistant would show of each entity, from what the broker keeps.
fn shown(watcher: &Watcher, device: &Value) -> Vec<(String, String)> {
    assert!(device["device"]["identifiers"][0].is_string() && device["origin"]["name"].is_string(), "{device}");
    let components = device["components"].as_object().expect("components");
    let mut list = Vec::new();
    for (key, part) in components {
        assert!(["sensor", "binary_sensor"].contains(&part["platform"].as_str().expect("a platform")), "{part}");
        assert!(part["unique_id"].is_string() && part["name"].is_string(), "{part}");
        let state_topic = part["state_topic"].as_str().expect("a topic");
        // The figures of the machine come with the first report.
        let Some(value) = watcher.last(state_topic) else { continue };
        let mut house = jinja::Environment::new();
        house.set_undefined_behavior(jinja::UndefinedBehavior::Strict);
        let template = part["value_template"].as_str().expect("a template");
        let told = house.render_str(template, jinja::Value::from_pairs([("value_json", of_json(&value))]));
        list.push((key.clone(), told.unwrap_or_else(|error| panic!("{template}: {error}"))));
    }
    list
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn home_assistant_finds_what_there_is_and_forgets_what_is_gone() {
    if !mosquitto::is_installed() {
        return;
    }
    let home = Home::new();
    let broker = Mosquitto::start(&home).await;
    let watcher = Watcher::on(broker.port);
    configure(&home, &broker, &["line", "other"], true);
    let gateway = home.start_ready().await;
    for end in ["", "_analyzer_line", "_analyzer_other", "_destination_mqtt"] {
        home.eventually(&topic(end), || watcher.last(&topic(end))).await;
    }
    let state = |end: &str, key: &str| {
        let shown = shown(&watcher, &watcher.last(&topic(end))?);
        shown.into_iter().find(|(known, _)| known == key).map(|(_, value)| value)
    };
    for (end, key, value) in [
        ("", "dead", "0"),
        ("_analyzer_line", "state", "disconnected"),
        ("_analyzer_line", "trouble", "ON"),
        ("_analyzer_line", "test", "UNINITIALIZED"),
        ("_destination_mqtt", "trouble", "OFF"),
    ] {
        let what = format!("{end} {key} {value}");
        home.eventually(&what, || state(end, key).filter(|told| told == value)).await;
    }
    let status = watcher.state("analyzer-gateway/box/status");
    assert!(status.is_some() && state("", "state") == status, "{status:?}");
    // While it is off, an analyzer is taken out of the settings.
    gateway.stop().await;
    configure(&home, &broker, &["line"], true);
    let gateway = home.start_ready().await;
    let gone = |end: &str| watcher.is_clear(&topic(end)).then_some(());
    home.eventually("the analyzer to be forgotten", || gone("_analyzer_other")).await;
    assert!(gone("_analyzer_line").is_none() && gone("").is_none());
    // And it is switched off.
    gateway.stop().await;
    configure(&home, &broker, &["line"], false);
    let gateway = home.start_ready().await;
    for end in ["", "_analyzer_line", "_destination_mqtt"] {
        home.eventually("everything to be forgotten", || gone(end)).await;
    }
    gateway.stop().await;
}
