//! `analyzer-gateway devices`: what is plugged in, as YAML ready to paste.

use super::plain;
use crate::platform::devices::paste::{item, quoted};
use crate::platform::devices::{self, SerialPort, Typing, Unbound};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Shows the serial ports with what is known of them, ready to copy under `analyzers:`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Look under this folder instead of /.
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let ports = devices::ports(&args.root);
    let unbound = devices::unbound(&args.root, &ports);
    let typing = devices::typing(&args.root);
    let typing: String = typing.iter().enumerate().map(|(index, device)| scanner(device, index + 1)).collect();
    let text = listing(&ports) + &typing + &unbound.iter().map(hint).collect::<String>();
    match out.write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "cannot write the list: {error}");
            1
        }
    }
}

fn listing(ports: &[SerialPort]) -> String {
    if ports.is_empty() {
        return "# No serial port was found. Plug the adapter in; if it stays so, try another cable or socket.\n"
            .to_owned();
    }
    let mut text =
        "# Copy what you need into the settings file. Change the id to what you call the analyzer, and baud\n\
         # and driver to what its manual says.\nanalyzers:\n"
            .to_owned();
    for (index, port) in ports.iter().enumerate() {
        text.push_str(&item(port, index + 1, ports));
    }
    text
}

/// Not switched on: to take a keyboard away from whom it belongs to would be worse than to read no scanner.
fn scanner(device: &Typing, number: usize) -> String {
    format!(
        "  # Types like a keyboard. If it is a barcode scanner, take the # away from these lines:\n  #- id: scanner-{number}\n  \
         #  driver: scanner\n  #  port: {{ input: {} }}\n",
        quoted(&device.device.to_string_lossy())
    )
}

fn hint(device: &Unbound) -> String {
    let ids = format!("{:04x}:{:04x}", device.vendor, device.product);
    let name = device.name.as_deref().map(|name| format!(" ({})", plain(name))).unwrap_or_default();
    let driver = Path::new("/sys/bus/usb-serial/drivers").join(device.driver).join("new_id");
    let known = device.known_as.map(|what| {
        format!(
            "# It is known: {}. With systemd/udev/60-analyzer-gateway.rules in /etc/udev/rules.d this\n\
             # happens by itself whenever it is plugged in.\n",
            plain(what)
        )
    });
    let known = known.unwrap_or_default();
    format!(
        "# USB device {ids}{name} looks like a serial adapter, but the kernel does not know these ids. As root, until the\n\
         # next start:\n#   modprobe {} && echo {:04x} {:04x} > {}\n{known}",
        device.module,
        device.vendor,
        device.product,
        driver.display()
    )
}
