//! The queue against a world that crashes, answers as it likes and keeps books of its own.
//!
//! The model knows nothing of cursors: an event is done when the world saw it settled and that was written.

use super::queue_tests::{Bench, held, limits, no_network, rejected, retryable, seconds};
use super::*;
use crate::event::{Lane, Seq};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const AHEAD_EVENTS_MAX: usize = 8;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Another event enters the log: of this lane, or (`None`) one that this destination does not get.
    Log(Option<u8>),
    /// The dispatcher reads and starts whatever it may.
    Dispatch,
    /// The attempt at this place of those under way ends so.
    Answer(usize, Answer),
    /// As `Answer`, and the power goes before it is written.
    AnswerLost(usize, Answer),
    Wait(u16),
    Crash,
    Redrive(usize),
    NewSettings,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Delivered,
    Retryable,
    Held,
    Rejected,
    NoNetwork,
}

impl Answer {
    fn outcome(self) -> Outcome {
        match self {
            Answer::Delivered => Outcome::Delivered,
            Answer::Retryable => retryable(),
            Answer::Held => held(),
            Answer::Rejected => rejected(),
            Answer::NoNetwork => no_network(),
        }
    }
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Delivered),
        4 => Just(Answer::Retryable),
        1 => Just(Answer::Held),
        1 => Just(Answer::Rejected),
        1 => Just(Answer::NoNetwork),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => proptest::option::weighted(0.8, 0..7_u8).prop_map(Step::Log),
        8 => Just(Step::Dispatch),
        8 => (0..4_usize, answers()).prop_map(|(at, answer)| Step::Answer(at, answer)),
        1 => (0..4_usize, answers()).prop_map(|(at, answer)| Step::AnswerLost(at, answer)),
        3 => (0..100_u16).prop_map(Step::Wait),
        1 => Just(Step::Crash),
        1 => (0..4_usize).prop_map(Step::Redrive),
        1 => Just(Step::NewSettings),
    ];
    proptest::collection::vec(step, 0..160)
}

struct World {
    bench: Bench,
    log: Vec<Option<u8>>,
    under_way: BTreeSet<Seq>,
    /// Settled in memory, and settled on disk.
    settled: BTreeSet<Seq>,
    settled_written: BTreeSet<Seq>,
    delivered: BTreeSet<Seq>,
    due: BTreeMap<Seq, Mono>,
}

impl World {
    fn new() -> World {
        let limits = limits(3, AHEAD_EVENTS_MAX);
        World {
            bench: Bench::with(RetrySchedule::table(seconds(&[0, 5, 60, 300])), limits),
            log: Vec::new(),
            under_way: BTreeSet::new(),
            settled: BTreeSet::new(),
            settled_written: BTreeSet::new(),
            delivered: BTreeSet::new(),
            due: BTreeMap::new(),
        }
    }

    fn lane(&self, seq: Seq) -> Option<u8> {
        self.log[seq.0 as usize - 1]
    }

    /// Reads as a dispatcher does, then starts, checking every rule about starts.
    fn dispatch(&mut self) {
        if let Some(mut room) = self.bench.queue.wants_events() {
            let from = self.bench.queue.looked().0;
            for seq in from + 1..=self.log.len() as i64 {
                if room == 0 {
                    break;
                }
                match self.lane(Seq(seq)) {
                    Some(lane) => {
                        self.bench.queue.offer(Seq(seq), Lane(lane.to_string()), self.bench.now);
                        room -= 1;
                    }
                    None => {
                        let changes = self.bench.queue.skip_to(Seq(seq));
                        self.bench.write(changes);
                    }
                }
            }
        }
        while let Some(start) = self.bench.queue.next(self.bench.now) {
            self.check_start(start);
            self.under_way.insert(start.seq);
        }
        assert!(self.under_way.len() <= 3);
    }

    fn check_start(&self, start: Start) {
        let seq = start.seq;
        let lane = self.lane(seq).expect("only members are started");
        assert!(!self.under_way.contains(&seq), "{seq:?} twice at once");
        assert!(self.under_way.iter().all(|other| self.lane(*other) != Some(lane)), "two of one lane");
        for earlier in (1..seq.0).map(Seq).filter(|earlier| self.lane(*earlier) == Some(lane)) {
            assert!(self.settled.contains(&earlier), "{seq:?} overtakes {earlier:?}");
        }
        assert!(!self.settled.contains(&seq), "{seq:?} again after it was settled");
        let members = (1..=seq.0).filter(|other| self.lane(Seq(*other)).is_some()).count();
        assert_eq!(start.ordinal, members as u64, "ordinals are dense and lasting");
        if let Some(due) = self.due.get(&seq) {
            assert!(self.bench.now.mono >= *due, "{seq:?} before its time");
        }
    }

