//! The curves of an amplification run: what is drawn, listed and exported of it, whoever draws.
//!
//! [`Curve::of`] lays the deltas of one test on the run's own clock. [`drawing`] makes shapes of it, [`svg`] and [`png`] write
//! the same shapes, [`csv`] lists every sample. Invariant: nothing is made up. A line is drawn only between samples that follow
//! each other; where some are missing there is a [`Span`] instead.

pub mod csv;
mod drawing;
mod palette;
pub mod png;
mod shapes;
pub mod svg;

pub use drawing::Heading;
pub use palette::Theme;

use crate::dialects::run_so_far;
use crate::event::{Event, TestId};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Channels that are drawn at most; analyzers of seed 000 have seven.
const CHANNELS_MAX: usize = 32;
/// A moment of a run beyond this is a fault of whoever told it.
const RUN_SECONDS_MAX: f64 = 7.0 * 86_400.0;
const VALUE_MAX: f64 = 1e12;
/// A thermometer that was read longer before the first sample or after the last one is left out of the drawing: its clock was
/// set in between.
const WARM_SECONDS_MAX: f64 = 900.0;
/// Samples that lie further apart than this many usual distances are not neighbours.
const DISTANCES_MAX: f64 = 1.6;
/// A thermometer is read every other second, now and then later.
const WARM_HOLE_SECONDS_MIN: f64 = 15.0;
/// Fewer distances tell nothing of what is usual.
const DISTANCES_MIN: usize = 3;
/// The channel of the internal control on analyzers of the model below, measured on recordings of real runs: it rises about
/// threefold from the ninth round on in every valid test. Seed 000 names the subgroup `IC` and no channel.
const CONTROL_CHANNEL: u32 = 3;
const CONTROL_MODEL: &str = "PM001";
const CONTROL_SUBGROUP: &str = "IC";
const CONTROL_CHANNELS: u32 = 7;

/// A value at a moment of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Seconds on the analyzer's own clock since the run began.
    pub seconds: f64,
    pub value: f64,
}

/// A stretch of the run in which something is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub from_seconds: f64,
    pub to_seconds: f64,
}

/// One run as far as it has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// The fluorescence of each channel, in the order of time.
    pub channels: BTreeMap<u32, Vec<Point>>,
    /// Degrees Celsius.
    pub temperature: Vec<Point>,
    /// Which channel is the internal control, where that is known.
    pub control: Option<u32>,
    /// Where samples are missing or the link was lost, in the order of time; none touches another.
    pub gaps: Vec<Span>,
    /// Two samples of a channel that lie further apart are not neighbours; none known: any may be.
    neighbours_seconds_max: Option<f64>,
    /// What [`csv`] lists: the samples and the temperatures as received, by their place.
    samples: BTreeMap<usize, Value>,
    temperatures: BTreeMap<usize, Value>,
    /// The wall time, in milliseconds, at which the run's own clock stood at nought.
    origin_ms: Option<i64>,
}

/// What the newest part of a run had come to when it was told.
struct Heard {
    seq: i64,
    /// Of its own samples.
    first: f64,
    last: f64,
}

impl Curve {
    /// The curve of a test: `history` are its events, oldest first, `gaps` the `GAP` events of its analyzer meanwhile. `None`: it
    /// is no amplification run, or its samples are gone.
    pub fn of(history: &[Event], gaps: &[Event]) -> Option<Curve> {
        let newest = history.last()?;
        if !history.iter().any(|event| event.kind.test.as_ref().is_some_and(|test| test.data.is_some())) {
            return None;
        }
        let (temperatures, samples) = run_so_far(newest, history);
        let mut curve = Curve::default();
        for sample in samples.values() {
            curve.add(sample);
        }
        for points in curve.channels.values_mut() {
            points.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        }
        curve.control = control(history, &curve.channels);
        curve.neighbours_seconds_max = usual_distance(curve.channels.values()).map(|usual| usual * DISTANCES_MAX);
        curve.gaps = merged(curve.missing(&samples.keys().copied().collect::<Vec<_>>(), &samples, history, gaps));
        curve.origin_ms = origin(history).or_else(|| moment(temperatures.values().next()?));
        curve.temperature = curve.warmth(temperatures.values().copied());
        curve.samples = samples.into_iter().map(|(at, value)| (at, value.clone())).collect();
        curve.temperatures = temperatures.into_iter().map(|(at, value)| (at, value.clone())).collect();
        Some(curve)
    }

