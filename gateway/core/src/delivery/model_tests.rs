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
    /// A delivered event is wanted again.
    Resend(usize),
    /// What the log holds now becomes a backlog, if that may be.
    SetApart,
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
        1 => (0..4_usize).prop_map(Step::Resend),
        3 => Just(Step::SetApart),
        1 => Just(Step::NewSettings),
    ];
    proptest::collection::vec(step, 0..160)
}

struct World {
    bench: Bench,
    log: Vec<Option<u8>>,
    /// Requests: who leads, and the events in it.
    under_way: Vec<(Seq, Vec<Seq>)>,
    /// Settled in memory, and settled on disk.
    settled: BTreeSet<Seq>,
    settled_written: BTreeSet<Seq>,
    delivered: BTreeSet<Seq>,
    due: BTreeMap<Seq, Mono>,
    /// How often somebody sent an event again.
    sent_again: usize,
}

impl World {
    fn new() -> World {
        let limits = Limits { batch: 3, ..limits(3, AHEAD_EVENTS_MAX) };
        World {
            bench: Bench::with(RetrySchedule::table(seconds(&[0, 5, 60, 300])), limits),
            log: Vec::new(),
            under_way: Vec::new(),
            settled: BTreeSet::new(),
            settled_written: BTreeSet::new(),
            delivered: BTreeSet::new(),
            due: BTreeMap::new(),
            sent_again: 0,
        }
    }

    fn lane(&self, seq: Seq) -> Option<u8> {
        self.log[seq.0 as usize - 1]
    }

    fn members(&self, through: Seq) -> u64 {
        (1..=through.0).filter(|seq| self.lane(Seq(*seq)).is_some()).count() as u64
    }

    /// Reads as a dispatcher does, then starts, checking every rule about starts.
    fn dispatch(&mut self) {
        if let Some(room) = self.bench.queue.wants_events() {
            self.show(self.bench.queue.looked(), room, Seq(self.log.len() as i64));
        }
        if let Some(room) = self.bench.queue.wants_backlog() {
            let split = self.bench.queue.split().expect("there is a backlog");
            self.show(self.bench.queue.looked_in_backlog(), room, split);
        }
        while let Some(leader) = self.bench.queue.next(self.bench.now) {
            let mut starts = vec![leader];
            starts.extend(self.bench.queue.company(leader.seq, self.bench.now));
            starts.sort_by_key(|start| start.seq);
            assert!(starts.len() <= 3, "more than a batch");
            let request: Vec<Seq> = starts.iter().map(|start| start.seq).collect();
            starts.iter().for_each(|start| self.check_start(*start, &request));
            self.under_way.push((leader.seq, request));
        }
        assert!(self.under_way.len() <= 3);
    }

    fn show(&mut self, from: Seq, mut room: usize, through: Seq) {
        for seq in (from.0 + 1..=through.0).map(Seq) {
            if room == 0 {
                break;
            }
            match self.lane(seq) {
                Some(lane) => {
                    self.bench.queue.offer(seq, Lane(lane.to_string()), self.bench.now);
                    self.mind_backlog(seq);
                    room -= 1;
                }
                None => {
                    let changes = self.bench.queue.skip_to(seq);
                    self.bench.write(changes);
                }
            }
        }
    }

    fn mind_backlog(&mut self, seq: Seq) {
        let Some(split) = self.bench.queue.split().filter(|split| seq > *split) else { return };
        if let Some(earlier) = (1..=split.0).rev().map(Seq).find(|earlier| self.lane(*earlier) == self.lane(seq)) {
            self.bench.queue.wait_for(seq, earlier);
        }
    }

    fn set_apart(&mut self) {
        if self.bench.queue.may_set_apart() {
            let head = Seq(self.log.len() as i64);
            let changes = self.bench.queue.set_apart(head, self.members(head));
            self.bench.write(changes);
        }
    }

