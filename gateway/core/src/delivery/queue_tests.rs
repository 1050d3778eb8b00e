//! What the queue promises, one sentence a test.

use super::*;
use crate::event::{Lane, Seq};
use std::collections::BTreeMap;

/// A queue, its written state, and a clock that only this moves.
pub(super) struct Bench {
    pub queue: Queue,
    pub now: Now,
    pub schedule: RetrySchedule,
    pub limits: Limits,
    pub cursor: Seq,
    pub ordinal: u64,
    pub live: Option<LivePart>,
    pub rows: BTreeMap<Seq, Entry>,
    /// Rows put or removed so far.
    pub row_writes: usize,
}

pub(super) fn limits(concurrency: usize, ahead_events_max: usize) -> Limits {
    Limits { concurrency, ahead_events_max, batch: 1, backfill_per_second_max: None }
}

pub(super) fn seconds(list: &[u64]) -> Vec<Duration> {
    list.iter().copied().map(Duration::from_secs).collect()
}

impl Bench {
    pub fn new(delays: &[u64], concurrency: usize) -> Bench {
        Bench::with(RetrySchedule::table(seconds(delays)), limits(concurrency, 16))
    }

    pub fn with(schedule: RetrySchedule, limits: Limits) -> Bench {
        let now = Now { mono: Mono(1_000_000_000_000), ..Now::default() };
        let queue = Queue::new(schedule.clone(), limits, (Seq(0), 0), None, [], now);
        let (cursor, ordinal, rows) = (Seq(0), 0, BTreeMap::new());
        Bench { queue, now, schedule, limits, cursor, ordinal, live: None, rows, row_writes: 0 }
    }

    /// The power goes: only what was written is left.
    pub fn crash(&mut self) {
        let rows = self.rows.clone();
        let position = (self.cursor, self.ordinal);
        self.queue = Queue::new(self.schedule.clone(), self.limits, position, self.live, rows, self.now);
    }

    pub fn write(&mut self, changes: Changes) {
        for (seq, entry) in changes.rows {
            self.row_writes += 1;
            match entry.state {
                DeliveryState::Delivered { .. } => drop(self.rows.remove(&seq)),
                _ => drop(self.rows.insert(seq, entry)),
            }
        }
        if let Some((cursor, ordinal)) = changes.cursor {
            assert!(cursor >= self.cursor && ordinal >= self.ordinal, "the cursor never goes back");
            (self.cursor, self.ordinal) = (cursor, ordinal);
        }
        match changes.live {
            Some(LiveMove::At(live)) => {
                let before = self.live.replace(live).unwrap_or(live);
                assert!(before.split == live.split && live.cursor >= before.cursor, "nor does the live part's");
            }
            Some(LiveMove::Merged) => {
                let live = self.live.take().expect("two parts are made one");
                assert!(self.cursor >= live.cursor && self.ordinal >= live.ordinal, "{live:?} is forgotten");
            }
            None => {}
        }
    }

    pub fn offer(&mut self, events: &[(i64, &str)]) {
        for (seq, lane) in events {
            self.queue.offer(Seq(*seq), Lane((*lane).to_owned()), self.now);
        }
    }

    pub fn pass_seconds(&mut self, count: u64) {
        self.now.mono = self.now.mono.after(Duration::from_secs(count));
    }

    /// The seqs that may start now.
    pub fn started(&mut self) -> Vec<i64> {
        std::iter::from_fn(|| self.queue.next(self.now)).map(|start| start.seq.0).collect()
    }

    pub fn finish(&mut self, seq: i64, outcome: Outcome) -> Changes {
        let changes = self.queue.finish(Seq(seq), &outcome, self.now, Jitter(0));
        self.write(changes.clone());
        changes
    }

    /// Seconds until the queue wants to be asked again.
    pub fn wait(&self) -> Option<u64> {
        self.queue.deadline(self.now).map(|at| at.since(self.now.mono).as_secs())
    }

    fn state(&self, seq: i64) -> &DeliveryState {
        &self.rows[&Seq(seq)].state
    }
}

fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, "as the test says")
}

pub(super) fn retryable() -> Outcome {
    Outcome::Retryable { reason: reason(ReasonCode::ServerError), retry_after: None }
}

pub(super) fn held() -> Outcome {
    Outcome::Held { reason: reason(ReasonCode::Unauthorized) }
}

pub(super) fn rejected() -> Outcome {
    Outcome::Rejected { reason: reason(ReasonCode::Refused) }
}

