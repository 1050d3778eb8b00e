//! The box's light: the LEDs of `/sys/class/leds` and their kernel triggers.
//!
//! Invariant: what the light did before is noted before it is taken, so that it can be given back.

use gateway_core::appliance::light::Light;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const LEDS: &str = "sys/class/leds";
/// What the activity light of a Raspberry Pi is called, by newer and older kernels; the red one where there is no other.
const NAMES: [&str; 4] = ["ACT", "led0", "PWR", "led1"];

/// Shows it, if this box has a light. `before`: the file that notes the trigger the light had.
pub fn show(root: &Path, light: Light, before: &Path) -> io::Result<()> {
    let Some(led) = led(root) else { return Ok(()) };
    let triggers = fs::read_to_string(led.join("trigger"))?;
    if !before.exists() {
        fs::write(before, chosen(&triggers))?;
    }
    let brightest = number(&led.join("max_brightness")).unwrap_or(1).max(1);
    if known(&triggers, "pattern") && show_pattern(&led, &triggers, &light.pattern(brightest)).is_ok() {
        return Ok(());
    }
    if known(&triggers, "timer") {
        let (on, off) = light.timer();
        choose(&led, &triggers, "timer")?;
        fs::write(led.join("delay_on"), on.to_string())?;
        return fs::write(led.join("delay_off"), off.to_string());
    }
    // Nothing can be counted: it beats, or it does not.
    let trigger = if light == Light::Fine && known(&triggers, "heartbeat") { "heartbeat" } else { "none" };
    choose(&led, &triggers, trigger)?;
    match trigger {
        "none" => fs::write(led.join("brightness"), brightest.to_string()),
        _ => Ok(()),
    }
}

/// Gives it back to whom it belonged; a Raspberry Pi's shows the card's activity (`mmc0`).
pub fn give_back(root: &Path, before: &Path) -> io::Result<()> {
    let (Some(led), Ok(trigger)) = (led(root), fs::read_to_string(before)) else { return Ok(()) };
    fs::write(led.join("trigger"), trigger.trim())?;
    fs::remove_file(before)
}

/// Written anew only where it differs: every write begins the pattern from its start.
fn show_pattern(led: &Path, triggers: &str, pattern: &str) -> io::Result<()> {
    let file = led.join("pattern");
    if chosen(triggers) == "pattern" && fs::read_to_string(&file).is_ok_and(|shown| shown.trim() == pattern) {
        return Ok(());
    }
    choose(led, triggers, "pattern")?;
    fs::write(file, pattern)
}

fn choose(led: &Path, triggers: &str, trigger: &str) -> io::Result<()> {
    if chosen(triggers) == trigger {
        return Ok(());
    }
    fs::write(led.join("trigger"), trigger)
}

fn led(root: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| root.join(LEDS).join(name)).find(|led| led.join("trigger").is_file())
}

/// The kernel lists all triggers in one line, the chosen one in brackets (Linux, Documentation/ABI/testing/sysfs-class-led).
fn chosen(triggers: &str) -> &str {
    let bracketed = triggers.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    bracketed.unwrap_or("none")
}

fn known(triggers: &str, trigger: &str) -> bool {
    triggers.split_whitespace().any(|word| word.trim_matches(['[', ']']) == trigger)
}

fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like an LED: like the kernel's, but that its files keep what is written.
    fn box_with(name: &str, triggers: &str) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let led = root.path().join(LEDS).join(name);
        fs::create_dir_all(&led).unwrap();
        fs::write(led.join("trigger"), triggers).unwrap();
        fs::write(led.join("max_brightness"), "255\n").unwrap();
        (root, led)
    }

    fn read(led: &Path, name: &str) -> String {
        fs::read_to_string(led.join(name)).unwrap_or_default()
    }

    #[test]
    fn the_best_trigger_of_the_kernel_is_taken_and_given_back() {
        for (name, triggers, trigger, file, text) in [
            (
                "ACT",
                "none [mmc0] timer pattern",
                "pattern",
                "pattern",
                "255 200 255 0 0 200 0 0 255 200 255 0 0 1800 0 0",
            ),
            ("led0", "none [mmc0] timer heartbeat", "timer", "delay_on", "500"),
            ("led1", "[mmc0] none", "none", "brightness", "255"),
        ] {
            let (root, led) = box_with(name, triggers);
            let before = root.path().join("before");
            show(root.path(), Light::Degraded, &before).unwrap();
            assert_eq!((read(&led, "trigger").as_str(), read(&led, file).as_str()), (trigger, text));
            give_back(root.path(), &before).unwrap();
            assert_eq!((read(&led, "trigger").as_str(), before.exists()), ("mmc0", false));
        }
    }

    #[test]
    fn what_shows_already_is_not_begun_anew() {
        let (root, led) = box_with("ACT", "none mmc0 [pattern]");
        fs::write(led.join("pattern"), format!("{}\n", Light::Fine.pattern(255))).unwrap();
        show(root.path(), Light::Fine, &root.path().join("before")).unwrap();
        assert_eq!(read(&led, "trigger"), "none mmc0 [pattern]");
        show(root.path(), Light::Updating, &root.path().join("before")).unwrap();
        assert_eq!(read(&led, "pattern"), Light::Updating.pattern(255));
    }

    #[test]
    fn a_box_without_a_light_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        show(root.path(), Light::Fine, &root.path().join("before")).unwrap();
        give_back(root.path(), &root.path().join("before")).unwrap();
    }
}
