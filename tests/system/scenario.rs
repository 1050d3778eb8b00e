//! The box from its first start: three analyzers, a cable that is pulled, a power cut in traffic, and settings with a mistake.

use super::analyzer::{Analyzer, Progress};
use super::card::Card;
use super::machine::{self, HTTP_PORT, MQTT_PORT, Machine};
use super::receiving::{self, arrived, receiver, wall};
use gateway_daemon::simulated::astm::sample_key;
use gateway_daemon::simulated::ledger::Ledger;
use gateway_daemon::simulated::mqtt_judge::MqttJudge;
use gateway_daemon::simulated::receiver::Receiver;
use gateway_daemon::simulated::test_v0::Run;
use gateway_daemon::simulated::wire::tell_run;
use gateway_daemon::simulated::{Told, hl7};
use tokio::sync::watch;

const PASSWORD: &str = "judge of the box";
const ANALYZERS: [&str; machine::ADAPTERS] = ["hematology", "chemistry", "amplifier"];
/// So many messages are promised before the power goes.
const PROMISED_MIN: usize = 5;
/// The run of the test-v0 analyzer takes a tenth of a second.
const RUN_SPEED: f64 = 10_000.0;
const HL7: &[u8] = b"MSH|^~\\&|CX-7|||LAB|20261121200007||ORU^R01|M1|P|2.5.1\rPID|1||P00042\rOBR|1|C0001|C0001|BMP\r\
OBX|1|NM|NA^Sodium||140|mmol/L|136-145|N|||F\rOBX|2|NM|K^Potassium||4.1|mmol/L|3.5-5.1|N|||F\r";
const HL7_SAMPLE: &str = "C0001";

/// What a clinic would write, the analyzers by the serial numbers of their adapters.
fn settings(receiver: &Receiver) -> String {
    let drivers = ["astm", "hl7", "test-v0"];
    let analyzers = ANALYZERS.iter().zip(drivers).enumerate().map(|(number, (id, driver))| {
        format!("  - {{ id: {id}, driver: {driver}, port: {{ usb: \"0403:6001\", serial: ANALYZER{number} }} }}\n")
    });
    format!(
        "version: 1\ngateway: {{ id: box }}\nhttp: {{ listen: '0.0.0.0:{HTTP_PORT}', allow_plain: true }}\n\
         mqtt: {{ url: mosquitto }}\n\
         broker:\n  listen: 0.0.0.0:{MQTT_PORT}\n  allow_plain: true\n  \
         users: [{{ id: judge, password: {PASSWORD}, may: read }}]\n\
         {}analyzers:\n{}",
        receiving::webhook(receiver),
        analyzers.collect::<String>(),
    )
}

/// How often the receiver has heard that this analyzer is there.
fn connections(ledger: &Ledger, analyzer: &str) -> usize {
    let heard = ledger.ids().iter().filter_map(|id| ledger.get(id));
    heard.filter(|heard| heard.event == "ANALYZER_CONNECTED" && heard.analyzer == analyzer).count()
}

