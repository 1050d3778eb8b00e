//! Settings that were pushed to the box and confirmed: handed to the privileged half, which alone may write them onto the card.
//!
//! Invariant: they take the place of the very file that was there when they were pushed, or of none. Whatever a power cut leaves,
//! the next start finds out which of the two it is ([`after_cut`]).

use crate::config::Config;
use crate::time::Timestamp;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// As many bytes as a settings file may have: what is larger is some other file.
pub const SETTINGS_BYTES_MAX: usize = 1 << 20;
/// A request with such a file in it, as JSON.
pub const ASKED_BYTES_MAX: u64 = 4 << 20;
/// Of [`Asked::id`].
pub const ID_BYTES_MAX: usize = 64;
/// The file on the card beside the settings that holds the ones before.
pub const FORMER: &str = "gateway.before.yaml";

/// What the gateway asks: `requests/settings.json`. The text holds secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What the answer calls it.
    pub id: String,
    /// The whole settings file.
    pub settings: String,
    /// [`fingerprint`] of the file that it replaces; `None`: there is none.
    pub replaces: Option<String>,
    /// Who has confirmed it, as the audit log has it.
    pub by: String,
}

/// What became of it: `pushed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub id: String,
    /// Why not, a word for programs and a sentence; `None`: the settings stand on the card.
    pub refused: Option<Refusal>,
    pub at: Timestamp,
}

/// See [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub reason: String,
}

impl Refusal {
    pub fn new(code: &str, reason: impl Into<String>) -> Refusal {
        Refusal { code: code.to_owned(), reason: reason.into() }
    }

    /// Somebody has edited the file since.
    pub fn changed() -> Refusal {
        let reason =
            "the settings file was changed after these were pushed, and that counts: read it again, then push anew";
        Refusal::new("file_changed", reason)
    }
}

/// What is being written onto the card, kept where a power cut leaves a file whole. The text holds secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    pub settings: String,
    pub replaces: Option<String>,
}

/// What a start finds of settings that were being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCut {
    /// The new ones.
    New,
    /// The ones before.
    Former,
    /// What no program and no person writes: the new ones have to be written again.
    Torn,
    /// Others: a person has been at work with the card in a computer, and that counts.
    Edited,
}

/// Compares the file of now with what was being written; `is_text`: it can be read as settings at all.
pub fn after_cut(under_way: &UnderWay, there: Option<&[u8]>, is_text: bool) -> AfterCut {
    let now = there.map(fingerprint);
    match now {
        _ if now == Some(fingerprint(under_way.settings.as_bytes())) => AfterCut::New,
        _ if now == under_way.replaces => AfterCut::Former,
        _ if !is_text => AfterCut::Torn,
        _ => AfterCut::Edited,
    }
}

/// The section that the new settings have otherwise than those of now and that no push may change: a trial cannot show that the box
/// is still reached, for root puts these in force only when they are kept.
pub fn moved(now: Option<&Config>, new: &Config) -> Option<&'static str> {
    let network = now.and_then(|now| now.network.as_ref());
    let broker = now.and_then(|now| now.broker.as_ref());
    if network != new.network.as_ref() {
        return Some("network");
    }
    (broker != new.broker.as_ref()).then_some("broker")
}

/// The sentence for [`moved`].
pub fn only_on_the_card(section: &str) -> String {
    format!(
        "`{section}` cannot be pushed, for a mistake in it would leave nobody a way in: leave it as it is, or change it on the card"
    )
}

/// By which a file is known again: SHA-256 in hexadecimal.
pub fn fingerprint(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_after_a_cut_knows_what_is_on_the_card() {
        let under_way = UnderWay { settings: "new".to_owned(), replaces: Some(fingerprint(b"old")) };
        let found = |there: Option<&str>, is_text| after_cut(&under_way, there.map(str::as_bytes), is_text);
        assert_eq!(found(Some("new"), true), AfterCut::New);
        assert_eq!(found(Some("old"), true), AfterCut::Former);
        assert_eq!(found(Some(""), false), AfterCut::Torn);
        assert_eq!(found(None, false), AfterCut::Torn);
        assert_eq!(found(Some("mine"), true), AfterCut::Edited);
        let first = UnderWay { replaces: None, ..under_way.clone() };
        assert_eq!(after_cut(&first, None, false), AfterCut::Former);
        assert_eq!(after_cut(&first, Some(b""), false), AfterCut::Torn);
    }
}
