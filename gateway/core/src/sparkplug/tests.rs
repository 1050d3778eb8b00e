//! A plant's view of a box: births, news, deaths, and numbers without a hole.

use super::*;
use crate::event::AnalyzerId;
use crate::health::{ConfiguredAnalyzer, Fact, Health};
use crate::time::{ClockQuality, Mono, Now};

const NOW: Now = Now { mono: Mono(1), wall: Timestamp(1_795_292_043_000), quality: ClockQuality::Synchronized };

fn health() -> (Health, AnalyzerId) {
    let mut health = Health::new("clinic-7", "1.0.0", "boot".to_owned(), NOW);
    let id = AnalyzerId("hematology".to_owned());
    let configured = ConfiguredAnalyzer { id: id.clone(), port: "/dev/ttyUSB0".to_owned(), model: None };
    health.configure("clinic-7", "aa", vec![configured], &["mqtt".to_owned()], NOW);
    (health, id)
}

/// Topics, each with its `seq`.
fn told(messages: &[Message]) -> Vec<(String, Option<u64>)> {
    let of = |message: &Message| (message.topic.clone(), Payload::decode(&message.payload[..]).expect("ours").seq);
    messages.iter().map(of).collect()
}

fn metrics(message: &Message) -> Vec<Metric> {
    Payload::decode(&message.payload[..]).expect("ours").metrics
}

#[test]
fn a_node_is_born_tells_what_changes_and_its_devices_come_and_go() {
    let (mut health, analyzer) = health();
    let mut node = EdgeNode::new("Lab", "clinic-7", 255);
    let births = node.births(&health.overview(NOW, None));
    assert_eq!(told(&births), [("spBv1.0/Lab/NBIRTH/clinic-7".to_owned(), Some(0))]);
    let names: Vec<String> = metrics(&births[0]).into_iter().filter_map(|metric| metric.name).collect();
    assert_eq!(names[..2], ["bdSeq", "Node Control/Rebirth"]);
    assert!(metrics(&births[0])[..2].iter().all(|metric| metric.alias.is_none()));
    assert!(node.changes(&health.overview(NOW, None)).is_empty());

    health.learn(NOW, Fact::LinkOpened { analyzer: analyzer.clone() });
    let news = node.changes(&health.overview(NOW, None));
    let expected = [
        ("spBv1.0/Lab/NDATA/clinic-7".to_owned(), Some(1)),
        ("spBv1.0/Lab/DBIRTH/clinic-7/hematology".to_owned(), Some(2)),
    ];
    assert_eq!(told(&news), expected, "one more is ready, and there it is");
    let born = metrics(&news[1]);

    let fact = Fact::ProgramDown { analyzer: analyzer.clone(), reason: "ended".to_owned() };
    health.learn(NOW, fact);
    let news = node.changes(&health.overview(NOW, None));
    let topics: Vec<String> = told(&news).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, ["spBv1.0/Lab/NDATA/clinic-7", "spBv1.0/Lab/DDATA/clinic-7/hematology"]);
    let said = metrics(&news[1]);
    assert!(said.iter().all(|metric| metric.name.is_none() && born.iter().any(|one| one.alias == metric.alias)));

    health.learn(NOW, Fact::LinkLost { analyzer, reason: "unplugged".to_owned() });
    let news = node.changes(&health.overview(NOW, None));
    assert_eq!(told(&news)[0], ("spBv1.0/Lab/DDEATH/clinic-7/hematology".to_owned(), Some(5)));
}

#[test]
fn the_death_has_the_number_of_the_birth_and_no_seq() {
    let (health, _) = health();
    let mut node = EdgeNode::new("Lab", "clinic-7", 7);
    let death = node.death(NOW.wall);
    assert_eq!(told(std::slice::from_ref(&death)), [("spBv1.0/Lab/NDEATH/clinic-7".to_owned(), None)]);
    let bd_seq = |message: &Message| metrics(message)[0].value.clone();
    assert_eq!(bd_seq(&death), Some(Value::Long(7)));
    assert_eq!(bd_seq(&node.births(&health.overview(NOW, None))[0]), Some(Value::Long(7)));
}

#[test]
fn seq_goes_round_and_a_rebirth_begins_it_anew() {
    let (mut health, analyzer) = health();
    let mut node = EdgeNode::new("Lab", "clinic-7", 0);
    let mut seqs: Vec<u64> =
        told(&node.births(&health.overview(NOW, None))).into_iter().filter_map(|one| one.1).collect();
    for turn in 0..200 {
        let fact = match turn % 2 {
            0 => Fact::LinkOpened { analyzer: analyzer.clone() },
            _ => Fact::LinkLost { analyzer: analyzer.clone(), reason: "unplugged".to_owned() },
        };
        health.learn(NOW, fact);
        seqs.extend(told(&node.changes(&health.overview(NOW, None))).into_iter().filter_map(|one| one.1));
    }
    assert!(seqs.len() > 256 && seqs.iter().zip(0_u64..).all(|(seq, number)| *seq == number % 256));
    assert_eq!(told(&node.births(&health.overview(NOW, None)))[0].1, Some(0));
}

#[test]
fn only_a_true_rebirth_command_is_one() {
    let command = |name: &str, value: bool| {
        let metric = Metric { name: Some(name.to_owned()), value: Some(Value::Boolean(value)), ..Metric::default() };
        Payload { timestamp: None, metrics: vec![metric], seq: None }.encode_to_vec()
    };
    assert!(EdgeNode::is_rebirth(&command(REBIRTH, true)));
    assert!(!EdgeNode::is_rebirth(&command(REBIRTH, false)));
    assert!(!EdgeNode::is_rebirth(&command("Node Control/Reboot", true)));
    assert!(!EdgeNode::is_rebirth(b"\xff\xff\xff\xff\xff") && !EdgeNode::is_rebirth(b""));
}
