//! The receivers' own code on their side of the wire: what the documents print, and the libraries that receivers use.
//!
//! `tests/run` installs the judges below `target/judges` and names that folder in `ANALYZER_JUDGES`. Without it they are
//! skipped aloud; where `CI=true` that is a failure.

#[path = "judges/node.rs"]
mod node;
#[path = "judges/python.rs"]
mod python;

use gateway_tests::judge::judge;
