//! A curve laid out: axes with round figures, lines, gaps, a legend.
//!
//! Invariant: whatever a run holds, every shape lies inside of the drawing and there are at most [`POINTS_MAX`] points a line.

use super::palette::Role;
use super::shapes::{Anchor, Drawing, Shape, Size};
use super::{Curve, Point};
use crate::report::words::Words;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 450.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 368.0;
/// More would fall on each other; of each stretch the lowest and the highest are drawn.
const POINTS_MAX: usize = 1_400;
/// Characters of a line of text at most, so that it ends before the drawing does.
const TITLE_CHARS_MAX: usize = 72;
const LABEL_CHARS_MAX: usize = 100;
/// A letter's width, generously, and the least that an entry of the legend takes.
const LETTER_WIDTH: f64 = 7.4;
const ENTRY_WIDTH_MIN: f64 = 58.0;
/// Entries of the legend; channels beyond are drawn without.
const LEGEND_MAX: usize = 18;

/// What stands above a drawing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heading {
    pub title: String,
    pub subtitle: String,
}

/// A stretch of figures and the pixels that it is laid on.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
}

impl Scale {
    /// Round figures around these, `steps` of them or a few more.
    fn around(low: f64, high: f64, steps: f64, (from, to): (f64, f64)) -> Scale {
        let high = if high - low < 1e-9 { low + 1.0 } else { high };
        let step = round_step((high - low) / steps);
        Scale { low: (low / step).floor() * step, high: (high / step).ceil() * step, from, to, step }
    }

    fn at(&self, figure: f64) -> f64 {
        self.from + (figure.clamp(self.low, self.high) - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The round figures and how they are written.
    fn marks(&self) -> Vec<(f64, String)> {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        let count = ((self.high - self.low) / self.step).round() as usize;
        let mark = |number: usize| {
            let figure = self.low + self.step * number as f64;
            // No minus before a nought.
            let shown = if figure.abs() < self.step / 2.0 { 0.0 } else { figure };
            (figure, format!("{shown:.decimals$}"))
        };
        (0..=count).map(mark).collect()
    }
}

/// 1, 2 or 5 of some power of ten, at least as large.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999_999).unwrap_or(10.0);
    factor * power
}

/// The drawing of a curve.
pub fn draw(curve: &Curve, heading: &Heading, words: &Words) -> Drawing {
    let mut shapes = vec![Shape::Area { left: 0.0, top: 0.0, width: WIDTH, height: HEIGHT, role: Role::Ground }];
    shapes.push(text((LEFT, 28.0), Anchor::Start, Size::Title, cut(&heading.title, TITLE_CHARS_MAX), Role::Ink));
    shapes.push(label((LEFT, 46.0), Anchor::Start, cut(&heading.subtitle, LABEL_CHARS_MAX), Role::Soft));
    let minutes = minutes(curve);
    let values = values(curve);
    let degrees = degrees(curve);
    for span in &curve.gaps {
        let (left, right) = (minutes.at(span.from_seconds / 60.0), minutes.at(span.to_seconds / 60.0));
        shapes.push(Shape::Area { left, top: TOP, width: right - left, height: BOTTOM - TOP, role: Role::Gap });
    }
    axes(&mut shapes, &minutes, &values, degrees.as_ref(), words);
    for piece in degrees.iter().flat_map(|_| curve.warm_pieces()) {
        let height = |value: f64| degrees.as_ref().map_or(BOTTOM, |degrees| degrees.at(value));
        let points = thinned(piece).into_iter();
        let points = points.map(|point| (minutes.at(point.seconds / 60.0), height(point.value))).collect();
        line(&mut shapes, points, 1.2, false, Role::Temperature);
    }
    // The control last, so that it lies above the others.
    let of_control = |channel: &u32| Some(*channel) == curve.control;
    let mut channels: Vec<_> = curve.channels.iter().collect();
    channels.sort_by_key(|(channel, _)| of_control(channel));
    for (channel, points) in channels {
        let is_control = of_control(channel);
        for piece in curve.pieces(points) {
            let points = thinned(piece).into_iter();
            let points = points.map(|point| (minutes.at(point.seconds / 60.0), values.at(point.value))).collect();
            line(&mut shapes, points, if is_control { 2.6 } else { 1.8 }, is_control, Role::Channel(*channel));
        }
    }
    if curve.is_empty() {
        let middle = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        shapes.push(text(middle, Anchor::Middle, Size::Title, words.no_samples.to_owned(), Role::Soft));
    }
    legend(&mut shapes, curve, degrees.is_some(), words);
    let title = if heading.title.is_empty() { words.curves.to_owned() } else { heading.title.clone() };
    let top = if *heading == Heading::default() { TOP - 28.0 } else { 0.0 };
    Drawing { width: WIDTH, height: HEIGHT, top, title, about: about(curve, words), shapes }
}

fn minutes(curve: &Curve) -> Scale {
    let first = curve.temperature.first().map_or(0.0, |point| point.seconds.min(0.0));
    Scale::around(first / 60.0, (curve.seconds() / 60.0).max(1.0), 8.0, (LEFT, RIGHT))
}

fn values(curve: &Curve) -> Scale {
    let (low, high) = ends(curve.channels.values().flatten()).unwrap_or((0.0, 1.0));
    Scale::around(low.min(0.0), high, 6.0, (BOTTOM, TOP))
}

fn degrees(curve: &Curve) -> Option<Scale> {
    let (low, high) = ends(curve.temperature.iter())?;
    // A steady temperature is a flat line, not a mountain of noise.
    let middle = (low + high) / 2.0;
    Some(Scale::around(low.min(middle - 2.5), high.max(middle + 2.5), 5.0, (BOTTOM, TOP)))
}

fn ends<'a>(points: impl Iterator<Item = &'a Point>) -> Option<(f64, f64)> {
    points.map(|point| (point.value, point.value)).reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}

