//! The domain facts: what an analyzer has said, free of how it was framed and of who will hear it.
//!
//! [`EventKind`] is what a driver states; [`Event`] is that fact once it is committed, with its place in the log, its id
//! and its time. Invariant: patient data stands only in [`Personal`] values and in captures, and neither can be printed
//! by a log: `Personal` has no `Display`, and its `Debug` shows nothing.

use crate::time::{ClockQuality, Mono, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
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

/// 16 bytes that print as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// A version 8 UUID (RFC 9562 section 5.8) from the first bits of a SHA-256: equal input, equal id.
    pub fn derived(parts: &[&[u8]]) -> Id {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Id::stamped(bytes, 8)
    }

    /// A version 7 UUID (RFC 9562 section 5.7) from the wall time and 10 random bytes.
    pub fn timed(wall: Timestamp, random: [u8; 10]) -> Id {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&(wall.0 as u64).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Id::stamped(bytes, 7)
    }

    fn stamped(mut bytes: [u8; 16], version: u8) -> Id {
        bytes[6] = (bytes[6] & 0x0f) | (version << 4);
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Id(bytes)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Id {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Id, BadId> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if digits.len() != 32 {
            return Err(BadId);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BadId)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadId)?;
        }
        Ok(Id(bytes))
    }
}

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: an id is 32 hexadecimal digits, like 0190f4a2-1c3d-7e5f-8a9b-0c1d2e3f4a5b")]
pub struct BadId;

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
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

/// Text about a patient, a sample or a result. Serialises as the plain text (stores, MQTT and webhooks are meant to carry
/// it); `Debug` hides it and there is no `Display`, so that a log cannot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(String);

impl Personal {
    pub fn new(text: impl Into<String>) -> Personal {
        Personal(text.into())
    }

    /// The text itself. Whoever calls this decides where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

/// The names of CONTRACT's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventName {
    TestStarted,
    ContinueTest,
    NewData,
    TestFinished,
    DeviceReady,
    AlreadyTesting,
    QueryReceived,
    MessageRejected,
    Gap,
    DataEvicted,
    ClockCorrected,
    AnalyzerConnected,
    AnalyzerDisconnected,
    AnalyzerAlarm,
}

impl EventName {
    /// Every name, in the order of CONTRACT.
    pub const ALL: &'static [EventName] = &[
        EventName::TestStarted,
        EventName::ContinueTest,
        EventName::NewData,
        EventName::TestFinished,
        EventName::DeviceReady,
        EventName::AlreadyTesting,
        EventName::QueryReceived,
        EventName::MessageRejected,
        EventName::Gap,
        EventName::DataEvicted,
        EventName::ClockCorrected,
        EventName::AnalyzerConnected,
        EventName::AnalyzerDisconnected,
        EventName::AnalyzerAlarm,
    ];

    /// The word in JSON, topics and filters: `TEST_FINISHED`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventName::TestStarted => "TEST_STARTED",
            EventName::ContinueTest => "CONTINUE_TEST",
            EventName::NewData => "NEW_DATA",
            EventName::TestFinished => "TEST_FINISHED",
            EventName::DeviceReady => "DEVICE_READY",
            EventName::AlreadyTesting => "ALREADY_TESTING",
            EventName::QueryReceived => "QUERY_RECEIVED",
            EventName::MessageRejected => "MESSAGE_REJECTED",
            EventName::Gap => "GAP",
            EventName::DataEvicted => "DATA_EVICTED",
            EventName::ClockCorrected => "CLOCK_CORRECTED",
            EventName::AnalyzerConnected => "ANALYZER_CONNECTED",
            EventName::AnalyzerDisconnected => "ANALYZER_DISCONNECTED",
            EventName::AnalyzerAlarm => "ANALYZER_ALARM",
        }
    }

    /// The reverse of [`EventName::as_str`].
    pub fn from_word(word: &str) -> Option<EventName> {
        EventName::ALL.iter().copied().find(|name| name.as_str() == word)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The states of a test, as seed 000 names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultValue {
    /// The analyzer's code: LIS2 R.3 part 4, else the first non-empty of parts 5, 1, 2, 3 (CONTRACT has the exact rule).
    pub code: String,
    pub name: String,
    /// The text as sent, blanks trimmed at its ends only.
    pub value: Personal,
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

/// One run on an analyzer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    pub id: TestId,
    pub state: TestState,
    pub sample_id: Option<Personal>,
    pub instrument_sample_id: Option<Personal>,
    pub patient_id: Option<Personal>,
    pub qc: bool,
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
    pub kind: EventKind,
}

impl Event {
    /// The test this event is about, if it is about one.
    pub fn test_id(&self) -> Option<TestId> {
        self.kind.test.as_ref().map(|test| test.id)
    }

    /// The lane inside one destination: events of one test keep their order; what belongs to no test keeps the order of
    /// its analyzer.
    pub fn lane(&self) -> Lane {
        match self.test_id() {
            Some(test) => Lane(format!("t:{test}")),
            None => Lane(format!("a:{}", self.analyzer)),
        }
    }

    /// CONTRACT's data object, without a line end: what `decode` prints and CloudEvents carries under `data`.
    pub fn data_json(&self) -> String {
        #[derive(Serialize)]
        struct Data<'a> {
            event: EventName,
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
            details: &'a Option<Value>,
        }
        let kind = &self.kind;
        let data = Data {
            event: kind.name,
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
            details: &kind.details,
        };
        serde_json::to_string(&data).expect("these types have only string keys")
    }
}

/// Deliveries of one lane at one destination happen in order; lanes do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub String);
