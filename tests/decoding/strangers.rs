//! An analyzer that speaks another protocol than its driver is told of, however little it says.

use super::support::*;
use gateway_core::session::{DriverOptions, Resume};
use std::time::Duration;

#[test]
fn an_analyzer_that_asks_in_another_protocol_is_told_for_the_asking() {
    let mut bench = Bench::open("hl7", &DriverOptions::default(), Resume::default());
    for _ in 0..5 {
        assert!(bench.receive(b"\x05").is_empty());
        bench.wait(Duration::from_secs(11));
    }
    assert_eq!(bench.names(), ["not_hl7"]);
    let rejection = bench.events()[0].rejection.clone().unwrap();
    assert!(rejection.reason.contains("looks like ASTM"), "{}", rejection.reason);
    // Now and then a byte when it is switched on is nothing.
    for _ in 0..8 {
        bench.receive(b"\x00");
        bench.wait(Duration::from_secs(3600));
    }
    assert_eq!(bench.names(), ["not_hl7"]);
}
