//! What goes by age and by size, what never goes, and clocks that are set late.

use super::*;
use gateway_core::config::{Limits, Retention};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{Lane, Seq};
use gateway_core::time::{ClockQuality, Timestamp};
use gateway_daemon::store::{AttemptNote, ReadStore, Record, Row, unsendable};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn limits(store_bytes_max: Option<u64>) -> Limits {
    Limits {
        frame_bytes_max: 65_536,
        message_bytes_max: 8 << 20,
        store_bytes_max,
        commit_linger_ms_max: 0,
        ahead_events_max: 256,
    }
}

const KEPT: Retention = Retention { attempts_kept_days: 14, captures_kept_days: 30, events_kept_days: 90 };
const DAY: Duration = Duration::from_secs(86_400);

fn held(seq: i64) -> Row {
    let state = DeliveryState::Held { attempts: 1, reason: Reason::new(ReasonCode::Certificate, "expired") };
    Row {
        seq: Seq(seq),
        ordinal: seq as u64,
        lane: Lane("a:hematology".into()),
        state,
        redriven: false,
        historical: false,
    }
}

fn note(place: &Place, seq: i64, reason: Option<Reason>) -> AttemptNote {
    let at = place.now().wall;
    AttemptNote {
        seq: Seq(seq),
        ordinal: None,
        number: 1,
        at,
        duration_ms: 12,
        status: Some(200),
        reason,
        answer: String::new(),
    }
}

#[test]
fn age_takes_delivered_things_only_and_each_in_its_time() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        for number in 1..=4 {
            store.commit(place.entry(b"bytes", &[(number, bare())], true)).await.unwrap();
        }
        let refused = Reason::new(ReasonCode::Certificate, "expired");
        let attempts = vec![note(&place, 1, None), note(&place, 2, Some(refused))];
        store
            .record(&mqtt(), Record { rows: vec![held(2)], attempts, cursor: Some((Seq(3), 3)), ..Record::default() })
            .await
            .unwrap();
        let sweep = async |days| {
            place.clock.pass(DAY * days);
            store.sweep(&limits(None), &KEPT, place.now(), id(1_000), || true).await.unwrap()
        };
        assert_eq!(sweep(13).await.attempts, 0);
        let swept = sweep(2).await;
        assert_eq!((swept.attempts, swept.captures, swept.events), (1, 0, 0));
        assert_eq!(store.attempts(&mqtt(), Seq(2)).await.unwrap().len(), 1);
        assert_eq!(sweep(16).await.captures, 2);
        assert_eq!(store.capture(Seq(2)).await.unwrap().unwrap(), b"bytes");
        let swept = sweep(60).await;
        assert_eq!(swept.events, 2, "2 has a row and 4 lies beyond the cursor");
        let left: Vec<_> = store.events_after(Seq(0), 10).await.unwrap().iter().map(|event| event.seq.0).collect();
        assert_eq!(left, [2, 4]);
        assert_eq!(store.head().borrow().0, 4);
    });
}

#[test]
fn nought_days_keep_everything_for_ever() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        store.commit(place.entry(b"bytes", &[(1, bare())], true)).await.unwrap();
        let attempts = vec![note(&place, 1, None)];
        store.record(&mqtt(), Record { attempts, cursor: Some((Seq(1), 1)), ..Record::default() }).await.unwrap();
        place.clock.pass(DAY * 10_000);
        let ever = Retention { attempts_kept_days: 0, captures_kept_days: 0, events_kept_days: 0 };
        let swept = store.sweep(&limits(None), &ever, place.now(), id(1_000), || true).await.unwrap();
        assert_eq!(swept, Default::default());
        assert_eq!(store.capture(Seq(1)).await.unwrap().unwrap(), b"bytes");
        let captures_go = Retention { captures_kept_days: 30, ..ever };
        let swept = store.sweep(&limits(None), &captures_go, place.now(), id(1_001), || true).await.unwrap();
        assert_eq!((swept.attempts, swept.captures, swept.events), (0, 1, 0));
    });
}

