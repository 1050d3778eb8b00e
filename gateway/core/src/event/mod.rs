//! The domain facts: what an analyzer has said, free of how it was framed and of who will hear it.
//!
//! [`EventKind`] is what a driver states; [`Event`] is that fact once it is committed, with its place in the log, its id
//! and its time. Invariant: patient data stands only in [`Personal`] values and in captures, and neither can be printed
//! by a log: `Personal` has no `Display`, and its `Debug` shows nothing.

mod id;
mod name;
mod personal;

pub use id::{BadId, Id};
pub use name::EventName;
pub use personal::{Payload, Personal};

use crate::time::{ClockQuality, Mono, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// An event's place in the log: 1, 2, 3 ... in the order of commit, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Seq(pub i64);

/// What an integrator calls an analyzer in the YAML: `[a-z0-9][a-z0-9-]{0,31}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnalyzerId(pub String);

impl fmt::Display for AnalyzerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event's id: CloudEvents `id`, `webhook-id` and `x-gateway-event-id` are this, on every attempt.
pub type EventId = Id;
/// A test's id: one run on one analyzer.
pub type TestId = Id;

/// What makes a fact the same fact when an analyzer repeats it after a lost answer. A driver gives it where the repeated
/// message can be told from a new one; the event's id is then derived from it, so a repeat is stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(pub [u8; 32]);

/// The states of a test, as seed 000 names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TestState {
    Uninitialized,
    Idle,
    Testing,
    Done,
    BlockedAlreadyTesting,
    BlockedNotReady,
}

impl TestState {
    /// The word in the JSON: `BLOCKED_NOT_READY`.
    pub fn as_str(self) -> &'static str {
        match self {
            TestState::Uninitialized => "UNINITIALIZED",
            TestState::Idle => "IDLE",
            TestState::Testing => "TESTING",
            TestState::Done => "DONE",
            TestState::BlockedAlreadyTesting => "BLOCKED_ALREADY_TESTING",
            TestState::BlockedNotReady => "BLOCKED_NOT_READY",
        }
    }
}

/// What the analyzer says of itself. Absent parts are null.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Device {
    pub model: Option<String>,
    /// The serial number as text; seed 000's exceed 2^31, so it is never squeezed into a small integer.
    pub sn: Option<String>,
    /// `hwVersion`, `swVersion`, `configuration` and whatever else a `test-v0` device object holds, as received.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub details: serde_json::Map<String, Value>,
}

/// One result value of a test.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ResultValue {
    /// The analyzer's code: LIS2 R.3 part 4, else the first non-empty of parts 5, 1, 2, 3 (CONTRACT has the exact rule).
    pub code: String,
    pub name: String,
    /// The LOINC code that the analyzer's profile gives for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loinc: Option<String>,
    /// Which of several values of one code, as sent: HL7 OBX-4, in IHE LAW the number of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The text as sent, blanks trimmed at its ends only.
    pub value: Personal,
    /// What was left out of `value`, which is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<Omitted>,
    /// Present only if the whole trimmed value is a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<serde_json::Number>,
    pub unit: String,
    pub reference: String,
    pub flags: Vec<String>,
    pub status: String,
    /// The analyzer's own local time, RFC 3339 without offset; null if it cannot be read.
    pub at: Option<String>,
    /// The same as the analyzer sent it.
    pub at_text: String,
    pub comments: Vec<Personal>,
}

/// A picture that is too long for an event. It is in the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// `image/bmp`
    pub media_type: String,
    /// `base64`; empty if the analyzer does not say.
    pub encoding: String,
    /// How long the value is, as sent.
    pub bytes: usize,
    /// The SHA-256 of the value as sent (after the message's bytes became text), in small hexadecimal digits.
    pub sha256: String,
}

/// One run on an analyzer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    pub id: TestId,
    pub state: TestState,
    pub sample_id: Option<Personal>,
    pub instrument_sample_id: Option<Personal>,
    pub patient_id: Option<Personal>,
    pub qc: bool,
    /// Whether it is a calibration: no result of anybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calibration: bool,
    /// 1 when it is first stated; one more with each correction of the same test, by the analyzer or by a newer decoder.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub version: u32,
    /// The codes of the results that this version has changed; empty in the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<String>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub results: Vec<ResultValue>,
    /// Comments on the order or the patient rather than on one result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<Personal>,
    /// `test-v0`: what is new in this event of a running test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RunDelta>,
    /// `test-v0`: the `result` object as received, when the test is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Test {
    /// A test of which nothing else is known.
    pub fn new(id: TestId, state: TestState) -> Test {
        Test {
            id,
            state,
            sample_id: None,
            instrument_sample_id: None,
            patient_id: None,
            qc: false,
            calibration: false,
            version: first_version(),
            corrected: Vec::new(),
            started_at: None,
            finished_at: None,
            results: Vec::new(),
            comments: Vec::new(),
            data: None,
            result: None,
        }
    }
}

