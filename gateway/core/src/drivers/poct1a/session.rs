//! The observation reviewer's side of one conversation, as a state machine.
//!
//! HEL and DST are acknowledged, then we go through an agenda, one message outstanding at a time: observations and events
//! that the device says it holds, its clock, its list of patients, and in the end START_CONTINUOUS (or END, for a device
//! that does not know it). From then on the device speaks when it has something to say.
//!
//! Promises:
//! - An observation, a device event and a question are acknowledged with AA only after they are stored; a commit that fails
//!   is answered with AE, so that the device keeps its result and sends it again.
//! - A document that cannot be read is stored as `MESSAGE_REJECTED` and answered with AE, where its control id can be found.
//! - Each observation is stored with the HEL.R01 of its conversation before it, so that what is stored tells whose it is.
//! - Nothing is taken from the buffer while a commit or a question is outstanding.

mod agenda;
mod documents;

use super::device::Hello;
use super::stray::Stray;
use super::{answers, clock};
use crate::error::ConfigError;
use crate::event::{EventKind, Personal};
use crate::framing::xml::{CR, Documents, FS, Piece, VT};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, DriverOptions, Input, Session};
use crate::time::{Mono, Now};
use crate::worklist::WorkOrder;
use agenda::{Outstanding, Step};
use jiff::tz::TimeZone;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A document that does not go on for so long is broken off.
const SILENCE: Duration = Duration::from_secs(30);
/// How long bytes outside of documents may be the beginning of more.
const STRAY_SILENCE: Duration = Duration::from_secs(5);
/// How long after a failed commit it is tried again, where no analyzer is waiting that could repeat it.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Conversation {
    options: DriverOptions,
    zone: TimeZone,
    documents: Documents,
    stray: Stray,
    /// Cut from the stream and not yet looked at: something had to be stored first.
    waiting: Option<Piece>,
    hello: Option<Hello>,
    /// Whether the device puts its documents between VT and FS CR, and so do we.
    enveloped: bool,
    /// The control id of our last message.
    control_id: u64,
    continuous: bool,
    agenda: VecDeque<Step>,
    outstanding: Option<Outstanding>,
    /// Kinds of messages that were reported as unknown.
    unknown: BTreeSet<String>,
    pending: Option<Pending>,
    asking: Option<Asking>,
    /// What could not be stored and nobody repeats, and when to try again.
    owed: Option<(Commit, Mono)>,
    heard: Mono,
}

/// What is done when the outstanding commit is answered.
struct Pending {
    commit: Commit,
    after: After,
}

/// See [`Pending`].
enum After {
    /// Nobody waits for an answer.
    Nothing,
    /// The document with this control id gets its answer: taken, or not and why.
    Answer { control_id: String, refused: &'static str },
    /// The device asks for this patient.
    Patient { control_id: String, id: Personal },
}

/// What the worklist was asked for.
enum Asking {
    List,
    Patient,
}

impl Session for Conversation {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => {
                self.heard = now.mono;
                if !resume.unfinished.is_empty() && !planted(Mutant::UnfinishedForgotten) {
                    let reason = "the gateway stopped in the middle of a message; the analyzer should send it again";
                    let event = EventKind::rejected("interrupted", reason, resume.unfinished.len());
                    self.commit(Vec::new(), vec![event], After::Nothing, actions);
                }
            }
            Input::Received(bytes) => {
                self.heard = now.mono;
                // The link holds bytes back while a commit is outstanding; one that does not must not fill the memory. What is
                // let go of here has had no answer, and comes again.
                if !self.is_busy() || self.documents.held() <= self.options.message_bytes_max {
                    self.documents.push(bytes);
                }
            }
            Input::Committed => self.committed(now, actions),
            Input::CommitFailed => self.commit_failed(now, actions),
            Input::Answered(orders) => self.answered(now, orders, actions),
            Input::DeadlineReached => self.deadline_reached(now, actions),
            // There is no child.
            Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => self.closed(now, actions),
        }
        while !self.is_busy() {
            self.go_on(now, actions);
            if self.is_busy() {
                break;
            }
            let Some(piece) = self.waiting.take().or_else(|| self.documents.next_piece()) else { break };
            self.take(now, piece, actions);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        if self.pending.is_some() || self.asking.is_some() {
            return None;
        }
        if let Some((_, retry_at)) = &self.owed {
            return Some(*retry_at);
        }
        let silence = if self.documents.in_document() { SILENCE } else { STRAY_SILENCE };
        let rest = self.has_rest().then(|| self.heard.after(silence));
        rest.into_iter().chain(self.outstanding.as_ref().map(|outstanding| outstanding.due)).min()
    }
}

