//! What parts of the gateway tell it: facts, from which its state is folded.

use super::Standing;
use crate::appliance::Appliance;
use crate::delivery::{DestinationView, Reason};
use crate::event::{AnalyzerId, EventId, EventKind, EventName, TestState};
use crate::identity;
use crate::monitoring::Notice;
use crate::overview::{StoreOverview, Vitals};
use crate::time::Timestamp;

/// How the codes of rejections begin that say that an analyzer speaks another protocol than its driver: `not_astm`.
const STRANGER: &str = "not_";

/// Something that has just become known.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    LinkOpened {
        analyzer: AnalyzerId,
    },
    /// The port was open and has gone.
    LinkLost {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// The port does not open.
    LinkAbsent {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// The driver's program has ended, or does not start.
    ProgramDown {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// An event of this analyzer was stored.
    Stored {
        analyzer: AnalyzerId,
        name: EventName,
        test_state: Option<TestState>,
        alarm: Option<String>,
        /// Why it is a message that could not be understood.
        rejected: Option<String>,
        /// Whether what was heard is no message of the driver at all.
        is_stranger: bool,
        /// Whether the alarm is about which analyzer it is.
        about_identity: bool,
        /// The model and the serial number, where the event says them.
        model: Option<String>,
        serial_number: Option<String>,
    },
    /// What an earlier process has stored of this analyzer: when anything, and when a test that had ended.
    Remembered {
        analyzer: AnalyzerId,
        last_event_at: Option<Timestamp>,
        last_test_at: Option<Timestamp>,
    },
    /// What the box's privileged half says.
    BoxSeen {
        appliance: Appliance,
    },
    /// A commit failed.
    StoreFailed {
        reason: String,
    },
    /// A webhook's queue, as it stands.
    DestinationChanged {
        destination: String,
        view: DestinationView,
    },
    /// The broker was reached, or why not.
    DestinationReached {
        destination: String,
        trouble: Option<Reason>,
    },
    /// So many events of this destination are dead.
    DeadLetters {
        destination: String,
        dead: usize,
    },
    /// A destination's place in the log, counted.
    Counted {
        destination: String,
        standing: Standing,
    },
    /// Destinations that are not in the settings any more, and how many events wait for each.
    LeftBehind {
        waiting: Vec<(String, u64)>,
    },
    /// An attempt was answered as delivered.
    Delivered {
        destination: String,
    },
    /// A delivery of this event has ended dead.
    Buried {
        destination: String,
        event: EventId,
        reason: Reason,
    },
    /// The log has an event that others are told of.
    Noted {
        notice: Notice,
    },
    /// The second broker was reached, or why not.
    MonitoringReached {
        trouble: Option<Reason>,
    },
    /// The plant's broker was reached, or why not.
    PlantReached {
        trouble: Option<Reason>,
    },
    /// Whether somebody else goes by our name at this broker (`mqtt`, `monitoring` or `sparkplug`).
    NameTaken {
        broker: String,
        taken: bool,
    },
    /// The machine and the log were looked at.
    Measured {
        vitals: Vitals,
        store: StoreOverview,
    },
    /// The laboratory was asked for an id, or why it gave none.
    LabIds {
        trouble: Option<String>,
    },
    ConfigAccepted,
    /// Pushed settings are tried until then; `None`: none are any more.
    ConfigTried {
        confirm_by: Option<Timestamp>,
    },
    ConfigRefused {
        reason: String,
    },
    /// `http.listen` is served, or why not.
    DoorTried {
        trouble: Option<String>,
    },
}

impl Fact {
    /// That this event of this analyzer was stored.
    pub fn event(analyzer: &AnalyzerId, kind: &EventKind) -> Fact {
        let ready = kind.name == EventName::DeviceReady;
        Fact::Stored {
            analyzer: analyzer.clone(),
            name: kind.name,
            test_state: kind.test.as_ref().map(|test| test.state).or(ready.then_some(TestState::Idle)),
            alarm: kind.alarm.as_ref().map(|alarm| alarm.reason.clone()),
            rejected: kind.rejection.as_ref().map(|rejection| {
                let kept = if rejection.bytes > 0 { "; its bytes are kept" } else { "" };
                format!("a message could not be understood{kept}: {}", rejection.reason)
            }),
            is_stranger: kind.rejection.as_ref().is_some_and(|rejection| rejection.code.starts_with(STRANGER)),
            about_identity: kind.alarm.as_ref().is_some_and(|alarm| identity::ALARMS.contains(&alarm.code.as_str())),
            model: kind.device.as_ref().and_then(|device| device.model.clone()),
            serial_number: kind.device.as_ref().and_then(|device| device.sn.clone()),
        }
    }
}
