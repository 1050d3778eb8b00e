//! `test-v0` beside its fixtures: a strict receiver, and a run as long as a real one.

use gateway_core::dialects::{Attempt, Endpoint, HttpRequest, Request, Secret, dialect};
use gateway_core::event::{AnalyzerId, Device, Event, EventKind, EventName, Id, RunDelta, Seq, Test, TestState};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use gateway_tests::cases::{NOW, cases, header};
use serde_json::{Value, json};

/// Refuses what a strict receiver of seed 000 refuses: any key more, any key less, any other type.
fn strict(body: &[u8]) -> Result<(), String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    exactly(&body, &["version", "event", "device", "test"], &[])?;
    exactly(&body["device"], &["hwVersion", "swVersion", "deviceModel", "sn", "configuration"], &[])?;
    body["device"]["sn"].as_u64().ok_or("sn is no integer")?;
    exactly(&body["test"], &["state", "data"], &["result"])?;
    if (body["event"] == "TEST_FINISHED") != body["test"].get("result").is_some() {
        return Err("result stands where the test is finished, and there only".to_owned());
    }
    if let Some(result) = body["test"].get("result") {
        let keys = ["detectionType", "detectionFlowNumber", "detectionResult", "numberOfChannels", "startingChannel"];
        exactly(result, &[&keys[..], &["channelResults", "numberOfSubGroups", "subGroupResults"]].concat(), &[])?;
        result["subGroupResults"]
            .as_array()
            .ok_or("no groups")?
            .iter()
            .try_for_each(|group| exactly(group, &["result", "name"], &[]))?;
    }
    let data = &body["test"]["data"];
    exactly(data, &["temperatureSamples", "samples"], &[])?;
    let list = |name: &str| data[name].as_array().ok_or(format!("{name} is no array"));
    list("temperatureSamples")?.iter().try_for_each(|temperature| exactly(temperature, &["time", "temp"], &[]))?;
    let nine = "sampleType sampleStreamNumber currentDataIndex totalNumberOfSamples startingChannel numberOfChannels \
                samplingTime samplingTemperature firstChannelResult";
    let nine: Vec<&str> = nine.split_whitespace().collect();
    list("samples")?.iter().try_for_each(|sample| exactly(sample, &nine, &[]))
}

fn exactly(value: &Value, required: &[&str], allowed: &[&str]) -> Result<(), String> {
    let fields = value.as_object().ok_or(format!("{value} is no object"))?;
    let unknown = fields.keys().find(|key| !required.contains(&key.as_str()) && !allowed.contains(&key.as_str()));
    let missing = required.iter().find(|key| !fields.contains_key(**key));
    match (unknown, missing) {
        (None, None) => Ok(()),
        problem => Err(format!("unknown or missing: {problem:?}")),
    }
}

#[test]
fn a_strict_receiver_takes_every_test_v0_body() {
    for case in cases(dialect("test-v0").expect("a dialect")) {
        let Some(request) = case.http() else { continue };
        assert_eq!(strict(&request.body), Ok(()), "{}", case.folder.display());
    }
}

/// A whole run as the driver states it: a temperature each 2 s, 7 samples each minute, deltas only.
pub fn whole_run() -> Vec<Event> {
    let device = Device {
        model: Some("PM900".to_owned()),
        sn: Some("4123456789".to_owned()),
        details: json!({"hwVersion": "HV9.1", "swVersion": "SV9.2", "configuration": "CV9.3"})
            .as_object()
            .cloned()
            .unwrap_or_default(),
    };
    let event = |index: usize, name, state, data: Value| {
        let test = json!({"id": Id([9; 16]), "state": TestState::Idle, "qc": false, "results": [], "data": data});
        let mut test: Test = serde_json::from_value(test).expect("a test");
        test.state = state;
        test.result = (state == TestState::Done).then(|| json!({"detectionResult": "NEGATIVE"}));
        Event {
            seq: Seq(index as i64 + 1),
            id: Id::derived(&[&index.to_be_bytes()]),
            analyzer: AnalyzerId("pcr".to_owned()),
            received_at: Timestamp(NOW.wall.0 + index as i64 * 60_000),
            clock: ClockQuality::Synchronized,
            boot: Id([1; 16]),
            mono: Mono(0),
            sequence: None,
            erased: false,
            kind: EventKind::about_test(name, Some(device.clone()), test),
        }
    };
    let temperature =
        |index: usize| json!({"time": Timestamp(NOW.wall.0 + index as i64 * 2_000), "temp": 63.167_675_018_310_55});
    let sample = |round: usize, channel: usize| {
        json!({"sampleType": 1, "sampleStreamNumber": 166, "currentDataIndex": round, "totalNumberOfSamples": 36,
               "startingChannel": channel, "numberOfChannels": 1, "samplingTime": 301 + 601 * round,
               "samplingTemperature": 63.1, "firstChannelResult": 64 * (12 + channel)})
    };
    let temperatures = 35 * 60 / 2;
    let mut events: Vec<Event> = (0..36)
        .map(|round| {
            let (from, to) = (temperatures * round / 36, temperatures * (round + 1) / 36);
            let data = RunDelta {
                temperatures_from: from,
                samples_from: round * 7,
                temperatures: (from..to).map(temperature).collect(),
                samples: (0..7).map(|channel| sample(round, channel)).collect(),
            };
            event(round, EventName::NewData, TestState::Testing, serde_json::to_value(data).expect("JSON"))
        })
        .collect();
    let nothing =
        json!({"temperatures_from": temperatures, "samples_from": 252, "temperatureSamples": [], "samples": []});
    events.push(event(36, EventName::TestFinished, TestState::Done, nothing));
    events
}

pub fn render(name: &str, events: &[Event], number: u32, wait_ms: i64) -> HttpRequest {
    let secrets = [Secret::new(format!("whsec_{}", "A".repeat(44)))];
    let now = Now { wall: NOW.wall.shifted(wait_ms), ..NOW };
    let attempt = Attempt {
        gateway: "clinic-7",
        endpoint: &Endpoint::default(),
        secrets: &secrets,
        now,
        signed_at: now.wall,
        number,
        ordinal: 5,
        ordinals: &[],
        redriven: false,
        historical: false,
        history: events,
    };
    let dialect = dialect(name).expect("a dialect");
    match dialect.render(&events[events.len() - 1..], &attempt) {
        Ok(Some(Request::Http(request))) => request,
        other => panic!("no request: {:?}", other.err()),
    }
}

#[test]
fn a_whole_run_is_about_118_kb_and_the_same_on_every_attempt() {
    let events = whole_run();
    for name in ["test-v0", "cloudevents"] {
        let (first, second) = (render(name, &events, 1, 0), render(name, &events, 2, 300_000));
        assert!(first.body == second.body, "{name}: another body on the second attempt");
        assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
        assert_ne!(header(&first, "webhook-signature"), header(&second, "webhook-signature"));
    }
    let body = render("test-v0", &events, 1, 0).body;
    assert!((100_000..140_000).contains(&body.len()), "{} bytes", body.len());
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["test"]["data"]["samples"].as_array().map(Vec::len), Some(252));
    assert_eq!(body["test"]["data"]["temperatureSamples"].as_array().map(Vec::len), Some(1050));
    for round in 1..36 {
        let request = render("test-v0", &events[..round], 1, 0);
        assert_eq!(strict(&request.body), Ok(()), "round {round}");
    }
}
