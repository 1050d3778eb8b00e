//! The fixtures of the dialects: what was stored, under which settings it is sent, what the receiver answers.
//!
//! A case is a folder `fixtures/dialects/<dialect>/<case>/`: `event.json` (stored events, the ones to send last),
//! `response.http`, and where they matter the circumstances of the attempt, `attempt.json`; expected are `request.http`
//! (header lines, a blank line, the body) or `request.mllp` (the message) and `outcome.txt`. Every value in there is
//! invented.

use gateway_core::delivery::{Outcome, Reason};
use gateway_core::dialects::{
    Attempt, Dialect, Endpoint, HttpRequest, Mode, PersonalData, RenderError, Request, Response, Secret, Signature,
    Template,
};
use gateway_core::event::{AnalyzerId, Event, EventKind, Id, Seq};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// 2026-11-21T20:14:30Z: when every attempt here is made.
pub const NOW: Now =
    Now { mono: Mono(3_600_000_000_000), wall: Timestamp(1_795_292_070_000), quality: ClockQuality::Synchronized };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    seq: Seq,
    id: Id,
    analyzer: AnalyzerId,
    received_at: Timestamp,
    clock: ClockQuality,
    boot: Id,
    mono: u64,
    #[serde(default)]
    sequence: Option<u64>,
    #[serde(default)]
    erased: bool,
    kind: EventKind,
}

impl From<Stored> for Event {
    fn from(stored: Stored) -> Event {
        let Stored { seq, id, analyzer, received_at, clock, boot, mono, sequence, erased, kind } = stored;
        Event { seq, id, analyzer, received_at, clock, boot, mono: Mono(mono), sequence, erased, kind }
    }
}

/// `attempt.json`
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Circumstances {
    secrets: Vec<String>,
    number: u32,
    ordinal: u64,
    redriven: bool,
    historical: bool,
    /// How many of the events go out in this request: the last ones.
    batch: usize,
    settings: Settings,
}

impl Default for Circumstances {
    fn default() -> Self {
        Circumstances {
            secrets: Vec::new(),
            number: 1,
            ordinal: 1,
            redriven: false,
            historical: false,
            batch: 1,
            settings: Settings::default(),
        }
    }
}

