//! One conversation over MLLP as a state machine.
//!
//! Promises:
//! - A message is answered AA (CA) only after it is stored with all that it states. A commit that fails is answered AE (CE),
//!   so that the analyzer keeps its results; of one that wants no such answer it is tried again until it is stored. What
//!   cannot be understood is stored too, and answered AR.
//! - An answer that comes more than 10 s late is sent only where ids (MSH-10) tell messages apart: else it could be taken for
//!   the answer to the next one.
//! - A message that is too long is refused with AR at its end, and told once; one that is broken off is told with the whole
//!   segments of it.
//! - Nothing is taken from the buffer while a commit or a question is outstanding.

use super::answer::{Verdict, Writer};
use super::header::Header;
use super::inquiry::Inquiry;
use super::message::{Content, Error, Said, partial, said};
use super::outbox::Outbox;
use super::worklist::{Heard, reply};
use super::{AWAITED, AWAITED_BARE};
use crate::drivers::noise::Noise;
use crate::drivers::unasked::Unasked;
use crate::event::{EventKind, EventName};
use crate::framing::mllp::{Piece, Scanner};
use crate::mutants::{Mutant, planted};
use crate::session::{Action, Commit, DriverOptions, Framing, Input, Resume, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// How long a message may pause before it counts as broken off.
const SILENCE: Duration = Duration::from_secs(30);
/// Without frames, how long a pause ends a message.
const PAUSE: Duration = Duration::from_secs(2);
/// An answer later than this could meet the sender's next message.
const ANSWER: Duration = Duration::from_secs(10);
/// How a message without a frame begins.
const MARK: &[u8] = b"MSH";

pub(super) struct Conversation {
    options: DriverOptions,
    scanner: Scanner,
    noise: Noise,
    writer: Writer,
    outbox: Outbox,
    /// What is stated without being answered.
    unasked: Unasked,
    pending: Option<Pending>,
    /// The question that is being looked up.
    asked: Option<(Header, Box<Inquiry>)>,
    heard: Mono,
    /// Bytes let go of while the store took nothing, not yet stated.
    dropped: usize,
    closed: bool,
    /// MSH-10 of the message before.
    last_id: Option<String>,
}

/// A block whose commit is outstanding.
struct Pending {
    answers: Vec<(Option<Header>, Verdict)>,
    inquiry: Option<(Header, Box<Inquiry>)>,
    received: Mono,
    /// Whether each message in the block has an id that its predecessor has not.
    tells_apart: bool,
    /// Whether the analyzer says with it that it has all the orders that it asked for.
    is_taken: bool,
    /// What was committed, where nobody hears that it failed.
    unheard: Option<Commit>,
}

impl Session for Conversation {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => self.opened(now, resume, actions),
            Input::Received(bytes) => self.received(now, bytes),
            Input::Committed => match self.pending.take() {
                Some(pending) => self.stored(now, pending, actions),
                None => self.unasked.committed(),
            },
            Input::CommitFailed => match self.pending.take() {
                Some(pending) => self.not_stored(now, pending, actions),
                None => self.unasked.failed(now),
            },
            Input::Answered(orders) => {
                if let Some((header, inquiry)) = self.asked.take() {
                    let reply = reply(&inquiry, &header, Heard::Stored, orders, &mut self.writer, now);
                    actions.push(Action::Send(reply.at_once));
                    actions.extend(reply.has_orders.then_some(Action::Taken));
                    self.outbox.add(reply.orders);
                }
            }
            Input::DeadlineReached => self.deadline_reached(now, actions),
            // There is no child.
            Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => {
                self.closed = true;
                self.outbox.clear();
                self.unasked.settle(actions);
            }
        }
        while !self.is_busy() {
            match self.scanner.next_piece() {
                Some(piece) => self.take(now, piece, actions),
                None if !self.end(now, actions) => break,
                None => {}
            }
        }
        if !self.is_busy()
            && let Some(bytes) = self.outbox.next(now)
        {
            actions.push(Action::Send(bytes));
        }
    }

    fn deadline(&self) -> Option<Mono> {
        if self.pending.is_some() || self.asked.is_some() {
            return None;
        }
        if let Some(due) = self.unasked.due() {
            return due;
        }
        let inside = self.scanner.in_block();
        let end = inside.then(|| self.heard.after(if self.is_framed() { SILENCE } else { PAUSE }));
        let noise = self.noise.deadline().filter(|_| !inside);
        [end, noise, self.outbox.due()].into_iter().flatten().min()
    }
}

