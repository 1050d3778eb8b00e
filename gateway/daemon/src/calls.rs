//! Requests to the API that come in over MQTT: what the dispatcher hands over without knowing who answers.
//!
//! Invariant: bounded; a call that finds no room is answered by nobody and dropped, and its sender asks again.

use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Calls that wait for the API.
const CALLS_MAX: usize = 16;

/// One request, as it was published.
pub struct Call {
    pub payload: Vec<u8>,
    pub answer: oneshot::Sender<Answer>,
}

/// The answer to one call.
pub struct Answer {
    /// The `id` of the request, fit for a topic.
    pub id: String,
    pub payload: Vec<u8>,
}

/// Where calls are handed in.
pub type Calls = mpsc::Sender<Call>;

/// Where they are taken out, by one part at a time; it survives that part.
pub type Inbox = Arc<Mutex<mpsc::Receiver<Call>>>;

/// Both ends.
pub fn calls() -> (Calls, Inbox) {
    let (sender, receiver) = mpsc::channel(CALLS_MAX);
    (sender, Arc::new(Mutex::new(receiver)))
}