async fn all_connected(machine: &Machine, receiver: &Receiver, times: usize) {
    let all = || ANALYZERS.iter().all(|id| connections(&receiver.ledger().lock(), id) >= times).then_some(());
    machine.eventually("every analyzer's connection", all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_box_as_it_is_flashed_loses_nothing_and_answers_on_its_card() {
    let Some(folder) = machine::folder("box") else { return };
    let card = Card::write(&folder);
    let receiver = receiver().await;
    let good = settings(&receiver);
    card.save("gateway.yaml", &good);

    let mut machine = Machine::start(&folder, &card, 1).await;
    let mut hematology = Analyzer::new(machine.line(0).await, 1);
    hematology.call().await;
    println!("first ACK {:.0} s after the machine was switched on", machine.started.elapsed().as_secs_f64());
    let mut judge = MqttJudge::start_as("127.0.0.1", machine.mqtt, "analyzer-gateway", "judge", PASSWORD);
    judge.subscribed(machine::DEADLINE).await.expect("a subscription at the box's own broker");
    all_connected(&machine, &receiver, 1).await;
    sound(&mut machine).await;

    let mut keys = Vec::new();
    keys.push(hematology.tell_one().await);
    let mut chemistry = machine.line(1).await;
    let said = hl7::say(&mut chemistry, HL7, machine::DEADLINE, 1).await.expect("QEMU lives");
    assert!(said.acknowledged);
    keys.push(sample_key(HL7_SAMPLE));
    let mut amplifier = machine.line(2).await;
    let mut told = Told::default();
    let run = Run::new(7, 3_100_000_017, 1, wall(), 3);
    tell_run(&mut amplifier, &run, RUN_SPEED, &mut told, |_, _| {}).await.expect("QEMU lives");
    keys.extend(told.acknowledged);

    // Pulled in the middle of a frame, and back: the analyzer begins anew, as LIS01-A2 has it.
    let message = hematology.draw();
    hematology.begin(&message).await;
    let before = connections(&receiver.ledger().lock(), ANALYZERS[0]);
    machine.unplug(0).await;
    machine.plug(0).await;
    let back = || (connections(&receiver.ledger().lock(), ANALYZERS[0]) > before).then_some(());
    machine.eventually("the adapter that was plugged in again", back).await;
    hematology.call().await;
    hematology.tell(&message).await;
    keys.push(sample_key(&message.id));
    arrived(&machine, "broker", judge.ledger(), &keys).await;
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;

    // The plug is pulled while it talks, and meanwhile somebody edits the card.
    let (heard, progress) = watch::channel(Progress::default());
    let talking = tokio::spawn(hematology.talk(heard));
    machine.eventually("promises", || (progress.borrow().promised >= PROMISED_MIN).then_some(())).await;
    machine.cut_power().await;
    let told = talking.await.expect("an analyzer");
    card.save("gateway.yaml", &good.replace("driver: astm", "driver: astn"));
    card.tear_superblock("data");

    let mut machine = Machine::start(&folder, &card, 2).await;
    let mut hematology = Analyzer::new(machine.line(0).await, 1001);
    hematology.call().await;
    keys.push(hematology.tell_one().await);
    keys.extend(told.acknowledged.iter().cloned());
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;
    // Events about different things overtake each other.
    machine.eventually("every event before the last one", || (receiver.counts().holes == 0).then_some(())).await;
    let counts = receiver.counts();
    assert_eq!((counts.holes, counts.differing, counts.wrong_signatures), (0, 0, 0), "{:?}", counts.first_complaint);
    println!(
        "power cut: {} messages were acknowledged before it, {} came again",
        told.acknowledged.len(),
        counts.repeats
    );
    discreet(&mut machine, &keys).await;
    // That e2fsck gives up at first is what the second run is for (systemd-fsck@.service.d).
    let (first, said) = machine.shell.run("journalctl -qb --no-pager -u 'systemd-fsck@*data*'").await;
    assert!(first == 0 && said.contains("unable to set superblock flags"), "nothing was torn: {said}");
    let (_, damage) = machine.shell.run("journalctl -qk --no-pager | grep 'EXT4-fs error'").await;
    assert_eq!(damage, "", "the torn file system was not repaired before it was used");
    machine.shell_until("grep -q astn /boot/firmware/gateway.report.txt").await;
    machine.shut_down().await;

    let report = card.read("gateway.report.txt").expect("the report beside the settings");
    assert!(report.contains("no driver `astn`") && report.contains("Line "), "{report}");
}

/// No unit has failed, and what runs is what the image promises.
async fn sound(machine: &mut Machine) {
    let (_, state) = machine.shell.run("systemctl is-system-running --wait").await;
    let (_, failed) = machine.shell.run("systemctl --failed --no-legend --plain").await;
    assert_eq!((state.as_str(), failed.as_str()), ("running", ""), "{}", machine.console());
    let (status, _) = machine.shell.run("touch /usr/written /etc/written").await;
    assert_ne!(status, 0, "the root can be written");
    let (_, data) = machine.shell.run("findmnt -nbo SIZE /data").await;
    assert!(
        data.parse::<u64>().is_ok_and(|bytes| bytes > machine::GROWN_BYTES_MIN),
        "/data has not grown: {data} bytes"
    );
    let (_, shown) = machine.shell.run("analyzer-gateway appliance show").await;
    assert!(shown.contains("\"compatible\": \"analyzer-gateway-vm") && shown.contains("\"slot\": \"A\""), "{shown}");
}

/// The journal names nobody and no sample.
async fn discreet(machine: &mut Machine, keys: &[String]) {
    let samples: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix("sample ")).collect();
    let (status, found) =
        machine.shell.run(&format!("journalctl -q --no-pager | grep -wE '{}'", samples.join("|"))).await;
    assert_eq!((status, found.as_str()), (1, ""), "a sample's id is in the journal");
}