impl Conversation {
    pub fn new(options: DriverOptions) -> Result<Conversation, ConfigError> {
        let unknown = |_| ConfigError {
            path: "time_zone".to_owned(),
            problem: "this machine does not know the time zone".to_owned(),
            suggestion: None,
        };
        let zone = match options.time_zone.as_str() {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(unknown)?,
        };
        Ok(Conversation {
            documents: Documents::new(options.message_bytes_max, documents::ROOTS),
            stray: Stray::new(options.frame_bytes_max),
            options,
            zone,
            waiting: None,
            hello: None,
            enveloped: false,
            control_id: 0,
            continuous: false,
            agenda: VecDeque::new(),
            outstanding: None,
            unknown: BTreeSet::new(),
            pending: None,
            asking: None,
            owed: None,
            heard: Mono(0),
        })
    }

    /// Whether something was begun that may go on.
    fn has_rest(&self) -> bool {
        self.documents.held() > 0 || self.stray.is_any()
    }

    fn is_busy(&self) -> bool {
        self.pending.is_some() || self.asking.is_some() || self.owed.is_some()
    }

    fn commit(&mut self, capture: Vec<u8>, mut events: Vec<EventKind>, after: After, actions: &mut Vec<Action>) {
        if planted(Mutant::CaptureWithoutEvents) {
            events.clear();
        }
        let commit = Commit { capture, events, complete: true };
        actions.push(Action::Commit(commit.clone()));
        self.pending = Some(Pending { commit, after });
    }

    fn committed(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.pending.take().map(|pending| pending.after) {
            Some(After::Answer { control_id, refused }) => {
                self.acknowledge(now, refused.is_empty(), &control_id, refused, actions);
            }
            Some(After::Patient { id, .. }) => self.ask_for(id, actions),
            Some(After::Nothing) | None => {}
        }
    }

    fn commit_failed(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(Pending { commit, after }) = self.pending.take() else { return };
        match after {
            After::Nothing => self.owed = Some((commit, now.mono.after(RETRY))),
            After::Answer { control_id, .. } | After::Patient { control_id, .. } => {
                let note = "could not be stored, please keep it and send it again";
                self.acknowledge(now, planted(Mutant::AckAfterFailedCommit), &control_id, note, actions);
            }
        }
    }

    /// An ACK.R01 for the device's document.
    fn acknowledge(&mut self, now: Now, taken: bool, control_id: &str, note: &str, actions: &mut Vec<Action>) {
        self.send(now, "ACK.R01", &answers::acknowledgement(taken, control_id, note), actions);
    }

    /// Sends one of our documents; its control id.
    fn send(&mut self, now: Now, root: &str, body: &str, actions: &mut Vec<Action>) -> u64 {
        self.control_id += 1;
        let document = answers::document(root, self.control_id, &clock::written(now, &self.zone), body).into_bytes();
        let bytes = match self.enveloped {
            true => [&[VT], document.as_slice(), &[FS, CR]].concat(),
            false => document,
        };
        actions.push(Action::Send(bytes));
        self.control_id
    }

    fn answered(&mut self, now: Now, orders: &[WorkOrder], actions: &mut Vec<Action>) {
        match self.asking.take() {
            Some(Asking::List) => self.list(orders),
            Some(Asking::Patient) => self.tell_patient(now, orders, actions),
            None => {}
        }
    }

    fn settle_debt(&mut self, actions: &mut Vec<Action>) -> bool {
        let owed = self.owed.take();
        let owes = owed.is_some();
        if let Some((commit, _)) = owed {
            actions.push(Action::Commit(commit.clone()));
            self.pending = Some(Pending { commit, after: After::Nothing });
        }
        owes
    }

    fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|due| now.mono < due) || self.settle_debt(actions) {
            return;
        }
        if self.outstanding.as_ref().is_some_and(|outstanding| outstanding.due <= now.mono) {
            self.give_up(now, actions);
        }
        let silence = if self.documents.in_document() { SILENCE } else { STRAY_SILENCE };
        if self.has_rest() && self.heard.after(silence) <= now.mono {
            self.let_go(now, true, actions);
        }
    }

    fn closed(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.pending.is_some() || self.settle_debt(actions) {
            return;
        }
        self.agenda.clear();
        self.outstanding = None;
        self.let_go(now, false, actions);
    }

    /// No more comes of what was begun.
    fn let_go(&mut self, now: Now, may_answer: bool, actions: &mut Vec<Action>) {
        match self.documents.take_rest() {
            // It waits while something else is being stored.
            Some(piece) if self.is_busy() => self.waiting = Some(piece),
            Some(Piece::Noise(bytes)) => {
                self.stray.hear(&bytes);
                self.report_stray(now, actions);
            }
            Some(Piece::Broken(bytes)) => {
                if !self.report_stray(now, actions) {
                    self.broken(bytes, may_answer, actions);
                } else {
                    self.waiting = Some(Piece::Broken(bytes));
                }
            }
            Some(piece) => self.take(now, piece, actions),
            None => {
                self.report_stray(now, actions);
            }
        }
    }

    /// Stores the report of stray bytes, if there is one.
    fn report_stray(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        let Some((capture, event)) = self.stray.report(now) else { return false };
        self.commit(capture, vec![event], After::Nothing, actions);
        true
    }
}
