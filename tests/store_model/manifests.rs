//! Manifests: the chain agrees with the ordinals that events are sent with, day by day, whatever happens in between.

use super::*;
use gateway_core::config::{Config, Limits, Retention};
use gateway_core::event::{Event, Seq};
use gateway_core::manifest::Disagreement;
use gateway_core::time::{ClockQuality, Timestamp};
use gateway_daemon::store::Record;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const HAS_FORM: fn(&Event) -> bool = |event| event.kind.name != EventName::DeviceReady;

fn lims() -> DestinationId {
    DestinationId("webhook:lims".into())
}

fn alarm() -> EventKind {
    EventKind::alarm("paper", "no paper")
}

/// Commits this many events, every third of which has no form at the endpoint.
async fn commit(place: &Place, store: &Store, from: u64, many: u64) {
    for number in from..from + many {
        let kind = if number % 3 == 0 { bare() } else { alarm() };
        store.commit(place.entry(b"", &[(number, kind)], true)).await.unwrap();
    }
}

/// What a receiver that missed nothing has got: the dispatcher's ordinals are a dense count of what has a form.
async fn received(store: &Store) -> Vec<(u64, Id)> {
    let all = store.events_after(Seq(0), 10_000).await.unwrap();
    (1..).zip(all.iter().filter(|event| HAS_FORM(event)).map(|event| event.id)).collect()
}

/// Moves the cursor to the head, as a worker that has delivered everything.
async fn deliver(store: &Store) {
    let ordinal = received(store).await.len() as u64;
    let cursor = Some((store.head().borrow(), ordinal));
    store.record(&lims(), Record { cursor, ..Record::default() }).await.unwrap();
}

#[test]
fn each_day_has_a_row_and_every_row_agrees_with_what_was_received() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(lims(), everything())]).await.unwrap();
        // 20:14 on the 21st; some of it is delivered before anything is counted.
        commit(&place, &store, 1, 7).await;
        deliver(&store).await;
        commit(&place, &store, 8, 5).await;
        store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap();
        commit(&place, &store, 13, 4).await;
        place.clock.pass(HOUR * 5);
        commit(&place, &store, 17, 9).await;
        // Two days without anything, then one event.
        place.clock.pass(HOUR * 72);
        commit(&place, &store, 26, 1).await;
        store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap();
        let manifests = store.manifests(&lims(), None).await.unwrap();
        let rows: Vec<_> = manifests.iter().map(|row| (row.day.as_str(), row.count, row.closed)).collect();
        let expected = [
            ("2026-11-21", 11, true),
            ("2026-11-22", 6, true),
            ("2026-11-23", 0, true),
            ("2026-11-24", 0, true),
            ("2026-11-25", 1, false),
        ];
        assert_eq!(rows, expected);
        let received = received(&store).await;
        for manifest in &manifests {
            assert_eq!(manifest.verify(received.clone()), Ok(()), "{}", manifest.day);
            assert_eq!(manifest.webhook, "lims");
        }
        for pair in manifests.windows(2) {
            assert_eq!((&pair[1].previous, pair[1].first_ordinal), (&pair[0].hash, pair[0].last_ordinal + 1));
            assert_eq!(pair[1].first_seq, pair[0].last_seq + 1, "no hole in the log");
        }
        let lacking: Vec<_> = received.iter().copied().filter(|(ordinal, _)| ![3, 4, 12].contains(ordinal)).collect();
        assert_eq!(manifests[0].verify(lacking.clone()), Err(Disagreement::Missing(vec![(3, 4)])));
        assert_eq!(manifests[1].verify(lacking), Err(Disagreement::Missing(vec![(12, 12)])));
        assert_eq!(store.manifests(&lims(), Some("2026-11-22")).await.unwrap(), manifests[1..]);
    });
}