pub(super) fn no_network() -> Outcome {
    Outcome::NoNetwork { reason: reason(ReasonCode::NoNetwork) }
}

#[test]
fn a_first_success_in_order_costs_a_cursor_move_and_no_row() {
    let mut bench = Bench::new(&[0, 5], 1);
    bench.offer(&[(3, "a"), (7, "a"), (9, "b")]);
    for (seq, cursor, ordinal) in [(3, 6, 1), (7, 8, 2), (9, 9, 3)] {
        assert_eq!(bench.started(), [seq]);
        let changes = bench.finish(seq, Outcome::Delivered);
        assert_eq!((changes.rows.len(), changes.cursor), (0, Some((Seq(cursor), ordinal))));
    }
    assert_eq!(bench.row_writes, 0);
}

#[test]
fn the_cursor_passes_undone_events_only_with_their_rows() {
    let mut bench = Bench::new(&[0, 5], 4);
    bench.offer(&[(1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "d")]);
    assert_eq!(bench.started(), [1, 2, 4, 5]);
    let changes = bench.finish(4, Outcome::Delivered);
    assert_eq!(changes.rows.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(bench.cursor, Seq(4));
    bench.finish(1, Outcome::Delivered);
    assert_eq!(bench.rows.keys().map(|seq| seq.0).collect::<Vec<_>>(), [2, 3]);
    bench.crash();
    bench.offer(&[(5, "d")]);
    assert_eq!(bench.started(), [2, 5], "what was under way is made again, what was done is not");
}

#[test]
fn one_lane_goes_in_order_and_the_others_do_not_wait() {
    let mut bench = Bench::new(&[0, 5, 60], 4);
    bench.offer(&[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(bench.started(), [1, 3]);
    bench.finish(1, retryable());
    assert_eq!(bench.started(), [] as [i64; 0], "2 waits for 1");
    assert_eq!(bench.wait(), Some(5));
    bench.finish(3, Outcome::Delivered);
    bench.pass_seconds(5);
    assert_eq!(bench.started(), [1]);
    bench.finish(1, rejected());
    assert_eq!(bench.started(), [2], "a lane goes on past a dead event");
}

#[test]
fn retries_keep_the_table_to_the_second_across_restarts() {
    let week = [0, 300, 600, 1_800, 3_600, 14_400, 43_200, 86_400, 129_600, 172_800, 259_200];
    let mut bench = Bench::new(&week, 2);
    bench.offer(&[(1, "a")]);
    for (attempt, delay) in week.into_iter().enumerate() {
        assert_eq!(bench.wait(), Some(delay), "attempt {attempt}");
        if delay > 0 {
            bench.pass_seconds(delay - 1);
            assert_eq!(bench.started(), [] as [i64; 0]);
            bench.pass_seconds(1);
        }
        let start = bench.queue.next(bench.now).expect("due");
        assert_eq!(start.attempt as usize, attempt + 1);
        assert!(bench.finish(1, retryable()).counted);
        bench.crash();
    }
    assert!(matches!(bench.state(1), DeliveryState::Dead { attempts: 11, .. }));
}

#[test]
fn a_first_delay_counts_from_the_offer() {
    let mut bench = Bench::new(&[30, 60], 2);
    bench.offer(&[(1, "a")]);
    assert_eq!((bench.started().len(), bench.wait()), (0, Some(30)));
    bench.pass_seconds(30);
    assert_eq!(bench.started(), [1]);
}

#[test]
fn retry_after_is_honoured_to_the_second() {
    let mut bench = Bench::new(&[0, 5, 60], 2);
    bench.offer(&[(1, "a")]);
    bench.started();
    let reason = reason(ReasonCode::TooManyRequests);
    bench.finish(1, Outcome::Retryable { reason, retry_after: Some(Duration::from_secs(120)) });
    assert_eq!(bench.wait(), Some(120));
}

#[test]
fn due_retries_come_before_what_was_never_tried() {
    let mut bench = Bench::new(&[0, 5, 60], 2);
    bench.offer(&[(1, "a"), (2, "b")]);
    bench.started();
    bench.finish(2, retryable());
    bench.pass_seconds(1);
    bench.finish(1, retryable());
    bench.offer(&[(3, "c")]);
    bench.pass_seconds(5);
    assert_eq!(bench.started(), [2, 1], "by due time, and no more than two at once");
    bench.finish(2, Outcome::Delivered);
    assert_eq!(bench.started(), [3]);
}

#[test]
fn a_week_of_outage_costs_no_more_rows_than_it_takes_to_see_it() {
    let mut bench = Bench::new(&[0, 86_400, 604_800], 1);
    for seq in 1..=16 {
        bench.offer(&[(seq, &format!("lane {seq}"))]);
    }
    let mut requests = 0;
    let end = bench.now.mono.after(Duration::from_secs(604_800));
    while bench.now.mono < end {
        for seq in bench.started() {
            requests += 1;
            bench.finish(seq, retryable());
        }
        assert_eq!(bench.queue.wants_events(), None);
        bench.now.mono = bench.queue.deadline(bench.now).expect("a probe");
    }
    assert_eq!((bench.rows.len(), bench.cursor), (5, Seq(5)));
    assert!(requests < 1_100, "{requests}: a probe each ten minutes, no more");
    assert!(bench.queue.view().breaker.is_some());

    assert_eq!(bench.started().len(), 1);
    bench.finish(6, Outcome::Delivered);
    assert_eq!(bench.queue.view().breaker, None, "one success and everything flows");
    assert_eq!(bench.started(), [7]);
}

#[test]
fn probes_come_at_30_s_and_double_to_10_min() {
    let mut bench = Bench::new(&[0, 86_400, 86_400], 4);
    bench.offer(&[(1, "a"), (2, "b")]);
    assert_eq!(bench.started(), [1, 2]);
    bench.finish(1, held());
    bench.finish(2, Outcome::Delivered);
    assert!(bench.queue.view().breaker.is_some(), "an answer to an older attempt does not close it");
    let writes = bench.row_writes;
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        assert_eq!(bench.wait(), Some(pause));
        bench.pass_seconds(pause);
        let start = bench.queue.next(bench.now).expect("a probe");
        assert_eq!((start.seq, start.attempt), (Seq(1), 2), "a failed probe is not counted");
        assert!(!bench.finish(1, held()).counted);
    }
    assert_eq!(bench.row_writes, writes, "and writes nothing");
    bench.pass_seconds(600);
    assert_eq!(bench.started(), [1]);
    bench.finish(1, Outcome::Delivered);
    assert_eq!(bench.queue.view(), DestinationView::default());
}

#[test]
fn a_success_releases_what_was_held_and_so_do_new_settings() {
    for by_settings in [false, true] {
        let mut bench = Bench::new(&[0, 86_400], 3);
        bench.offer(&[(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(bench.started(), [1, 2, 3]);
        (1..=3).for_each(|seq| drop(bench.finish(seq, held())));
        assert_eq!(bench.queue.view().held, 3);
        if by_settings {
            let changes = bench.queue.settings_changed(bench.schedule.clone(), bench.now);
            bench.write(changes);
            assert_eq!(bench.started(), [1, 2, 3]);
        } else {
            bench.crash();
            assert_eq!(bench.started(), [1], "after a restart one probe at once");
            bench.finish(1, Outcome::Delivered);
            assert_eq!(bench.started(), [2, 3]);
        }
        assert!(matches!(bench.state(2), DeliveryState::Waiting { attempts: 1, .. }));
    }
}

#[test]
fn a_refusal_shows_that_the_endpoint_answers() {
    let mut bench = Bench::new(&[0, 86_400], 1);
    bench.offer(&[(1, "a"), (2, "b")]);
    bench.started();
    bench.finish(1, held());
    bench.pass_seconds(30);
    assert_eq!(bench.started(), [1]);
    bench.finish(1, rejected());
    assert_eq!(bench.started(), [2]);
    assert!(matches!(bench.state(1), DeliveryState::Dead { .. }));
}

#[test]
fn the_twenty_first_refusal_in_a_row_is_kept() {
    let mut bench = Bench::with(RetrySchedule::table(seconds(&[0, 5])), limits(1, 64));
    (1..=30).for_each(|seq| bench.offer(&[(seq, &format!("lane {}", seq % 6))]));
    for seq in 1..=21 {
        assert_eq!(bench.started(), [seq]);
        bench.finish(seq, rejected());
    }
    assert!(matches!(bench.state(20), DeliveryState::Dead { .. }));
    let DeliveryState::Held { reason, .. } = bench.state(21) else { panic!("{:?}", bench.state(21)) };
    assert!(reason.detail.contains("one event after the other"), "{reason}");
    for restart in [false, true] {
        if restart {
            bench.crash();
        }
        bench.pass_seconds(60);
        assert_eq!(bench.started(), [21]);
        bench.finish(21, rejected());
        assert!(matches!(bench.state(21), DeliveryState::Held { .. }), "still, restart: {restart}");
    }
    bench.pass_seconds(600);
    assert_eq!(bench.started(), [21]);
    bench.finish(21, Outcome::Delivered);
    assert_eq!(bench.queue.view().breaker, None);
}

#[test]
fn refusals_of_one_test_hold_nothing() {
    let mut bench = Bench::with(RetrySchedule::table(seconds(&[0, 5])), limits(1, 64));
    (1..=30).for_each(|seq| bench.offer(&[(seq, "a")]));
    for seq in 1..=30 {
        assert_eq!(bench.started(), [seq]);
        bench.finish(seq, rejected());
    }
    assert_eq!((bench.queue.view().dead, bench.queue.view().breaker), (30, None));
}

#[test]
fn time_without_network_stops_the_schedule() {
    let mut bench = Bench::new(&[0, 300, 86_400], 2);
    bench.offer(&[(1, "a"), (2, "b")]);
    bench.started();
    bench.finish(1, retryable());
    bench.pass_seconds(100);
    assert!(!bench.finish(2, no_network()).counted);
    for _ in 0..1_000 {
        assert_eq!(bench.wait(), Some(5));
        bench.pass_seconds(5);
        assert_eq!(bench.started(), [2], "the oldest whose turn it is, never one that still waits");
        bench.finish(2, no_network());
    }
    assert_eq!(bench.queue.view().breaker.map(|reason| reason.code), Some(ReasonCode::NoNetwork));
    bench.pass_seconds(5);
    bench.started();
    bench.finish(2, Outcome::Delivered);
    assert_eq!(bench.wait(), Some(200), "what was left of the 300 s when the network went");
    bench.crash();
    assert_eq!(bench.wait(), Some(200));
}

#[test]
fn a_redriven_event_keeps_its_ordinal_is_marked_and_gets_its_whole_table() {
    let mut bench = Bench::new(&[0, 5], 2);
    bench.offer(&[(1, "a"), (2, "a")]);
    bench.started();
    bench.finish(1, rejected());
    let changes = bench.queue.redrive(Seq(1)).expect("it is dead here");
    bench.write(changes);
    bench.crash();
    let start = bench.queue.next(bench.now).expect("at once");
    assert_eq!(start, Start { seq: Seq(1), ordinal: 1, attempt: 1, redriven: true, historical: false });
    bench.finish(1, retryable());
    assert_eq!(bench.wait(), Some(5));
}

#[test]
fn what_has_no_form_is_done_without_an_attempt() {
    let mut bench = Bench::new(&[0, 5], 2);
    bench.offer(&[(1, "a"), (2, "a")]);
    bench.started();
    let changes = bench.queue.pass(Seq(1));
    assert_eq!((changes.cursor, changes.rows.len(), changes.counted), (Some((Seq(1), 1)), 0, false));
    assert_eq!(bench.started(), [2]);
}

#[test]
fn looking_through_the_events_of_others_is_written_now_and_then() {
    let mut bench = Bench::new(&[0, 5], 2);
    assert!(bench.queue.skip_to(Seq(1_023)).is_empty());
    assert_eq!(bench.queue.looked(), Seq(1_023));
    assert_eq!(bench.queue.skip_to(Seq(1_024)).cursor, Some((Seq(1_024), 0)));
    bench.offer(&[(1_030, "a")]);
    assert!(bench.queue.skip_to(Seq(9_000)).is_empty(), "an undone event stands before it");
    bench.started();
    assert_eq!(bench.finish(1_030, Outcome::Delivered).cursor, Some((Seq(9_000), 1)));
}

#[test]
fn no_more_events_are_wanted_than_the_bound() {
    let mut bench = Bench::new(&[0, 5], 2);
    assert_eq!(bench.queue.wants_events(), Some(16));
    (1..=16).for_each(|seq| bench.offer(&[(seq, "a")]));
    assert_eq!(bench.queue.wants_events(), None);
    bench.started();
    bench.finish(1, Outcome::Delivered);
    assert_eq!(bench.queue.wants_events(), Some(1));
}

#[test]
fn our_own_fault_says_nothing_about_the_endpoint() {
    let mut bench = Bench::new(&[0, 5], 1);
    bench.offer(&[(1, "a"), (2, "b")]);
    bench.started();
    bench.finish(1, held());
    bench.pass_seconds(30);
    bench.started();
    bench.finish(1, Outcome::Rejected { reason: reason(ReasonCode::CannotRender) });
    assert!(bench.queue.view().breaker.is_some());
    assert_eq!(bench.started(), [2], "the next one probes at once");
}