impl Conversation {
    pub fn new(options: DriverOptions) -> Conversation {
        let (most, head) = (options.message_bytes_max, options.frame_bytes_max);
        let framed = options.framing != Framing::None;
        Conversation {
            scanner: if framed { Scanner::new(most, head) } else { Scanner::unframed(MARK, most, head) },
            noise: Noise::new(if framed { AWAITED } else { AWAITED_BARE }, head, options.line),
            writer: Writer::new(framed),
            options,
            outbox: Outbox::default(),
            unasked: Unasked::default(),
            pending: None,
            asked: None,
            heard: Mono(0),
            dropped: 0,
            closed: false,
            last_id: None,
        }
    }

    fn is_framed(&self) -> bool {
        self.writer.framed
    }

    fn is_busy(&self) -> bool {
        self.pending.is_some() || self.asked.is_some() || self.unasked.is_busy()
    }

    /// Messages are stored whole: only a driver that was set here before leaves something unfinished.
    fn opened(&mut self, now: Now, resume: Resume<'_>, actions: &mut Vec<Action>) {
        self.heard = now.mono;
        if !resume.unfinished.is_empty() && !planted(Mutant::UnfinishedForgotten) {
            let reason =
                "the gateway or the line stopped in the middle of a message; the analyzer should send it again";
            let event = EventKind::rejected("interrupted", reason, resume.unfinished.len());
            self.unasked.commit(Vec::new(), vec![event], actions);
        }
    }

    fn received(&mut self, now: Now, bytes: &[u8]) {
        self.heard = now.mono;
        // The link holds bytes back while a commit is outstanding; while one is owed they wait here.
        if self.dropped > 0 || (self.is_busy() && self.scanner.held() > self.options.message_bytes_max) {
            self.dropped += bytes.len();
        } else {
            self.scanner.push(bytes);
        }
    }

    /// Nothing whole is left in the buffer. Whether something else was found to do.
    fn end(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        if self.dropped == 0 && !self.closed {
            return false;
        }
        if let Some(rest) = self.scanner.take_rest() {
            self.take(now, rest, actions);
            return true;
        }
        if self.dropped > 0 {
            let gap = crate::drivers::dropped(std::mem::take(&mut self.dropped), now.wall);
            self.unasked.commit(Vec::new(), vec![gap], actions);
            return true;
        }
        match self.noise.report(now, true) {
            Some((capture, event)) => self.unasked.commit(capture, vec![event], actions),
            None => return false,
        }
        true
    }

    fn take(&mut self, now: Now, piece: Piece, actions: &mut Vec<Action>) {
        match piece {
            Piece::Noise(bytes) => self.noise.hear(now, &bytes),
            Piece::Block(bytes) => self.block(now, bytes, actions),
            Piece::Cut(bytes) => self.cut(now, bytes, actions),
            Piece::TooLong { head, bytes } => self.too_long(now, head, bytes, actions),
        }
    }

    fn block(&mut self, now: Now, capture: Vec<u8>, actions: &mut Vec<Action>) {
        let said = said(&capture, &self.options, now);
        // Nothing between VT and FS: a sign of life.
        if said.is_empty() {
            return;
        }
        self.noise.good_session();
        let mut pending = self.pending(true);
        let mut events = Vec::new();
        for Said { header, content } in said {
            pending.tells_apart &= self.tells_apart(header.as_ref());
            let verdict = match content {
                Content::Results(facts) => {
                    events.extend(facts);
                    Verdict::Accepted
                }
                Content::Inquiry { inquiry, device } => {
                    let query = Some(inquiry.event());
                    events.push(EventKind { device, query, ..EventKind::bare(EventName::QueryReceived) });
                    match (header, &pending.inquiry) {
                        (Some(header), None) => {
                            pending.inquiry = Some((header, inquiry));
                            continue;
                        }
                        // One question at a time.
                        (header, _) => {
                            pending.answers.push((header, Verdict::Refused(Error::SegmentSequence)));
                            continue;
                        }
                    }
                }
                Content::Answer { code, control_id } => {
                    let answered = self.outbox.answered(&code, &control_id);
                    events.extend(answered.alarm);
                    pending.is_taken |= answered.is_last;
                    continue;
                }
                Content::Refused(refusal) => {
                    let bytes = capture.strip_suffix(b"\r").map_or(capture.len(), <[u8]>::len);
                    events.push(EventKind::rejected(refusal.code, refusal.reason, bytes));
                    Verdict::Refused(refusal.error)
                }
            };
            pending.answers.push((header, verdict));
        }
        self.commit(now, pending, capture, events, actions);
    }

    fn pending(&self, tells_apart: bool) -> Pending {
        Pending {
            answers: Vec::new(),
            inquiry: None,
            received: self.heard,
            tells_apart,
            is_taken: false,
            unheard: None,
        }
    }

    fn tells_apart(&mut self, header: Option<&Header>) -> bool {
        let id = header.map(|header| header.control_id.clone()).filter(|id| !id.is_empty());
        let before = std::mem::replace(&mut self.last_id, id);
        self.last_id.is_some() && self.last_id != before
    }