#[test]
fn a_box_that_wakes_up_in_1970_deletes_nothing_by_age() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let today = place.now();
        place.clock.set(Now { wall: Timestamp(5_000), quality: ClockQuality::Unset, ..today });
        store.commit(place.entry(b"bytes", &[(1, bare())], true)).await.unwrap();
        place.clock.set(today);
        let swept = store.sweep(&limits(None), &KEPT, place.now(), id(1_000), || true).await.unwrap();
        assert_eq!(swept, Default::default());
        assert_eq!(store.correct_clock(Seq(1), today, id(1_001)).await.unwrap(), None, "it was shown already");
        let seq = store.correct_clock(Seq(0), today, id(1_001)).await.unwrap().unwrap();
        let (mended, told) = (store.event(Seq(1)).await.unwrap().unwrap(), store.event(seq).await.unwrap().unwrap());
        assert_eq!((mended.received_at, mended.clock), (today.wall, ClockQuality::Corrected));
        let details = told.kind.details.unwrap();
        assert_eq!((&details["offset_ms"], &details["events"]), (&(today.wall.0 - 5_000).into(), &1.into()));
        assert_eq!(told.kind.name, EventName::ClockCorrected);
    });
}

#[test]
fn each_time_is_corrected_by_its_own_distance_and_what_was_shown_is_left() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let right = place.now();
        // The wall clock is stepped twice before it is synchronized; ten seconds pass between the events.
        for (number, wall) in [(1, 5_000), (2, 15_000), (3, right.wall.0 - 7_000), (4, right.wall.0 + 30_500)] {
            place.clock.pass(Duration::from_secs(10));
            let now = Now { wall: Timestamp(wall), quality: ClockQuality::Unsynchronized, ..place.now() };
            place.clock.set(now);
            store.commit(place.entry(b"", &[(number, bare())], true)).await.unwrap();
        }
        store.record(&mqtt(), Record { cursor: Some((Seq(1), 1)), ..Record::default() }).await.unwrap();
        let now = Now { mono: right.mono.after(Duration::from_secs(50)), wall: right.wall.shifted(50_000), ..right };
        place.clock.set(now);
        assert_eq!(store.furthest_cursor().await.unwrap(), Seq(1));
        let told = store.correct_clock(Seq(1), now, id(9)).await.unwrap().unwrap();
        let events = store.events_after(Seq(0), 4).await.unwrap();
        let times: Vec<_> = events.iter().map(|event| event.received_at.0).collect();
        let after = |seconds: i64| right.wall.0 + seconds * 1_000;
        assert_eq!(times, [5_000, after(20), after(30), after(40)]);
        let details = store.event(told).await.unwrap().unwrap().kind.details.unwrap();
        assert_eq!((&details["offset_ms"], &details["events"]), (&(after(20) - 15_000).into(), &3.into()));
        assert_eq!(store.correct_clock(Seq(1), now, id(10)).await.unwrap(), None, "once is enough");
    });
}

#[test]
fn a_full_store_gives_up_samples_in_their_order_and_never_a_result() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        // Test 1 delivered, test 2 undone, test 3 still running.
        for test in 1..=3 {
            for part in 0..20 {
                let kind = of_test(EventName::NewData, test + 500, part * 40, 40);
                let capture: Vec<u8> =
                    (0..2_000_u64).map(|at| ((at * 77_777 + test * 31 + part as u64) >> 5) as u8).collect();
                store.commit(place.entry(&capture, &[(next(), kind)], true)).await.unwrap();
            }
            if test < 3 {
                let kind = of_test(EventName::TestFinished, test + 500, 0, 0);
                store.commit(place.entry(b"end", &[(next(), kind)], true)).await.unwrap();
            }
        }
        let rows = vec![held(30)];
        store.record(&mqtt(), Record { rows, cursor: Some((Seq(30), 30)), ..Record::default() }).await.unwrap();
        // Rows 22 to 29 count as delivered; 31 to 42 lie beyond the cursor.
        let swept = store.sweep(&limits(Some(1)), &KEPT, place.now(), id(1_000), || true).await.unwrap();
        assert_eq!(swept.stripped, 40);
        assert_eq!(swept.dead, 1);
        let events = store.events_after(Seq(0), 1_000).await.unwrap();
        let named = |name| events.iter().filter(|event| event.kind.name == name).count();
        assert_eq!(named(EventName::TestFinished), 2);
        assert!(named(EventName::DataEvicted) >= 1);
        let of = |test: u64| events.iter().filter(|event| event.test_id() == Some(id(test + 500))).collect::<Vec<_>>();
        assert_eq!(of(1).len(), 1, "only the result is left of the delivered test");
        assert!(of(3).iter().all(|event| unsendable(event, &[]).is_none()), "a running test is left alone");
        let beyond = of(2).into_iter().filter(|event| event.seq > Seq(30) && event.kind.name == EventName::NewData);
        assert!(beyond.map(|event| unsendable(event, &[]).unwrap().code).all(|code| code == ReasonCode::DataEvicted));
        let backlog = store.backlog(&mqtt()).await.unwrap();
        let DeliveryState::Dead { reason, .. } = &backlog.rows[0].state else { panic!("{:?}", backlog.rows) };
        assert_eq!((backlog.rows.len(), reason.code), (1, ReasonCode::DataEvicted));
        for event in of(3) {
            assert!(store.capture(event.seq).await.unwrap().is_some());
        }
    });
}

