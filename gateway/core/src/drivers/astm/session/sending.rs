//! The sender of LIS01-A2: what a host query is answered with goes out frame by frame.
//!
//! ENQ, then each frame again until it has its ACK; 15 s for an answer; NAK to ENQ means 10 s of patience; six refusals of a
//! frame give the transmission up; where both say ENQ the instrument goes first and has 20 s for it. Promises:
//! - Nothing is sent into a session of the analyzer, and an ENQ of its own ends ours: its results go before our orders.
//! - Each query is answered once. An answer that does not get through is sent again whole, a few times, and then given up with
//!   an alarm if it held orders.

use super::super::answer::{Inquiry, Part, Style, parts};
use crate::event::EventKind;
use crate::framing::astm::{ACK, CR, ENQ, EOT, LF, NAK, frame};
use crate::reading::Reading;
use crate::session::Action;
use crate::time::{Mono, Now};
use crate::worklist::WorkOrder;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a receiver may take for its answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How long one that said NAK to ENQ is left alone.
const BUSY: Duration = Duration::from_secs(10);
/// How long the instrument has for its ENQ after both have said it.
const CONTENTION: Duration = Duration::from_secs(20);
/// How long an instrument that has interrupted us has for its ENQ.
const INTERRUPT: Duration = Duration::from_secs(15);
/// Between two transmissions of ours.
const REST: Duration = Duration::from_secs(1);
/// The same frame may be refused this often.
const REFUSALS_MAX: u32 = 6;
/// An answer is begun this often.
const TRIES_MAX: u32 = 6;
/// Queries that wait for their answers.
const INQUIRIES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Sender {
    waiting: VecDeque<(Inquiry, Style)>,
    /// The first of them was asked for.
    asking: bool,
    answer: Option<Answer>,
    state: State,
    /// The line is closed: nobody is there to be answered.
    closed: bool,
}

/// What is being sent.
#[derive(Debug)]
struct Answer {
    inquiry: Inquiry,
    parts: Vec<Part>,
    has_orders: bool,
    /// Index of the frame that waits for its ACK.
    at: usize,
    refusals: u32,
    tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Idle,
    /// Nothing is said before then.
    Resting(Mono),
    /// Both have said ENQ: the instrument's next is due until then.
    Yielded(Mono),
    /// ENQ is said.
    Bidding(Mono),
    /// A frame is sent.
    Sending(Mono),
}

/// What a byte means for the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// The analyzer begins a session of its own in the middle of ours.
    Interrupted,
}

impl Sender {
    /// Queries that are stored. One that aborts takes back what was asked before it; one that waits already is a repeat.
    pub fn note(&mut self, inquiries: Vec<Inquiry>, style: Style) {
        for inquiry in inquiries.into_iter().filter(|_| !self.closed) {
            if inquiry.aborts {
                self.waiting.clear();
                self.answer = None;
                continue;
            }
            let current = self.answer.iter().map(|answer| &answer.inquiry);
            let mut known = current.chain(self.waiting.iter().map(|(waiting, _)| waiting));
            if !known.any(|known| *known == inquiry) && self.waiting.len() < INQUIRIES_MAX {
                self.waiting.push_back((inquiry, style));
            }
        }
    }

    pub fn close(&mut self) {
        *self = Sender { closed: true, ..Sender::default() };
    }

    /// Whether what is received now is an answer to something we have sent.
    pub fn is_talking(&self) -> bool {
        matches!(self.state, State::Bidding(_) | State::Sending(_))
    }

    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// Whether the next thing the analyzer says is its session, even if its ENQ has been heard already.
    pub fn has_yielded(&self) -> bool {
        matches!(self.state, State::Yielded(_))
    }