    fn commit(
        &mut self,
        now: Now,
        mut pending: Pending,
        capture: Vec<u8>,
        mut events: Vec<EventKind>,
        actions: &mut Vec<Action>,
    ) {
        if planted(Mutant::CaptureWithoutEvents) {
            events.clear();
        }
        if planted(Mutant::AckBeforeCommit) {
            self.answer(now, &pending.answers, actions);
        }
        let commit = Commit { capture, events, complete: true };
        let hears = |header: &Option<Header>| header.as_ref().is_none_or(Header::hears_failures);
        if pending.inquiry.is_none() && !pending.answers.iter().any(|(header, _)| hears(header)) {
            pending.unheard = Some(commit.clone());
        }
        actions.push(Action::Commit(commit));
        self.pending = Some(pending);
    }

    fn answer(&mut self, now: Now, answers: &[(Option<Header>, Verdict)], actions: &mut Vec<Action>) {
        for (header, verdict) in answers {
            let sent = self.writer.acknowledgments(header.as_ref(), *verdict, now);
            actions.extend(sent.into_iter().map(Action::Send));
        }
    }

    fn stored(&mut self, now: Now, pending: Pending, actions: &mut Vec<Action>) {
        let late = now.mono.since(pending.received) > ANSWER && !pending.tells_apart;
        if !late && !planted(Mutant::AckBeforeCommit) {
            self.answer(now, &pending.answers, actions);
        }
        actions.extend(pending.is_taken.then_some(Action::Taken));
        let Some((header, inquiry)) = pending.inquiry else { return };
        actions.extend(self.writer.acceptance(&header, now).map(Action::Send));
        match &inquiry.question {
            Some(question) => {
                actions.push(Action::Ask(question.clone()));
                self.asked = Some((header, inquiry));
            }
            None => {
                let reply = reply(&inquiry, &header, Heard::Stored, &[], &mut self.writer, now);
                actions.push(Action::Send(reply.at_once));
            }
        }
    }

    fn not_stored(&mut self, now: Now, pending: Pending, actions: &mut Vec<Action>) {
        if let Some(commit) = pending.unheard {
            return self.unasked.owe(commit, now);
        }
        let failed = |verdict: Verdict| match verdict {
            Verdict::Accepted if planted(Mutant::AckAfterFailedCommit) => Verdict::Accepted,
            _ => Verdict::Failed,
        };
        let answers: Vec<_> = pending.answers.into_iter().map(|(header, verdict)| (header, failed(verdict))).collect();
        self.answer(now, &answers, actions);
        if let Some((header, inquiry)) = pending.inquiry {
            let reply = reply(&inquiry, &header, Heard::NotStored, &[], &mut self.writer, now);
            actions.push(Action::Send(reply.at_once));
        }
    }

    /// A block that another one, a silence or the end of the line has cut off.
    fn cut(&mut self, now: Now, capture: Vec<u8>, actions: &mut Vec<Action>) {
        if capture.len() <= 1 {
            return;
        }
        let (device, tests) = partial(&capture, &self.options, now);
        let reason = "a message began and never ended; the analyzer should send it again";
        let rejected = EventKind::rejected("interrupted", reason, capture.len());
        self.unasked.commit(capture, vec![EventKind { device, partial: tests, ..rejected }], actions);
    }

    fn too_long(&mut self, now: Now, head: Vec<u8>, bytes: usize, actions: &mut Vec<Action>) {
        let limit = self.options.message_bytes_max;
        let reason = format!("a message of {bytes} bytes is longer than message_bytes_max ({limit})");
        let header = said(&head, &self.options, now).into_iter().next().and_then(|said| said.header);
        let tells_apart = self.tells_apart(header.as_ref());
        let answers = vec![(header, Verdict::Refused(Error::Internal))];
        let pending = Pending { answers, ..self.pending(tells_apart) };
        let events = vec![EventKind::rejected("too_long", reason, head.len())];
        self.commit(now, pending, head, events, actions);
    }

    fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|due| now.mono < due) || self.unasked.settle(actions) {
            return;
        }
        let pause = if self.is_framed() { SILENCE } else { PAUSE };
        if self.scanner.in_block() && now.mono >= self.heard.after(pause) {
            if let Some(rest) = self.scanner.take_rest() {
                self.take(now, rest, actions);
            }
        } else if let Some(alarm) = self.outbox.overdue(now) {
            self.unasked.commit(Vec::new(), vec![alarm], actions);
        } else if !self.scanner.in_block()
            && let Some((capture, event)) = self.noise.report(now, false)
        {
            self.unasked.commit(capture, vec![event], actions);
        }
    }
}
