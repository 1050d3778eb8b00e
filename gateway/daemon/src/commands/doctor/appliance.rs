//! The box around the gateway: image, network, update, card, as its privileged half has left them.

use super::{Finding, Patient};
use crate::commands::the_box;
use crate::platform::privileged;
use gateway_core::appliance::Appliance;
use gateway_core::trouble::Trouble;

const CHECK: &str = "box";

/// Nothing to find on a machine that is no box.
pub fn look(patient: &Patient) -> Vec<Finding> {
    let said = privileged::said(&patient.root);
    let troubles = said.troubles();
    let finding = |(name, told): (&str, String)| match troubles.iter().find(|trouble| part(trouble) == name) {
        Some(trouble) => Finding::warn(CHECK, name, told, trouble.next_step.clone()),
        None => Finding::ok(CHECK, name, told),
    };
    // What the light says the others say better.
    the_box::told(&said).into_iter().filter(|(name, _)| *name != "light").map(finding).collect()
}

/// Whether the box itself was found to have this trouble, so that it is not told a second time.
pub fn is_told(trouble: &Trouble, said: &Appliance) -> bool {
    said.troubles().iter().any(|own| own.code == trouble.code)
}

/// Which of the parts a trouble is about.
fn part(trouble: &Trouble) -> &str {
    trouble.code.split('_').next().unwrap_or_default()
}