fn axes(shapes: &mut Vec<Shape>, minutes: &Scale, values: &Scale, degrees: Option<&Scale>, words: &Words) {
    for (figure, written) in values.marks() {
        let height = values.at(figure);
        shapes.push(rule((LEFT, height), (RIGHT, height), Role::Grid));
        shapes.push(label((LEFT - 8.0, height + 4.0), Anchor::End, written, Role::Soft));
    }
    for (figure, written) in minutes.marks() {
        let across = minutes.at(figure);
        shapes.push(rule((across, BOTTOM), (across, BOTTOM + 5.0), Role::Axis));
        shapes.push(label((across, BOTTOM + 19.0), Anchor::Middle, written, Role::Soft));
    }
    for (figure, written) in degrees.map(Scale::marks).into_iter().flatten() {
        let height = degrees.map_or(TOP, |degrees| degrees.at(figure));
        shapes.push(rule((RIGHT, height), (RIGHT + 5.0, height), Role::Temperature));
        shapes.push(label((RIGHT + 9.0, height + 4.0), Anchor::Start, written, Role::Soft));
    }
    shapes.push(rule((LEFT, BOTTOM), (RIGHT, BOTTOM), Role::Axis));
    shapes.push(label((LEFT, TOP - 10.0), Anchor::Start, words.fluorescence.to_owned(), Role::Soft));
    shapes.push(label(((LEFT + RIGHT) / 2.0, BOTTOM + 36.0), Anchor::Middle, words.minutes.to_owned(), Role::Soft));
    if degrees.is_some() {
        shapes.push(rule((RIGHT, TOP), (RIGHT, BOTTOM), Role::Temperature));
        shapes.push(label((RIGHT + 40.0, TOP - 10.0), Anchor::End, format!("{} (°C)", words.temperature), Role::Soft));
    }
}

