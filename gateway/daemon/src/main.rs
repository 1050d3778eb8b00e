//! The binary: arguments in, exit status out.

use clap::Parser;
use gateway_daemon::commands::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(Cli::parse().run())
}