    /// Whether there is a sample to draw.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The run's length so far.
    pub fn seconds(&self) -> f64 {
        let lines = self.channels.values().chain([&self.temperature]);
        lines.filter_map(|points| points.last()).map(|point| point.seconds).fold(0.0, f64::max)
    }

    fn add(&mut self, sample: &Value) {
        let Some((channel, point)) = read(sample) else { return };
        if self.channels.len() < CHANNELS_MAX || self.channels.contains_key(&channel) {
            self.channels.entry(channel).or_default().push(point);
        }
    }

    /// The temperatures on the run's own clock, as far as they can belong to it.
    fn warmth<'a>(&self, samples: impl Iterator<Item = &'a Value>) -> Vec<Point> {
        let last = self.channels.values().filter_map(|points| points.last()).map(|point| point.seconds);
        let upto = last.reduce(f64::max).map_or(RUN_SECONDS_MAX, |last| last + WARM_SECONDS_MAX);
        let read = |sample: &Value| {
            let value = figure(sample.get("temp")?).filter(|value| value.abs() < VALUE_MAX)?;
            Some(Point { seconds: self.seconds_at(sample)?, value })
        };
        let mut points: Vec<Point> = samples
            .filter_map(read)
            .filter(|point| point.seconds >= -WARM_SECONDS_MAX && point.seconds <= upto)
            .collect();
        points.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        points
    }

    /// When a temperature was read, on the run's own clock.
    fn seconds_at(&self, sample: &Value) -> Option<f64> {
        Some((moment(sample)?.checked_sub(self.origin_ms?)?) as f64 / 1000.0)
    }

    /// Every stretch in which something is missing, in any order.
    fn missing(
        &self,
        places: &[usize],
        samples: &BTreeMap<usize, &Value>,
        history: &[Event],
        gaps: &[Event],
    ) -> Vec<Span> {
        let at = |place: &usize| samples.get(place).and_then(|sample| read(sample)).map(|(_, point)| point.seconds);
        let mut spans = Vec::new();
        // Places of the cumulative array that nobody has told.
        if let Some((first, to)) = places.first().and_then(|first| Some((*first, at(first)?)))
            && first > 0
        {
            spans.push((0.0, to));
        }
        for pair in places.windows(2).filter(|pair| pair[1] > pair[0] + 1) {
            spans.extend(at(&pair[0]).zip(at(&pair[1])));
        }
        if let Some(distance) = self.neighbours_seconds_max {
            for points in self.channels.values() {
                let pairs = points.windows(2).map(|pair| (pair[0].seconds, pair[1].seconds));
                let start = points.first().map(|first| (0.0, first.seconds));
                spans.extend(start.into_iter().chain(pairs).filter(|(from, to)| to - from > distance));
            }
        }
        let heard = heard(history);
        for gap in gaps {
            let before = heard.iter().rev().find(|heard| heard.seq < gap.seq.0).map_or(0.0, |heard| heard.last);
            let after = heard.iter().find(|heard| heard.seq > gap.seq.0).map(|heard| heard.first);
            spans.extend(after.map(|after| (before, after)));
        }
        spans.into_iter().map(|(from_seconds, to_seconds)| Span { from_seconds, to_seconds }).collect()
    }

    /// A channel's points in pieces that each have no hole.
    fn pieces<'a>(&self, points: &'a [Point]) -> Vec<&'a [Point]> {
        pieces(points, self.neighbours_seconds_max.unwrap_or(f64::INFINITY))
    }

    /// The same of the temperature.
    fn warm_pieces(&self) -> Vec<&[Point]> {
        let usual = usual_distance([&self.temperature].into_iter());
        let distance = usual.map_or(f64::INFINITY, |usual| (usual * DISTANCES_MAX).max(WARM_HOLE_SECONDS_MIN));
        pieces(&self.temperature, distance)
    }
}

fn pieces(points: &[Point], distance: f64) -> Vec<&[Point]> {
    points.chunk_by(|one, other| other.seconds - one.seconds <= distance).collect()
}

