//! What goes to a receiver, byte for byte, and what its answer means.
//!
//! A case is a folder `fixtures/dialects/<dialect>/<case>/`: `event.json` (stored events, the one to send last),
//! `response.http`, and where they matter the circumstances of the attempt, `attempt.json`; expected are `request.http`
//! (header lines, a blank line, the body) and `outcome.txt`. `UPDATE=1` writes the expected ones; read the diff. Every
//! value in there is invented.

use gateway_core::delivery::{Outcome, Reason};
use gateway_core::dialects::{
    Attempt, DIALECTS, Dialect, Endpoint, HttpRequest, Request, Response, Secret, dialect, standard_webhooks,
};
use gateway_core::event::{AnalyzerId, Device, Event, EventKind, EventName, Id, RunDelta, Seq, Test, TestState};
use gateway_core::mutants::{Mutant, plant};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// 2026-11-21T20:14:30Z: when every attempt here is made.
const NOW: Now =
    Now { mono: Mono(3_600_000_000_000), wall: Timestamp(1_795_292_070_000), quality: ClockQuality::Synchronized };

#[derive(Deserialize)]
struct Stored {
    seq: Seq,
    id: Id,
    analyzer: AnalyzerId,
    received_at: Timestamp,
    clock: ClockQuality,
    boot: Id,
    mono: u64,
    kind: EventKind,
}

