//! Fleets in words: who is found, and who is left in peace.

use super::*;
use crate::delivery::DestinationView;
use crate::health::{Fact, Health};
use crate::monitoring::{Publication, Status, Summary};
use crate::time::ClockQuality;

const START: Timestamp = Timestamp(1_795_292_043_000);

/// A moment so many seconds after the start, on a machine whose clock is right.
fn at(seconds: u64) -> Now {
    let mono = Mono(1_000_000_000).after(Duration::from_secs(seconds));
    Now { mono, wall: START.shifted(seconds as i64 * 1000), quality: ClockQuality::Synchronized }
}

/// A gateway as it really tells of itself.
struct Box {
    health: Health,
    clock_off_ms: i64,
}

impl Box {
    fn new(id: &str, boot: &str, started: u64) -> Box {
        let mut health = Health::new(id, "1.0.0", boot.to_owned(), at(started));
        health.configure(id, "aa", Vec::new(), &["webhook:lims".to_owned()], at(started));
        Box { health, clock_off_ms: 0 }
    }

    fn now(&self, seconds: u64) -> Now {
        let now = at(seconds);
        Now { wall: now.wall.shifted(self.clock_off_ms), ..now }
    }

    fn status(&self, seconds: u64, said: Option<(DeviceState, &str)>) -> Publication {
        Publication::state("status", &Status::from(&self.health.overview(self.now(seconds), said)))
    }

    fn summary(&self, seconds: u64) -> Publication {
        Publication::state("summary", &Summary::from(&self.health.overview(self.now(seconds), None)))
    }
}

fn hear(fleet: &mut Fleet, id: &str, now: Now, message: &Publication, retained: bool) {
    let topic = format!("{id}/{}", message.topic());
    assert!(fleet.hear(now, News { topic: &topic, payload: message.payload(), retained }).is_some());
}

/// Listening, with this gateway heard at that second.
fn fleet_of(one: &Box, seconds: u64, retained: bool) -> Fleet {
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(seconds)));
    hear(&mut fleet, "clinic-7", at(seconds), &one.status(seconds, None), retained);
    hear(&mut fleet, "clinic-7", at(seconds), &one.summary(seconds), retained);
    fleet
}

fn codes(fleet: &mut Fleet, seconds: u64) -> Vec<String> {
    let standings = fleet.standings(at(seconds));
    standings.iter().flat_map(|one| one.troubles.iter().map(|trouble| trouble.code.clone())).collect()
}

#[test]
fn one_that_is_well_needs_nobody() {
    let one = Box::new("clinic-7", "a", 0);
    let mut fleet = fleet_of(&one, 0, false);
    assert!(codes(&mut fleet, 179).is_empty());
    assert!(!fleet.standing("clinic-7", at(179)).expect("known").needs_a_person());
}

#[test]
fn a_last_will_is_the_most_urgent_until_it_is_back() {
    let one = Box::new("clinic-7", "a", 0);
    let mut fleet = fleet_of(&one, 0, false);
    let lost = one.status(0, Some((DeviceState::Lost, "the gateway vanished")));
    hear(&mut fleet, "clinic-7", at(30), &lost, false);
    let standing = fleet.standing("clinic-7", at(40)).expect("known");
    assert_eq!((standing.urgency, standing.since), (Some(Urgency::Now), Some(at(30).wall)));
    assert_eq!(codes(&mut fleet, 4_000), ["gone"], "silence says no more");
    hear(&mut fleet, "clinic-7", at(50), &one.status(50, None), false);
    assert!(codes(&mut fleet, 50).is_empty());
}

#[test]
fn who_was_gone_before_we_came_is_gone_since_the_last_word() {
    let one = Box::new("clinic-7", "a", 0);
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(9_000)));
    let lost = one.status(0, Some((DeviceState::Lost, "the gateway vanished")));
    for first_summary in [true, false] {
        if first_summary {
            hear(&mut fleet, "clinic-7", at(9_000), &one.summary(60), true);
        }
        hear(&mut fleet, "clinic-7", at(9_000), &lost, true);
        hear(&mut fleet, "clinic-7", at(9_000), &one.summary(60), true);
        let standing = fleet.standing("clinic-7", at(9_000)).expect("known");
        assert_eq!((standing.troubles[0].code.as_str(), standing.since), ("gone", Some(at(60).wall)));
        fleet = Fleet::new(Rules::default());
    }
}

