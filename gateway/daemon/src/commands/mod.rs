//! The command line: one file a subcommand.

pub mod analyzers;
pub mod appliance;
pub mod ask;
pub mod backup;
pub mod captures;
pub mod check;
pub mod clock;
pub mod dead;
pub mod decode;
pub mod demo;
pub mod destinations;
pub mod detect;
pub mod devices;
pub mod diagnostics;
pub mod doctor;
pub mod erase;
pub mod events;
pub mod explain;
pub mod fleet;
pub mod manifest;
pub mod pages;
pub mod pair;
pub mod place;
pub mod profiles;
pub mod queue;
pub mod receive;
pub mod reconcile;
pub mod redecode;
pub mod redrive;
pub mod registrations;
pub mod restore;
pub mod results;
pub mod run;
pub mod schema;
pub mod screen;
pub mod simulate;
pub mod status;
pub mod test_list;
pub mod the_box;
pub mod token;
pub mod update;
pub mod watch;
pub mod webhook;

use clap::{Parser, Subcommand};
pub(crate) use gateway_core::plain::plain;
use std::io::{stderr, stdout};

/// EX_CONFIG of sysexits.h: the settings are wrong, and starting again will not help.
pub const EXIT_CONFIG: u8 = 78;
/// Wrong arguments. The service unit knows it: starting again will not help.
pub const EXIT_USAGE: u8 = 2;
/// The gateway could not run, for a reason that may pass; for the other commands: something needs a person, is refused or is
/// not there.
pub const EXIT_FAILED: u8 = 1;
/// Nobody answers, or what is needed cannot be read or written.
pub const EXIT_UNREACHABLE: u8 = 3;

/// Reads a clinic's analyzers, stores every event, publishes to MQTT and forwards to webhooks.
#[derive(Debug, Parser)]
#[command(name = "analyzer-gateway", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway with the settings of the YAML file
    Run(run::Args),
    /// See it work: four simulated analyzers, a broker and a receiver, all in this process
    Demo(demo::Demo),
    /// Check a settings file and name every mistake in it; exits 78 if there is one
    Check(check::Args),
    /// Print the JSON Schema of the settings file, for editors
    Schema(schema::Args),
    /// Decode a file of bytes as an analyzer sent them; prints one event a line as JSON
    Decode(decode::Args),
    /// List the serial ports, as YAML ready to paste into the settings
    Devices(devices::Args),
    /// Listen at a port, find out which analyzer speaks there, and print its settings
    Detect(detect::Args),
    /// Play an analyzer at a port: a model by its profile, or a capture as it was recorded
    Simulate(simulate::Args),
    /// List the models of analyzers that the gateway knows, or show one
    Profiles(profiles::Args),
    /// Everything at a glance, what needs a person first
    Status(status::Args),
    /// Each analyzer with its state, or all that is known of one
    Analyzers(analyzers::Args),
    /// The status, drawn anew whenever something changes, with what comes in
    Watch(watch::Args),
    /// What waits at each destination, lane by lane: why, and when it is tried next
    Queue(queue::Args),
    /// The whole life of an event: bytes, frames, what was read, the commit, each attempt
    Explain(explain::Args),
    /// The tests of all analyzers, the newest first
    Tests(test_list::Args),
    /// Results as a table, as CSV or as JSON: patient data, with the sample ids; who reads them stands in the audit log
    Results(results::Args),
    /// How far the clock can be trusted, who sets it, and what was corrected
    Clock(clock::Args),
    /// Everything that the gateway knows in one file, taken while it runs
    Backup(backup::Args),
    /// A backup into a state folder
    Restore(restore::Args),
    /// Look at everything that can be wrong with a box, and say what to do
    Doctor(doctor::Args),
    /// Print the completion of these commands for a shell
    Completions(pages::Completions),
    /// Print the manual page of a command, or write all of them into a folder
    Man(pages::Man),
    /// How far each broker and endpoint has come; forget one that is no longer in the settings
    Destinations(destinations::Args),
    /// What was given up, why, and what to do about it
    Dead(dead::Args),
    /// Send dead events again, under their own ids and marked
    Redrive(redrive::Args),
    /// Print the log, one event a line as JSON
    Events(events::Args),
    /// Many gateways at one broker: which need a person; or play a fleet
    #[command(subcommand)]
    Fleet(fleet::Fleet),
    /// Messages as they were received: list, show, export without the people in them
    #[command(subcommand)]
    Captures(captures::Captures),
    /// Read stored messages again with today's decoder and profile; what changes is sent as a new version
    Redecode(redecode::Args),
    /// Samples expected or received
    Registrations(registrations::Args),
    /// Who may use the API; the first token is made here
    Token(token::Args),
    /// Print the pairing code that lets the first person in at the page
    Pair(pair::Args),
    /// Erase a person's data from everything that is stored
    Erase(erase::Args),
    /// Proof of what an endpoint was sent, a row a day
    Manifest(manifest::Args),
    /// Send an endpoint exactly what it lacks
    Reconcile(reconcile::Args),
    /// Updates of the box's system: look, install, go back
    Update(update::Args),
    /// What the box's units run as root
    #[command(subcommand)]
    Appliance(appliance::Appliance),
    /// One file for support, without secrets and without anybody's data
    #[command(subcommand)]
    Diagnostics(diagnostics::Diagnostics),
    /// Look after webhooks
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Receive webhooks, for those who write a receiver: verifies, prints, answers, misbehaves on request
    Receive(receive::Args),
}