    fn check_start(&self, start: Start, request: &[Seq]) {
        let seq = start.seq;
        let lane = self.lane(seq).expect("only members are started");
        let mut others = self.under_way.iter().flat_map(|(_, request)| request);
        assert!(others.clone().all(|other| *other != seq), "{seq:?} twice at once");
        assert!(others.all(|other| self.lane(*other) != Some(lane)), "two of one lane");
        for earlier in (1..seq.0).map(Seq).filter(|earlier| self.lane(*earlier) == Some(lane)) {
            let done = self.settled.contains(&earlier) || request.contains(&earlier);
            assert!(done, "{seq:?} overtakes {earlier:?}");
        }
        assert!(!self.settled.contains(&seq), "{seq:?} again after it was settled");
        assert_eq!(start.ordinal, self.members(seq), "ordinals are dense and lasting");
        if let Some(due) = self.due.get(&seq) {
            assert!(self.bench.now.mono >= *due, "{seq:?} before its time");
        }
        if let Some(split) = self.bench.queue.split().filter(|_| !start.redriven) {
            assert_eq!(start.historical, seq <= split, "{seq:?}");
        }
    }

    fn answer(&mut self, at: usize, answer: Answer, lost: bool) {
        if at >= self.under_way.len() {
            return;
        }
        let (leader, request) = self.under_way.remove(at);
        let outcome = answer.outcome();
        let changes = self.bench.queue.finish(leader, &outcome, self.bench.now, Jitter(0));
        if let Outcome::Delivered = outcome {
            self.delivered.extend(&request);
        }
        if lost {
            return self.crash();
        }
        for seq in request {
            let dead = |(row, entry): &(Seq, Entry)| *row == seq && matches!(entry.state, DeliveryState::Dead { .. });
            if matches!(outcome, Outcome::Delivered) || changes.rows.iter().any(dead) {
                self.settled.insert(seq);
                self.settled_written.insert(seq);
            }
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
        for seq in self.bench.queue.live_events() {
            self.mind_backlog(seq);
        }
    }

    /// A delivered event is to be sent again: its row comes into the store beside the queue.
    fn resend(&mut self, at: usize) {
        let covered = |seq: &&Seq| self.bench.has_passed(**seq) && !self.bench.rows.contains_key(seq);
        let Some(seq) = self.delivered.iter().filter(covered).nth(at).copied() else { return };
        let lane = Lane(self.lane(seq).expect("a member").to_string());
        let state = DeliveryState::Queued { attempts: 0 };
        let entry = Entry { ordinal: self.members(seq), lane, state, redriven: true, historical: false };
        self.bench.rows.insert(seq, entry.clone());
        self.settled.remove(&seq);
        self.settled_written.remove(&seq);
        self.sent_again += 1;
        self.bench.queue.adopt(seq, entry);
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
                self.sent_again += 1;
                self.due.remove(&seq);
                let changes = self.bench.queue.redrive(seq).expect("it is dead here");
                self.bench.write(changes);
            }
            Step::Resend(at) => self.resend(at),
            Step::SetApart => self.set_apart(),
            Step::NewSettings => {
                let schedule = self.bench.schedule.clone();
                let changes = self.bench.queue.settings_changed(schedule, self.bench.now);
                self.bench.write(changes);
            }
        }
    }

    /// What is on disk must account for every event at every moment.
    fn check_disk(&self) {
        let passed = (1..=self.log.len() as i64).map(Seq).filter(|seq| self.bench.has_passed(*seq));
        for seq in passed.filter(|seq| self.lane(*seq).is_some()) {
            let has_row = self.bench.rows.contains_key(&seq);
            assert!(has_row || self.delivered.contains(&seq), "{seq:?} is lost");
        }
        let open = self.bench.rows.values().filter(|entry| !entry.state.is_settled()).count();
        assert!(open <= AHEAD_EVENTS_MAX + self.sent_again, "{open} rows");
        assert!(self.bench.rows.keys().all(|seq| self.bench.has_passed(*seq)));
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
        assert!(self.log.iter().flatten().count() as u64 >= self.bench.ordinal);
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
fn the_model_sees_each_planted_bug_of_the_queue() {
    use crate::mutants::{Mutant, plant};
    use proptest::test_runner::TestRunner;
    let bugs = [
        (Mutant::LaneOvertakes, "overtakes"),
        (Mutant::LiveOvertakesBacklog, "overtakes"),
        (Mutant::BacklogForgotten, "is lost"),
    ];
    for (bug, noticed) in bugs {
        let config =
            ProptestConfig { cases: 500, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() };
        plant(Some(bug));
        let seen = TestRunner::new_with_rng(config, TestRunner::deterministic().rng().clone()).run(&steps(), |steps| {
            live(steps);
            Ok(())
        });
        plant(None);
        assert!(seen.is_err_and(|error| error.to_string().contains(noticed)), "{bug:?}");
    }
}
