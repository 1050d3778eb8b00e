//! What others ask over MQTT: the dispatcher hands it over without knowing who answers.
//!
//! Invariant: bounded; a call that finds no room is answered by nobody and dropped, and its sender asks again. A command that was
//! answered is answered the same again for as long as it could be sent again.

use gateway_core::monitoring::{CommandResponse, Publication};
use gateway_core::time::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex as StdMutex;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Of the id of a call.
pub const ID_CHARACTERS_MAX: usize = 64;
/// Where the answer goes to a call whose own id cannot be read.
pub const WITHOUT_ID: &str = "unreadable";

/// The id, if it fits into a topic: letters, digits, `-` and `_`.
pub fn readable_id(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: String,
    }
    let OnlyId { id } = serde_json::from_slice(payload).ok()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (!id.is_empty() && id.len() <= ID_CHARACTERS_MAX && id.bytes().all(fits)).then_some(id)
}

/// Calls that wait for the API.
const CALLS_MAX: usize = 16;
/// Answers that are remembered. More are not made while they may be asked for: the rate of commands sees to that.
const REMEMBERED_MAX: usize = 2_048;

/// One request, as it was published.
pub struct Call {
    pub way: Way,
    pub payload: Vec<u8>,
    pub answer: oneshot::Sender<Answer>,
}

/// By which topic and broker it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `api/request` of the clinic's broker.
    Api,
    /// `commands/request` of the clinic's broker.
    Command,
    /// `commands/request` of the broker outside.
    CommandFromOutside,
}

/// The answer to one call.
pub enum Answer {
    /// Of the API: the `id` of the request, fit for a topic. It may be about persons.
    Api { id: String, payload: Vec<u8> },
    /// Of a command.
    Command(Publication),
}

/// Where calls are handed in.
pub type Calls = mpsc::Sender<Call>;

/// Where they are taken out, by one part at a time; it survives that part.
#[derive(Clone)]
pub struct Inbox {
    pub calls: Arc<Mutex<mpsc::Receiver<Call>>>,
    pub memory: Arc<StdMutex<Memory>>,
}

/// Both ends.
pub fn calls() -> (Calls, Inbox) {
    let (sender, receiver) = mpsc::channel(CALLS_MAX);
    (sender, Inbox { calls: Arc::new(Mutex::new(receiver)), memory: Arc::default() })
}

/// Commands that were answered, each until it has expired.
#[derive(Default)]
pub struct Memory(HashMap<(String, String), Remembered>);

struct Remembered {
    expires_at: Timestamp,
    /// Of the request as it was published.
    hash: [u8; 32],
    /// `None`: it is being done.
    answer: Option<CommandResponse>,
}

/// What is known of a command.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// Nothing: it is being done from now on.
    New,
    Answered(Box<CommandResponse>),
    BeingDone,
    /// Another command had this id.
    Other,
    /// There is no room to remember one more.
    Full,
}

impl Memory {
    /// Looks a client's command up, and notes it if it is new.
    pub fn begin(&mut self, client: &str, id: &str, hash: [u8; 32], expires_at: Timestamp, now: Timestamp) -> Known {
        let key = (client.to_owned(), id.to_owned());
        match self.0.get(&key) {
            Some(known) if known.hash != hash => return Known::Other,
            Some(Remembered { answer: Some(answer), .. }) => return Known::Answered(Box::new(answer.clone())),
            Some(_) => return Known::BeingDone,
            None => {}
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.retain(|_, known| known.expires_at > now || known.answer.is_none());
        }
        if self.0.len() >= REMEMBERED_MAX {
            return Known::Full;
        }
        self.0.insert(key, Remembered { expires_at, hash, answer: None });
        Known::New
    }

    /// That is the answer to it.
    pub fn answered(&mut self, client: &str, id: &str, answer: &CommandResponse) {
        if let Some(known) = self.0.get_mut(&(client.to_owned(), id.to_owned())) {
            known.answer = Some(answer.clone());
        }
    }

    /// It was not begun after all.
    pub fn forget(&mut self, client: &str, id: &str) {
        self.0.remove(&(client.to_owned(), id.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::monitoring::CommandOutcome;

    #[test]
    fn a_command_is_done_once_and_answered_the_same_again() {
        let mut memory = Memory::default();
        let (later, now) = (Timestamp(60_000), Timestamp(0));
        assert_eq!(memory.begin("a", "1", [1; 32], later, now), Known::New);
        assert_eq!(memory.begin("a", "1", [1; 32], later, now), Known::BeingDone);
        let answer = CommandResponse::not_done("1", "ping", CommandOutcome::Refused, "expired", "too late");
        memory.answered("a", "1", &answer);
        assert_eq!(memory.begin("a", "1", [1; 32], later, now), Known::Answered(Box::new(answer)));
        assert_eq!(memory.begin("a", "1", [2; 32], later, now), Known::Other);
        assert_eq!(memory.begin("b", "1", [2; 32], later, now), Known::New, "another client's ids are its own");
    }

    #[test]
    fn memory_is_bounded_and_what_has_expired_makes_room() {
        let mut memory = Memory::default();
        let answer = CommandResponse::not_done("1", "ping", CommandOutcome::Refused, "expired", "too late");
        for number in 0..REMEMBERED_MAX {
            let id = number.to_string();
            assert_eq!(memory.begin("a", &id, [0; 32], Timestamp(1_000), Timestamp(0)), Known::New);
            memory.answered("a", &id, &answer);
        }
        assert_eq!(memory.begin("a", "x", [0; 32], Timestamp(2_000), Timestamp(999)), Known::Full);
        assert_eq!(memory.begin("a", "x", [0; 32], Timestamp(2_000), Timestamp(1_000)), Known::New);
    }
}
