//! `appliance boot-slot`: RAUC's `bootloader=custom` for a Raspberry Pi 4 or 5: asked and told by RAUC which half of the card is
//! started (RAUC's manual, "Custom Bootloader Backend"): the answer is one word on standard output, exit status 0 is done.
//!
//! Invariant: `autoboot.txt` is changed by writing one sector in its place, and only for a system that runs and is good, or away
//! from one that is bad.

use super::{EXIT_FAILED, Place};
use crate::platform::mounted::while_writable;
use crate::platform::privileged::{self, below};
use crate::platform::replace::replace;
use gateway_core::appliance::autoboot::{self, Change, Slot, Slots};
use gateway_core::appliance::layout;
use std::fs;
use std::io::Write;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Which slot the next start takes
    GetPrimary,
    /// The next start takes this slot
    SetPrimary {
        /// `A` or `B`
        slot: String,
    },
    /// `good` or `bad`
    GetState {
        /// `A` or `B`
        slot: String,
    },
    /// This slot is `good` or `bad`
    SetState {
        /// `A` or `B`
        slot: String,
        /// `good` or `bad`
        state: String,
    },
    /// The slot that runs
    GetCurrent,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match answer(&args.place.root, &args.what) {
        Ok(Some(word)) => {
            let _ = writeln!(out, "{word}");
            0
        }
        Ok(None) => 0,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            EXIT_FAILED
        }
    }
}

fn answer(root: &Path, what: &What) -> Result<Option<&'static str>, String> {
    let runs = running(root);
    let slots: Slots = privileged::read(&below(root, layout::SYSTEM).join(layout::BOOT_SLOTS)).unwrap_or_default();
    let stays = || stays(root);
    let of = |word: &str| Slot::read(word).ok_or_else(|| format!("`{word}` is no slot: A or B"));
    match what {
        What::GetCurrent => runs.map(|slot| Some(slot.as_str())).ok_or_else(|| "no slot runs".to_owned()),
        What::GetPrimary => Ok(Some(slots.primary(stays()?).as_str())),
        What::GetState { slot } => Ok(Some(if slots.is_bad(of(slot)?) { "bad" } else { "good" })),
        What::SetPrimary { slot } => {
            let slots = slots.with_primary(of(slot)?, stays()?);
            keep(root, &Change { slots, stays: None }).map(|()| None)
        }
        What::SetState { slot, state } => {
            let good = match state.as_str() {
                "good" => true,
                "bad" => false,
                _ => return Err("a slot is `good` or `bad`".to_owned()),
            };
            keep(root, &slots.with_state(of(slot)?, good, stays()?, runs)).map(|()| None)
        }
    }
}

/// Whether the next restart has to ask the firmware for the other half.
pub(super) fn wants_try(root: &Path) -> bool {
    let slots: Option<Slots> = privileged::read(&below(root, layout::SYSTEM).join(layout::BOOT_SLOTS));
    match (stays(root), slots) {
        (Ok(stays), Some(slots)) => slots.primary(stays) != stays,
        _ => false,
    }
}

fn running(root: &Path) -> Option<Slot> {
    privileged::said(root).image.and_then(|image| Slot::read(image.slot.as_deref()?))
}

fn stays(root: &Path) -> Result<Slot, String> {
    let path = below(root, layout::BOOT).join(layout::AUTOBOOT);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    autoboot::read(&text).ok_or_else(|| format!("{} was changed by somebody: put the image's own back", path.display()))
}

/// The card first: a slot that is good stays so even if the power fails before the rest is written down.
fn keep(root: &Path, change: &Change) -> Result<(), String> {
    if let Some(slot) = change.stays {
        let boot = below(root, layout::BOOT);
        let note = below(root, layout::SAYS).join(layout::CARD_OPEN);
        while_writable(&boot, &note, || overwrite(&boot.join(layout::AUTOBOOT), autoboot::text(slot).as_bytes()))?;
    }
    let path = below(root, layout::SYSTEM).join(layout::BOOT_SLOTS);
    let bytes = serde_json::to_vec(&change.slots).map_err(|error| error.to_string())?;
    replace(&path, &bytes, 0o644).map_err(|error| format!("{}: {error}", path.display()))
}

/// In its place: the file has this length already.
fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() != bytes.len() as u64 {
            return Err(std::io::Error::other("it has another length"));
        }
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}
