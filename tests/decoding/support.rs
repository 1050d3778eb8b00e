//! The `decode` command as a function, and a link that holds a session to the calling contract.

use super::child::{Child, Said};
use gateway_core::drivers::{converse, driver};
use gateway_core::event::EventKind;
use gateway_core::session::{Action, Commit, DriverOptions, Input, Resume, Session};
use gateway_core::time::{Mono, Now, Timestamp};
use gateway_core::worklist::{Question, WorkOrder};
use gateway_daemon::commands::decode::{Args, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const ENQ: u8 = 0x05;
pub const EOT: u8 = 0x04;
pub const ACK: u8 = 0x06;
pub const NAK: u8 = 0x15;

/// What the command printed.
pub struct Decoded {
    pub status: u8,
    pub text: String,
    pub notes: String,
}

impl Decoded {
    pub fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn args(driver: &str, file: &Path) -> Args {
    Args {
        driver: Some(driver.to_owned()),
        profile: None,
        framing: None,
        analyzer: "decode".to_owned(),
        chunks: None,
        records: false,
        file: file.to_owned(),
    }
}

pub fn decode(args: Args) -> Decoded {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(args, &mut out, &mut err);
    Decoded { status, text: String::from_utf8(out).unwrap(), notes: String::from_utf8(err).unwrap() }
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A frame with its sum, made without the code under test.
pub fn frame(number: u8, text: &str, last: bool) -> Vec<u8> {
    let mut body = vec![b'0' + number % 8];
    body.extend_from_slice(text.as_bytes());
    body.push(if last { 0x03 } else { 0x17 });
    let sum = body.iter().fold(0_u32, |sum, byte| sum + u32::from(*byte)) % 256;
    [vec![0x02], body, format!("{sum:02X}\r\n").into_bytes()].concat()
}

/// A session with one record a frame.
pub fn transmission(records: &[&str]) -> Vec<u8> {
    let mut bytes = vec![ENQ];
    for (place, record) in records.iter().enumerate() {
        bytes.extend(frame(place as u8 + 1, &format!("{record}\r"), true));
    }
    bytes.push(EOT);
    bytes
}

/// How the next commit goes.
#[derive(Clone, Copy, PartialEq)]
pub enum Disk {
    Good,
    Fails,
    /// Takes so long.
    Slow(Duration),
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Sent(Vec<u8>),
    Stored(Commit),
    NotStored(Commit),
    Asked(Question),
    /// Said to the child process.
    Told(Vec<u8>),
    /// The analyzer has the answer to what was asked last.
    Taken,
}

/// The link's side of the contract around one session; panics where the session breaks its own side.
pub struct Bench {
    session: Box<dyn Session>,
    pub now: Now,
    pub disk: Disk,
    /// What a question is answered with.
    pub orders: Vec<WorkOrder>,
    pub steps: Vec<Step>,
    /// For the driver `exec`.
    pub child: Option<Child>,
}

impl Bench {
    pub fn open(name: &str, options: &DriverOptions, resume: Resume<'_>) -> Bench {
        let session = converse(driver(name).unwrap(), options).unwrap();
        let now = Now { mono: Mono(1_000_000_000), wall: Timestamp(1_700_000_000_000), ..Now::default() };
        let child = (name == "exec").then(Child::default);
        let mut bench = Bench { session, now, disk: Disk::Good, orders: Vec::new(), steps: Vec::new(), child };
        bench.give(Input::Opened(resume));
        bench
    }

    pub fn astm() -> Bench {
        Bench::open("astm", &DriverOptions::default(), Resume::default())
    }

    /// Feeds bytes and returns what was sent back.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        let before = self.steps.len();
        self.give(Input::Received(bytes));
        self.steps[before..].iter().filter_map(sent).flatten().copied().collect()
    }

    /// Lets time pass, stopping at each deadline on the way.
    pub fn wait(&mut self, span: Duration) -> Vec<u8> {
        let before = self.steps.len();
        let end = self.now.mono.after(span);
        while let Some(due) = self.session.deadline().filter(|due| *due <= end) {
            self.now.mono = self.now.mono.max(due);
            self.give(Input::DeadlineReached);
        }
        self.now.mono = end;
        self.steps[before..].iter().filter_map(sent).flatten().copied().collect()
    }

    /// What the end of a file does: every deadline, then the end of the line.
    pub fn finish(&mut self) {
        for _ in 0..100 {
            let Some(due) = self.session.deadline() else { break };
            self.now.mono = self.now.mono.max(due);
            self.give(Input::DeadlineReached);
        }
        self.give(Input::Closed);
    }

    pub fn events(&self) -> Vec<&EventKind> {
        self.stored().into_iter().flat_map(|commit| &commit.events).collect()
    }

    pub fn names(&self) -> Vec<String> {
        let name = |event: &&EventKind| match &event.rejection {
            Some(rejection) => rejection.code.clone(),
            None => event.name.to_string(),
        };
        self.events().iter().map(name).collect()
    }

    pub fn stored(&self) -> Vec<&Commit> {
        self.steps.iter().filter_map(stored).collect()
    }

    /// The session hears this, then whatever its child has to say to it.
    pub fn give(&mut self, input: Input<'_>) {
        self.tell(input);
        while let Some(said) = self.child.as_mut().and_then(Child::next) {
            match said {
                Said::Line(line) => self.tell(Input::Told(&line)),
                Said::Ends => self.tell(Input::ChildEnded),
            }
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.session.handle(self.now, input, &mut actions);
        while let Some(answer) = self.perform(actions) {
            actions = Vec::new();
            let orders = self.orders.clone();
            let input = match answer {
                Answer::Stored => Input::Committed,
                Answer::NotStored => Input::CommitFailed,
                Answer::Orders => Input::Answered(&orders),
            };
            self.session.handle(self.now, input, &mut actions);
        }
    }

    /// Performs the actions; what the last of them is answered with, if it was a question or a commit.
    fn perform(&mut self, actions: Vec<Action>) -> Option<Answer> {
        let last = actions.len().saturating_sub(1);
        let mut answer = None;
        for (place, action) in actions.into_iter().enumerate() {
            match action {
                Action::Send(bytes) => self.steps.push(Step::Sent(bytes)),
                Action::Taken => self.steps.push(Step::Taken),
                Action::Tell(bytes) => {
                    if let Some(child) = &mut self.child {
                        child.hear(&bytes);
                    }
                    self.steps.push(Step::Told(bytes));
                }
                Action::Ask(question) => {
                    assert_eq!(place, last, "nothing is asked for while an answer is outstanding");
                    self.steps.push(Step::Asked(question));
                    answer = Some(Answer::Orders);
                }
                Action::Commit(commit) => {
                    assert_eq!(place, last, "nothing is asked for while a commit is outstanding");
                    assert_eq!(self.session.deadline(), None, "nothing is awaited but the commit");
                    answer = Some(self.commit(commit));
                }
            }
        }
        answer
    }

    fn commit(&mut self, commit: Commit) -> Answer {
        match self.disk {
            Disk::Fails => {
                self.steps.push(Step::NotStored(commit));
                return Answer::NotStored;
            }
            Disk::Slow(span) => self.now.mono = self.now.mono.after(span),
            Disk::Good => {}
        }
        self.steps.push(Step::Stored(commit));
        Answer::Stored
    }
}

/// What a commit or a question comes back as.
enum Answer {
    Stored,
    NotStored,
    Orders,
}

fn sent(step: &Step) -> Option<&Vec<u8>> {
    if let Step::Sent(bytes) = step { Some(bytes) } else { None }
}

fn stored(step: &Step) -> Option<&Commit> {
    if let Step::Stored(commit) = step { Some(commit) } else { None }
}