fn legend(shapes: &mut Vec<Shape>, curve: &Curve, warm: bool, words: &Words) {
    let channels = curve.channels.keys().map(|channel| {
        let is_control = Some(*channel) == curve.control;
        let name = if is_control { format!("{channel} {}", words.control) } else { channel.to_string() };
        (Role::Channel(*channel), is_control, name)
    });
    let warm = warm.then(|| (Role::Temperature, false, "°C".to_owned()));
    let gap = (!curve.gaps.is_empty()).then(|| (Role::Gap, false, words.missing.to_owned()));
    let rest = warm.is_some() as usize + gap.is_some() as usize;
    let entries = channels.take(LEGEND_MAX - rest).chain(warm).chain(gap);
    let (mut left, mut height) = (LEFT, BOTTOM + 58.0);
    for (role, dashed, name) in entries {
        let width = (42.0 + LETTER_WIDTH * name.chars().count() as f64).max(ENTRY_WIDTH_MIN);
        if left + width > WIDTH {
            (left, height) = (LEFT, height + 16.0);
        }
        if role == Role::Gap {
            shapes.push(Shape::Area { left, top: height - 9.0, width: 22.0, height: 11.0, role });
        } else {
            let points = vec![(left, height - 4.0), (left + 22.0, height - 4.0)];
            shapes.push(Shape::Line { points, width: if dashed { 2.6 } else { 1.8 }, dashed, role });
        }
        shapes.push(label((left + 27.0, height), Anchor::Start, name, Role::Ink));
        left += width;
    }
}

/// The picture in words.
fn about(curve: &Curve, words: &Words) -> String {
    let mut told = Vec::new();
    for (channel, points) in &curve.channels {
        let Some((low, high)) = ends(points.iter()) else { continue };
        let control = if Some(*channel) == curve.control { format!(" ({})", words.control) } else { String::new() };
        told.push(format!("{} {channel}{control}: {} – {}", words.channel, figure(low), figure(high)));
    }
    if let Some((low, high)) = ends(curve.temperature.iter()) {
        told.push(format!("{}: {} – {} °C", words.temperature, figure(low), figure(high)));
    }
    for span in &curve.gaps {
        let (from, to) = (figure(span.from_seconds / 60.0), figure(span.to_seconds / 60.0));
        told.push(format!("{}: {from} – {to} {}", words.missing, words.minutes));
    }
    if told.is_empty() { words.no_samples.to_owned() } else { told.join("; ") }
}

fn figure(figure: f64) -> String {
    let text = format!("{figure:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A line, or where there is one point only, that point.
fn line(shapes: &mut Vec<Shape>, points: Vec<(f64, f64)>, width: f64, dashed: bool, role: Role) {
    match points.as_slice() {
        [] => {}
        [at] => shapes.push(Shape::Dot { at: *at, radius: width, role }),
        _ => shapes.push(Shape::Line { points, width, dashed, role }),
    }
}

/// The same line with at most [`POINTS_MAX`] points: of each stretch the lowest and the highest.
fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS_MAX / 2);
    let ends = |points: &[Point]| {
        let by_value = |one: &&Point, other: &&Point| one.value.total_cmp(&other.value);
        let (low, high) = (points.iter().min_by(by_value), points.iter().max_by(by_value));
        let mut ends: Vec<Point> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        ends
    };
    points.chunks(stretch).flat_map(ends).collect()
}

fn rule(from: (f64, f64), to: (f64, f64), role: Role) -> Shape {
    Shape::Line { points: vec![from, to], width: 1.0, dashed: false, role }
}

fn label(at: (f64, f64), anchor: Anchor, text: String, role: Role) -> Shape {
    Shape::Text { at, anchor, size: Size::Label, text, role }
}

fn text(at: (f64, f64), anchor: Anchor, size: Size, text: String, role: Role) -> Shape {
    Shape::Text { at, anchor, size, text, role }
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}