impl Cli {
    /// Runs the chosen command and returns the exit status.
    pub fn run(self) -> u8 {
        let (mut out, mut err) = (stdout(), stderr());
        match self.command {
            Command::Run(args) => run::run(args, &mut err),
            Command::Demo(args) => demo::run(args, &mut err),
            Command::Check(args) => check::run(args, &mut out, &mut err),
            Command::Schema(args) => schema::run(args, &mut out, &mut err),
            Command::Decode(args) => decode::run(args, &mut out, &mut err),
            Command::Devices(args) => devices::run(args, &mut out, &mut err),
            Command::Detect(args) => detect::run(args, &mut out, &mut err),
            Command::Simulate(args) => simulate::run(args, &mut out, &mut err),
            Command::Profiles(args) => profiles::run(args, &mut out, &mut err),
            Command::Status(args) => status::run(args, &mut out, &mut err),
            Command::Analyzers(args) => analyzers::run(args, &mut out, &mut err),
            Command::Watch(args) => watch::run(args, &mut out, &mut err),
            Command::Queue(args) => queue::run(args, &mut out, &mut err),
            Command::Explain(args) => explain::run(args, &mut out, &mut err),
            Command::Tests(args) => test_list::run(args, &mut out, &mut err),
            Command::Results(args) => results::run(args, &mut out, &mut err),
            Command::Clock(args) => clock::run(args, &mut out, &mut err),
            Command::Backup(args) => backup::run(args, &mut out, &mut err),
            Command::Restore(args) => restore::run(args, &mut out, &mut err),
            Command::Doctor(args) => doctor::run(args, &mut out, &mut err),
            Command::Completions(args) => pages::completions(args, &mut out),
            Command::Man(args) => pages::man(args, &mut out, &mut err),
            Command::Destinations(args) => destinations::run(args, &mut out, &mut err),
            Command::Dead(args) => dead::run(args, &mut out, &mut err),
            Command::Redrive(args) => redrive::run(args, &mut out, &mut err),
            Command::Events(args) => events::run(args, &mut out, &mut err),
            Command::Fleet(command) => fleet::run(command, &mut out, &mut err),
            Command::Captures(command) => captures::run(command, &mut out, &mut err),
            Command::Redecode(args) => redecode::run(args, &mut out, &mut err),
            Command::Registrations(args) => registrations::run(args, &mut out, &mut err),
            Command::Token(args) => token::run(args, &mut out, &mut err),
            Command::Pair(args) => pair::run(args, &mut out, &mut err),
            Command::Erase(args) => erase::run(args, &mut out, &mut err),
            Command::Manifest(args) => manifest::run(args, &mut out, &mut err),
            Command::Reconcile(args) => reconcile::run(args, &mut out, &mut err),
            Command::Update(args) => update::run(args, &mut out, &mut err),
            Command::Appliance(command) => appliance::run(command, &mut out, &mut err),
            Command::Diagnostics(command) => diagnostics::run(command, &mut out, &mut err),
            Command::Webhook(command) => webhook::run(command, &mut out, &mut err),
            Command::Receive(args) => receive::run(args, &mut out, &mut err),
        }
    }
}