impl From<Stored> for Event {
    fn from(stored: Stored) -> Event {
        let Stored { seq, id, analyzer, received_at, clock, boot, mono, kind } = stored;
        Event { seq, id, analyzer, received_at, clock, boot, mono: Mono(mono), sequence: None, erased: false, kind }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Circumstances {
    secrets: Vec<String>,
    number: u32,
    ordinal: u64,
    redriven: bool,
}

impl Default for Circumstances {
    fn default() -> Self {
        Circumstances { secrets: Vec::new(), number: 1, ordinal: 1, redriven: false }
    }
}

struct Case {
    folder: PathBuf,
    dialect: &'static dyn Dialect,
    events: Vec<Event>,
    secrets: Vec<Secret>,
    circumstances: Circumstances,
    response: Response,
}

impl Case {
    fn read(dialect: &'static dyn Dialect, folder: PathBuf) -> Case {
        let text = |name: &str| {
            fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{folder:?}/{name}: {error}"))
        };
        let stored: Vec<Stored> =
            serde_json::from_str(&text("event.json")).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let circumstances = match folder.join("attempt.json").exists() {
            true => serde_json::from_str(&text("attempt.json")).expect("attempt.json"),
            false => Circumstances::default(),
        };
        let response = response(&text("response.http"));
        let events = stored.into_iter().map(Event::from).collect();
        let secrets = circumstances.secrets.iter().map(Secret::new).collect();
        Case { folder, dialect, events, secrets, circumstances, response }
    }

    fn event(&self) -> &Event {
        self.events.last().expect("an event")
    }

    fn request(&self) -> Option<HttpRequest> {
        let attempt = Attempt {
            gateway: "clinic-7",
            endpoint: &Endpoint::default(),
            secrets: &self.secrets,
            now: NOW,
            signed_at: NOW.wall,
            historical: false,
            number: self.circumstances.number,
            ordinal: self.circumstances.ordinal,
            redriven: self.circumstances.redriven,
            history: &self.events,
        };
        let rendered = self.dialect.render(std::slice::from_ref(self.event()), &attempt).expect("renders");
        rendered.map(|request| match request {
            Request::Http(request) => request,
            Request::Mllp(_) => panic!("an MLLP request"),
        })
    }

    fn outcome(&self) -> Outcome {
        self.dialect.judge(std::slice::from_ref(self.event()), &self.response, &Endpoint::default(), NOW)
    }
}

fn response(text: &str) -> Response {
    let (head, body) = text.split_once("\n\n").expect("a blank line");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Response {
        status: status.parse().expect("a status"),
        headers: lines.filter_map(header).collect(),
        body: body.into(),
    }
}

fn written(request: Option<&HttpRequest>) -> Vec<u8> {
    let Some(request) = request else { return b"none\n".to_vec() };
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    [headers.as_bytes(), b"\n", &request.body].concat()
}

fn told(request: Option<&HttpRequest>, outcome: &Outcome) -> String {
    let line = |word: &str, Reason { code, detail }: &Reason| format!("{word} {}: {detail}\n", code.as_str());
    match outcome {
        _ if request.is_none() => "nothing to send\n".to_owned(),
        Outcome::Delivered => "delivered\n".to_owned(),
        Outcome::Retryable { reason, retry_after: None } => line("retryable", reason),
        Outcome::Retryable { reason, retry_after: Some(after) } => {
            line(&format!("retryable after {} s", after.as_secs()), reason)
        }
        Outcome::Held { reason } => line("held", reason),
        Outcome::Rejected { reason } => line("rejected", reason),
        Outcome::NoNetwork { reason } => line("no network", reason),
    }
}

fn cases(dialect: &'static dyn Dialect) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialects").join(dialect.name());
    let entries = fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    folders.sort();
    folders.into_iter().map(|folder| Case::read(dialect, folder)).collect()
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[test]
fn every_case_gives_its_request_and_its_outcome() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in DIALECTS.iter().flat_map(|dialect| cases(*dialect)) {
        let request = case.request();
        let outcome = told(request.as_ref(), &case.outcome()).into_bytes();
        for (name, now) in [("request.http", written(request.as_ref())), ("outcome.txt", outcome)] {
            let file = case.folder.join(name);
            if update {
                fs::write(&file, &now).expect("written");
            } else if fs::read(&file).ok().as_deref() != Some(now.as_slice()) {
                wrong.push(format!("{}:\n{}", file.display(), String::from_utf8_lossy(&now)));
            }
        }
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn every_dialect_has_a_case_for_all_that_it_says_and_hears() {
    for dialect in DIALECTS.iter().copied() {
        let cases = cases(dialect);
        let sent = || cases.iter().filter_map(|case| Some((case, case.request()?)));
        let names: BTreeSet<EventName> = sent().map(|(case, _)| case.event().kind.name).collect();
        let spoken: BTreeSet<EventName> =
            EventName::ALL.iter().copied().filter(|name| dialect.word(*name).is_some()).collect();
        assert_eq!(names, spoken, "{}", dialect.name());
        let statuses: BTreeSet<u16> = cases.iter().map(|case| case.response.status).collect();
        for status in [200, 301, 400, 401, 403, 404, 408, 410, 413, 422, 425, 429, 500, 503] {
            assert!(statuses.contains(&status), "{} has no case for {status}", dialect.name());
        }
        let signatures: BTreeSet<usize> = sent()
            .map(|(_, request)| header(&request, "webhook-signature").map_or(0, |value| value.split(' ').count()))
            .collect();
        assert_eq!(signatures, BTreeSet::from([0, 1, 2]), "{}", dialect.name());
    }
}

#[test]
fn every_signature_verifies_with_each_of_its_secrets() {
    for case in DIALECTS.iter().flat_map(|dialect| cases(*dialect)) {
        let Some(request) = case.request() else { continue };
        for secret in &case.secrets {
            let named = |name| header(&request, name).unwrap_or_default();
            let headers = (named("webhook-id"), named("webhook-timestamp"), named("webhook-signature"));
            assert_eq!(headers.0, case.event().id.to_string());
            let verified = standard_webhooks::verify(secret, headers, &request.body, NOW.wall.as_seconds(), 0);
            assert_eq!(verified, Ok(()), "{}", case.folder.display());
        }
    }
}

#[test]
fn a_cloudevent_has_its_attributes_and_the_data_that_decode_prints() {
    for case in cases(dialect("cloudevents").expect("a dialect")) {
        let request = case.request().expect("every event");
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let event = case.event();
        // CONTRACT: `id` = `webhook-id`, signed or not.
        assert_eq!(header(&request, "webhook-id"), Some(event.id.to_string().as_str()));
        assert_eq!(body["specversion"], "1.0");
        assert_eq!(body["id"], event.id.to_string());
        assert_eq!(body["type"], format!("analyzer-gateway.{}", event.kind.name));
        assert_eq!(body["source"], format!("/clinic-7/{}", event.analyzer));
        assert_eq!(body["data"], serde_json::from_str::<Value>(&event.data_json()).expect("JSON"));
    }
}

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
        let Some(request) = case.request() else { continue };
        assert_eq!(strict(&request.body), Ok(()), "{}", case.folder.display());
    }
}

/// A whole run as the driver states it: a temperature each 2 s, 7 samples each minute, deltas only.
fn whole_run() -> Vec<Event> {
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

fn render(name: &str, events: &[Event], number: u32, wait_ms: i64) -> HttpRequest {
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

#[test]
fn the_planted_bugs_of_this_part_can_be_seen_here() {
    let refused = Response { status: 500, ..Response::default() };
    let events = whole_run();
    let seen = || {
        let ids =
            [1, 2].map(|number| header(&render("cloudevents", &events, number, 0), "webhook-id").map(str::to_owned));
        (
            dialect("cloudevents").map(|dialect| dialect.judge(&[], &refused, &Endpoint::default(), NOW))
                == Some(Outcome::Delivered),
            ids[0] != ids[1],
        )
    };
    assert_eq!(seen(), (false, false));
    plant(Some(Mutant::AnyStatusDelivers));
    assert_eq!(seen(), (true, false));
    plant(Some(Mutant::NewIdEachAttempt));
    assert_eq!(seen(), (false, true));
    plant(None);
}
