//! Messages that go back: their header, and acknowledgments (2.5.1 sections 2.9 and 2.15.8).
//!
//! Invariant: no word about a patient, a sample or a result stands in an acknowledgment. What is repeated of the sender's
//! message are fields of its header, as it sent them.

use super::header::{Acknowledgment, Header};
use super::message::Error;
use crate::framing::mllp::{FS, VT};
use crate::hl7::Segment;
use crate::reading::Encoding;
use crate::time::Now;

/// Makes the messages of one conversation: gives each its own id (MSH-10).
#[derive(Debug)]
pub(super) struct Writer {
    /// Whether messages go out in MLLP's frame.
    pub framed: bool,
    written: u32,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is stored and understood.
    Accepted,
    /// It could not be stored: send it again.
    Failed,
    /// It is stored, but cannot be understood: sending it again is of no use.
    Refused(Error),
}

impl Verdict {
    /// The last letter of MSA-1.
    fn letter(self) -> char {
        match self {
            Verdict::Accepted => 'A',
            Verdict::Failed => 'E',
            Verdict::Refused(_) => 'R',
        }
    }

    fn error(self) -> Error {
        match self {
            Verdict::Accepted => Error::Accepted,
            Verdict::Failed => Error::Internal,
            Verdict::Refused(error) => error,
        }
    }
}

impl Writer {
    pub fn new(framed: bool) -> Writer {
        Writer { framed, written: 0 }
    }

    /// An id that no other message of this gateway has: 20 characters at most, which is all that 2.3.1 allows.
    pub fn id(&mut self, now: Now) -> String {
        self.written = self.written.wrapping_add(1);
        format!("{:X}{:04X}", now.wall.0 & 0xffff_ffff_ffff, self.written)
    }

    /// Acknowledgments that the sender wants: none, one, or in the enhanced mode up to two.
    pub fn acknowledgments(&mut self, header: Option<&Header>, verdict: Verdict, now: Now) -> Vec<Vec<u8>> {
        let mode = header.map_or(Acknowledgment::Original, |header| header.acknowledgment);
        let success = verdict == Verdict::Accepted;
        let kinds = match (mode, verdict) {
            (Acknowledgment::Original, _) => vec!['A'],
            // What was not stored was not accepted either.
            (Acknowledgment::Enhanced { accept, application }, Verdict::Failed) => match accept.wants(false) {
                true => vec!['C'],
                false => Vec::from_iter(application.wants(false).then_some('A')),
            },
            // What is wrong is told once, by the kind of answer that the sender listens to.
            (Acknowledgment::Enhanced { accept, application }, _) if success || application.wants(false) => {
                let accepted = accept.wants(true).then_some('C');
                accepted.into_iter().chain(application.wants(success).then_some('A')).collect()
            }
            (Acknowledgment::Enhanced { accept, .. }, _) => Vec::from_iter(accept.wants(false).then_some('C')),
        };
        let mut answer = |kind: char| {
            // With an application's refusal to follow, the message itself was taken.
            let taken = kind == 'C' && kinds.len() > 1;
            self.acknowledgment(header, kind, if taken { Verdict::Accepted } else { verdict }, now)
        };
        kinds.iter().map(|kind| answer(*kind)).collect()
    }

    /// CA alone, where a query has been stored and its real answer follows.
    pub fn acceptance(&mut self, header: &Header, now: Now) -> Option<Vec<u8>> {
        match header.acknowledgment {
            Acknowledgment::Enhanced { accept, .. } if accept.wants(true) => {
                Some(self.acknowledgment(Some(header), 'C', Verdict::Accepted, now))
            }
            _ => None,
        }
    }

    fn acknowledgment(&mut self, header: Option<&Header>, kind: char, verdict: Verdict, now: Now) -> Vec<u8> {
        let id = self.id(now);
        let Some(header) = header else {
            let mut text = String::new();
            let usual = Segment::new("MSH").raw(1, "|").raw(2, "^~\\&").raw(7, utc(now)).raw(9, "ACK");
            usual.raw(10, id).raw(11, "P").raw(12, "2.5.1").write(&mut text);
            let error = verdict.error();
            Segment::new("MSA").raw(1, format!("{kind}{}", verdict.letter())).text(3, error.words()).write(&mut text);
            return self.framed(Encoding::Utf8.encode(&text));
        };
        let mut text = header.answer(&["ACK", &header.trigger, "ACK"], &id, now);
        text.push_str(&header.msa(&format!("{kind}{}", verdict.letter()), verdict.error()));
        self.bytes(header, &text)
    }