fn first_version() -> u32 {
    1
}

fn is_first_version(version: &u32) -> bool {
    *version == 1
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Test").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

/// The part of an amplification run that earlier events of the same test have not carried. The cumulative arrays of seed
/// 000 are these deltas laid at their offsets.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunDelta {
    /// How many temperature samples earlier events carried: the index of the first one here.
    pub temperatures_from: usize,
    /// How many samples earlier events carried: the index of the first one here.
    pub samples_from: usize,
    /// `{time, temp}` objects as received, numbers in their received text.
    #[serde(rename = "temperatureSamples")]
    pub temperatures: Vec<Value>,
    /// The nine-key sample objects as received.
    pub samples: Vec<Value>,
}

/// A host query (LIS2 Q record): the analyzer asks what to do with these samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub sample_ids: Vec<Personal>,
    /// LIS2 Q.13: `O` orders wanted, `A` abort or cancel, and so on.
    pub status: String,
}

/// Bytes that could not be understood. They are in the capture; this says what was wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// A word for programs: `checksum`, `frame_number`, `too_long`, `interrupted`, `not_astm`, `bad_json` ...
    pub code: String,
    /// A sentence for people. Never any of the bytes themselves.
    pub reason: String,
    /// How many bytes the capture holds.
    pub bytes: usize,
}

/// Something is missing between two moments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub reason: String,
    /// The first moment that is missing, where known.
    pub from: Option<Timestamp>,
    /// The last moment that is missing, where known.
    pub to: Option<Timestamp>,
}

/// Something a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    pub code: String,
    pub reason: String,
}

/// What an event says about a registration (a sample expected or received). Ids only: whoever needs more fetches it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RegistrationFact {
    /// The registration's id, as its maker gave it or as the gateway did.
    pub id: String,
    /// Its integer id, from 1.
    pub number: i64,
    /// The sample's id that made the link, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_id: Option<Personal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab_id: Option<String>,
    /// `REGISTRATION_RETEST`: the id of the registration made for the second run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retest: Option<String>,
    /// `REGISTRATION_SAMPLE_RECEIVED`: when the sample came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_received_at: Option<Timestamp>,
    /// The test whose results this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestId>,
    /// The integer id of that result: the place of its `TEST_FINISHED` in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<i64>,
    /// The integer ids that the registration's maker gave, for receivers that know nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appointment: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<i64>,
    /// `REGISTRATION_RESULT_VERIFIED`: the id of the client by which a person has verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
}

/// An event that another program made and a dialect's catalogue knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Posted {
    /// The dialect whose catalogue has it.
    pub dialect: String,
    /// Its name there: `appointmentCreated`, `WMS_LOADED`, `lab_results.complete`.
    pub event: String,
    /// The session it belongs to, in a dialect that numbers sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Personal>,
    /// The payload as posted, an object; null if there was none.
    #[serde(default)]
    pub payload: Payload,
}

/// What a session states about its analyzer. Which parts are present depends on the name; the constructors say which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventKind {
    #[serde(rename = "event")]
    pub name: EventName,
    #[serde(default)]
    pub device: Option<Device>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// Whole tests that could be read in a rejected message. They are not results until the analyzer repeats them whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Test>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Alarm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationFact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posted: Option<Posted>,
    /// `CLOCK_CORRECTED`, `DATA_EVICTED`, connection changes: small objects with figures and words, never patient data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Not part of the JSON: see [`Identity`].
    #[serde(skip)]
    pub identity: Option<Identity>,
}

impl EventKind {
    /// An event with nothing but its name.
    pub fn bare(name: EventName) -> EventKind {
        EventKind {
            name,
            device: None,
            test: None,
            query: None,
            rejection: None,
            partial: Vec::new(),
            gap: None,
            alarm: None,
            registration: None,
            posted: None,
            details: None,
            identity: None,
        }
    }

    /// One of the events about a test.
    pub fn about_test(name: EventName, device: Option<Device>, test: Test) -> EventKind {
        EventKind { device, test: Some(test), ..EventKind::bare(name) }
    }

    /// `MESSAGE_REJECTED` for `bytes` received bytes.
    pub fn rejected(code: &str, reason: impl Into<String>, bytes: usize) -> EventKind {
        let rejection = Rejection { code: code.to_owned(), reason: reason.into(), bytes };
        EventKind { rejection: Some(rejection), ..EventKind::bare(EventName::MessageRejected) }
    }

    /// `ANALYZER_ALARM`.
    pub fn alarm(code: &str, reason: impl Into<String>) -> EventKind {
        let alarm = Alarm { code: code.to_owned(), reason: reason.into() };
        EventKind { alarm: Some(alarm), ..EventKind::bare(EventName::AnalyzerAlarm) }
    }

    /// One of the events about a registration.
    pub fn about_registration(name: EventName, registration: RegistrationFact) -> EventKind {
        EventKind { registration: Some(registration), ..EventKind::bare(name) }
    }

