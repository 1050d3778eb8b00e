//! The box around the gateway in words, for `status` and `doctor`: image, network, update, card, light.
//!
//! Invariant: where a machine is no box there is nothing to tell.

use gateway_core::appliance::{Appliance, Backup, Card, Image, Network, NetworkSource, Update, UpdatePhase};

/// Name and value of each part that there is.
pub fn told(appliance: &Appliance) -> Vec<(&'static str, String)> {
    let parts = [
        ("image", appliance.image.as_ref().map(image)),
        ("network", appliance.network.as_ref().map(network)),
        ("update", appliance.update.as_ref().map(update)),
        ("card", appliance.card.as_ref().map(card)),
        ("backup", appliance.backup.as_ref().map(backup)),
        ("light", appliance.light.clone()),
    ];
    parts.into_iter().filter_map(|(name, told)| Some((name, told?))).collect()
}

/// `1.4.0 for raspberrypi-armv8, slot A`
fn image(image: &Image) -> String {
    let slot = image.slot.as_ref().map(|slot| format!(", slot {slot}")).unwrap_or_default();
    format!("{} for {}{slot}", image.version, image.compatible)
}

fn network(network: &Network) -> String {
    let source = match network.in_force {
        NetworkSource::System => "as the system has it",
        NetworkSource::Settings => "as the settings ask",
        NetworkSource::Trying => "as the settings ask, not known yet whether it works",
        NetworkSource::Fallback => "not as the settings ask: the address comes from the network (DHCP)",
    };
    let addresses = match network.addresses.as_slice() {
        [] => "no address".to_owned(),
        addresses => addresses.join(", "),
    };
    with_reason(format!("{addresses}, {source}"), &network.reason)
}

fn update(update: &Update) -> String {
    let phase = match update.phase {
        UpdatePhase::None => "none yet",
        UpdatePhase::Fetching => "is being fetched",
        UpdatePhase::Checking => "is being checked",
        UpdatePhase::WaitingForTest => "waits for the end of a test",
        UpdatePhase::Installing => "is being installed",
        UpdatePhase::Restarting => "is installed; the box starts anew",
        UpdatePhase::Proving => "runs and must prove itself",
        UpdatePhase::Good => "the last one works",
        UpdatePhase::RolledBack => "the last one did not prove itself; the system before is back",
        UpdatePhase::Failed => "the last one failed; nothing was changed",
    };
    let percent = update.percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
    let versions = match (&update.from, &update.to) {
        (Some(from), Some(to)) => format!(" ({from} to {to})"),
        (None, Some(to)) => format!(" (to {to})"),
        _ => String::new(),
    };
    with_reason(format!("{phase}{percent}{versions}"), &update.reason)
}

fn card(card: &Card) -> String {
    let written = if card.written { "the report stands on it" } else { "the report could not be written" };
    with_reason(written.to_owned(), &card.reason)
}

fn backup(backup: &Backup) -> String {
    let file = match (&backup.file, backup.made_at) {
        (Some(file), Some(at)) => format!("the last whole one is {file}, made {at}"),
        (Some(file), None) => format!("the last whole one is {file}"),
        (None, _) => "none yet".to_owned(),
    };
    with_reason(file, &backup.reason)
}

fn with_reason(told: String, reason: &str) -> String {
    if reason.is_empty() { told } else { format!("{told}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::time::Timestamp;

    #[test]
    fn each_part_is_told_with_its_reason_and_an_ordinary_machine_has_none() {
        assert!(told(&Appliance::default()).is_empty());
        let at = Timestamp(1_800_000_000_000);
        let appliance = Appliance {
            image: Some(Image { version: "1.4.0".to_owned(), compatible: "vm".to_owned(), slot: Some("B".to_owned()) }),
            network: Some(Network {
                in_force: NetworkSource::Fallback,
                reason: "nobody answers at 192.0.2.1".to_owned(),
                addresses: vec!["198.51.100.7".to_owned()],
                at,
            }),
            update: Some(Update {
                phase: UpdatePhase::Installing,
                percent: Some(40),
                from: Some("1.4.0".to_owned()),
                to: Some("1.5.0".to_owned()),
                reason: String::new(),
                at,
            }),
            card: Some(Card { written: true, reason: String::new(), at }),
            light: Some("updating".to_owned()),
            backup: None,
            obeyed: None,
        };
        let shown: Vec<String> = told(&appliance).into_iter().map(|(name, told)| format!("{name}: {told}")).collect();
        assert_eq!(
            shown,
            [
                "image: 1.4.0 for vm, slot B",
                "network: 198.51.100.7, not as the settings ask: the address comes from the network (DHCP): nobody answers \
                 at 192.0.2.1",
                "update: is being installed, 40 % (1.4.0 to 1.5.0)",
                "card: the report stands on it",
                "light: updating",
            ]
        );
    }
}
