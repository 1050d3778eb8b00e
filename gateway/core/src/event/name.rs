//! The names of events.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! event_names {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        /// The names of CONTRACT's events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum EventName { $($(#[$doc])* #[serde(rename = $word)] $name,)* }

        impl EventName {
            /// Every name, in the order of CONTRACT.
            pub const ALL: &'static [EventName] = &[$(EventName::$name,)*];

            /// The word in JSON, topics and filters: `TEST_FINISHED`.
            pub fn as_str(self) -> &'static str {
                match self { $(EventName::$name => $word,)* }
            }

            /// The reverse of [`EventName::as_str`].
            pub fn from_word(word: &str) -> Option<EventName> {
                EventName::ALL.iter().copied().find(|name| name.as_str() == word)
            }
        }
    };
}

event_names! {
    TestStarted = "TEST_STARTED";
    ContinueTest = "CONTINUE_TEST";
    NewData = "NEW_DATA";
    TestFinished = "TEST_FINISHED";
    DeviceReady = "DEVICE_READY";
    AlreadyTesting = "ALREADY_TESTING";
    QueryReceived = "QUERY_RECEIVED";
    MessageRejected = "MESSAGE_REJECTED";
    Gap = "GAP";
    DataEvicted = "DATA_EVICTED";
    ClockCorrected = "CLOCK_CORRECTED";
    AnalyzerConnected = "ANALYZER_CONNECTED";
    AnalyzerDisconnected = "ANALYZER_DISCONNECTED";
    AnalyzerAlarm = "ANALYZER_ALARM";
    /// A sample is known by its id: it was registered by a person, a program or a scanner.
    RegistrationCreated = "REGISTRATION_CREATED";
    /// Its details were changed.
    RegistrationUpdated = "REGISTRATION_UPDATED";
    /// It has its patient details.
    RegistrationCompleted = "REGISTRATION_COMPLETED";
    /// The laboratory's own id for it is known.
    RegistrationLabIdAssigned = "REGISTRATION_LAB_ID_ASSIGNED";
    /// The sample itself has come in.
    RegistrationSampleReceived = "REGISTRATION_SAMPLE_RECEIVED";
    /// The sample is to be tested again: its run was invalid, or it was run a second time.
    RegistrationRetest = "REGISTRATION_RETEST";
    /// A test of the sample has finished with results.
    RegistrationResultsComplete = "REGISTRATION_RESULTS_COMPLETE";
    /// That result is positive.
    RegistrationPositiveAlert = "REGISTRATION_POSITIVE_ALERT";
    /// A person has verified that result.
    RegistrationResultVerified = "REGISTRATION_RESULT_VERIFIED";
    /// A barcode scanner has read a sample's id.
    SampleScanned = "SAMPLE_SCANNED";
    /// The data of a person was erased; what is left are ids.
    DataErased = "DATA_ERASED";
    /// A probe that a person asked for. It is never stored.
    WebhookTest = "WEBHOOK_TEST";
    /// An event of another program. Its own name is [`super::Posted::event`].
    Posted = "POSTED";
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
