//! `analyzer-gateway schema`: the JSON Schema of the settings file, for editors that complete and check while one types.

use std::io::Write;

/// Prints the JSON Schema of the settings file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {}

pub fn run(_: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let schema = gateway_core::config::file::schema().to_value();
    match writeln!(out, "{schema:#}") {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "cannot write the schema: {error}");
            1
        }
    }
}
