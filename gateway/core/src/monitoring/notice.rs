//! Notices: what happened, told once and without a person's data.
//!
//! Invariant: a notice names an event and never quotes it. Its reason is the gateway's own sentence.

use crate::delivery::Reason;
use crate::event::{Event, EventId, EventKind, EventName};
use crate::overview::SCHEMA;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! notice_codes {
    ($($name:ident = $word:literal, $about:literal;)*) => {
        /// What a notice can be about: the last part of its topic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum NoticeCode { $(#[doc = $about] #[serde(rename = $word)] $name,)* }

        impl NoticeCode {
            /// Every code there is.
            pub const ALL: &'static [NoticeCode] = &[$(NoticeCode::$name,)*];

            /// The word in the topic and in the JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(NoticeCode::$name => $word,)* }
            }

            /// When it is told, in a sentence.
            pub fn about(self) -> &'static str {
                match self { $(NoticeCode::$name => $about,)* }
            }
        }
    };
}

notice_codes! {
    Gap = "GAP", "Something is missing in the log or in a running test.";
    DataEvicted = "DATA_EVICTED", "Old data was given up to free space.";
    ClockCorrected = "CLOCK_CORRECTED", "The clock was set, and the times of earlier events were corrected.";
    MessageRejected = "MESSAGE_REJECTED", "A message of an analyzer could not be understood; its bytes are kept.";
    AnalyzerAlarm = "ANALYZER_ALARM", "A person should look at an analyzer.";
    AnalyzerLost = "ANALYZER_LOST", "An analyzer's port was open and has gone.";
    AnalyzerFound = "ANALYZER_FOUND", "An analyzer that was gone is there again.";
    Dead = "DEAD", "A delivery has ended without success. It is kept and can be redriven.";
    Held = "HELD", "A destination waits for a person or for other settings.";
    Released = "RELEASED", "A destination that waited goes on.";
    ConfigRefused = "CONFIG_REFUSED", "The settings file is refused; the old settings stay in force.";
    ConfigAccepted = "CONFIG_ACCEPTED", "New settings are in force.";
    StoreFailed = "STORE_FAILED", "Events cannot be stored: analyzers get no answer and keep their results.";
    StoreRecovered = "STORE_RECOVERED", "Events are stored again.";
}

/// `notices/<CODE>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    pub schema: u32,
    pub code: NoticeCode,
    /// When it happened, by the gateway's own clock.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// What it is about: an analyzer's id, a destination's id, or `gateway`.
    pub subject: String,
    /// A word for programs: why a message was rejected, a reason code of a delivery, an alarm's code.
    pub reason_code: Option<String>,
    /// A sentence for people.
    pub reason: String,
    /// The id of the event that it is about.
    #[schemars(with = "Option<String>")]
    pub event: Option<EventId>,
}

impl Notice {
    /// The names of events that [`Notice::of_event`] makes something of.
    pub const EVENTS: [EventName; 5] = [
        EventName::Gap,
        EventName::DataEvicted,
        EventName::ClockCorrected,
        EventName::MessageRejected,
        EventName::AnalyzerAlarm,
    ];

    pub fn new(code: NoticeCode, at: Timestamp, subject: &str, reason: impl Into<String>) -> Notice {
        let (subject, reason) = (subject.to_owned(), reason.into());
        Notice { schema: SCHEMA, code, at, subject, reason_code: None, reason, event: None }
    }

    /// The same with the reason of a delivery.
    pub fn because(code: NoticeCode, at: Timestamp, subject: &str, reason: &Reason) -> Notice {
        let reason_code = Some(reason.code.as_str().to_owned());
        Notice { reason_code, ..Notice::new(code, at, subject, reason.detail.clone()) }
    }

