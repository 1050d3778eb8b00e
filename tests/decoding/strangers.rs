//! An analyzer that speaks another protocol than its driver is told of, however little it says.

use super::support::*;
use gateway_core::session::{DriverOptions, Resume};
use std::time::Duration;

#[test]
fn an_analyzer_that_asks_in_another_protocol_is_told_for_the_asking() {
    let mut bench = Bench::open("hl7", &DriverOptions::default(), Resume::default());
    for said in [b"\x05", b"\x04", b"\x05", b"\x05", b"\x04"] {
        assert!(bench.receive(said).is_empty());
        bench.wait(Duration::from_secs(15));
    }
    assert_eq!(bench.names(), ["not_hl7"]);
    let rejection = bench.events()[0].rejection.clone().unwrap();
    assert!(rejection.reason.contains("looks like ASTM"), "{}", rejection.reason);
    // A byte when it is switched on in the morning is nothing.
    for _ in 0..8 {
        bench.receive(b"\x05");
        bench.wait(Duration::from_secs(3600));
    }
    assert_eq!(bench.names(), ["not_hl7"]);
}