/// The `GAP` events that are about this test or about its analyzer as a whole.
pub fn concerns(gap: &Event, test: TestId) -> bool {
    let named = gap.kind.details.as_ref().and_then(|details| details.get("test")).and_then(Value::as_str);
    named.is_none_or(|named| named == test.to_string())
}

/// A sample's channel and point: seed 000's `startingChannel`, `samplingTime` (tenths of a second, measured on recordings) and
/// `firstChannelResult`.
fn read(sample: &Value) -> Option<(u32, Point)> {
    let channel = sample.get("startingChannel")?.as_u64().and_then(|channel| u32::try_from(channel).ok())?;
    let seconds = figure(sample.get("samplingTime")?)? / 10.0;
    let value = figure(sample.get("firstChannelResult")?)?;
    let known = (0.0..=RUN_SECONDS_MAX).contains(&seconds) && value.abs() < VALUE_MAX;
    known.then_some((channel, Point { seconds, value }))
}

fn figure(value: &Value) -> Option<f64> {
    value.as_f64().filter(|figure| figure.is_finite())
}

/// The wall time of a temperature, in milliseconds.
fn moment(sample: &Value) -> Option<i64> {
    let time: jiff::Timestamp = sample.get("time")?.as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// What each part with samples had come to.
fn heard(history: &[Event]) -> Vec<Heard> {
    let heard = |event: &Event| {
        let samples = &event.kind.test.as_ref()?.data.as_ref()?.samples;
        let mut seconds = samples.iter().filter_map(read).map(|(_, point)| point.seconds);
        let first = seconds.next()?;
        let (first, last) = seconds.fold((first, first), |(first, last), next| (first.min(next), last.max(next)));
        Some(Heard { seq: event.seq.0, first, last })
    };
    history.iter().filter_map(heard).collect()
}

/// The wall time of the run's nought: the first message that tells samples tells them together with the temperature of then.
fn origin(history: &[Event]) -> Option<i64> {
    let mut warm: Option<i64> = None;
    for event in history {
        let Some(data) = event.kind.test.as_ref().and_then(|test| test.data.as_ref()) else { continue };
        warm = data.temperatures.iter().rev().find_map(moment).or(warm);
        let last = data.samples.iter().filter_map(read).map(|(_, point)| point.seconds).reduce(f64::max);
        if let Some((warm, last)) = warm.zip(last) {
            return Some(Timestamp(warm).shifted(-(last * 1000.0) as i64).0);
        }
    }
    None
}

/// The distance in the middle of all distances between neighbours.
fn usual_distance<'a>(lines: impl Iterator<Item = &'a Vec<Point>>) -> Option<f64> {
    let pairs = lines.flat_map(|points| points.windows(2));
    let mut distances: Vec<f64> =
        pairs.map(|pair| pair[1].seconds - pair[0].seconds).filter(|distance| *distance > 0.0).collect();
    distances.sort_by(f64::total_cmp);
    (distances.len() >= DISTANCES_MIN).then(|| distances[distances.len() / 2])
}

/// The control channel, where it is certain: the result names a subgroup for it, or before there is one, the analyzer is of the
/// model whose control is known.
fn control(history: &[Event], channels: &BTreeMap<u32, Vec<Point>>) -> Option<u32> {
    if !channels.contains_key(&CONTROL_CHANNEL) || channels.keys().any(|channel| *channel >= CONTROL_CHANNELS) {
        return None;
    }
    let result = history.iter().rev().find_map(|event| event.kind.test.as_ref()?.result.as_ref());
    let groups = result.map(|result| result.get("subGroupResults").and_then(Value::as_array));
    let is_known = match groups {
        Some(groups) => groups.into_iter().flatten().any(|group| group.get("name") == Some(&CONTROL_SUBGROUP.into())),
        None => {
            let device = history.iter().rev().find_map(|event| event.kind.device.as_ref());
            device.and_then(|device| device.model.as_deref()) == Some(CONTROL_MODEL)
        }
    };
    is_known.then_some(CONTROL_CHANNEL)
}

/// The same stretches in order, those that touch as one.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.to_seconds > span.from_seconds);
    spans.sort_by(|one, other| one.from_seconds.total_cmp(&other.from_seconds));
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.from_seconds <= last.to_seconds => {
                last.to_seconds = last.to_seconds.max(span.to_seconds)
            }
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