#[test]
fn a_store_full_of_results_does_not_talk_about_its_own_notices() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        store.commit(place.entry(b"x", &[(1, bare())], true)).await.unwrap();
        let result = of_test(EventName::TestFinished, 500, 0, 0);
        store.commit(place.entry(b"x", &[(2, result)], true)).await.unwrap();
        let mut said = Vec::new();
        for sweep in 0..4 {
            let head = store.head().borrow();
            store.record(&mqtt(), Record { cursor: Some((head, head.0 as u64)), ..Record::default() }).await.unwrap();
            let swept = store.sweep(&limits(Some(1)), &KEPT, place.now(), id(1_000 + sweep), || true).await.unwrap();
            said.push((swept.events, swept.notices));
        }
        assert_eq!(said[0].0, 1);
        assert!(said[1].1 > 0 && said[2..].iter().all(|swept| *swept == (0, 0)), "{said:?}");
        let left = store.events_after(Seq(0), 10).await.unwrap();
        assert_eq!(left.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn a_sweep_shows_life_between_its_steps_and_stops_when_it_is_told_to() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let many: Vec<_> = (0..1_200).map(|number| (number, bare())).collect();
        store.commit(place.entry(b"", &many, true)).await.unwrap();
        place.clock.pass(DAY * 365);
        let asked = AtomicUsize::new(0);
        let until = |steps| {
            asked.store(0, Ordering::Relaxed);
            let asked = &asked;
            move || asked.fetch_add(1, Ordering::Relaxed) < steps
        };
        // Attempts and captures take a step each, and then there are 500 events a step.
        assert_eq!(store.sweep(&limits(None), &KEPT, place.now(), id(9_000), until(3)).await.unwrap().events, 500);
        assert_eq!(store.sweep(&limits(None), &KEPT, place.now(), id(9_001), until(99)).await.unwrap().events, 700);
        assert!(asked.load(Ordering::Relaxed) >= 4);
    });
}

#[test]
fn samples_stay_whole_as_long_as_a_later_event_of_their_test_is_undone() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let results = Filter { names: Some(vec!["TEST_FINISHED".to_owned()]), ..Filter::default() };
        let slow = DestinationId("webhook:slow".into());
        store.configure(&[(mqtt(), everything()), (slow.clone(), results)]).await.unwrap();
        for number in 1..=3 {
            let kind = of_test(EventName::NewData, 500, (number as usize - 1) * 40, 40);
            store.commit(place.entry(b"", &[(number, kind)], true)).await.unwrap();
        }
        store.commit(place.entry(b"", &[(4, of_test(EventName::TestFinished, 500, 0, 0))], true)).await.unwrap();
        store.record(&mqtt(), Record { cursor: Some((Seq(4), 4)), ..Record::default() }).await.unwrap();
        // By age: three of four are done, and none of them goes before the fourth.
        place.clock.pass(DAY * 365);
        let swept = store.sweep(&limits(None), &KEPT, place.now(), id(1_000), || true).await.unwrap();
        assert_eq!(swept.events, 0);
        // By size they are the last to be given up, not the first, and the result says so to whoever needs them.
        let swept = store.sweep(&limits(Some(1)), &KEPT, place.now(), id(1_001), || true).await.unwrap();
        assert_eq!((swept.stripped, swept.events), (3, 0));
        let history = store.test_history(id(500), Seq(4)).await.unwrap();
        assert_eq!(history.len(), 4, "the events themselves stay");
        let result = history.last().unwrap();
        assert_eq!(unsendable(result, &history).unwrap().code, ReasonCode::DataEvicted);
        assert_eq!(unsendable(result, &[]), None, "a dialect without history still sends the result");
        // Once that is settled, only the result is left.
        store.record(&slow, Record { cursor: Some((Seq(4), 1)), ..Record::default() }).await.unwrap();
        let (full, for_ever) = (limits(Some(1)), Retention { events_kept_days: 0, ..KEPT });
        let swept = store.sweep(&full, &for_ever, place.now(), id(1_002), || true);
        assert_eq!(swept.await.unwrap().events, 3);
    });
}

