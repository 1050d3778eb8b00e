//! Bytes become frames. Nothing here knows a field of a record.

pub mod anatomy;
pub mod astm;
pub mod bounded;
pub mod checksum;
pub mod keyboard;
pub mod lines;
pub mod mllp;
pub mod xml;
