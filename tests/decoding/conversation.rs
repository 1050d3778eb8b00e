//! The driver and an analyzer that asks, against each other in virtual time: whatever goes wrong on the way, each question is
//! answered once, no result is lost, and nobody speaks into the other's session.

use gateway_core::drivers::{astm::Astm, converse};
use gateway_core::event::{EventKind, EventName, Personal};
use gateway_core::registration::OrderedTest;
use gateway_core::session::{Action, DriverOptions, Input, Resume, Session};
use gateway_core::time::{Mono, Now, Timestamp};
use gateway_core::worklist::{OrderAction, Question, WorkOrder};
use gateway_daemon::simulated::asking::{Asker, Moods};
use gateway_daemon::simulated::astm::{Faults, Message, PeerAction, PeerInput, Sender, Style, Timers};
use gateway_daemon::simulated::seeded::Seeded;
use std::time::Duration;

/// How long a byte is on its way.
const FLIGHT: Duration = Duration::from_millis(5);

/// What is on its way, and to whom.
enum Cargo {
    ToGateway(Vec<u8>),
    ToAnalyzer(Vec<u8>),
    /// The analyzer has something to say.
    Said(Message),
}

struct Line {
    session: Box<dyn Session>,
    analyzer: Asker,
    now: Mono,
    cargo: Vec<(Mono, Cargo)>,
    events: Vec<EventKind>,
    taken: usize,
}

impl Line {
    fn new(analyzer: Asker) -> Line {
        let session = converse(&Astm, &DriverOptions::default()).unwrap();
        let mut line = Line { session, analyzer, now: Mono(1), cargo: Vec::new(), events: Vec::new(), taken: 0 };
        line.tell(Input::Opened(Resume::default()));
        line
    }

    fn tell(&mut self, input: Input<'_>) {
        let now = Now { mono: self.now, wall: Timestamp(1_700_000_000_000), ..Now::default() };
        let mut actions = Vec::new();
        self.session.handle(now, input, &mut actions);
        for action in actions {
            match action {
                Action::Send(bytes) => self.cargo.push((self.now.after(FLIGHT), Cargo::ToAnalyzer(bytes))),
                Action::Commit(commit) => {
                    self.events.extend(commit.events);
                    self.tell(Input::Committed);
                }
                Action::Ask(Question::Samples(samples)) => {
                    let tests = vec![OrderedTest { code: "GLU".to_owned(), name: String::new() }];
                    let order = |sample_id: Personal| WorkOrder {
                        sample_id,
                        patient: None,
                        tests: tests.clone(),
                        action: OrderAction::New,
                    };
                    let orders: Vec<WorkOrder> = samples.into_iter().map(order).collect();
                    self.tell(Input::Answered(&orders));
                }
                Action::Taken => self.taken += 1,
                Action::Ask(Question::All) | Action::Tell(_) => panic!("nobody asked for this"),
            }
        }
    }

    fn hear(&mut self, input: PeerInput<'_>) {
        for action in self.analyzer.handle(self.now, input) {
            if let PeerAction::Send { bytes, .. } = action {
                self.cargo.push((self.now.after(FLIGHT), Cargo::ToGateway(bytes)));
            }
        }
    }

    /// Goes on to the next moment at which anything happens; `false`: nothing will.
    fn step(&mut self) -> bool {
        let first = self.cargo.iter().enumerate().min_by_key(|(place, (due, _))| (*due, *place));
        let arrives = first.map(|(place, (due, _))| (*due, place));
        let timers = [(self.session.deadline(), true), (self.analyzer.deadline(), false)];
        let timer = timers.into_iter().filter_map(|(due, is_ours)| Some((due?, is_ours))).min();
        match (arrives, timer) {
            (Some((due, place)), timer) if timer.is_none_or(|(timer, _)| due <= timer) => {
                self.now = self.now.max(due);
                match self.cargo.remove(place).1 {
                    Cargo::ToGateway(bytes) => self.tell(Input::Received(&bytes)),
                    Cargo::ToAnalyzer(bytes) => self.hear(PeerInput::Received(&bytes)),
                    Cargo::Said(message) => self.hear(PeerInput::Submit(message)),
                }
            }
            (_, Some((due, is_ours))) => {
                self.now = self.now.max(due);
                if is_ours { self.tell(Input::DeadlineReached) } else { self.hear(PeerInput::DeadlineReached) }
            }
            _ => return false,
        }
        true
    }
}