    /// A text as it goes out.
    pub fn bytes(&self, header: &Header, text: &str) -> Vec<u8> {
        self.framed(header.encoding.encode(text))
    }

    fn framed(&self, text: Vec<u8>) -> Vec<u8> {
        match self.framed {
            true => [&[VT], text.as_slice(), &[FS, b'\r']].concat(),
            false => text,
        }
    }
}

impl Header {
    /// The MSH of an answer, of the type `kind` (message, trigger, structure). The sides are swapped; delimiters, processing
    /// id, version and charset are the sender's.
    pub fn answer(&self, kind: &[&str; 3], id: &str, now: Now) -> String {
        self.opening(kind, id, now, None)
    }

    /// The same for a message that starts a transaction of its own, and wants an answer to it.
    pub fn own(&self, kind: &[&str; 3], id: &str, now: Now, profile: &str) -> String {
        self.opening(kind, id, now, Some(profile))
    }

    fn opening(&self, [code, trigger, structure]: &[&str; 3], id: &str, now: Now, own: Option<&str>) -> String {
        let delimiters = self.delimiters;
        let parts = if self.names_structure { vec![*code, *trigger, *structure] } else { vec![*code, *trigger] };
        let kind = parts.join(delimiters.component.encode_utf8(&mut [0; 4]));
        let msh = Segment::with(delimiters, "MSH")
            .raw(1, delimiters.field)
            .raw(2, delimiters.encoding_characters())
            .raw(3, &self.receiver[0])
            .raw(4, &self.receiver[1])
            .raw(5, &self.sender[0])
            .raw(6, &self.sender[1])
            .raw(7, self.moment(now))
            .raw(9, kind.trim_end_matches(delimiters.component))
            .raw(10, id)
            .raw(11, &self.processing)
            .raw(12, &self.version)
            .raw(16, &self.kind)
            .raw(18, &self.charset);
        let msh = match own {
            Some(profile) if profile.is_empty() => msh,
            Some(profile) => msh.raw(15, "NE").raw(16, "AL").raw(21, self.joined(&[profile, "IHE"])),
            None => msh,
        };
        let mut text = String::new();
        msh.write(&mut text);
        text
    }

    /// MSA, and ERR where something is wrong. Table 0357's number stands in MSA-6 before 2.5, in ERR-3 since.
    pub fn msa(&self, code: &str, error: Error) -> String {
        let mut text = String::new();
        let wrong = error != Error::Accepted;
        let before = self.is_before_2_5();
        let msa = Segment::with(self.delimiters, "MSA").raw(1, code).raw(2, &self.control_id);
        let msa = if before || wrong { msa.text(3, error.words()) } else { msa };
        let msa = if before { msa.raw(6, error.number()) } else { msa };
        msa.write(&mut text);
        if wrong && !before {
            let err = Segment::with(self.delimiters, "ERR");
            err.components(3, &[error.number(), error.words(), "HL70357"]).raw(4, "E").write(&mut text);
        }
        text
    }

    /// Components of a field.
    pub fn joined(&self, parts: &[&str]) -> String {
        parts.join(self.delimiters.component.encode_utf8(&mut [0; 4]))
    }

    /// MSH-7. Where the sender's clock shows no zone it is answered in its own time: one of ours without a zone would be
    /// taken for the time that its clock should show.
    pub fn moment(&self, now: Now) -> String {
        let has_zone = self.time.contains(['+', '-']);
        if has_zone || self.time.is_empty() { utc(now) } else { self.time.clone() }
    }
}

