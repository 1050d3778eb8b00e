//! What the kernel says of this machine: its versions, and the lines of its log about USB, cards, power and memory.
//!
//! Invariant: only lines that begin with a word of [`ABOUT`] are given out; others may hold anything.

use super::Particulars;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const LINES_MAX: usize = 300;
const LINE_CHARS_MAX: usize = 300;
/// The kernel's buffer is not larger.
const RECORDS_MAX: usize = 100_000;
/// Drivers of adapters and cards, and the words for too little voltage and memory.
const ABOUT: [&str; 20] = [
    "usb ",
    "hub ",
    "usbserial",
    "usbcore",
    "ftdi_sio",
    "pl2303",
    "cp210x",
    "ch341",
    "cdc_acm",
    "xhci",
    "dwc2",
    "dwc_otg",
    "mmc",
    "EXT4-fs",
    "I/O error",
    "Buffer I/O error",
    "hwmon",
    "Under-voltage",
    "Voltage normalised",
    "Out of memory",
];

/// Reads them; `root` is `/`.
pub fn particulars(root: &Path) -> Particulars {
    let text = |path: &str| fs::read_to_string(root.join(path)).ok().map(|text| plain(text.trim_matches(['\0', '\n'])));
    let pretty = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let pretty =
        pretty.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| plain(name.trim_matches('"')));
    let versions =
        [("system", pretty), ("kernel", text("proc/sys/kernel/osrelease")), ("board", text("proc/device-tree/model"))];
    let versions = versions.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Particulars { versions, kernel: kernel(&root.join("dev/kmsg")) }
}

/// Each read gives one record: `priority,number,microseconds,...;text` (Documentation/ABI/testing/dev-kmsg).
fn kernel(path: &Path) -> Result<Vec<String>, String> {
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = opened.map_err(|error| format!("the kernel's log cannot be read: {error}"))?;
    let (mut lines, mut record) = (Vec::new(), vec![0; 8192]);
    for _ in 0..RECORDS_MAX {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(count) => String::from_utf8_lossy(&record[..count]).lines().for_each(|line| lines.extend(told(line))),
            // It was overwritten meanwhile: the next one is there.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            // Nothing more.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(format!("the kernel's log cannot be read: {error}")),
        }
    }
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    Ok(lines)
}

fn told(line: &str) -> Option<String> {
    let (head, text) = line.split_once(';')?;
    let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
    ABOUT
        .iter()
        .any(|word| text.starts_with(word))
        .then(|| format!("{}.{:06} {}", microseconds / 1_000_000, microseconds % 1_000_000, plain(text)))
}

fn plain(text: &str) -> String {
    text.chars().take(LINE_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_adapters_cards_and_power_are_told() {
        assert_eq!(
            told("6,1234,5000123,-;usb 1-1.2: new full-speed USB device number 5").as_deref(),
            Some("5.000123 usb 1-1.2: new full-speed USB device number 5")
        );
        assert_eq!(told("12,1235,5000124,-;login[812]: pam: user Muster opened a session"), None);
        assert_eq!(told(" SUBSYSTEM=usb"), None);
        assert_eq!(told("nonsense"), None);
        assert!(kernel(Path::new("/nowhere/kmsg")).is_err());
    }
}
