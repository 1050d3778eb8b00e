//! A run as CSV, one row a sample: the fluorescence in the order received, then the temperatures.
//!
//! Figures stand there in the text in which they were received. `seconds` is the run's own clock; `index` is the sample's place
//! in the cumulative array of its kind (seed 000), so that a missing one shows.

use super::{Curve, figure};
use crate::export::line;
use serde_json::Value;

const HEAD: [&str; 7] = ["kind", "index", "seconds", "time", "channel", "value", "temperature"];

/// The whole file, RFC 4180, UTF-8.
pub fn csv(curve: &Curve) -> String {
    let mut out = line(&HEAD.map(str::to_owned));
    for (index, sample) in &curve.samples {
        let tenths = sample.get("samplingTime").and_then(figure);
        let seconds = tenths.map_or(String::new(), |tenths| format!("{:.1}", tenths / 10.0));
        let (channel, value) = (as_text(sample.get("startingChannel")), as_text(sample.get("firstChannelResult")));
        let temperature = as_text(sample.get("samplingTemperature"));
        let kind = "fluorescence".to_owned();
        out.push_str(&line(&[kind, index.to_string(), seconds, String::new(), channel, value, temperature]));
    }
    for (index, sample) in &curve.temperatures {
        let seconds = curve.seconds_at(sample).map_or(String::new(), |seconds| format!("{seconds:.1}"));
        let (time, temperature) = (as_text(sample.get("time")), as_text(sample.get("temp")));
        let kind = "temperature".to_owned();
        out.push_str(&line(&[kind, index.to_string(), seconds, time, String::new(), String::new(), temperature]));
    }
    out
}

fn as_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
