//! One conversation on one port, as a machine without hands: inputs go in, actions come out.
//!
//! The calling order is part of the contract, for both sides:
//! - `Opened` comes first and once; the link makes a new session when it reopens the port.
//! - After a session has pushed [`Action::Commit`] the link performs the actions before it, then the commit, and calls
//!   `handle` next with `Committed` or `CommitFailed`. Bytes received meanwhile wait in the link. So at most one commit is
//!   outstanding, and a session that holds more complete frames than one keeps them until then.
//! - Actions are performed in the order in which they were pushed.
//! - The same holds for [`Action::Ask`]: nothing is performed after it until `handle` has been called with `Answered`. At most
//!   one of a commit and a question is outstanding.
//! - `DeadlineReached` comes when [`Session::deadline`] has passed; a session that was called late must not mind.

use crate::error::ConfigError;
use crate::event::{Device, EventKind, TestId};
use crate::line_model::Uart;
use crate::reading::Reading;
use crate::scrub::{Pseudonyms, Unscrubbable};
use crate::text_rules::TextRules;
use crate::time::{Mono, Now};
use crate::worklist::{Question, WorkOrder};
use std::borrow::Cow;
use std::sync::Arc;

/// What the link tells a session.
#[derive(Debug)]
pub enum Input<'a> {
    /// The port is open.
    Opened(Resume<'a>),
    Received(&'a [u8]),
    /// The last `Commit` is on disk.
    Committed,
    /// The last `Commit` did not happen and never will: answer so that the analyzer keeps its result.
    CommitFailed,
    /// What the registrations say to the last `Ask`; empty: there is nothing to do, or it could not be looked up.
    Answered(&'a [WorkOrder]),
    /// What the driver's child process has written.
    Told(&'a [u8]),
    /// The child process has ended; another one is on its way.
    ChildEnded,
    DeadlineReached,
    /// The port is gone or the gateway stops, and no more can come. A session states what it holds: a message that is whole
    /// but for its last line end as what it is, a broken one as `MESSAGE_REJECTED`. Where that commit fails, or where the
    /// gateway dies without this input, the frames that were stored are unfinished still, and come with the next `Opened`.
    Closed,
}

/// What the store remembers for a session that starts again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resume<'a> {
    /// The bytes already acknowledged of a message that never became complete, empty if there is none.
    pub unfinished: &'a [u8],
    /// The test that was running when this analyzer was last heard.
    pub running: Option<&'a RunningTest>,
}

/// How far a running test had come.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningTest {
    pub id: TestId,
    pub device: Option<Device>,
    /// Temperature samples stored so far.
    pub temperatures: usize,
    /// Samples stored so far.
    pub samples: usize,
}

/// What a session asks of the link.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Send(Vec<u8>),
    Commit(Commit),
    /// Looks up what is to be done with these samples: comes back as `Answered`.
    Ask(Question),
    /// The analyzer has the answer to the last `Ask`: its orders count as sent, so that [`Question::All`] does not give them
    /// again and a cancellation is told once.
    Taken,
    /// Writes to the driver's child process.
    Tell(Vec<u8>),
}

/// Received bytes and the facts read from them, to be stored in one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Commit {
    /// The bytes as received. Empty if the facts come from silence, not from bytes.
    pub capture: Vec<u8>,
    pub events: Vec<EventKind>,
    /// Whether the message ends here: nothing before this point is unfinished any more. The captures since the last
    /// complete commit, this one included, are the message's capture.
    pub complete: bool,
}

/// One conversation on one port: it can ask, it cannot do.
pub trait Session: Send {
    /// Takes one input and appends what should be done about it.
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>);
    /// When `DeadlineReached` is due; `None` while nothing is awaited.
    fn deadline(&self) -> Option<Mono>;
}

/// Knows one family of analyzers.
pub trait Driver: Sync {
    /// The word in the YAML.
    fn name(&self) -> &'static str;
    /// A sentence for `--help` and the manual.
    fn about(&self) -> &'static str;
    /// Starts a conversation, or says which option is wrong.
    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError>;

    /// One stored message as a new session takes it: what is stored may begin in the middle of a conversation. `ended`:
    /// the analyzer had ended it, whether or not the bytes still show that.
    fn with_its_start<'a>(&self, options: &DriverOptions, message: &'a [u8], ended: bool) -> Cow<'a, [u8]> {
        let _ = (options, ended);
        Cow::Borrowed(message)
    }

    /// Received bytes with everything in them that may tell who somebody is replaced by as many invented bytes, and what
    /// the protocol sums up summed up anew. What is decoded from them has the same codes, values and flags.
    fn scrub(&self, options: &DriverOptions, bytes: &[u8], names: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        let _ = (options, bytes, names);
        Err(Unscrubbable)
    }
}

/// What the YAML can set for a driver.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverOptions {
    /// Longest frame, STX to LF, in bytes.
    pub frame_bytes_max: usize,
    /// Longest message, in bytes, over all its frames.
    pub message_bytes_max: usize,
    /// When an ACK may be sent: after each frame is stored, or for analyzers that repeat whole messages only after the last.
    pub commit: CommitPoint,
    /// How messages are framed (`astm` and `hl7`).
    pub framing: Framing,
    /// Pictures of one test that its event carries, in bytes (`hl7`): those beyond are in the capture only.
    pub picture_bytes_max: usize,
    /// How this model is read.
    pub reading: Arc<Reading>,
    /// Whether a device's clock may be set (`poct1a` only).
    pub set_clock: bool,
    /// The IANA name of the time zone in which the analyzers' clocks are set.
    pub time_zone: String,
    /// How it writes (`text` only).
    pub text: Option<Arc<TextRules>>,
    /// How the serial line is set, for what is said of bytes that make no sense; `None`: there is none.
    pub line: Option<Uart>,
    /// The program that speaks with the analyzer and its arguments (`exec` only).
    pub command: Vec<String>,
}

impl Default for DriverOptions {
    fn default() -> Self {
        DriverOptions {
            frame_bytes_max: 65_536,
            message_bytes_max: 8 << 20,
            commit: CommitPoint::Frame,
            framing: Framing::E1381,
            picture_bytes_max: 262_144,
            reading: Arc::default(),
            set_clock: true,
            time_zone: "UTC".to_owned(),
            text: None,
            line: None,
            command: Vec::new(),
        }
    }
}

/// See [`DriverOptions::commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommitPoint {
    /// Each frame is stored before its ACK.
    #[default]
    Frame,
    /// Frames are kept in memory and acknowledged; the one that ends the message (its L record) only after the whole
    /// message is stored. A message without L ends with the session: all of its frames are acknowledged before it is
    /// stored, and a power cut in between loses it. So this is not for analyzers that leave L out, nor for any that does
    /// not repeat whole messages.
    Message,
}

/// See [`DriverOptions::framing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// What the driver's protocol says: in `astm` ENQ, numbered and summed frames, EOT (LIS01-A2, E1381); in `hl7` VT, a
    /// message, FS, CR (MLLP).
    #[default]
    E1381,
    /// Records or segments one after the other, each ended by CR, without any frame.
    None,
    /// The same between SOH and EOT, answered by one ACK (Radiometer ABL9).
    Soh,
}