    pub fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Idle => None,
            // Nothing to say: the rest ends by itself.
            State::Resting(_) | State::Yielded(_) if self.answer.is_none() && self.waiting.is_empty() => None,
            State::Resting(due) | State::Yielded(due) | State::Bidding(due) | State::Sending(due) => Some(due),
        }
    }

    /// The line is free: says what there is to say.
    pub fn advance(&mut self, now: Now, actions: &mut Vec<Action>) {
        let rests = matches!(self.state, State::Resting(due) | State::Yielded(due) if now.mono < due);
        if rests || self.is_talking() || self.asking {
            return;
        }
        self.state = State::Idle;
        if let Some(answer) = &mut self.answer {
            (answer.at, answer.refusals) = (0, 0);
            answer.tries += 1;
            actions.push(Action::Send(vec![ENQ]));
            self.state = State::Bidding(now.mono.after(ANSWER));
        } else if let Some((inquiry, _)) = self.waiting.front() {
            actions.push(Action::Ask(inquiry.question.clone()));
            self.asking = true;
        }
    }

    /// What the registrations say.
    pub fn answered(&mut self, orders: &[WorkOrder], reading: &Reading) {
        self.asking = false;
        let Some((inquiry, style)) = self.waiting.pop_front() else { return };
        let parts = parts(&inquiry.answer(orders, reading), style);
        let has_orders = !orders.is_empty();
        self.answer = Some(Answer { inquiry, parts, has_orders, at: 0, refusals: 0, tries: 0 });
    }

    /// The analyzer has begun a session: ours waits until it is over.
    pub fn give_way(&mut self) {
        self.state = State::Idle;
    }

    pub fn hear(&mut self, now: Now, byte: u8, actions: &mut Vec<Action>) -> Heard {
        match (self.state, byte) {
            // Line noise.
            (_, 0 | 0xff | b' ' | CR | LF) => {}
            (State::Bidding(_), ACK) => self.send(now, actions),
            (State::Bidding(_), NAK) => self.state = State::Resting(now.mono.after(BUSY)),
            (State::Bidding(_), ENQ) => self.state = State::Yielded(now.mono.after(CONTENTION)),
            (State::Sending(_), ACK) => self.accepted(now, actions),
            (State::Sending(_), EOT) => self.interrupted(now, actions),
            (State::Sending(_), ENQ) => {
                self.give_way();
                return Heard::Interrupted;
            }
            (State::Sending(_), _) => self.refused(now, actions),
            _ => {}
        }
        Heard::Nothing
    }

    /// An answer of the analyzer is overdue, or a rest is over.
    pub fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.state {
            State::Bidding(due) | State::Sending(due) if due <= now.mono => self.end(now, REST, actions),
            _ => {}
        }
    }

    /// The alarm about an answer that did not get through, once.
    pub fn given_up(&mut self) -> Option<EventKind> {
        let worn = self.answer.as_ref().is_some_and(|answer| answer.tries >= TRIES_MAX) && !self.is_talking();
        let answer = self.answer.take_if(|_| worn)?;
        let reason = format!(
            "the analyzer asked for orders and did not take them in {TRIES_MAX} attempts; switch on that it receives orders \
             from the host (host query, bidirectional)"
        );
        answer.has_orders.then(|| EventKind::alarm("orders_not_taken", reason))
    }

    fn send(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(answer) = &self.answer else { return self.end(now, REST, actions) };
        let (text, last) = &answer.parts[answer.at];
        let number = ((answer.at + 1) % 8) as u8;
        actions.push(Action::Send(frame(number, text, *last)));
        self.state = State::Sending(now.mono.after(ANSWER));
    }

    fn accepted(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(answer) = &mut self.answer else { return self.end(now, REST, actions) };
        answer.at += 1;
        answer.refusals = 0;
        if answer.at < answer.parts.len() {
            return self.send(now, actions);
        }
        let has_orders = answer.has_orders;
        self.answer = None;
        self.end(now, REST, actions);
        if has_orders {
            actions.push(Action::Taken);
        }
    }

    /// EOT instead of ACK: the frame is taken, and the analyzer wants to speak.
    fn interrupted(&mut self, now: Now, actions: &mut Vec<Action>) {
        let was_last = self.answer.as_ref().is_none_or(|answer| answer.at + 1 == answer.parts.len());
        if was_last {
            self.accepted(now, actions);
            self.state = State::Resting(now.mono.after(INTERRUPT));
        } else {
            self.end(now, INTERRUPT, actions);
        }
    }

    fn refused(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(answer) = &mut self.answer else { return self.end(now, REST, actions) };
        answer.refusals += 1;
        if answer.refusals >= REFUSALS_MAX {
            return self.end(now, BUSY, actions);
        }
        self.send(now, actions);
    }

    fn end(&mut self, now: Now, rest: Duration, actions: &mut Vec<Action>) {
        actions.push(Action::Send(vec![EOT]));
        self.state = State::Resting(now.mono.after(rest));
    }
}