fn utc(now: Now) -> String {
    let moment = jiff::Timestamp::from_millisecond(now.wall.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y%m%d%H%M%S+0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::syntax::messages;
    use super::*;

    fn header(msh: &str) -> Header {
        Header::read(&messages(msh.as_bytes(), Encoding::Auto)[0]).expect("a header")
    }

    fn answers(msh: &str, verdict: Verdict) -> Vec<String> {
        let answers = Writer::new(false).acknowledgments(Some(&header(msh)), verdict, Now::default());
        answers.into_iter().map(|bytes| String::from_utf8(bytes).expect("text").replace('\r', "\n")).collect()
    }

    const REFUSED: Verdict = Verdict::Refused(Error::UnsupportedType);

    #[test]
    fn the_original_mode_has_one_answer() {
        let old = "MSH|^~\\&|BC|M|LIS|LAB|20260304050607||ORU^R01|17|P|2.3.1||||2||UNICODE";
        let head = "MSH|^~\\&|LIS|LAB|BC|M|20260304050607||ACK^R01|00001|P|2.3.1||||2||UNICODE\n";
        assert_eq!(answers(old, Verdict::Accepted), [format!("{head}MSA|AA|17|Message accepted|||0\n")]);
        assert_eq!(answers(old, Verdict::Failed), [format!("{head}MSA|AE|17|Application internal error|||207\n")]);
        assert_eq!(answers(old, REFUSED), [format!("{head}MSA|AR|17|Unsupported message type|||200\n")]);
    }

    #[test]
    fn since_2_5_an_error_has_a_segment() {
        let new = "MSH|^~\\&|A||||20260304050607+0100||OUL^R22^OUL_R22|X|P|2.5.1||||||UNICODE UTF-8|||LAB-29^IHE";
        let head = "MSH|^~\\&|||A||19700101000000+0000||ACK^R22^ACK|00001|P|2.5.1||||||UNICODE UTF-8\n";
        assert_eq!(answers(new, Verdict::Accepted), [format!("{head}MSA|AA|X\n")]);
        let error = "MSA|AR|X|Unsupported message type\nERR|||200^Unsupported message type^HL70357|E\n";
        assert_eq!(answers(new, REFUSED), [format!("{head}{error}")]);
    }

    #[test]
    fn the_enhanced_mode_answers_what_is_wanted() {
        let codes = |accept: &str, application: &str, verdict| -> Vec<String> {
            let msh = format!("MSH|^~\\&|A||||||ORU^R01|1|P|2.4|||{accept}|{application}");
            let code = |text: String| text.split("MSA|").nth(1).expect("an MSA")[..2].to_owned();
            answers(&msh, verdict).into_iter().map(code).collect()
        };
        for (accept, application, accepted, failed, refused) in [
            ("AL", "AL", &["CA", "AA"][..], "CE", &["CA", "AR"][..]),
            ("NE", "AL", &["AA"], "AE", &["AR"]),
            ("AL", "NE", &["CA"], "CE", &["CR"]),
            ("AL", "", &["CA"], "CE", &["CR"]),
            ("ER", "AL", &["AA"], "CE", &["AR"]),
            ("ER", "ER", &[], "CE", &["AR"]),
            ("SU", "SU", &["CA", "AA"], "", &[]),
            ("NE", "NE", &[], "", &[]),
            ("NE", "ER", &[], "AE", &["AR"]),
        ] {
            let words = format!("{accept} {application}");
            assert_eq!(codes(accept, application, Verdict::Accepted), accepted, "{words}");
            assert_eq!(codes(accept, application, Verdict::Failed).join(" "), failed, "{words}");
            assert_eq!(codes(accept, application, REFUSED), refused, "{words}");
        }
    }

    #[test]
    fn a_sender_without_a_header_is_answered_too() {
        let bytes = Writer::new(true).acknowledgments(None, REFUSED, Now::default()).concat();
        assert!(bytes.starts_with(b"\x0bMSH|^~\\&|") && bytes.ends_with(b"\r\x1c\r"));
        assert!(String::from_utf8_lossy(&bytes).contains("MSA|AR||Unsupported message type\r"));
    }

    #[test]
    fn delimiters_and_charset_are_the_senders() {
        let own = header("MSH$%*!@$A%1$$B$$20260304$$ORU%R01$9$P$2.4");
        let text = own.answer(&["ACK", "R01", "ACK"], "I", Now::default());
        assert_eq!(text, "MSH$%*!@$B$$A%1$$20260304$$ACK%R01$I$P$2.4\r");
        let latin = messages(b"MSH|^~\\&|\xb5||||1||ORU^R01|9|P|2.4", Encoding::Auto);
        let header = Header::read(&latin[0]).expect("a header");
        let answer = Writer::new(false).acknowledgments(Some(&header), Verdict::Accepted, Now::default()).concat();
        assert!(answer.windows(2).any(|pair| pair == b"|\xb5"), "{answer:?}");
    }
}
