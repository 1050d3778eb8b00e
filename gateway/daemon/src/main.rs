//! The binary: arguments in, exit status out.

use clap::Parser;
use gateway_daemon::commands::{Cli, EXIT_USAGE};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => ExitCode::from(cli.run()),
        Err(error) => {
            // A closed terminal leaves nobody to tell.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
        }
    }
}
