//! Any bytes for the framing `astm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway_tests::fuzz::any_bytes_for_framing("astm", bytes));
