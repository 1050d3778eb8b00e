//! The acknowledgment of a message: what its MSA says (HL7 2.5.1 sections 2.9.2 and 2.14.8).
//!
//! Texts of an acknowledgment (MSA-3, ERR-7, ERR-8) may quote the patient, so they are never read: only codes are.

use crate::delivery::{Outcome, Reason, ReasonCode};

/// The part of an acknowledgment that counts.
pub(super) struct Acknowledgment {
    /// MSA-1: `AA`, `AE`, `AR`, or `CA`, `CE`, `CR` of the enhanced mode.
    pub(super) code: String,
    /// MSA-2: MSH-10 of the message that it answers.
    pub(super) control_id: String,
    /// ERR-3: the code of what was wrong (table 0357), where it is one.
    error: Option<String>,
}

impl Acknowledgment {
    /// Reads an answer, with or without the frame of MLLP, its lines ended in any way. `None`: there is no MSA in it.
    pub(super) fn read(body: &[u8]) -> Option<Acknowledgment> {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_matches(|c: char| c.is_control() || c == ' ');
        let separator = text.strip_prefix("MSH")?.chars().next()?;
        let mut segments = text.split(['\r', '\n']).map(|segment| segment.split(separator).collect::<Vec<_>>());
        let named = |segment: &Vec<&str>, name: &str| segment.first().is_some_and(|first| first.trim() == name);
        let msa = segments.clone().find(|segment| named(segment, "MSA"))?;
        let err = segments.find(|segment| named(segment, "ERR"));
        let field = |segment: &[&str], number: usize| segment.get(number).map_or("", |field| field.trim()).to_owned();
        let error = err.map(|err| field(&err, 3).chars().take_while(char::is_ascii_digit).collect::<String>());
        Some(Acknowledgment {
            code: field(&msa, 1),
            control_id: field(&msa, 2),
            error: error.filter(|code| code.len() == 3),
        })
    }

    /// What it means. An error of the receiver's may pass, a rejection does not.
    pub(super) fn verdict(&self) -> Outcome {
        let reason = |code, text: &str| {
            let error = self.error.as_ref().map(|error| format!(", error {error}")).unwrap_or_default();
            Reason::new(code, format!("MSA-1 is {}{error}: {text}", self.code))
        };
        match self.code.as_str() {
            "AA" | "CA" => Outcome::Delivered,
            "AE" | "CE" => Outcome::Retryable {
                reason: reason(ReasonCode::ServerError, "the receiver could not process the message"),
                retry_after: None,
            },
            "AR" | "CR" => {
                Outcome::Rejected { reason: reason(ReasonCode::Refused, "the receiver rejects the message") }
            }
            _ => unclear("its MSA-1 is none of AA, AE, AR, CA, CE and CR"),
        }
    }

    /// Whether it accepts the message.
    pub(super) fn accepts(&self) -> bool {
        matches!(self.code.as_str(), "AA" | "CA")
    }
}

/// An answer that says nothing about the message, which is sent again.
pub(super) fn unclear(why: &str) -> Outcome {
    let reason = Reason::new(ReasonCode::ServerError, format!("the answer does not acknowledge the message: {why}"));
    Outcome::Retryable { reason, retry_after: None }
}
