//! What a device says of itself in its HEL.R01: who it is, how long it waits, what it can take.

use super::tree::Element;
use crate::event::Device;
use crate::reading::Reading;
use serde_json::{Map, Value};
use std::time::Duration;

/// Where a device names no other, it waits so long for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_SECONDS_MAX: u64 = 3600;
/// Where a device names no other, its longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 16_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Hello {
    /// As received, so that a stored observation tells whose it is.
    pub bytes: Vec<u8>,
    pub device: Device,
    /// How long it waits for an answer, and so do we.
    pub timeout: Duration,
    /// The longest message that it takes, in bytes.
    pub message_bytes_max: usize,
    topics: Vec<String>,
    directives: Vec<String>,
}

impl Hello {
    pub fn read(root: &Element, bytes: Vec<u8>, reading: &Reading) -> Hello {
        let all = |name: &str| {
            let mut found = Vec::new();
            collect(root, name, &mut found);
            found
        };
        let seconds = root.find("DCP.application_timeout").and_then(|text| text.parse::<f64>().ok());
        let seconds =
            seconds.filter(|seconds| *seconds >= 1.0).map(|seconds| (seconds as u64).min(TIMEOUT_SECONDS_MAX));
        let message_bytes_max = root.find("DSC.max_message_sz").and_then(|text| text.parse().ok());
        Hello {
            bytes,
            device: device(root, reading).unwrap_or_default(),
            timeout: seconds.map_or(TIMEOUT, Duration::from_secs),
            message_bytes_max: message_bytes_max.filter(|bytes| *bytes >= 512).unwrap_or(MESSAGE_BYTES_MAX),
            topics: all("DSC.topics_supported_cd"),
            directives: all("DSC.directives_supported_cd"),
        }
    }

    /// Whether it takes a directive, such as `SET_TIME`.
    pub fn takes(&self, directive: &str) -> bool {
        self.directives.iter().any(|known| known == directive)
    }

    /// Whether it takes a list of patients.
    pub fn takes_patients(&self) -> bool {
        self.topics.iter().any(|topic| matches!(topic.as_str(), "PT_LST" | "PT_LST_I" | "PTL"))
    }
}

fn collect(element: &Element, name: &str, found: &mut Vec<String>) {
    found.extend(element.all(name).map(|element| element.said().to_owned()));
    element.children.iter().for_each(|child| collect(child, name, found));
}

/// The device of a document that has a DEV. The serial number is DEV.serial_id, else the last part of DEV.device_id
/// (`SIEM^DCA Vantage^S012345`), unless a profile knows better.
pub(super) fn device(root: &Element, reading: &Reading) -> Option<Device> {
    let dev = root.child("DEV")?;
    let text = |name: &str| Some(dev.says(name)).filter(|said| !said.is_empty()).map(str::to_owned);
    let device_id = text("DEV.device_id");
    let last_part = || device_id.as_deref().and_then(|id| id.rsplit('^').next()).map(str::to_owned);
    let known_place = reading.serial_number.as_ref().and_then(|place| dev.find(&place.record)).map(str::to_owned);
    let known_model = reading.model_at.as_ref().and_then(|place| dev.find(&place.record)).map(str::to_owned);
    let mut details = Map::new();
    for (key, name) in [
        ("vendor", "DEV.vendor_id"),
        ("manufacturer", "DEV.manufacturer_name"),
        ("name", "DEV.device_name"),
        ("hwVersion", "DEV.hw_version"),
        ("swVersion", "DEV.sw_version"),
    ] {
        details.extend(text(name).map(|said| (key.to_owned(), Value::String(said))));
    }
    Some(Device {
        model: known_model.or_else(|| text("DEV.model_id")).or_else(|| text("DEV.device_name")),
        sn: known_place.or_else(|| text("DEV.serial_id")).or_else(last_part).filter(|sn| !sn.is_empty()),
        details,
    })
}