#[test]
fn patches_outlive_the_captures_that_they_were_made_against() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        let line =
            |count: usize| -> Vec<u8> { (0..count).flat_map(|at| format!("sample {at} ").into_bytes()).collect() };
        for number in 1..=10 {
            store.commit(place.entry(&line(number * 50), &[(number as u64, bare())], true)).await.unwrap();
        }
        store.record(&mqtt(), Record { cursor: Some((Seq(6), 6)), ..Record::default() }).await.unwrap();
        place.clock.pass(DAY * 31);
        let swept = store.sweep(&limits(None), &KEPT, place.now(), id(1_000), || true).await.unwrap();
        assert_eq!(swept.captures, 6);
        for number in 1..=10 {
            let expected = (number > 6).then(|| line(number * 50));
            assert_eq!(store.capture(Seq(number as i64)).await.unwrap(), expected);
        }
    });
}

#[test]
fn a_dropped_destination_holds_nothing_back() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let gone = DestinationId("webhook:gone".into());
        store.configure(&[(gone.clone(), everything())]).await.unwrap();
        store.commit(place.entry(b"x", &[(1, bare())], true)).await.unwrap();
        store.configure(&[]).await.unwrap();
        place.clock.pass(DAY * 365);
        assert_eq!(store.sweep(&limits(None), &KEPT, place.now(), id(1_000), || true).await.unwrap().events, 0);
        assert_eq!(store.destinations().await.unwrap(), [(gone.clone(), false)]);
        assert!(store.drop_destination(&gone).await.unwrap());
        assert_eq!(store.sweep(&limits(None), &KEPT, place.now(), id(1_000), || true).await.unwrap().events, 1);
    });
}

#[test]
fn commands_read_the_counts_while_the_daemon_is_down() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        for number in 1..=5 {
            store.commit(place.entry(b"x", &[(number, bare())], true)).await.unwrap();
        }
        let reason = Reason::new(ReasonCode::Refused, "422");
        let dead = Row { state: DeliveryState::Dead { attempts: 1, reason: reason.clone() }, ..held(1) };
        let attempts = vec![note(&place, 1, Some(reason)), note(&place, 3, None)];
        store
            .record(
                &mqtt(),
                Record { rows: vec![dead, held(2)], attempts, cursor: Some((Seq(3), 3)), ..Record::default() },
            )
            .await
            .unwrap();
        let alive = store.counts().await.unwrap();
        store.close().await.unwrap();
        let counts = ReadStore::open(&place.path()).unwrap().counts().unwrap();
        assert_eq!(counts, alive);
        assert_eq!((counts.events, counts.head, counts.attempts), (5, Seq(5), 2));
        let [only] = counts.destinations.as_slice() else { panic!("{counts:?}") };
        assert_eq!((only.undone, only.held, only.dead, only.attempts), (3, 1, 1, 2));
        assert!(ReadStore::open(&place.folder.path().join("nothing.db")).is_err());
    });
}

#[test]
fn a_changed_filter_counts_from_the_next_event_on() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let results = Filter { names: Some(vec!["TEST_FINISHED".to_owned()]), ..Filter::default() };
        store.configure(&[(mqtt(), results)]).await.unwrap();
        let both = [(1, bare()), (2, of_test(EventName::TestFinished, 9, 0, 0))];
        store.commit(place.entry(b"", &both, true)).await.unwrap();
        store.configure(&[(mqtt(), everything())]).await.unwrap();
        store.commit(place.entry(b"", &[(3, bare())], true)).await.unwrap();
        let (events, looked) = store.next_events(&mqtt(), Seq(0), 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(looked, Seq(3));
    });
}
