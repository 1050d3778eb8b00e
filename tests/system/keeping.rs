//! What is kept beyond the card's life: backups onto a stick, a new card that becomes the old box, a factory reset by a file, an
//! update from a stick. Nobody logs in: only files on the card and on the stick, and cables.

use super::analyzer::Analyzer;
use super::card::Card;
use super::fat::Fat;
use super::machine::{self, HTTP_PORT, Machine, stick_words};
use super::receiving::{arrived, receiver, webhook};
use super::update;
use gateway_core::appliance::orders::{BACKUPS, LAST_BACKUP, RESET, RESTORE};
use serde_json::Value;
use std::path::Path;

const BOX: &str = "clinic-7";
/// Room for a bundle and some backups.
const STICK_BYTES: u64 = 1 << 30;

/// What `last-backup.txt` says once so many backups are on the stick.
async fn backed_up(machine: &Machine, stick: &Fat, backups: usize) -> String {
    let whole = || {
        let names = stick.names(BACKUPS);
        let newest = names.iter().filter(|name| name.ends_with(".tar")).max()?;
        let said = stick.read(&format!("{BACKUPS}/{LAST_BACKUP}"))?;
        let count = names.iter().filter(|name| name.ends_with(".tar")).count();
        (count == backups && said.contains(&format!("{newest} is whole"))).then_some(said)
    };
    machine.eventually(&format!("backup {backups} on the stick"), whole).await
}

async fn status(machine: &mut Machine) -> Value {
    let (_, said) = machine.shell.run("analyzer-gateway status --json").await;
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"))
}

async fn with_stick(folder: &Path, card: &Card, stick: &Path, number: u32) -> Machine {
    let drive = format!("file={},format=raw,if=none,id=card,cache=none", card.path.display());
    let stick = stick_words(stick);
    let mut words = vec!["-drive", drive.as_str()];
    words.extend(stick.iter().map(String::as_str));
    Machine::start_with(folder, &words, number).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_card_takes_the_place_of_the_old_one_and_what_is_reset_is_gone() {
    let Some(folder) = machine::folder("keeping") else { return };
    let card = Card::write(&folder);
    let bundles = machine::system_folder().expect("there is an image").join("bundles");
    let mut receiver = receiver().await;
    receiver.switch(false).await.expect("it was on");
    card.save(
        "gateway.yaml",
        &format!(
            "version: 1\ngateway: {{ id: {BOX} }}\nhttp: {{ listen: '0.0.0.0:{HTTP_PORT}', allow_plain: true }}\n{}\
             analyzers:\n  - {{ id: hematology, driver: astm, port: {{ usb: \"0403:6001\", serial: ANALYZER0 }} }}\n",
            webhook(&receiver)
        ),
    );
    let stick_file = folder.join("stick.img");
    let stick = Fat::stick(&stick_file, STICK_BYTES);
    stick.make_folder(BACKUPS);

    // Acknowledged while nobody takes it, and backed up twice.
    let mut machine = Machine::start(&folder, &card, 1).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 1);
    analyzer.call().await;
    let mut keys = vec![analyzer.tell_one().await, analyzer.tell_one().await];
    machine.plug_stick(&stick_file).await;
    println!("the stick: {}", backed_up(&machine, &stick, 1).await.trim());
    machine.pull_stick().await;
    keys.push(analyzer.tell_one().await);
    stick.put(&bundles.join("theirs.raucb"), "theirs.raucb");
    machine.plug_stick(&stick_file).await;
    backed_up(&machine, &stick, 2).await;
    let (done, said) = machine.shell.run("analyzer-gateway update install usb").await;
    assert_eq!(done, 0, "{said}");
    let refused = |said: &Value| said["update"]["reason"].as_str().is_some_and(|said| said.contains("does not trust"));
    update::until(&mut machine, "a stranger's bundle on the stick", refused).await;
    let (_, identity) = machine.shell.run("cat /etc/machine-id").await;
    machine.shut_down().await;
    assert_eq!(receiver.counts().requests, 0);

    // That card is dead. Another one, and the stick is there when the power comes.
    let card = Card::write(&folder);
    card.save(RESTORE, "same\r\n");
    receiver.switch(true).await.expect("its own port");
    let mut machine = with_stick(&folder, &card, &stick_file, 2).await;
    arrived(&machine, "webhook", receiver.ledger(), &keys).await;
    assert_eq!(status(&mut machine).await["gateway"], BOX);
    let mut analyzer = Analyzer::new(machine.line(0).await, 101);
    analyzer.call().await;
    let after = analyzer.tell_one().await;
    arrived(&machine, "webhook", receiver.ledger(), &[keys.clone(), vec![after]].concat()).await;
    receiver.switch(false).await.expect("it was on");
    let undelivered = analyzer.tell_one().await;
    backed_up(&machine, &stick, 3).await;
    machine.shut_down().await;
    let counts = receiver.counts();
    assert_eq!((counts.differing, counts.wrong_signatures), (0, 0), "{:?}", counts.first_complaint);
    let done = card.read("restore.done.txt").unwrap_or_else(|| panic!("{:?}", card.read("restore.refused.txt")));
    assert!(done.contains("restored") && done.contains(BOX), "{done}");
    assert_eq!(card.read(RESTORE), None);
    let settings = card.read("gateway.yaml").expect("those of the backup");
    assert!(settings.contains(BOX) && settings.contains("ANALYZER0") && settings.contains("Change them here"));

    // A reset that would lose something is refused; an update from the stick is cut.
    card.save(RESET, &format!("{BOX}\r\n"));
    stick.remove("theirs.raucb");
    stick.put(&bundles.join("good.raucb"), "good.raucb");
    let mut machine = with_stick(&folder, &card, &stick_file, 3).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 201);
    analyzer.call().await;
    let (done, said) = machine.shell.run("analyzer-gateway update install usb").await;
    assert_eq!(done, 0, "{said}");
    let writes = |said: &Value| update::phase(said) == "installing" && said["update"]["percent"].as_u64() > Some(0);
    update::until(&mut machine, "an update from the stick", writes).await;
    machine.cut_power().await;
    let refused = card.read("factory-reset.refused.txt").expect("the box's answer");
    assert!(refused.contains("everything") && card.read(RESET).is_none(), "{refused}");

    // What is given up by name is gone, and the box goes on with the card's settings.
    card.save(RESET, &format!("{BOX}\r\neverything\r\n"));
    receiver.switch(true).await.expect("its own port");
    let mut machine = Machine::start(&folder, &card, 4).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 301);
    analyzer.call().await;
    let fresh = analyzer.tell_one().await;
    arrived(&machine, "webhook", receiver.ledger(), &[fresh]).await;
    let said = status(&mut machine).await;
    assert_eq!(said["gateway"], BOX);
    assert_eq!(receiver.ledger().lock().ids_of(&undelivered).len(), 0, "it was forgotten");
    let (_, other) = machine.shell.run("cat /etc/machine-id").await;
    assert!(other.len() == identity.len() && other != identity, "{other}");
    // How the update went is not forgotten.
    let said = update::until(&mut machine, "the update's end", |said| update::phase(said) == "failed").await;
    assert!(said["update"]["reason"].as_str().is_some_and(|reason| reason.contains("power failed")), "{said}");
    machine.shut_down().await;
    let done = card.read("factory-reset.done.txt").expect("the box's answer");
    assert!(done.contains("forgotten everything") && card.read(RESET).is_none(), "{done}");
}
