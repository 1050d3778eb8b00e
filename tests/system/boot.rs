//! Which half of the card starts, whatever stands in the boot state: there is always one; for that only the boot loader runs. And a
//! start that fails is made anew.

use super::analyzer::Analyzer;
use super::card::Card;
use super::machine::{self, Machine};

/// The state as RAUC and GRUB write it, and what the console must say, in this order.
const STATES: [(&str, &[&str]); 9] = [
    ("ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n", &["slot A, try 1"]),
    ("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n", &["slot B, try 1"]),
    ("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=2\n", &["slot B, try 3"]),
    ("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=3\n", &["slot A, try 1"]),
    ("ORDER=A B\nA_OK=0\nA_TRY=0\nB_OK=1\nB_TRY=0\n", &["slot B, try 1"]),
    // A power cut used up both, as it once did to a well-known box: it starts all the same.
    ("ORDER=A B\nA_OK=1\nA_TRY=3\nB_OK=1\nB_TRY=3\n", &["the order begins anew", "slot A, try 1"]),
    ("ORDER=B A\nA_OK=1\nA_TRY=3\nB_OK=0\nB_TRY=0\n", &["the order begins anew", "slot A, try 1"]),
    ("ORDER=B A\nA_OK=0\nA_TRY=0\nB_OK=0\nB_TRY=0\n", &["each is started as it is", "slot B, try 0"]),
    ("ORDER=\0\0\0\0\n", &["slot A, try 1"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_boot_state_says_a_half_starts() {
    let Some(folder) = machine::folder("boot") else { return };
    let card = Card::write(&folder);
    let mut number = 0;
    for (state, said) in STATES {
        number += 1;
        card.set_boot_state(state);
        starts(&folder, &card, number, said).await;
    }
    // The state is gone, and with it the archive that it is in.
    card.overwrite("state", 0, &[0; 4096]);
    starts(&folder, &card, number + 1, &["slot A, try 1"]).await;

    let card = Card::write(&folder);
    card.overwrite("rootfs-a", 0, &[0; 1 << 16]);
    starts(&folder, &card, number + 2, &["slot A cannot be read", "slot B, try 1"]).await;
    assert!(card.boot_state().contains("A_TRY=1\nB_OK=1\nB_TRY=1"), "{}", card.boot_state());
}

async fn starts(folder: &std::path::Path, card: &Card, number: u32, said: &[&str]) {
    let machine = Machine::start(folder, card, number).await;
    let what = format!("start {number}: {said:?}");
    let last = said.last().expect("each says something");
    machine.eventually(&what, || machine.console().contains(last).then_some(())).await;
    let console = machine.console();
    let mut rest = console.as_str();
    for words in said {
        rest = rest.split_once(words).unwrap_or_else(|| panic!("{what}, but:\n{console}")).1;
    }
    machine.cut_power().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_is_made_anew() {
    let Some(folder) = machine::folder("emergency") else { return };
    let card = Card::write(&folder);
    card.save(
        "gateway.yaml",
        "version: 1\nanalyzers: [{ id: a, driver: astm, port: { usb: '0403:6001', serial: ANALYZER0 } }]\n",
    );
    let mut machine = Machine::start(&folder, &card, 1).await;
    let mut analyzer = Analyzer::new(machine.line(0).await, 1);
    analyzer.call().await;
    let before = machine.boot_id().await;
    // Where systemd goes when a mount fails that it cannot do without: a shell, for which there is no password.
    let fails = "(sleep 2; systemctl --no-block isolate emergency.target) >/dev/null 2>&1 & true";
    machine.shell.run(fails).await;
    machine.starts_anew(&before).await;
    analyzer.call().await;
    analyzer.tell_one().await;
    machine.shut_down().await;
}