    /// What the box's own troubles are told as; nothing for an event about a person's test.
    pub fn of_event(event: &Event) -> Option<Notice> {
        let kind = &event.kind;
        let (code, reason_code, reason) = match kind.name {
            EventName::Gap => (NoticeCode::Gap, None, gap(kind)),
            EventName::DataEvicted => (NoticeCode::DataEvicted, None, evicted(kind)),
            EventName::ClockCorrected => (NoticeCode::ClockCorrected, None, corrected(kind)),
            EventName::MessageRejected => {
                let rejection = kind.rejection.as_ref()?;
                (NoticeCode::MessageRejected, Some(rejection.code.clone()), rejection.reason.clone())
            }
            EventName::AnalyzerAlarm => {
                let alarm = kind.alarm.as_ref()?;
                (NoticeCode::AnalyzerAlarm, Some(alarm.code.clone()), alarm.reason.clone())
            }
            _ => return None,
        };
        let notice = Notice::new(code, event.received_at, &event.analyzer.0, reason);
        Some(Notice { reason_code, event: Some(event.id), ..notice })
    }

    /// The same without words, for an event that another program has worded.
    pub fn wordless(self) -> Notice {
        Notice { reason_code: None, reason: self.code.about().to_owned(), ..self }
    }

    /// `notices/<CODE>`.
    pub fn topic(&self) -> String {
        format!("notices/{}", self.code.as_str())
    }
}

fn gap(kind: &EventKind) -> String {
    kind.gap.as_ref().map_or_else(|| NoticeCode::Gap.about().to_owned(), |gap| gap.reason.clone())
}

fn figure(kind: &EventKind, name: &str) -> i64 {
    kind.details.as_ref().and_then(|details| details[name].as_i64()).unwrap_or(0)
}

fn evicted(kind: &EventKind) -> String {
    let of = |name| figure(kind, name);
    format!(
        "given up to stay below limits.store_bytes_max: {} stored messages, the samples of {} events, {} events; \
         {} deliveries are dead by it",
        of("captures"),
        of("samples"),
        of("events"),
        of("dead")
    )
}

fn corrected(kind: &EventKind) -> String {
    let seconds = figure(kind, "offset_ms") / 1000;
    format!("the clock was set: {} events got other times, moved by up to {seconds} s", figure(kind, "events"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AnalyzerId, Id, Seq, Test, TestState};
    use crate::time::{ClockQuality, Mono};

    fn event(kind: EventKind) -> Event {
        Event {
            seq: Seq(7),
            id: Id([7; 16]),
            analyzer: AnalyzerId("hematology".to_owned()),
            received_at: Timestamp(60_000),
            clock: ClockQuality::Synchronized,
            boot: Id([0; 16]),
            mono: Mono(0),
            sequence: None,
            erased: false,
            kind,
        }
    }

    #[test]
    fn a_rejected_message_is_told_by_its_reason_and_its_events_id() {
        let notice = Notice::of_event(&event(EventKind::rejected("checksum", "the checksum is wrong", 90)));
        let notice = notice.expect("one of those told");
        assert_eq!(notice.topic(), "notices/MESSAGE_REJECTED");
        assert_eq!(
            (notice.reason_code.as_deref(), notice.reason.as_str()),
            (Some("checksum"), "the checksum is wrong")
        );
        assert_eq!((notice.event, notice.subject.as_str()), (Some(Id([7; 16])), "hematology"));
        let wordless = notice.wordless();
        assert_eq!((wordless.reason_code, wordless.reason.as_str()), (None, NoticeCode::MessageRejected.about()));
    }

    #[test]
    fn only_the_boxs_own_troubles_are_told() {
        let test = Test::new(Id([1; 16]), TestState::Done);
        assert_eq!(Notice::of_event(&event(EventKind::about_test(EventName::TestFinished, None, test))), None);
        for name in EventName::ALL {
            let mut kind = EventKind::rejected("code", "reason", 0);
            kind.name = *name;
            kind.alarm = EventKind::alarm("code", "reason").alarm;
            assert_eq!(Notice::of_event(&event(kind)).is_some(), Notice::EVENTS.contains(name), "{name:?}");
        }
    }
}
