//! The amplification curves of a run as SampledData (FHIR R4, section 2.24.0.11).

use crate::dialects::test_v0::run_so_far;
use crate::event::Event;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most points of a curve; a run has 36 rounds.
const POINTS_MAX: u64 = 10_000;

/// One point: when it was measured, in 0.1 s since the start, and the reading as received.
type Curve = BTreeMap<u64, (f64, String)>;

/// One curve a channel, of all samples up to the event; a channel with fewer than two rounds has none.
pub(super) fn curves(event: &Event, history: &[Event]) -> Vec<(u64, Value)> {
    let (_, samples) = run_so_far(event, history);
    let mut channels: BTreeMap<u64, Curve> = BTreeMap::new();
    for sample in samples.values() {
        let number = |key: &str| sample.get(key).and_then(Value::as_u64);
        let time = sample.get("samplingTime").and_then(Value::as_f64);
        let reading = sample.get("firstChannelResult").filter(|value| value.is_number());
        if let (Some(channel), Some(round), Some(time), Some(reading)) =
            (number("startingChannel"), number("currentDataIndex"), time, reading)
        {
            channels.entry(channel).or_default().insert(round, (time, reading.to_string()));
        }
    }
    channels.into_iter().filter_map(|(channel, curve)| Some((channel, sampled(&curve)?))).collect()
}

/// Rounds that were not heard are `E`, so that every point stays at its time. `period` is in milliseconds.
fn sampled(curve: &Curve) -> Option<Value> {
    let ((first, (begin, _)), (last, (end, _))) = (curve.first_key_value()?, curve.last_key_value()?);
    let rounds = last.checked_sub(*first).filter(|rounds| (1..POINTS_MAX).contains(rounds))?;
    let period_ms = ((end - begin) * 100.0 / rounds as f64).round();
    if !(period_ms.is_finite() && period_ms >= 1.0) {
        return None;
    }
    let point = |round| curve.get(&round).map_or("E", |(_, reading)| reading.as_str());
    let data: Vec<&str> = (*first..=*last).map(point).collect();
    Some(json!({"origin": {"value": 0}, "period": period_ms as u64, "dimensions": 1, "data": data.join(" ")}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_was_not_heard_keeps_its_place() {
        let curve: Curve =
            [(3, (301.0, "704".to_owned())), (4, (902.0, "768".to_owned())), (6, (2104.0, "832".to_owned()))].into();
        let sampled = sampled(&curve).expect("three points");
        assert_eq!(sampled["data"], "704 768 E 832");
        assert_eq!(sampled["period"], 60_100);
    }

    #[test]
    fn a_single_point_and_one_out_of_all_bounds_are_no_curve() {
        let point = |round| (round, (round as f64, "1".to_owned()));
        assert_eq!(sampled(&[point(1)].into()), None);
        assert_eq!(sampled(&[point(0), point(u64::MAX)].into()), None);
        assert_eq!(sampled(&[(0, (5.0, "1".to_owned())), (1, (1.0, "1".to_owned()))].into()), None);
    }
}
