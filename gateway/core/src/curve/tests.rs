//! Curves of invented runs: what is drawn of them, exactly, and what damaged ones become. `UPDATE=1` rewrites the fixtures.

use super::*;
use crate::event::{AnalyzerId, Device, EventKind, EventName, Gap, Id, Personal, RunDelta, Seq, Test, TestState};
use crate::report::words::Language;
use crate::time::{ClockQuality, Mono};
use serde_json::json;
use std::path::Path;

const TEST: Id = Id([7; 16]);
const START: i64 = 1_795_291_200_000;

fn event(seq: i64, kind: EventKind) -> Event {
    Event {
        seq: Seq(seq),
        id: Id([seq as u8; 16]),
        analyzer: AnalyzerId("pcr".to_owned()),
        received_at: Timestamp(START + seq * 60_000),
        clock: ClockQuality::Synchronized,
        boot: Id([0; 16]),
        mono: Mono(0),
        sequence: None,
        erased: false,
        kind,
    }
}

fn device(model: &str) -> Option<Device> {
    Some(Device { model: Some(model.to_owned()), sn: Some("31".to_owned()), ..Device::default() })
}

fn told(
    seq: i64,
    samples_from: usize,
    samples: Vec<Value>,
    temperatures_from: usize,
    temperatures: Vec<Value>,
) -> Event {
    let data = RunDelta { temperatures_from, samples_from, temperatures, samples };
    let test = Test { data: Some(data), ..Test::new(TEST, TestState::Testing) };
    event(seq, EventKind::about_test(EventName::NewData, device("PM001"), test))
}

fn sample(channel: u64, tenths: u64, value: u64) -> Value {
    json!({ "startingChannel": channel, "samplingTime": tenths, "firstChannelResult": value, "samplingTemperature": 63.1 })
}

fn warm(seconds: i64, degrees: f64) -> Value {
    json!({ "time": Timestamp(START + seconds * 1000), "temp": degrees })
}

/// Round by round of two channels, the control and another one, a message each.
fn run(rounds: &[u64]) -> Vec<Event> {
    let event = |(number, round): (usize, &u64)| {
        let tenths = 301 + 601 * round;
        let samples = vec![sample(2, tenths, 640), sample(3, tenths, 704 + 256 * round)];
        let at = 30 + 60 * *round as i64;
        told(10 + *round as i64, 2 * number, samples, number, vec![warm(at, 62.5 + *round as f64 / 8.0)])
    };
    rounds.iter().enumerate().map(event).collect()
}

fn curve(history: &[Event]) -> Curve {
    Curve::of(history, &[]).expect("a run")
}

fn spans(curve: &Curve) -> Vec<(f64, f64)> {
    curve.gaps.iter().map(|span| (span.from_seconds, span.to_seconds)).collect()
}

fn heading() -> Heading {
    Heading { title: "pcr · T-1".to_owned(), subtitle: "PM001 · 31".to_owned() }
}

#[track_caller]
fn is_as_in(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/curves").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::fs::write(&path, made).expect("it can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(made, wanted, "{}: UPDATE=1 rewrites it", path.display());
}

#[test]
fn a_small_run_is_drawn_and_listed_exactly() {
    let words = Language::English.words();
    let whole = curve(&run(&[0, 1, 2, 3, 4]));
    is_as_in("small.svg", &svg::svg(&whole, &heading(), words, Theme::Auto));
    is_as_in("small.csv", &csv::csv(&whole));
    let holed = curve(&run(&[0, 1, 2, 5, 6]));
    is_as_in("missing.svg", &svg::svg(&holed, &heading(), Language::German.words(), Theme::Light));
    let started = event(1, EventKind::about_test(EventName::NewData, None, Test::new(TEST, TestState::Testing)));
    assert_eq!(Curve::of(&[started], &[]), None, "no run");
    let empty = curve(&[told(1, 0, vec![], 0, vec![])]);
    assert!(empty.is_empty());
    is_as_in("empty.svg", &svg::svg(&empty, &Heading::default(), words, Theme::Dark));
}

