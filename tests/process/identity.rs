//! Who has spoken: swapped cables, a number that two report, and another analyzer at the port.

use super::cable::{Cable, message};
use super::database::{Database, Stored};
use super::home::{Gateway, Home};
use super::mosquitto::free_port;
use gateway_daemon::platform::pty::Pty;

/// A message of one sample from the analyzer with that serial number.
async fn tell(cable: &mut Cable<Pty>, sample: &str, number: &str) {
    let mut message = message(sample, 1);
    let header = String::from_utf8(message.records[0].clone()).expect("ASCII");
    message.records[0] = header.replace("77001", number).into_bytes();
    cable.tell(&message).await;
}

async fn start(home: &Home, left: &str, right: &str) -> Gateway {
    let item = |id: &str, more: &str| {
        format!("  - {{ id: {id}, driver: astm, port: {{ path: {} }}{more} }}\n", home.path(id).display())
    };
    let broker = format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\n", free_port());
    home.configure(&format!("{broker}analyzers:\n{}{}", item("left", left), item("right", right)));
    home.start_ready().await
}

/// Whose each sample is, once all of them are stored.
async fn owners(home: &Home, database: &Database, samples: &[&str]) -> Vec<String> {
    let owner = |events: &[Stored], sample: &str| {
        let of = |event: &&Stored| event.body["test"]["sample_id"] == sample;
        events.iter().find(of).map(|event| event.analyzer.clone())
    };
    let all = || {
        let events = database.events();
        samples.iter().map(|sample| owner(&events, sample)).collect::<Option<Vec<String>>>()
    };
    home.eventually("every sample stored", all).await
}

fn alarms(database: &Database) -> Vec<String> {
    let of = |event: &Stored| Some(format!("{} {}", event.analyzer, event.body["alarm"]["code"].as_str()?));
    database.events().iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_cables_change_no_name_not_even_over_a_restart() {
    let home = Home::new();
    let (mut left, mut right) = (Cable::plug(&home, "left"), Cable::plug(&home, "right"));
    let gateway = start(&home, "", "").await;
    tell(&mut left, "ID-1", "5001").await;
    tell(&mut right, "ID-2", "5002").await;
    let database = Database::open(&home.state_dir());
    assert_eq!(owners(&home, &database, &["ID-1", "ID-2"]).await, ["left", "right"]);
    gateway.stop().await;
    let gateway = start(&home, "", "").await;
    tell(&mut left, "ID-3", "5002").await;
    tell(&mut right, "ID-4", "5001").await;
    tell(&mut left, "ID-5", "5002").await;
    assert_eq!(owners(&home, &database, &["ID-3", "ID-4", "ID-5"]).await, ["right", "left", "right"]);
    assert_eq!(alarms(&database), ["left swapped", "right swapped"]);
    gateway.stop().await;
    home.assert_discreet(["ID-1", "ID-2", "ID-3", "ID-4", "ID-5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_the_settings_decides_and_one_that_two_report_does_not() {
    let home = Home::new();
    let (mut left, mut right) = (Cable::plug(&home, "left"), Cable::plug(&home, "right"));
    let gateway = start(&home, ", serial_number: '6001'", ", serial_number: '6002'").await;
    let database = Database::open(&home.state_dir());
    tell(&mut left, "ID-1", "6002").await;
    tell(&mut left, "ID-2", "6003").await;
    tell(&mut left, "ID-3", "6001").await;
    tell(&mut right, "ID-4", "6001").await;
    assert_eq!(owners(&home, &database, &["ID-1", "ID-2", "ID-3", "ID-4"]).await, ["right", "left", "left", "right"]);
    assert_eq!(alarms(&database), ["left swapped", "left other_serial_number", "right cloned"]);
    gateway.stop().await;
}
