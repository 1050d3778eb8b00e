//! `appliance`: the privileged half of the box. Units start these as root; each does one thing and ends.
//!
//! Invariant: none of them touches what the settings do not ask for, and each says what it did in `layout::SAYS`.

mod apply;
mod boot_slot;
mod bundle;
mod card;
mod first_boot;
mod gate;
mod journal;
mod keep_settings;
mod network_watch;
mod reset;
pub(super) mod settings;
mod stick;
mod update;

use super::EXIT_FAILED;
use crate::platform::privileged;
use gateway_core::appliance::layout;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub enum Appliance {
    /// Print what the privileged half says of the box, as JSON; exits 1 where there is none
    Show(Place),
    /// Put network, time and the box's own broker in force as the settings ask
    Apply(Place),
    /// See whether the network works as the settings ask; ask for an address by DHCP if it does not
    NetworkWatch(Place),
    /// Carry out the update that was asked for
    Update(update::Args),
    /// Mark the system that runs good, once it has shown that it works; else start the one before
    Gate(gate::Args),
    /// Answer RAUC which half of the card is started (Raspberry Pi 4 and 5)
    BootSlot(boot_slot::Args),
    /// Make /data as large as the card, with its folders, and give the box its identity (at each boot)
    FirstBoot(Place),
    /// Put the gateway's report onto the card beside the settings, and show its light
    Card(Place),
    /// Put settings that were pushed and confirmed onto the card
    KeepSettings(Place),
    /// Obey factory-reset.txt and restore.txt on the card
    Reset(reset::Args),
    /// Back up onto the sticks that ask for it
    Stick(stick::Args),
}

/// Where the box's files are.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The folder that stands for `/`
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    pub root: PathBuf,
}

pub fn run(command: Appliance, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match command {
        Appliance::Reset(args) => reset::run(&args, out, err),
        Appliance::Stick(args) => stick::run(&args, out, err),
        Appliance::Show(place) => show(&place.root, out, err),
        Appliance::Apply(place) => apply::run(&place.root, out, err),
        Appliance::NetworkWatch(place) => network_watch::run(&place.root, out, err),
        Appliance::Update(args) => update::run(&args, err),
        Appliance::Gate(args) => gate::run(&args, err),
        Appliance::BootSlot(args) => boot_slot::run(args, out, err),
        Appliance::FirstBoot(place) => first_boot::run(&place, out, err),
        Appliance::Card(place) => card::run(&place.root, err),
        Appliance::KeepSettings(place) => keep_settings::run(&place.root, out, err),
    }
}

fn show(root: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let said = privileged::said(root);
    if said == gateway_core::appliance::Appliance::default() {
        let _ = writeln!(err, "{} is empty and {} is not there: this is no appliance", layout::SAYS, layout::IMAGE);
        return EXIT_FAILED;
    }
    let _ = writeln!(out, "{}", serde_json::to_string_pretty(&said).expect("plain values are JSON"));
    0
}
