//! The gateway, its analyzers and its destinations as Home Assistant's MQTT integration discovers them: a device each, made of
//! the retained states that are told anyway.
//!
//! Format: "device discovery payload" of Home Assistant's MQTT integration (since 2024.11), retained at
//! `<discovery prefix>/device/<object id>/config`; an empty payload takes the device away. A destination is a device of its own,
//! so that whatever leaves the settings is one topic to clear.
//!
//! Invariant: made from an [`Overview`] alone, so nothing of a person can get in.

use crate::overview::{AnalyzerOverview, DestinationOverview, Overview};
use serde_json::{Map, Value, json};

/// Where Home Assistant looks, unless it was told otherwise.
pub const DISCOVERY_PREFIX: &str = "homeassistant";

/// One retained message, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    topic: String,
    payload: Vec<u8>,
}

impl Discovery {
    /// The whole topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// JSON.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Everything that is to be discovered. `root` stands before each of the gateway's topics, with its last `/`.
pub fn discoveries(overview: &Overview, root: &str) -> Vec<Discovery> {
    let house = House { gateway: &overview.gateway, version: &overview.version, root };
    let mut list = vec![house.of_gateway()];
    list.extend(overview.analyzers.iter().map(|one| house.of_analyzer(one)));
    list.extend(overview.destinations.iter().map(|one| house.of_destination(one)));
    list
}

struct House<'a> {
    gateway: &'a str,
    version: &'a str,
    root: &'a str,
}

impl House<'_> {
    fn of_gateway(&self) -> Discovery {
        let (status, health, summary) = (self.topic("status"), self.topic("health"), self.topic("summary"));
        let mut parts = Parts::new(self.object(""));
        parts.sensor("state", "State", &status, "{{ value_json.state }}", json!({ "icon": "mdi:router-network" }));
        parts.sensor("reason", "Reason", &status, "{{ value_json.reason[:250] }}", json!({}));
        parts.problem(
            "trouble",
            "Needs a person",
            &summary,
            "{{ 'ON' if value_json.urgency in ['now', 'today'] else 'OFF' }}",
        );
        let celsius =
            json!({ "device_class": "temperature", "unit_of_measurement": "°C", "state_class": "measurement" });
        parts.sensor("temperature", "Processor", &health, "{{ value_json.machine.cpu_celsius }}", celsius);
        let bytes = json!({ "device_class": "data_size", "unit_of_measurement": "B", "entity_category": "diagnostic" });
        parts.sensor("disk_free", "Free disk", &health, "{{ value_json.machine.disk_free_bytes }}", bytes);
        let count = |icon| json!({ "state_class": "measurement", "icon": icon });
        parts.sensor("waiting", "Events waiting", &summary, "{{ value_json.waiting }}", count("mdi:tray-full"));
        parts.sensor("dead", "Dead letters", &summary, "{{ value_json.dead }}", count("mdi:email-alert"));
        let device = json!({
            "identifiers": [self.object("")], "name": self.gateway, "model": "Analyzer gateway", "sw_version": self.version,
        });
        self.device("", device, parts)
    }

    fn of_analyzer(&self, one: &AnalyzerOverview) -> Discovery {
        let end = format!("analyzer_{}", one.id);
        let state = self.topic(&format!("analyzers/{}/state", one.id));
        let mut parts = Parts::new(self.object(&end));
        parts.sensor("state", "State", &state, "{{ value_json.state }}", json!({ "icon": "mdi:microscope" }));
        parts.sensor("test", "Test", &state, "{{ value_json.test_state }}", json!({ "icon": "mdi:test-tube" }));
        let alert = "{{ 'ON' if value_json.state in ['alert', 'lost', 'disconnected'] else 'OFF' }}";
        parts.problem("trouble", "Trouble", &state, alert);
        let mut device = json!({
            "identifiers": [self.object(&end)], "name": format!("{} {}", self.gateway, one.id),
            "via_device": self.object(""),
        });
        // Home Assistant takes words here and not null.
        for (key, value) in [("model", &one.model), ("serial_number", &one.serial_number)] {
            if let Some(value) = value {
                device[key] = json!(value);
            }
        }
        self.device(&end, device, parts)
    }

    fn of_destination(&self, one: &DestinationOverview) -> Discovery {
        // Letters, digits, `_` and `-` alone make an object id.
        let end = format!("destination_{}", one.id.replace(':', "_"));
        let state = self.topic(&format!("destinations/{}/state", one.id));
        let mut parts = Parts::new(self.object(&end));
        parts.sensor("state", "State", &state, "{{ value_json.state }}", json!({ "icon": "mdi:send" }));
        let needs =
            "{{ 'ON' if value_json.dead > 0 or value_json.held > 0 or value_json.state == 'trouble' else 'OFF' }}";
        parts.problem("trouble", "Trouble", &state, needs);
        let device = json!({
            "identifiers": [self.object(&end)], "name": format!("{} {}", self.gateway, one.id),
            "via_device": self.object(""),
        });
        self.device(&end, device, parts)
    }

    fn device(&self, end: &str, device: Value, parts: Parts) -> Discovery {
        let gone = "{{ 'offline' if value_json.state in ['lost', 'disconnected'] else 'online' }}";
        let payload = json!({
            "device": device,
            "origin": { "name": "analyzer-gateway", "sw_version": self.version },
            "components": parts.components,
            "availability": [{ "topic": self.topic("status"), "value_template": gone }],
            "qos": 1,
        });
        let topic = format!("{DISCOVERY_PREFIX}/device/{}/config", self.object(end));
        Discovery { topic, payload: payload.to_string().into_bytes() }
    }

    fn topic(&self, rest: &str) -> String {
        format!("{}{rest}", self.root)
    }

    /// The id of a device, the same for ever. Ids of the settings hold no `_`, so no two are alike.
    fn object(&self, end: &str) -> String {
        let gateway = format!("analyzer_gateway_{}", self.gateway);
        if end.is_empty() { gateway } else { format!("{gateway}_{end}") }
    }
}

/// The entities of a device.
struct Parts {
    object: String,
    components: Map<String, Value>,
}

impl Parts {
    fn new(object: String) -> Parts {
        Parts { object, components: Map::new() }
    }

    fn sensor(&mut self, key: &str, name: &str, topic: &str, template: &str, more: Value) {
        self.add("sensor", key, name, topic, template, more);
    }

    fn problem(&mut self, key: &str, name: &str, topic: &str, template: &str) {
        self.add("binary_sensor", key, name, topic, template, json!({ "device_class": "problem" }));
    }

    fn add(&mut self, platform: &str, key: &str, name: &str, topic: &str, template: &str, more: Value) {
        let mut part = json!({
            "platform": platform, "unique_id": format!("{}_{key}", self.object), "name": name, "state_topic": topic,
            "value_template": template,
        });
        if let (Value::Object(part), Value::Object(more)) = (&mut part, more) {
            part.extend(more);
        }
        self.components.insert(key.to_owned(), part);
    }
}
