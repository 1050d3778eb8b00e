//! Each bug that is planted in a driver changes what the link sees: else the simulation could not find it.

use super::support::*;
use gateway_core::mutants::{Mutant, plant};
use gateway_core::session::{DriverOptions, Resume};

/// What a sender does that loses an ACK, garbles a frame, meets a full disk and finds the gateway restarted.
fn history() -> Vec<Step> {
    let records = ["H|\\^&|||M", "O|1|S-1", "R|1|^^^GLU|5.5", "L|1|N"];
    let frames: Vec<Vec<u8>> =
        records.iter().zip(1..).map(|(record, number)| frame(number, &format!("{record}\r"), true)).collect();
    let mut bench = Bench::astm();
    bench.receive(&[ENQ]);
    bench.receive(&frames[0]);
    bench.receive(&frames[0]);
    let mut bad = frames[1].clone();
    bad[6] ^= 1;
    bench.receive(&bad);
    bench.disk = Disk::Fails;
    bench.receive(&frames[1]);
    bench.disk = Disk::Good;
    frames[1..].iter().for_each(|frame| {
        bench.receive(frame);
    });
    let unfinished = [vec![ENQ], frames[..2].concat()].concat();
    let restarted = Bench::open("astm", &DriverOptions::default(), Resume { unfinished: &unfinished, running: None });
    [bench.steps, restarted.steps].concat()
}

#[test]
fn every_planted_bug_of_the_drivers_shows() {
    let sound = history();
    let bugs = [
        Mutant::AckBeforeCommit,
        Mutant::AckAfterFailedCommit,
        Mutant::DuplicateFrameStored,
        Mutant::ChecksumIgnored,
        Mutant::CaptureWithoutEvents,
        Mutant::UnfinishedForgotten,
    ];
    for bug in bugs {
        plant(Some(bug));
        let planted = history();
        plant(None);
        assert_ne!(planted, sound, "{bug:?}");
    }
    assert_eq!(history(), sound);
}
