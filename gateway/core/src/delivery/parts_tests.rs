//! What the queue promises about requests of several events, about a backlog beside live events, and about single held events.

use super::queue_tests::{Bench, limits, rejected, retryable, seconds};
use super::*;
use crate::event::Seq;

fn batching(batch: usize, concurrency: usize) -> Bench {
    Bench::with(RetrySchedule::table(seconds(&[0, 5, 60])), Limits { batch, ..limits(concurrency, 64) })
}

/// The requests that may go now, each with its events.
fn requests(bench: &mut Bench) -> Vec<Vec<i64>> {
    let mut requests = Vec::new();
    while let Some(leader) = bench.queue.next(bench.now) {
        let mut request = vec![leader.seq.0];
        request.extend(bench.queue.company(leader.seq, bench.now).iter().map(|start| start.seq.0));
        request.sort_unstable();
        requests.push(request);
    }
    requests
}

#[test]
fn a_request_takes_the_following_of_its_lane_and_the_free_lanes_in_the_order_of_the_log() {
    let mut bench = batching(4, 2);
    bench.offer(&[(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a"), (6, "d"), (7, "e")]);
    assert_eq!(requests(&mut bench), [vec![1, 2, 3, 4], vec![6, 7]], "5 waits for its lane");
    assert_eq!(bench.queue.next(bench.now), None, "two requests are two, whatever they hold");
    let changes = bench.finish(1, Outcome::Delivered);
    assert_eq!((changes.cursor, changes.rows.len()), (Some((Seq(4), 4)), 0), "they end together");
    bench.finish(6, retryable());
    assert_eq!(requests(&mut bench), [vec![5]], "6 and 7 wait for their table");
    assert_eq!(bench.rows.len(), 3, "5 was passed, 6 and 7 failed");
}

#[test]
fn a_refused_request_of_several_is_the_verdict_of_none_of_them() {
    let mut bench = batching(8, 1);
    (1..=8).for_each(|seq| bench.offer(&[(seq, "a")]));
    assert_eq!(requests(&mut bench), [(1..=8).collect::<Vec<_>>()]);
    for (events, first) in [(4, 1), (2, 1), (1, 1)] {
        let changes = bench.finish(first, rejected());
        assert!(!changes.counted && changes.is_empty());
        assert_eq!(requests(&mut bench), [(1..=events).collect::<Vec<_>>()], "at once, with fewer");
    }
    bench.finish(1, rejected());
    assert!(matches!(bench.rows[&Seq(1)].state, DeliveryState::Dead { .. }), "singly the verdict counts");
    for seq in 2..=8 {
        assert_eq!(requests(&mut bench), [vec![seq]]);
        bench.finish(seq, Outcome::Delivered);
    }
    (9..=16).for_each(|seq| bench.offer(&[(seq, "a")]));
    requests(&mut bench);
    bench.finish(9, Outcome::Delivered);
    assert_eq!(requests(&mut bench), [vec![10, 11]], "after eight successes twice as many");
}

#[test]
fn a_probe_goes_alone() {
    let mut bench = batching(8, 1);
    (1..=8).for_each(|seq| bench.offer(&[(seq, "a")]));
    requests(&mut bench);
    bench.finish(1, Outcome::Held { reason: Reason::new(ReasonCode::Unauthorized, "401") });
    bench.pass_seconds(30);
    assert_eq!(requests(&mut bench), [vec![1]]);
}

/// Ten events of three lanes undone, of which the endpoint had the first two, and then it is well again.
fn after_an_outage(per_second: Option<u32>) -> Bench {
    let limits = Limits { backfill_per_second_max: per_second, ..limits(2, 8) };
    let mut bench = Bench::with(RetrySchedule::table(seconds(&[0, 5, 60])), limits);
    bench.offer(&[(1, "a"), (2, "b")]);
    assert!(bench.queue.may_set_apart(), "a start is a look");
    let changes = bench.queue.set_apart(Seq(10), 10);
    bench.write(changes);
    bench
}

#[test]
fn live_events_go_first_and_the_backlog_at_its_pace() {
    let mut bench = after_an_outage(Some(1));
    assert_eq!(bench.queue.wants_backlog(), Some(2), "each part has its half of the room");
    assert_eq!(bench.queue.wants_events(), Some(4));
    bench.offer(&[(11, "x"), (12, "y"), (3, "c"), (4, "d")]);
    assert_eq!(bench.started(), [11, 12]);
    bench.finish(11, Outcome::Delivered);
    bench.finish(12, Outcome::Delivered);
    assert_eq!((bench.cursor, bench.live.map(|live| (live.cursor, live.ordinal))), (Seq(0), Some((Seq(12), 12))));
    for seq in [1, 2, 3] {
        let start = bench.queue.next(bench.now).expect("the backlog goes on");
        assert_eq!((start.seq, start.ordinal, start.historical), (Seq(seq), seq as u64, true));
        assert_eq!((bench.queue.next(bench.now), bench.wait()), (None, Some(1)), "one a second");
        bench.finish(seq, Outcome::Delivered);
        bench.pass_seconds(1);
    }
    assert!(bench.rows.is_empty(), "no row for what went in order");
}

#[test]
fn a_live_event_waits_for_what_its_lane_has_in_the_backlog() {
    let mut bench = after_an_outage(None);
    bench.offer(&[(11, "c"), (12, "y")]);
    bench.queue.wait_for(Seq(11), Seq(3));
    assert_eq!(bench.started(), [12, 1], "3 is not even read yet");
    bench.finish(1, Outcome::Delivered);
    bench.offer(&[(3, "c")]);
    assert_eq!(bench.started(), [2]);
    bench.finish(12, Outcome::Delivered);
    assert_eq!(bench.started(), [3]);
    bench.finish(2, Outcome::Delivered);
    assert_eq!(bench.started(), [] as [i64; 0], "now it waits as any event of a lane does");
    bench.finish(3, Outcome::Delivered);
    assert_eq!(bench.started(), [11]);
}

#[test]
fn the_parts_become_one_and_the_mark_outlives_them() {
    let mut bench = after_an_outage(None);
    bench.offer(&[(11, "x")]);
    assert_eq!(bench.started(), [11, 1]);
    bench.finish(11, Outcome::Delivered);
    bench.finish(1, retryable());
    for seq in 2..=10 {
        bench.offer(&[(seq, &format!("lane {seq}"))]);
        assert_eq!(bench.started(), [seq]);
        assert!(bench.live.is_some());
        bench.finish(seq, Outcome::Delivered);
        if seq == 5 {
            bench.crash();
        }
    }
    assert_eq!((bench.live, bench.cursor, bench.ordinal), (None, Seq(11), 11));
    assert_eq!(bench.rows.keys().collect::<Vec<_>>(), [&Seq(1)]);
    bench.crash();
    bench.offer(&[(12, "z")]);
    bench.pass_seconds(5);
    let starts = [bench.queue.next(bench.now), bench.queue.next(bench.now)].map(|start| start.expect("both are due"));
    assert_eq!(starts.map(|start| (start.seq.0, start.ordinal, start.historical)), [(12, 12, false), (1, 1, true)]);
}

#[test]
fn no_second_backlog_is_set_apart_beside_the_first() {
    let bench = after_an_outage(None);
    assert!(!bench.queue.may_set_apart());
}

#[test]
fn settings_that_cannot_write_an_event_hold_that_event_alone_until_they_change() {
    let mut bench = Bench::new(&[0, 5], 1);
    bench.offer(&[(1, "a"), (2, "b"), (3, "a")]);
    assert_eq!(bench.started(), [1]);
    bench.finish(1, Outcome::Held { reason: Reason::new(ReasonCode::BadSettings, "line 3 of the template") });
    let view = bench.queue.view();
    assert_eq!((view.breaker, view.held), (None, 1));
    assert!(view.held_for.is_some_and(|reason| reason.detail.contains("line 3")));
    assert_eq!(bench.started(), [2], "the other lanes go on");
    bench.finish(2, Outcome::Delivered);
    assert_eq!((bench.started(), bench.wait()), (vec![], None), "and its own lane waits");
    bench.crash();
    assert_eq!(bench.started(), [1], "a restart has the settings of now");
    bench.finish(1, Outcome::Delivered);
    bench.offer(&[(3, "a")]);
    assert_eq!(bench.started(), [3]);
}

#[test]
fn what_is_redriven_while_it_is_under_way_is_marked_and_begins_its_table_anew() {
    let mut bench = Bench::new(&[0, 5, 60], 1);
    bench.offer(&[(1, "a")]);
    bench.started();
    bench.finish(1, retryable());
    bench.pass_seconds(5);
    assert_eq!(bench.started(), [1]);
    let changes = bench.queue.redrive(Seq(1)).expect("it is known");
    bench.write(changes);
    bench.finish(1, retryable());
    let row = &bench.rows[&Seq(1)];
    assert!(row.redriven && matches!(row.state, DeliveryState::Waiting { attempts: 1, .. }), "{row:?}");
}