#[test]
fn silence_is_three_intervals_and_counts_only_while_we_listen() {
    let one = Box::new("clinic-7", "a", 0);
    let mut fleet = fleet_of(&one, 0, false);
    assert!(codes(&mut fleet, 180).is_empty());
    assert_eq!(codes(&mut fleet, 181), ["silent"]);
    fleet.listen(None);
    assert!(codes(&mut fleet, 999).is_empty(), "nobody listens");
    fleet.listen(Some(at(1_000)));
    hear(&mut fleet, "clinic-7", at(1_000), &one.summary(0), true);
    assert!(codes(&mut fleet, 1_001).is_empty(), "what was kept is what we knew");
    assert_eq!(codes(&mut fleet, 1_181), ["silent"]);
}

#[test]
fn an_old_word_that_was_kept_is_silence_if_its_clock_was_right() {
    let mut one = Box::new("clinic-7", "a", 0);
    let mut fleet = fleet_of(&one, 0, true);
    assert_eq!(codes(&mut fleet, 181), ["silent"]);
    // It says itself that nobody set its clock: a person should look, but it may be well.
    one.health = Health::new("clinic-7", "1.0.0", "a".to_owned(), Now::default());
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(9_000)));
    let unset = Now { quality: ClockQuality::Unset, ..at(0) };
    let summary = Publication::state("summary", &Summary::from(&one.health.overview(unset, None)));
    hear(&mut fleet, "clinic-7", at(9_000), &summary, true);
    let standing = fleet.standing("clinic-7", at(9_001)).expect("known");
    assert_eq!((standing.troubles[0].code.as_str(), standing.urgency), ("silent", Some(Urgency::Today)));
}

#[test]
fn a_clock_is_wrong_by_what_is_heard_live_or_dated_ahead() {
    let mut one = Box::new("clinic-7", "a", 0);
    one.clock_off_ms = -7_200_000;
    let fleet = fleet_of(&one, 10, false);
    let standing = fleet.standing("clinic-7", at(11)).expect("known");
    assert_eq!((standing.troubles[0].code.as_str(), standing.clock_off_seconds), ("clock_wrong", Some(-7_200)));
    assert_eq!(standing.since, Some(at(10).wall));
    assert!(standing.troubles[0].reason.contains("2 h behind"), "{}", standing.troubles[0].reason);
    one.clock_off_ms = 61_000;
    assert_eq!(codes(&mut fleet_of(&one, 10, true), 11), ["clock_wrong"], "nothing is kept from the future");
    one.clock_off_ms = 59_000;
    assert!(codes(&mut fleet_of(&one, 10, false), 11).is_empty());
}

#[test]
fn where_most_clocks_are_wrong_it_is_ours() {
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(0)));
    for id in ["clinic-1", "clinic-2", "clinic-3"] {
        let mut one = Box::new(id, id, 0);
        one.clock_off_ms = 3_600_000;
        hear(&mut fleet, id, at(0), &one.summary(0), false);
    }
    let standings = fleet.standings(at(1));
    assert!(fleet.census(&standings).own_clock_doubtful);
    assert!(standings.iter().all(|one| one.urgency == Some(Urgency::Watch)));
}

#[test]
fn what_a_gateway_says_of_itself_is_passed_on_with_since_when_it_was_heard() {
    let mut one = Box::new("clinic-7", "a", 0);
    let mut fleet = fleet_of(&one, 0, false);
    let view = DestinationView { dead: 2, ..DestinationView::default() };
    one.health.learn(at(60), Fact::DestinationChanged { destination: "webhook:lims".to_owned(), view });
    hear(&mut fleet, "clinic-7", at(60), &one.summary(60), false);
    hear(&mut fleet, "clinic-7", at(120), &one.summary(120), false);
    let standing = fleet.standing("clinic-7", at(121)).expect("known");
    assert!(standing.needs_a_person());
    assert_eq!((standing.troubles[0].code.as_str(), standing.since), ("dead_letters", Some(at(60).wall)));
}

#[test]
fn two_boxes_with_one_id_take_turns_and_one_that_restarts_does_not() {
    let (one, two) = (Box::new("clinic-7", "a", 0), Box::new("clinic-7", "b", 5));
    let mut fleet = fleet_of(&one, 0, false);
    hear(&mut fleet, "clinic-7", at(20), &two.status(20, None), false);
    assert!(codes(&mut fleet, 20).is_empty(), "a reboot");
    // The will of the first, said as the second pushes it out.
    hear(&mut fleet, "clinic-7", at(21), &one.status(0, Some((DeviceState::Lost, "vanished"))), false);
    hear(&mut fleet, "clinic-7", at(21), &two.status(21, None), false);
    assert!(codes(&mut fleet, 21).is_empty());
    hear(&mut fleet, "clinic-7", at(22), &one.status(22, None), false);
    assert_eq!(codes(&mut fleet, 22), ["two_boxes"]);
    assert!(!codes(&mut fleet, 22 + 901).contains(&"two_boxes".to_owned()), "long ago");
}

