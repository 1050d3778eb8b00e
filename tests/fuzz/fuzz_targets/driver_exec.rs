//! Any bytes for the driver `exec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway_tests::fuzz::any_bytes_for_driver("exec", bytes));
