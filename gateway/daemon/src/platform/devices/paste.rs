//! A serial port as an item to paste below `analyzers:`.
//!
//! Invariant: each port is bound by what survives a reboot and another order of plugging: the adapter's own serial number if no
//! other has it, else the socket, else the device file.

use super::SerialPort;
use gateway_core::plain::plain;

/// The item, several lines with a comment that says what the port is. `number` makes its id.
pub fn item(port: &SerialPort, number: usize, ports: &[SerialPort]) -> String {
    let mut facts = vec![port.device.display().to_string()];
    if let Some(usb) = &port.usb {
        facts.push(format!("usb {:04x}:{:04x}", usb.vendor, usb.product));
        facts.push(match &usb.serial {
            Some(serial) => format!("serial {}", plain(serial)),
            None => "no serial number".to_owned(),
        });
        facts.extend(usb.name.as_deref().map(plain));
    }
    let mut text = format!("  # {}\n", facts.join(", "));
    for (folder, name) in [("by-path", &port.by_path), ("by-id", &port.by_id)] {
        if let Some(name) = name {
            text.push_str(&format!("  # /dev/serial/{folder}/{}\n", plain(name)));
        }
    }
    text.push_str(&format!(
        "  - id: analyzer-{number}\n    driver: astm\n    port: {}\n    baud: 9600\n",
        binding(port, ports)
    ));
    text
}

/// The best way to name this port.
fn binding(port: &SerialPort, ports: &[SerialPort]) -> String {
    if let Some(usb) = &port.usb
        && let Some(serial) = &usb.serial
    {
        let same = |other: &&SerialPort| {
            other.usb.as_ref().is_some_and(|other| {
                (other.vendor, other.product, other.serial.as_ref()) == (usb.vendor, usb.product, Some(serial))
            })
        };
        if ports.iter().filter(same).count() == 1 {
            return format!("{{ usb: \"{:04x}:{:04x}\", serial: {} }}", usb.vendor, usb.product, quoted(serial));
        }
    }
    match &port.by_path {
        Some(name) => format!("{{ by_path: {} }}", quoted(name)),
        None => format!("{{ path: {} }}", quoted(&port.device.to_string_lossy())),
    }
}

/// A JSON string is a double-quoted YAML scalar.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
