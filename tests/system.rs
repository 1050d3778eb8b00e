//! The box as a machine: the image that `tests/system/image` builds, started in a virtual machine whose analyzers are real USB
//! serial adapters to the guest's kernel.
//!
//! `ANALYZER_SYSTEM` names the folder with `disk.img`; `tests/system/run` builds it and says so. Nothing here asks the gateway for
//! its opinion: analyzers, broker's client and webhook's receiver are on this side of the cables.

#[path = "system/analyzer.rs"]
mod analyzer;
#[path = "system/boot.rs"]
mod boot;
#[path = "system/card.rs"]
mod card;
#[path = "system/cuts.rs"]
mod cuts;
#[path = "system/fat.rs"]
mod fat;
#[path = "system/faults.rs"]
mod faults;
#[path = "system/keeping.rs"]
mod keeping;
#[path = "system/machine.rs"]
mod machine;
#[path = "system/pushing.rs"]
mod pushing;
#[path = "system/qmp.rs"]
mod qmp;
#[path = "system/receiving.rs"]
mod receiving;
#[path = "system/scenario.rs"]
mod scenario;
#[path = "system/shell.rs"]
mod shell;
#[path = "system/update.rs"]
mod update;
#[path = "system/writes.rs"]
mod writes;