#[test]
fn the_odd_version_is_named_where_there_is_a_usual_one() {
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(0)));
    for (id, version) in [("clinic-1", "1.0.0"), ("clinic-2", "1.0.0"), ("clinic-3", "0.9.0")] {
        let health = Health::new(id, version, id.to_owned(), at(0));
        let summary = Publication::state("summary", &Summary::from(&health.overview(at(0), None)));
        hear(&mut fleet, id, at(0), &summary, false);
    }
    let standings = fleet.standings(at(1));
    assert_eq!(standings[0].gateway, "clinic-3");
    assert_eq!(standings[0].troubles[0].code, "version_differs");
    assert_eq!(
        fleet.census(&standings),
        Census { gateways: 3, watch: 1, well: 2, usual_version: Some("1.0.0".to_owned()), ..Census::default() }
    );
}

#[test]
fn the_urgent_stand_first_and_then_those_that_wait_longest() {
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(0)));
    let lost = Some((DeviceState::Lost, "vanished"));
    for (id, second, said) in [
        ("clinic-1", 0, None),
        ("clinic-2", 30, lost),
        ("clinic-3", 20, lost),
        ("clinic-4", 10, Some((DeviceState::Disconnected, "stopped"))),
    ] {
        hear(&mut fleet, id, at(second), &Box::new(id, id, 0).status(second, said), false);
    }
    let order: Vec<String> = fleet.standings(at(40)).into_iter().map(|one| one.gateway).collect();
    assert_eq!(order, ["clinic-3", "clinic-2", "clinic-4", "clinic-1"]);
}

#[test]
fn a_gateway_whose_topics_are_cleared_has_left() {
    let one = Box::new("clinic-7", "a", 0);
    let mut fleet = fleet_of(&one, 0, false);
    for kind in ["status", "summary"] {
        let topic = format!("clinic-7/{kind}");
        fleet.hear(at(1), News { topic: &topic, payload: b"", retained: false });
    }
    assert!(fleet.standing("clinic-7", at(1)).is_none());
}

#[test]
fn nonsense_is_bounded_and_steers_nothing() {
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(0)));
    for topic in
        ["status", "Clinic/status", "a/b/status", "clinic-7/health", "-a/summary", "\u{1b}[2J/status", "/status"]
    {
        assert_eq!(fleet.hear(at(0), News { topic, payload: b"{}", retained: false }), None, "{topic}");
    }
    let mut telling = Box::new("clinic-7", "a", 0);
    let reason = format!("red \u{1b}[31m\u{202e}\n{}", "x".repeat(9_000));
    telling.health.learn(at(0), Fact::ConfigRefused { reason });
    hear(&mut fleet, "clinic-7", at(0), &telling.summary(0), false);
    let standing = fleet.standing("clinic-7", at(1)).expect("known");
    let said = &standing.troubles[0].reason;
    assert!(said.chars().count() <= 300 && !said.contains(['\u{1b}', '\u{202e}', '\n']), "{said}");
    // Rubbish, too much of it, and another's name.
    for payload in [b"\xff{".to_vec(), vec![b' '; PAYLOAD_BYTES_MAX + 1], telling.summary(0).payload().to_vec()] {
        let mut fleet = Fleet::new(Rules::default());
        fleet.hear(at(0), News { topic: "clinic-8/summary", payload: &payload, retained: false });
        assert_eq!(codes(&mut fleet, 1), ["unreadable"]);
    }
}

#[test]
fn no_more_gateways_than_the_bound_and_the_rest_is_counted() {
    let mut fleet = Fleet::new(Rules::default());
    fleet.listen(Some(at(0)));
    for number in 0..GATEWAYS_MAX + 5 {
        let topic = format!("g-{number}/summary");
        fleet.hear(at(0), News { topic: &topic, payload: b"rubbish", retained: false });
    }
    let standings = fleet.standings(at(0));
    let census = fleet.census(&standings);
    assert_eq!((census.gateways, census.left_out), (GATEWAYS_MAX, 5));
}