#[test]
fn counting_again_changes_nothing_and_survives_a_restart_and_a_failing_disk() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(lims(), everything())]).await.unwrap();
        commit(&place, &store, 1, 1_300).await;
        // The disk fails in the middle of the counting.
        let mut left = 2;
        place.disk.inject(move |_| {
            left -= 1;
            if left < 0 { Err("the card is gone".into()) } else { Ok(()) }
        });
        store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap_err();
        place.disk.heal();
        assert!(store.manifests(&lims(), None).await.unwrap()[0].last_seq < 1_300);
        drop(store);
        let store = place.open().await;
        for _ in 0..3 {
            store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap();
        }
        let manifests = store.manifests(&lims(), None).await.unwrap();
        let [only] = manifests.as_slice() else { panic!("{manifests:?}") };
        assert_eq!((only.count, only.last_seq), (867, 1_300));
        assert_eq!(only.verify(received(&store).await), Ok(()));
    });
}

#[test]
fn a_destination_whose_beginning_is_gone_is_counted_from_its_cursor() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(lims(), everything())]).await.unwrap();
        commit(&place, &store, 1, 30).await;
        deliver(&store).await;
        place.clock.pass(HOUR * 24 * 100);
        let kept = Retention { attempts_kept_days: 14, captures_kept_days: 30, events_kept_days: 90 };
        let limits = Limits { store_bytes_max: None, ..Config::default().limits };
        assert_eq!(store.sweep(&limits, &kept, place.now(), id(9_000), || true).await.unwrap().events, 30);
        commit(&place, &store, 31, 5).await;
        store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap();
        let manifests = store.manifests(&lims(), None).await.unwrap();
        let [only] = manifests.as_slice() else { panic!("{manifests:?}") };
        assert_eq!((only.first_seq, only.first_ordinal, only.last_ordinal), (31, 21, 24));
    });
}

#[test]
fn nothing_is_counted_before_the_clock_is_set_and_no_day_is_in_the_future() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.configure(&[(lims(), everything())]).await.unwrap();
        let today = place.now();
        place.clock.set(Now { wall: Timestamp(5_000), quality: ClockQuality::Unset, ..today });
        commit(&place, &store, 1, 2).await;
        store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap();
        assert!(store.manifests(&lims(), None).await.unwrap().is_empty());
        // A clock that runs ahead for a moment.
        place.clock.set(Now { wall: today.wall.shifted(50 * 365 * 86_400_000), ..today });
        commit(&place, &store, 3, 2).await;
        place.clock.set(today);
        store.count_manifests(&lims(), place.now(), HAS_FORM).await.unwrap();
        let manifests = store.manifests(&lims(), None).await.unwrap();
        let rows: Vec<_> = manifests.iter().map(|row| (row.day.as_str(), row.count)).collect();
        assert_eq!(rows, [("2026-11-21", 3)]);
    });
}

#[test]
fn audit_and_clients_are_kept_and_go_by_age() {
    use gateway_core::config::Scope;
    use gateway_daemon::store::{AuditEntry, StoredToken};
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entry = |object: &str| AuditEntry {
            at: place.now().wall,
            client: "desk".into(),
            action: "read".into(),
            object: object.into(),
            outcome: "ok".into(),
        };
        store.audit(entry("registration/1234-5678")).await.unwrap();
        place.clock.pass(HOUR * 24 * 60);
        store.audit(entry("registration/5555-6666")).await.unwrap();
        let token =
            StoredToken { id: "lims".into(), hash: "ab".repeat(32), scope: Scope::Operate, added_at: place.now().wall };
        assert!(store.add_token(token.clone()).await.unwrap());
        assert!(!store.add_token(token.clone()).await.unwrap(), "the id is taken");
        store.close().await.unwrap();
        let store = place.open().await;
        assert_eq!(store.tokens().await.unwrap(), [token]);
        let entries = store.audit_entries(0, 10).await.unwrap();
        assert_eq!(entries.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(store.audit_entries(1, 10).await.unwrap()[0].1.object, "registration/5555-6666");
        place.clock.pass(HOUR * 24 * 40);
        let kept = Retention { attempts_kept_days: 14, captures_kept_days: 30, events_kept_days: 90 };
        let limits = Limits { store_bytes_max: None, ..Config::default().limits };
        store.sweep(&limits, &kept, place.now(), id(9_000), || true).await.unwrap();
        assert_eq!(store.audit_entries(0, 10).await.unwrap().len(), 1);
        assert!(store.remove_token("lims").await.unwrap() && !store.remove_token("lims").await.unwrap());
    });
}