fn message(id: &str, asks: bool) -> Message {
    let body = match asks {
        true => vec![format!("Q|1|^{id}||||||||||O")],
        false => vec![format!("O|1|{id}||^^^GLU"), "R|1|^^^GLU|5.5|mmol/L||N||F".to_owned()],
    };
    let records = [vec!["H|\\^&|||CHEM 7".to_owned()], body, vec!["L|1|N".to_owned()]].concat();
    Message { id: id.to_owned(), records: records.into_iter().map(String::into_bytes).collect() }
}

fn played(seed: u64, style: Style, faults: Faults, moods: Moods) {
    let sender = Sender::new(style, Timers::STANDARD, faults, seed);
    let mut line = Line::new(Asker::new(sender, moods, seed ^ 0xa5));
    let mut chance = Seeded::new(seed);
    let (mut asked, mut said) = (Vec::new(), Vec::new());
    let mut at = Mono(1);
    for number in 0..60 {
        at = at.after(Duration::from_millis(chance.below(4_000)));
        let asks = chance.chance(500);
        let id = format!("S-{number}");
        line.cargo.push((at, Cargo::Said(message(&id, asks))));
        if asks { asked.push(id) } else { said.push(id) }
    }
    let mut steps = 0;
    while line.step() {
        steps += 1;
        assert!(steps < 1_000_000, "seed {seed}: it never ends");
    }
    assert!(line.analyzer.is_done(), "seed {seed}");
    let sample = |record: &String| record.split('|').nth(2).unwrap_or_default().to_owned();
    let mut told: Vec<String> = line.analyzer.taken().iter().map(|answer| sample(&answer[2])).collect();
    let mut queried: Vec<String> =
        line.events.iter().filter_map(|event| Some(event.query.as_ref()?.sample_ids[0].expose().to_owned())).collect();
    // Six lost answers make an analyzer ask again.
    let often = |all: &[String], one: &String| all.iter().filter(|other| *other == one).count();
    for sample in &asked {
        let (times, answers) = (often(&queried, sample), often(&told, sample));
        assert!(
            (1..=times).contains(&answers),
            "seed {seed}: {sample} was asked for {times} times, answered {answers}"
        );
    }
    assert_eq!(line.taken, told.len(), "seed {seed}");
    told.dedup();
    queried.dedup();
    assert_eq!((&told, &queried), (&asked, &asked), "seed {seed}: in the order of the questions");
    assert_eq!(line.analyzer.spoken_into(), 0, "seed {seed}");
    let finished = line.events.iter().filter(|event| event.name == EventName::TestFinished);
    let mut finished: Vec<String> =
        finished.filter_map(|event| Some(event.test.as_ref()?.sample_id.as_ref()?.expose().to_owned())).collect();
    finished.dedup();
    assert_eq!(finished, said, "seed {seed}");
}

#[test]
fn each_question_is_answered_once_on_a_good_line() {
    for (seed, style) in
        [(1, Style::RecordPerFrame), (2, Style::RecordPerEtbFrame), (3, Style::Whole), (4, Style::Cut(20))]
    {
        played(seed, style, Faults::default(), Moods::default());
    }
}

#[test]
fn each_question_is_answered_once_whatever_goes_wrong() {
    let moods = Moods { busy: 100, refuses: 100, deaf: 20 };
    for seed in 100..160 {
        played(seed, Style::RecordPerFrame, Faults { abandoned: 20, ..Faults::NOW_AND_THEN }, moods);
    }
}