/// What a webhook of the settings says to its dialect, with the names of the YAML, and two keys of other parts of it.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    public_url: Option<String>,
    time_zone: Option<String>,
    personal_data: Option<PersonalData>,
    audience: Option<String>,
    mode: Mode,
    signatures: Vec<SignatureSetting>,
    success_statuses: Option<Vec<Value>>,
    loinc: BTreeMap<String, String>,
    receiving_application: Option<String>,
    receiving_facility: Option<String>,
    /// The url begins with `mllp://`.
    mllp: bool,
    template: Option<TemplateSetting>,
    posted: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateSetting {
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SignatureSetting {
    StandardWebhooks { standard_webhooks: String },
    Mac { mac: String, secret: String },
}

impl Settings {
    /// The same as the reader of the settings makes it.
    pub fn endpoint(self, dialect: &dyn Dialect) -> Endpoint {
        let signature = |setting| match setting {
            SignatureSetting::StandardWebhooks { standard_webhooks } => {
                Signature::StandardWebhooks(Secret::new(standard_webhooks))
            }
            SignatureSetting::Mac { mac, secret } => Signature::Mac { header: mac, secret: Secret::new(secret) },
        };
        let statuses = |written: Vec<Value>| written.iter().map(statuses).collect();
        Endpoint {
            public_url: self.public_url,
            time_zone: self.time_zone.unwrap_or_else(|| "UTC".to_owned()),
            personal_data: self.personal_data.unwrap_or(dialect.personal_data()),
            audience: self.audience,
            mode: self.mode,
            signatures: self.signatures.into_iter().map(signature).collect(),
            success_statuses: self.success_statuses.map(statuses),
            loinc: self.loinc,
            receiving_application: self.receiving_application,
            receiving_facility: self.receiving_facility,
            mllp: self.mllp,
            template: self.template.map(template),
            posted: self.posted,
        }
    }
}

fn template(setting: TemplateSetting) -> Template {
    let headers: Vec<(String, String)> = setting.headers.into_iter().collect();
    Template::compile(&setting.body, &headers)
        .unwrap_or_else(|fault| panic!("{}:{}: {fault}", fault.line, fault.column))
}

/// `202` or `"200-299"`.
fn statuses(written: &Value) -> RangeInclusive<u16> {
    let text = written.as_str().map_or_else(|| written.to_string(), str::to_owned);
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    first.parse().expect("a status")..=last.parse().expect("a status")
}

/// One folder.
pub struct Case {
    pub folder: PathBuf,
    pub dialect: &'static dyn Dialect,
    /// All that is stored; the last [`Case::batch`] of them are sent.
    pub events: Vec<Event>,
    pub secrets: Vec<Secret>,
    /// Of the events that go out in this request.
    pub ordinals: Vec<u64>,
    pub endpoint: Endpoint,
    pub response: Response,
    circumstances: Circumstances,
}

impl Case {
    fn read(dialect: &'static dyn Dialect, folder: PathBuf) -> Case {
        let text = |name: &str| {
            fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{folder:?}/{name}: {error}"))
        };
        let stored: Vec<Stored> =
            serde_json::from_str(&text("event.json")).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut circumstances: Circumstances = match folder.join("attempt.json").exists() {
            true => serde_json::from_str(&text("attempt.json")).unwrap_or_else(|error| panic!("{folder:?}: {error}")),
            false => Circumstances::default(),
        };
        let endpoint = std::mem::take(&mut circumstances.settings).endpoint(dialect);
        let response = response(&text("response.http"));
        let events = stored.into_iter().map(Event::from).collect();
        let secrets = circumstances.secrets.iter().map(Secret::new).collect();
        let ordinals = (circumstances.ordinal..).take(circumstances.batch).collect();
        Case { folder, dialect, events, secrets, ordinals, endpoint, response, circumstances }
    }

    /// The events that go out in this request, in the order of the log.
    pub fn batch(&self) -> &[Event] {
        &self.events[self.events.len() - self.circumstances.batch..]
    }

    /// The newest of them.
    pub fn event(&self) -> &Event {
        self.events.last().expect("an event")
    }

    /// The attempt that the case is about.
    pub fn attempt(&self) -> Attempt<'_> {
        Attempt {
            gateway: "clinic-7",
            endpoint: &self.endpoint,
            secrets: &self.secrets,
            now: NOW,
            signed_at: NOW.wall,
            historical: self.circumstances.historical,
            number: self.circumstances.number,
            ordinal: self.circumstances.ordinal,
            ordinals: &self.ordinals,
            redriven: self.circumstances.redriven,
            history: &self.events,
        }
    }

    /// `Ok(None)`: the event has no form.
    pub fn rendered(&self) -> Result<Option<Request>, RenderError> {
        self.dialect.render(self.batch(), &self.attempt())
    }

    /// The request, if there is one and it goes over HTTP.
    pub fn http(&self) -> Option<HttpRequest> {
        match self.rendered() {
            Ok(Some(Request::Http(request))) => Some(request),
            _ => None,
        }
    }

    /// The name and the text of the file that holds the request.
    pub fn written(&self) -> (&'static str, Vec<u8>) {
        match self.rendered() {
            Ok(None) => ("request.http", b"none\n".to_vec()),
            Ok(Some(Request::Http(request))) => ("request.http", written(&request)),
            Ok(Some(Request::Mllp(message))) => ("request.mllp", message),
            Err(error) if error.is_settings => ("request.http", format!("held: {error}\n").into_bytes()),
            Err(error) => ("request.http", format!("dead: {error}\n").into_bytes()),
        }
    }

    /// What the answer means, in a line.
    pub fn told(&self) -> String {
        match self.rendered() {
            Ok(Some(_)) => told(&self.dialect.judge(self.batch(), &self.response, &self.endpoint, NOW)),
            _ => "nothing to send\n".to_owned(),
        }
    }
}

/// Every case of a dialect, by name.
pub fn cases(dialect: &'static dyn Dialect) -> Vec<Case> {
    let root = folder(dialect);
    let entries = fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.into_iter().map(|folder| Case::read(dialect, folder)).collect()
}

/// Where the cases of a dialect are.
pub fn folder(dialect: &dyn Dialect) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialects").join(dialect.name())
}

/// The first header of that (lower-case) name.
pub fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An outcome in a line.
pub fn told(outcome: &Outcome) -> String {
    let line = |word: &str, Reason { code, detail }: &Reason| format!("{word} {}: {detail}\n", code.as_str());
    match outcome {
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

/// A request as the files have it.
pub fn written(request: &HttpRequest) -> Vec<u8> {
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    [headers.as_bytes(), b"\n", &request.body].concat()
}
