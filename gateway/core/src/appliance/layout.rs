//! Where the parts of the box leave each other's files. Units, image and package use the same paths.
//!
//! Invariant: each folder has one writer.

/// The partition that any laptop can read; where the settings file is and the report is written. On the box only the privileged half
/// writes it.
pub const BOOT: &str = "/boot/firmware";
/// The answer to whoever edits the settings on the card, beside them.
pub const REPORT: &str = "gateway.report.txt";
/// The settings of the box, in [`BOOT`].
pub const SETTINGS: &str = "gateway.yaml";

/// Written by the gateway (its RuntimeDirectory, kept after it stops).
pub const TOLD: &str = "/run/analyzer-gateway";
/// In [`TOLD`]: the report as it should stand on the card.
pub const TOLD_REPORT: &str = "report.txt";
/// In [`TOLD`]: one word, which light the box shows.
pub const TOLD_LIGHT: &str = "light";
/// In [`TOLD`]: what somebody let in asks of the privileged half, one file a kind.
pub const ASKED: &str = "requests";
/// In [`ASKED`]: an update that is asked for.
pub const ASKED_UPDATE: &str = "update.json";
/// In [`ASKED`]: settings that were pushed and confirmed, to be put onto the card.
pub const ASKED_SETTINGS: &str = "settings.json";
/// In [`TOLD`]: how the gateway is, for the gate of an update.
pub const TOLD_GATE: &str = "gate.json";

/// Written by the privileged half, for all to read: `network.json`, `update.json`, `card.json`.
pub const SAYS: &str = "/run/analyzer-gateway-appliance";

/// In [`SAYS`]: the first partition of the card is writable and must be made read-only again.
pub const CARD_OPEN: &str = "card-open";
/// In [`SAYS`]: what became of [`ASKED_SETTINGS`].
pub const PUSHED: &str = "pushed";
/// In [`SAYS`]: locked by whoever writes the [`JOURNAL`].
pub const UPDATE_LOCK: &str = "update.lock";

/// The gateway's own password at the box's broker (`mqtt.url: mosquitto`), made anew at each boot; for its group alone.
pub const OWN_BROKER_PASSWORD: &str = "/run/analyzer-gateway-appliance/broker-password";
/// Everything that the box's broker reads; for its group alone.
pub const OWN_BROKER: &str = "/run/analyzer-gateway-appliance/mosquitto";

/// What RAUC is told of the box; beside it the keyring of those whose bundles are installed.
pub const RAUC_CONFIGURATION: &str = "/etc/rauc/system.conf";

/// What stays of the box when its system is replaced; the events and the settings that were good are below.
pub const DATA: &str = "/data";
/// What the box knows of itself whatever system runs: its identity, the last update, the last backup
/// (`backup.json`), the last good settings (`last-good.yaml`, for root alone). Written only by the privileged half.
pub const SYSTEM: &str = "/data/system";
/// The same for root's copy of the last good settings where the gateway is a package of an ordinary system.
pub const SYSTEM_ELSEWHERE: &str = "/var/lib/analyzer-gateway-appliance";
/// In [`SYSTEM`]: settings that are being written onto the card, for root alone.
pub const SETTINGS_UNDER_WAY: &str = "settings-under-way.json";
/// In [`SYSTEM`]: the last update, step by step.
pub const JOURNAL: &str = "update.json";
/// In [`SYSTEM`]: which system the next start tries, and which were found bad, where the firmware keeps no counters.
pub const BOOT_SLOTS: &str = "boot-slots.json";
/// Where a bundle is kept until it is installed.
pub const DOWNLOADS: &str = "/data/update";
/// In [`BOOT`]: which half of the card a Raspberry Pi 4 or 5 starts.
pub const AUTOBOOT: &str = "autoboot.txt";

/// What the system image says of itself; absent where the gateway is a package of an ordinary system.
pub const IMAGE: &str = "/usr/lib/analyzer-gateway/image.json";
/// On the kernel's command line: `analyzer-gateway.slot=A`.
pub const SLOT_ARGUMENT: &str = "analyzer-gateway.slot=";