#[test]
fn a_run_is_laid_on_its_own_clock() {
    let curve = curve(&run(&[0, 1, 2, 3, 4]));
    assert_eq!(curve.channels.keys().copied().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(curve.channels[&3][4], Point { seconds: 270.5, value: 1728.0 });
    assert_eq!(curve.control, Some(3));
    assert_eq!(spans(&curve), []);
    // The first message ties 30.1 s of the run to the moment of its temperature.
    let seconds: Vec<f64> = curve.temperature.iter().map(|point| (point.seconds * 10.0).round() / 10.0).collect();
    assert_eq!(seconds, [30.1, 90.1, 150.1, 210.1, 270.1]);
}

#[test]
fn what_is_missing_is_a_gap_and_no_line() {
    // Three rounds that nobody heard, though the places in the array go on.
    let holed = curve(&run(&[0, 1, 2, 5, 6]));
    assert_eq!(spans(&holed), [(150.3, 330.6)]);
    assert_eq!(holed.pieces(&holed.channels[&3]).iter().map(|piece| piece.len()).collect::<Vec<_>>(), [3, 2]);
    // A round whose message is lost from the log.
    let mut history = run(&[0, 1, 2, 3, 4, 5]);
    history.remove(3);
    assert_eq!(spans(&curve(&history)), [(150.3, 270.5)]);
    // The beginning was not heard.
    assert_eq!(spans(&curve(&run(&[3, 4, 5, 6]))), [(0.0, 210.4)]);
    history = run(&[0, 1, 2, 3]);
    history.remove(0);
    assert_eq!(spans(&curve(&history)), [(0.0, 90.2)]);
}

#[test]
fn a_gap_of_the_link_lies_between_what_was_heard_before_and_behind_it() {
    let gap = |seq: i64, test: Option<Id>| {
        let gap = Gap { reason: "the line was away".to_owned(), from: None, to: None };
        let details = test.map(|test| json!({ "test": test }));
        event(seq, EventKind { gap: Some(gap), details, ..EventKind::bare(EventName::Gap) })
    };
    let mut history = run(&[0, 1, 2, 3]);
    history[3].seq = Seq(20);
    let curve = Curve::of(&history, &[gap(15, Some(TEST))]).expect("a run");
    assert_eq!(spans(&curve), [(150.3, 210.4)]);
    // Behind all that was heard there is nothing to mark yet.
    assert_eq!(spans(&Curve::of(&history, &[gap(30, None)]).expect("a run")), []);
    assert!(concerns(&gap(1, None), TEST) && concerns(&gap(1, Some(TEST)), TEST));
    assert!(!concerns(&gap(1, Some(Id([8; 16]))), TEST));
}

#[test]
fn the_control_is_marked_only_where_it_is_certain() {
    let with = |model: &str, groups: Option<&str>, channel: u64| {
        let mut history = run(&[0, 1]);
        let last = history.len() - 1;
        let kind = &mut history[last].kind;
        kind.device = device(model);
        let test = kind.test.as_mut().expect("a test");
        test.result = groups.map(|name| json!({ "subGroupResults": [{ "result": "POSITIVE", "name": name }] }));
        test.data.as_mut().expect("data").samples.push(sample(channel, 302, 1));
        curve(&history).control
    };
    assert_eq!(with("PM001", None, 6), Some(3));
    assert_eq!(with("PM009", Some("IC"), 6), Some(3));
    assert_eq!(with("PM009", None, 6), None, "another model's control is not known");
    assert_eq!(with("PM001", Some("SARS-CoV-2"), 6), None, "a test without a control");
    assert_eq!(with("PM001", None, 7), None, "more channels than the model has");
}

#[test]
fn whatever_a_run_holds_the_drawing_stays_inside_and_bounded() {
    let mut samples =
        vec![json!(null), json!({}), json!({ "startingChannel": -1, "samplingTime": 1, "firstChannelResult": 1 })];
    samples.extend((0..100).map(|channel| sample(channel, 10, u64::MAX)));
    samples.extend((0..5_000).map(|number| sample(3, 100 + number * 20, 64 * (number % 97))));
    let huge: Value = serde_json::from_str(r#"{"startingChannel":1,"samplingTime":1e400,"firstChannelResult":-1e400}"#)
        .expect("JSON");
    samples.push(huge);
    let mut temperatures: Vec<Value> = (0..9_000).map(|second| warm(second, 63.0 + (second % 7) as f64)).collect();
    // A clock that was set in between, and what is no time at all.
    temperatures.extend([warm(50 * 365 * 86_400, 63.0), warm(-86_400, 1e300), json!({ "time": "soon", "temp": "63" })]);
    let curve = curve(&[told(1, 4, samples, 0, temperatures)]);
    assert!(curve.channels.len() <= CHANNELS_MAX);
    let heading = Heading { title: "x".repeat(1_000), subtitle: "y".repeat(1_000) };
    let drawing = drawing::draw(&curve, &heading, Language::English.words());
    let inside = |(x, y): &(f64, f64)| (0.0..=drawing.width).contains(x) && (0.0..=drawing.height).contains(y);
    for shape in &drawing.shapes {
        match shape {
            shapes::Shape::Line { points, .. } => {
                assert!(points.len() <= 1_400 && points.iter().all(inside), "{points:?}");
            }
            shapes::Shape::Area { left, top, width, height, .. } => {
                assert!(inside(&(*left, *top)) && inside(&(left + width, top + height)) && *width >= 0.0);
            }
            shapes::Shape::Dot { at, .. } | shapes::Shape::Text { at, .. } => assert!(inside(at), "{shape:?}"),
        }
    }
    let rows = csv::csv(&curve).lines().count();
    assert_eq!(rows, 1 + 3 + 100 + 5_000 + 1 + 9_003, "the list leaves nothing out");
}

#[test]
fn text_from_outside_stays_text() {
    let script = "<script>alert(1)</script>\"'&]]>\u{1}";
    let mut history = run(&[0, 1]);
    history[0].kind.test.as_mut().expect("a test").sample_id = Some(Personal::new(script));
    let evil = json!({ "startingChannel": "=1+1", "samplingTime": "\"a,b", "firstChannelResult": "@x" });
    history[1].kind.test.as_mut().expect("a test").data.as_mut().expect("data").samples.push(evil);
    let curve = curve(&history);
    let heading = Heading { title: script.to_owned(), subtitle: script.to_owned() };
    let picture = svg::svg(&curve, &heading, Language::English.words(), Theme::Auto);
    assert!(!picture.contains("<script") && !picture.contains('\u{1}') && picture.contains("&lt;script&gt;"));
    let listed = csv::csv(&curve);
    assert!(listed.contains("fluorescence,4,,,'=1+1,'@x,\r\n"), "{listed}");
}

#[test]
fn a_picture_has_its_size_its_ground_and_its_lines() {
    let curve = curve(&run(&[0, 1, 2, 3, 4]));
    for (theme, ground) in [(Theme::Light, [255, 255, 255, 255]), (Theme::Dark, [0x14, 0x18, 0x1d, 255])] {
        let file = png::png(&curve, &heading(), Language::English.words(), theme).expect("a picture");
        let picture = tiny_skia::Pixmap::decode_png(&file).expect("a good PNG");
        assert_eq!((picture.width(), picture.height()), (png::WIDTH_PIXELS, png::HEIGHT_PIXELS));
        assert_eq!(picture.data()[..4], ground);
        let other = picture.pixels().iter().filter(|pixel| [pixel.red(), pixel.green(), pixel.blue()] != ground[..3]);
        assert!(other.count() > 10_000, "something is drawn on it");
        assert!(picture.pixels().iter().all(|pixel| pixel.alpha() == 255), "nothing shines through");
    }
}