    /// An event of another program.
    pub fn posted(posted: Posted) -> EventKind {
        EventKind { posted: Some(posted), ..EventKind::bare(EventName::Posted) }
    }

    /// The event with test ids of its own for each `source` it came in from: its tests stay one there, and none can be taken
    /// for a test of somebody else.
    pub fn with_tests_of(mut self, source: &str) -> EventKind {
        let own = |id: &TestId| Id::derived(&[b"test-in", source.as_bytes(), &id.0]);
        self.test.iter_mut().chain(&mut self.partial).for_each(|test| test.id = own(&test.id));
        // A gap in a running test names it here.
        if let Some(named) = self.details.as_mut().and_then(|details| details.get_mut("test"))
            && let Some(id) = named.as_str().and_then(|text| text.parse().ok())
        {
            *named = own(&id).to_string().into();
        }
        self
    }

    /// What it is called in filters, topics and the log: a posted event by its own name.
    pub fn word(&self) -> &str {
        self.posted.as_ref().map_or(self.name.as_str(), |posted| &posted.event)
    }

    /// The id that this fact has if it is repeated, else `None` and the caller draws a random one.
    pub fn derived_id(&self, analyzer: &AnalyzerId) -> Option<EventId> {
        self.identity.map(|identity| Id::derived(&[analyzer.0.as_bytes(), &identity.0]))
    }
}

/// A committed fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: Seq,
    pub id: EventId,
    pub analyzer: AnalyzerId,
    /// When its last byte was received, in UTC.
    pub received_at: Timestamp,
    pub clock: ClockQuality,
    /// The boot in which it was received, and the monotonic time there: what a corrected clock is applied to.
    pub boot: Id,
    pub mono: Mono,
    /// Its place in its session, from 0, fixed at commit; only where it belongs to one
    /// ([`session_of`](crate::dialects::session_of)).
    pub sequence: Option<u64>,
    /// Whether a person's data was taken out of it after it was stored.
    pub erased: bool,
    pub kind: EventKind,
}

impl Event {
    /// The test this event is about, if it is about one.
    pub fn test_id(&self) -> Option<TestId> {
        self.kind.test.as_ref().map(|test| test.id)
    }

    /// The lane inside one destination: events of one test keep their order, and so do those of one registration and those
    /// of one session; what belongs to none of them keeps the order of its analyzer, or of its dialect.
    pub fn lane(&self) -> Lane {
        let kind = &self.kind;
        match (&kind.test, &kind.registration, &kind.posted) {
            (Some(test), _, _) => Lane(format!("t:{}", test.id)),
            (_, Some(registration), _) => Lane(format!("r:{}", registration.id)),
            (_, _, Some(Posted { session: Some(session), .. })) => {
                Lane(format!("s:{}", Id::derived(&[session.expose().as_bytes()])))
            }
            (_, _, Some(posted)) => Lane(format!("p:{}", posted.dialect)),
            _ => Lane(format!("a:{}", self.analyzer)),
        }
    }

    /// CONTRACT's data object, without a line end: what `decode` prints and CloudEvents carries under `data`.
    pub fn data_json(&self) -> String {
        #[derive(Serialize)]
        struct Data<'a> {
            event: &'a str,
            analyzer: &'a AnalyzerId,
            received_at: Timestamp,
            clock: ClockQuality,
            device: &'a Option<Device>,
            #[serde(skip_serializing_if = "Option::is_none")]
            test: &'a Option<Test>,
            #[serde(skip_serializing_if = "Option::is_none")]
            query: &'a Option<Query>,
            #[serde(skip_serializing_if = "Option::is_none")]
            rejection: &'a Option<Rejection>,
            #[serde(skip_serializing_if = "<[Test]>::is_empty")]
            partial: &'a [Test],
            #[serde(skip_serializing_if = "Option::is_none")]
            gap: &'a Option<Gap>,
            #[serde(skip_serializing_if = "Option::is_none")]
            alarm: &'a Option<Alarm>,
            #[serde(skip_serializing_if = "Option::is_none")]
            registration: &'a Option<RegistrationFact>,
            #[serde(skip_serializing_if = "Option::is_none")]
            posted: &'a Option<Posted>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence: Option<u64>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            erased: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: &'a Option<Value>,
        }
        let kind = &self.kind;
        let data = Data {
            event: kind.word(),
            analyzer: &self.analyzer,
            received_at: self.received_at,
            clock: self.clock,
            device: &kind.device,
            test: &kind.test,
            query: &kind.query,
            rejection: &kind.rejection,
            partial: &kind.partial,
            gap: &kind.gap,
            alarm: &kind.alarm,
            registration: &kind.registration,
            posted: &kind.posted,
            sequence: self.sequence,
            erased: self.erased,
            details: &kind.details,
        };
        serde_json::to_string(&data).expect("these types have only string keys")
    }
}

/// Deliveries of one lane at one destination happen in order; lanes do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub String);