    fn answer(&mut self, at: usize, answer: Answer, lost: bool) {
        let Some(seq) = self.under_way.iter().nth(at).copied() else { return };
        self.under_way.remove(&seq);
        let outcome = answer.outcome();
        let changes = self.bench.queue.finish(seq, &outcome, self.bench.now, Jitter(0));
        if let Outcome::Delivered = outcome {
            self.delivered.insert(seq);
        }
        if lost {
            return self.crash();
        }
        let dead = |(row, entry): &(Seq, Entry)| *row == seq && matches!(entry.state, DeliveryState::Dead { .. });
        if matches!(outcome, Outcome::Delivered) || changes.rows.iter().any(dead) {
            self.settled.insert(seq);
            self.settled_written.insert(seq);
        }
        self.bench.write(changes);
        self.due.clear();
        for (seq, entry) in &self.bench.rows {
            if let DeliveryState::Waiting { due, .. } = entry.state {
                self.due.insert(*seq, due);
            }
        }
    }

    fn crash(&mut self) {
        self.bench.crash();
        self.under_way.clear();
        self.settled = self.settled_written.clone();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Log(lane) => self.log.push(lane),
            Step::Dispatch => self.dispatch(),
            Step::Answer(at, answer) => self.answer(at, answer, false),
            Step::AnswerLost(at, answer) => self.answer(at, answer, true),
            Step::Wait(seconds) => self.bench.pass_seconds(u64::from(seconds)),
            Step::Crash => self.crash(),
            Step::Redrive(at) => {
                let dead = |(_, entry): &(&Seq, &Entry)| matches!(entry.state, DeliveryState::Dead { .. });
                let Some(seq) = self.bench.rows.iter().filter(dead).map(|(seq, _)| *seq).nth(at) else { return };
                self.settled.remove(&seq);
                self.settled_written.remove(&seq);
                let changes = self.bench.queue.redrive(seq).expect("it is dead here");
                self.bench.write(changes);
            }
            Step::NewSettings => {
                let schedule = self.bench.schedule.clone();
                let changes = self.bench.queue.settings_changed(schedule, self.bench.now);
                self.bench.write(changes);
            }
        }
    }

    /// What is on disk must account for every event at every moment.
    fn check_disk(&self) {
        for seq in (1..=self.bench.cursor.0).map(Seq).filter(|seq| self.lane(*seq).is_some()) {
            let has_row = self.bench.rows.contains_key(&seq);
            assert!(has_row || self.delivered.contains(&seq), "{seq:?} is lost");
        }
        let open = self.bench.rows.values().filter(|entry| !entry.state.is_settled()).count();
        assert!(open <= AHEAD_EVENTS_MAX + 4, "{open} rows");
        assert!(self.bench.rows.keys().all(|seq| *seq <= self.bench.cursor));
    }

    /// The receiver is well again: everything must come to an end.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.dispatch();
            if !self.under_way.is_empty() {
                self.answer(0, Answer::Delivered, false);
            } else if let Some(at) = self.bench.queue.deadline(self.bench.now) {
                self.bench.now.mono = at;
            } else {
                break;
            }
            self.check_disk();
        }
        for seq in (1..=self.log.len() as i64).map(Seq).filter(|seq| self.lane(*seq).is_some()) {
            let dead = self.bench.rows.get(&seq).is_some_and(|entry| entry.state.is_settled());
            assert!(dead || self.delivered.contains(&seq), "{seq:?} is neither delivered nor dead");
        }
        assert!(self.bench.rows.values().all(|entry| entry.state.is_settled()));
        assert_eq!(self.bench.queue.view().undone, 0);
    }
}

fn live(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
        world.check_disk();
    }
    world.drain();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_nothing_overtakes_and_everything_ends(steps in steps()) {
        live(steps);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn the_model_sees_a_planted_overtaking() {
    use crate::mutants::{Mutant, plant};
    use proptest::test_runner::TestRunner;
    let config =
        ProptestConfig { cases: 500, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() };
    plant(Some(Mutant::LaneOvertakes));
    let seen = TestRunner::new_with_rng(config, TestRunner::deterministic().rng().clone()).run(&steps(), |steps| {
        live(steps);
        Ok(())
    });
    plant(None);
    assert!(seen.is_err_and(|error| error.to_string().contains("overtakes")));
}
