//! MSH: what a message is, whom an answer goes to, and which answers its sender wants (2.5.1 sections 2.9 and 2.15.9).

use super::syntax::{Message, Segment};
use crate::hl7::Delimiters;
use crate::reading::Encoding;

/// A field that is sent back is cut after so many characters: none that means anything is longer.
const ECHOED_CHARS_MAX: usize = 250;

/// What MSH says. The fields that answers repeat stand here as received.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub delimiters: Delimiters,
    pub encoding: Encoding,
    /// MSH-3 and MSH-4.
    pub sender: [String; 2],
    /// MSH-5 and MSH-6.
    pub receiver: [String; 2],
    /// MSH-7.
    pub time: String,
    /// MSH-9.1 and MSH-9.2 in capitals: `ORU`, `R01`.
    pub code: String,
    pub trigger: String,
    /// Whether MSH-9 has its third component, so that answers have it too.
    pub names_structure: bool,
    /// MSH-10.
    pub control_id: String,
    /// MSH-11.
    pub processing: String,
    /// MSH-12.1.
    pub version: String,
    pub acknowledgment: Acknowledgment,
    /// MSH-16 where it is none of HL7's own words: Mindray tells samples (0), calibrations (1) and controls (2) by it.
    pub kind: String,
    /// MSH-18.
    pub charset: String,
    /// MSH-21.
    pub profile: String,
}

/// When a sender wants an answer (table 0155).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Never,
    OnError,
    OnSuccess,
}

/// The mode of acknowledgment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledgment {
    /// One answer: AA, AE or AR.
    Original,
    /// CA, CE or CR by MSH-15, then AA, AE or AR by MSH-16. What is empty beside the other counts as "never".
    Enhanced { accept: When, application: When },
}

impl When {
    fn read(word: &str) -> Option<When> {
        match word.to_ascii_uppercase().as_str() {
            "AL" => Some(When::Always),
            "NE" => Some(When::Never),
            "ER" => Some(When::OnError),
            "SU" => Some(When::OnSuccess),
            _ => None,
        }
    }

    pub fn wants(self, success: bool) -> bool {
        match self {
            When::Always => true,
            When::Never => false,
            When::OnError => !success,
            When::OnSuccess => success,
        }
    }
}

impl Header {
    pub fn read(message: &Message) -> Option<Header> {
        let msh = message.segments.first().filter(|segment| segment.name == "MSH")?;
        let echoed = |number| msh.raw(number).chars().take(ECHOED_CHARS_MAX).collect::<String>();
        let kind = msh.components(msh.raw(9));
        let part = |number: usize| kind.get(number - 1).map_or(String::new(), |part| part.trim().to_ascii_uppercase());
        let (accept, application) = (When::read(msh.raw(15)), When::read(msh.raw(16)));
        let acknowledgment = match (accept, application) {
            (None, None) => Acknowledgment::Original,
            (accept, application) => Acknowledgment::Enhanced {
                accept: accept.unwrap_or(When::Never),
                application: application.unwrap_or(When::Never),
            },
        };
        let (code, trigger) = two_parts(part(1), part(2));
        Some(Header {
            delimiters: message.delimiters,
            encoding: message.encoding,
            sender: [echoed(3), echoed(4)],
            receiver: [echoed(5), echoed(6)],
            time: echoed(7),
            code,
            trigger,
            names_structure: !part(3).is_empty(),
            control_id: echoed(10),
            processing: echoed(11),
            version: version(msh),
            acknowledgment,
            kind: if application.is_none() { echoed(16) } else { String::new() },
            charset: echoed(18),
            profile: echoed(21),
        })
    }

    /// Whether the sender wants to hear that its message was not stored; who does not cannot repeat it.
    pub fn hears_failures(&self) -> bool {
        match self.acknowledgment {
            Acknowledgment::Original => true,
            Acknowledgment::Enhanced { accept, application } => accept.wants(false) || application.wants(false),
        }
    }

    /// Whether its version is 2 or older, so that errors stand in MSA-6 and ERR-1; from 2.5 on they stand in ERR-3.
    pub fn is_before_2_5(&self) -> bool {
        let minor = self.version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        minor.is_none_or(|minor| minor < 5)
    }

    /// Whether it is a control run or a calibration as a whole: MSH-11 Q, MSH-16 of Mindray.
    pub fn is_control(&self) -> bool {
        self.processing.eq_ignore_ascii_case("Q") || self.kind == "2"
    }

    pub fn is_calibration(&self) -> bool {
        self.kind == "1"
    }
}

/// Some write `ORU_R01` or `ORU^R01^ORU_R01` with the parts of one joined.
fn two_parts(code: String, trigger: String) -> (String, String) {
    match code.split_once('_') {
        Some((code, joined)) if trigger.is_empty() => (code.to_owned(), joined.to_owned()),
        _ => (code, trigger),
    }
}

fn version(msh: &Segment) -> String {
    msh.component(12, 1).unwrap_or_default().chars().take(ECHOED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::syntax::messages;
    use super::*;

    fn header(text: &str) -> Header {
        Header::read(&messages(text.as_bytes(), Encoding::Auto)[0]).expect("a header")
    }

    #[test]
    fn the_mode_is_enhanced_only_by_hl7s_own_words() {
        let mode = |accept: &str, application: &str| {
            header(&format!("MSH|^~\\&|A||||||ORU^R01|1|P|2.3.1|||{accept}|{application}")).acknowledgment
        };
        let enhanced = |accept, application| Acknowledgment::Enhanced { accept, application };
        assert_eq!(mode("", ""), Acknowledgment::Original);
        assert_eq!(mode("", "2"), Acknowledgment::Original);
        assert_eq!(mode("NE", "AL"), enhanced(When::Never, When::Always));
        assert_eq!(mode("ER", "su"), enhanced(When::OnError, When::OnSuccess));
        assert_eq!(mode("AL", ""), enhanced(When::Always, When::Never));
    }

    #[test]
    fn what_a_message_is() {
        let law = header(
            "MSH|^~\\&|A|B|C|D|20260131101500+0100||oul^r22^OUL_R22|X1|P|2.5.1^FRA|||NE|AL||UNICODE|||LAB-29^IHE",
        );
        assert_eq!((law.code.as_str(), law.trigger.as_str(), law.names_structure), ("OUL", "R22", true));
        assert_eq!((law.version.as_str(), law.is_before_2_5()), ("2.5.1", false));
        assert!(!law.is_control() && !law.is_calibration());
        let control = header("MSH|^~\\&|A||||||ORU_R01|1|P|2.3.1||||2");
        assert_eq!((control.code.as_str(), control.trigger.as_str()), ("ORU", "R01"));
        assert!(control.is_control() && control.is_before_2_5());
        assert!(header("MSH|^~\\&|A||||||ORU^R01|1|Q|2.3.1").is_control());
        assert!(header("MSH|^~\\&|A||||||ORU^R01|1|P|2.3.1||||1").is_calibration());
    }
}
