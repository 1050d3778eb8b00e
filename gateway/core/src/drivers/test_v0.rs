//! `test-v0`: an analyzer's test, live, as JSON lines: one webhook object of seed 000 a line. Nothing is acknowledged.
//!
//! `data` is cumulative in every line; each event carries only what is new, with its offsets: see [`crate::run`].

use super::flood::Flood;
use super::unasked::Unasked;
use crate::error::ConfigError;
use crate::event::*;
use crate::framing::lines::{Line, Lines};
use crate::mutants::{Mutant, planted};
use crate::run::{Report, Runs};
use crate::scrub::{Pseudonyms, Unscrubbable, blot};
use crate::session::{Action, Driver, DriverOptions, Input, Resume, RunningTest, Session};
use crate::time::{Mono, Now};
use std::time::Duration;

/// A running test that says nothing for so long has stalled: it reports a temperature every 2 s.
const STALL: Duration = Duration::from_secs(20);
/// A line that gets no line end in this time gets none.
const LINE_END: Duration = Duration::from_secs(5);

/// See the module.
pub struct TestV0;

impl Driver for TestV0 {
    fn name(&self) -> &'static str {
        "test-v0"
    }

    fn about(&self) -> &'static str {
        "JSON lines, one object a line: the live webhook of the amplification analyzers (version 0)"
    }

    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        Ok(Box::new(Conversation {
            lines: Lines::new(options.message_bytes_max),
            bytes_max: options.message_bytes_max,
            runs: Runs::default(),
            heard: Mono(0),
            unasked: Unasked::default(),
            dropped: 0,
            flood: Flood::default(),
        }))
    }

    /// The document (seed 000) has no place for a person: only lines that are none of its objects are blotted out.
    fn scrub(&self, _: &DriverOptions, bytes: &[u8], _: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        let mut clean = bytes.to_vec();
        for line in clean.split_mut(|byte| *byte == b'\n') {
            if Report::read(line.trim_ascii(), "line").is_err() {
                blot(line);
            }
        }
        Ok(clean)
    }
}

struct Conversation {
    lines: Lines,
    bytes_max: usize,
    runs: Runs,
    heard: Mono,
    unasked: Unasked,
    /// Bytes received and let go of, not yet stated. Once there are any, all goes until what is held is stored: else the
    /// line that is cut off there would go on with the end of another.
    dropped: usize,
    flood: Flood,
}

impl Session for Conversation {
    fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        match input {
            Input::Opened(resume) => self.opened(now, resume, actions),
            Input::Received(bytes) => {
                self.heard = now.mono;
                if self.dropped > 0 || (self.unasked.is_busy() && self.lines.held() > self.bytes_max) {
                    self.dropped += bytes.len();
                } else {
                    self.lines.push(bytes);
                }
            }
            Input::Committed => self.unasked.committed(),
            Input::CommitFailed => self.unasked.failed(now),
            Input::DeadlineReached => self.deadline_reached(now, actions),
            // Nothing is asked here, and there is no child.
            Input::Answered(_) | Input::Told(_) | Input::ChildEnded => {}
            Input::Closed => self.closed(now, actions),
        }
        while !self.unasked.is_busy() {
            match self.lines.next_line() {
                Some(line) => self.line(now, line, actions),
                None if self.dropped > 0 => self.state_dropped(now, actions),
                None => break,
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self.unasked.due() {
            Some(due) => due,
            _ if self.lines.has_rest() => Some(self.heard.after(LINE_END)),
            _ => self.runs.testing.then(|| self.heard.after(STALL)),
        }
    }
}

impl Conversation {
    fn opened(&mut self, now: Now, resume: Resume<'_>, actions: &mut Vec<Action>) {
        self.heard = now.mono;
        let mut events = Vec::new();
        if !resume.unfinished.is_empty() {
            let reason = "the gateway stopped in the middle of a line";
            events.push(EventKind::rejected("interrupted", reason, resume.unfinished.len()));
        }
        if let Some(running @ RunningTest { id, device, .. }) = resume.running {
            self.runs.resume(running);
            let reason = "the gateway or the line was away while a test was running".to_owned();
            let gap = Gap { reason, from: None, to: Some(now.wall) };
            let details = serde_json::json!({ "test": id });
            let device = device.clone();
            events.push(EventKind {
                gap: Some(gap),
                details: Some(details),
                device,
                ..EventKind::bare(EventName::Gap)
            });
        }
        if !events.is_empty() && !planted(Mutant::UnfinishedForgotten) {
            self.unasked.commit(Vec::new(), events, actions);
        }
    }

    fn line(&mut self, now: Now, line: Line, actions: &mut Vec<Action>) {
        let (capture, event) = match line {
            Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => return,
            Line::Whole(bytes) => {
                let event = match Report::read(&bytes, "line") {
                    Ok(report) => {
                        let counted = self.flood.understood();
                        let event = self.runs.state(now, &bytes, report);
                        return self.unasked.commit(bytes, counted.into_iter().chain([event]).collect(), actions);
                    }
                    Err(fault) => EventKind::rejected(fault.code, fault.reason, bytes.len()),
                };
                (bytes, event)
            }
            Line::TooLong { head, bytes } => {
                let reason = format!("a line of {bytes} bytes is longer than message_bytes_max ({})", self.bytes_max);
                let event = EventKind::rejected("too_long", reason, head.len());
                (head, event)
            }
        };
        if self.flood.admits(now, capture.len()) {
            self.unasked.commit(capture, vec![event], actions);
        }
    }

    /// All that was held is stored: now comes the hole, behind the line that it has cut off.
    fn state_dropped(&mut self, now: Now, actions: &mut Vec<Action>) {
        let rest = match self.lines.take_rest() {
            Some(Line::Whole(rest) | Line::TooLong { head: rest, .. }) => rest,
            None => Vec::new(),
        };
        let gap = EventKind {
            device: self.runs.device.clone(),
            ..super::dropped(std::mem::take(&mut self.dropped), now.wall)
        };
        self.unasked.commit(rest, vec![gap], actions);
    }

    fn deadline_reached(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|due| now.mono < due) {
            return;
        }
        if self.unasked.settle(actions) {
            return;
        }
        if self.lines.has_rest() {
            self.unterminated(now, actions);
        } else {
            self.runs.testing = false;
            let reason = "a test is running and the analyzer has said nothing for 20 s";
            let alarm = EventKind { device: self.runs.device.clone(), ..EventKind::alarm("stalled", reason) };
            self.unasked.commit(Vec::new(), vec![alarm], actions);
        }
    }

    fn closed(&mut self, now: Now, actions: &mut Vec<Action>) {
        if !self.unasked.settle(actions) && !self.unasked.is_busy() {
            self.unterminated(now, actions);
            self.state_counted(actions);
        }
    }

    /// The line end will not come. An object that is whole without it is as good as any; the beginning of one is not.
    fn unterminated(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.lines.take_rest() {
            Some(Line::Whole(bytes))
                if Report::read(&bytes, "line").is_err() && !bytes.iter().all(u8::is_ascii_whitespace) =>
            {
                let event = EventKind::rejected("interrupted", "a line began and never ended", bytes.len());
                self.unasked.commit(bytes, vec![event], actions);
            }
            Some(line) => self.line(now, line, actions),
            None => {}
        }
    }

    /// What was only counted is stated where nothing more can come.
    fn state_counted(&mut self, actions: &mut Vec<Action>) {
        if !self.unasked.is_busy()
            && let Some(counted) = self.flood.counted()
        {
            self.unasked.commit(Vec::new(), vec![counted], actions);
        }
    }
}
