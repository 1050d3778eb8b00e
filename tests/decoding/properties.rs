//! Promises that hold for any bytes, for every driver.

use super::support::*;
use gateway_core::event::{EventKind, EventName};
use gateway_core::session::{DriverOptions, Resume};
use gateway_tests::conversations::{Conversation, conversations};
use proptest::prelude::*;
use std::time::Duration;

fn events_of(name: &str, options: &DriverOptions, parts: &[&[u8]]) -> Vec<EventKind> {
    let mut bench = Bench::open(name, options, Resume::default());
    for part in parts {
        bench.receive(part);
    }
    bench.finish();
    bench.events().into_iter().cloned().collect()
}

fn finished(events: &[EventKind]) -> Vec<&EventKind> {
    events.iter().filter(|event| event.name == EventName::TestFinished).collect()
}

/// Cuts bytes at places drawn at random.
fn cut(bytes: &[u8], mut places: Vec<usize>) -> Vec<&[u8]> {
    places.iter_mut().for_each(|place| *place %= bytes.len() + 1);
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[test]
fn the_conversations_are_understood() {
    for (Conversation { driver: name, options, bytes }, count) in
        conversations().into_iter().zip([4, 4, 1, 3, 0, 2, 2, 2, 2, 2])
    {
        let events = events_of(name, &options, &[&bytes]);
        assert_eq!(finished(&events).len(), count, "{name}");
        assert!(events.iter().all(|event| event.rejection.is_none()), "{name}: {:?}", events);
    }
}

#[test]
fn a_truncated_stream_gives_no_test_that_was_not_whole() {
    for Conversation { driver: name, options, bytes } in conversations() {
        let whole = events_of(name, &options, &[&bytes]);
        for length in 0..bytes.len() {
            let events = events_of(name, &options, &[&bytes[..length]]);
            for (event, known) in finished(&events).into_iter().zip(finished(&whole)) {
                assert_eq!(event, known, "{name} cut after {length} bytes");
            }
            assert!(finished(&events).len() <= finished(&whole).len());
        }
    }
}

#[test]
fn a_corrupted_byte_gives_no_wrong_result() {
    let Conversation { driver: name, options, bytes } = conversations().swap_remove(0);
    let whole = events_of(name, &options, &[&bytes]);
    let known: Vec<String> = finished(&whole).iter().map(|event| format!("{:?}", event.identity)).collect();
    for place in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[place] ^= flip;
            let events = events_of(name, &options, &[&damaged]);
            for event in finished(&events) {
                assert!(known.contains(&format!("{:?}", event.identity)), "byte {place} with bit {flip:#x}");
            }
        }
    }
}

#[test]
fn every_frame_is_stored_before_it_is_acknowledged() {
    let Conversation { driver: name, options, bytes } = conversations().swap_remove(0);
    let mut bench = Bench::open(name, &options, Resume::default());
    bench.receive(&bytes);
    let (mut asked, mut stored, mut acknowledged) = (0, 0, 0);
    for step in &bench.steps {
        match step {
            Step::Stored(_) => stored += 1,
            Step::Sent(answer) if *answer == [ACK] => acknowledged += 1,
            other => panic!("{other:?}"),
        }
        asked = asked.max(acknowledged);
        // Two of the answers are for ENQ, and each of the others has its commit before it.
        assert!(acknowledged <= stored + 2);
    }
    assert_eq!(asked, stored + 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(places in prop::collection::vec(any::<usize>(), 0..40)) {
        for Conversation { driver: name, options, bytes } in conversations() {
            let whole = events_of(name, &options, &[&bytes]);
            prop_assert_eq!(events_of(name, &options, &cut(&bytes, places.clone())), whole);
        }
    }

    #[test]
    fn damaged_streams_split_anyhow_give_the_same_events(
        places in prop::collection::vec(any::<usize>(), 0..20),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        for Conversation { driver: name, options, mut bytes } in conversations() {
            for (place, byte) in &damage {
                let place = place % bytes.len();
                bytes[place] = *byte;
            }
            let whole = events_of(name, &options, &[&bytes]);
            prop_assert_eq!(events_of(name, &options, &cut(&bytes, places.clone())), whole);
        }
    }

    #[test]
    fn garbage_never_panics_and_stays_within_bounds(
        parts in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..0x20, Just(b'|')], 0..400), 1..20),
        fails in any::<bool>(),
    ) {
        let bounded = DriverOptions { frame_bytes_max: 256, message_bytes_max: 1024, ..DriverOptions::default() };
        for Conversation { driver: name, options, .. } in conversations() {
            let options = DriverOptions { framing: options.framing, text: options.text, ..bounded.clone() };
            let mut bench = Bench::open(name, &options, Resume::default());
            for part in &parts {
                bench.disk = if fails { Disk::Fails } else { Disk::Good };
                bench.receive(part);
                bench.disk = Disk::Good;
                bench.wait(Duration::from_millis(700));
            }
            bench.finish();
            for commit in bench.stored() {
                prop_assert!(commit.capture.len() <= 2 * 1024 + 256, "{} bytes", commit.capture.len());
            }
        }
    }
}
