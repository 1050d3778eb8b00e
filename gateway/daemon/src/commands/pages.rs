//! `completions` and `man`: what shells and manuals know of the commands, made from the commands themselves.

use super::{Cli, EXIT_UNREACHABLE};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The program's name.
const PROGRAM: &str = "analyzer-gateway";

#[derive(Debug, Clone, clap::Args)]
pub struct Completions {
    /// The shell that reads it
    shell: Known,
}

/// The shells that are looked after.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Man {
    /// Write a page for each command into this folder, such as /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The command whose page to print; without it the program's own
    #[arg(conflicts_with = "to")]
    command: Vec<String>,
}

pub fn completions(args: Completions, out: &mut dyn Write) -> u8 {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut text);
    // A closed pipe leaves nobody to tell.
    let _ = out.write_all(&text);
    0
}

/// Exit status 0; 2 if there is no such command, 3 if the folder cannot be written.
pub fn man(args: Man, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut program = Cli::command();
    program.build();
    if let Some(folder) = &args.to {
        let written = fs::create_dir_all(folder).and_then(|()| write_all(&program, PROGRAM, folder));
        return match written {
            Ok(count) => {
                let _ = writeln!(out, "{count} pages in {}", folder.display());
                0
            }
            Err(error) => {
                let _ = writeln!(err, "{} cannot be written: {error}", folder.display());
                EXIT_UNREACHABLE
            }
        };
    }
    let mut named = (&program, PROGRAM.to_owned());
    for word in &args.command {
        match named.0.find_subcommand(word) {
            Some(found) => named = (found, format!("{}-{word}", named.1)),
            None => {
                let _ = writeln!(err, "there is no command `{}`", super::plain(word));
                return super::EXIT_USAGE;
            }
        }
    }
    let _ = page(named.0, &named.1).and_then(|page| out.write_all(&page));
    0
}

fn page(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut page)?;
    Ok(page)
}

/// The command's page and those of the commands below it. Returns how many.
fn write_all(command: &clap::Command, name: &str, folder: &Path) -> io::Result<usize> {
    fs::write(folder.join(format!("{name}.1")), page(command, name)?)?;
    let mut count = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        count += write_all(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(count)
}

/// docs/commands.md below its head: every command with its own help.
pub fn reference() -> String {
    let mut program = Cli::command().term_width(100);
    program.build();
    let mut text = String::new();
    for below in program.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        describe(below, below.get_name(), &mut text);
    }
    text
}

fn describe(command: &clap::Command, name: &str, text: &mut String) {
    let help = command.clone().render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("## {name}\n\n```text\n{}\n```\n\n", help.join("\n").trim_end()));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        describe(below, &format!("{name} {}", below.get_name()), text);
    }
}
