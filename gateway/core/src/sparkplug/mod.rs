//! The gateway as an edge node of a plant that speaks Sparkplug B (Eclipse Sparkplug specification 3.0.0): itself the node, each
//! analyzer a device. One value for each connection: it says what to publish and keeps the numbers.
//!
//! Invariant: a [`Message`] is made from an [`Overview`] alone, so nothing of a person can get in. Every one but the death
//! certificate takes the next `seq` (0 to 255), in the order in which it is given out.

mod host;
mod metrics;
#[cfg(test)]
mod tests;
mod wire;

pub use host::PrimaryHost;

use crate::overview::Overview;
use crate::time::Timestamp;
use metrics::{Reading, Readings, is_there, of_device, of_node};
use prost::Message as _;
use std::collections::BTreeMap;
use wire::{DataType, Metric, Payload, Value};

const NAMESPACE: &str = "spBv1.0";
const BD_SEQ: &str = "bdSeq";
const REBIRTH: &str = "Node Control/Rebirth";

/// One message, never retained. As the last will it goes with QoS 1, else with QoS 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    topic: String,
    payload: Vec<u8>,
}

impl Message {
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// One connection of the edge node.
#[derive(Debug)]
pub struct EdgeNode {
    group: String,
    node: String,
    bd_seq: u8,
    seq: u8,
    /// What was last told of the node itself and of each device that is born.
    told: BTreeMap<Option<String>, Readings>,
    /// By device and metric; unique in the node (section 6.4.6).
    aliases: BTreeMap<(Option<String>, &'static str), u64>,
}

impl EdgeNode {
    /// `bd_seq` is 0 for the first connection of a process and one more with each further one; behind 255 comes 0.
    pub fn new(group: &str, node: &str, bd_seq: u8) -> EdgeNode {
        EdgeNode {
            group: group.to_owned(),
            node: node.to_owned(),
            bd_seq,
            seq: 0,
            told: BTreeMap::new(),
            aliases: BTreeMap::new(),
        }
    }

    /// The death certificate: the last will of the connection, and the last word before it is closed in order.
    pub fn death(&self, at: Timestamp) -> Message {
        let payload = Payload { timestamp: Some(millis(at)), metrics: vec![self.bd_seq_metric(at)], seq: None };
        Message { topic: self.topic("NDEATH", None), payload: payload.encode_to_vec() }
    }

    /// Where commands to the node come; subscribed with QoS 1 before the birth.
    pub fn commands(&self) -> String {
        self.topic("NCMD", None)
    }

    /// Whether a command asks for all births again. What cannot be read asks for nothing.
    pub fn is_rebirth(command: &[u8]) -> bool {
        let asks =
            |metric: &Metric| metric.name.as_deref() == Some(REBIRTH) && metric.value == Some(Value::Boolean(true));
        Payload::decode(command).is_ok_and(|payload| payload.metrics.iter().any(asks))
    }

    /// The births of the node and of every device that is there: the first words of a connection, and the answer to a rebirth.
    pub fn births(&mut self, overview: &Overview) -> Vec<Message> {
        self.seq = 0;
        self.told.clear();
        let at = overview.at;
        let own = of_node(overview);
        let rebirth = Metric {
            name: Some(REBIRTH.to_owned()),
            timestamp: Some(millis(at)),
            datatype: Some(DataType::Boolean as u32),
            value: Some(Value::Boolean(false)),
            ..Metric::default()
        };
        let mut metrics = vec![self.bd_seq_metric(at), rebirth];
        metrics.extend(own.iter().map(|(name, reading)| self.birth_metric(None, name, reading, at)));
        self.told.insert(None, own);
        let mut messages = vec![self.message("NBIRTH", None, metrics, at)];
        messages.extend(self.changes(overview));
        messages
    }

    /// What has changed since: births and deaths of devices, and metrics that say something else.
    pub fn changes(&mut self, overview: &Overview) -> Vec<Message> {
        let at = overview.at;
        let mut messages = Vec::new();
        let there = |id: &str| overview.analyzers.iter().any(|one| one.id == id && is_there(one));
        let gone = self.told.keys().flatten().filter(|id| !there(id)).cloned();
        for device in gone.collect::<Vec<String>>() {
            self.told.remove(&Some(device.clone()));
            messages.push(self.message("DDEATH", Some(&device), Vec::new(), at));
        }
        messages.extend(self.data(None, of_node(overview), at));
        for analyzer in overview.analyzers.iter().filter(|one| is_there(one)) {
            messages.extend(self.data(Some(&analyzer.id), of_device(analyzer), at));
        }
        messages
    }

    /// The news of one of them: a birth if it was not told of. The type of a metric is said again with each value: the
    /// specification does without it, hosts with the common decoders do not.
    fn data(&mut self, device: Option<&str>, now: Readings, at: Timestamp) -> Option<Message> {
        let key = device.map(str::to_owned);
        let before = self.told.insert(key, now.clone());
        let Some(before) = before else {
            let metrics = now.iter().map(|(name, reading)| self.birth_metric(device, name, reading, at)).collect();
            return Some(self.message("DBIRTH", device, metrics, at));
        };
        let news = now.iter().filter(|(name, reading)| before.get(*name) != Some(reading));
        let metrics: Vec<Metric> =
            news.map(|(name, reading)| Metric { name: None, ..self.birth_metric(device, name, reading, at) }).collect();
        let kind = if device.is_some() { "DDATA" } else { "NDATA" };
        (!metrics.is_empty()).then(|| self.message(kind, device, metrics, at))
    }

    fn message(&mut self, kind: &str, device: Option<&str>, metrics: Vec<Metric>, at: Timestamp) -> Message {
        let payload = Payload { timestamp: Some(millis(at)), metrics, seq: Some(u64::from(self.seq)) };
        self.seq = self.seq.wrapping_add(1);
        Message { topic: self.topic(kind, device), payload: payload.encode_to_vec() }
    }

    fn topic(&self, kind: &str, device: Option<&str>) -> String {
        let device = device.map(|device| format!("/{device}")).unwrap_or_default();
        format!("{NAMESPACE}/{}/{kind}/{}{device}", self.group, self.node)
    }

    /// Without an alias, as the rebirth command is: hosts look for them by name.
    fn bd_seq_metric(&self, at: Timestamp) -> Metric {
        Metric {
            name: Some(BD_SEQ.to_owned()),
            timestamp: Some(millis(at)),
            datatype: Some(DataType::Int64 as u32),
            value: Some(Value::Long(u64::from(self.bd_seq))),
            ..Metric::default()
        }
    }

    fn birth_metric(&mut self, device: Option<&str>, name: &'static str, reading: &Reading, at: Timestamp) -> Metric {
        let next = self.aliases.len() as u64 + 1;
        let alias = *self.aliases.entry((device.map(str::to_owned), name)).or_insert(next);
        let (datatype, value) = match reading {
            Reading::Text(text) => (DataType::Text, text.clone().map(Value::Text)),
            Reading::Count(count) => (DataType::UInt64, count.map(Value::Long)),
            Reading::Real(real) => (DataType::Double, real.map(Value::Double)),
            Reading::Flag(flag) => (DataType::Boolean, Some(Value::Boolean(*flag))),
        };
        Metric {
            name: Some(name.to_owned()),
            alias: Some(alias),
            timestamp: Some(millis(at)),
            datatype: Some(datatype as u32),
            is_null: value.is_none().then_some(true),
            value,
        }
    }
}

/// A clock before 1970 has nothing to say here.
fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}
